"""Bilinear interpolation between centres of tiles, for numpy and for torch (FORMAT.md, section 7)."""

import numpy as np


def between(values, tile, low, high, ops):
    """Rows low … high of values that hold at centres of tiles: (P, Rt, Ct, O) -> (P, high - low, W, O)."""
    if values.shape[1:3] == (1, 1):
        return values
    place = (np.arange(low, high) + 0.5) / tile - 0.5
    above = np.clip(np.floor(place).astype(np.int64), 0, values.shape[1] - 1)
    below = np.minimum(above + 1, values.shape[1] - 1)
    share = ops.constant(np.clip(place - above, 0, 1), values)[:, None, None]
    rows = values[:, above] + share * (values[:, below] - values[:, above])
    ends = ops.concatenate([rows[:, :, :1], rows, rows[:, :, -1:]], 2)[:, :, :, None]  # (P, rows, Ct + 2, 1, O)
    share = ops.constant((np.arange(tile) + 0.5) / tile, values)[:, None]
    between = ends[:, :, :-1] + share * (ends[:, :, 1:] - ends[:, :, :-1])  # from centre to centre
    shape = between.shape
    between = between.reshape(*shape[:2], shape[2] * tile, shape[4])
    return between[:, :, tile // 2 : shape[2] * tile - tile // 2]
