"""Picture files are read to their end only if they begin like one: what does not may never end."""

import io
from collections.abc import Callable
from typing import Any, BinaryIO

from . import heif
from .formats import load_formats

BEGINNING = 2**16  # bytes that tell
PREFIX = 16  # of them that Pillow asks a format about


def read_picture(file: BinaryIO) -> bytes:
    """What a picture file holds; of what begins like none only the beginning, which `image.load` refuses."""
    data = file.read(BEGINNING)
    if len(data) < BEGINNING or not begins_like_a_picture(data):
        return data
    return data + file.read()


def begins_like_a_picture(data: bytes) -> bool:
    """Whether a format that Pillow knows may begin like this."""
    from PIL import Image

    if heif.is_heif(data):
        return True
    load_formats()
    if _known(data, set(Image.OPEN)):
        return True
    usual = set(Image.OPEN)
    load_formats(every=True)
    return _known(data, set(Image.OPEN) - usual)


def _known(data: bytes, formats: set[str]) -> bool:
    """Whether one of some formats takes a file for its own."""
    from PIL import Image

    for name in formats:
        opened, accept = Image.OPEN[name]
        if accept and _holds(accept, data[:PREFIX]):
            return True
        if not accept and _holds(opened, io.BytesIO(data)):
            return True
    return False


def _holds(asked: Callable[..., Any], *arguments: Any) -> bool:
    """Whether a format says so; it may raise anything of what is none of it."""
    try:
        return bool(asked(*arguments))
    except Exception:
        return False
