"""Parts of a fit: noise in mirrored pairs, budgets of groups, Gaussians."""

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from combiner_codec.encoder.fit import posterior
from combiner_codec.encoder.fit.budget import FACTOR, Budget
from combiner_codec.encoder.fit.noise import Noise
from combiner_codec.encoder.fit.posterior import Gaussians, Posterior, closed_form, kl_nats, reachable
from combiner_codec.format.streams import Partition

CPU = torch.device("cpu")


def test_noise_comes_in_mirrored_pairs():
    noise = Noise(3)
    turns = []
    for _ in range(4):
        noise.turn()
        turns.append((noise.normal((5,), CPU), noise.normal((2, 3), CPU)))
    for first, second in (turns[:2], turns[2:]):
        assert all((a == -b).all() for a, b in zip(first, second, strict=True))
    assert (turns[0][0] != turns[2][0]).all()


def test_a_pair_that_is_broken_off_is_not_mirrored():
    noise = Noise(3)
    noise.turn()
    first = noise.normal((5,), CPU)
    noise.begin()
    noise.turn()
    assert (noise.normal((5,), CPU) != -first).all()


@pytest.fixture
def gaussians():
    scale = torch.tensor([[0.0, 0.5, 2.0], [1.0, 0.0, 3.0]])
    return Gaussians(torch.tensor([0.0, 0.1, -0.2]), scale, torch.tensor([0.5, 0.4, 0.3]))


def test_kl_is_that_of_normals(gaussians):
    mu, sigma = torch.randn(2, 3), torch.rand(2, 3) + 0.1
    found = kl_nats(mu, sigma, gaussians)
    prior = Normal(gaussians.mean, torch.where(gaussians.coded, gaussians.scale, 1.0))
    expected = torch.where(gaussians.coded, kl_divergence(Normal(mu, sigma), prior), 0.0)
    torch.testing.assert_close(found, expected)


def test_sums_over_blocks_are_the_same_in_parts(gaussians, monkeypatch):
    q = Posterior(torch.randn(2, 3), torch.rand(2, 3) + 0.1, gaussians.coded.clone())
    whole = q.block_nats(gaussians)
    monkeypatch.setattr(posterior, "BLOCKS_AT_ONCE", 1)
    assert (q.block_nats(gaussians) == whole).all()
    torch.testing.assert_close(whole, q.nats(gaussians).sum(1))
    fixed = q.fixed([(0,), (1, 2)], [torch.zeros(3), 7.0])
    assert fixed.block_nats(gaussians)[0] == 0
    assert fixed.mean[1, 2] == 7 and fixed.scale[1, 2] == 0 and fixed.free[1].tolist() == [True, False, False]
    assert q.free[0].any() and q.mean[1, 2] != 7


def test_the_closed_form_minimises_the_free_energy(gaussians):
    """Distortion of a linear decoder over the noise's variance, and KL."""
    target = torch.randn(2, 3)
    mu, sigma = (x.requires_grad_() for x in closed_form(target, gaussians))
    error = ((mu - target) ** 2 + sigma**2) / (2 * gaussians.posterior_scale**2)
    energy = torch.where(gaussians.coded, error + kl_nats(mu, torch.where(gaussians.coded, sigma, 1.0), gaussians), 0.0)
    for gradient in torch.autograd.grad(energy.sum(), [mu, sigma]):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-5, rtol=0)
    assert (mu[~gaussians.coded] == gaussians.mean.expand(2, 3)[~gaussians.coded]).all()


def test_means_stay_within_reach(gaussians):
    mu = torch.full((2, 3), 100.0)
    torch.testing.assert_close(reachable(mu, gaussians), gaussians.mean + posterior.REACH * gaussians.scale)
    assert (reachable(gaussians.mean.expand(2, 3), gaussians) == gaussians.mean).all()


def test_budgets_are_of_runs_of_groups():
    """Two blocks: three groups in runs of two, and none."""
    latents = np.array([4, 0, 2, 1])  # of five; in the order of their groups
    parts = Partition(latents, np.array([0, 4, 4]), np.array([2, 1, 1]), np.array([0, 3, 3]))
    budget = Budget.of(parts, 5, 2, 6, CPU)
    assert budget.run.tolist() == [[1, 2, 1, 0, 1], [0] * 5]
    torch.testing.assert_close(budget.allowed[0], torch.tensor([0.0, 12.0, 6.0]) * np.log(2))
    nats = torch.zeros(2, 5)
    nats[0, 1] = 5.0  # more than the second run's 6 bits
    budget.control(nats)
    weights = budget.weights()
    assert weights[0, 1] == pytest.approx(FACTOR)
    assert weights[0, 0] == pytest.approx(1 / FACTOR)
