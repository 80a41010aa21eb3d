"""What all operating points of a family begin with: classes by hard EM or those of a prior file, posteriors in closed
form. Needs torch. Shapes: see tables.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...encoder.fit.analysis import ColourMap
from ...encoder.fit.lapping import Lapping
from ...encoder.fit.posterior import as_tensor, closed_form, noise_variance, reachable
from ...format.prior import OperatingPoint
from ..m_step import updated
from ..plan import Plan
from ..points import Crops, Evidence, Points
from ..tables import Tables
from .sizes import CROPS_AT_ONCE, Sizes, counted, energies, first_sizes, mixture_of

COUNTED = 256  # crops that a prior file's classes are counted on before they are chosen


@dataclass(frozen=True)
class First:
    """Tables of one operating point before its first visit, and classes of its crops' tiles."""

    tables: Tables
    frequency: Tensor  # (K,)
    assigned: Tensor  # (N, Rt, Ct) uint8

    def chosen(
        self,
        colours: ColourMap,
        tile: int,
        pixels: Tensor,
    ) -> Tensor:
        """Classes of other crops: (n, side, side, 3) uint8 -> (n, Rt, Ct) uint8."""
        sizes = Sizes.of(self.tables, self.frequency, self.tables.noise)
        return sizes.settled(tile, colours, pixels)


@torch.no_grad()
def learned_first(
    plan: Plan,
    colours: ColourMap,
    pixels: Tensor,
) -> list[First]:
    """All operating points in closed form, from the middle outwards, as each starts from a neighbour's classes.

    pixels: (P, N, side, side, 3) uint8.
    """
    found = {}
    middle = len(pixels) // 2
    for p in range(middle, len(pixels)):
        found[p] = _first(plan, colours, pixels[p], p, found.get(p - 1))
    for p in range(middle - 1, -1, -1):
        found[p] = _first(plan, colours, pixels[p], p, found[p + 1])
    return [found[p] for p in range(len(pixels))]


def _first(
    plan: Plan,
    colours: ColourMap,
    pixels: Tensor,
    p: int,
    neighbour: First | None,
) -> First:
    """One operating point, number p: (N, side, side, 3) uint8."""
    tile = plan.architecture.tile
    noise = noise_variance(plan.settings.betas[p])
    last = None
    if neighbour is not None:
        last = Sizes.of(neighbour.tables, neighbour.frequency, noise)
    single = energies(tile, colours, pixels, merged=False)
    mixture = mixture_of(single, plan.settings.classes[p], noise, plan.shards)
    sizes = first_sizes(tile, colours, pixels, mixture, last, plan.settings.merged)
    del single, mixture  # hundreds of megabytes
    return _of_linear_part(plan, colours, pixels, sizes, plan.settings.betas[p])


def _of_linear_part(
    plan: Plan,
    colours: ColourMap,
    pixels: Tensor,
    sizes: Sizes,
    beta: float,
) -> First:
    """With tables of tiles as they lie."""
    size = plan.architecture.tile_latents
    assigned = sizes.settled(plan.architecture.tile, colours, pixels)
    marginal = torch.cat([sizes.single, sizes.merged.reshape(-1, size)])
    variance = marginal - sizes.noise
    mean = variance.new_zeros(size)
    curvature = variance.new_ones(size)
    tables = Tables(beta, mean, curvature, variance, len(sizes.single))
    evidence = Evidence.none(variance[None])
    only = torch.zeros(1, dtype=torch.int64, device=variance.device)
    for target, classes in targets(plan.architecture.tile, colours, pixels, assigned, tables.single):
        evidence.count(only, target**2 - sizes.noise, tables.rows_of(classes))
    sums = plan.shards.sum(*evidence.of(0))
    frequency = counted(sums[0], tables.single)
    return First(updated(plan.architecture.tile, tables, sums), frequency, assigned)


@torch.no_grad()
def known_first(
    plan: Plan,
    colours: ColourMap,
    known: list[OperatingPoint],
    pixels: Tensor,
) -> list[First]:
    """All operating points with tables as prior files have them: (P, N, side, side, 3) uint8."""
    firsts = []
    for point, crops in zip(known, pixels, strict=True):
        tables = _tables_of(point, crops.device)
        frequency = tables.variance.new_full((point.classes,), 1 / point.classes)
        for some in (crops[:COUNTED], crops):  # frequencies from a few
            sizes = Sizes.of(tables, frequency, tables.noise)
            assigned = sizes.settled(plan.architecture.tile, colours, some)
            rows = tables.rows_of(assigned.long()).reshape(-1)
            tiles = torch.bincount(rows, minlength=len(tables.variance)).float()
            (tiles,) = plan.shards.sum(tiles)
            frequency = counted(tiles, tables.single)
        firsts.append(First(tables, frequency, assigned))
    return firsts


