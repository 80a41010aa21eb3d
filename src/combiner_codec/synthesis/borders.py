"""Borders of lapped tiles: samples mixed with those mirrored there, over half of the smaller neighbour (FORMAT.md,
section 7, "Field"). For numpy and for torch.

The sine window of Princen and Bradley (1986). Borders between rows of tiles are mixed before those between columns, so
any choice of merged tiles is orthonormal. Shapes: P pictures of R x C tiles of `hop` pixels, H x W pixels in all, three
colour components. `merged` (P, R, C) bool marks all four tiles of a merged one, which begins at an even row and column.
"""

from dataclasses import dataclass, field
from functools import cache, lru_cache, partial

import numpy as np

from .array import Array
from .rectangle import Rectangle, grown

REMEMBERED_TILES = 2**12  # of pictures whose borders are remembered, at most
REMEMBERED_PICTURES = 16


@dataclass(frozen=True)
class Borders:
    """Borders along one axis of S pixels, for each of the n tiles across it: y = keep * x + mix * (x mirrored)."""

    hop: int
    keep: np.ndarray  # (P, n, S)
    mix: dict[int, np.ndarray]  # by pixels mirrored on either side of a border: (P, n, S)
    # what `_between_rows` has made
    known: dict[tuple[object, ...], Array] = field(default_factory=dict, compare=False, repr=False)

    @staticmethod
    def of(merged: np.ndarray, hop: int) -> "Borders":
        """Of tiles in order along the axis: (P, n, S / hop)."""
        if merged.size <= REMEMBERED_TILES:
            return _known(merged.tobytes(), merged.shape, hop)
        return Borders._of(merged, hop)

    @staticmethod
    def _of(merged: np.ndarray, hop: int) -> "Borders":
        pictures, lines, tiles = merged.shape
        size = tiles * hop
        keep = np.ones((pictures, lines, size))
        mix = {}
        for half, where in borders_of(merged, hop).items():
            if where.any():
                kept, taken = window(half)
                keep += _spread(where, kept - 1, size)
                mix[half] = _spread(where, taken, size)
        return Borders(hop, keep, mix)

    def of_pictures(self, some: slice) -> "Borders":
        """Of some of the pictures only."""
        mix = {half: values[some] for half, values in self.mix.items()}
        return Borders(self.hop, self.keep[some], mix)

    def reached(self, line: range) -> range:
        """Pixels along the axis that have to be mixed at once for some of them: from one widest border to another, with
        more than what a border mirrors on either side.
        """
        size = self.keep.shape[2]
        return grown(line, self.hop, 2 * self.hop, size)

    def mixed_part(self, y, part: Rectangle, ops):
        """Borders between columns mixed in a part of the pictures: (P, h, 3, w'), its rows and the columns `reached`,
        -> (P, h, 3, w).
        """
        reached = self.reached(part.columns)
        mixed = self.mixed(y, 3, ops, 1, part.rows.start, reached.start)
        start = part.columns.start - reached.start
        return mixed[..., start : start + len(part.columns)]

    def mixed_part_back(self, y, part: Rectangle, ops):
        """The transpose: (P, h, 3, w) -> (P, h, 3, w')."""
        reached = self.reached(part.columns)
        start = part.columns.start - reached.start
        if reached != part.columns:
            wide = ops.zeros((*y.shape[:3], len(reached)), y)
            wide[..., start : start + len(part.columns)] = y
            y = wide
        return self.mixed(y, 3, ops, -1, part.rows.start, reached.start)

    def mixed(self, y, axis: int, ops, sign: int = 1, first: int = 0, along: int = 0):
        """Pixels (P, H, 3, W) with borders along axis 1 or 3 mixed; sign -1 undoes it.

        first: number of the first of y's lines across the axis; along: of the first of its columns, for axis 3.
        """
        placed = self._between_rows if axis == 1 else partial(self._between_columns, along)
        total = y * placed(self.keep, 0, y, ops, first)
        for half, values in self.mix.items():
            around = paired(y.shape[axis], half)
            where = (slice(None), around) if axis == 1 else (..., around)
            other = mirrored(y[where], half, axis, ops) * placed(values, half, y, ops, first)[where]
            if sign > 0:
                total[where] += other
            else:
                total[where] -= other
        return total

    def _between_columns(self, along: int, values, half: int, y, ops, first: int):
        """Values where the pixels of y have them: (P, n, S) -> (P, H, 1, W)."""
        tiles = (first + np.arange(y.shape[1])) // self.hop
        here = values[:, tiles[0] : tiles[-1] + 1, along : along + y.shape[3]]
        return ops.constant(here, y)[:, tiles - tiles[0]][:, :, None]

    def _between_rows(self, values, half: int, y, ops, first: int):
        """The same for borders between rows: (P, n, H) -> (P, H, 1, W)."""
        if not ops.KEEPS:
            return self._turned(values, y, ops, first)
        key = half, first, y.shape[3], y.dtype, y.device
        found = self.known.get(key)
        if found is None:
            found = self._turned(values, y, ops, first).contiguous()
            if values.size <= REMEMBERED_TILES * self.hop:
                self.known[key] = found
        return found

    def _turned(self, values, y, ops, first: int):
        """A fit, which asks for these in every step, has them made once."""
        tiles = (first + np.arange(y.shape[3])) // self.hop
        here = values[:, tiles[0] : tiles[-1] + 1]
        return ops.constant(here, y)[:, tiles - tiles[0]].swapaxes(1, 2)[:, :, None]


