"""What all operating points of a family begin with: classes by hard EM or those of a prior file, posteriors in closed
form. Needs torch.

Shapes: see persistent.py.
"""

from collections.abc import Iterator

import numpy as np
import torch

from ..encoder.fit.posterior import as_tensor, closed_form, noise_variance, reachable
from ..format.prior import OperatingPoint
from ..synthesis.architecture import Architecture
from .lapping import Lapping, decompose
from .persistent import Crops, Evidence, Point, count, updated
from .recipes import TrainSettings
from .shards import Shards
from .sizes import AT_ONCE, Sizes, counted, energies, first_sizes, mixture_of
from .tables import Tables

FIRST = 256  # crops that a prior file's classes are counted on before they are chosen


def first_points(
    architecture: Architecture, colour: dict, pixels: list[torch.Tensor], settings: TrainSettings, shards: Shards
) -> list[Point]:
    """All operating points, from the middle outwards, as each starts from a neighbour's classes.

    pixels: (N, side, side, 3) uint8 of each.
    """
    found, middle = {}, len(pixels) // 2
    for p in (*range(middle, len(pixels)), *range(middle - 1, -1, -1)):
        neighbour, noise = found.get(p - 1 if p > middle else p + 1), noise_variance(settings.betas[p])
        last = Sizes.of(neighbour.tables, neighbour.frequency, noise) if neighbour else None
        single = energies(architecture, colour, pixels[p], merged=False)
        mixture = mixture_of(single, settings.classes[p], noise, shards)
        sizes = first_sizes(architecture, colour, pixels[p], mixture, last, settings.merged)
        del single, mixture  # hundreds of megabytes
        found[p] = first_point(architecture, colour, pixels[p], sizes, settings.betas[p], shards)
    return [found[p] for p in range(len(pixels))]


@torch.no_grad()
def first_point(
    architecture: Architecture, colour: dict, pixels: torch.Tensor, sizes: Sizes, beta: float, shards: Shards
) -> Point:
    """An operating point before its first visit; its tables are those of the linear part, of tiles as they lie."""
    U = architecture.tile_latents
    rows = torch.cat([sizes.single, sizes.merged.reshape(-1, U)]) - sizes.noise
    tables = Tables(beta, rows.new_zeros(U), rows.new_ones(U), rows, len(sizes.single))
    assigned, evidence = sizes.settled(architecture, colour, pixels), Evidence.none(tables)
    for target, classes in targets(architecture, colour, tables, pixels, assigned):
        count(evidence, target**2 - sizes.noise, tables.rows_of(classes))
    frequency = counted(shards.sum(evidence.tiles)[0], tables.single)
    tables = updated(architecture, shards, tables, evidence)
    crops = closed(architecture, colour, tables, pixels, assigned)
    return Point(tables, frequency, crops, Evidence.none(tables))


@torch.no_grad()
def points_of(
    known: list[OperatingPoint], architecture: Architecture, colour: dict, pixels: list[torch.Tensor], shards: Shards
) -> list[Point]:
    """All operating points with tables as prior files have them."""
    points = []
    for own, crops in zip(known, pixels, strict=True):
        scales = own.posterior_scale, own.scale_of(np.concatenate([own.kl_index, *own.merged]), slice(None))
        posterior, variance = (as_tensor(scale, crops.device) ** 2 for scale in scales)
        noise, mean = noise_variance(own.beta), as_tensor(own.mean, crops.device)
        tables = Tables(own.beta, mean, noise / posterior, variance, own.single)
        frequency = variance.new_full((own.classes,), 1 / own.classes)
        for some in (crops[:FIRST], crops):  # frequencies from a few
            sizes = Sizes.of(tables, frequency, noise)
            assigned = sizes.settled(architecture, colour, some)
            tiles = torch.bincount(tables.rows_of(assigned.long()).reshape(-1), minlength=len(variance))
            frequency = counted(shards.sum(tiles.float())[0], tables.single)
        points.append(
            Point(tables, frequency, closed(architecture, colour, tables, crops, assigned), Evidence.none(tables))
        )
    return points


def held_crops(architecture: Architecture, colour: dict, point: Point, pixels: torch.Tensor) -> Crops:
    """Other crops as an operating point begins with them: (N, side, side, 3) uint8."""
    sizes = Sizes.of(point.tables, point.frequency, point.unit**2)
    return closed(architecture, colour, point.tables, pixels, sizes.settled(architecture, colour, pixels))


@torch.no_grad()
def closed(architecture: Architecture, colour: dict, tables: Tables, pixels, assigned) -> Crops:
    """Crops (N, side, side, 3) uint8 of classes (N, Rt, Ct) with the posteriors of the linear part."""
    unit, differences = noise_variance(tables.beta) ** 0.5, []
    for target, classes in targets(architecture, colour, tables, pixels, assigned):
        prior = tables.prior(classes)
        mean = reachable(closed_form(target, prior)[0], prior)
        differences.append(((mean - target) / unit).half())
    lapping = Lapping.of(architecture.tile, tables.merged(assigned), pixels.device)
    return Crops(pixels, assigned, torch.cat(differences), lapping)


def targets(architecture: Architecture, colour: dict, tables: Tables, pixels, assigned) -> Iterator[tuple]:
    """Of some crops at a time: latents whose linear part reproduces them (n, Rt, Ct, U), and classes, int64."""
    for some, classes in zip(pixels.split(AT_ONCE), assigned.split(AT_ONCE), strict=True):
        lapping = Lapping.of(architecture.tile, tables.merged(classes), pixels.device)
        yield decompose(architecture, colour, some.float() / 255, lapping), classes.long()
