"""Classes of tiles of both sizes, by the linear part: what tiles cost, which are merged, first tables. Needs torch.

A square of four tiles is one merged tile or four single ones. So the frequency of a class is its share among those of
its size, times the share of its size among squares, to which each of four single tiles contributes the fourth root.

Shapes: N crops of side x side pixels, S squares in all, T tiles; K classes, of which the last M are of merged tiles.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from ..encoder.choose.tiling import choose_tiling
from ..synthesis.architecture import Architecture
from ..synthesis.squares import begins, cells, everywhere, square_sums
from .lapping import Lapping, decompose
from .mixture import MAP_SHARE, SMOOTHING, Mixture, classes_by_energy
from .shards import Shards
from .tables import Tables

AT_ONCE = 64  # crops whose latents are computed together
ROUNDS, MORE_ROUNDS = 14, 6  # of hard EM, from ranks of energies and from a neighbour's tables
CHOICES, MERGED_ROUNDS = 2, 3  # choices of squares that merged tiles are learned from; rounds of hard EM after each
FIRST_SHARE, SHARES = 0.6, (0.01, 0.99)  # of merged squares: before any choice; as far as choices are believed


@dataclass(frozen=True)
class Sizes:
    """Classes of an operating point."""

    noise: float  # variance
    single: torch.Tensor  # (K - M, U) variances of prior and noise together
    merged: torch.Tensor  # (M, 4 U)
    frequency: torch.Tensor  # (K,)

    @staticmethod
    def of(tables: Tables, frequency: torch.Tensor, noise: float) -> "Sizes":
        """From tables; noise: variance, of their own operating point or of another."""
        rows = tables.variance + noise
        merged = rows[tables.single :].reshape(-1, 4 * rows.shape[1])
        return Sizes(noise, rows[: tables.single], merged, frequency)

    def costs(self, latents: torch.Tensor, merged: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Least nats and class of all tiles: (n, Rt, Ct, U), (n, Rt, Ct) bool -> (n, Rt, Ct) each, the nats of a merged
        tile at its first.
        """
        nats, classes = np.zeros(merged.shape, np.float32), np.zeros(merged.shape, np.uint8)
        count = len(self.single)
        nats[~merged], classes[~merged] = self._cheapest(latents[torch.from_numpy(~merged)], self.single, slice(count))
        if merged.any():
            four, place = cells(merged), merged & begins(merged)
            nats[place], chosen = self._cheapest(latents[four].flatten(1), self.merged, slice(count, None))
            classes[four] = count + chosen[:, None]
        return nats, classes

    def _cheapest(self, latents, variance, own):
        """Least nats and class of tiles of one size: (T, D), (k, D) -> (T,) each."""
        mixture = mixture_of(latents**2, len(variance), self.noise, Shards(0))
        return (values.cpu().numpy() for values in mixture.likeliest(variance, self.frequency[own], reach=True))

    def settled(self, architecture: Architecture, colour: dict, pixels: torch.Tensor) -> torch.Tensor:
        """Classes of crops' tiles, merged ones chosen too: (N, side, side, 3) uint8 -> (N, Rt, Ct) uint8."""
        found = []
        for part in pixels.split(AT_ONCE):
            shown, every = part.float() / 255, everywhere(tiles_in(architecture, part)) & (len(self.merged) > 0)

            def costs(merged, shown=shown):
                lapping = Lapping.of(architecture.tile, merged, shown.device)
                return self.costs(decompose(architecture, colour, shown, lapping), merged)

            merged = choose_tiling(lambda merged, costs=costs: costs(merged)[0], every) if every.any() else every
            found.append(torch.from_numpy(costs(merged)[1]).to(shown.device))
        return torch.cat(found)


def mixture_of(energy: torch.Tensor, classes: int, noise: float, shards: Shards) -> Mixture:
    """Classes of tiles of one size, energies (T, D)."""
    D = energy.shape[1]
    every = energy.new_full((D,), noise)
    return Mixture(energy, every, energy.new_zeros(0, D), classes, shards, SMOOTHING, MAP_SHARE)


