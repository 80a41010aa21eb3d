"""An operating point: what a prior learned for one beta (FORMAT.md, section 8).

A point has K classes, the last M of them of merged tiles, and a tile names its class. For a latent d of class c,
`kl_index[c, d]` is the index of its average KL in a table of integers, and the prior's scale follows from it
(synthesis/latents.py): one integer gives both the partition and the scale. Floats are only kept here, for synthesis.
"""

from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache

import numpy as np
from numpy.typing import DTypeLike

from ..synthesis.architecture import Architecture
from ..synthesis.array import Array
from ..synthesis.latents import scale_factor, scale_of
from ..synthesis.pyramid import COLOURS, PLAIN, kinds, levels_of
from ..synthesis.squares import place_in_square
from .streams import COST_PER_BIT, Partition, group_count, kl_table, partition

UNMODULATED_PIXELS = 2**14  # a picture of no more has no modulations, and is decoded in double precision
COMPLETED_PIXELS = 2**22  # a larger picture is not completed, so that it can be decoded band by band
NO_SHIFTS = np.zeros((0, COLOURS), np.int64)


@dataclass(frozen=True, eq=False)
class Modulations:
    """The prior of the modulations that a large picture may have: M latents, coded as one block's."""

    scale: np.ndarray  # (M,) float32, prior scales; the means are 0
    kl_index: np.ndarray  # (R, M) uint8, index into kl_table, of pictures of 2^(14 + row) pixels and more

    def kl_of(self, pixels: int) -> np.ndarray | None:
        """KL indices for a picture of so many pixels, as a block's: (1, M) uint8, None where it can have none."""
        if pixels <= UNMODULATED_PIXELS:
            return None
        digits = (pixels // UNMODULATED_PIXELS).bit_length()
        row = min(digits, len(self.kl_index)) - 1
        return self.kl_index[row : row + 1]


@dataclass(frozen=True, eq=False)
class OperatingPoint:
    """Tables of one beta. Shapes: K classes, of which the last M are of merged tiles; U latents of a tile."""

    beta: float  # squared error, summed over pixels, per nat
    mean: np.ndarray  # (U,) float32
    posterior_scale: np.ndarray  # (U,) float32, typical sigma
    kl_index: np.ndarray  # (K - M, U) uint8, index into kl_table
    merged: np.ndarray  # (M, 4, U) uint8, the same of the four tiles that form one
    shared: dict[str, np.ndarray]  # weights of shared layers
    group_bits: int  # bits that a group adds
    index_bits: int  # width of an index that `--effort normal` uses
    contexts: np.ndarray  # (3, K + 1, K) int8, the tables of classmap.py
    modulations: Modulations | None = None
    shifts: np.ndarray = field(default_factory=NO_SHIFTS.copy)  # (kinds - 1, 3) int64, see `lowest_rows`

    def completes(self, height: int, width: int, block: int, classes: np.ndarray) -> bool:
        """Whether a picture of height x width pixels is completed (synthesis/completion.py).

        block: pixels along the side of a block. classes: of its tiles, of any shape.
        """
        if self.modulations is None or min(height, width) < block:
            return False
        merged = classes >= self.single
        fitting = UNMODULATED_PIXELS < height * width <= COMPLETED_PIXELS
        return bool(fitting and merged.any() and not merged.all())

    @property
    def chained(self) -> bool:
        """Whether indices overlap."""
        return self.group_bits < self.index_bits

    @property
    def single(self) -> int:
        """K - M, classes of tiles on their own."""
        return len(self.kl_index)

    @property
    def classes(self) -> int:
        """K."""
        return self.single + len(self.merged)

    @cached_property
    def rows(self) -> np.ndarray:
        """KL indices of every class, at each place in a merged tile, and beyond the picture: (K + 3 M + 1, U) uint8."""
        columns = self.kl_index.shape[1]
        places = self.merged.reshape(-1, columns)
        beyond = np.zeros((1, columns), np.uint8)
        return np.concatenate([self.kl_index, places, beyond])

    def row_of(self, classes: np.ndarray) -> np.ndarray:
        """Number in `rows` of each tile; -1 beyond the picture, as in the classes."""
        place = place_in_square(*classes.shape[-2:])
        return row_of(classes, self.single, place)

    @cached_property
    def lowest_rows(self) -> np.ndarray:
        """KL indices of lowest frequencies by their kind (synthesis/pyramid.py), for each of `rows`: (kinds, rows, 3).

        A kind's costs are so much more than a class says, in 1/256 bit; what has no bits there has none here.
        """
        plain = self.rows[:, :COLOURS]
        cost = kl_table()[plain]
        shifted = np.where(cost > 0, cost + self.shifts[:, None], 0)
        others = np.searchsorted(kl_table(), np.clip(shifted, 0, kl_table()[-1]))
        return np.concatenate([plain[None], others.astype(np.uint8)])

    def kinds(self, classes: np.ndarray) -> np.ndarray:
        """Kinds of these tiles' lowest frequencies: (..., R, C) that begin with a block, -1 beyond the picture."""
        return kinds(classes >= self.single, self.levels, classes >= 0)

    @property
    def levels(self) -> int:
        """Of the pyramid."""
        return levels_of(len(self.lowest_rows))

    @cached_property
    def row_cost(self) -> np.ndarray:
        """Average KL of each row in 1/256 bit, by the kind of its lowest frequency: (kinds, rows) int64."""
        costs = kl_table()
        others = costs[self.rows[:, COLOURS:]].sum(1)
        return others + costs[self.lowest_rows].sum(2)

    @cached_property
    def tile_cost(self) -> np.ndarray:
        """Average KL of a tile of each class in 1/256 bit, all of a merged one, by the kind of its lowest frequency:
        (kinds, K) int64.
        """
        single = self.row_cost[:, : self.single]
        first = self.row_cost[:, self.single : -1 : 4]
        others = self.row_cost[PLAIN, self.single : -1].reshape(-1, 4)[:, 1:]
        return np.concatenate([single, first + others.sum(1)], 1)

    @property
    def tile_bits(self) -> np.ndarray:
        """The same in bits, where lowest frequencies are told as they are: (K,) float64."""
        return self.tile_cost[PLAIN] / COST_PER_BIT

    def of_kind(self, kind: int) -> tuple[np.ndarray, np.ndarray]:
        """`kl_index` and `merged` where lowest frequencies are of a kind."""
        lowest = self.lowest_rows[kind]
        single = self.kl_index.copy()
        single[:, :COLOURS] = lowest[: self.single]
        merged = self.merged.copy()
        merged[:, 0, :COLOURS] = lowest[self.single : -1 : 4]
        return single, merged

    def modulation_kl(self, pixels: int) -> np.ndarray | None:
        """KL indices of the modulations of a picture of so many pixels: (1, M) uint8, None where it can have none."""
        if self.modulations is None:
            return None
        return self.modulations.kl_of(pixels)

    def block_kl(self, classes: np.ndarray) -> np.ndarray:
        """KL indices of whole blocks: (B, n, n) classes of their tiles, -1 beyond the picture -> (B, D) uint8."""
        row = self.row_of(classes)
        found = self.rows[row]
        found[..., :COLOURS] = self.lowest_rows[self.kinds(classes), row]
        return found.reshape(len(classes), -1)

    def partition(self, kl_index: np.ndarray) -> Partition:
        """Groups of blocks: (B, D) KL indices."""
        return partition(kl_index, self.group_bits, self.chained)

    def length_of(self, kl_index: np.ndarray) -> int:
        """Bits of the stream of some latents with these KL indices."""
        total = kl_table()[kl_index].sum()
        return self.group_bits * int(group_count(total, self.group_bits))

    def stream_lengths(self, classes: np.ndarray) -> np.ndarray:
        """Bits of every block's stream: (B, n, n) classes of its tiles, -1 beyond the picture -> (B,) int64."""
        if not self.chained:
            return self._independent_lengths(classes)
        cost = self.row_cost[self.kinds(classes), self.row_of(classes)]
        total = cost.reshape(len(classes), -1).sum(1)
        return self.group_bits * group_count(total, self.group_bits)

    def _independent_lengths(self, classes: np.ndarray) -> np.ndarray:
        """The same by partitions, made once for blocks of like classes."""
        flat = classes.reshape(len(classes), -1)
        kinds, kind = np.unique(flat, axis=0, return_inverse=True)
        kl_index = self.block_kl(kinds.reshape(-1, *classes.shape[1:]))
        counts = self.partition(kl_index).counts
        return self.group_bits * counts[kind.reshape(-1)]

    def scale_of(self, kl_index: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Prior scales of some columns' latents from their KL indices: float32."""
        return scale_of(_scale_factors()[kl_index], self.posterior_scale[columns])

    def shared_in(self, dtype: DTypeLike) -> dict[str, np.ndarray]:
        """Weights of shared layers in some precision."""
        return _shared_in(self, np.dtype(dtype))

    def for_grey(self, architecture: Architecture) -> "OperatingPoint":
        """The point for grey pictures: the colour components after the first are not coded (FORMAT.md, section 5)."""
        if architecture.components == 1:
            return self
        component = np.arange(len(self.mean)) % architecture.components
        coded = component == 0
        return replace(self, kl_index=self.kl_index * coded, merged=self.merged * coded)


def row_of(classes: Array, single: int, place: Array) -> Array:
    """Number of each tile's row among those of all classes, of which merged ones have four: (..., Rt, Ct) int.

    place: `place_in_square` of these tiles. Numpy or torch.
    """
    merged = classes >= single
    return classes + merged * (3 * (classes - single) + place)


@lru_cache(4)
def _shared_in(point: OperatingPoint, dtype: np.dtype) -> dict[str, np.ndarray]:
    return {name: value.astype(dtype) for name, value in point.shared.items()}


@cache
def _scale_factors() -> np.ndarray:
    """`scale_factor` of every KL index: (256,) float64."""
    return scale_factor(kl_table() / COST_PER_BIT)