def _tables_of(point: OperatingPoint, device: torch.device) -> Tables:
    """As a prior file has them."""
    kl_index = np.concatenate([point.kl_index, *point.merged])
    variance = as_tensor(point.scale_of(kl_index, slice(None)), device) ** 2
    posterior_variance = as_tensor(point.posterior_scale, device) ** 2
    curvature = noise_variance(point.beta) / posterior_variance
    return Tables(point.beta, as_tensor(point.mean, device), curvature, variance, point.single)


@torch.no_grad()
def stacked(
    plan: Plan,
    colours: ColourMap,
    firsts: list[First],
    pixels: Tensor,
    held: Tensor | None,
) -> Points:
    """All operating points with posteriors in closed form, of training crops (P, N, side, side, 3) uint8 and of the
    validation crops (n, side, side, 3), if there are any.

    Where one has fewer classes than others, rows that no tile takes stand for the rest.
    """
    tile = plan.architecture.tile
    single = max(plan.settings.classes)
    tables = [first.tables for first in firsts]
    betas = torch.tensor(plan.settings.betas, dtype=torch.float64).to(plan.device)
    mean = torch.stack([one.mean for one in tables])
    curvature = torch.stack([one.curvature for one in tables])
    singles = [one.single for one in tables]
    variance = alike([one.variance for one in tables], singles, single)
    frequency = alike([first.frequency for first in firsts], singles, single)
    crops = _closed_crops(colours, tile, tables, [first.assigned for first in firsts], pixels, single)
    held_crops = None
    if held is not None:
        chosen = [first.chosen(colours, tile, held) for first in firsts]
        of_points = held.expand(len(firsts), *held.shape)
        held_crops = _closed_crops(colours, tile, tables, chosen, of_points, single)
    evidence = Evidence.none(variance)
    return Points(betas, mean, curvature, variance, frequency, single, colours, evidence, crops, held_crops)


def alike(values: list[Tensor], singles: list[int], most: int) -> Tensor:
    """Rows of the classes of all points, each with `singles` of single tiles, as one tensor: (P, rows, ...)."""
    pairs = list(zip(values, singles, strict=True))
    merged = max(len(rows) - single for rows, single in pairs)
    return torch.stack([with_rest(rows, single, most, merged) for rows, single in pairs])


def with_rest(values: Tensor, single: int, most: int, merged: int) -> Tensor:
    """Rows of classes with zeros after those of single tiles, so that there are `most`, and after those of merged ones,
    so that there are `merged`.
    """
    filled = values.new_zeros(most + merged, *values.shape[1:])
    filled[:single] = values[:single]
    filled[most : most + len(values) - single] = values[single:]
    return filled


def _closed_crops(colours, tile, tables, chosen, pixels, most):
    """Crops of all operating points: (P, N, side, side, 3) uint8, classes (N, Rt, Ct) of each."""
    shape = len(tables), *chosen[0].shape
    assigned = torch.zeros(shape, dtype=torch.uint8, device=pixels.device)
    size = len(tables[0].mean)
    difference = torch.zeros(*shape, size, dtype=torch.float16, device=pixels.device)
    for p in range(len(tables)):
        first = 0
        for target, classes in targets(tile, colours, pixels[p], chosen[p], tables[p].single):
            prior = tables[p].prior(classes)
            mean = reachable(closed_form(target, prior)[0], prior)
            end = first + len(target)
            difference[p, first:end] = (mean - target) / tables[p].unit
            first = end
        merged = chosen[p] >= tables[p].single
        rest = most - tables[p].single
        assigned[p] = torch.where(merged, chosen[p] + rest, chosen[p])
    return Crops.of(pixels, assigned, difference, most, tile)


def targets(
    tile: int,
    colours: ColourMap,
    pixels: Tensor,
    assigned: Tensor,
    single: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Of some crops at a time: latents whose linear part reproduces them (n, Rt, Ct, U), and classes, int64."""
    parts = zip(pixels.split(CROPS_AT_ONCE), assigned.split(CROPS_AT_ONCE), strict=True)
    for some, classes in parts:
        merged = classes.cpu().numpy() >= single
        lapping = Lapping.of(tile, merged, pixels.device)
        yield lapping.latents(colours.components(some.float() / 255)), classes.long()
