"""Which tiles are merged, four to one. numpy only. Shapes: see synthesis/squares.py."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from ...synthesis.squares import as_squares, square_sums

# costs of tiles with several tilings, (P, Rt, Ct) bool each: of tiles beside the others, merged ones' at the first of
# the four, (P, Rt, Ct) each
CostsOf = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]


def choose_tiling(costs_of: CostsOf, every: np.ndarray) -> np.ndarray:
    """Merged tiles that make pictures cheap: (P, Rt, Ct) bool, some of `every`.

    A tile's borders depend on its neighbours. So each square starts merged if it costs less with all merged than with
    none; then one in four at a time changes if that lowers the costs around it.
    """
    as_merged, as_single = map(square_sums, costs_of((every, np.zeros_like(every))))
    merged = every & as_squares(as_merged < as_single, every.shape)
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
    other = merged ^ (every & as_squares(turn, every.shape))
    before, after = map(square_sums, costs_of((merged, other)))
    better = turn & (_around(after) < _around(before))
    return np.where(as_squares(better, every.shape), other, merged)


def _around(values):
    """Sums over 3 x 3 squares: (P, Rs, Cs) -> the same."""
    _, rows, columns = values.shape
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    total = np.zeros_like(values)
    for i, j in product(range(3), repeat=2):
        total += padded[:, i : i + rows, j : j + columns]
    return total
