"""A second decoder, written from FORMAT.md alone: it says what a file shows, or why a decoder must refuse it.

Functions stand in the page's order and bear its names. Integers are Python's own; numpy opens the prior file and does
the sums of section 7, all in double precision. Nothing of the package is imported.
"""

import hashlib
import io
import json
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from statistics import NormalDist

import numpy as np
from PIL import Image

MASK = 2**64 - 1
EXACT = 30  # the same of a plane that another format codes without loss
POINTS = 30  # numbers below are operating points of a network
ONE_COLOUR = 31  # the operating point of a plane that has the same value everywhere
CUSTOM = 15  # the number of a prior that no release contains
NO_PRIOR = 0
SIGNATURE = b"\x89PNG\r\n\x1a\n"
MODULATED_FROM = 16384  # pixels that a picture must exceed to have modulations, and to be completed
COMPLETED_TO = 4194304  # pixels that a picture may have to be completed
CELL = 4  # pixels along the side of the squares whose means make a smooth field
HALVING = [round(2 ** (16 - i / 16)) for i in range(16)]


class Refused(Exception):
    """A fault of section 9."""


def refuse_if(fault: bool, reason: str) -> None:
    if fault:
        raise Refused(reason)


# What a prior file holds (section 8)


class PriorFile:
    """Metadata, and operating points as they are asked for."""

    def __init__(self, data: bytes):
        self.digest = hashlib.sha256(data).digest()
        self.arrays = np.load(io.BytesIO(data))
        metadata = json.loads(bytes(self.arrays["metadata"]))
        architecture = metadata["architecture"]
        self.points = len(metadata["betas"])
        self.group_bits = metadata["group_bits"]
        self.index_bits = metadata["index_bits"]
        self.cosine = architecture["features"] == "cosine"
        self.tile = architecture["tile"]
        self.side = architecture.get("side", 1)
        self.pyramid = architecture.get("pyramid", 0)
        self.kind_costs = metadata.get("kind_costs")
        self.layers = architecture["layers"]
        self.opened = {}

    def group_bits_of(self, index_bits: int) -> int:
        """With files of an index width."""
        if isinstance(self.group_bits, int):
            return self.group_bits
        number = max(0, (index_bits - 14) // 2)
        return self.group_bits[min(number, len(self.group_bits) - 1)]

    @property
    def chained(self) -> bool:
        """Which of the two rules of section 5 divides the walk."""
        return isinstance(self.group_bits, list) or self.group_bits < self.index_bits

    @property
    def modulates(self) -> bool:
        """Whether it has modulations at all."""
        return any(name.endswith(".modulation_kl") for name in self.arrays.files)

    @property
    def latent_layers(self) -> list[dict]:
        """Layers whose weights come from the file."""
        return [layer for layer in self.layers if layer.get("latent", False)]

    def point(self, number: int) -> "Point":
        """An operating point's tables."""
        if number not in self.opened:
            prefix = f"{number:02}."
            names = [name for name in self.arrays.files if name.startswith(prefix)]
            tables = {name.removeprefix(prefix): self.arrays[name] for name in names}
            self.opened[number] = Point(tables, self.kind_costs[number] if self.pyramid else [])
        return self.opened[number]


class Point:
    """Tables of an operating point, columns in the order of section 5."""

    def __init__(self, tables: Mapping[str, np.ndarray], shifts: list[list[int]]):
        self.shifts = shifts
        self.kl = columns_in_turns(tables["kl"])  # (K - M, U)
        self.merged = np.zeros((0, 4, self.kl.shape[1]), int)  # (M, 4, U)
        if "merged" in tables:
            self.merged = columns_in_turns(tables["merged"])
        self.contexts = tables["contexts"].tolist() if self.classes > 1 else None
        self.mean = tables["mean"].astype(float)
        self.noise = tables["noise"].astype(float)
        self.modulation_kl = tables.get("modulation_kl")
        self.modulation_scale = tables.get("modulation_scale")
        weights = (name for name in tables if name[0] in "wb" and name[1:].isdigit())
        self.shared = {name: tables[name].astype(float) for name in weights}

    @property
    def single(self) -> int:
        """K - M, the number of classes of tiles that are not merged."""
        return len(self.kl)

    @property
    def classes(self) -> int:
        """K."""
        return len(self.kl) + len(self.merged)


def columns_in_turns(table: np.ndarray) -> np.ndarray:
    """Column C i + c is at [c][i]: (..., C, U / C) -> (..., U)."""
    turned = np.moveaxis(table.astype(int), -2, -1)
    return turned.reshape(*table.shape[:-2], -1)


@cache
def opened(prior_file: bytes) -> PriorFile:
    return PriorFile(prior_file)


# What a file holds


@dataclass
class Header:
    """Fields of section 2, and where the payload starts."""

    prior: int
    channels: int
    point: int
    width: int
    height: int
    index_bits: int
    seed: int = 0
    prior_hash: bytes = b""
    alpha: int | None = None
    sharpness: int = 0
    axes: list[int] | None = None  # of the colour
    layer: bool = False  # in the place of alpha
    start: int = 0


@dataclass
class Plane:
    """Colour or alpha: what its bits say."""

    header: Header
    prior: PriorFile
    number: int  # of the operating point
    grey: bool
    value: list[int] = field(default_factory=list)  # of a plane of one colour
    codec: int = 0  # of an exact plane
    content: bytes = b""
    classes: list[list[int]] = field(default_factory=list)  # of tiles, row by row
    indices: list[list[int]] = field(default_factory=list)  # of groups, block by block
    groups: list[list[list[int]]] = field(default_factory=list)  # the latents of each
    modulation_indices: list[int] | None = None  # None where the picture is not modulated
    modulation_groups: list[list[int]] = field(default_factory=list)

    @cached_property
    def point(self) -> Point:
        return self.prior.point(self.number)

    @property
    def axes(self) -> list[int] | None:
        """Of alpha there are none."""
        return None if self.grey else self.header.axes

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        tile = self.prior.tile
        return -(-self.header.height // tile), -(-self.header.width // tile)

    @property
    def blocks(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        rows, columns = self.grid
        return -(-rows // self.prior.side), -(-columns // self.prior.side)

    @property
    def sizes(self) -> np.ndarray:
        """Of the tile that each tile is part of, in tiles: (Rt, Ct)."""
        return np.where(np.array(self.classes) < self.point.single, 1, 2)

    @property
    def completed(self) -> bool:
        """Whether latents that are 0 are completed, where the features are cosines."""
        height, width = self.header.height, self.header.width
        large = MODULATED_FROM < height * width <= COMPLETED_TO
        block = self.prior.tile * self.prior.side
        mixed = len(np.unique(self.sizes)) == 2
        return self.point.modulation_kl is not None and large and min(height, width) >= block and mixed

    @property
    def modulation_row(self) -> np.ndarray:
        """Section 5: cost indices of the modulations of a picture of this size."""
        table = self.point.modulation_kl
        digits = len(f"{self.header.width * self.header.height // MODULATED_FROM:b}")
        return table[min(digits - 1, len(table) - 1)].astype(int)


@dataclass
class File:
    """A file that a decoder must take."""

    header: Header
    colour: Plane
    alpha: Plane | None = None
    layer: Plane | None = None


def read(data: bytes, priors: Mapping[int, bytes], limit: int | None = None) -> File:
    """Sections 2, 3 and 5: all integers of a file. Raises Refused.

    priors: prior files by number, 15 for the custom one at hand; limit: most pixels that the user allows.
    """
    header = read_header(data, priors)
    digest = opened(priors[header.prior]).digest if header.prior else b""
    refuse_if(bool(limit) and header.width * header.height > limit, "more pixels than are allowed")
    size = checksum_size(len(data))
    end = len(data) - size
    refuse_if(data[end:] != checksum(digest + data[:end], size), "checksum")
    payload = [byte >> bit & 1 for byte in data[header.start : end] for bit in range(7, -1, -1)]
    file, used = read_planes(header, priors, payload)
    refuse_if(-(-used // 8) * 8 != len(payload), "length of the payload")
    refuse_if(any(payload[used:]), "padding")
    return file


def read_planes(header: Header, priors: Mapping[int, bytes], payload: list[int]) -> tuple[File, int]:
    """Colour, and alpha or layer, of a payload's bits, and how many they take."""
    prior = opened(priors[header.prior]) if header.prior else None
    colour = Plane(header, prior, header.point, grey=header.channels > 0)
    used = read_plane(colour, payload, 0)
    file = File(header, colour)
    if header.alpha is not None and header.point != EXACT:
        file.alpha = Plane(header, prior, header.alpha, grey=True)
        used = read_plane(file.alpha, payload, used)
    if header.layer:
        file.layer = Plane(header, prior, EXACT, grey=header.channels == 1)
        used = read_plane(file.layer, payload, used)
    return file, used


# Section 2: header


def read_header(data: bytes, priors: Mapping[int, bytes]) -> Header:
    """The header, usual sizes filled in."""
    refuse_if(len(data) < 4, "too short")
    refuse_if(data[0] != 0xF5, "magic or version")
    fields = Fields(data)
    byte1 = fields.byte()
    byte2 = fields.byte()
    prior_number = byte1 >> 4
    channels = byte1 >> 2 & 3
    prior_hash = b""
    if prior_number == CUSTOM:
        prior_hash = bytes(fields.byte() for _ in range(4))
    width = 0 if byte2 & 64 else fields.varint(2**20 - 1) + 1
    height = 0 if byte2 & 128 else fields.varint(2**20 - 1) + 1
    coder = byte1 & 3
    index_bits, seed = 14 + 2 * coder, 0
    if coder == 3:
        index_bits = fields.byte()
        refuse_if(index_bits not in range(8, 23, 2), "index width")
        seed = fields.varint(2**63 - 1)
        refuse_if(seed == 0 and index_bits in (14, 16, 18), "a usual index width is written")
    header = Header(prior_number, channels, byte2 & 31, width, height, index_bits, seed, prior_hash)
    if channels == 3:
        refuse_if(header.point >= POINTS, "axes of a plane that is no network")
        header.channels = 0
        header.axes = [byte - 256 if byte > 127 else byte for byte in (fields.byte() for _ in range(3))]
    if byte2 & 32:
        alpha = fields.byte()
        header.alpha = alpha & 31
        header.sharpness = alpha >> 5
        if header.alpha == EXACT and header.sharpness == 1 and header.point != EXACT:
            header.layer = True
            header.alpha = None
            header.sharpness = 0
        refuse_if(header.alpha == EXACT and header.sharpness > 0, "sharpness of an exact alpha")
    header.start = fields.position
    refuse_if((prior_number == 0) != (header.point == EXACT), "a prior, and an exact colour")
    if prior_number == 0:
        refuse_if(coder != 0 or width == 0 or height == 0, "fields of an exact colour")
        refuse_if(header.alpha not in (None, EXACT), "alpha of an exact colour")
        return header
    refuse_if(prior_number not in priors, "unknown prior")
    prior = opened(priors[prior_number])
    refuse_if(prior_hash != prior.digest[: len(prior_hash)], "another custom prior")
    header.width = width or prior.tile * prior.side
    header.height = height or prior.tile * prior.side
    return header


class Fields:
    """Bytes behind the magic, one after another."""

    def __init__(self, data: bytes):
        self.data = data[: -checksum_size(len(data))]
        self.position = 1

    def byte(self) -> int:
        refuse_if(self.position == len(self.data), "a field reaches into the checksum")
        self.position += 1
        return self.data[self.position - 1]

    def varint(self, largest: int) -> int:
        return varint(self.byte, largest)


def varint(next_byte: Callable[[], int], largest: int) -> int:
    value = 0
    shift = 0
    while True:
        byte = next_byte()
        value |= (byte & 127) << shift
        refuse_if(value > largest, "a varint is out of range")
        if byte < 128:
            refuse_if(byte == 0 and shift > 0, "a varint is not in its shortest form")
            return value
        shift += 7


def checksum_size(size: int) -> int:
    """Bytes of the checksum of a file of so many bytes."""
    return 1 if size <= 256 else 2


def checksum(data: bytes, size: int) -> bytes:
    return bytes([crc8(data)]) if size == 1 else crc16(data).to_bytes(2, "little")


def crc8(data: bytes) -> int:
    value = 0xFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 & 0xFF) ^ 0x1D * (value >> 7)
    return value


@cache
def crc_of_byte(byte: int) -> int:
    """What eight shifts make of one byte in the high half."""
    value = byte << 8
    for _ in range(8):
        value = (value << 1 ^ 0x1021 * (value >> 15)) & 0xFFFF
    return value


def crc16(data: bytes) -> int:
    value = 0xFFFF
    for byte in data:
        value = (value << 8 & 0xFFFF) ^ crc_of_byte(value >> 8 ^ byte)
    return value


# Section 3: payload


def read_exact(plane: Plane, payload: list[int], position: int) -> int:
    """Codec, length and content of an exact plane, and the size that the content names."""

    def byte() -> int:
        nonlocal position
        refuse_if(position + 8 > len(payload), "truncated in an exact plane")
        position += 8
        return number(payload[position - 8 : position])

    plane.codec = byte()
    refuse_if(plane.codec > 1, "codec")
    length = varint(byte, len(payload))
    refuse_if(length == 0 or position + 8 * length > len(payload), "length of a content")
    plane.content = bytes(byte() for _ in range(length))
    size = vp8l_size(plane.content) if plane.codec == 0 else png_size(plane.content)
    refuse_if(size != (plane.header.width, plane.header.height), "size of a content")
    return position


def vp8l_size(content: bytes) -> tuple[int, int]:
    """Width and height of a VP8L stream."""
    refuse_if(len(content) < 5 or content[0] != 0x2F, "not VP8L")
    fields = int.from_bytes(content[1:5], "little")
    refuse_if(fields >> 29 != 0, "version of VP8L")
    return fields % 2**14 + 1, (fields >> 14) % 2**14 + 1


def png_size(content: bytes) -> tuple[int, int]:
    """Width and height of a PNG whose chunks are those that are allowed."""
    names = []
    at = 0
    while at < len(content):
        refuse_if(at + 12 > len(content), "not PNG")
        size = int.from_bytes(content[at : at + 4], "big")
        names.append(content[at + 4 : at + 8])
        at += 12 + size
        refuse_if(at > len(content), "a chunk is truncated")
        checksum = int.from_bytes(content[at - 4 : at], "big")
        refuse_if(zlib.crc32(content[at - 8 - size : at - 4]) != checksum, "checksum of a chunk")
    refuse_if(names[0] != b"IHDR" or names[-1] != b"IEND" or len(names) < 3, "chunks")
    refuse_if(names.count(b"IHDR") + names.count(b"IEND") != 2, "chunks")
    refuse_if(not set(names) <= {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}, "chunks")
    refuse_if(content[16] > 8, "bits a channel")
    return struct.unpack(">II", content[8:16])


def read_plane(plane: Plane, payload: list[int], position: int) -> int:
    """Classes, groups and indices of a plane whose bits start at some position; where they end."""
    if plane.number == ONE_COLOUR:
        end = position + (8 if plane.grey else 24)
        refuse_if(end > len(payload), "truncated in the colour")
        plane.value = [number(payload[at : at + 8]) for at in range(position, end, 8)]
        return end
    if plane.number == EXACT:
        return read_exact(plane, payload, position)
    prior = plane.prior
    refuse_if(plane.number >= prior.points, "operating point")
    index_bits = plane.header.index_bits
    group_bits = prior.group_bits_of(index_bits)
    if prior.chained:
        refuse_if(index_bits < group_bits, "index width of this prior")
    else:
        refuse_if(index_bits != prior.index_bits, "index width of this prior")
    refuse_if(plane.axes is not None and not prior.cosine, "axes without cosines")
    modulated = 0
    may_be_modulated = plane.header.width * plane.header.height > MODULATED_FROM
    if may_be_modulated and plane.point.modulation_kl is not None:
        refuse_if(position == len(payload), "truncated before modulated")
        modulated = payload[position]
        position += 1
    check_tiles(plane, len(payload) - position)
    plane.classes, used = read_classes(plane, payload[position:])
    position += used
    if modulated:
        groups = partition(plane.modulation_row, prior, group_bits)
        plane.modulation_groups = groups
        plane.modulation_indices = read_stream(plane, payload, position, len(groups))
        position += len(groups) * group_bits
    block_rows, block_columns = plane.blocks
    for block in range(block_rows * block_columns):
        groups = partition(costs_of_block(plane, block), prior, group_bits)
        plane.groups.append(groups)
        plane.indices.append(read_stream(plane, payload, position, len(groups)))
        position += len(groups) * group_bits
    return position


def check_tiles(plane: Plane, bits: int) -> None:
    """Refuses what claims more tiles than the payload's bits can hold."""
    point = plane.point
    rows, columns = plane.grid
    tiles = rows * columns
    merged = len(point.merged)
    if point.classes == 1:
        refuse_if(tiles > bits * plane.prior.side**2, "too many tiles")
    elif merged == 0:
        refuse_if(tiles * (point.classes - 1) > bits * 2**16, "too many tiles")
    else:
        refuse_if(tiles * (point.classes - merged - 1) > 4 * bits * 2**16, "too many tiles")


def number(bits: list[int]) -> int:
    """The number in some bits, highest first."""
    value = 0
    for bit in bits:
        value = 2 * value + bit
    return value


def read_classes(plane: Plane, bits: list[int]) -> tuple[list[list[int]], int]:
    """Classes row by row, and how many bits they take."""
    point = plane.point
    rows, columns = plane.grid
    if point.classes == 1:
        return [[0] * columns for _ in range(rows)], 0
    return class_map(bits, rows, columns, point.classes, point.single, point.contexts)


def class_map(bits, rows, columns, count, single, tables) -> tuple[list[list[int]], int]:
    """Section 3, class maps: bit after bit. `count` is K, `single` is K - M."""
    coder = Decoder(bits)
    classes = [[count] * columns for _ in range(rows)]

    def at(row, column):
        outside = row < 0 or column < 0 or column == columns
        return count if outside else classes[row][column]

    for row in range(rows):
        for column in range(columns):
            begins = row % 2 == 0 and column % 2 == 0
            first = classes[row - row % 2][column - column % 2]  # of the four tiles that may be merged
            if not begins and single <= first < count:
                classes[row][column] = first
                continue
            may_merge = begins and row + 1 < rows and column + 1 < columns
            may = count if may_merge else single
            left = tables[0][at(row, column - 1)]
            up = tables[1][at(row - 1, column)]
            up_right = tables[2][at(row - 1, column + 1)]
            score = [left[c] + up[c] + up_right[c] for c in range(may)]
            classes[row][column] = coder.take(score)
    return classes, coder.used + 2


class Decoder:
    """The arithmetic decoder of section 3."""

    def __init__(self, bits: list[int]):
        self.size = len(bits)
        self.bits = iter(bits)
        self.low = 0
        self.high = 2**32 - 1
        self.code = number([next(self.bits, 0) for _ in range(32)])
        self.used = 0

    def take(self, score: list[int]) -> int:
        """The next class, by the scores of those that it may be."""
        largest = max(score)
        ends = [0]
        for s in score:
            x = largest - s
            ends.append(ends[-1] + max(1, HALVING[x % 16] >> (x // 16)))
        span = self.high - self.low + 1
        total = ends[-1]
        value = ((self.code - self.low + 1) * total - 1) // span
        c = next(c for c in range(len(score)) if ends[c] <= value < ends[c + 1])
        self.high = self.low + span * ends[c + 1] // total - 1
        self.low = self.low + span * ends[c] // total
        self.settle()
        return c

    def settle(self) -> None:
        while True:
            if self.high < 2**31 or self.low >= 2**31:
                pass
            elif self.low >= 2**30 and self.high < 3 * 2**30:
                self.low -= 2**30
                self.high -= 2**30
                self.code -= 2**30
            else:
                break
            self.low = self.low * 2 % 2**32
            self.high = self.high * 2 % 2**32 + 1
            self.code = self.code * 2 % 2**32 + next(self.bits, 0)
            self.used += 1
        refuse_if(self.used + 2 > self.size, "truncated in the class map")


# Section 4: random numbers


def four_words(seed: int, purpose: int, lane: int, row: int, n: int) -> list[int]:
    """Philox4x64-10."""
    c = [n + 1, lane, purpose, row]
    k = [seed, 1]
    for _ in range(10):
        p = 0xD2E7470EE14C6C93 * c[0]
        q = 0xCA5A826395121157 * c[2]
        c = [q >> 64 ^ c[1] ^ k[0], q & MASK, p >> 64 ^ c[3] ^ k[1], p & MASK]
        k = [(k[0] + 0x9E3779B97F4A7C15) & MASK, (k[1] + 0xBB67AE8584CAA73B) & MASK]
    return c


def words(seed: int, purpose: int, lane: int, count: int) -> list[int]:
    found = []
    for n in range(-(-count // 4)):
        found += four_words(seed, purpose, lane, 0, n)
    return found[:count]


@cache
def normal(piece: int) -> float:
    """The normal quantile that a piece of 16 bits stands for."""
    return single_precision(NormalDist().inv_cdf((piece + 0.5) / 65536))


def single_precision(x: float) -> float:
    return struct.unpack("f", struct.pack("f", x))[0]


def candidate(seed: int, group: int, index: int, length: int) -> Iterator[float]:
    """The latents of one candidate."""
    for row in range(-(-length // 4)):
        word = four_words(seed, 0, group, row, index // 4)[index % 4]
        for k in range(min(4, length - 4 * row)):
            yield normal(word >> 16 * k & 0xFFFF)


@cache
def order(count: int) -> np.ndarray:
    return np.array(sorted(range(count), key=words(0, 2, 0, count).__getitem__))


# Section 5: partition


def costs_of_block(plane: Plane, block: int) -> np.ndarray:
    """Cost index of every latent of a block."""
    n = plane.prior.side
    rows, columns = plane.grid
    top = block // plane.blocks[1] * n
    left = block % plane.blocks[1] * n
    tiles = []
    for row in range(top, top + n):
        for column in range(left, left + n):
            inside = row < rows and column < columns
            tiles.append(costs_of_tile(plane, row, column) if inside else np.zeros(len(plane.point.mean), int))
    return np.concatenate(tiles)


def costs_of_tile(plane: Plane, row: int, column: int) -> np.ndarray:
    """Cost index of every latent of a tile."""
    point = plane.point
    c = plane.classes[row][column]
    if c < point.single:
        kl = point.kl[c]
    else:
        kl = point.merged[c - point.single][2 * (row % 2) + column % 2]
    if plane.grey and plane.prior.cosine:
        first_component = np.arange(len(kl)) % 3 == 0
        kl = np.where(first_component, kl, 0)
    kind = kind_of(plane, row, column)
    if kind == 0:
        return kl
    lowest = [shifted(int(index), more) for index, more in zip(kl[:3], point.shifts[kind - 1], strict=True)]
    return np.concatenate([lowest, kl[3:]])


def kind_of(plane: Plane, row: int, column: int) -> int:
    """What a tile's lowest frequencies tell."""
    levels = plane.prior.pyramid
    merged = plane.classes[row][column] >= plane.point.single
    kind = 0
    for level in range(levels):
        unit = 2**level
        if row % unit or column % unit or not whole_square(plane, row, column, level):
            continue
        if merged and level == 0:
            continue
        first = row % (2 * unit) == 0 and column % (2 * unit) == 0
        kind = 2 * level + (2 if first else 1)
        if merged:
            kind += 2 * (levels - 1)
    return kind


def whole_square(plane: Plane, row: int, column: int, level: int) -> bool:
    """Whether the square of a level that a tile is in lies in the picture's tiles."""
    side = 2 ** (level + 1)
    rows, columns = plane.grid
    return row // side * side + side <= rows and column // side * side + side <= columns


def shifted(index: int, more: int) -> int:
    """The cost index of so much more in 1/256 bit."""
    cost = index * index // 16
    if cost == 0:
        return index
    wanted = min(max(cost + more, 0), 255 * 255 // 16)
    index = 0
    while index * index // 16 < wanted:
        index += 1
    return index


def partition(kl: np.ndarray, prior: PriorFile, group_bits: int) -> list[list[int]]:
    """The latents of each group, from the cost indices of a block."""
    cost = kl * kl // 16
    latents = order(len(cost))
    walk = latents[cost[latents] > 0]
    costs = cost[walk].tolist()
    if prior.chained:
        return chained_groups(walk.tolist(), costs, group_bits)
    return independent_groups(walk.tolist(), costs, group_bits)


def chained_groups(walk: list[int], costs: list[int], group_bits: int) -> list[list[int]]:
    capacity = 256 * group_bits
    count = (sum(costs) + capacity // 2) // capacity
    groups = [[] for _ in range(count)]
    if count == 0:
        return groups
    total = 0
    for i, cost in zip(walk, costs, strict=True):
        total += cost
        group = min((total - 1 + capacity // 2) // capacity, count - 1)
        groups[group].append(i)
    return groups


def independent_groups(walk: list[int], costs: list[int], group_bits: int) -> list[list[int]]:
    groups = []
    total = 0
    for i, cost in zip(walk, costs, strict=True):
        total += cost
        if not groups or total > 256 * group_bits:
            groups.append([])
            total = cost
        groups[-1].append(i)
    return groups


# Section 6: indices


def read_stream(plane: Plane, payload: list[int], start: int, groups: int) -> list[int]:
    """The index of each group of a stream that starts at some bit of the payload."""
    group_bits = plane.prior.group_bits_of(plane.header.index_bits)
    refuse_if(start + groups * group_bits > len(payload), "truncated in a stream")
    indices = []
    for g in range(groups):
        end = start + (g + 1) * group_bits
        first = max(start, end - plane.header.index_bits)
        indices.append(number(payload[first:end]))
    return indices


# Section 7: from indices to pixels


def scales(kl: np.ndarray, noise: np.ndarray) -> np.ndarray:
    bits = (kl * kl // 16) / 256
    return np.float32(noise * np.sqrt(2 ** (2 * bits) - 1)).astype(float)


def samples(seed: int, block: int, groups: list[list[int]], indices: list[int], count: int) -> np.ndarray:
    """sign * eps of each latent of a block, 0 where it is in no group."""
    values = np.zeros(count)
    signs = words(seed, 1, block, -(-count // 64))
    for g, (group, index) in enumerate(zip(groups, indices, strict=True)):
        for i, eps in zip(group, candidate(seed, g, index, len(group)), strict=True):
            sign = 1 - 2 * (signs[i // 64] >> i % 64 & 1)
            values[i] = sign * eps
    return values


def latents_of_block(plane: Plane, block: int) -> np.ndarray:
    """(n * n * U,)"""
    tiles = plane.prior.side**2
    mean = np.tile(plane.point.mean, tiles)
    noise = np.tile(plane.point.noise, tiles)
    scale = scales(costs_of_block(plane, block), noise)
    return mean + scale * samples(plane.header.seed, block, plane.groups[block], plane.indices[block], len(mean))


def modulations_of(plane: Plane) -> np.ndarray:
    """(P,), 0 where the picture has none."""
    scale = plane.point.modulation_scale.astype(float)
    return scale * samples(plane.header.seed, 0, plane.modulation_groups, plane.modulation_indices, len(scale))


def latents_of(plane: Plane) -> np.ndarray:
    """(blocks, n * n * U)"""
    rows, columns = plane.blocks
    return np.stack([latents_of_block(plane, block) for block in range(rows * columns)])


def field_of(plane: Plane, latents: np.ndarray) -> np.ndarray:
    """What the latents say of every pixel of the tiles: (blocks, n * n * U) -> (H, W, channels)."""
    rows, columns = plane.grid
    n = plane.prior.side
    tiles = latents.reshape(*plane.blocks, n, n, -1)
    tiles = np.moveaxis(tiles, 2, 1)  # row of blocks, row of the tile in it, column of blocks, column of the tile in it
    tiles = tiles.reshape(plane.blocks[0] * n, plane.blocks[1] * n, -1)[:rows, :columns]
    if not plane.prior.cosine:
        return fourier_field(plane, tiles)
    if plane.completed:
        tiles = completed(plane, tiles)
    return cosine_field(plane, spread(plane, tiles))


def completed(plane: Plane, tiles: np.ndarray) -> np.ndarray:
    """Latents that are 0 from the smooth field: (Rt, Ct, U), the same."""
    smooth = smoothed(cosine_field(plane, spread(plane, tiles)))
    return np.where(tiles == 0, gathered(plane, analysed(plane, smooth)), tiles)


def spread(plane: Plane, tiles: np.ndarray) -> np.ndarray:
    """Cosines from latents, of which the lowest are sums and differences: (Rt, Ct, U), the same."""
    tiles = tiles.copy()
    for level in reversed(range(plane.prior.pyramid)):
        turn(plane, tiles, level)
    return tiles


def gathered(plane: Plane, tiles: np.ndarray) -> np.ndarray:
    """The inverse."""
    tiles = tiles.copy()
    for level in range(plane.prior.pyramid):
        turn(plane, tiles, level)
    return tiles


def turn(plane: Plane, tiles: np.ndarray, level: int) -> None:
    """Lowest frequencies of the squares of a level, in place."""
    unit = 2**level
    rows, columns = plane.grid
    for row in range(0, rows, 2 * unit):
        for column in range(0, columns, 2 * unit):
            if not whole_square(plane, row, column, level):
                continue
            if level == 0 and plane.sizes[row, column] == 2:
                continue
            for k in range(3):
                a = tiles[row, column, k]
                b = tiles[row, column + unit, k]
                c = tiles[row + unit, column, k]
                d = tiles[row + unit, column + unit, k]
                tiles[row, column, k] = (a + b + c + d) / 2
                tiles[row, column + unit, k] = (a - b + c - d) / 2
                tiles[row + unit, column, k] = (a + b - c - d) / 2
                tiles[row + unit, column + unit, k] = (a - b - c + d) / 2


def smoothed(values: np.ndarray) -> np.ndarray:
    """Means of cells, each with its neighbours, and bilinear between: (H, W, 3), the same."""
    height, width = values.shape[:2]
    means = values.reshape(height // CELL, CELL, width // CELL, CELL, 3).mean((1, 3))
    padded = np.pad(means, ((1, 1), (1, 1), (0, 0)), mode="edge")
    padded = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    means = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    for axis in (0, 1):
        means = interpolated(means, axis, CELL)
    return means


def analysed(plane: Plane, values: np.ndarray) -> np.ndarray:
    """The latents whose field this is: (H, W, 3) -> (Rt, Ct, U)."""
    rows, columns = plane.grid
    tile = plane.prior.tile
    size = plane.sizes
    values = values.copy()
    for in_squares in (False, True):
        mix_down(values.swapaxes(0, 1), size.T, tile, in_squares, undo=True)
        mix_down(values, size, tile, in_squares, undo=True)
    coefficients = np.zeros((rows, columns, tile, tile, 3))
    for row in range(rows):
        for column in range(columns):
            s = size[row, column]
            if row % s or column % s:
                continue
            down = basis(s * tile, row + s == rows)
            across = basis(s * tile, column + s == columns)
            shown = values[row * tile : (row + s) * tile, column * tile : (column + s) * tile]
            square = np.einsum("vy,yxc,hx->vhc", down, shown, across, optimize=True)
            for i in range(s):
                for j in range(s):
                    coefficients[row + i, column + j] = square[i::s, j::s]
    return coefficients.reshape(rows, columns, -1)


def cosine_field(plane: Plane, tiles: np.ndarray) -> np.ndarray:
    """Lapped cosines: (Rt, Ct, U) -> (H, W, 3)."""
    rows, columns = plane.grid
    tile = plane.prior.tile
    coefficients = tiles.reshape(rows, columns, tile, tile, 3)
    size = plane.sizes
    values = np.zeros((rows * tile, columns * tile, 3))
    for row in range(rows):
        for column in range(columns):
            s = size[row, column]
            if row % s or column % s:
                continue
            square = np.zeros((s * tile, s * tile, 3))
            for i in range(s):
                for j in range(s):
                    square[i::s, j::s] = coefficients[row + i, column + j]
            down = basis(s * tile, row + s == rows)
            across = basis(s * tile, column + s == columns)
            shown = np.einsum("vy,vhc,hx->yxc", down, square, across, optimize=True)
            values[row * tile : (row + s) * tile, column * tile : (column + s) * tile] = shown
    for in_squares in (True, False):
        mix_down(values, size, tile, in_squares)
        mix_down(values.swapaxes(0, 1), size.T, tile, in_squares)
    return values


@cache
def basis(hop: int, last: bool) -> np.ndarray:
    """[frequency][sample]"""
    k = np.arange(hop)[:, None]
    i = np.arange(hop)[None, :]
    if not last:
        return np.sqrt(2 / hop) * np.cos(np.pi * (k + 1 / 2) * (i + 1 / 2) / hop)
    return np.sqrt(np.where(k == 0, 1, 2) / hop) * np.cos(np.pi * k * (i + 1 / 2) / hop)


def mix_down(values: np.ndarray, size: np.ndarray, tile: int, in_squares: bool, undo: bool = False) -> None:
    """Mixes samples, in place, at those borders between rows of tiles that lie within squares of four tiles, or not."""
    sign = -1 if undo else 1
    for column in range(size.shape[1]):
        pixels = slice(column * tile, (column + 1) * tile)
        for row in range(1 if in_squares else 2, size.shape[0], 2):
            within_a_merged_tile = in_squares and size[row, column] == 2
            if within_a_merged_tile:
                continue
            half = tile * min(size[row - 1, column], size[row, column]) // 2
            border = row * tile
            for i in range(half):
                angle = math.pi / 4 * (1 + (i + 1 / 2) / half)
                a = values[border - 1 - i, pixels].copy()
                b = values[border + i, pixels].copy()
                values[border - 1 - i, pixels] = math.sin(angle) * a + sign * math.cos(angle) * b
                values[border + i, pixels] = math.sin(angle) * b - sign * math.cos(angle) * a


def fourier_field(plane: Plane, tiles: np.ndarray) -> np.ndarray:
    """A network for every tile: (Rt, Ct, U) -> (H, W, channels)."""
    tile = plane.prior.tile
    rows, columns = plane.grid
    layers = plane.prior.latent_layers
    features = fourier_features(tile, layers[0]["inputs"] // 4)
    shown = np.zeros((rows, tile, columns, tile, layers[-1]["outputs"]))
    for row in range(rows):
        for column in range(columns):
            x = features
            taken = 0
            for layer in layers:
                inputs, outputs = layer["inputs"], layer["outputs"]
                own = tiles[row, column][taken:] * layer.get("scale", 1)
                x = x @ own[: inputs * outputs].reshape(inputs, outputs)
                taken += inputs * outputs
                if layer.get("bias", True):
                    x = x + own[inputs * outputs :][:outputs]
                    taken += outputs
                x = activation(layer, x)
            shown[row, :, column] = x
    return shown.reshape(rows * tile, columns * tile, -1)


def fourier_features(n: int, q: int) -> np.ndarray:
    """(n, n, 4 q)"""
    along = (2 * np.arange(n) + 1) / n - 1
    phases = np.pi * along[:, None] * 2.0 ** (np.arange(q) - 1)
    down = np.broadcast_to(phases[:, None], (n, n, q))
    across = np.broadcast_to(phases[None, :], (n, n, q))
    both = np.concatenate([down, across], -1)
    return np.concatenate([np.sin(both), np.cos(both)], -1)


def activation(layer: dict, y: np.ndarray) -> np.ndarray:
    omega = layer.get("omega", 1)
    if layer["kind"] == "sine":
        return np.sin(omega * y)
    if layer["kind"] == "silu":
        with np.errstate(over="ignore"):  # of exp: a quotient by infinity is 0
            return omega * y / (1 + np.exp(-omega * y))
    return y


def network(plane: Plane, values: np.ndarray) -> np.ndarray:
    """The shared layers: field (H, W, channels) -> (H, W, 3)."""
    shared = dict(plane.point.shared)
    first = len(plane.prior.latent_layers)
    if plane.axes:
        shared[f"w{first}"] = turned(shared[f"w{first}"], *plane.axes)
    if plane.modulation_indices is not None:
        modulate(shared, first + 1, modulations_of(plane))
    outputs = {first - 1: (values, 1)}  # of each layer, and its fold
    for i in range(first, len(plane.prior.layers)):
        layer = plane.prior.layers[i]
        fold = layer.get("fold", 1)
        x = refolded(*outputs[i - 1], fold)
        y = windows(x, shared[f"w{i}"])
        y = y + bias(plane, shared[f"b{i}"], fold)
        y = activation(layer, y)
        if layer.get("residual_of") is not None:
            y = y + refolded(*outputs[layer["residual_of"]], fold)
        outputs[i] = (y, fold)
    return refolded(*outputs[len(plane.prior.layers) - 1], 1)


def turned(weights: np.ndarray, a: int, b: int, c: int) -> np.ndarray:
    """Weights (window, window, inputs, outputs) of the first shared layer with axes of the picture's own."""
    w = 128
    turn = [
        [w * w + a * a - b * b - c * c, 2 * (a * b - w * c), 2 * (a * c + w * b)],
        [2 * (a * b + w * c), w * w - a * a + b * b - c * c, 2 * (b * c - w * a)],
        [2 * (a * c - w * b), 2 * (b * c + w * a), w * w - a * a - b * b + c * c],
    ]
    shares = np.array(turn) / (w * w + a * a + b * b + c * c)
    out = np.zeros_like(weights)
    for i in range(weights.shape[2]):
        component = i % 3
        for j in range(3):
            out[:, :, i] += shares[component, j] * weights[:, :, i - component + j]
    return np.float32(out).astype(float)


def modulate(shared: dict[str, np.ndarray], first: int, values: np.ndarray) -> None:
    """Changes the weights of the layers from `first` on as the modulations say."""
    taken = 0
    i = first
    while f"w{i}" in shared:
        inputs, outputs = shared[f"w{i}"].shape[2:]
        a, g, s = np.split(values[taken : taken + inputs + 2 * outputs], [inputs, inputs + outputs])
        shared[f"w{i}"] = shared[f"w{i}"] * (1 + a)[:, None] * (1 + g)
        shared[f"b{i}"] = shared[f"b{i}"] + s
        taken += inputs + 2 * outputs
        i += 1


def refolded(x: np.ndarray, fold: int, wanted: int) -> np.ndarray:
    """Positions of another fold: (H / fold, W / fold, fold * fold * C) -> (H / wanted, W / wanted, ...)."""
    if fold == wanted:
        return x
    rows, columns, channels = x.shape
    squares = x.reshape(rows, columns, fold, fold, channels // fold**2)
    pixels = squares.swapaxes(1, 2).reshape(rows * fold, columns * fold, -1)
    height, width = pixels.shape[:2]
    squares = pixels.reshape(height // wanted, wanted, width // wanted, wanted, -1)
    return squares.swapaxes(1, 2).reshape(height // wanted, width // wanted, -1)


def windows(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Sums over neighbourhoods, edges repeated: (rows, columns, C) and (window, window, C, O)."""
    rows, columns = x.shape[:2]
    r = len(w) // 2
    padded = np.pad(x, ((r, r), (r, r), (0, 0)), mode="edge")
    y = np.zeros((rows, columns, w.shape[3]))
    for u in range(len(w)):
        for v in range(len(w)):
            y += padded[u : u + rows, v : v + columns] @ w[u, v]
    return y


def bias(plane: Plane, b: np.ndarray, fold: int) -> np.ndarray:
    """The bias of every position: (O,) for all, or (K, O) interpolated -> (O,) or (rows, columns, O)."""
    if b.ndim == 1:
        return b
    of_tile = b[np.array(plane.classes)]
    for axis in (0, 1):
        of_tile = interpolated(of_tile, axis, plane.prior.tile // fold)
    return of_tile


def interpolated(values: np.ndarray, axis: int, side: int) -> np.ndarray:
    """Between centres of squares of so many positions a side, along axis 0 or 1: (rows, columns, O), the same."""
    count = values.shape[axis]
    y = np.arange(count * side)
    s = np.clip((y + 1 / 2) / side - 1 / 2, 0, count - 1)
    before = np.floor(s).astype(int)
    share = (s - before).reshape(-1, 1, 1)
    after = np.minimum(before + 1, count - 1)
    along = np.moveaxis(values, axis, 0)
    return np.moveaxis(along[before] * (1 - share) + along[after] * share, 0, axis)


def content_pixels(plane: Plane, mode: str) -> np.ndarray:
    """What the content of an exact plane shows, RGB or RGBA, by the decoder of its own format."""
    content = plane.content
    if plane.codec == 0:
        padding = len(content) % 2
        body = b"WEBPVP8L" + struct.pack("<I", len(content)) + content + bytes(padding)
        file = b"RIFF" + struct.pack("<I", len(body)) + body
    else:
        file = SIGNATURE + content
    try:
        image = Image.open(io.BytesIO(file), formats=["WEBP", "PNG"])
        return np.asarray(image.convert(mode)).astype(int)
    except Exception as error:
        raise Refused("the content is damaged") from error


def pixels_of_plane(plane: Plane) -> np.ndarray:
    """(height, width, 1 or 3), integers of 0 ... 255."""
    height, width = plane.header.height, plane.header.width
    if plane.number == EXACT:
        return content_pixels(plane, "RGB")[..., :1]  # of an alpha
    if plane.number == ONE_COLOUR:
        return np.broadcast_to(np.array(plane.value), (height, width, len(plane.value)))
    shown = network(plane, field_of(plane, latents_of(plane)))[:height, :width]
    if plane.grey:
        shown = shown.mean(-1, keepdims=True)
    return np.rint(np.clip(255 * shown, 0, 255)).astype(int)


def pixels(file: File) -> np.ndarray:
    """What a file shows: (height, width, 1, 2, 3 or 4) uint8."""
    if file.header.point == EXACT:
        return exact_pixels(file)
    shown = pixels_of_plane(file.colour)
    if file.header.channels == 2:
        shown = np.repeat(shown, 3, -1)
    if file.alpha is not None:
        a = pixels_of_plane(file.alpha)
        sharper = ((2 * a - 255) * 2**file.header.sharpness + 255) // 2
        shown = np.concatenate([shown, np.clip(sharper, 0, 255)], -1)
    if file.layer is not None:
        over = content_pixels(file.layer, "RGBA")
        opacity = over[..., 3:]
        refuse_if(not np.isin(opacity, [0, 255]).all(), "a layer that is half transparent")
        shown = np.where(opacity == 255, over[..., :1] if file.header.channels == 1 else over[..., :3], shown)
    return shown.astype(np.uint8)


def exact_pixels(file: File) -> np.ndarray:
    """The same of a file whose colour is exact, with the alpha in it."""
    shown = content_pixels(file.colour, "RGBA")
    channels = [0] if file.header.channels == 1 else [0, 1, 2]
    if file.header.alpha is not None:
        channels.append(3)
    return shown[..., channels].astype(np.uint8)
