import numpy as np
import pytest
import torch

from combiner_codec import candidates
from combiner_codec.codec import read_indices
from combiner_codec.coder import Block, Chain, Ratio, choose, gumbels, stream_bits


def ratio(mu, sigma):
    """log q - log p against a standard normal prior: (T, d) twice."""
    return Ratio(1 / sigma, mu)


@pytest.mark.parametrize("dims", [1, 4, 30])
def test_samples_follow_the_posterior(dims):
    """tau = 1: over many seeds the chosen candidates have q's mean and variance, KL (4 bits) being far below the
    budget (12).
    """
    runs, sigma = 2000, 1 / (1 + 3.0 / dims) ** 0.5
    mu = np.linspace(-0.5, 0.5, dims) * 2 / dims**0.5 if dims > 1 else np.array([0.7])
    q = ratio(torch.from_numpy(mu)[None].double(), torch.full((1, dims), sigma, dtype=torch.float64))
    samples = []
    for seed in range(runs):
        eps = torch.from_numpy(candidates.candidates(seed, 0, 4096, dims))
        noise = torch.from_numpy(gumbels(seed, 0, 0, 4096)).float()[None]
        samples.append(eps[choose(q, Block.of(eps), noise)[0]].numpy())
    samples = np.array(samples)
    assert np.abs(samples.mean(0) - mu).max() < 4.5 * sigma / runs**0.5
    assert abs(samples.var(0).mean() / sigma**2 - 1) < 4.5 * (2 / (runs * dims)) ** 0.5


def test_gumbels_fall_and_begin_like_a_standard_gumbel():
    first = np.array([gumbels(seed, 0, 0, 64) for seed in range(3000)])
    assert (np.diff(first, axis=1) < 0).all()
    assert abs(first[:, 0].mean() - 0.5772) < 0.1 and abs(first[:, 0].var() - np.pi**2 / 6) < 0.25


@pytest.mark.parametrize("dims", [1, 3])
def test_index_equals_a_float64_loop_at_narrow_posteriors(dims):
    rng = np.random.default_rng(dims)
    mu, sigma = rng.normal(size=(8, dims)), np.full((8, dims), 1e-3)
    eps = candidates.candidates(1, 0, 65536, dims)
    got = choose(ratio(torch.from_numpy(mu), torch.from_numpy(sigma)), Block.of(torch.from_numpy(eps)))
    wide = eps.astype(np.float64)
    for t in range(8):
        scores = (-0.5 * ((wide - mu[t]) / sigma[t]) ** 2 + 0.5 * wide**2).sum(1)
        assert got[t] == scores.argmax()


def random_chain(widths, index_bits, tiles=3, dims=2, seed=0):
    rng = np.random.default_rng(seed)
    groups = []
    for g, bits in enumerate(widths):
        mu, sigma = rng.normal(size=(tiles, dims)), rng.uniform(0.1, 0.5, (tiles, dims))
        eps = torch.from_numpy(candidates.candidates(seed, g, 1 << index_bits, dims))
        groups.append((bits, ratio(torch.from_numpy(mu), torch.from_numpy(sigma)), Block.of(eps)))
    return groups


def code(groups, index_bits, tiles=3):
    chain = Chain(index_bits, torch.zeros(tiles, dtype=torch.int64))
    for group in groups:
        chain.push(*group)
    return chain.finish().numpy()


def test_chain_finds_the_best_of_all_streams():
    widths, index_bits = [2, 3, 1, 2], 4
    groups = random_chain(widths, index_bits)
    indices = code(groups, index_bits)
    every = ((np.arange(1 << 8)[:, None] >> np.arange(8)[::-1]) & 1).astype(np.uint8)
    windows = read_indices(every, np.array(widths), index_bits)  # (streams, G)
    for t in range(3):
        totals = sum(
            Ratio(q.ratio[t : t + 1], q.centre[t : t + 1]).exact(block.eps.T[windows[:, g]])
            for g, (_, q, block) in enumerate(groups)
        )
        assert windows[int(totals.argmax())].tolist() == indices[t].tolist()


@pytest.mark.parametrize("widths", [[6] * 5, [1, 9, 2, 12, 3], [10, 10]])
def test_indices_are_read_back_from_their_stream(widths):
    """Groups wider than the index pad with zeros; a chain may be cut and go on."""
    indices = code(random_chain(widths, 8), 8)
    stream = np.stack([stream_bits(row, np.array(widths)) for row in indices])
    np.testing.assert_array_equal(read_indices(stream, np.array(widths), 8), indices)


def test_a_chain_goes_on_where_it_was_cut():
    widths = [4] * 12
    groups = random_chain(widths, 8)
    chain = Chain(8, torch.zeros(3, dtype=torch.int64))
    for group in groups[:9]:
        chain.push(*group)
    first = chain.finish(6)
    for group in groups[6:]:
        chain.push(*group)
    indices = torch.cat([first, chain.finish()], 1).numpy()
    stream = np.stack([stream_bits(row, np.array(widths)) for row in indices])
    np.testing.assert_array_equal(read_indices(stream, np.array(widths), 8), indices)


def test_overlapping_indices_beat_independent_ones():
    """White Gaussian data, 1 bit a dimension: chained 12-bit windows against independent 12-bit groups, distortion."""
    rng = np.random.default_rng(0)
    target = rng.normal(size=(4, 240))
    scale = np.sqrt(0.75)  # backward channel: source variance 1, distortion 1/4

    def run(bits):
        step, chosen, chain = bits, [], Chain(12, torch.zeros(4, dtype=torch.int64))
        blocks = []
        for g, start in enumerate(range(0, 240, step)):
            eps = torch.from_numpy(candidates.candidates(0, g, 4096, step))
            r = torch.full((4, step), scale / 0.5 * 1.0, dtype=torch.float64)
            chain.push(
                bits, Ratio((r**2 + 1) ** 0.5, torch.from_numpy(target[:, start : start + step]) / scale), Block.of(eps)
            )
            blocks.append(eps)
        for g, index in enumerate(chain.finish().T):
            chosen.append(scale * blocks[g][index].numpy())
        return ((np.concatenate(chosen, 1) - target) ** 2).mean()

    assert run(4) < 0.93 * run(12)
