"""Lowest frequencies of a block's tiles, told as sums and differences (FORMAT.md, section 7, "Pyramid"). For numpy and
for torch.

What a tile of cosines shows on the whole is in its lowest frequency, one latent of each colour, and neighbours are
alike. So the lowest frequencies of a square of four tiles become their sum and three differences, halved: the
Walsh-Hadamard transform of four numbers, orthonormal, and its own inverse. At the next level so do the sums of four
squares; a merged tile's lowest frequency is about as large as such a sum, and takes its place. What tiles or squares
the picture's end has cut from the four stays as it is.

Latents then are of a kind each: it says how much less, or more, than the prior's class of the tile they cost.

Shapes: P pictures of Rt x Ct tiles of U latents, whose first are the lowest frequencies of three colours; L levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from .array import Array, Ops

COLOURS = 3
PLAIN = 0  # the kind of a lowest frequency that is told as it is
SQUARES = (0, 1, 3, 2, 4, 5)  # axes: rows and columns of squares before those in a square, and back


@dataclass(frozen=True)
class Pyramid:
    """That of some pictures."""

    tiles: tuple[int, int]  # (Rt, Ct)
    matrices: Sequence[Array]  # of the squares of each level: (4, 4), or (P, Rs, Cs, 4, 4) where some are merged tiles
    ops: Ops

    @staticmethod
    def of(merged: np.ndarray, levels: int, like: Array, ops: Ops) -> "Pyramid":
        """Of pictures some of whose tiles are merged: (P, Rt, Ct) bool."""
        rows, columns = merged.shape[1:]
        of_squares = merged[:, : cut(rows, 0) : 2, : cut(columns, 0) : 2]
        first = walsh()
        if of_squares.any():
            first = np.where(of_squares[..., None, None], np.eye(4), first)
        tables = [walsh() if level else first for level in range(levels)]
        return Pyramid((rows, columns), [ops.constant(table, like) for table in tables], ops)

    def spread(self, tiles: Array) -> Array:
        """Cosines of tiles from their latents: (P, Rt, Ct, U), the same; there may be more tiles than the picture's."""
        return self._turned(tiles, range(len(self.matrices))[::-1])

    def gathered(self, tiles: Array) -> Array:
        """Inverse and transpose of `spread`."""
        return self._turned(tiles, range(len(self.matrices)))

    def weights(self, of_cosines: Array) -> Array:
        """What squared errors of latents count, from what those of cosines do: (P, Rt, Ct, U), the same.

        A sum or a difference is in all tiles of its square, a quarter of its square in each.
        """
        squared = replace(self, matrices=[matrices**2 for matrices in self.matrices])
        return squared.gathered(of_cosines)

    def _turned(self, tiles, levels):
        if not levels:
            return tiles
        lowest = 1 * tiles[..., :COLOURS]
        for level in levels:
            rows, columns = (cut(count, level) for count in self.tiles)
            some = np.s_[:, : rows : 2**level, : columns : 2**level]
            lowest[some] = self._of_squares(lowest[some], self.matrices[level])
        return self.ops.concatenate([lowest, tiles[..., COLOURS:]], -1)

    def _of_squares(self, values, matrices):
        """Products of the fours of squares: (P, R, C, 3), both even, the same."""
        pictures, rows, columns, colours = values.shape
        shape = pictures, rows // 2, 2, columns // 2, 2, colours
        fours = self.ops.permute(values.reshape(shape), SQUARES).reshape(pictures, rows // 2, columns // 2, 4, colours)
        turned = (matrices @ fours).reshape(pictures, rows // 2, columns // 2, 2, 2, colours)
        return self.ops.permute(turned, SQUARES).reshape(values.shape)


def cut(tiles: int, level: int) -> int:
    """How many of the tiles along an axis are in whole squares of a level."""
    side = 2 ** (level + 1)
    return tiles // side * side


@cache
def walsh() -> np.ndarray:
    """Sum and differences of four in two rows, halved: (4, 4) float64."""
    two = np.array([[1.0, 1.0], [1.0, -1.0]])
    return np.kron(two, two) / 2


def kinds(merged: np.ndarray, levels: int, inside: np.ndarray | None = None) -> np.ndarray:
    """What each tile's lowest frequency tells: (..., R, C) bool, that begin with a block -> (..., R, C) int.

    PLAIN; from 1 on a difference and a sum of each level; then the same, but for the first level, of merged tiles.
    inside: tiles of the picture; None if all are.
    """
    if inside is None:
        inside = np.ones_like(merged)
    found = np.full(merged.shape, PLAIN)
    for level in range(levels):
        rows, columns = (cut(count, level) for count in merged.shape[-2:])
        unit = 2**level
        last = 2 * unit - 1
        whole = inside[..., last : rows : last + 1, last : columns : last + 1]
        if not level:
            whole = whole & ~merged[..., :rows:2, :columns:2]
        for down in (0, 1):
            for across in (0, 1):
                place = (..., slice(down * unit, rows, 2 * unit), slice(across * unit, columns, 2 * unit))
                kind = 2 * level + 1 + (down == across == 0)
                of_merged = kind + 2 * (levels - 1)
                told = np.where(merged[place] & (level > 0), of_merged, kind)
                found[place] = np.where(whole, told, found[place])
    return found


def kind_count(levels: int) -> int:
    """Kinds that `kinds` tells apart."""
    return max(1, 4 * levels - 1)


def levels_of(count: int) -> int:
    """Levels of a pyramid of so many kinds."""
    return (count + 1) // 4
