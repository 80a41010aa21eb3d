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

Matrices = tuple[Array, Array]  # of squares, down and across: (P, Rs, Cs, S, S) each

SINGLE, SINGLE_LAST, HALF, MERGED, MERGED_LAST = range(5)  # squares along an axis; HALF: the last, with one tile alone


def synthesise(tiles: Array, matrices: Matrices, ops: Ops) -> Array:
    """Squares from coefficients (v, h, colour), borders not mixed yet: (P, Rt, Ct, hop, hop, 3) -> (P, Rs S, 3, Cs S).

    Tiles beyond the squares of the matrices do nothing, nor do those beyond the picture.
    """
    down, across = matrices
    pictures, rows, columns, side, _ = down.shape
    hop, colours = tiles.shape[4:]
    tiles = fitted(tiles, 1, 2 * rows, ops)
    tiles = fitted(tiles, 2, 2 * columns, ops)
    cells = tiles.reshape(pictures, rows, 2, columns, 2, hop, hop, colours)
    squares = ops.permute(cells, (0, 1, 3, 2, 5, 7, 4, 6))  # (P, Rs, Cs, 2, v, 3, 2, h)
    squares = squares.reshape(pictures, rows, columns, side, colours * side)
    tall = down.swapaxes(-1, -2) @ squares  # (P, Rs, Cs, y, 3 S)
    lines = tall.reshape(pictures, rows, columns, side * colours, side)
    out = ops.empty((pictures, rows * side, colours, columns * side), tiles)
    ops.matmul(lines, across, lines_of_squares(out, side, ops))
    return out


def coefficients(pixels: Array, matrices: Matrices, ops: Ops) -> Array:
    """Inverse and transpose of `synthesise`: (P, Rs S, 3, Cs S) -> (P, 2 Rs, 2 Cs, hop, hop, 3)."""
    down, across = matrices
    pictures, rows, columns, side, _ = down.shape
    hop = side // 2
    colours = pixels.shape[2]
    flat = lines_of_squares(pixels, side, ops) @ across.swapaxes(-1, -2)  # (P, Rs, Cs, y 3, S)
    squares = down @ flat.reshape(pictures, rows, columns, side, colours * side)
    cells = squares.reshape(pictures, rows, columns, 2, hop, colours, 2, hop)
    tiles = ops.permute(cells, (0, 1, 3, 2, 6, 4, 7, 5))
    return tiles.reshape(pictures, 2 * rows, 2 * columns, hop, hop, colours)


def analyse(pixels: Array, merged: np.ndarray, hop: int, ops: Ops) -> Array:
    """Inverse and transpose of synthesis and mixing: (P, H, 3, W) -> (P, Rt, Ct, hop, hop, 3)."""
    _, rows, columns = merged.shape
    borders = Borders.of(merged, hop)
    parted = whole_squares(borders.mixed_across(pixels, ops, -1), 2 * hop, ops)
    unmixed = ops.empty(parted.shape, parted)
    borders.mix_down(parted, unmixed, ops, -1)
    tiles = coefficients(unmixed, matrices_of(kinds_of(merged), hop, pixels, ops), ops)
    return tiles[:, :rows, :columns]


def lines_of_squares(pixels: Array, side: int, ops: Ops) -> Array:
    """Squares, all colours of a row one after another, as a view: (P, Rs S, 3, Cs S) -> (P, Rs, Cs, S 3, S)."""
    pictures, height, colours, width = pixels.shape
    shape = pictures, height // side, side * colours, width // side, side
    return ops.permute(pixels.reshape(shape), (0, 1, 3, 2, 4))


def whole_squares(pixels: Array, side: int, ops: Ops) -> Array:
    """Pixels with zeros beyond the picture: (P, H, 3, W) -> (P, Rs S, 3, Cs S)."""
    _, height, _, width = pixels.shape
    tall = fitted(pixels, 1, -(-height // side) * side, ops)
    return fitted(tall, 3, -(-width // side) * side, ops)


def fitted(x: Array, axis: int, size: int, ops: Ops) -> Array:
    """So many along an axis: without the last ones, or with zeros behind them."""
    missing = size - x.shape[axis]
    if missing > 0:
        shape = list(x.shape)
        shape[axis] = missing
        return ops.concatenate([x, ops.zeros(tuple(shape), x)], axis)
    place = [slice(None)] * axis
    return x[(*place, slice(size))]


def kinds_of(merged: np.ndarray) -> np.ndarray:
    """Kinds of all squares down and across: (P, Rt, Ct) bool -> (2, P, Rs, Cs)."""
    _, rows, columns = merged.shape
    more = (MERGED - SINGLE) * merged[:, ::2, ::2]
    down = kinds_along(rows)[:, None] + more
    across = kinds_along(columns) + more
    return np.stack([down, across])


def kinds_along(tiles: int) -> np.ndarray:
    """Kinds of squares along an axis of so many tiles, none of them merged."""
    kinds = np.full(-(-tiles // 2), SINGLE)
    kinds[-1] = HALF if tiles % 2 else SINGLE_LAST
    return kinds


def matrices_of(kinds: np.ndarray, hop: int, like: Array, ops: Ops) -> Matrices:
    """Matrices (coefficient, pixel) of squares, down and across: (2, ...) -> (..., S, S) each."""
    every = ops.constant(every_matrix(hop), like)
    down, across = kinds
    return every[down], every[across]


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