def tiles_in(architecture: Architecture, pixels: torch.Tensor) -> tuple[int, int, int]:
    """(N, Rt, Ct) of pictures (N, H, W, 3)."""
    return len(pixels), *(size // architecture.tile for size in pixels.shape[1:3])


@torch.no_grad()
def energies(architecture: Architecture, colour: dict, pixels: torch.Tensor, merged: bool) -> torch.Tensor:
    """Squares of latents, all tiles single (T, U) or all merged (S, 4 U): (N, side, side, 3) uint8."""
    found = []
    for part in pixels.split(AT_ONCE):
        every = everywhere(tiles_in(architecture, part)) & merged
        lapping = Lapping.of(architecture.tile, every, part.device)
        latents = decompose(architecture, colour, part.float() / 255, lapping)
        found.append((latents[cells(every)] if merged else latents.flatten(0, 2)[:, None]).flatten(1) ** 2)
    return torch.cat(found)


def first_sizes(
    architecture: Architecture, colour: dict, pixels: torch.Tensor, single: Mixture, last: Sizes | None, M: int
) -> Sizes:
    """Classes learned from crops (N, side, side, 3) uint8, whose tiles' energies are those of `single`.

    last: classes of another operating point, if there are any.
    """
    shape, noise = tiles_in(architecture, pixels), float(single.posterior_variance[0])
    if last is not None and len(last.single) == single.classes:
        start = single.likeliest(last.single, last.frequency[: single.classes])[1]
        assigned = single.learn(start, MORE_ROUNDS)[0]
    else:
        assigned = single.learn(classes_by_energy(single, shape[1] * shape[2]), ROUNDS)[0]
    variance, frequency = single.variances(assigned), single.frequencies(assigned)
    if not M:
        return Sizes(noise, variance, variance.new_zeros(0, 4 * architecture.tile_latents), frequency)
    costs = single.likeliest(variance, frequency, reach=True)[0]
    costs = torch.from_numpy(square_sums(costs.reshape(shape).cpu().numpy())).reshape(-1).to(costs.device)
    every = energies(architecture, colour, pixels, merged=True)
    mixture = mixture_of(every, M, noise, single.shards)
    merged, own, share = merged_classes(mixture, costs, len(every) // max(1, len(pixels)), last)
    return Sizes(noise, variance, merged, frequencies(frequency, own, share))


def merged_classes(
    mixture: Mixture, alone: torch.Tensor, squares: int, last: Sizes | None
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Variances (M, 4 U) and shares (M,) of merged tiles' classes, and the share of merged squares, from all squares.

    Learned from those that cost less merged, in turns with the choice of these. alone: nats of the squares as single
    tiles (S,); squares: of a crop.
    """
    if last is None:
        assigned, share = mixture.learn(classes_by_energy(mixture, squares), ROUNDS)[0], FIRST_SHARE
        variance, frequency = mixture.variances(assigned), mixture.frequencies(assigned)
    else:
        own = last.frequency[len(last.single) :]
        variance, frequency, share = last.merged, own / own.sum(), float(own.sum())
    for _ in range(CHOICES):
        nats, assigned = mixture.likeliest(variance, share * frequency, reach=True)
        better = nats < alone - MAP_SHARE * np.log(1 - share)
        count, n = mixture.shards.sum(better.sum().float()[None], variance.new_full((1,), float(len(better))))
        share = float((count / n).clamp(*SHARES))
        some = replace(mixture, energy=mixture.energy[better])
        assigned = some.learn(assigned[better], MERGED_ROUNDS)[0]
        variance, frequency = some.variances(assigned), some.frequencies(assigned)
    return variance, frequency, share


def frequencies(single: torch.Tensor, merged: torch.Tensor, share: float) -> torch.Tensor:
    """Of all classes, from shares of those of each size (K - M,), (M,), and the share of merged squares: (K,)."""
    return torch.cat([single * (1 - share) ** 0.25, merged * share])


def counted(rows: torch.Tensor, single: int) -> torch.Tensor:
    """Frequencies of classes from the number of tiles of each row, as if every class had one more: (R,) -> (K,)."""
    one, four = rows[:single] + 1, rows[single::4] + 1
    share = float(four.sum() / (four.sum() + one.sum() / 4))
    return frequencies(one / one.sum(), four / four.sum(), share)
