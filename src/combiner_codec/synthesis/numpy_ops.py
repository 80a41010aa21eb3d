"""The synthesis on numpy arrays: what a decoder computes with."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np


class NumpyOps:
    """What the forward pass needs of an array library; `dtype` is that of the shared layers."""

    ROWS = 8  # rows of positions that a layer takes at once, so that they stay in the cache
    FEWEST = 2**10  # positions that a layer takes at once, however narrow the picture
    SLAB = 128  # most pixels of one product: too few for BLAS to share among threads, which would slow ours
    concatenate = staticmethod(np.concatenate)

    def __init__(self, dtype=np.float64):
        self.dtype = dtype

    @staticmethod
    def sin(x):
        """In place."""
        return np.sin(x, out=x)

    @classmethod
    def activation(cls, kind, x):
        """In place: "linear", "sine", or "silu", x / (1 + e^-x) (Elfwing, Uchibe and Doya, 2018)."""
        if kind == "sine":
            return cls.sin(x)
        if kind == "silu":
            with np.errstate(over="ignore"):  # x / infinity is 0
                divisor = np.negative(x)
                np.exp(divisor, out=divisor)
                divisor += 1
                x /= divisor
        return x

    @staticmethod
    def constant(array, like):
        return array.astype(like.dtype)

    @staticmethod
    def zeros(shape, like):
        return np.zeros(shape, like.dtype)

    @staticmethod
    def empty(shape, like):
        return np.empty(shape, like.dtype)

    @staticmethod
    def matmul(a, b, out):
        np.matmul(a, b, out=out)

    @staticmethod
    def permute(x, axes):
        return x.transpose(axes)

    def cast(self, x):
        """Shared layers are computed as wide as asked for."""
        return x.astype(self.dtype, copy=False)

    @staticmethod
    def look_up(table, classes):
        """Rows of a table: (K, O), (P, Rt, Ct) -> (P, Rt, Ct, O)."""
        return table[classes]

    @staticmethod
    def between(values, tile, part):
        """Some positions between centres of tiles, bilinearly: (P, Rt, Ct, O) -> (P, h, w, O).

        part: a Rectangle of positions, of which there are `tile` along the side of a tile.
        """
        _, tile_rows, tile_columns, outputs = values.shape
        if (tile_rows, tile_columns) == (1, 1):
            return values
        above, below, down = shares_of_rows(tile, tile_rows, part.rows.start, part.rows.stop, values.dtype)
        rows = values[:, above]
        rows += down * (values[:, below] - rows)
        ends = np.concatenate([rows[:, :, :1], rows, rows[:, :, -1:]], 2)  # (P, h, Ct + 2, O)
        between = np.empty((*rows.shape[:2], len(part.columns), outputs), values.dtype)
        for columns, tiles, across in shares_of_columns(tile, part.columns.start, part.columns.stop, values.dtype):
            np.matmul(across, ends[:, :, tiles], out=between[:, :, columns])
        return between

    @staticmethod
    def window(x, weights, epilogue):
        """Dense layer over size x size neighbourhoods: (P, H, W, C) (size, size, C, O) -> (P, H, W, O).

        epilogue: makes products of some rows, (P, h, W, O) and which rows (a slice), the layer's output, in place.
        """
        size = len(weights)
        pictures, height, width, channels = x.shape
        outputs = weights.shape[3]
        weights = weights.reshape(size, size * channels, outputs)
        slab = max(n for n in range(1, NumpyOps.SLAB + 1) if width % n == 0)
        out = np.empty((pictures, height, width, outputs), x.dtype)
        each = min(height, max(NumpyOps.ROWS, NumpyOps.FEWEST // width))
        room = np.empty((pictures, each, width // slab, slab, outputs), x.dtype)
        for first, seen in strips(x, size, each):
            count = seen.shape[1] - size + 1
            rows = slice(first, first + count)
            seen = seen.reshape(pictures, -1, width // slab, slab, size * channels)
            total = out[:, rows].reshape(pictures, count, width // slab, slab, outputs)
            more = room[:, :count]
            np.matmul(seen[:, :count], weights[0], out=total)
            for u in range(1, size):
                np.matmul(seen[:, u : u + count], weights[u], out=more)
                total += more
            epilogue(out[:, rows], rows)
        return out


def strips(x: np.ndarray, size: int, each: int) -> Iterator[tuple[int, np.ndarray]]:
    """What `each` rows of a layer look at, strip after strip: the number of the first row, and the `size` pixels around
    each pixel of these rows and of those above and below, edges repeated, (P, each + size - 1, W size, C), to be read
    before the next.
    """
    pictures, height, width, channels = x.shape
    if size == 1:
        for first in range(0, height, each):
            yield first, x[:, first : first + each]
        return
    r = size // 2
    around = np.arange(-r, r + 1)
    columns = np.clip(np.add.outer(np.arange(width), around), 0, width - 1).reshape(-1)
    room = np.empty((pictures, each + 2 * r, width * size, channels), x.dtype)
    for first in range(0, height, each):
        rows = np.arange(first - r, min(first + each, height) + r)
        inside = rows[0] >= 0 and rows[-1] < height
        these = x[:, rows[0] : rows[-1] + 1] if inside else x[:, np.clip(rows, 0, height - 1)]
        seen = room[:, : len(rows)]
        these.take(columns, 2, out=seen, mode="clip")  # without a mode, numpy would make a copy first
        yield first, seen


@lru_cache(256)
def shares_of_rows(tile: int, count: int, start: int, stop: int, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """For `NumpyOps.between`, of `count` rows of tiles: those above and below each row, and the share of the latter:
    (rows,) each.
    """
    place = (np.arange(start, stop) + 0.5) / tile - 0.5
    above = np.clip(np.floor(place).astype(np.int64), 0, count - 1)
    below = np.minimum(above + 1, count - 1)
    share = np.clip(place - above, 0, 1).astype(dtype)
    return above, below, share[:, None, None]


@lru_cache(16)
def shares_of_columns(tile: int, start: int, stop: int, dtype: np.dtype) -> list[tuple[slice, slice, np.ndarray]]:
    """For `NumpyOps.between`, of columns of tiles and one more at either end: some columns after others, the tiles that
    they lie between, and each column's share of each of these (columns, tiles).
    """
    found = []
    for first in range(start, stop, NumpyOps.SLAB):
        place = np.arange(first, min(first + NumpyOps.SLAB, stop)) + tile // 2
        left = place // tile
        share = (place % tile + 0.5) / tile
        tiles = slice(left[0], left[-1] + 2)
        weights = np.zeros((len(place), left[-1] + 2 - left[0]))
        column = np.arange(len(place))
        weights[column, left - left[0]] = 1 - share
        weights[column, left - left[0] + 1] = share
        found.append((slice(first - start, first - start + len(place)), tiles, weights.astype(dtype)))
    return found
