"""M-steps: tables of an operating point from what visits have seen since the last one. Needs torch.

Shapes: see tables.py.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from .points import Points
from .shards import Shards
from .tables import SMOOTHING, Tables

CURVATURE = (0.3, 3.0)  # as far as measured curvatures are believed
FEW = 50  # probes' worth of the neighbours' curvature in that of a frequency


@torch.no_grad()
def m_step(tile: int, shards: Shards, points: Points, p: int) -> None:
    """Tables of point p from all evidence, in place; the evidence starts afresh."""
    evidence = points.evidence.of(p)
    tables = updated(tile, points.tables(p), shards.sum(*evidence))
    points.variance[p] = tables.variance
    points.curvature[p] = tables.curvature
    for sums in evidence:
        sums.zero_()


def updated(
    tile: int,
    tables: Tables,
    sums: tuple[Tensor, ...],
) -> Tables:
    """Curvature from the probes, if there were any, and prior variances from the posteriors.

    sums: tiles (R,), energy (R, U), squares (U,) and probes (U,) of all processes, see `Evidence`.
    """
    tiles, energy, squares, probes = sums
    drawn = SMOOTHING * tables.variance
    variance = (energy + drawn) / (tiles + SMOOTHING)[:, None]
    curvature = torch.where(probes.any(), curvature_of(tile, squares, probes), tables.curvature)
    return replace(tables, variance=variance.clamp(min=0), curvature=curvature)


def curvature_of(
    tile: int,
    squares: Tensor,
    probes: Tensor,
) -> Tensor:
    """Mean squares of J's columns, drawn to those of frequencies around where there are few: (U,) -> (U,)."""
    nearby = (_around(tile, squares) + 2) / (_around(tile, probes) + 2)  # 1 where there are none
    drawn = FEW * nearby
    return ((squares + drawn) / (probes + FEW)).clamp(*CURVATURE)


def _around(tile: int, sums: Tensor) -> Tensor:
    """Means over 3 x 3 frequencies: (U,) -> (U,)."""
    planes = sums.reshape(1, tile, tile, 3).permute(0, 3, 1, 2)
    padded = functional.pad(planes, (1, 1, 1, 1), mode="replicate")
    means = functional.avg_pool2d(padded, 3, 1)
    return means[0].permute(1, 2, 0).reshape(-1)
