"""Squares of four tiles, each of which may be one merged tile. numpy only.

A square begins at an even row and an even column of tiles. Shapes: P pictures of Rt x Ct tiles and Rs x Cs squares,
halves rounded up: the last ones may be incomplete, and their tiles are not merged.
"""

import numpy as np


def place_in_square(rows: int, columns: int) -> np.ndarray:
    """Place of every tile among the four of its square, 0 to 3 row by row: (rows, columns)."""
    down = np.arange(rows) % 2
    across = np.arange(columns) % 2
    return np.add.outer(2 * down, across)


def first_of_square(rows: int, columns: int) -> np.ndarray:
    """Tiles at which a square begins: (rows, columns) bool."""
    return place_in_square(rows, columns) == 0


def everywhere(shape: tuple[int, ...]) -> np.ndarray:
    """All tiles merged that can be: (..., Rt, Ct) bool."""
    rows, columns = shape[-2:]
    merged = np.zeros(shape, bool)
    merged[..., : rows // 2 * 2, : columns // 2 * 2] = True
    return merged


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


def square_sums(values: np.ndarray) -> np.ndarray:
    """Sums over the tiles of squares: (P, Rt, Ct) -> (P, Rs, Cs)."""
    count, rows, columns = values.shape
    missing = (0, 0), (0, rows % 2), (0, columns % 2)
    whole = np.pad(values, missing)
    half_rows = whole.shape[1] // 2
    half_columns = whole.shape[2] // 2
    four = whole.reshape(count, half_rows, 2, half_columns, 2)
    return four.sum((2, 4))


def as_squares(of_squares: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Tiles as their squares: (P, Rs, Cs), (P, Rt, Ct) -> (P, Rt, Ct)."""
    _, rows, columns = shape
    wide = of_squares.repeat(2, 1).repeat(2, 2)
    return wide[:, :rows, :columns]
