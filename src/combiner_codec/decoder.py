"""A file to pixels, in FORMAT.md's order: header, classes, indices, latents, pixels. numpy only.

bytes -> Header -> classes of tiles -> lengths of streams -> indices -> candidates -> latents -> field -> pixels
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from .errors import FormatError
from .format import candidates, classmap, header, streams
from .format import prior as priors
from .format.header import GREY_AS_RGB, MAX_PIXELS, ONE_COLOUR, Header
from .format.modulation import SMALLEST, modulated
from .format.prior import OperatingPoint, Prior
from .picture.planes import join, sharpened
from .picture.rounding import to_uint8
from .synthesis.architecture import blocks_of, counts
from .synthesis.bands import Band, bands
from .synthesis.latents import latent
from .synthesis.network import Network
from .synthesis.numpy_ops import NumpyOps

EXACT_PIXELS = SMALLEST  # pictures up to this size are decoded in double precision throughout
CHUNK = 16  # blocks whose latents are decoded at once
FEWEST, MOST = 2**16, 2**18  # pixels of a strip that the network computes at once: one for each thread within these


@dataclass(frozen=True)
class Contents:
    """A parsed file, everything but the pixels: its colour, and as another one of these its alpha."""

    header: Header
    prior: Prior
    point: OperatingPoint | None  # None where all pixels are the same
    classes: np.ndarray  # (Rt, Ct) class of each tile
    blocks: np.ndarray  # (B, n, n) the same by blocks, -1 beyond the picture
    lengths: np.ndarray  # (B,) bits of each block's stream
    payload: np.ndarray  # class map, modulations and all streams, or the one colour: uint8 of 0 and 1
    modulation: np.ndarray  # the stream of the picture's modulations, empty where it has none: uint8 of 0 and 1
    header_bytes: int  # checksum included
    alpha: "Contents | None" = None

    @property
    def bits(self) -> np.ndarray:
        """All streams: uint8 of 0 and 1."""
        return self.payload[len(self.payload) - int(self.lengths.sum()) :]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        return counts(self.header.width, self.header.height, self.prior.architecture.block)

    def facts(self, size: int) -> dict:
        """What `combiner info` tells of a file of so many bytes."""
        head, point = self.header, self.point
        return {
            "width": head.width,
            "height": head.height,
            "colour": head.colour,
            "bytes": size,
            "bpp": round(8 * size / (head.width * head.height), 4),
            "prior": self.prior.name,
            "operating_point": head.point if point else None,
            "beta": point.beta if point else None,
            "seed": head.seed,
            "index_bits": head.index_bits,
            "tiles": self.classes.size,
            "blocks": len(self.lengths),
            "groups": int(self.lengths.sum()) // point.group_bits if point else 0,
            "payload_bits": {"colour": len(self.payload)} | ({"alpha": len(self.alpha.payload)} if self.alpha else {}),
            "header_bytes": self.header_bytes,
            "multiplies_per_pixel": self.prior.architecture.multiplies,
        }


def parse(data: bytes, prior: Prior | None = None, max_pixels: int | None = MAX_PIXELS) -> Contents:
    """Header, prior, classes and streams of a file; nothing much larger than the file is allocated.

    prior: the custom prior that the file may have been made with. max_pixels: larger pictures are refused; None or 0 is
    no limit. Raises FormatError on anything that is not a whole, undamaged file.
    """
    head, start = header.read(data)
    header.check_pixels(head.width, head.height, max_pixels)  # as far as the file says, before its prior is looked for
    found = priors.by_number(head.prior, head.prior_hash, prior)
    head = head.sized(found.architecture.block)
    header.check_pixels(head.width, head.height, max_pixels)
    payload = header.payload(data, start, found.digest)  # before anything of the prior is unpacked
    bits = np.unpackbits(np.frombuffer(payload, np.uint8))
    header_bytes = start + header.CHECKSUM.size
    contents = read_plane(bits, head, found, header_bytes)
    used = len(contents.payload)
    if head.alpha is not None:
        contents = replace(contents, alpha=read_plane(bits[used:], head.of_alpha, found, header_bytes))
        used += len(contents.alpha.payload)
    if -(-used // 8) != len(payload) or bits[used:].any():
        raise FormatError(f"payload of {len(payload)} bytes where {-(-used // 8)} are expected")
    return contents


def read_plane(bits: np.ndarray, head: Header, prior: Prior, header_bytes: int) -> Contents:
    """Colour or alpha, which the first of some bits hold: (n,) uint8 of 0 and 1. Raises FormatError."""
    architecture = prior.architecture
    if head.point == ONE_COLOUR:
        colour, none = bits[: 8 if head.grey else 24], np.zeros((0, 0), np.int64)
        if len(colour) < (8 if head.grey else 24):
            raise FormatError("truncated in the picture's colour")
        return Contents(head, prior, None, none, none[None][:0], none.reshape(-1), colour, colour[:0], header_bytes)
    point = prior.operating_point(head.point, head.grey)
    if head.index_bits < point.group_bits or (not point.chained and head.index_bits != point.index_bits):
        raise FormatError(f"prior {prior.name} cannot have made this file")
    kl_index = point.modulation_kl(head.width * head.height)
    flag = int(kl_index is not None)
    own = point.length_of(kl_index) if flag and bits[:1].any() else 0
    shape, left = counts(head.width, head.height, architecture.tile), len(bits) - flag
    if point.classes == 1 and shape[0] * shape[1] > architecture.side**2 * left:  # else the classes bound the size
        raise FormatError(f"truncated: {len(bits) // 8} bytes are too few for {shape[0]} x {shape[1]} tiles")
    classes, side = read_classes(bits[flag:], point, *shape)
    blocks = blocks_of(classes[None], architecture)
    lengths = point.stream_lengths(blocks)
    start = flag + side
    end = start + own + int(lengths.sum())
    if end > len(bits):
        raise FormatError(f"truncated: payload of {len(bits) // 8} bytes where {-(-end // 8)} are expected")
    parts = bits[:end], bits[start : start + own]
    return Contents(head, prior, point, classes, blocks, lengths, *parts, header_bytes)


def read_classes(bits: np.ndarray, point: OperatingPoint, rows: int, columns: int) -> tuple[np.ndarray, int]:
    """Classes of all tiles, and how many bits they take: (n,) -> (Rt, Ct) int64."""
    if point.contexts is not None:
        classes, side = classmap.decode(bits, rows, columns, point.contexts, point.single)
        return classes.astype(np.int64), side
    tiles, side = rows * columns, point.class_bits
    if tiles * side > len(bits):
        raise FormatError(f"truncated: {tiles} tiles need more than {len(bits) // 8} bytes")
    classes = streams.from_bits(bits[: tiles * side], side) if side else np.zeros(tiles, np.int64)
    if classes.max() >= point.classes:
        raise FormatError("a tile names a class that its prior does not have")
    return classes.reshape(rows, columns), tiles * side


def sample_latents(contents: Contents, chunk: slice, dtype) -> np.ndarray:
    """The coded sample of some blocks' latents: (b, D)."""
    point, columns = contents.point, contents.prior.architecture.columns
    number = np.arange(len(contents.lengths))[chunk]
    kl_index = point.block_kl(contents.blocks[chunk])
    latents = np.tile(point.mean[columns].astype(dtype), (len(number), 1))
    if not contents.lengths[chunk].any():
        return latents
    ends = np.cumsum(contents.lengths)[chunk]
    stream = contents.bits[ends[0] - contents.lengths[chunk][0] : ends[-1]]
    place, normal = read_normals(contents, stream, kl_index, number)
    column = columns[place[1]]
    scale = point.scale_of(kl_index[place], column).astype(np.float64)
    latents[place] = latent(point.mean[column], scale, *normal)
    return latents


