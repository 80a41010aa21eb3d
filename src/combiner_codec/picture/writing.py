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
FILTERED_ROWS = 64  # at once
MEAN = 3  # number of the filter that is used: a choice for each row takes twice the time, for some 4 % fewer bytes

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
    packer = zlib.compressobj(PNG_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS, MEMORY_LEVEL)
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
    """Rows less the mean of the pixels to the left and above, rounded down: (h, n), (1, n) -> (h, 1 + n) uint8."""
    up = np.concatenate([above, rows[:-1]])
    left = np.zeros_like(rows)
    left[:, channels:] = rows[:, :-channels]
    mean = (left & up) + ((left ^ up) >> 1)  # without a carry
    out = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    out[:, 0] = MEAN
    np.subtract(rows, mean, out=out[:, 1:])
    return out
