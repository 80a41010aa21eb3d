"""Which tiles are merged, four to one. numpy only.

Tiles form squares of four, which begin at an even row and an even column; a whole square can be one merged tile.
Shapes: P pictures of Rt x Ct tiles and Rs x Cs squares, halves rounded up: the last ones may be incomplete.
"""

from collections.abc import Callable
from itertools import product

import numpy as np

# costs of tiles, merged ones' at the first of the four, as they are beside the others: (P, Rt, Ct) bool -> (P, Rt, Ct)
CostsOf = Callable[[np.ndarray], np.ndarray]


def everywhere(shape: tuple[int, int, int]) -> np.ndarray:
    """All tiles merged that can be: (P, Rt, Ct) bool."""
    _, rows, columns = shape
    merged = np.zeros(shape, bool)
    merged[:, : rows // 2 * 2, : columns // 2 * 2] = True
    return merged


def first_of_square(rows: int, columns: int) -> np.ndarray:
    """Tiles at which a square begins: (Rt, Ct) bool."""
    first = np.zeros((rows, columns), bool)
    first[::2, ::2] = True
    return first


def begins(merged: np.ndarray) -> np.ndarray:
    """Tiles that name a class of their own: those not merged, and the first of each four: (..., Rt, Ct) bool."""
    return ~merged | first_of_square(*merged.shape[-2:])


def cells(merged: np.ndarray) -> tuple[np.ndarray, ...]:
    """Where the four of every merged tile are, in the order of their first.

    Three indices of (P, Rt, Ct) arrays: picture (S, 1), row and column (S, 4).
    """
    first = np.nonzero(merged & begins(merged))
    picture, row, column = (index[:, None] for index in first)
    down = np.array((0, 0, 1, 1))
    across = np.array((0, 1, 0, 1))
    return picture, row + down, column + across


def squares(values: np.ndarray) -> np.ndarray:
    """Sums over squares: (P, Rt, Ct) -> (P, Rs, Cs)."""
    count, rows, columns = values.shape
    missing = (0, 0), (0, rows % 2), (0, columns % 2)
    whole = np.pad(values, missing)
    half_rows = whole.shape[1] // 2
    half_columns = whole.shape[2] // 2
    cells = whole.reshape(count, half_rows, 2, half_columns, 2)
    return cells.sum((2, 4))


def choose_tiling(costs_of: CostsOf, every: np.ndarray) -> np.ndarray:
    """Merged tiles that make pictures cheap: (P, Rt, Ct) bool, some of `every`.

    A tile's borders depend on its neighbours. So each square starts as it would be among its like, then one in four at
    a time changes if that lowers the costs around it.
    """
    as_merged = squares(costs_of(every))
    as_single = squares(costs_of(np.zeros_like(every)))
    merged = every & _tiles_of(as_merged < as_single, every.shape)
    if merged[0].size <= 4:  # a single square has no neighbours
        return merged
    for row, column in product(range(2), repeat=2):
        turn = np.zeros(as_merged.shape, bool)
        turn[:, row::2, column::2] = True
        if turn.any():
            merged = _changed(costs_of, merged, every, turn)
    return merged


def _changed(costs_of, merged, every, turn):
    """Merged tiles after those squares have changed whose turn it is, (P, Rs, Cs) bool, and that cost less so."""
    before = squares(costs_of(merged))
    other = merged ^ (every & _tiles_of(turn, every.shape))
    after = squares(costs_of(other))
    better = turn & (_around(after) < _around(before))
    return np.where(_tiles_of(better, every.shape), other, merged)


def _tiles_of(of_squares, shape):
    """(P, Rs, Cs) -> (P, Rt, Ct), each tile as its square."""
    _, rows, columns = shape
    wide = of_squares.repeat(2, 1).repeat(2, 2)
    return wide[:, :rows, :columns]


def _around(values):
    """Sums over 3 x 3 squares: (P, Rs, Cs) -> the same."""
    _, rows, columns = values.shape
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    total = np.zeros_like(values)
    for i, j in product(range(3), repeat=2):
        total += padded[:, i : i + rows, j : j + columns]
    return total
