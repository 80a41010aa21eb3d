"""Which operating point, which tiling and which classes suit a picture, before anything is fitted. Needs torch.

Everything is judged by the linear part, whose posterior has a closed form (picture_costs.py). Shapes: P pictures of
H x W pixels (whole tiles), Rt x Ct tiles; grey pictures have one channel, others three.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...format.operating_point import OperatingPoint
from ...format.prior import Prior
from ...synthesis.colour_axes import Axes
from ...synthesis.squares import as_squares, square_sums
from ..fit.analysis import ColourMap
from ..fit.posterior import shared_weights
from ..looks import component_weights
from ..threads import ALONE, Threads
from .class_costs import silent_classes
from .class_maps import cheapest
from .picture_costs import PictureCosts, TileWeights
from .tiling import choose_tiling

MOSTLY = 0.5  # share of a picture's tiles from which on silent classes make it what it is: a drawing

# costs of some pictures, by their numbers (n,), at an operating point: (n,)
CostOf = Callable[[int, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Chooser:
    """Choices for one prior and one beta."""

    prior: Prior
    beta: float  # squared error, summed over pixels, per nat
    points: tuple[int, ...]  # operating points to choose from
    trials: int  # of them wanted for a picture
    threads: Threads = ALONE
    axes: Axes | None = None  # of the pictures' colours

    def rank(self, count: int, cost_of: CostOf) -> np.ndarray:
        """Operating points of every one of `count` pictures, best first: (P, trials).

        cost_of: their `total_cost`. Downhill from the points learned for betas around this one, until a point's
        neighbours are no better. Without a linear part the nearest of them.
        """
        betas = np.array([self.prior.betas[number] for number in self.points])
        away = np.abs(np.log(betas) - np.log(self.beta))
        if self.prior.architecture.field.linear:
            totals = self._downhill(count, cost_of, away.argmin())
        else:
            totals = np.tile(away, (count, 1))
        best_first = totals.argsort(1)[:, : self.trials]
        return np.array(self.points)[best_first]

    def _downhill(self, count, cost_of, start):
        """Costs of every picture at the points around its best one, infinite elsewhere: (P, points)."""
        places = np.arange(len(self.points))
        totals = np.full((count, len(places)), np.inf)
        if len(places) == 1:
            return totals  # nothing to choose
        reach = max(1, self.trials - 1)
        known = np.zeros(totals.shape, bool)
        centre = np.full(count, start)
        while True:
            near = np.abs(places - centre[:, None]) <= reach
            asked = near & ~known
            for i in np.flatnonzero(asked.any(0)):
                some = np.flatnonzero(asked[:, i])
                totals[some, i] = cost_of(self.points[i], some)
            known |= near
            best = totals.argmin(1)
            if (best == centre).all():
                return totals
            centre = best

    def total_cost(self, point: OperatingPoint, pictures: torch.Tensor, weights: TileWeights = None) -> np.ndarray:
        """Lagrangian of (P, H, W, 1 or 3) pictures: (P,). As if merged tiles and others did not disturb each other."""
        costs = self.costs(point, pictures, weights)
        every = costs.mergeable()
        tilings = [np.zeros_like(every), every] if every.any() else [every]
        of_squares = [square_sums(found) for found in costs.leasts(tilings)]
        return np.minimum.reduce(of_squares).sum((1, 2))

    def tile_costs(self, point: OperatingPoint, pictures: torch.Tensor, weights: TileWeights = None) -> np.ndarray:
        """`total_cost` by tiles: (P, H, W, 1 or 3) -> (P, Rt, Ct). Four that are better merged share the gain.

        Without a pyramid, in which one tile would bear what its neighbours save.
        """
        alone = replace(self.prior.architecture, pyramid=0)
        costs = replace(self.costs(point, pictures, weights), architecture=alone)
        every = costs.mergeable()
        if not every.any():
            return costs.least(every)
        of_tiles, of_merged = costs.leasts((np.zeros_like(every), every))
        share = np.minimum(square_sums(of_merged) / square_sums(of_tiles), 1)
        return of_tiles * np.where(every, as_squares(share, every.shape), 1)

    def tiling(self, point: OperatingPoint, pictures: torch.Tensor, weights: TileWeights = None) -> np.ndarray:
        """Which tiles of (P, H, W, 1 or 3) pictures are merged: (P, Rt, Ct) bool."""
        costs = self.costs(point, pictures, weights)
        every = costs.mergeable()
        return choose_tiling(costs.leasts, every) if every.any() else every

    def classes(self, point: OperatingPoint, pictures: torch.Tensor, weights: TileWeights = None) -> np.ndarray:
        """Classes of the tiles of (P, H, W, 1 or 3) pictures: (P, Rt, Ct)."""
        merged = self.tiling(point, pictures, weights)
        costs = self.costs(point, pictures, weights).costs(merged)
        classes = cheapest(point, costs, self.beta)
        if weights is None:
            return classes
        dotted = self._dotted(point, classes)
        if dotted.any():
            costs[dotted] = np.where(silent_classes(point), np.inf, costs[dotted])
            classes[dotted] = cheapest(point, costs[dotted], self.beta)
        return classes

    def _dotted(self, point: OperatingPoint, classes: np.ndarray) -> np.ndarray:
        """Pictures with tiles of silent classes among many others, (P, Rt, Ct) -> (P,) bool. Between the two kinds
        biases are those of no class, and a network draws coloured dots, which cost little and are seen.
        """
        share = silent_classes(point)[classes].mean((1, 2))
        return (share > 0) & (share < MOSTLY)

    def costs(self, point: OperatingPoint, pictures: torch.Tensor, weights: TileWeights = None) -> PictureCosts:
        """Of the tiles of (P, H, W, 1 or 3) pictures."""
        architecture = self.prior.architecture
        if self.axes is not None:
            colours = ColourMap.of(architecture, shared_weights(point))
            pictures = colours.with_components_turned(pictures, self.axes)
        components = None if weights is None else component_weights(architecture, point, self.axes)
        return PictureCosts(architecture, point, pictures, self.beta, self.threads, weights, components)