def sample_modulations(contents: Contents) -> np.ndarray:
    """The coded sample of the picture's modulations: (M,) float64, 0 where none are coded."""
    own = contents.point.modulations
    values = np.zeros(len(own.scale))
    kl_index = own.kl_of(contents.header.width * contents.header.height)
    (_, place), normal = read_normals(contents, contents.modulation, kl_index, np.zeros(1, np.int64))
    values[place] = latent(0.0, own.scale[place].astype(np.float64), *normal)
    return values


def read_normals(contents: Contents, stream: np.ndarray, kl_index: np.ndarray, number: np.ndarray):
    """What streams say of latents with these KL indices, (B, D), of blocks of these numbers, (B,).

    Returns where coded latents are, row and latent, and the sign and the normal number of each: (n,) each.
    """
    point, head = contents.point, contents.header
    parts = point.partition(kl_index)
    indices = streams.read_indices(stream, parts.counts, point.group_bits, head.index_bits)
    eps = candidates.candidates_at(head.seed, candidates.within(parts.counts), indices, parts.dims)
    place = parts.owners, parts.latents
    return place, (candidates.signs(head.seed, number, kl_index.shape[1])[place], eps)


def decode_array(
    data: bytes, prior: Prior | None = None, threads: int = 0, max_pixels: int | None = MAX_PIXELS
) -> np.ndarray:
    """File to uint8: (H, W) where it is grey, else (H, W, 3); with alpha (H, W, 2) or (H, W, 4).

    threads: of the processor, 0 takes all. Raises FormatError on anything that is not a whole, undamaged file, and on
    pictures of more than `max_pixels`.
    """
    contents = parse(data, prior, max_pixels)
    head, alpha = contents.header, None
    if contents.alpha:
        alpha = sharpened(decode_plane(contents.alpha, threads), head.sharpness)
    return join(decode_plane(contents, threads), alpha, rgb=head.channels == GREY_AS_RGB)


