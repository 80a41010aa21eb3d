"""A plane: what a file stores of a picture's colour, of its alpha, or over it (FORMAT.md, section 3).

    OneColour    the colour's bytes
    ExactPlane   codec, length and content of a picture file without loss
    InrPlane     [modulated, 1 bit] | class map | [stream of the modulations] | a stream for every block

A kind of plane writes its order down once, in `code`. A `BitReader` goes through it and gives the plane back, a
`BitWriter` goes through it with a plane and keeps its bits, a `BitCounter` keeps their number alone.

An INR's latents stand in *sections*, each of which has streams of one kind: the modulations, then the blocks. A
section knows everything that its streams take to be decoded: the walk, the groups and the length of each, the prior
of its latents, and what the decoded latents change (`commit`). To add a section, write a subclass of `Section` and
name it in `InrPlane.sections`; to add a kind, write a subclass of `Plane` and name it in `AnyPlane` and `kind_of`.
CONTRIBUTING.md lists what else either takes.

Shapes: Rt x Ct tiles; B blocks of a section with D latents each, of which b are asked for at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, cast

import numpy as np

from ..errors import FormatError
from ..synthesis.architecture import Architecture, blocks_of, counts
from ..synthesis.colour_axes import turned
from ..synthesis.modulation import modulated
from . import classmap
from .header import EXACT, ONE_COLOUR, Fields, Header, check_pixels, write_varint
from .operating_point import Modulations, OperatingPoint
from .prior import Prior
from .streams import COST_PER_BIT, kl_table

ALL = slice(None)
NO_BITS = np.zeros(0, np.uint8)
VP8L, PNG = range(2)  # codecs of exact planes
VARINT_BITS = 40  # of the longest length


class Bits(Protocol):
    """Where a plane's bits come from or go to. Each method takes what is written, None to a reader, and returns it or
    what is read.
    """

    position: int  # bits read or written so far

    def flag(self, value: Any) -> bool:
        """One bit."""

    def octets(self, count: int, value: Any) -> bytes:
        """Whole bytes."""

    def varint(self, value: Any) -> int:
        """A length in bytes, as a header's sizes are written."""

    def class_map(self, point: OperatingPoint, rows: int, columns: int, classes: Any) -> np.ndarray:
        """Classes of all tiles: (Rt, Ct) int64."""

    def stream(self, length: int, stream: Any) -> np.ndarray:
        """Bits of a section: (length,) uint8 of 0 and 1."""


class BitReader:
    """Reads planes from a payload: (n,) uint8 of 0 and 1."""

    def __init__(self, bits: np.ndarray):
        self.bits = bits
        self.position = 0

    @property
    def left(self) -> np.ndarray:
        """What was not read yet."""
        return self.bits[self.position :]

    def take(self, count: int) -> np.ndarray:
        """The next bits. Raises FormatError where there are not so many."""
        end = self.position + count
        if end > len(self.bits):
            raise FormatError(f"truncated: payload of {len(self.bits) // 8} bytes where {-(-end // 8)} are expected")
        taken = self.bits[self.position : end]
        self.position = end
        return taken

    def flag(self, value: bool | None = None) -> bool:
        return bool(self.take(1)[0])

    def octets(self, count: int, value: bytes | None = None) -> bytes:
        return np.packbits(self.take(8 * count)).tobytes()

    def varint(self, value: int | None = None) -> int:
        fields = Fields(np.packbits(self.left[:VARINT_BITS]).tobytes(), 0)
        length = fields.varint(len(self.bits))
        self.take(8 * fields.position)
        return length

    def class_map(
        self, point: OperatingPoint, rows: int, columns: int, classes: np.ndarray | None = None
    ) -> np.ndarray:
        found, used = classmap.decode(self.left, rows, columns, point.contexts, point.single)
        self.position += used
        return found.astype(np.int64)

    def stream(self, length: int, stream: np.ndarray | None = None) -> np.ndarray:
        return self.take(length)


