"""The lapped cosine transform, synthesis and analysis, for numpy and for torch (FORMAT.md, section 7, "Field").

The modified discrete cosine transform with a sine window (Princen and Bradley, 1986), tiles mirrored at the picture's
ends, plain cosines in the last tile; orthonormal. Shapes: P pictures of R x C tiles of `hop` pixels, k frequencies kept
in each direction, three colour components.
"""

from functools import cache

import numpy as np


def synthesise_columns(x, hop: int, ops):
    """Downwards: (P, R, k, 3, C, k) coefficients -> (P, R * hop, 3, C, k)."""
    p, r, k, colours, c, across = x.shape
    y = _expand(x.reshape(p, r, k, colours * c * across), hop, ops)
    return y.reshape(p, r * hop, colours, c, across)


def synthesise_rows(x, hop: int, ops):
    """Across: (P, H, 3, C, k) coefficients of rows -> (P, H, 3, C * hop)."""
    p, height, colours, c, k = x.shape
    return _expand(x.reshape(p * height * colours, c, k, 1), hop, ops).reshape(p, height, colours, c * hop)


def analyse(x, hop: int, ops):
    """Inverse and transpose of both syntheses, all `hop` frequencies: (P, H, 3, W) -> (P, R, hop, 3, C, hop)."""
    p, h, colours, w = x.shape
    y = _reduce(x.reshape(p, h // hop, hop, colours * w), hop, ops)
    y = _reduce(y.reshape(-1, w // hop, hop, 1), hop, ops)
    return y.reshape(p, h // hop, hop, colours, w // hop, hop)


def _expand(x, hop, ops):
    """Along one axis: (N, tiles, k, M) coefficients -> (N, tiles, hop, M) samples."""
    inner, last = (ops.constant(np.ascontiguousarray(b[: x.shape[2]]), x) for b in (lapped(hop), cosines(hop)))
    if x.shape[1] == 1:
        return _apply(last.T, x)
    return _rotate(ops.concatenate([_apply(inner.T, x[:, :-1]), _apply(last.T, x[:, -1:])], 1), ops, 1)


def _reduce(x, hop, ops):
    """Transpose of `_expand`: (N, tiles, hop, M) samples -> (N, tiles, hop, M) coefficients."""
    inner, last = ops.constant(lapped(hop), x), ops.constant(cosines(hop), x)
    if x.shape[1] == 1:
        return _apply(last, x)
    x = _rotate(x, ops, -1)
    return ops.concatenate([_apply(inner, x[:, :-1]), _apply(last, x[:, -1:])], 1)


def _apply(matrix, x):
    """Matrix times the third axis; columns of one element make one large product."""
    if x.shape[3] == 1:
        return (x[..., 0] @ matrix.T)[..., None]
    return matrix @ x


def _rotate(x, ops, sign):
    """Mix samples mirrored at the borders of tiles, (N, tiles, hop, M); sign -1 undoes it.

    Basis functions go on beyond their tile with the other half of a sine window, odd at its right end and even at its
    left: the modified discrete cosine transform (Princen and Bradley, 1986). The picture's ends are left alone.
    """
    half = x.shape[2] // 2
    angle = np.pi / 4 * (1 + (np.arange(half) + 0.5) / half)
    sin, cos = (ops.constant(f(angle), x)[:, None] for f in (np.sin, np.cos))
    left, right = ops.flip(x[:, :-1, half:], 2), x[:, 1:, :half]
    left, right = sin * left + sign * cos * right, sin * right - sign * cos * left
    first = ops.concatenate([x[:, :1, :half], right], 1)
    second = ops.concatenate([ops.flip(left, 2), x[:, -1:, half:]], 1)
    return ops.concatenate([first, second], 2)


@cache
def cosines(n: int) -> np.ndarray:
    """Orthonormal cosines of n pixel centres, even at both ends (DCT-II): (frequency, position) float64."""
    k = np.arange(n)
    c = np.sqrt(2 / n) * np.cos(np.pi * (k + 0.5) * k[:, None] / n)
    c[0] /= np.sqrt(2)
    return c


@cache
def lapped(n: int) -> np.ndarray:
    """Orthonormal cosines, even at the left and odd at the right end (DCT-IV): (frequency, position) float64."""
    k = np.arange(n) + 0.5
    return np.sqrt(2 / n) * np.cos(np.pi * k * k[:, None] / n)
