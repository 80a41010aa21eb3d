"""What all operating points of a family begin with: classes by hard EM, posteriors in closed form. Needs torch.

Shapes: see persistent.py.
"""

from collections.abc import Iterator

import torch

from ..encoder.analysis import decompose
from ..encoder.posterior import closed_form, noise_variance, reachable
from ..synthesis.architecture import Architecture
from .persistent import Crops, Evidence, Point, count, updated
from .recipes import TrainSettings
from .shards import Shards
from .sizes import AT_ONCE, Sizes, counted, energies, first_sizes, mixture_of
from .tables import Tables


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
    U = architecture.own
    rows = torch.cat([sizes.single, sizes.merged.reshape(-1, U)]) - sizes.noise
    tables = Tables(beta, torch.zeros(U), torch.ones(U), rows, len(sizes.single))
    assigned, evidence = sizes.settled(architecture, colour, pixels), Evidence.none(tables)
    for target, classes in targets(architecture, colour, tables, pixels, assigned):
        count(evidence, target**2 - sizes.noise, tables.rows_of(classes))
    frequency = counted(shards.sum(evidence.tiles)[0], tables.single)
    tables = updated(architecture, shards, tables, evidence)
    crops = closed(architecture, colour, tables, pixels, assigned)
    return Point(tables, frequency, crops, Evidence.none(tables))


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
    return Crops(pixels, assigned, torch.cat(differences))


def targets(architecture: Architecture, colour: dict, tables: Tables, pixels, assigned) -> Iterator[tuple]:
    """Of some crops at a time: latents whose linear part reproduces them (n, Rt, Ct, U), and classes, int64."""
    for some, classes in zip(pixels.split(AT_ONCE), assigned.split(AT_ONCE), strict=True):
        yield decompose(architecture, colour, some.float() / 255, tables.merged(classes)), classes.long()