class BitWriter:
    """Writes planes; `bits` is what `BitReader` takes."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.position = 0

    @property
    def bits(self) -> np.ndarray:
        """All that was written: (n,) uint8 of 0 and 1."""
        return np.concatenate([*self.parts, NO_BITS])

    def put(self, bits: np.ndarray) -> None:
        """Some more of them."""
        self.parts.append(bits)
        self.position += len(bits)

    def flag(self, value: bool) -> bool:
        self.put(np.array([value], np.uint8))
        return value

    def octets(self, count: int, value: bytes) -> bytes:
        self.put(np.unpackbits(np.frombuffer(value, np.uint8)))
        return value

    def varint(self, value: int) -> int:
        self.octets(0, write_varint(value))
        return value

    def class_map(self, point: OperatingPoint, rows: int, columns: int, classes: np.ndarray) -> np.ndarray:
        self.put(classmap.encode(classes.astype(np.uint8), point.contexts, point.single))
        return classes

    def stream(self, length: int, stream: np.ndarray) -> np.ndarray:
        self.put(stream)
        return stream


class BitCounter(BitWriter):
    """Counts the bits of a plane whose streams are not known yet."""

    def stream(self, length: int, stream: np.ndarray | None = None) -> np.ndarray:
        self.position += length
        return NO_BITS


def nothing(blocks: slice) -> np.ndarray:
    """Latents before they are decoded."""
    raise NotImplementedError


@dataclass(frozen=True)
class Decoded:
    """What the sections of an INR that are decoded so far say: numpy arrays in a decoder, tensors in an encoder."""

    shared: dict[str, Any]  # weights of the shared layers
    latents: Callable[[slice], np.ndarray] = nothing  # those of some blocks: -> (b, D)


@dataclass(frozen=True)
class Section:
    """Streams of one kind, one for each of B blocks of D latents."""

    point: OperatingPoint

    name = ""  # in figures of where a file's bits went
    few = False  # latents that are computed in double precision whatever the size of the picture

    @property
    def lengths(self) -> np.ndarray:
        """Bits of every stream: (B,) int64."""
        raise NotImplementedError

    @property
    def length(self) -> int:
        """Bits of all streams."""
        return int(self.lengths.sum())

    def kl_index(self, blocks: slice = ALL) -> np.ndarray:
        """KL indices of some blocks' latents: (b, D) uint8."""
        raise NotImplementedError

    @property
    def mean(self) -> np.ndarray:
        """Prior means of a block's latents, which those have that no group holds: (D,) float32."""
        raise NotImplementedError

    def scale(self, kl_index: np.ndarray, latents: np.ndarray | slice = ALL) -> np.ndarray:
        """Prior scales of some latents of a block from their KL indices: (..., n) -> (..., n) float32."""
        raise NotImplementedError

    def posterior_scale(self, kl_index: np.ndarray) -> np.ndarray:
        """Typical posterior scales, the unit of an encoder's steps: (D,) or, from KL indices (b, D), the same."""
        raise NotImplementedError

    def commit(self, decoded: Decoded, latents: Callable[[slice], np.ndarray]) -> Decoded:
        """What is known once the latents of this section are; they are computed when they are asked for."""
        raise NotImplementedError


@dataclass(frozen=True)
class ModulationSection(Section):
    """Factors and shifts of the shared layers: one block (FORMAT.md, section 7)."""

    pixels: int  # of the picture
    first: int  # number of the first layer that is modulated

    name = "modulations"
    few = True

    @property
    def modulations(self) -> Modulations:
        """Their tables, which an operating point has where a plane has this section."""
        return cast(Modulations, self.point.modulations)

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.array([self.point.length_of(self.kl_index())])

    def kl_index(self, blocks: slice = ALL) -> np.ndarray:
        return cast(np.ndarray, self.modulations.kl_of(self.pixels))  # of a picture that is large enough

    @property
    def mean(self) -> np.ndarray:
        return np.zeros_like(self.modulations.scale)

    def scale(self, kl_index: np.ndarray, latents: np.ndarray | slice = ALL) -> np.ndarray:
        coded = kl_table()[kl_index] > 0
        return np.where(coded, self.modulations.scale[latents], np.float32(0))

    def posterior_scale(self, kl_index: np.ndarray) -> np.ndarray:
        narrower = np.exp2(-kl_table()[kl_index] / COST_PER_BIT)
        return (self.scale(kl_index) * narrower).astype(np.float32)

    def commit(self, decoded: Decoded, latents: Callable[[slice], np.ndarray]) -> Decoded:
        (values,) = latents(ALL)
        return replace(decoded, shared=modulated(decoded.shared, self.first, values))


