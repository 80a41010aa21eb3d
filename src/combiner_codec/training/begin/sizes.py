"""Classes of tiles of both sizes, by the linear part: what tiles cost, which are merged, first tables. Needs torch.

A square of four tiles is one merged tile or four single ones. So the frequency of a class is its share among those of
its size, times the share of its size among squares, to which each of four single tiles contributes the fourth root.

Shapes: N crops of side x side pixels, S squares in all, T tiles; K classes, of which the last M are of merged tiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...encoder.choose.tiling import choose_tiling
from ...encoder.fit.analysis import ColourMap
from ...encoder.fit.lapping import Lapping
from ...synthesis.squares import begins, cells, everywhere, square_sums
from ..shards import Shards
from ..tables import MAP_SHARE, SMOOTHING, Tables
from .mixture import Mixture, classes_by_energy

CROPS_AT_ONCE = 64  # whose latents are computed together
ROUNDS = 14  # of hard EM, from ranks of energies
MORE_ROUNDS = 6  # from a neighbour's tables
CHOICES = 2  # of squares that merged tiles are learned from
MERGED_ROUNDS = 3  # of hard EM after each choice
FIRST_SHARE = 0.6  # of merged squares, before any choice
SHARES = (0.01, 0.99)  # of merged squares, as far as choices are believed


@dataclass(frozen=True)
class Sizes:
    """Classes of an operating point."""

    noise: float  # variance
    single: Tensor  # (K - M, U) variances of prior and noise together
    merged: Tensor  # (M, 4 U)
    frequency: Tensor  # (K,)

    @staticmethod
    def of(tables: Tables, frequency: Tensor, noise: float) -> "Sizes":
        """From tables; noise: variance, of their own operating point or of another."""
        rows = tables.variance + noise
        merged = rows[tables.single :].reshape(-1, 4 * rows.shape[1])
        return Sizes(noise, rows[: tables.single], merged, frequency)

    def costs(
        self,
        latents: Tensor,
        merged: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Least nats and class of all tiles: (n, Rt, Ct, U), (n, Rt, Ct) bool -> (n, Rt, Ct) each, the nats of a merged
        tile at its first.
        """
        nats = np.zeros(merged.shape, np.float32)
        classes = np.zeros(merged.shape, np.uint8)
        singles = len(self.single)
        alone = latents[torch.from_numpy(~merged)]
        nats[~merged], classes[~merged] = self._cheapest(alone, self.single, self.frequency[:singles])
        if merged.any():
            four = cells(merged)
            first = merged & begins(merged)
            together = latents[four].flatten(1)
            nats[first], chosen = self._cheapest(together, self.merged, self.frequency[singles:])
            classes[four] = singles + chosen[:, None]
        return nats, classes

    def _cheapest(
        self,
        latents: Tensor,
        variance: Tensor,
        frequency: Tensor,
    ):
        """Least nats and class of tiles of one size: (T, D), (k, D), (k,) -> (T,) each."""
        mixture = mixture_of(latents**2, len(variance), self.noise, Shards(0))
        nats, classes = mixture.likeliest(variance, frequency, reach=True)
        return nats.cpu().numpy(), classes.cpu().numpy()

    def settled(
        self,
        tile: int,
        colours: ColourMap,
        pixels: Tensor,
    ) -> Tensor:
        """Classes of crops' tiles, merged ones chosen too: (N, side, side, 3) uint8 -> (N, Rt, Ct) uint8."""
        found = []
        for part in pixels.split(CROPS_AT_ONCE):
            field = colours.components(part.float() / 255)
            every = everywhere(tiles_in(tile, part))
            if len(self.merged) and every.any():
                merged = choose_tiling(partial(self._nats, tile, field), every)
            else:
                merged = np.zeros_like(every)
            classes = self._costs_of(tile, field, merged)[1]
            found.append(torch.from_numpy(classes).to(pixels.device))
        return torch.cat(found)

    def _costs_of(
        self,
        tile: int,
        field: Tensor,
        merged: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """`costs` of the tiles of a field (n, side, side, 3)."""
        lapping = Lapping.of(tile, merged, field.device)
        return self.costs(lapping.latents(field), merged)

    def _nats(
        self,
        tile: int,
        field: Tensor,
        tilings: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        return [self._costs_of(tile, field, merged)[0] for merged in tilings]


def mixture_of(
    energy: Tensor,
    classes: int,
    noise: float,
    shards: Shards,
) -> Mixture:
    """Classes of tiles of one size, energies (T, D)."""
    size = energy.shape[1]
    every = energy.new_full((size,), noise)
    return Mixture(energy, every, energy.new_zeros(0, size), classes, shards, SMOOTHING, MAP_SHARE)


def tiles_in(tile: int, pixels: Tensor) -> tuple[int, int, int]:
    """(N, Rt, Ct) of pictures (N, H, W, 3)."""
    count, height, width = pixels.shape[:3]
    return count, height // tile, width // tile


@torch.no_grad()
def energies(
    tile: int,
    colours: ColourMap,
    pixels: Tensor,
    merged: bool,
) -> Tensor:
    """Squares of latents, all tiles single (T, U) or all merged (S, 4 U): (N, side, side, 3) uint8."""
    found = []
    for part in pixels.split(CROPS_AT_ONCE):
        every = everywhere(tiles_in(tile, part)) & merged
        lapping = Lapping.of(tile, every, part.device)
        latents = lapping.latents(colours.components(part.float() / 255))
        if merged:
            tiles = latents[cells(every)].flatten(1)
        else:
            tiles = latents.flatten(0, 2)
        found.append(tiles**2)
    return torch.cat(found)


def first_sizes(
    tile: int,
    colours: ColourMap,
    pixels: Tensor,
    single: Mixture,
    last: Sizes | None,
    merged: int,
) -> Sizes:
    """Classes learned from crops (N, side, side, 3) uint8, whose tiles' energies are those of `single`.

    last: classes of another operating point, if there are any; merged: M.
    """
    shape = tiles_in(tile, pixels)
    noise = float(single.posterior_variance[0])
    if last is not None and len(last.single) == single.classes:
        start = single.likeliest(last.single, last.frequency[: single.classes])[1]
        assigned = single.learn(start, MORE_ROUNDS)[0]
    else:
        start = classes_by_energy(single, shape[1] * shape[2])
        assigned = single.learn(start, ROUNDS)[0]
    variance = single.variances(assigned)
    frequency = single.frequencies(assigned)
    if not merged:
        nothing = variance.new_zeros(0, 4 * variance.shape[1])
        return Sizes(noise, variance, nothing, frequency)
    costs = single.likeliest(variance, frequency, reach=True)[0]
    of_squares = square_sums(costs.reshape(shape).cpu().numpy()).reshape(-1)
    alone = torch.from_numpy(of_squares).to(costs.device)
    every = energies(tile, colours, pixels, merged=True)
    mixture = mixture_of(every, merged, noise, single.shards)
    squares_of_crop = len(every) // max(1, len(pixels))
    of_merged, shares, share = merged_classes(mixture, alone, squares_of_crop, last)
    return Sizes(noise, variance, of_merged, frequencies(frequency, shares, share))


def merged_classes(
    mixture: Mixture,
    alone: Tensor,
    squares_of_crop: int,
    last: Sizes | None,
) -> tuple[Tensor, Tensor, float]:
    """Variances (M, 4 U) and shares (M,) of merged tiles' classes, and the share of merged squares, from all squares.

    Learned from those that cost less merged, in turns with the choice of these. alone: nats of the squares as single
    tiles (S,).
    """
    if last is None:
        start = classes_by_energy(mixture, squares_of_crop)
        assigned = mixture.learn(start, ROUNDS)[0]
        variance = mixture.variances(assigned)
        frequency = mixture.frequencies(assigned)
        share = FIRST_SHARE
    else:
        of_merged = last.frequency[len(last.single) :]
        variance = last.merged
        frequency = of_merged / of_merged.sum()
        share = float(of_merged.sum())
    for _ in range(CHOICES):
        nats, assigned = mixture.likeliest(variance, share * frequency, reach=True)
        better = nats < alone - MAP_SHARE * np.log(1 - share)
        chosen = better.sum().float()[None]
        every = variance.new_full((1,), float(len(better)))
        chosen, every = mixture.shards.sum(chosen, every)
        share = float((chosen / every).clamp(*SHARES))
        some = replace(mixture, energy=mixture.energy[better])
        assigned = some.learn(assigned[better], MERGED_ROUNDS)[0]
        variance = some.variances(assigned)
        frequency = some.frequencies(assigned)
    return variance, frequency, share


def frequencies(
    single: Tensor,
    merged: Tensor,
    share: float,
) -> Tensor:
    """Of all classes, from shares of those of each size (K - M,), (M,), and the share of merged squares: (K,)."""
    return torch.cat([single * (1 - share) ** 0.25, merged * share])


def counted(rows: Tensor, single: int) -> Tensor:
    """Frequencies of classes from the number of tiles of each row, as if every class had one more: (R,) -> (K,)."""
    of_single = rows[:single] + 1
    of_merged = rows[single::4] + 1
    squares_merged = of_merged.sum()
    share = float(squares_merged / (squares_merged + of_single.sum() / 4))
    return frequencies(of_single / of_single.sum(), of_merged / squares_merged, share)
