"""The lapped cosine transform in squares of four tiles, for numpy and for torch (FORMAT.md, section 7, "Field").

The modified discrete cosine transform with a sine window (Princen and Bradley, 1986), mirrored at the picture's ends,
with plain cosines in the last tile. A square is four tiles, mixed at the borders between them, or one merged tile of
twice the side: either way it takes one matrix down and one across. Then squares are mixed at their borders
(borders.py). A merged tile's coefficient (v, h) stands in tile (v % 2, h % 2) of the four, at (v // 2, h // 2): a place
stands for about the same frequency in tiles of both sizes.

    pixels of a square   down^T @ coefficients @ across

Shapes: as in borders.py.
"""

from functools import cache

import numpy as np

from .array import Array, Ops
from .borders import Borders, mixing

SINGLE, SINGLE_LAST, HALF, MERGED, MERGED_LAST = range(5)  # squares along an axis; HALF: the last, with one tile alone


def synthesise(tiles: Array, kinds: tuple[np.ndarray, np.ndarray], ops: Ops) -> Array:
    """Squares from coefficients (v, h, colour), borders not mixed yet: (P, Rt, Ct, hop, hop, 3) -> (P, Rs S, 3, Cs S).

    kinds: of their squares, as `kinds_of` gives them. Tiles beyond these squares, or beyond the picture, do nothing.
    """
    pictures, rows, columns = kinds[0].shape
    hop, colours = tiles.shape[4:]
    side = 2 * hop
    cells = fitted(fitted(tiles, 1, 2 * rows, ops), 2, 2 * columns, ops)
    cells = cells.reshape(pictures, rows, 2, columns, 2, hop, hop, colours)
    squares = ops.permute(cells, (0, 1, 3, 2, 5, 7, 4, 6)).reshape(pictures, rows, columns, side, colours * side)
    down, across = (matrices(of_axis, tiles, hop, ops) for of_axis in kinds)
    tall = down.swapaxes(-1, -2) @ squares  # (P, Rs, Cs, y, 3 h)
    out = ops.empty((pictures, rows * side, colours, columns * side), tiles)
    lines = tall.reshape(pictures, rows, columns, side * colours, side)
    ops.matmul(lines, across, lines_of_squares(out, side, ops))
    return out


def coefficients(pixels: Array, kinds: tuple[np.ndarray, np.ndarray], hop: int, ops: Ops) -> Array:
    """Inverse and transpose of `synthesise`: (P, Rs S, 3, Cs S) -> (P, 2 Rs, 2 Cs, hop, hop, 3)."""
    pictures, rows, columns = kinds[0].shape
    colours = pixels.shape[2]
    side = 2 * hop
    down, across = (matrices(of_axis, pixels, hop, ops) for of_axis in kinds)
    wide = lines_of_squares(pixels, side, ops) @ across.swapaxes(-1, -2)  # (P, Rs, Cs, y 3, h)
    squares = down @ wide.reshape(pictures, rows, columns, side, colours * side)
    cells = squares.reshape(pictures, rows, columns, 2, hop, colours, 2, hop)
    tiles = ops.permute(cells, (0, 1, 3, 2, 6, 4, 7, 5))
    return tiles.reshape(pictures, 2 * rows, 2 * columns, hop, hop, colours)


def analyse(pixels: Array, merged: np.ndarray, hop: int, ops: Ops) -> Array:
    """Inverse and transpose of synthesis and mixing: (P, H, 3, W) -> (P, Rt, Ct, hop, hop, 3)."""
    kinds = kinds_of(merged)
    borders = Borders.of(merged, hop)
    parted = whole_squares(borders.mixed_across(pixels, ops, -1), kinds, hop, ops)
    unmixed = ops.empty(parted.shape, parted)
    borders.mix_down(parted, unmixed, ops, -1)
    tiles = coefficients(unmixed, kinds, hop, ops)
    return tiles[:, : merged.shape[1], : merged.shape[2]]


def lines_of_squares(pixels: Array, side: int, ops: Ops) -> Array:
    """Squares, all colours of a row one after another, as a view: (P, Rs S, 3, Cs S) -> (P, Rs, Cs, S 3, S)."""
    pictures, height, colours, width = pixels.shape
    shape = pictures, height // side, side * colours, width // side, side
    return ops.permute(pixels.reshape(shape), (0, 1, 3, 2, 4))


def whole_squares(pixels: Array, kinds: tuple[np.ndarray, np.ndarray], hop: int, ops: Ops) -> Array:
    """Pixels with zeros beyond: (P, H, 3, W) -> (P, Rs S, 3, Cs S)."""
    _, rows, columns = kinds[0].shape
    return fitted(fitted(pixels, 1, 2 * hop * rows, ops), 3, 2 * hop * columns, ops)


def fitted(x: Array, axis: int, size: int, ops: Ops) -> Array:
    """So many along an axis: without the last ones, or with zeros behind them."""
    missing = size - x.shape[axis]
    if missing <= 0:
        return x[(slice(None),) * axis + (slice(size),)]
    shape = list(x.shape)
    shape[axis] = missing
    return ops.concatenate([x, ops.zeros(tuple(shape), x)], axis)


def kinds_of(merged: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kinds of all squares down and across: (P, Rt, Ct) bool -> (P, Rs, Cs) integers each."""
    squares = merged[:, ::2, ::2]
    down, across = (along(count) for count in merged.shape[1:])
    more = (MERGED - SINGLE) * squares
    return down[:, None] + more, across + more


def along(count: int) -> np.ndarray:
    """Kinds of squares along an axis of so many tiles, none of them merged."""
    kinds = np.full(-(-count // 2), SINGLE)
    kinds[-1] = HALF if count % 2 else SINGLE_LAST
    return kinds


def matrices(kinds: np.ndarray, like: Array, hop: int, ops: Ops) -> Array:
    """Matrices (coefficient, pixel) of squares of some kinds: (...) -> (..., S, S)."""
    return ops.constant(every_matrix(hop), like)[kinds]


@cache
def every_matrix(hop: int) -> np.ndarray:
    """By kind: (5, S, S) float64. Coefficients are in the order of their tiles."""
    side = 2 * hop
    every = np.zeros((MERGED_LAST + 1, side, side))
    within = mixing(hop // 2, side).T  # the border between two tiles of a square
    for kind, last in ((SINGLE, lapped(hop)), (SINGLE_LAST, cosines(hop))):
        every[kind, :hop, :hop] = lapped(hop)
        every[kind, hop:, hop:] = last
        every[kind] = every[kind] @ within
    every[HALF, :hop, :hop] = cosines(hop)
    for kind, whole in ((MERGED, lapped(side)), (MERGED_LAST, cosines(side))):
        turns = whole.reshape(hop, 2, side)  # coefficients take turns among tiles
        every[kind] = turns.swapaxes(0, 1).reshape(side, side)
    return every


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
