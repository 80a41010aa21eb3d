"""The file: header and payload <-> bytes (FORMAT.md, section 2). Standard library only.

    magic and version 1 | prior, channels, coder 1 | usual sizes, alpha, point 1 |
    [hash 4] | [width - 1] | [height - 1] | [index width 1, seed] | [axes 3] | [alpha's point 1] | payload |
    checksum 1 or 2

Bracketed fields stand only where the bytes before them say so; sizes and seed are variable-length integers (LEB128).
"""

import binascii
import struct
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from ..errors import FormatError

if TYPE_CHECKING:
    from ..synthesis.colour_axes import Axes

HEADER = struct.Struct("cBB")  # magic, prior * 16 + channels * 4 + coder, sizes * 64 + alpha * 32 + point
SHORT = 256  # bytes of a file whose checksum has one byte, at most
CRC8_POLYNOMIAL = 0x1D
AXES = struct.Struct("bbb")
MAGIC = b"\xf5"  # of version 1; no text in UTF-8 has such a byte
LAST_VERSION = 8  # the bytes from MAGIC on stand for versions
USUAL_WIDTH, USUAL_HEIGHT = 64, 128  # flags
RGB, GREY, GREY_AS_RGB = range(3)  # channels: three; one; one that is shown as three
TURNED_RGB = 3  # the same field of files whose three channels have colour axes of their own
ALPHA = 32  # flag
SHARPNESSES = 8
ONE_COLOUR = 31  # point of a plane that is the same everywhere
EXACT = 30  # point of a plane that holds the picture without loss
LAYER = 1 << 5 | EXACT  # in the place of alpha's point and sharpness: no alpha, but a layer
POINTS = 30  # numbers below are operating points, those from here on other kinds of planes
NO_PRIOR = 0  # prior number of a file whose colour is exact
MAX_SIDE = 1 << 20
MAX_SEED = (1 << 63) - 1
MAX_PIXELS = 178_956_970  # what a decoder takes unless told otherwise; Pillow refuses more as well
INDEX_BITS = range(8, 24, 2)
USUAL_BITS = (14, 16, 18)  # L of files with seed 0 that do not write it, by coder
UNUSUAL_CODER = len(USUAL_BITS)  # coder of files that write L and seed
WORDS = {"L": "grey", "LA": "grey, alpha"}  # for modes
CUSTOM = 15  # prior number of a file that names its prior by hash


@dataclass(frozen=True)
class Header:
    """All that stands before the payload."""

    prior: int  # number of a shipped prior, CUSTOM, or NO_PRIOR
    point: int  # operating point, 0 … 29, EXACT or ONE_COLOUR
    index_bits: int  # L, the window of bits that one index reads
    width: int  # pixels; 0 where the file says the usual width, until `sized`
    height: int  # pixels; the same
    seed: int = 0  # of the candidate stream, up to MAX_SEED
    prior_hash: bytes = b""  # first 4 bytes of a custom prior's sha256
    channels: int = RGB
    alpha: int | None = None  # the same of the alpha plane; None without one
    sharpness: int = 0  # of alpha: doublings of its contrast
    axes: "Axes | None" = None  # how the prior's colour axes are turned for this picture; None as they are
    layer: bool = False  # whether an exact plane lies over the colour, in the place of alpha

    @property
    def grey(self) -> bool:
        """Whether the colour is coded as one channel."""
        return self.channels != RGB

    @property
    def mode(self) -> str:
        """What is shown: L, LA, RGB or RGBA."""
        colour = "L" if self.channels == GREY else "RGB"
        return colour if self.alpha is None else colour + "A"

    @property
    def colour(self) -> str:
        """The same in words."""
        return WORDS.get(self.mode, self.mode)

    @property
    def alpha_inside(self) -> bool:
        """Whether the colour's plane, which is exact, holds the alpha too."""
        return self.point == EXACT == self.alpha

    @property
    def of_alpha(self) -> "Header":
        """That of the alpha plane, as of a grey picture."""
        assert self.alpha is not None
        return replace(self, point=self.alpha, channels=GREY, alpha=None, sharpness=0, axes=None)

    @property
    def of_layer(self) -> "Header":
        """That of the layer's plane, as of an exact picture with alpha."""
        return replace(self, point=EXACT, alpha=EXACT, axes=None, layer=False)

    def sized(self, side: int) -> "Header":
        """The header with the usual size filled in; `side` is that of the prior's blocks."""
        return replace(self, width=self.width or side, height=self.height or side)


def check_pixels(width: int, height: int, limit: int | None, what: str = "pixels") -> None:
    """Raises FormatError for a picture of more pixels than a limit, if there is one."""
    if limit and width * height > limit:
        raise FormatError(f"{width} x {height} {what} are more than {limit}", "max_pixels")


def write(header: Header, side: int, payload: bytes, digest: bytes) -> bytes:
    """File from header and payload; `digest` is the prior's sha256, `side` that of its blocks."""
    channels = TURNED_RGB if header.axes else header.channels
    first = (header.prior << 4) | (channels << 2)
    second = header.point
    optional = header.prior_hash
    if header.width == side:
        second |= USUAL_WIDTH
    else:
        optional += write_varint(header.width - 1)
    if header.height == side:
        second |= USUAL_HEIGHT
    else:
        optional += write_varint(header.height - 1)
    if header.seed == 0 and header.index_bits in USUAL_BITS:
        first |= USUAL_BITS.index(header.index_bits)
    else:
        first |= UNUSUAL_CODER
        optional += bytes([header.index_bits]) + write_varint(header.seed)
    if header.axes:
        optional += AXES.pack(*header.axes)
    if header.layer:
        second |= ALPHA
        optional += bytes([LAYER])
    elif header.alpha is not None:
        second |= ALPHA
        optional += bytes([(header.sharpness << 5) | header.alpha])
    data = HEADER.pack(MAGIC, first, second) + optional + payload
    return data + checksum(data, digest, short=len(data) < SHORT)


