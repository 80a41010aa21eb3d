"""The lapped cosine transform with tiles of two sizes, synthesis and analysis, for numpy and for torch (FORMAT.md,
section 7, "Field").

The modified discrete cosine transform with a sine window (Princen and Bradley, 1986): first every tile's cosines, then
samples mirrored at a border are mixed, over half of the smaller neighbour; mirrored at the picture's ends, plain
cosines in the last tile. Four tiles may be merged into one of twice the side. Its coefficient (v, h) stands in tile
(v % 2, h % 2) of the four, at (v // 2, h // 2): a place stands for about the same frequency in tiles of both sizes.
Borders between rows of tiles are mixed before those between columns, so any choice of merged tiles is orthonormal.

Shapes: P pictures of R x C tiles of `hop` pixels, H x W pixels in all, three colour components. `merged` (P, R, C) bool
marks all four tiles of a merged one, which begins at an even row and an even column.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from itertools import product

import numpy as np

from .array import Array
from .rectangle import Rectangle, grown

REMEMBERED_TILES = 2**12  # of pictures whose borders are remembered, at most
REMEMBERED_PICTURES = 16

Kind = tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray]  # cells of some tiles, matrices down and across


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
        left, right = merged[:, :, :-1], merged[:, :, 1:]
        even = np.arange(1, tiles) % 2 == 0  # where a merged tile may begin
        wide = left & right & even
        inside = left & ~even  # the middle of a merged tile is no border
        narrow = ~wide & ~inside
        places = {hop // 2: narrow, hop: wide[:, :, 1::2]}
        size = tiles * hop
        keep = np.ones((pictures, lines, size))
        mix = {}
        for half, where in places.items():
            if where.any():
                sin, cos = window(half)
                keep += _spread(where, sin - 1, size)
                mix[half] = _spread(where, cos, size)
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
            other = mirrored(y, half, axis, ops)
            other *= placed(values, half, y, ops, first)
            total += other if sign > 0 else -other
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


def synthesise(x, merged: np.ndarray, ops, columns: tuple[int, int | None] = (0, None)):
    """Cosines of some columns of tiles, borders not mixed yet: (P, R', C', hop, hop, 3) -> (P, H, 3, W).

    x: the coefficients (v, h, colour) of these columns' tiles, and of some beyond the picture. merged: of all columns.
    """
    hop = x.shape[3]
    x = ops.permute(x, (0, 1, 2, 5, 3, 4))
    pictures, rows, wide = merged[:, :, slice(*columns)].shape
    out = ops.zeros((pictures, rows, wide, *x.shape[3:]), x)
    for cells, down, across in _kinds(merged, hop, columns):
        down, across = ops.constant(down, x), ops.constant(across, x)
        pixels = down.T @ join_frequencies(x[cells], ops) @ across
        out[cells] = split_pixels(pixels, hop, ops)
    return ops.permute(out, (0, 1, 4, 3, 2, 5)).reshape(pictures, rows * hop, 3, wide * hop)


def analyse(x, merged: np.ndarray, hop: int, ops):
    """Inverse and transpose of synthesis and mixing: (P, H, 3, W) -> (P, R, C, hop, hop, 3)."""
    x = Borders.of(merged, hop).mixed(x, 3, ops, -1)
    x = Borders.of(merged.swapaxes(1, 2), hop).mixed(x, 1, ops, -1)
    return coefficients(x, merged, hop, ops)


def coefficients(x, merged: np.ndarray, hop: int, ops, columns: tuple[int, int | None] = (0, None)):
    """Inverse and transpose of `synthesise`: (P, H, 3, W) of some columns of tiles -> (P, R, C', hop, hop, 3)."""
    pictures, rows, wide = merged[:, :, slice(*columns)].shape
    x = ops.permute(x.reshape(pictures, rows, hop, 3, wide, hop), (0, 1, 4, 3, 2, 5))
    out = ops.zeros(x.shape, x)
    for cells, down, across in _kinds(merged, hop, columns):
        down, across = ops.constant(down, x), ops.constant(across, x)
        frequencies = down @ join_pixels(x[cells], ops) @ across.T
        out[cells] = split_frequencies(frequencies, hop, ops)
    return ops.permute(out, (0, 1, 2, 4, 5, 3))


def _kinds(merged: np.ndarray, hop: int, columns: tuple[int, int | None]) -> Iterator[Kind]:
    """Tiles of one size that use the same cosines: where their cells are, counted from the first of these columns, and
    the matrices (frequency, pixel) down and across.
    """
    start = columns[0]
    stop = columns[1] or merged.shape[2]
    for size in (1, 2):  # of a tile, in cells
        begins = ~merged if size == 1 else merged[:, ::2, ::2]
        before = start // size
        tiles = np.argwhere(begins[:, :, before : -(-stop // size)])  # (N, 3): picture, row, column
        tiles[:, 2] += before
        at_end = (tiles[:, 1:] + 1) * size == merged.shape[1:]  # (N, 2): in the last row, in the last column
        for ends in product((False, True), repeat=2):
            chosen = tiles[(at_end == ends).all(1)]
            if not len(chosen):
                continue
            picture, row, column = chosen.T[:, :, None, None]
            cell = np.arange(size)
            cells = picture, size * row + cell[:, None], size * column + cell - start
            down, across = (cosines(size * hop) if end else lapped(size * hop) for end in ends)
            yield cells, down, across


def join_frequencies(cells, ops):
    """Coefficients of tiles of s x s cells, whose frequencies take turns among them: (N, s, s, 3, hop, hop) ->
    (N, 3, s hop, s hop).
    """
    n, size, _, colours, hop, _ = cells.shape
    turns = ops.permute(cells, (0, 3, 4, 1, 5, 2))  # (N, 3, v, row of the cell, h, its column)
    return turns.reshape(n, colours, hop * size, hop * size)


def split_frequencies(tiles, hop: int, ops):
    """The inverse of `join_frequencies`."""
    n, colours, side, _ = tiles.shape
    turns = tiles.reshape(n, colours, hop, side // hop, hop, side // hop)
    return ops.permute(turns, (0, 3, 5, 1, 2, 4))


def join_pixels(cells, ops):
    """Pixels of tiles of s x s cells, which lie side by side: (N, s, s, 3, hop, hop) -> (N, 3, s hop, s hop)."""
    n, size, _, colours, hop, _ = cells.shape
    squares = ops.permute(cells, (0, 3, 1, 4, 2, 5))  # (N, 3, row of the cell, y, its column, x)
    return squares.reshape(n, colours, size * hop, size * hop)


def split_pixels(tiles, hop: int, ops):
    """The inverse of `join_pixels`."""
    n, colours, side, _ = tiles.shape
    squares = tiles.reshape(n, colours, side // hop, hop, side // hop, hop)
    return ops.permute(squares, (0, 2, 4, 1, 3, 5))


def _spread(where: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Values around borders, at equal distances and in order along the last axis: (P, n, k) (2 half,) -> (P, n, S)."""
    half = len(values) // 2
    pictures, lines, _ = where.shape
    around = where[..., None] * values  # (P, n, k, 2 half)
    flat = around.reshape(pictures, lines, -1)
    before, after = half, size - half - flat.shape[2]
    return np.pad(flat, ((0, 0), (0, 0), (before, after)))


def mirrored(y, half: int, axis: int, ops):
    """Every 2 half pixels from pixel `half` on in reverse; what is left at the ends stays."""
    shape = y.shape
    size = shape[axis]
    across = int(np.prod(shape[axis + 1 :]))
    y = y.reshape(*shape[:axis], size, across)
    end = size - (size - half) % (2 * half)
    before = y[..., :half, :]
    around = y[..., half:end, :]
    after = y[..., end:, :]
    count = (end - half) // (2 * half)
    pairs = around.reshape(*shape[:axis], count, 2 * half, across)
    turned = ops.flip(pairs, axis + 1).reshape(around.shape)
    return ops.concatenate([before, turned, after], axis).reshape(shape)


@cache
def window(half: int) -> tuple[np.ndarray, np.ndarray]:
    """Sine window: the shares that pixels around a border keep and take from their mirror images: (2 half,) each."""
    distance = (np.arange(half) + 0.5) / half
    angle = np.pi / 4 * (1 + distance)
    sin, cos = np.sin(angle), np.cos(angle)
    kept = np.concatenate([sin[::-1], sin])
    taken = np.concatenate([cos[::-1], -cos])
    return kept, taken


@cache
def cosines(n: int) -> np.ndarray:
    """Orthonormal cosines of n pixel centres, even at both ends (DCT-II): (frequency, position) float64."""
    k = np.arange(n)
    angle = np.pi * (k + 0.5) * k[:, None] / n
    out = np.sqrt(2 / n) * np.cos(angle)
    out[0] /= np.sqrt(2)
    return out


@cache
def lapped(n: int) -> np.ndarray:
    """Orthonormal cosines, even at the left and odd at the right end (DCT-IV): (frequency, position) float64."""
    k = np.arange(n) + 0.5
    angle = np.pi * k * k[:, None] / n
    return np.sqrt(2 / n) * np.cos(angle)
