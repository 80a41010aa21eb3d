"""What WebP makes of a picture in as many bytes: a cheap question, and the answer says what a codec is not for."""

import io

import numpy as np

from .image import psnr

FAST = 2  # WebP's method: a fifth of the time of the usual one, little worse
MUCH = 1.5  # dB


def psnr_at(picture: np.ndarray, size: int) -> float | None:
    """PSNR in dB of the largest WebP of at most `size` bytes, infinite where it is lossless; None where there is none.

    picture: uint8 (H, W) or (H, W, 2 to 4).
    """
    from PIL import Image, features

    if not features.check("webp") or max(picture.shape[:2]) > 16383:
        return None
    image = Image.fromarray(picture)
    if _size(image, lossless=True) <= size:
        return float("inf")
    low, high = -1, 101  # the best quality that fits lies from low on, below high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _size(image, quality=middle) <= size else (low, middle)
    if low < 0:
        return None
    with Image.open(_file(image, quality=low)) as shown:
        return psnr(picture, np.asarray(shown.convert(image.mode)))


def warning(picture: np.ndarray, size: int, quality: float) -> list[str]:
    """A line where a WebP of at most `size` bytes is much better than `quality` dB."""
    found = psnr_at(picture, size)
    if found is None or found < quality + MUCH:
        return []
    shown = "shows the picture without loss" if found == float("inf") else f"shows {found:.1f} dB"
    return [f"a WebP of the same size {shown}: WebP suits such pictures better"]


def _file(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", method=FAST, **({"quality": 0} | options))
    return buffer


def _size(image, **options):
    return len(_file(image, **options).getvalue())
