"""Picture files written a few rows at a time: PNG and PPM, whose rows stand one after the other.

Rows are uint8, (h, W) or (h, W, 2 to 4). numpy and the standard library only.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from .png import SIGNATURE
from .saving import PNG_LEVEL

COLOUR_TYPES = {"L": 0, "LA": 4, "RGB": 2, "RGBA": 6}  # of a PNG
MAGIC = {"L": "P5", "RGB": "P6"}  # of a PGM and a PPM
DEPTH = 8  # bits of a sample
MEMORY_LEVEL = 9  # of zlib's: all that it may take
FILTERED_ROWS = 64  # whose filters are chosen at once

Rows = Iterable[np.ndarray]  # parts of a picture, from top to bottom
Writer = Callable[[int, int, str, Rows], Iterator[bytes]]  # takes width, height, mode


def writer(kind: str, mode: str) -> Writer | None:
    """What writes L, LA, RGB or RGBA in rows; None for a format, of Pillow's name, that needs all of them at once."""
    if kind == "PNG":
        return png_parts
    if kind == "PPM" and mode in MAGIC:
        return ppm_parts
    return None


def ppm_parts(width: int, height: int, mode: str, rows: Rows) -> Iterator[bytes]:
    """A binary PGM or PPM, as Pillow writes it."""
    yield f"{MAGIC[mode]}\n{width} {height}\n255\n".encode()
    for part in rows:
        yield part.tobytes()


def png_parts(width: int, height: int, mode: str, rows: Rows) -> Iterator[bytes]:
    """A PNG (W3C PNG 3, sections 5, 9 and 10): one stream of deflate, in chunks of what is there."""
    channels = len(mode)
    yield SIGNATURE
    yield _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, DEPTH, COLOUR_TYPES[mode], 0, 0, 0))
    packer = zlib.compressobj(PNG_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS, MEMORY_LEVEL, zlib.Z_FILTERED)
    above = np.zeros((1, width * channels), np.uint8)
    for part in rows:
        flat = part.reshape(len(part), -1)
        for start in range(0, len(flat), FILTERED_ROWS):
            some = flat[start : start + FILTERED_ROWS]
            packed = packer.compress(_filtered(some, above, channels).tobytes())
            above = some[-1:].copy()
            if packed:
                yield _chunk(b"IDAT", packed)
    yield _chunk(b"IDAT", packer.flush())
    yield _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Length, kind, data, checksum of both."""
    return struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _filtered(rows: np.ndarray, above: np.ndarray, channels: int) -> np.ndarray:
    """Rows, each by the filter that leaves the least absolute differences: (h, n), (1, n) -> (h, 1 + n) uint8."""
    up = np.concatenate([above, rows[:-1]])
    left = _moved(rows, channels)
    up_left = _moved(up, channels)
    mean = ((left.astype(np.uint16) + up) >> 1).astype(np.uint8)
    predictions = (0, left, up, mean, _paeth(left, up, up_left))  # in the order of their numbers
    best = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    least = np.full(len(rows), np.iinfo(np.int64).max)
    for number, predicted in enumerate(predictions):
        differences = rows - predicted
        total = np.abs(differences.view(np.int8).astype(np.int16)).sum(1, dtype=np.int64)
        better = total < least
        least[better] = total[better]
        best[better, 0] = number
        best[better, 1:] = differences[better]
    return best


def _moved(rows: np.ndarray, channels: int) -> np.ndarray:
    """The pixel to the left of each, 0 before the first."""
    left = np.zeros_like(rows)
    left[:, channels:] = rows[:, :-channels]
    return left


def _paeth(left: np.ndarray, up: np.ndarray, up_left: np.ndarray) -> np.ndarray:
    """Of three neighbours the one that is nearest to left + up - up_left; the first of equals."""
    across = up.astype(np.int16) - up_left  # how far left + up - up_left is from left
    down = left.astype(np.int16) - up_left
    of_left = np.abs(across)
    of_up = np.abs(down)
    of_up_left = np.abs(across + down)
    nearest = np.where(of_up <= of_up_left, up, up_left)
    is_left = (of_left <= of_up) & (of_left <= of_up_left)
    return np.where(is_left, left, nearest)
