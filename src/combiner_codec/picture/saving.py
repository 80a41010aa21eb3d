"""Decoded arrays to picture files of any format that Pillow writes."""

import io
import os
from functools import cache

import numpy as np

from ..errors import FormatError
from .formats import load_formats

LOSSY = ("JPEG", "WEBP", "AVIF")  # formats that take a quality
USUAL = ".png, .jpg, .webp, .avif, .tif, .bmp"
USUAL_QUALITY = 95  # of a lossy format, unless another is asked for: little is lost after the first loss
FULL_COLOUR_QUALITY = 90  # from which a JPEG keeps its colours at full resolution
PNG_LEVEL = 2  # of zlib's compression, of 9


def save(array: np.ndarray, format: str, quality: int | None = None) -> bytes:
    """Picture file from uint8 (H, W) or (H, W, 2 to 4); PNG with light compression, which is several times faster.

    quality: 1 to 100, of a lossy format. Raises FormatError for what Pillow cannot write in this format.
    """
    from PIL import Image

    load_formats()
    buffer = io.BytesIO()
    quality = quality or USUAL_QUALITY
    options: dict[str, int] = {}
    if format in LOSSY:
        options["quality"] = quality
    if format == "JPEG" and quality >= FULL_COLOUR_QUALITY:
        options["subsampling"] = 0
    if format == "PNG":
        options["compress_level"] = PNG_LEVEL
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
def _writable(name: str) -> str | None:
    """Pillow's format of a name or suffix, if it can write that: tried with a few pixels."""
    from PIL import Image

    load_formats(every=True)
    kind = name.upper()
    if kind not in Image.SAVE:
        kind = Image.EXTENSION.get(_suffix(name), "")
    try:
        save(np.zeros((8, 8, 3), np.uint8), kind)
    except (FormatError, KeyError):
        return None
    return kind


@cache
def check_mode(kind: str, mode: str) -> None:
    """Raises FormatError for a format without a place for L, LA, RGB or RGBA, tried with a few pixels."""
    pixels = np.zeros((8, 8, len(mode)), np.uint8)
    save(pixels.squeeze(), kind)


def suffix_of(name: str) -> str:
    """What file names of a format, which Pillow can write, end with."""
    from PIL import Image

    wanted = format_named(name)
    fitting = [suffix for suffix, kind in Image.EXTENSION.items() if kind == wanted]
    if _suffix(name) in fitting or not fitting:
        return _suffix(name)
    return fitting[0]


def _suffix(name: str) -> str:
    """A name or suffix as a suffix."""
    return "." + name.lower().lstrip(".")
