"""Which operating point and which classes suit a picture, before anything is fitted. Needs torch.

Everything is judged by the linear part, whose posterior has a closed form. Shapes: P pictures of H x W pixels (whole
tiles), Rt x Ct tiles, T of them in all, K classes, the last M of merged tiles; grey pictures have one channel, others
three. What belongs to a merged tile stands at the first of its four.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ...format.prior import OperatingPoint, Prior
from ..fit.analysis import decompose
from ..fit.posterior import shared_weights
from .class_costs import Classes, kinds, tile_nats
from .class_maps import cheapest
from .tiling import begins, cells, choose_tiling, everywhere, squares

TILES = 1024  # of pictures whose class costs are computed at once
NUMBER = 7.0  # bits of a class in a map, about; with 4, J of files was 0.8 % higher at beta 0.03, the same at 0.0085


@dataclass(frozen=True)
class Chooser:
    """Choices for one prior and one beta."""

    prior: Prior
    beta: float  # squared error, summed over pixels, per nat
    points: tuple[int, ...]  # operating points to choose from
    trials: int  # of them wanted for a picture

    def point(self, number: int, pictures) -> OperatingPoint:
        """An operating point for (P, H, W, 1 or 3) pictures."""
        return self.prior.operating_point(number, grey=pictures.shape[-1] == 1)

    @property
    def linear(self) -> bool:
        """Whether there is a linear part to judge by."""
        return self.prior.architecture.field.linear

    def rank(self, count: int, cost: Callable[[int, np.ndarray], np.ndarray]) -> np.ndarray:
        """Operating points of every one of `count` pictures, best first: (P, trials).

        cost: `total_cost` at an operating point, of some pictures by their numbers (n,): (n,). Downhill from the points
        learned for betas around this one, until a point's neighbours are no better. Without a linear part the nearest
        of them.
        """
        beyond = max(1, self.trials - 1)
        totals = np.full((count, len(self.points)), np.inf)
        unknown = np.full(totals.shape, True)
        away = np.abs(np.log(self.prior.betas)[list(self.points)] - np.log(self.beta))
        centre = np.full(count, away.argmin())
        if not self.linear:
            totals[:] = away
        while self.linear and len(self.points) > 1:
            near = np.abs(np.arange(len(self.points)) - centre[:, None]) <= beyond
            for i in np.flatnonzero((near & unknown).any(0)):
                some = np.flatnonzero(near[:, i] & unknown[:, i])
                totals[some, i] = cost(self.points[i], some)
            unknown &= ~near
            best = totals.argmin(1)
            if (best == centre).all():
                break
            centre = best
        return np.array(self.points)[totals.argsort(1)[:, : self.trials]]

    def total_cost(self, point: OperatingPoint, pictures) -> np.ndarray:
        """Lagrangian of (P, H, W, 1 or 3) pictures: (P,). As if merged tiles and others did not disturb each other."""
        costs = [squares(self.least(point, pictures, merged)) for merged in self._uniform(point, pictures)]
        return np.min(costs, 0).sum((1, 2))

    def classes(self, point: OperatingPoint, pictures) -> np.ndarray:
        """Classes of the tiles of (P, H, W, 1 or 3) pictures: (P, Rt, Ct)."""
        return cheapest(point, self.tile_costs(point, pictures, self.tiling(point, pictures)), self.beta)

    def tiling(self, point: OperatingPoint, pictures) -> np.ndarray:
        """Which tiles of (P, H, W, 1 or 3) pictures are merged: (P, Rt, Ct) bool."""
        first, *rest = self._uniform(point, pictures)
        return choose_tiling(lambda merged: self.least(point, pictures, merged), *rest) if rest else first

    def least(self, point: OperatingPoint, pictures, merged: np.ndarray) -> np.ndarray:
        """`tile_costs` of the best class, and of its number where there are several: (P, Rt, Ct)."""
        number = NUMBER * self.beta * np.log(2) if point.classes > 1 else 0.0
        if not self.linear:
            return self.tile_costs(point, pictures, merged)[..., 0] + number
        rates, costs, (single, four) = self._rates(point), np.zeros(merged.shape, np.float32), self._kinds(point)
        for some, alone, firsts, own, squares_of in self._latents(point, pictures, merged):
            costs[some][alone] = single.least(own, rates[: point.single])
            costs[some][firsts] = four.least(squares_of, rates[point.single :])
        return costs + number * begins(merged)

    def tile_costs(self, point: OperatingPoint, pictures, merged: np.ndarray) -> np.ndarray:
        """Lagrangian distortion + beta ln 2 bits of all tiles of (P, H, W, 1 or 3) pictures: (P, Rt, Ct, K)."""
        return self.tile_errors(point, pictures, merged) + self._rates(point) * begins(merged)[..., None]

    def tile_errors(self, point: OperatingPoint, pictures, merged: np.ndarray) -> np.ndarray:
        """`Classes.errors` of all tiles of (P, H, W, 1 or 3) pictures: (P, Rt, Ct, K); infinite for classes that a tile
        of its size cannot have.
        """
        if not self.linear:
            return np.zeros((*merged.shape, 1), np.float32)
        errors = np.full((*merged.shape, point.classes), np.inf, np.float32)
        errors[merged, point.single :] = 0
        single, four = self._kinds(point)
        for some, alone, firsts, own, squares_of in self._latents(point, pictures, merged):
            errors[some][alone, : point.single] = single.errors(own)
            errors[some][firsts, point.single :] = four.errors(squares_of)
        return errors

    def _rates(self, point):
        """beta ln 2 bits of each class: (K,) float32."""
        return (self.beta * tile_nats(point)).astype(np.float32)

    def _kinds(self, point) -> tuple[Classes, Classes]:
        """Classes of tiles on their own, and of merged ones."""
        return kinds(point, self.prior.architecture.side)

    def _latents(self, point, pictures, merged):
        """A few pictures at a time: which they are, where their tiles on their own are and the first ones of merged
        ones, (p, Rt, Ct) bool each, and the latents of both, less the prior's mean: (T, U) and (T', 4 U).
        """
        shared, mean = shared_weights(point), torch.from_numpy(point.mean)
        each = max(1, TILES // merged[0].size)
        for some in (slice(i, i + each) for i in range(0, len(pictures), each)):
            own = merged[some]
            latents = decompose(self.prior.architecture, shared, pictures[some], own) - mean
            alone, four = latents[torch.from_numpy(~own)], latents[cells(own)].flatten(1)
            yield some, ~own, own & begins(own), alone, four

    def _uniform(self, point, pictures) -> list[np.ndarray]:
        """No tile merged, and if there are classes for that, as many as can be: (P, Rt, Ct) bool each."""
        tile = self.prior.architecture.tile
        shape = (len(pictures), *(size // tile for size in pictures.shape[1:3]))
        every = everywhere(shape)
        return [np.zeros(shape, bool), *([every] if len(point.merged) and every.any() else [])]
