"""Borders of squares of four tiles: samples mixed with those mirrored there (FORMAT.md, section 7, "Field"). For numpy
and for torch.

The sine window of Princen and Bradley (1986), over all of a tile on either side where both squares are merged tiles,
else over half of one. Borders between rows of squares are mixed before those between columns, so any choice of merged
tiles is orthonormal. Around each border lies a window of as many pixels as a square has, and no two windows overlap: so
mixing is a product of each with a matrix.

Shapes: P pictures of Rt x Ct tiles of `hop` pixels in Rs x Cs squares, the last of which may be incomplete; S = 2 hop
pixels along the side of a square; H x W pixels in all, of whole tiles. `merged` (P, Rt, Ct) bool marks all four tiles
of a merged one, which begins at an even row and column.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from .array import Array, Ops
from .rectangle import Rectangle, grown


@dataclass(frozen=True)
class Borders:
    """Borders between rows of squares, and between columns of squares."""

    hop: int
    width: int  # W
    wide_down: np.ndarray  # (P, Rs - 1, Cs) bool, whether both squares are merged tiles
    wide_across: np.ndarray  # (P, Rs, Cs - 1) bool

    @staticmethod
    def of(merged: np.ndarray, hop: int) -> "Borders":
        """Of pictures some of whose tiles are merged: (P, Rt, Ct) bool."""
        squares = merged[:, ::2, ::2]
        wide_down = squares[:, :-1] & squares[:, 1:]
        wide_across = squares[:, :, :-1] & squares[:, :, 1:]
        return Borders(hop, merged.shape[2] * hop, wide_down, wide_across)

    @property
    def side(self) -> int:
        """S."""
        return 2 * self.hop

    def of_pictures(self, some: slice) -> "Borders":
        """Of some of the pictures only."""
        return Borders(self.hop, self.width, self.wide_down[some], self.wide_across[some])

    def reached(self, columns: range) -> range:
        """Columns of pixels of whole squares, with more than what a border mirrors on either side of some of them."""
        return grown(columns, self.hop, self.side, self.width)

    def mix_down(self, y: Array, out: Array, ops: Ops, sign: int = 1, first: int = 0) -> None:
        """Borders between rows of squares mixed, in some columns of whole squares: (P, H, 3, w), those beyond the
        picture too. out: of the same shape. first: column of the first pixel in the picture. sign: -1 undoes it.
        """
        pictures, height, colours, width = y.shape
        columns = slice(first // self.side, (first + width) // self.side)
        matrices = self._matrices(self.wide_down[:, :, columns], y, ops)  # (P, Rs - 1, Cs', S, S)
        if sign < 0:
            matrices = matrices.swapaxes(-1, -2)
        shape = pictures, matrices.shape[1], self.side, colours, width // self.side, self.side

        def windows(pixels):
            """As a view: (P, H, 3, w) -> (P, Rs - 1, 3, Cs', S, S)."""
            around = pixels[:, self.hop : height - self.hop].reshape(shape)
            return ops.permute(around, (0, 1, 3, 4, 2, 5))

        ops.matmul(matrices[:, :, None], windows(y), windows(out))
        out[:, : self.hop] = y[:, : self.hop]
        out[:, height - self.hop :] = y[:, height - self.hop :]

    def mixed_across(self, y: Array, ops: Ops, sign: int = 1, first: int = 0, along: int = 0) -> Array:
        """Borders between columns of squares mixed, in some rows of pixels and some columns of whole squares, or up to
        the picture's end: (P, h, 3, w), the same.

        first: row of y's first pixel in the picture; along: its column. sign: -1 undoes it.
        """
        pictures, height, colours, width = y.shape
        count = (width - self.hop) // self.side
        borders = slice(along // self.side, along // self.side + count)
        start, end = self.hop, self.hop + count * self.side
        lines = y.reshape(pictures, height * colours, width)
        out = ops.empty(lines.shape, y)

        def windows(pixels, rows: range):
            """Of some rows, as a view: (P, h 3, w) -> (P, Cs' - 1, rows 3, S)."""
            around = pixels[:, rows.start * colours : rows.stop * colours, start:end]
            shape = pictures, len(rows) * colours, count, self.side
            return ops.permute(around.reshape(shape), (0, 2, 1, 3))

        for square, rows in self._rows_of_squares(first, height):
            matrices = self._matrices(self.wide_across[:, square, borders], y, ops)  # (P, Cs' - 1, S, S)
            if sign > 0:
                matrices = matrices.swapaxes(-1, -2)
            ops.matmul(windows(lines, rows), matrices, windows(out, rows))
        out[..., :start] = lines[..., :start]
        out[..., end:] = lines[..., end:]
        return out.reshape(y.shape)

    def _rows_of_squares(self, first: int, height: int) -> Iterator[tuple[int, range]]:
        """Rows of squares that so many rows of pixels from `first` on are part of, and which of these are in each."""
        for square in range(first // self.side, -(-(first + height) // self.side)):
            start = max(first, square * self.side)
            stop = min(first + height, (square + 1) * self.side)
            yield square, range(start - first, stop - first)

    def mixed_part(self, y: Array, part: Rectangle, ops: Ops) -> Array:
        """Borders between columns mixed in a part of the pictures: (P, h, 3, w'), its rows and the columns `reached`,
        -> (P, h, 3, w).
        """
        reached = self.reached(part.columns)
        mixed = self.mixed_across(y, ops, 1, part.rows.start, reached.start)
        start = part.columns.start - reached.start
        return mixed[..., start : start + len(part.columns)]

    def mixed_part_back(self, y: Array, part: Rectangle, ops: Ops) -> Array:
        """The transpose: (P, h, 3, w) -> (P, h, 3, w')."""
        reached = self.reached(part.columns)
        start = part.columns.start - reached.start
        if reached != part.columns:
            wide = ops.zeros((*y.shape[:3], len(reached)), y)
            wide[..., start : start + len(part.columns)] = y
            y = wide
        return self.mixed_across(y, ops, -1, part.rows.start, reached.start)

    def _matrices(self, wide: np.ndarray, like: Array, ops: Ops) -> Array:
        """What mixes the windows of some borders: (...) -> (..., S, S)."""
        return ops.constant(both_mixings(self.hop), like)[wide.astype(np.int64)]


@cache
def both_mixings(hop: int) -> np.ndarray:
    """`mixing` over half of a tile on either side of a border, and over all of it: (2, S, S)."""
    return np.stack([mixing(hop // 2, 2 * hop), mixing(hop, 2 * hop)])


@cache
def mixing(half: int, side: int) -> np.ndarray:
    """What mixes so many pixels on either side of a border in the middle of `side`: (new, old) float64."""
    distance = (np.arange(half) + 0.5) / half
    angle = np.pi / 4 * (1 + distance)
    after = side // 2 + np.arange(half)
    before = side - 1 - after
    matrix = np.eye(side)
    matrix[before, before] = np.sin(angle)
    matrix[before, after] = np.cos(angle)
    matrix[after, after] = np.sin(angle)
    matrix[after, before] = -np.cos(angle)
    return matrix
