"""Which tiles are merged, four to one. Shapes: P pictures of Rt x Ct tiles, the squares of four that can merge counted
apart: ceil(Rt / 2) x ceil(Ct / 2) squares, of which those at the ends may be incomplete. numpy only.
"""

from collections.abc import Callable
from itertools import product

import numpy as np


def everywhere(shape: tuple[int, int, int]) -> np.ndarray:
    """All tiles merged that can be: (P, Rt, Ct) bool."""
    merged = np.zeros(shape, bool)
    merged[:, : shape[1] // 2 * 2, : shape[2] // 2 * 2] = True
    return merged


def begins(merged: np.ndarray) -> np.ndarray:
    """Tiles that name a class of their own: those not merged, and the first of each four: (..., Rt, Ct) bool."""
    rows, columns = (np.arange(n) % 2 for n in merged.shape[-2:])
    return ~merged | ~(rows[:, None] | columns).astype(bool)


def cells(merged: np.ndarray) -> tuple[np.ndarray, ...]:
    """Where the four of every merged tile are, in the order of their first: three indices, (S, 4) once broadcast."""
    picture, row, column = (index[:, None] for index in np.nonzero(merged & begins(merged)))
    return picture, row + np.array((0, 0, 1, 1)), column + np.array((0, 1, 0, 1))


def squares(values: np.ndarray) -> np.ndarray:
    """Sums over squares: (P, Rt, Ct) -> (P, Rt', Ct')."""
    (p, r, c), odd = values.shape, [n % 2 for n in values.shape]
    return np.pad(values, ((0, 0), (0, odd[1]), (0, odd[2]))).reshape(p, -(-r // 2), 2, -(-c // 2), 2).sum((2, 4))


def choose_tiling(costs: Callable[[np.ndarray], np.ndarray], every: np.ndarray) -> np.ndarray:
    """Merged tiles that make pictures cheap: (P, Rt, Ct) bool, some of `every`.

    costs: of each tile, merged ones' at the first of the four, as they are beside the others: (P, Rt, Ct) of both. A
    tile's borders depend on its neighbours. So each square starts as it would be among its like, then one in four at a
    time changes if that lowers the costs around it.
    """
    merged = every & _tiles_of(squares(costs(every)) < squares(costs(np.zeros_like(every))), every.shape)
    turns = [range(min(2, count)) for count in squares(every).shape[1:]]
    for row, column in product(*turns) if merged[0].size > 4 else ():  # a single square has no neighbours
        now = squares(costs(merged))
        turn = np.zeros(now.shape, bool)
        turn[:, row::2, column::2] = True
        other = merged ^ every & _tiles_of(turn, every.shape)
        better = turn & (_around(squares(costs(other))) < _around(now))
        merged = np.where(_tiles_of(better, every.shape), other, merged)
    return merged


def _tiles_of(of_squares, shape):
    """(P, Rt', Ct') -> (P, Rt, Ct)."""
    return of_squares.repeat(2, 1).repeat(2, 2)[:, : shape[1], : shape[2]]


def _around(values):
    """Sums over 3 x 3 squares."""
    rows, columns = values.shape[1:]
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    return sum(padded[:, i : i + rows, j : j + columns] for i, j in product(range(3), repeat=2))