@lru_cache(REMEMBERED_PICTURES)
def _known(merged: bytes, shape: tuple[int, ...], hop: int) -> Borders:
    """Borders of pictures that are not large."""
    return Borders._of(np.frombuffer(merged, bool).reshape(shape), hop)


def borders_of(merged: np.ndarray, hop: int) -> dict[int, np.ndarray]:
    """Where there are borders, by pixels that are mirrored on either side: (P, n, tiles) -> (P, n, k) bool each.

    From the one after the first tile on, and every second one where merged tiles meet.
    """
    left = merged[:, :, :-1]
    right = merged[:, :, 1:]
    numbers = np.arange(1, merged.shape[2])  # of the tiles after borders
    may_begin = numbers % 2 == 0  # where a merged tile may
    both = left & right
    wide = both & may_begin
    middle = both & ~may_begin  # of a merged tile: no border
    narrow = ~wide & ~middle
    return {hop // 2: narrow, hop: wide[:, :, 1::2]}


def _spread(where: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Values around borders, at equal distances and in order along the last axis: (P, n, k) (2 half,) -> (P, n, S)."""
    half = len(values) // 2
    pictures, lines, _ = where.shape
    around = where[..., None] * values  # (P, n, k, 2 half)
    flat = around.reshape(pictures, lines, -1)
    before, after = half, size - half - flat.shape[2]
    return np.pad(flat, ((0, 0), (0, 0), (before, after)))


def paired(size: int, half: int) -> slice:
    """Pixels along an axis that may be around a border of so many on either side."""
    return slice(half, size - (size - half) % (2 * half))


def mirrored(y, half: int, axis: int, ops):
    """Every 2 half pixels along axis 1 or 3 in reverse: (P, H, 3, W), the same."""
    pairs = y.reshape(*y.shape[:axis], -1, 2 * half, *y.shape[axis + 1 :])
    return ops.flip(pairs, axis + 1).reshape(y.shape)


@cache
def window(half: int) -> tuple[np.ndarray, np.ndarray]:
    """Sine window: the shares that pixels around a border keep and take from their mirror images: (2 half,) each."""
    distance = (np.arange(half) + 0.5) / half
    angle = np.pi / 4 * (1 + distance)
    sin, cos = np.sin(angle), np.cos(angle)
    kept = np.concatenate([sin[::-1], sin])
    taken = np.concatenate([cos[::-1], -cos])
    return kept, taken