def read(data: bytes) -> tuple[Header, int]:
    """Header, and where the payload starts; the checksum is `payload`'s. Raises FormatError."""
    version = 1 + data[0] - MAGIC[0] if data else 1
    if 1 < version <= LAST_VERSION:
        raise FormatError(f"format version {version} is not supported (this is version 1): update combiner")
    if version != 1:
        raise FormatError("not a combiner file")
    if len(data) <= HEADER.size:
        raise FormatError(f"truncated: {len(data)} bytes are too few for a header")
    _, first, second = HEADER.unpack_from(data)
    optional = Fields(data[: -checksum_size(len(data))], HEADER.size)
    prior = first >> 4
    channels = (first >> 2) & 3
    prior_hash = optional.take(4) if prior == CUSTOM else b""
    width = 0 if second & USUAL_WIDTH else optional.varint(MAX_SIDE - 1) + 1
    height = 0 if second & USUAL_HEIGHT else optional.varint(MAX_SIDE - 1) + 1
    coder = first & 3
    if coder == UNUSUAL_CODER:
        index_bits = optional.octet()
        seed = optional.varint(MAX_SEED)
        _check(index_bits in INDEX_BITS)
        _check(seed > 0 or index_bits not in USUAL_BITS)
    else:
        index_bits = USUAL_BITS[coder]
        seed = 0
    point = second & 31
    _check((prior == NO_PRIOR) == (point == EXACT))
    axes = None
    if channels == TURNED_RGB:
        _check(point < POINTS)
        channels = RGB
        axes = AXES.unpack(optional.take(AXES.size))
    alpha = None
    sharpness = 0
    layer = False
    if point == EXACT:
        _check(coder == 0 and width > 0 and height > 0)
    if second & ALPHA:
        byte = optional.octet()
        layer = byte == LAYER and point != EXACT
        if not layer:
            alpha = byte & 31
            sharpness = byte >> 5
            _check(alpha == EXACT or point != EXACT)
            _check(sharpness == 0 or alpha != EXACT)
    found = Header(
        prior=prior,
        point=point,
        index_bits=index_bits,
        width=width,
        height=height,
        seed=seed,
        prior_hash=prior_hash,
        channels=channels,
        alpha=alpha,
        sharpness=sharpness,
        axes=axes,
        layer=layer,
    )
    return found, optional.position


def _check(fine: bool) -> None:
    if not fine:
        raise FormatError("a header field is out of range")


def payload(data: bytes, start: int, digest: bytes) -> bytes:
    """The payload, after the checksum over everything before it and over the prior's hash has been verified."""
    size = checksum_size(len(data))
    body = data[:-size]
    if data[-size:] != checksum(body, digest, short=size == 1):
        raise FormatError(
            "checksum mismatch: the file is damaged, or it was made with another prior of this name: "
            "get the file again, or decode it with the version of combiner that made it"
        )
    return body[start:]


def checksum_size(size: int) -> int:
    """Bytes of the checksum of a file of so many bytes."""
    return 1 if size <= SHORT else 2


def checksum(data: bytes, digest: bytes, short: bool) -> bytes:
    """Over the prior's sha256 and the file up to here: CRC-8 of a short file, else CRC-16/CCITT, low byte first."""
    if short:
        return bytes([crc8(digest + data)])
    value = binascii.crc_hqx(digest + data, 0xFFFF)
    return value.to_bytes(2, "little")


def crc8(data: bytes) -> int:
    """CRC-8/SAE-J1850 without its last inversion."""
    table = crc8_table()
    value = 0xFF
    for byte in data:
        value = table[value ^ byte]
    return value


@cache
def crc8_table() -> bytes:
    """What eight shifts make of each byte; made for the first short file, not at start-up."""
    made = bytearray()
    for byte in range(256):
        for _ in range(8):
            carry = byte >> 7
            byte = ((byte << 1) & 0xFF) ^ (CRC8_POLYNOMIAL * carry)
        made.append(byte)
    return bytes(made)


def write_varint(value: int) -> bytes:
    """Unsigned LEB128, 7 bits a byte, lowest first."""
    out = bytearray()
    while value > 127:
        out.append((value & 127) | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


@dataclass
class Fields:
    """Bytes of a header that are read one after another. Raises FormatError where they end."""

    data: bytes  # without the checksum
    position: int  # of the next

    def take(self, count: int) -> bytes:
        """So many bytes."""
        start = self.position
        self.position += count
        if self.position > len(self.data):
            raise FormatError("truncated in the header")
        return self.data[start : self.position]

    def octet(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def varint(self, largest: int) -> int:
        """A variable-length integer; only the shortest spelling is valid."""
        value = 0
        shift = 0
        while True:
            byte = self.octet()
            value |= (byte & 127) << shift
            _check(value <= largest)
            if byte < 128:
                if byte == 0 and shift:
                    raise FormatError("a header field is not in its shortest form")
                return value
            shift += 7
