"""Files of exact planes: a picture without loss, or what is shown instead of it. Without torch.

J of a file is squared error + beta ln 2 bits, the encoder's own measure.
"""

from functools import cache

import numpy as np

from ..format import header
from ..format.header import EXACT, GREY, NO_PRIOR, RGB, USUAL_BITS, Header
from ..format.plane import ExactPlane, write
from ..picture import exact, planes
from ..picture.image import psnr
from .encoded import Encoded

TILE = 16  # pixels along the side of the transform's tiles
COLOURS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])  # orthonormal, grey first


def encoded(picture: np.ndarray, shown: np.ndarray | None = None, speed: exact.Speed = exact.USUAL) -> Encoded:
    """The file of a uint8 picture, (H, W) or (H, W, 2 to 4), without loss; shown: what it shows instead."""
    content = planes.without_opaque_alpha(picture if shown is None else shown)
    colour, alpha = planes.split(content)
    height, width = picture.shape[:2]
    head = Header(
        NO_PRIOR,
        EXACT,
        USUAL_BITS[0],
        width,
        height,
        channels=GREY if colour.ndim == 2 else RGB,
        alpha=None if alpha is None else EXACT,
    )
    plane = ExactPlane(head, None, *exact.encoded(content, speed))
    data = header.write(head, 0, write(plane), b"")
    quality = np.inf if shown is None else psnr(picture, shown)
    return Encoded(
        data,
        plane,
        content,
        quality,
        ideal_bits=8.0 * len(plane.content),
        sampled_psnr=quality,
        posterior_seconds=0.0,
    )


def bound(picture: np.ndarray, beta: float, enough: float = np.inf) -> float:
    """About the least J of an INR of a picture (H, W) or (H, W, 3) uint8: squared error + beta nats.

    A coefficient of energy v, one of C channels, costs v / C if it is left out, and else C beta / 2 of error and the
    nats of a Gaussian of variance v: beta / 2 (1 + ln(2 v / (C beta))).

    enough: where the sum reaches this, the rest is not looked at.
    """
    total = 0.0
    for strip in _strips(picture):
        total += float(_least(strip, beta).sum())
        if total >= enough:
            break
    return total


def bounds(picture: np.ndarray, beta: float) -> np.ndarray:
    """`bound` of each tile of a picture (H, W) or (H, W, 3) uint8: (rows, columns) of tiles."""
    return np.stack([_least(strip, beta) for strip in _strips(picture)])


def _least(strip: np.ndarray, beta: float) -> np.ndarray:
    """`bound` of the tiles of a row, (16, 16 columns, C) uint8: (columns,) float64."""
    channels = strip.shape[2]
    pixels = strip / np.float32(255)
    if channels == 3:
        pixels = pixels @ COLOURS.T.astype(np.float32)
    left_out = _energies(pixels) / channels
    share = np.maximum(2 * left_out / beta, 1)
    coded = beta / 2 * (1 + np.log(share))
    return np.minimum(left_out, coded).sum((1, 2, 3), dtype=np.float64)


def _strips(picture: np.ndarray):
    """Rows of tiles, edges repeated to whole ones: (H, W) or (H, W, C) -> (16, columns * 16, C) each."""
    height, width = picture.shape[:2]
    missing = (0, -width % TILE), (0, 0)
    pixels = picture.reshape(height, width, -1)
    for top in range(0, height, TILE):
        strip = pixels[top : top + TILE]
        below = (0, TILE - len(strip))
        yield np.pad(strip, (below, *missing), mode="edge")


def _energies(strip: np.ndarray) -> np.ndarray:
    """Squares of the cosine coefficients of a row of tiles: (16, 16 columns, C) -> (columns, C, 16, 16)."""
    columns = strip.shape[1] // TILE
    tiles = strip.reshape(TILE, columns, TILE, -1).transpose(1, 3, 0, 2)  # (columns, C, 16, 16)
    cosines = _cosines()
    return (cosines @ tiles @ cosines.T) ** 2


@cache
def _cosines() -> np.ndarray:
    """The discrete cosine transform (DCT-II), orthonormal: (16, 16) float32."""
    frequency, place = np.indices((TILE, TILE))
    waves = np.sqrt(2 / TILE) * np.cos(np.pi * frequency * (place + 1 / 2) / TILE)
    waves[0] /= np.sqrt(2)
    return waves.astype(np.float32)
