"""M-steps: a draft's tables from its posteriors and from probes of the network, in closed form. Needs torch.

Shapes: see pictures.py.
"""

from dataclasses import replace

import torch

from ..encoder.analysis import tiles_of
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
    n, sums, above = pictures.shards.sum(*posterior_energy(pictures, replace(draft, tables=tables)))
    tiles = (sums + smoothing * tables.tiles.clamp(min=0)) / (n + smoothing)[:, None]
    tiles = tiles.clamp(min=0)
    fixed = flat_variances(pictures.architecture, len(tiles))
    tiles[len(tiles) - len(fixed) :] = fixed
    return replace(draft, tables=replace(tables, tiles=tiles, above=(above / pictures.shards.count).clamp(min=0)))


def measured_curvature(pictures: Pictures, probe: Probe, last: torch.Tensor) -> torch.Tensor:
    """Mean squares of J's columns, (U,); the last ones if there were no probes."""
    square, count = pictures.shards.sum(probe.square, torch.tensor([float(probe.count)]))
    if count == 0:
        return last
    return (pictures.column_sums(square[None])[0] / pictures.repeats / count).clamp(*CURVATURE)


def posterior_energy(pictures: Pictures, draft: Draft) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tiles of each class (K,), and sums of `fixed_point` over tiles of each class (K, own) and, for the levels above
    tiles, over pictures (U - own,).
    """
    n = torch.bincount(draft.assigned.reshape(-1), minlength=len(draft.tables.tiles)).float()
    sums, above = torch.zeros_like(draft.tables.tiles), torch.zeros_like(draft.tables.above)
    for rows in torch.arange(len(draft.posterior_mean)).split(AT_ONCE):
        prior, scale = draft.posterior(pictures.architecture, rows)
        energy = fixed_point(draft.posterior_mean[rows], scale, prior)
        tiles = tiles_of(pictures.architecture, energy).reshape(-1, pictures.own)
        sums.index_add_(0, draft.assigned[rows].reshape(-1), tiles)
        above += pictures.by_column(energy)[:, pictures.own :].sum(0)
    return n, sums, above


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
