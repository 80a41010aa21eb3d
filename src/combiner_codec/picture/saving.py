"""Decoded arrays to picture files of any format that Pillow writes."""

import io
import os
from functools import cache

import numpy as np

from ..errors import FormatError

LOSSY = ("JPEG", "WEBP", "AVIF")  # formats that take a quality
USUAL = ".png, .jpg, .webp, .avif, .tif, .bmp"
QUALITY = 95  # of a lossy format, unless another is asked for: little is lost after the first loss
FINE = 90  # quality from which a JPEG keeps its colours at full resolution


def save(array: np.ndarray, format: str, quality: int | None = None) -> bytes:
    """Picture file from uint8 (H, W) or (H, W, 2 to 4); PNG with light compression, which is several times faster.

    quality: 1 to 100, of a lossy format. Raises FormatError for what Pillow cannot write in this format.
    """
    from PIL import Image

    buffer, quality = io.BytesIO(), quality or QUALITY
    options: dict = {"quality": quality} if format in LOSSY else {}
    options |= {"subsampling": 0} if format == "JPEG" and quality >= FINE else {}
    options |= {"compress_level": 2} if format == "PNG" else {}
    try:
        Image.fromarray(array).save(buffer, format=format, **options)
    except (OSError, ValueError) as error:
        raise FormatError(f"Pillow cannot write this picture as {format}: {error}") from error
    return buffer.getvalue()


def format_of(path: str) -> str:
    """Pillow's format for a file name; PNG for one without a suffix. Raises FormatError for what it cannot write."""
    suffix = os.path.splitext(path)[1].lower()
    return "PNG" if suffix in ("", ".png") else format_named(suffix, f"{path}: ")


def format_named(name: str, about: str = "") -> str:
    """Pillow's format of a name or suffix. Raises FormatError for one that it cannot write."""
    if kind := _writable(name):
        return kind
    raise FormatError(f"{about}Pillow cannot write {name}: take one of {USUAL}, or name a --format")


@cache
def _writable(name):
    """Pillow's format of a name or suffix, if it can write that: tried with a few pixels."""
    from PIL import Image

    Image.init()  # imports every format: slow
    kind = name.upper() if name.upper() in Image.SAVE else Image.EXTENSION.get(f".{name.lower().lstrip('.')}")
    try:
        save(np.zeros((8, 8, 3), np.uint8), kind or "")
    except (FormatError, KeyError):
        return None
    return kind


@cache
def check_mode(kind: str, mode: str) -> None:
    """Raises FormatError for a format without a place for L, LA, RGB or RGBA, tried with a few pixels."""
    save(np.zeros((8, 8, len(mode)), np.uint8).squeeze(), kind)


def suffix_of(name: str) -> str:
    """What file names of a format, which Pillow can write, end with."""
    from PIL import Image

    own, wanted = f".{name.lower().lstrip('.')}", format_named(name)
    fitting = [suffix for suffix, kind in Image.EXTENSION.items() if kind == wanted]
    return own if own in fitting or not fitting else fitting[0]
