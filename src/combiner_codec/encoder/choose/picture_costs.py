"""What the tiles of pictures cost at an operating point, by the linear part. Needs torch.

Shapes: P pictures of H x W pixels (whole tiles), Rt x Ct tiles, K classes, the last M of merged tiles; grey pictures
have one channel, others three. What belongs to a merged tile stands at the first of its four.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...format.operating_point import OperatingPoint
from ...synthesis.architecture import Architecture
from ...synthesis.pyramid import kinds
from ...synthesis.squares import begins, cells, everywhere
from ..fit.analysis import decompose
from ..fit.posterior import shared_weights
from ..looks import ComponentWeights
from ..threads import ALONE, Threads
from .class_costs import ClassCosts, costs_by_size, tile_nats

TileWeights = np.ndarray | None  # of squared error (looks.py): (P, Rt, Ct) float32; None where all are 1

TILES_AT_ONCE = 1024  # of pictures whose latents are computed together
# Bits of a class in a map, about. With 4, J of files was 0.8 % higher at beta 0.03 and the same at 0.0085.
CLASS_BITS = 7.0


@dataclass(frozen=True)
class TileLatents:
    """Tiles of some pictures with lowest frequencies of one kind: T on their own and S merged ones, their latents less
    the prior's mean.
    """

    kind: int  # pyramid.py
    pictures: slice  # which they are
    alone: np.ndarray  # (p, Rt, Ct) bool, tiles on their own
    first: np.ndarray  # (p, Rt, Ct) bool, the first ones of merged tiles
    single: torch.Tensor  # (T, U)
    merged: torch.Tensor  # (S, 4 U)


@dataclass(frozen=True)
class PictureCosts:
    """Costs of pictures' tiles, which may be merged in any way."""

    architecture: Architecture
    point: OperatingPoint  # for colour or for grey pictures, as these are
    pictures: torch.Tensor  # (P, H, W, 1 or 3)
    beta: float  # squared error, summed over pixels, per nat
    threads: Threads = ALONE
    weights: TileWeights = None
    components: ComponentWeights | None = None  # where there are weights

    @property
    def linear(self) -> bool:
        """Whether there is a linear part to judge by. Without one there is one class, and nothing to choose."""
        return self.architecture.field.linear

    @property
    def shape(self) -> tuple[int, int, int]:
        """(P, Rt, Ct)."""
        count, height, width, _ = self.pictures.shape
        return count, height // self.architecture.tile, width // self.architecture.tile

    def mergeable(self) -> np.ndarray:
        """As many tiles merged as can be, none where there are no classes for that: (P, Rt, Ct) bool."""
        if len(self.point.merged):
            return everywhere(self.shape)
        return np.zeros(self.shape, bool)

    def leasts(self, tilings: Sequence[np.ndarray]) -> list[np.ndarray]:
        """`least` with several tilings, each on a thread of its own where one has too little work for all threads."""
        if tilings[0].size > TILES_AT_ONCE * self.threads.count:
            return [self.least(merged) for merged in tilings]
        return self.threads.map(replace(self, threads=ALONE).least, tilings)

    def least(self, merged: np.ndarray) -> np.ndarray:
        """`costs` of the best class, and of its number where there are several: (P, Rt, Ct) bool -> (P, Rt, Ct)."""
        class_bits = CLASS_BITS if self.point.classes > 1 else 0.0
        number = class_bits * self.beta * np.log(2)
        if not self.linear:
            return self.costs(merged)[..., 0] + number
        costs = np.zeros(merged.shape, np.float32)
        single = self.point.single
        for some in self._latents(merged):
            found = costs[some.pictures]
            of_single, of_merged = self._class_costs(some.kind)
            rates = self._rates()[some.kind]
            of_alone, of_first = self._of_tiles(some)
            found[some.alone] = of_single.least(some.single, rates[:single], self.threads, of_alone)
            found[some.first] = of_merged.least(some.merged, rates[single:], self.threads, of_first)
        return costs + number * begins(merged)

    def costs(self, merged: np.ndarray) -> np.ndarray:
        """Lagrangian distortion + beta ln 2 bits of all tiles: (P, Rt, Ct) bool -> (P, Rt, Ct, K)."""
        rates = self._rates()[self._kinds(merged)] * begins(merged)[..., None]
        return self.errors(merged) + rates

    def errors(self, merged: np.ndarray) -> np.ndarray:
        """`ClassCosts.errors` of all tiles, infinite for classes that a tile of its size cannot have.

        (P, Rt, Ct) bool -> (P, Rt, Ct, K) float32.
        """
        if not self.linear:
            return np.zeros((*merged.shape, 1), np.float32)
        shape = (*merged.shape, self.point.classes)
        errors = np.full(shape, np.inf, np.float32)
        single = self.point.single
        errors[merged, single:] = 0
        for some in self._latents(merged):
            found = errors[some.pictures]
            of_single, of_merged = self._class_costs(some.kind)
            found[some.alone, :single] = of_single.errors(some.single, self.threads)
            found[some.first, single:] = of_merged.errors(some.merged, self.threads)
        if self.weights is not None:
            errors *= self.weights[..., None]
        return errors

    def _of_tiles(self, some: TileLatents) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Weights of the tiles of some pictures: (T,) and (S,)."""
        if self.weights is None:
            return None, None
        weights = self.weights[some.pictures]
        return weights[some.alone], weights[some.first]

    def _class_costs(self, kind: int) -> tuple[ClassCosts, ClassCosts]:
        """Of tiles on their own and of merged ones with lowest frequencies of a kind."""
        return costs_by_size(self.point, self.architecture.side, self._latent_weights, kind)

    def _kinds(self, merged: np.ndarray) -> np.ndarray:
        """Of the tiles' lowest frequencies: (p, Rt, Ct) bool -> (p, Rt, Ct) int."""
        return kinds(merged, self.architecture.pyramid)

    @property
    def _latent_weights(self) -> tuple[int, ComponentWeights] | None:
        """What `latent_weights` takes."""
        return None if self.components is None else (self.architecture.tile, self.components)

    def _rates(self):
        """beta ln 2 bits of each class, by the kind of lowest frequencies: (kinds, K) float32."""
        return (self.beta * tile_nats(self.point)).astype(np.float32)

    def _latents(self, merged) -> Iterator[TileLatents]:
        """Of a few pictures at a time, one kind after another."""
        shared = shared_weights(self.point)
        mean = torch.from_numpy(self.point.mean)
        pictures_at_once = max(1, TILES_AT_ONCE // merged[0].size)
        for start in range(0, len(merged), pictures_at_once):
            some = slice(start, start + pictures_at_once)
            tiling = merged[some]
            latents = decompose(self.architecture, shared, self.pictures[some], tiling) - mean
            picture, row, column = cells(tiling)
            four = latents[picture, row, column].flatten(1)
            found = self._kinds(tiling)
            of_merged = found[picture[:, 0], row[:, 0], column[:, 0]]
            for kind in np.unique(found).tolist():
                here = found == kind
                alone = ~tiling & here
                first = tiling & begins(tiling) & here
                single = latents[torch.from_numpy(alone)]
                yield TileLatents(kind, some, alone, first, single, four[torch.from_numpy(of_merged == kind)])
