"""A file to pixels, in FORMAT.md's order: header, classes, indices, latents, pixels. numpy only.

bytes -> Header -> classes of tiles -> lengths of streams -> indices -> candidates -> latents -> field -> pixels
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import FormatError
from .format import candidates, classmap, header, streams
from .format import prior as priors
from .format.header import MAX_PIXELS, Header
from .format.prior import OperatingPoint, Prior
from .image import to_uint8
from .synthesis.architecture import blocks_of, counts
from .synthesis.latents import latent
from .synthesis.network import Network, render
from .synthesis.numpy_ops import NumpyOps

EXACT_PIXELS = 128 * 128  # pictures up to this size are decoded in double precision throughout
CHUNK = 16  # blocks whose latents are decoded at once
STRIP = 2**16  # pixels that the network computes at once


@dataclass(frozen=True)
class Contents:
    """A parsed file: everything but the pixels."""

    header: Header
    prior: Prior
    point: OperatingPoint
    classes: np.ndarray  # (Rt, Ct) class of each tile
    blocks: np.ndarray  # (B, n, n) the same by blocks, -1 beyond the picture
    lengths: np.ndarray  # (B,) bits of each block's stream
    bits: np.ndarray  # all streams, uint8 of 0 and 1
    header_bytes: int  # checksum included

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
            "colour": "grey" if head.grey else "RGB",
            "bytes": size,
            "bpp": round(8 * size / (head.width * head.height), 4),
            "prior": self.prior.name,
            "operating_point": head.point,
            "beta": point.beta,
            "seed": head.seed,
            "index_bits": head.index_bits,
            "tiles": self.classes.size,
            "blocks": len(self.lengths),
            "groups": int(self.lengths.sum()) // point.group_bits,
            "header_bytes": self.header_bytes,
            "multiplies_per_pixel": self.prior.architecture.multiplies,
        }


def parse(data: bytes, prior: Prior | None = None, max_pixels: int | None = MAX_PIXELS) -> Contents:
    """Header, prior, classes and streams of a file; nothing much larger than the file is allocated.

    prior: the custom prior that the file may have been made with. max_pixels: larger pictures are refused; None or 0 is
    no limit. Raises FormatError on anything that is not a whole, undamaged file.
    """
    head, start = header.read(data)
    found = priors.by_number(head.prior, head.prior_hash, prior)
    head, architecture = head.sized(found.architecture.block), found.architecture
    if max_pixels and head.width * head.height > max_pixels:
        raise FormatError(f"{head.width} x {head.height} pixels are more than {max_pixels}", "max_pixels")
    payload = header.payload(data, start, found.digest)  # before anything of the prior is unpacked
    point = found.operating_point(head.point, head.grey)
    if head.index_bits < point.group_bits or (not point.chained and head.index_bits != point.index_bits):
        raise FormatError(f"prior {found.name} cannot have made this file")
    bits = np.unpackbits(np.frombuffer(payload, np.uint8))
    shape = counts(head.width, head.height, architecture.tile)
    if point.classes == 1 and shape[0] * shape[1] > architecture.side**2 * len(bits):  # else the classes bound the size
        raise FormatError(f"truncated: {len(payload)} bytes are too few for {shape[0]} x {shape[1]} tiles")
    classes, side = read_classes(bits, point, *shape)
    blocks = blocks_of(classes[None], architecture)
    lengths = point.stream_lengths(blocks)
    used = side + int(lengths.sum())
    if -(-used // 8) != len(payload) or bits[used:].any():
        raise FormatError(f"payload of {len(payload)} bytes where {-(-used // 8)} are expected")
    header_bytes = start + header.CHECKSUM.size
    return Contents(head, found, point, classes, blocks, lengths, bits[side:used], header_bytes)


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
    point, head, architecture = contents.point, contents.header, contents.prior.architecture
    number, columns = np.arange(len(contents.lengths))[chunk], architecture.columns
    kl_index = point.block_kl(contents.blocks[chunk])
    parts = point.partition(kl_index)
    latents = np.tile(point.mean[columns].astype(dtype), (len(number), 1))
    if len(parts.latents):
        ends = np.cumsum(contents.lengths)[chunk]
        stream = contents.bits[ends[0] - contents.lengths[chunk][0] : ends[-1]]
        indices = streams.read_indices(stream, parts.counts, point.group_bits, head.index_bits)
        eps = candidates.candidates_at(head.seed, candidates.within(parts.counts), indices, parts.dims)
        place = parts.owners, parts.latents
        sign = candidates.signs(head.seed, number, len(columns))[place]
        column = columns[parts.latents]
        scale = point.scale_of(kl_index[place], column).astype(np.float64)
        latents[place] = latent(point.mean[column], scale, sign, eps)
    return latents


def decode_array(
    data: bytes, prior: Prior | None = None, threads: int = 0, max_pixels: int | None = MAX_PIXELS
) -> np.ndarray:
    """File to uint8, (H, W) where it is grey, else (H, W, 3).

    threads: of the processor, 0 takes all. Raises FormatError on anything that is not a whole, undamaged file, and on
    pictures of more than `max_pixels`.
    """
    contents = parse(data, prior, max_pixels)
    head, architecture = contents.header, contents.prior.architecture
    dtype = np.float64 if head.width * head.height <= EXACT_PIXELS else np.float32
    chunks = [slice(start, start + CHUNK) for start in range(0, len(contents.lengths), CHUNK)]
    latents = np.concatenate(list(parallel(lambda part: sample_latents(contents, part, dtype), chunks, threads)))
    shared = {name: value.astype(dtype) for name, value in contents.point.shared.items()}
    network = Network(
        architecture, shared, contents.classes[None], NumpyOps(dtype), head.grey, single=contents.point.single
    )
    half = network.down(latents.reshape(1, *contents.grid, -1))
    strips = render(
        network,
        lambda rows: network.across(half, rows),
        network.strips(STRIP, head.height),
        lambda work, parts: parallel(lambda rows: to_uint8(work(rows)[1][0, :, : head.width]), parts, threads),
    )
    pixels = np.concatenate(list(strips))
    return np.ascontiguousarray(pixels[..., 0] if head.grey else pixels)


def parallel(work: Callable, parts: Sequence, threads: int) -> Iterable:
    """Map on threads, in order; 0 takes all processors."""
    if len(parts) == 1 or threads == 1:
        return map(work, parts)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads or None) as pool:
        return list(pool.map(work, parts))
