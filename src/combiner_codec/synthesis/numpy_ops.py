"""The synthesis on numpy arrays: what a decoder computes with."""

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
                x /= 1 + np.exp(-x)
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
        return x.astype(self.dtype)

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
        left, across = shares_of_columns(tile, part.columns.start, part.columns.stop, outputs, values.dtype)
        rows = values[:, above]
        rows = rows + down * (values[:, below] - rows)
        ends = np.concatenate([rows[:, :, :1], rows, rows[:, :, -1:]], 2)  # (P, h, Ct + 2, O)
        steps = ends[:, :, 1:] - ends[:, :, :-1]  # from centre to centre
        between = steps.take(left, 2)
        between *= across
        between += ends.take(left, 2)
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
        neighbours, slab = gathered(x, size)
        out = np.empty((pictures, height, width, outputs), x.dtype)
        each = max(NumpyOps.ROWS, NumpyOps.FEWEST // width)
        for first in range(0, height, each):
            rows = slice(first, min(first + each, height))
            count = rows.stop - first
            seen = np.ascontiguousarray(neighbours[:, first : first + count + size - 1])
            total = out[:, rows]
            products = total.reshape(pictures, count, width // slab, slab, outputs)
            np.matmul(seen[:, :count], weights[0], out=products)
            for u in range(1, size):
                products += seen[:, u : u + count] @ weights[u]
            epilogue(total, rows)
        return out


def gathered(x: np.ndarray, size: int) -> tuple[np.ndarray, int]:
    """The `size` pixels of a row that each pixel looks at, edges repeated, as a view: (P, H, W, C) ->
    (P, H + size - 1, W / slab, slab, size C), and slab.
    """
    padded = edged(x, size // 2)
    pictures, height, _, channels = padded.shape
    width = x.shape[2]
    slab = max(n for n in range(1, NumpyOps.SLAB + 1) if width % n == 0)
    picture, row, column, item = padded.strides
    view = np.lib.stride_tricks.as_strided(
        padded,
        (pictures, height, width // slab, slab, size * channels),
        (picture, row, slab * column, column, item),
        writeable=False,
    )
    return view, slab


def edged(x: np.ndarray, r: int) -> np.ndarray:
    """Edges repeated, r positions wide: (P, H, W, C) -> (P, H + 2 r, W + 2 r, C)."""
    if not r:
        return x
    pictures, height, width, channels = x.shape
    out = np.empty((pictures, height + 2 * r, width + 2 * r, channels), x.dtype)
    out[:, r:-r, r:-r] = x
    out[:, r:-r, :r] = x[:, :, :1]
    out[:, r:-r, -r:] = x[:, :, -1:]
    out[:, :r] = out[:, r : r + 1]
    out[:, -r:] = out[:, -r - 1 : -r]
    return out


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
def shares_of_columns(tile: int, start: int, stop: int, outputs: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """For `NumpyOps.between`, of columns of tiles and one more at the left: the one at the left of each column, (w,),
    and the share of that at its right, (w, O).
    """
    place = np.arange(start, stop) + tile // 2
    share = ((np.arange(tile) + 0.5) / tile).astype(dtype)[place % tile]
    return place // tile, np.repeat(share[:, None], outputs, 1)
