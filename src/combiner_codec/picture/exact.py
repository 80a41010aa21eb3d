"""Pictures without loss, as lossless WebP or PNG: the content of an exact plane (FORMAT.md, section 3).

Of a WebP only the VP8L stream is stored: the 20 bytes of its container follow from it. A content says its own size,
which is compared before anything is unpacked.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import FormatError
from ..format.plane import PNG, VP8L

if TYPE_CHECKING:
    from PIL import Image

VP8L_SIDE = 16383  # pixels of a side, at most
SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}  # others could change colours, or hold anything
COLOUR_TYPES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}  # of PNG
SMALL = 2**16  # pixels up to which a PNG may be smaller than a WebP
PALETTE = 256  # colours of a palette, at most


@dataclass(frozen=True)
class Speed:
    """How hard libwebp tries: its method (0 to 6) and quality (0 to 100)."""

    method: int
    quality: int


QUICK = Speed(0, 20)  # a tenth of the time of USUAL, a tenth more bytes
USUAL = Speed(4, 80)  # libwebp's own
BEST = Speed(6, 100)


def encoded(picture: np.ndarray, speed: Speed = USUAL) -> tuple[int, bytes]:
    """Codec and content of a uint8 picture (H, W) or (H, W, 2 to 4): the smaller of VP8L and PNG."""
    found = []
    if max(picture.shape[:2]) <= VP8L_SIDE:
        found.append((VP8L, _vp8l(picture, speed)))
    if not found or picture.shape[0] * picture.shape[1] <= SMALL:
        found.append((PNG, _png(picture)))
    return min(found, key=lambda pair: len(pair[1]))


def decoded(codec: int, content: bytes, width: int, height: int, mode: str) -> np.ndarray:
    """The picture of a content: uint8, (H, W), (H, W, 2), (H, W, 3) or (H, W, 4) as the mode says.

    Raises FormatError for a content of another size or kind, before it is unpacked, and for one that is damaged.
    """
    from PIL import Image

    if codec == VP8L:
        _check_vp8l(content, width, height)
        file = _webp(content)
    else:
        _check_png(content, width, height)
        file = SIGNATURE + content
    try:
        with Image.open(io.BytesIO(file), formats=["WEBP" if codec == VP8L else "PNG"]) as image:
            if image.size != (width, height):
                raise FormatError("an exact plane is of another size than its file")
            return np.asarray(image.convert(mode if mode in ("RGB", "RGBA") else "RGBA"))[..., _channels(mode)]
    except FormatError:
        raise
    except Exception as error:  # Pillow raises many kinds on damaged files
        raise FormatError("an exact plane is damaged") from error


def _channels(mode: str) -> slice | int | list[int]:
    """Which channels of a picture in colour a mode has."""
    if mode == "L":
        return 0
    return [0, 3] if mode == "LA" else slice(None)


def _in_colour(picture: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 2) as red, green and blue."""
    if picture.ndim == 2:
        return np.repeat(picture[..., None], 3, 2)
    if picture.shape[2] == 2:
        return picture[..., [0, 0, 0, 1]]
    return picture


def _vp8l(picture: np.ndarray, speed: Speed) -> bytes:
    """The VP8L stream of a lossless WebP."""
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(_in_colour(picture)))
    image.save(buffer, "WEBP", lossless=True, exact=True, method=speed.method, quality=speed.quality)
    file = buffer.getvalue()
    at = 12
    while file[at : at + 4] != b"VP8L":
        (size,) = struct.unpack_from("<I", file, at + 4)
        at += 8 + size + size % 2
    (size,) = struct.unpack_from("<I", file, at + 4)
    return file[at + 8 : at + 8 + size]


def _webp(stream: bytes) -> bytes:
    """A WebP file from its VP8L stream."""
    padding = b"\0" if len(stream) % 2 else b""
    body = b"WEBPVP8L" + struct.pack("<I", len(stream)) + stream + padding
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _check_vp8l(content: bytes, width: int, height: int) -> None:
    """Raises FormatError for a stream of another size."""
    if len(content) < 5 or content[0] != 0x2F:
        raise FormatError("an exact plane is no VP8L stream")
    (fields,) = struct.unpack_from("<I", content, 1)
    size = (fields & 0x3FFF) + 1, (fields >> 14 & 0x3FFF) + 1
    if size != (width, height) or fields >> 29:
        raise FormatError("an exact plane is of another size than its file")


def _png(picture: np.ndarray) -> bytes:
    """A PNG without its signature; with a palette where that is exact."""
    buffer = io.BytesIO()
    with_palette(picture).save(buffer, "PNG", optimize=True)
    chunks = [chunk for name, chunk in _chunks(buffer.getvalue()[len(SIGNATURE) :]) if name in CHUNKS]
    return b"".join(chunks)


def with_palette(picture: np.ndarray) -> "Image.Image":
    """A Pillow image with as many bits a pixel as its colours need, if they are few and opaque."""
    from PIL import Image

    plain = Image.fromarray(np.ascontiguousarray(picture))
    if picture.ndim != 3 or picture.shape[2] != 3:
        return plain
    flat = picture.reshape(-1, 3).astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colours, number = np.unique(flat, return_inverse=True)
    if len(colours) > PALETTE:
        return plain
    image = Image.fromarray(number.reshape(picture.shape[:2]).astype(np.uint8), "P")
    image.putpalette(np.stack([colours >> 16, colours >> 8 & 255, colours & 255], 1).astype(np.uint8).tobytes())
    return image


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Names and bytes of a PNG's chunks. Raises FormatError where they do not fill it, or a checksum is wrong."""
    found = []
    at = 0
    while at < len(content):
        if at + 12 > len(content):
            raise FormatError("an exact plane is no PNG")
        size, name = struct.unpack_from(">I4s", content, at)
        end = at + 12 + size
        if end > len(content):
            raise FormatError("an exact plane is truncated")
        (checksum,) = struct.unpack_from(">I", content, end - 4)
        if checksum != zlib.crc32(content[at + 4 : end - 4]):
            raise FormatError("an exact plane is damaged")
        found.append((name, content[at:end]))
        at = end
    return found


def _check_png(content: bytes, width: int, height: int) -> None:
    """Raises FormatError for a PNG of another size, of other chunks, or of more than 8 bits a channel."""
    chunks = _chunks(content)
    names = [name for name, _ in chunks]
    if len(names) < 3 or names[0] != b"IHDR" or names[-1] != b"IEND" or not set(names) <= CHUNKS:
        raise FormatError("an exact plane has other chunks than a PNG needs")
    if names.count(b"IHDR") > 1 or names.count(b"IEND") > 1 or len(chunks[0][1]) != 25:
        raise FormatError("an exact plane has other chunks than a PNG needs")
    size = struct.unpack_from(">II", content, 8)
    depth, kind = content[16], content[17]
    if size != (width, height):
        raise FormatError("an exact plane is of another size than its file")
    if depth > 8 or kind not in COLOUR_TYPES:
        raise FormatError("an exact plane has more than 8 bits a channel")
