"""The synthesis on numpy arrays: what a decoder computes with."""

from functools import lru_cache

import numpy as np


class NumpyOps:
    """What the forward pass needs of an array library; `dtype` is that of the shared layers."""

    ROWS = 8  # rows of positions that a layer takes at once, so that they stay in the cache
    FEWEST = 2**10  # positions that a layer takes at once, however narrow the picture
    SLAB = 128  # most pixels of one product: too few for BLAS to share among threads, which would slow ours
    KEEPS = False  # whether borders, which a fit asks for again and again, are kept
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
                x /= 1 + np.exp(-x)
        return x

    @staticmethod
    def constant(array, like):
        return array.astype(like.dtype)

    @staticmethod
    def zeros(shape, like):
        return np.zeros(shape, like.dtype)

    @staticmethod
    def flip(x, axis):
        return np.flip(x, axis)

    @staticmethod
    def permute(x, axes):
        return x.transpose(axes)

    def cast(self, x):
        """Shared layers are computed as wide as asked for."""
        return x.astype(self.dtype)

    @staticmethod
    def look_up(table, classes):
        """Rows of a table: (K, O), (P, Rt, Ct) -> (P, Rt, Ct, O)."""
        return table[classes]

    @staticmethod
    def between(values, tile, low, high):
        """Rows low … high between centres of tiles, bilinearly: (P, Rt, Ct, O) -> (P, high - low, W, O)."""
        if values.shape[1:3] == (1, 1):
            return values
        above, below, down = shares(tile, values.shape[1], low, high, values.dtype)
        left, across = columns(tile, *values.shape[2:], values.dtype)
        rows = values[:, above]
        rows = rows + down * (values[:, below] - rows)
        ends = np.concatenate([rows[:, :, :1], rows, rows[:, :, -1:]], 2)  # (P, rows, Ct + 2, O)
        between = (ends[:, :, 1:] - ends[:, :, :-1]).take(left, 2)  # from centre to centre
        between *= across
        between += ends.take(left, 2)
        return between

    @staticmethod
    def window(x, weights, finished):
        """Dense layer over size x size neighbourhoods: (P, H, W, C) (size, size, C, O) -> (P, H, W, O).

        finished: makes products of some rows, (P, end - first, W, O) and (first, end), the layer's output, in place.
        """
        size, (pictures, height, width, channels) = len(weights), x.shape
        r, each = size // 2, max(NumpyOps.ROWS, NumpyOps.FEWEST // width)
        padded = edged(x, r)
        picture, row, column, item = padded.strides
        slab = max(n for n in range(1, NumpyOps.SLAB + 1) if width % n == 0)
        across = np.lib.stride_tricks.as_strided(  # the pixels of a row that each pixel looks at, gathered below
            padded,
            (pictures, height + 2 * r, width // slab, slab, size * channels),
            (picture, row, slab * column, column, item),
            writeable=False,
        )
        weights = weights.reshape(size, size * channels, -1)
        out = np.empty((pictures, height, width, weights.shape[2]), x.dtype)
        for first in range(0, height, each):
            part = np.ascontiguousarray(across[:, first : first + each + 2 * r])
            rows = first, min(first + each, height)
            total = out[:, slice(*rows)]
            products = total.reshape(pictures, -1, width // slab, slab, weights.shape[2])
            np.matmul(part[:, : products.shape[1]], weights[0], out=products)
            for u in range(1, size):
                products += part[:, u : u + products.shape[1]] @ weights[u]
            finished(total, rows)
        return out


def edged(x: np.ndarray, r: int) -> np.ndarray:
    """Edges repeated, r positions wide: (P, H, W, C) -> (P, H + 2 r, W + 2 r, C)."""
    if not r:
        return x
    pictures, height, width, channels = x.shape
    out = np.empty((pictures, height + 2 * r, width + 2 * r, channels), x.dtype)
    out[:, r:-r, r:-r] = x
    out[:, r:-r, :r], out[:, r:-r, -r:] = x[:, :, :1], x[:, :, -1:]
    out[:, :r], out[:, -r:] = out[:, r : r + 1], out[:, -r - 1 : -r]
    return out


@lru_cache(256)
def shares(tile: int, count: int, low: int, high: int, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """For `NumpyOps.between`, of `count` rows of tiles: those above and below each row, and the share of the latter:
    (rows,) each.
    """
    place = (np.arange(low, high) + 0.5) / tile - 0.5
    above = np.clip(np.floor(place).astype(np.int64), 0, count - 1)
    down = np.clip(place - above, 0, 1).astype(dtype)[:, None, None]
    return above, np.minimum(above + 1, count - 1), down


@lru_cache(16)
def columns(tile: int, count: int, outputs: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """For `NumpyOps.between`, of `count` columns of tiles and one more at the left: the one at the left of each
    column, (W,), and the share of that at its right, (W, O).
    """
    place = np.arange(count * tile) + tile // 2
    share = ((np.arange(tile) + 0.5) / tile).astype(dtype)[place % tile]
    return place // tile, np.repeat(share[:, None], outputs, 1)
