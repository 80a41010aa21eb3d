"""The file: header and payload <-> bytes (FORMAT.md, section 2). Standard library only.

    magic 2 | version and flags 1 | prior 1 | width and point 1 | [hash 4] | [width - 1, height - 1] | [seed] |
    payload | checksum 2

Bracketed fields stand only where a flag says so; sizes and seed are variable-length integers (LEB128).
"""

import binascii
import struct
from dataclasses import dataclass, replace

from ..errors import FormatError

HEADER = struct.Struct("<2sBBB")  # magic, version * 16 + flags, prior, (index width - 8) / 2 * 32 + operating point
CHECKSUM = struct.Struct("<H")
MAGIC = b"\xcb\x4d"
VERSION = 1
ONE_TILE, HAS_SEED, CUSTOM_PRIOR, GREY = 1, 2, 4, 8  # flags
MAX_SIDE = 1 << 20
MAX_SEED = (1 << 63) - 1
MAX_PIXELS = 178_956_970  # what a decoder takes unless told otherwise; Pillow refuses more as well
INDEX_BITS = range(8, 24, 2)
CUSTOM = 255  # prior number of a file that names its prior by hash


@dataclass(frozen=True)
class Header:
    """All that stands before the payload."""

    prior: int  # number of a shipped prior, or CUSTOM
    point: int  # operating point, 0 … 31
    index_bits: int  # L, the window of bits that one index reads
    width: int  # pixels; 0 where the file says one tile, until `sized`
    height: int  # pixels; the same
    seed: int = 0  # of the candidate stream, up to MAX_SEED
    prior_hash: bytes = b""  # first 4 bytes of a custom prior's sha256
    grey: bool = False

    def sized(self, tile: int) -> "Header":
        """The header with the size of a picture of one tile filled in; `tile` is the side of the prior's tiles."""
        return self if self.width else replace(self, width=tile, height=tile)


def write(header: Header, tile: int, payload: bytes, digest: bytes) -> bytes:
    """File from header and payload; `digest` is the prior's sha256, `tile` the side of its tiles."""
    one_tile = (header.width, header.height) == (tile, tile)
    flags = ONE_TILE * one_tile | HAS_SEED * (header.seed > 0) | CUSTOM_PRIOR * bool(header.prior_hash)
    flags |= GREY * header.grey
    shape = (header.index_bits - 8) // 2 << 5 | header.point
    data = HEADER.pack(MAGIC, VERSION << 4 | flags, header.prior, shape) + header.prior_hash
    if not one_tile:
        data += write_varint(header.width - 1) + write_varint(header.height - 1)
    if header.seed:
        data += write_varint(header.seed)
    data += payload
    return data + CHECKSUM.pack(checksum(data, digest))


def read(data: bytes) -> tuple[Header, int]:
    """Header and the offset of the payload. Raises FormatError."""
    if data[:2] != MAGIC[: len(data)]:
        raise FormatError("not a combiner file")
    if len(data) < HEADER.size + CHECKSUM.size:
        raise FormatError(f"truncated: {len(data)} bytes are too few for a header")
    _, kind, prior, shape = HEADER.unpack_from(data)
    if kind >> 4 != VERSION:
        raise FormatError(f"format version {kind >> 4} is not supported (this is version {VERSION}): update combiner")
    flags, position, end = kind & 15, HEADER.size, len(data) - CHECKSUM.size
    if bool(flags & CUSTOM_PRIOR) != (prior == CUSTOM):
        raise FormatError("custom prior without a hash, or a hash without a custom prior")
    prior_hash = b""
    if flags & CUSTOM_PRIOR:
        prior_hash, position = data[position : position + 4], position + 4
        if position > end:
            raise FormatError("truncated in the prior's hash")
    width = height = 0
    if not flags & ONE_TILE:
        width, position = read_varint(data, position, end, MAX_SIDE - 1)
        height, position = read_varint(data, position, end, MAX_SIDE - 1)
        width, height = width + 1, height + 1
    seed = 0
    if flags & HAS_SEED:
        seed, position = read_varint(data, position, end, MAX_SEED)
        if seed == 0:
            raise FormatError("seed 0 must not be written")
    grey = bool(flags & GREY)
    return Header(prior, shape & 31, 8 + 2 * (shape >> 5), width, height, seed, prior_hash, grey), position


def payload(data: bytes, start: int, digest: bytes) -> bytes:
    """The payload, after the checksum over everything before it and over the prior's hash has been verified."""
    body = data[: -CHECKSUM.size]
    if CHECKSUM.unpack_from(data, len(body))[0] != checksum(body, digest):
        raise FormatError(
            "checksum mismatch: the file is damaged, or it was made with another prior of this name: "
            "get the file again, or decode it with the version of combiner that made it"
        )
    return body[start:]


def checksum(data: bytes, digest: bytes) -> int:
    """CRC-16/CCITT over the prior's sha256 and the file up to here."""
    return binascii.crc_hqx(data, binascii.crc_hqx(digest, 0xFFFF))


def write_varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, position: int, end: int, largest: int) -> tuple[int, int]:
    """Value and next position; only the shortest spelling is valid."""
    value = shift = 0
    while True:
        if position >= end:
            raise FormatError("truncated in the header")
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if value > largest:
            raise FormatError("a header field is out of range")
        if byte < 128:
            if byte == 0 and shift:
                raise FormatError("a header field is not in its shortest form")
            return value, position
        shift += 7
