"""The lapped cosine transform with tiles of two sizes, synthesis and analysis, for numpy and for torch (FORMAT.md,
section 7, "Field").

The modified discrete cosine transform with a sine window (Princen and Bradley, 1986): first every tile's cosines, then
samples are mixed at borders (borders.py); mirrored at the picture's ends, plain cosines in the last tile. Four tiles
may be merged into one of twice the side. Its coefficient (v, h) stands in tile (v % 2, h % 2) of the four, at (v // 2,
h // 2): a place stands for about the same frequency in tiles of both sizes.

Shapes: as in borders.py.
"""

from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np

from .borders import Borders

Kind = tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray]  # cells of some tiles, matrices down and across


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
