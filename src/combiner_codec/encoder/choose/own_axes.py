"""Colour axes of a picture's own: those that make its tiles likeliest. Needs torch.

Judged by the linear part, on a sample of tiles with plain cosines: their marginal likelihood, each in its best class.
Shapes: T tiles of n x n pixels with U = 3 n n coefficients, K classes of single tiles.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import torch

from ...format.operating_point import UNMODULATED_PIXELS, OperatingPoint
from ...format.prior import Prior
from ...synthesis.architecture import Architecture
from ...synthesis.colour_axes import LEAST, MOST, UNIT, UNTURNED, Axes, rotation
from ...synthesis.lapped import cosines
from ...synthesis.pyramid import PLAIN
from ..fit.analysis import ColourMap
from ..fit.posterior import shared_weights
from ..goal import Goal
from ..settings import Settings, noise_variance
from .class_costs import ClassSums, costs_by_size, tile_nats

SAMPLE = 512  # tiles of a picture that are looked at; with 1,024 the same J within 0.1 %
GOLDEN = (5**0.5 - 1) / 2  # multiples of it spread evenly
STEPS = (16, 8, 4, 2)  # of one part of the axes, in units of 1 / UNIT
WORTH = 2 * 24 * np.log(2)  # nats that axes have to save: twice what they take


def axes_of(picture: np.ndarray, prior: Prior, settings: Settings, goal: Goal | None) -> Axes | None:
    """Axes for a plane (H, W) or (H, W, 3), None where the prior's are as good.

    Small pictures keep the prior's, so that they can be fitted together.
    """
    architecture = prior.architecture
    large = picture.shape[0] * picture.shape[1] > UNMODULATED_PIXELS
    possible = picture.ndim == 3 and architecture.field.linear and settings.plan.axes
    if not (large and possible):
        return None
    tiles = sample(picture, architecture.tile)
    if not len(tiles):
        return None
    number = settings.point
    if number is None:
        number = _near(tiles, picture, prior, settings.beta, goal)
    found = SampledTiles(tiles, prior.operating_point(number), architecture)
    axes = found.best()
    saved = found.nats(UNTURNED) - found.nats(axes)
    saved *= _tile_count(picture, architecture.tile) / len(tiles)
    return axes if saved > WORTH else None


def sample(picture: np.ndarray, tile: int) -> np.ndarray:
    """Some whole tiles of a picture, spread over it: (H, W, 3) -> (T, n, n, 3)."""
    rows = picture.shape[0] // tile
    columns = picture.shape[1] // tile
    count = rows * columns
    if count <= SAMPLE:
        numbers = np.arange(count)
    else:
        places = np.arange(SAMPLE) * GOLDEN % 1
        numbers = (places * count).astype(np.int64)
    inside = picture[: rows * tile, : columns * tile]
    by_tile = inside.reshape(rows, tile, columns, tile, 3)
    return by_tile[numbers // columns, :, numbers % columns]


def _tile_count(picture: np.ndarray, tile: int) -> float:
    """Tiles of a picture, parts of one counted as such."""
    return picture.shape[0] * picture.shape[1] / tile**2


def _near(tiles: np.ndarray, picture: np.ndarray, prior: Prior, beta: float, goal: Goal | None) -> int:
    """Number of an operating point that is about right for a beta, or for a goal."""
    betas = prior.betas
    if goal is None:
        return int(np.abs(np.log(betas) - np.log(beta)).argmin())
    if goal.psnr is not None:  # squared error is about beta
        return int(np.abs(np.log(betas) + goal.psnr * np.log(10) / 10).argmin())
    scale = _tile_count(picture, prior.architecture.tile) / len(tiles)

    def size(number: int) -> float:
        """Bytes of the picture at an operating point, about."""
        found = SampledTiles(tiles, prior.operating_point(number), prior.architecture)
        return scale * found.coded_nats / np.log(2) / 8

    return min(bisect_left(range(len(betas)), goal.size, key=size), len(betas) - 1)


@dataclass(frozen=True)
class SampledTiles:
    """Some tiles at an operating point."""

    tiles: np.ndarray  # (T, n, n, 3) uint8
    point: OperatingPoint
    architecture: Architecture

    @cached_property
    def components(self) -> torch.Tensor:
        """Coefficients of the prior's colour components: (T, n, n, 3), frequency down and across."""
        colours = ColourMap.of(self.architecture, shared_weights(self.point))
        pixels = torch.from_numpy(self.tiles).float() / 255
        transform = torch.from_numpy(cosines(self.architecture.tile)).float()
        down = torch.tensordot(transform, colours.components(pixels), ([1], [1]))  # (v, T, x, 3)
        return torch.tensordot(transform, down, ([1], [2])).permute(2, 1, 0, 3)

    @cached_property
    def classes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Nats of each class without energy, (K,), and of a unit of energy, (U, K); float32."""
        costs, _ = costs_by_size(self.point, self.architecture.side)
        variance = costs.posterior_scale.double() ** 2
        sums = ClassSums.of(costs.scale, variance)
        undamped = variance / noise_variance(self.point.beta)
        slopes = 0.5 * undamped[:, None] * sums.precision
        return sums.evidence.float(), slopes.float()

    def _class_nats(self, axes: Axes) -> torch.Tensor:
        """-log marginal likelihood of every tile in every class, up to a constant: (T, K)."""
        turn = torch.from_numpy(rotation(axes).T).float()
        energy = (self.components @ turn) ** 2
        evidence, slopes = self.classes
        return torch.addmm(evidence, energy.flatten(1), slopes)

    def nats(self, axes: Axes) -> float:
        """Of all tiles, each in its best class."""
        return float(self._class_nats(axes).amin(1).sum())

    @property
    def coded_nats(self) -> float:
        """What the best classes of all tiles cost in a file."""
        chosen = self._class_nats(UNTURNED).argmin(1)
        return float(tile_nats(self.point)[PLAIN, chosen.numpy()].sum())

    def best(self) -> Axes:
        """The likeliest axes: downhill from the better of the prior's and the principal ones, one part at a time."""
        known: dict[Axes, float] = {}

        def nats(axes: Axes) -> float:
            if axes not in known:
                known[axes] = self.nats(axes)
            return known[axes]

        best = min((UNTURNED, self.principal()), key=nats)
        for step in STEPS:
            better = self._downhill(nats, best, step)
            while better != best:
                best = better
                better = self._downhill(nats, best, step)
        return best

    def _downhill(self, nats: Callable[[Axes], float], axes: Axes, step: int) -> Axes:
        """The first of the axes a step away that is better, else the same."""
        for direction in np.eye(3):
            for change in (step, -step):
                other = limited(np.array(axes) + change * direction)
                if nats(other) < nats(axes):
                    return other
        return axes

    def principal(self) -> Axes:
        """Principal axes of the tiles' gradients, about: of coefficients times frequency."""
        frequency = torch.arange(self.architecture.tile).double()
        weight = frequency[:, None] ** 2 + frequency**2
        components = self.components.double()
        products = torch.einsum("tvhc,vh,tvhd->cd", components, weight, components)
        axes = torch.linalg.eigh(products)[1].flip(1).T
        return nearest(axes.numpy())


def nearest(turn: np.ndarray) -> Axes:
    """Axes for a rotation of components whose signs do not matter: (3, 3) orthonormal, rows new components by old."""
    rotations = []
    for signs in product((1, -1), repeat=3):
        flipped = np.array(signs)[:, None] * turn
        if np.linalg.det(flipped) > 0:
            rotations.append(flipped)
    least = max(rotations, key=np.trace)  # by the smallest angle
    skew = least - least.T
    sines = np.array([skew[2, 1], skew[0, 2], skew[1, 0]])
    tangents = sines / (1 + np.trace(least))  # Cayley's map: of half the angle, along the axis of rotation
    return limited(np.rint(UNIT * tangents))


def limited(parts: np.ndarray) -> Axes:
    """Parts as a file can hold them: (3,) integers."""
    a, b, c = np.clip(parts, LEAST, MOST).astype(int).tolist()
    return a, b, c
