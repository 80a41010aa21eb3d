"""What all operating points of a family begin with: classes by hard EM, posteriors in closed form. Needs torch.

Shapes: see persistent.py.
"""

import numpy as np
import torch

from ..encoder.analysis import decompose
from ..encoder.posterior import closed_form, noise_variance, reachable
from ..synthesis.architecture import Architecture
from .classes import classes_by_energy
from .draft import Tables
from .mixture import MAP_SHARE, Mixture
from .persistent import Crops, Evidence, Point
from .pictures import AT_ONCE
from .recipes import JointSettings
from .shards import Shards

ROUNDS, MORE_ROUNDS = 14, 6  # of hard EM, from ranks of energies and from a neighbour's tables
REACH_ROUNDS = 2  # of these with what lies out of reach counted, at the end


def first_points(
    architecture: Architecture, colour: dict, pixels: list[torch.Tensor], settings: JointSettings, shards: Shards
) -> list[Point]:
    """All operating points, from the middle outwards, as each starts from a neighbour's classes.

    pixels: (N, side, side, 3) uint8 of each.
    """
    found, middle = {}, len(pixels) // 2
    for p in (*range(middle, len(pixels)), *range(middle - 1, -1, -1)):
        neighbour = found.get(p - 1 if p > middle else p + 1)
        energy = energies(architecture, colour, pixels[p])
        variance = torch.full((architecture.own,), noise_variance(settings.betas[p]))
        fixed, K = torch.zeros(0, architecture.own), settings.classes[p]
        mixture = Mixture(energy, variance, fixed, K, shards, settings.smoothing, MAP_SHARE)
        found[p] = first_point(architecture, colour, pixels[p], mixture, neighbour, settings.betas[p])
    return [found[p] for p in range(len(pixels))]


def first_point(
    architecture: Architecture,
    colour: dict,
    pixels: torch.Tensor,
    mixture: Mixture,
    neighbour: Point | None,
    beta: float,
) -> Point:
    """An operating point before its first visit; its tables are those of the linear part."""
    tiles, variance = (pixels.shape[1] // architecture.tile) ** 2, mixture.posterior_variance
    if neighbour and len(neighbour.frequency) == mixture.classes:
        marginal = neighbour.marginal.clamp(min=variance)
        assigned = mixture.learn(mixture.likeliest(marginal, neighbour.frequency), MORE_ROUNDS)[0]
    else:
        assigned = mixture.learn(classes_by_energy(mixture, tiles), ROUNDS)[0]
    for _ in range(REACH_ROUNDS):
        assigned = mixture.likeliest(mixture.variances(assigned), mixture.frequencies(assigned), reach=True)
    excess, own = mixture.variances(assigned) - variance, architecture.own
    tables = Tables(beta, torch.zeros(own), torch.ones(own), excess)
    crops = closed(architecture, colour, tables, pixels, in_rows(architecture, pixels, assigned))
    return Point(tables, mixture.frequencies(assigned), crops, Evidence.none(mixture.classes, architecture))


def held_crops(architecture: Architecture, colour: dict, point: Point, pixels: torch.Tensor) -> Crops:
    """Other crops as an operating point begins with them: (N, side, side, 3) uint8."""
    energy, none = energies(architecture, colour, pixels), torch.zeros(0, architecture.own)
    variance = torch.full((architecture.own,), point.unit**2)
    mixture = Mixture(energy, variance, none, len(point.frequency), Shards(0), 0.0, MAP_SHARE)
    assigned = mixture.likeliest(point.marginal, point.frequency, reach=True)
    return closed(architecture, colour, point.tables, pixels, in_rows(architecture, pixels, assigned))


@torch.no_grad()
def closed(architecture: Architecture, colour: dict, tables: Tables, pixels, assigned) -> Crops:
    """Crops (N, side, side, 3) uint8 of classes (N, Rt, Ct) with the posteriors of the linear part."""
    unit, differences = noise_variance(tables.beta) ** 0.5, []
    for some, classes in zip(pixels.split(AT_ONCE), assigned.split(AT_ONCE), strict=True):
        target = decompose(architecture, colour, some.float() / 255, np.zeros(classes.shape, bool))
        prior = tables.prior(classes.long())
        mean = reachable(closed_form(target, prior)[0], prior)
        differences.append(((mean - target) / unit).half())
    return Crops(pixels, assigned, torch.cat(differences))


@torch.no_grad()
def energies(architecture: Architecture, colour: dict, pixels: torch.Tensor) -> torch.Tensor:
    """Squares of the tiles' latents: (N, side, side, 3) uint8 -> (N * Rt * Ct, U)."""
    n = pixels.shape[1] // architecture.tile
    none = np.zeros((AT_ONCE, n, n), bool)
    parts = (decompose(architecture, colour, part.float() / 255, none[: len(part)]) for part in pixels.split(AT_ONCE))
    return torch.cat([part.flatten(0, 2) ** 2 for part in parts])


def in_rows(architecture: Architecture, pixels: torch.Tensor, assigned: torch.Tensor) -> torch.Tensor:
    """Classes of all tiles as those of crops: (N * Rt * Ct,) -> (N, Rt, Ct) uint8."""
    n = pixels.shape[1] // architecture.tile
    return assigned.reshape(len(pixels), n, n).to(torch.uint8)
