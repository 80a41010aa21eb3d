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
from functools import cache, lru_cache
from itertools import product

import numpy as np

FEW = 2**12  # tiles of pictures whose borders are remembered

# axes of cells (N, row, column, 3, v, h) in the order of a tile, and back: frequencies take turns among the cells of a
# tile, pixels lie in squares
FREQUENCIES, PIXELS = ((0, 3, 4, 1, 5, 2), (0, 3, 5, 1, 2, 4)), ((0, 3, 1, 4, 2, 5), (0, 2, 4, 1, 3, 5))


@dataclass(frozen=True)
class Borders:
    """Borders along one axis of S pixels, for each of the n tiles across it: y = keep * x + mix * (x mirrored)."""

    hop: int
    keep: np.ndarray  # (P, n, S)
    mix: dict[int, np.ndarray]  # by pixels mirrored on either side of a border: (P, n, S)
    known: dict = field(default_factory=dict, compare=False, repr=False)  # what `_placed` has made

    @staticmethod
    def of(merged: np.ndarray, hop: int) -> "Borders":
        """Of tiles in order along the axis: (P, n, S / hop)."""
        if merged.size <= FEW:
            return _known(merged.tobytes(), merged.shape, hop)
        return Borders._of(merged, hop)

    @staticmethod
    def _of(merged: np.ndarray, hop: int) -> "Borders":
        left, right = merged[:, :, :-1], merged[:, :, 1:]
        even = np.arange(1, merged.shape[2]) % 2 == 0  # where a merged tile may begin
        wide = left & right & even
        kinds = {hop // 2: ~wide & ~(left & ~even), hop: wide[:, :, 1::2]}
        size = merged.shape[2] * hop
        keep, mix = np.ones((*merged.shape[:2], size)), {}
        for half, where in kinds.items():
            if where.any():
                sin, cos = window(half)
                keep += _spread(where, sin - 1, size)
                mix[half] = _spread(where, cos, size)
        return Borders(hop, keep, mix)

    def of_pictures(self, some: slice) -> "Borders":
        """Of some of the pictures only."""
        return Borders(self.hop, self.keep[some], {half: mix[some] for half, mix in self.mix.items()})

    def mixed(self, y, axis: int, ops, sign: int = 1, first: int = 0):
        """Pixels (P, H, 3, W) with borders along axis 1 or 3 mixed; sign -1 undoes it.

        first: number of the first of y's lines across the axis.
        """
        total = y * self._placed(self.keep, 0, y, axis, ops, first)
        for half, mix in self.mix.items():
            other = mirrored(y, half, axis, ops)
            other *= self._placed(mix, half, y, axis, ops, first)
            total += other if sign > 0 else -other
        return total

    def _placed(self, values, half: int, y, axis: int, ops, first: int):
        """Values where the pixels of y have them: (P, n, S) -> (P, H, 1, W). A fit, which asks again in every step for
        those between rows, has to turn them round once.
        """
        lines = y.shape[4 - axis]
        across = (first + np.arange(lines)) // self.hop
        if axis == 3:
            return ops.constant(values, y)[:, across][:, :, None]
        if not ops.KEEPS:
            return ops.constant(values, y)[:, across].swapaxes(1, 2)[:, :, None]
        key = half, first, lines, y.dtype, y.device
        found = self.known.get(key)
        if found is None:
            found = ops.constant(values, y)[:, across].swapaxes(1, 2)[:, :, None].contiguous()
            if values.size <= FEW * self.hop:
                self.known[key] = found
        return found


@lru_cache(16)
def _known(merged, shape, hop):
    """Borders of pictures that are not large."""
    return Borders._of(np.frombuffer(merged, bool).reshape(shape), hop)


def synthesise(x, merged: np.ndarray, ops, columns: tuple[int, int | None] = (0, None)):
    """Cosines of some columns of tiles, borders not mixed yet: (P, R', C', hop, hop, 3) -> (P, H, 3, W).

    x: the coefficients (v, h, colour) of these columns' tiles, and of some beyond the picture. merged: of all columns.
    """
    hop, first, rows = x.shape[3], columns[0], merged.shape[1]
    x = ops.permute(x, (0, 1, 2, 5, 3, 4))
    out = ops.zeros((len(x), rows, merged[:, :, slice(*columns)].shape[2], *x.shape[3:]), x)
    for place, down, across in _kinds(merged, hop, columns):
        a, b = (ops.constant(matrix, x) for matrix in (down, across))
        place = place[0], place[1], place[2] - first
        out[place] = as_cells(a.T @ as_tiles(x[place], FREQUENCIES, ops) @ b, hop, PIXELS, ops)
    p, r, c = out.shape[:3]
    return ops.permute(out, (0, 1, 4, 3, 2, 5)).reshape(p, r * hop, 3, c * hop)


def analyse(x, merged: np.ndarray, hop: int, ops):
    """Inverse and transpose of synthesis and mixing: (P, H, 3, W) -> (P, R, C, hop, hop, 3)."""
    x = Borders.of(merged, hop).mixed(x, 3, ops, -1)
    x = Borders.of(merged.swapaxes(1, 2), hop).mixed(x, 1, ops, -1)
    return coefficients(x, merged, hop, ops)


def coefficients(x, merged: np.ndarray, hop: int, ops, columns: tuple[int, int | None] = (0, None)):
    """Inverse and transpose of `synthesise`: (P, H, 3, W) of some columns of tiles -> (P, R, C', hop, hop, 3)."""
    p, r, c = merged[:, :, slice(*columns)].shape
    x = ops.permute(x.reshape(p, r, hop, 3, c, hop), (0, 1, 4, 3, 2, 5))
    out = ops.zeros(x.shape, x)
    for place, down, across in _kinds(merged, hop, columns):
        a, b = (ops.constant(matrix, x) for matrix in (down, across))
        place = place[0], place[1], place[2] - columns[0]
        out[place] = as_cells(a @ as_tiles(x[place], PIXELS, ops) @ b.T, hop, FREQUENCIES, ops)
    return ops.permute(out, (0, 1, 2, 4, 5, 3))


def _kinds(merged, hop, columns=(0, None)) -> Iterator[tuple]:
    """Tiles of one size that use the same cosines: where their cells are, and the two matrices (frequency, pixel)."""
    for size in (1, 2):
        first = merged[:, ::2, ::2] if size == 2 else ~merged
        tiles = np.argwhere(first)
        tiles = tiles[(tiles[:, 2] * size >= columns[0]) & (tiles[:, 2] * size < (columns[1] or merged.shape[2]))]
        last = (tiles[:, 1:] + 1) * size == merged.shape[1:]
        for at_end in product((False, True), repeat=2):
            p, r, c = tiles[(last == at_end).all(1)].T[:, :, None, None]
            if len(p):
                part = np.arange(size)
                place = p, size * r + part[:, None], size * c + part
                yield place, *((cosines if end else lapped)(size * hop) for end in at_end)


def as_tiles(cells, order, ops):
    """(N, s, s, 3, hop, hop) cells of tiles of s x s cells, of FREQUENCIES or PIXELS -> (N, 3, s hop, s hop)."""
    n, size, _, colours, hop, _ = cells.shape
    return ops.permute(cells, order[0]).reshape(n, colours, size * hop, size * hop)


def as_cells(tiles, hop, order, ops):
    """The inverse of `as_tiles`."""
    n, colours, side, _ = tiles.shape
    split = (hop, side // hop) if order is FREQUENCIES else (side // hop, hop)
    return ops.permute(tiles.reshape(n, colours, *split, *split), order[1])


def _spread(where, values, size):
    """Values around borders, at equal distances and in order along the last axis: (P, n, k) (2 half,) -> (P, n, S)."""
    half = len(values) // 2
    flat = (where[..., None] * values).reshape(*where.shape[:2], -1)
    return np.pad(flat, ((0, 0), (0, 0), (half, size - half - flat.shape[2])))


def mirrored(y, half, axis, ops):
    """Every 2 half pixels from pixel `half` on in reverse; what is left at the ends stays."""
    shape, size = y.shape, y.shape[axis]
    y = y.reshape(*shape[: axis + 1], int(np.prod(shape[axis + 1 :])))
    end = size - (size - half) % (2 * half)
    pairs = y[..., half:end, :]
    pairs = pairs.reshape(*y.shape[:-2], (end - half) // (2 * half), 2 * half, y.shape[-1])
    pairs = ops.flip(pairs, pairs.ndim - 2).reshape(*y.shape[:-2], end - half, y.shape[-1])
    return ops.concatenate([y[..., :half, :], pairs, y[..., end:, :]], y.ndim - 2).reshape(shape)


@cache
def window(half: int) -> tuple[np.ndarray, np.ndarray]:
    """Sine window: the shares that pixels around a border keep and take from their mirror images: (2 half,) each."""
    angle = np.pi / 4 * (1 + (np.arange(half) + 0.5) / half)
    sin, cos = np.sin(angle), np.cos(angle)
    return np.concatenate([sin[::-1], sin]), np.concatenate([cos[::-1], -cos])


@cache
def cosines(n: int) -> np.ndarray:
    """Orthonormal cosines of n pixel centres, even at both ends (DCT-II): (frequency, position) float64."""
    k = np.arange(n)
    c = np.sqrt(2 / n) * np.cos(np.pi * (k + 0.5) * k[:, None] / n)
    c[0] /= np.sqrt(2)
    return c


@cache
def lapped(n: int) -> np.ndarray:
    """Orthonormal cosines, even at the left and odd at the right end (DCT-IV): (frequency, position) float64."""
    k = np.arange(n) + 0.5
    return np.sqrt(2 / n) * np.cos(np.pi * k * k[:, None] / n)
