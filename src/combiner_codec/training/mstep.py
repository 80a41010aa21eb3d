"""M-steps: a draft's tables from its posteriors and from probes of the network, in closed form. Needs torch.

Shapes: see pictures.py.
"""

from dataclasses import replace

import torch

from ..encoder.posterior import Gaussians
from .classes import flat_variances
from .draft import Draft, widening
from .estep import Probe
from .pictures import AT_ONCE, Pictures

CURVATURE = (0.3, 3.0)  # as far as measured curvatures are believed
LOUD = 2.0  # widening below which the data speak: s^2 > sigma^2


@torch.no_grad()
def m_step(pictures: Pictures, smoothing: float, draft: Draft, probe: Probe) -> Draft:
    """Curvature from the probes, prior variances from the posteriors, both in closed form."""
    tables = replace(draft.tables, curvature=measured_curvature(pictures, probe, draft.tables.curvature))
    n, sums = pictures.shards.sum(*posterior_energy(replace(draft, tables=tables)))
    variance = (sums + smoothing * tables.variance.clamp(min=0)) / (n + smoothing)[:, None]
    variance = variance.clamp(min=0)
    fixed = flat_variances(pictures.architecture, len(variance))
    variance[len(variance) - len(fixed) :] = fixed
    return replace(draft, tables=replace(tables, variance=variance))


def measured_curvature(pictures: Pictures, probe: Probe, last: torch.Tensor) -> torch.Tensor:
    """Mean squares of J's columns, (U,); the last ones if there were no probes."""
    square, count = pictures.shards.sum(probe.square, torch.tensor([float(probe.count)]))
    if count == 0:
        return last
    return (square / count).clamp(*CURVATURE)


def posterior_energy(draft: Draft) -> tuple[torch.Tensor, torch.Tensor]:
    """Tiles of each class (K,), and sums of `fixed_point` over them (K, U)."""
    variance = draft.tables.variance
    n, sums = torch.bincount(draft.assigned.reshape(-1), minlength=len(variance)).float(), torch.zeros_like(variance)
    for rows in torch.arange(len(draft.posterior_mean)).split(AT_ONCE):
        prior, scale = draft.posterior(rows)
        energy = fixed_point(draft.posterior_mean[rows], scale, prior)
        sums.index_add_(0, draft.assigned[rows].reshape(-1), energy.flatten(0, 2))
    return n, sums


def fixed_point(mean: torch.Tensor, scale: torch.Tensor, prior: Gaussians) -> torch.Tensor:
    """What an M-step averages to get s^2, per latent, from posterior means and scales.

    The plain s^2 = mean(sigma^2 + (mu - m)^2) creeps, as mu is shrunk by the last s. Where the data speak (LOUD) this
    takes its fixed point instead: with likelihood terms N(pulled; h, v) held fixed, v the typical posterior variance,
    that is s^2 = mean((pulled - m)^2) - v. (Elsewhere the jump multiplies the noise of mu: tried, and ELBO got worse
    below 0.5 bpp.)
    """
    factor = widening(prior)
    jump = (factor * (mean - prior.mean)) ** 2 - prior.posterior_scale**2
    return torch.where(factor < LOUD, jump, scale**2 + (mean - prior.mean) ** 2)
