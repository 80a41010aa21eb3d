"""What WebP makes of a picture in as many bytes: a cheap question, and the answer says what a codec is not for."""

import io
from typing import TYPE_CHECKING

import numpy as np

from .image import psnr

if TYPE_CHECKING:
    from PIL import Image

FAST_METHOD = 2  # a fifth of the time of WebP's usual one, little worse
MUCH_BETTER = 1.5  # dB
LARGEST_SIDE = 16383  # pixels of a WebP


def psnr_at(picture: np.ndarray, size: int) -> float | None:
    """PSNR in dB of the largest WebP of at most `size` bytes, infinite where it is lossless; None where there is none.

    picture: uint8 (H, W) or (H, W, 2 to 4).
    """
    from PIL import Image, features

    if not features.check("webp") or max(picture.shape[:2]) > LARGEST_SIDE:
        return None
    image = Image.fromarray(picture)
    if len(_webp(image, lossless=True)) <= size:
        return float("inf")
    fits = -1  # no quality at all
    too_large = 101
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        if len(_webp(image, quality=middle)) <= size:
            fits = middle
        else:
            too_large = middle
    if fits < 0:
        return None
    with Image.open(io.BytesIO(_webp(image, quality=fits))) as shown:
        return psnr(picture, np.asarray(shown.convert(image.mode)))


def warning(picture: np.ndarray, size: int, quality: float) -> list[str]:
    """A line where a WebP of at most `size` bytes is much better than `quality` dB."""
    found = psnr_at(picture, size)
    if found is None or found < quality + MUCH_BETTER:
        return []
    shown = "shows the picture without loss" if found == float("inf") else f"shows {found:.1f} dB"
    return [f"a WebP of the same size {shown}: WebP suits such pictures better"]


def _webp(image: "Image.Image", quality: int = 0, lossless: bool = False) -> bytes:
    """A picture as WebP."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", method=FAST_METHOD, quality=quality, lossless=lossless)
    return buffer.getvalue()
