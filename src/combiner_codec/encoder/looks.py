"""Weights of squared error as people see it: `--tune iq`. numpy only. The fit knows structural error too
(fit/structure.py).

    seen error = sum over tiles of w * sum over latents of v * (what the latent is off)^2

w, of a square of four tiles, is for masking: where a picture is busy, an error hides. With V the mean of the variances
of 8 x 8 pixels of 8-bit luma, 1 / w is proportional to PLAIN + (1 - PLAIN) (1 - exp(-V / BUSY)), the shape of libaom's
multiplier for SSIM (av1/encoder/encoder.c), and w has the geometric mean 1 over a picture, so that beta keeps its
meaning.

v, of a latent, is for contrast sensitivity, which falls with frequency, and sooner for colour than for lightness
(Mullen, 1985, "The contrast sensitivity of human colour vision"). A lightness of f cycles per pixel has
FINE + (SMOOTH - FINE) / (1 + (f / FALLS)^2), pure colour COLOUR times that.

The constants are tuned on crops of validation photographs by SSIMULACRA 2 (docs/lab.md). Shapes: Rt x Ct tiles.
"""

from functools import cache

import numpy as np

from ..format.operating_point import OperatingPoint
from ..synthesis.architecture import Architecture, counts
from ..synthesis.colour_axes import UNTURNED, Axes, rotation

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
CELL = 8  # pixels along the side of what a variance is of
BUSY = 465.0  # variance, in squared levels of 255, beyond which a square hides little more
PLAIN = 0.4  # what a square of one colour hides, against a busy one
SMOOTH = 2.5  # weight of the smoothest error
FINE = 0.85  # weight of the finest, about: so that sizes of files at one beta stay what they are
FALLS = 0.08  # cycles per pixel where half of what is above FINE is gone
COLOUR = 0.38  # of an error that changes no lightness

ComponentWeights = tuple[float, ...]  # of the three colour components


def tile_weights(picture: np.ndarray, tile: int) -> np.ndarray:
    """w of every tile of a picture (H, W) or (H, W, 3) uint8: (Rt, Ct) float32."""
    height, width = picture.shape[:2]
    square = 2 * tile
    rows, columns = counts(width, height, square)
    hidden = np.empty((rows, columns))
    for row in range(rows):
        strip = picture[row * square : (row + 1) * square]
        variance = _variances(strip, square).mean(1)
        hidden[row] = PLAIN + (1 - PLAIN) * -np.expm1(-variance / BUSY)
    typical = np.exp(np.log(hidden).mean())
    of_squares = (typical / hidden).astype(np.float32)
    of_tiles = of_squares.repeat(2, 0).repeat(2, 1)
    tile_rows, tile_columns = counts(width, height, tile)
    return of_tiles[:tile_rows, :tile_columns]


def _variances(strip: np.ndarray, square: int) -> np.ndarray:
    """Variances of the cells of a row of squares, mirrored at the picture's ends: -> (squares, cells)."""
    luma = strip.astype(np.float32)
    if luma.ndim == 3:
        luma = luma @ LUMA
    height, width = luma.shape
    columns = -(-width // square)
    whole = np.pad(luma, ((0, square - height), (0, columns * square - width)), mode="symmetric")
    side = square // CELL
    cells = whole.reshape(side, CELL, columns, side, CELL)
    return cells.var((1, 4)).swapaxes(0, 1).reshape(columns, -1)


def component_weights(
    architecture: Architecture, point: OperatingPoint, axes: Axes | None = None
) -> ComponentWeights | None:
    """What of v belongs to each colour component, by the share of lightness in it; None without components."""
    if not architecture.field.linear:
        return None
    of_prior = point.shared[f"w{architecture.colour}"].reshape(3, 3).astype(np.float64)
    of_picture = rotation(axes or UNTURNED) @ of_prior  # (component, RGB)
    lightness = of_picture.sum(1) ** 2 / (3 * (of_picture**2).sum(1))
    weights = COLOUR + (1 - COLOUR) * lightness
    return tuple(np.round(weights, 4).tolist())


@cache
def latent_weights(tile: int, components: ComponentWeights) -> np.ndarray:
    """v of every latent of a tile of cosines: (U,) float64. A merged tile's four have about the same frequencies."""
    frequency = (np.arange(tile) + 0.5) / (2 * tile)  # cycles per pixel
    squares = frequency[:, None] ** 2 + frequency**2  # (v, h)
    lightness = FINE + (SMOOTH - FINE) / (1 + squares / FALLS**2)
    return (lightness[..., None] * np.array(components)).reshape(-1)


def seen_error(picture: np.ndarray, shown: np.ndarray, weights: np.ndarray, tile: int) -> float:
    """Squared error with w alone, of values in [0, 1], summed over pixels and averaged over channels.

    weights: of tiles, (Rt, Ct).
    """
    height, width = picture.shape[:2]
    difference = (picture.astype(np.float32) - shown) / 255
    squares = (difference**2).reshape(height, width, -1).mean(2)
    of_pixels = weights.repeat(tile, 0).repeat(tile, 1)[:height, :width]
    return float((squares * of_pixels).sum(dtype=np.float64))