@dataclass(frozen=True)
class BlockSection(Section):
    """Latents of the field (FORMAT.md, section 5)."""

    architecture: Architecture
    classes: np.ndarray  # (B, n, n) of the tiles of every block, -1 beyond the picture

    name = "streams"

    @cached_property
    def lengths(self) -> np.ndarray:
        return self.point.stream_lengths(self.classes)

    def kl_index(self, blocks: slice = ALL) -> np.ndarray:
        return self.point.block_kl(self.classes[blocks])

    @property
    def mean(self) -> np.ndarray:
        return self.point.mean[self.architecture.columns]

    def scale(self, kl_index: np.ndarray, latents: np.ndarray | slice = ALL) -> np.ndarray:
        return self.point.scale_of(kl_index, self.architecture.columns[latents])

    def posterior_scale(self, kl_index: np.ndarray) -> np.ndarray:
        return self.point.posterior_scale[self.architecture.columns]

    def commit(self, decoded: Decoded, latents: Callable[[slice], np.ndarray]) -> Decoded:
        return replace(decoded, latents=latents)


@dataclass(frozen=True)
class Plane:
    """A plane, and the header that says how to read it: that of the file, or its `of_alpha`."""

    header: Header  # with width and height filled in
    prior: Prior | None  # None where the file needs none

    @property
    def parts(self) -> dict[str, int]:
        """Bits by what they are for."""
        raise NotImplementedError

    @property
    def length(self) -> int:
        """Bits of the plane."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class OneColour(Plane):
    """A plane that is the same everywhere."""

    value: bytes  # 1 or 3

    @staticmethod
    def code(bits: Bits, header: Header, prior: Prior | None, plane: Any = None) -> "OneColour":
        """Read a plane, or write the given one."""
        value = bits.octets(1 if header.grey else 3, plane.value if plane else None)
        return OneColour(header, prior, value)

    @property
    def parts(self) -> dict[str, int]:
        return {"one_colour": 8 * len(self.value)}


@dataclass(frozen=True)
class ExactPlane(Plane):
    """A plane without loss, as another format codes it: a colour with any alpha, an alpha alone, or a layer."""

    codec: int  # VP8L or PNG
    content: bytes

    @property
    def format(self) -> str:
        """Of its content, in words."""
        return f"lossless {'WebP' if self.codec == VP8L else 'PNG'}"

    @staticmethod
    def code(bits: Bits, header: Header, prior: Prior | None, plane: Any = None) -> "ExactPlane":
        """Read a plane, or write the given one. Raises FormatError for a length that is not in its shortest form."""
        (codec,) = bits.octets(1, bytes([plane.codec]) if plane else None)
        if codec not in (VP8L, PNG):
            raise FormatError("an exact plane is neither VP8L nor PNG")
        length = bits.varint(len(plane.content) if plane else None)
        content = bits.octets(length, plane.content if plane else None)
        return ExactPlane(header, prior, codec, content)

    @property
    def parts(self) -> dict[str, int]:
        return {"exact": 8 * (1 + len(write_varint(len(self.content))) + len(self.content))}


@dataclass(frozen=True)
class InrPlane(Plane):
    """A plane as a sample of a network's weights."""

    prior: Prior
    classes: np.ndarray  # (Rt, Ct) int64
    modulated: bool = False  # whether there are modulations
    streams: tuple[np.ndarray, ...] = ()  # of each section, one block's after another: uint8 of 0 and 1
    class_map_bits: int = 0

    @staticmethod
    def code(bits: Bits, header: Header, prior: Any, plane: Any = None) -> "InrPlane":
        """Read a plane, or write the given one. Raises FormatError for what no encoder wrote."""
        found = InrPlane(header, prior, np.zeros((0, 0), np.int64))
        found.check()
        if found.may_be_modulated:
            found = replace(found, modulated=bits.flag(plane.modulated if plane else None))
        if isinstance(bits, BitReader):
            found.check_tiles(len(bits.left))
        begin = bits.position
        classes = bits.class_map(found.point, *found.tiles, plane.classes if plane else None)
        found = replace(found, classes=classes, class_map_bits=bits.position - begin)
        known = plane.streams if plane and plane.streams else [None] * len(found.sections)
        streams = [bits.stream(section.length, stream) for section, stream in zip(found.sections, known, strict=True)]
        return replace(found, streams=tuple(streams))

    @property
    def point(self) -> OperatingPoint:
        """For colour or for grey pictures. Raises FormatError where the prior has none of this number."""
        prior = self.prior.of_width(self.header.index_bits)
        return prior.operating_point(self.header.point, self.header.grey)

    @property
    def architecture(self) -> Architecture:
        return self.prior.architecture

    @property
    def shared(self) -> dict[str, np.ndarray]:
        """Weights of the shared layers, less modulations: float32."""
        axes = self.header.axes
        if axes is None:
            return self.point.shared
        return turned(self.point.shared, self.architecture.colour, axes)

    @property
    def pixels(self) -> int:
        return self.header.width * self.header.height

    @property
    def completes(self) -> bool:
        """Whether latents without bits are completed."""
        return self.point.completes(self.header.height, self.header.width, self.architecture.block, self.classes)

    @property
    def tiles(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return counts(self.header.width, self.header.height, self.architecture.tile)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        return counts(self.header.width, self.header.height, self.architecture.block)

    @property
    def may_be_modulated(self) -> bool:
        """Whether a bit says if there are modulations."""
        return self.point.modulation_kl(self.pixels) is not None

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """In the order of the file."""
        if not self.modulated:
            return (self.blocks,)
        return ModulationSection(self.point, self.pixels, self.architecture.colour + 1), self.blocks

    @cached_property
    def blocks(self) -> BlockSection:
        """The section of the field's latents."""
        return BlockSection(self.point, self.architecture, blocks_of(self.classes[None], self.architecture))

    @property
    def parts(self) -> dict[str, int]:
        sizes = {section.name: section.length for section in self.sections}
        return {"modulated": int(self.may_be_modulated), "class_map": self.class_map_bits} | sizes

    def check(self) -> None:
        """Raises FormatError for an index width that does not go with the operating point, and for axes of colours that
        the prior does not know.
        """
        bits, point = self.header.index_bits, self.point
        if bits < point.group_bits or (not point.chained and bits != point.index_bits):
            raise FormatError(f"prior {self.prior.name} cannot have made this file")
        if self.header.axes and self.architecture.components != 3:
            raise FormatError(f"prior {self.prior.name} has no colour axes")

    def check_tiles(self, bits: int) -> None:
        """Raises FormatError for more tiles than so many bits can hold, where no class map tells."""
        rows, columns = self.tiles
        if self.point.classes == 1 and rows * columns > self.architecture.side**2 * bits:
            raise FormatError(f"truncated: {bits // 8} bytes are too few for {rows} x {columns} tiles")


AnyPlane = OneColour | ExactPlane | InrPlane


def check_whole_tiles(width: int, height: int, tile: int, limit: int | None) -> None:
    """Raises FormatError for a picture of more pixels than a limit in whole tiles, if there is one."""
    rows, columns = counts(width, height, tile)
    check_pixels(columns * tile, rows * tile, limit, "pixels of whole tiles")


def kind_of(header: Header) -> type[AnyPlane]:
    """What a plane with this header is."""
    return {ONE_COLOUR: OneColour, EXACT: ExactPlane}.get(header.point, InrPlane)


def read(bits: BitReader, header: Header, prior: Prior | None) -> AnyPlane:
    """The plane that the next bits hold. Raises FormatError."""
    return kind_of(header).code(bits, header, prior)


def write(*planes: AnyPlane) -> bytes:
    """Payload of a file: its colour and, where it has one, its alpha."""
    bits = BitWriter()
    for plane in planes:
        type(plane).code(bits, plane.header, plane.prior, plane)
    return np.packbits(bits.bits).tobytes()


def count(*planes: AnyPlane) -> int:
    """Bits of these planes, whose streams need not be known."""
    bits = BitCounter()
    for plane in planes:
        type(plane).code(bits, plane.header, plane.prior, plane)
    return bits.position