def decode_plane(contents: Contents, threads: int) -> np.ndarray:
    """Pixels of colour or alpha: (H, W) where one channel is coded, else (H, W, 3) uint8."""
    head, architecture = contents.header, contents.prior.architecture
    if contents.point is None:
        shape, value = (head.height, head.width), np.packbits(contents.payload)
        return np.full(shape, value[0]) if head.grey else np.full((*shape, 3), value)
    threads = threads or processors()
    dtype = np.float64 if head.width * head.height <= EXACT_PIXELS else np.float32
    if len(contents.modulation):
        shared = modulated(contents.point.shared, architecture.colour + 1, sample_modulations(contents))
        shared = {name: value.astype(dtype) for name, value in shared.items()}
    else:
        shared = contents.point.shared_in(dtype)
    network = Network(
        architecture, shared, contents.classes[None], NumpyOps(dtype), head.grey, single=contents.point.single
    )
    pixels = np.empty((head.height, head.width, 1 if head.grey else 3), np.uint8)
    for band in bands(architecture, head.height, head.width):
        decode_band(contents, band, network, threads, pixels)
    return pixels[..., 0] if head.grey else pixels


def decode_band(contents: Contents, band: Band, network: Network, threads: int, pixels: np.ndarray) -> None:
    """Fill in what a band settles of the pixels: (H, W, 1 or 3) uint8."""
    columns, width = contents.grid[1], contents.header.width
    blocks = range(band.around.start * columns, band.around.stop * columns)
    chunks = [slice(start, min(start + CHUNK, blocks.stop)) for start in blocks[::CHUNK]]
    latents = parallel(lambda part: sample_latents(contents, part, network.ops.dtype), chunks, threads)
    latents = np.concatenate(list(latents)).reshape(1, len(band.around), columns, -1)
    own = replace(network, classes=network.classes[:, band.tiles(network.architecture)])
    half = own.down(latents)
    del latents  # of large pictures as large as the field
    each, below = -(-len(band.visible) * width // threads), band.rows.start  # pixels of a thread

    def show(rows):
        strip = own.strip(lambda support: own.across(half, support), rows)
        pixels[below + rows[0] : below + rows[1]] = to_uint8(strip[0, :, :width])

    list(parallel(show, own.strips(min(max(each, FEWEST), MOST), band.visible), threads))


@cache
def processors() -> int:
    """Threads that the processor has."""
    return os.cpu_count() or 1


def parallel(work: Callable, parts: Sequence, threads: int) -> Iterable:
    """Map on threads, in order."""
    if len(parts) == 1 or threads == 1:
        return map(work, parts)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, parts))
