"""encode(pictures) -> bytes and decode(bytes) -> picture: the only place that knows the order of steps.

Decoding uses numpy alone; torch is imported when something is encoded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from . import bitstream, candidates, classmap
from . import prior as priors
from .bitstream import CUSTOM, MAX_PIXELS, Header
from .errors import FormatError
from .fitted import Fitted
from .image import png_bytes, psnr, to_uint8
from .inr import NumpyOps, across, blocks_of, counts, down, network, support
from .prior import Level, Prior, scale_of

if TYPE_CHECKING:
    import torch

    from .fit import Fit

EXACT_PIXELS = 128 * 128  # pictures up to this size are decoded in double precision throughout
MET = 0.2  # dB from a wanted PSNR that are good enough
POOR = 10  # times the error of three coded latents a pixel, beta / 2 each: what deserves a warning
SLIP = 3  # steps that a decoder may be off what the encoder, in single precision, expects it to show
CHUNK = 16  # blocks whose latents are decoded at once
STRIP = 2**16  # pixels that the network computes at once


@dataclass(frozen=True)
class Contents:
    """A parsed file: everything but the pixels."""

    header: Header
    prior: Prior
    level: Level
    classes: np.ndarray  # (Rt, Ct) class of each tile
    blocks: np.ndarray  # (Rb, Cb, n, n) the same by blocks, -1 beyond the picture
    lengths: np.ndarray  # (B,) bits of each block's stream
    bits: np.ndarray  # all streams, uint8 of 0 and 1
    header_bytes: int


def parse(data: bytes, prior: Prior | None = None, max_pixels: int | None = MAX_PIXELS) -> Contents:
    """Header, prior, classes and streams of a file; nothing much larger than the file is allocated.

    Pictures of more than `max_pixels` pixels are refused; None or 0 is no limit.
    """

    def tile_of(number, prior_hash):
        return priors.by_number(number, prior_hash, prior).architecture.tile

    header, start = bitstream.read(data, tile_of)
    if max_pixels and header.width * header.height > max_pixels:
        size = f"{header.width} x {header.height} pixels"
        raise FormatError(f"{size} are more than {max_pixels}: if this is right, set --max-pixels (max_pixels=)")
    found = priors.by_number(header.prior, header.prior_hash, prior)
    payload = bitstream.payload(data, start, found.digest)  # before anything of the prior is unpacked
    level, architecture = found.level(header.point, header.grey), found.architecture
    if header.index_bits < level.group_bits or (not level.chained and header.index_bits != level.index_bits):
        raise FormatError(f"prior {found.name} cannot have made this file")
    bits = np.unpackbits(np.frombuffer(payload, np.uint8))
    shape = counts(header.width, header.height, architecture.tile)
    n = architecture.block // architecture.tile
    least = max(level.least_bits(architecture), level.classes == 1)  # of a block; else the classes bound the size
    if least * shape[0] * shape[1] > n * n * len(bits):
        raise FormatError(f"truncated: {len(payload)} bytes are too few for {shape[0]} x {shape[1]} tiles")
    classes, side = read_classes(bits, level, *shape)
    blocks = blocks_of(classes[None], architecture)[0]
    lengths = level.stream_bits(architecture, blocks.reshape(-1, *blocks.shape[2:]))
    used = side + int(lengths.sum())
    if -(-used // 8) != len(payload) or bits[used:].any():
        raise FormatError(f"payload of {len(payload)} bytes where {-(-used // 8)} are expected")
    header_bytes = start + bitstream.CHECKSUM.size
    return Contents(header, found, level, classes, blocks, lengths, bits[side:used], header_bytes)


def read_classes(bits: np.ndarray, level: Level, rows: int, columns: int) -> tuple[np.ndarray, int]:
    """Classes of all tiles, and how many bits they take."""
    if level.contexts is not None:
        classes, side = classmap.decode(bits, rows, columns, level.contexts)
        return classes.astype(np.int64), side
    tiles, side = rows * columns, level.class_bits
    if tiles * side > len(bits):
        raise FormatError(f"truncated: {tiles} tiles need more than {len(bits) // 8} bytes")
    classes = bits[: tiles * side].reshape(tiles, side) @ (1 << np.arange(side)[::-1])
    if classes.max() >= level.classes:
        raise FormatError("a tile names a class that its prior does not have")
    return classes.reshape(rows, columns), tiles * side


def write_classes(classes: np.ndarray, level: Level) -> np.ndarray:
    """Bits of all tiles' classes: (Rt, Ct) -> uint8 of 0 and 1."""
    if level.contexts is not None:
        return classmap.encode(classes.astype(np.uint8), level.contexts)
    return (classes.reshape(-1, 1) >> np.arange(level.class_bits)[::-1] & 1).astype(np.uint8).reshape(-1)


def sample_latents(contents: Contents, chunk: slice, dtype) -> np.ndarray:
    """The coded sample of some blocks' latents: (b, D)."""
    level, header, architecture = contents.level, contents.header, contents.prior.architecture
    number = np.arange(len(contents.lengths))[chunk]
    columns = architecture.columns
    kl = level.block_kl(architecture, contents.blocks.reshape(-1, *contents.blocks.shape[2:])[chunk])
    parts = level.partition(kl)
    latents = np.tile(level.mean[columns].astype(dtype), (len(number), 1))
    if len(parts.latents):
        ends = np.cumsum(contents.lengths)[chunk]
        stream = contents.bits[ends[0] - contents.lengths[chunk][0] : ends[-1]]
        indices = read_indices(stream, parts.counts, level.group_bits, header.index_bits)
        group = np.arange(len(indices)) - np.repeat(parts.groups[:-1], parts.counts)
        eps = candidates.candidates_at(header.seed, group, indices, parts.dims)
        row = np.repeat(np.arange(len(number)), np.diff(parts.blocks))
        signs = candidates.signs(header.seed, number, len(columns))[row, parts.latents]
        scale = scale_of(kl[row, parts.latents], level.noise[columns[parts.latents]])
        latents[row, parts.latents] += scale.astype(dtype) * (signs * eps)
    return latents


def read_indices(stream: np.ndarray, groups: np.ndarray, group_bits: int, index_bits: int) -> np.ndarray:
    """Index of every group, the last L bits of its block's stream so far: streams one after another, (B,) -> (G,)."""
    new = stream.reshape(-1, group_bits).astype(np.int64) @ (1 << np.arange(group_bits)[::-1])
    number = np.arange(len(new)) - np.repeat(np.cumsum(groups) - groups, groups)  # of a group in its block
    value = new.copy()
    for back in range(1, -(-index_bits // group_bits)):
        value[back:] += np.where(number[back:] >= back, new[:-back] << (back * group_bits), 0)
    return value & ((1 << index_bits) - 1)


def decode_array(
    data: bytes, prior: Prior | None = None, threads: int = 0, max_pixels: int | None = MAX_PIXELS
) -> np.ndarray:
    """File to uint8, (H, W) where it is grey, else (H, W, 3).

    Raises FormatError on anything that is not a whole, undamaged file, and on pictures of more than `max_pixels`.
    """
    contents = parse(data, prior, max_pixels)
    header, architecture = contents.header, contents.prior.architecture
    dtype = np.float64 if header.width * header.height <= EXACT_PIXELS else np.float32
    ops = NumpyOps(dtype)
    starts = range(0, len(contents.lengths), CHUNK)
    chunks = [slice(start, start + CHUNK) for start in starts]
    latents = np.concatenate(parallel(lambda part: sample_latents(contents, part, dtype), chunks, threads))
    latents = latents.reshape(1, *contents.blocks.shape[:2], -1)
    classes = contents.classes[None]
    tiles = contents.classes.shape
    halves = down(architecture, latents, tiles, ops)
    shared = {name: value.astype(dtype) for name, value in contents.level.shared.items()}
    rows = max(architecture.tile, STRIP // (tiles[1] * architecture.tile))
    strips = [(first, min(first + rows, header.height)) for first in range(0, header.height, rows)]

    def render(strip):
        x = across(architecture, halves, tiles, ops, support(architecture, strip, tiles[0] * architecture.tile))
        out = network(architecture, x, shared, classes, ops, strip)[0, :, : header.width]
        return to_uint8(out.mean(-1) if header.grey else out)

    return np.ascontiguousarray(np.concatenate(parallel(render, strips, threads)))


def parallel(work: Callable, parts: Sequence, threads: int) -> list:
    """Map on threads; 0 takes all processors."""
    if len(parts) == 1 or threads == 1:
        return [work(part) for part in parts]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads or None) as pool:
        return list(pool.map(work, parts))


def whole_tiles(picture: np.ndarray, tile: int) -> np.ndarray:
    """(H, W) or (H, W, 3) with edges repeated at right and bottom up to whole tiles."""
    height, width = picture.shape[:2]
    rows, columns = counts(width, height, tile)
    missing = ((0, rows * tile - height), (0, columns * tile - width), (0, 0))
    return np.pad(picture, missing[: picture.ndim], mode="edge")


@dataclass(frozen=True)
class Goal:
    """What a file should be: at most `size` bytes, or of `psnr` dB."""

    size: int | None = None
    psnr: float | None = None

    @staticmethod
    def of(size: int | None, psnr: float | None) -> "Goal | None":
        """A goal, or None without a wish. Raises ValueError for two."""
        if size is not None and psnr is not None:
            raise ValueError("a target size and a target PSNR exclude each other")
        return None if size is None and psnr is None else Goal(size, psnr)

    def missed(self, result: "Encoded") -> bool:
        """Whether a file is further from the wanted PSNR than it should be."""
        return self.psnr is not None and abs(result.psnr - self.psnr) > MET


@dataclass(frozen=True)
class Encoded:
    """One encoded picture and what its decoder will show."""

    data: bytes
    pixels: np.ndarray  # (H, W) or (H, W, 3) uint8, decoded; as the encoder expects them if not verified
    psnr: float  # dB, of these 8-bit pixels
    point: int
    ideal_bits: float  # KL of the fitted posteriors, in bits
    sampled_psnr: float  # dB, of one sample of the fitted posteriors before coding
    posterior_seconds: float  # its share of choosing operating points and classes and of fitting, all trials
    fitted: Fitted | None  # the posterior before coding, with `keep_posterior`

    @property
    def bpp(self) -> float:
        return 8 * len(self.data) / (self.pixels.shape[0] * self.pixels.shape[1])

    def warnings(self, picture: np.ndarray, beta: float, prior: Prior) -> list[str]:
        """What speaks against coding the picture like this, a line each."""
        lines, wanted = [], max(beta, min(prior.betas))
        if len(self.data) > (png := png_bytes(picture)):
            lines.append(f"{len(self.data)} bytes are more than the {png} of its PNG")
        if 10 ** (-self.psnr / 10) > POOR * 1.5 * wanted:
            lines.append(f"only {self.psnr:.1f} dB: the prior {prior.name} knows no such pictures")
        return lines

    def lagrangian(self, picture: np.ndarray, beta: float) -> float:
        """Squared error, summed over pixels and averaged over channels, + beta ln 2 bits."""
        squares = ((picture.astype(np.float64) - self.pixels) / 255) ** 2
        error = squares.sum() / (1 if picture.ndim == 2 else 3)
        return error + beta * np.log(2) * 8 * len(self.data)


def encode_arrays(
    pictures: Sequence[np.ndarray],
    beta: float,
    prior: Prior,
    seed: int = 0,
    threads: int = 0,
    progress: Callable[[float], None] = lambda share: None,
    verify: bool = True,
    goal: Goal | None = None,
    **options,
) -> list[Encoded | FormatError]:
    """Encode uint8 pictures, grey (H, W) or colour (H, W, 3); those of one shape share every matrix product.

    verify: decode every file and compare with what the encoder expects. With a goal each picture gets operating point
    and classes that meet it, and beta counts for nothing. Options: see `fit.Fit`. A FormatError stands in the place of
    a picture that cannot be brought to the goal's size. Raises FormatError if a fit diverges or a file is not decoded
    as expected.
    """
    from . import fit, target  # torch

    fit.use_threads(threads)
    run = fit.Fit(prior, beta, seed, **options)
    results: list = [None] * len(pictures)
    pixels, done = sum(picture.shape[0] * picture.shape[1] for picture in pictures), 0
    for shape in dict.fromkeys(picture.shape for picture in pictures):
        members = [i for i, picture in enumerate(pictures) if picture.shape == shape]
        stack = fit.as_pixels(np.stack([whole_tiles(pictures[i], prior.architecture.tile) for i in members]))
        share = shape[0] * shape[1] * len(members) / pixels
        if goal:
            own = [pictures[i] for i in members]
            encode = _Encode(prior, beta, seed, threads, verify, options, own, stack)
            met = target.meet(goal, encode, fit.between(progress, done, done + share))
            for i, result in zip(members, met, strict=True):
                results[i] = result
            done += share
            continue
        started = perf_counter()
        ranking = run.rank_points(stack)
        ranked = (perf_counter() - started) / len(members)
        trials = []
        for k in range(run.trials):
            report = fit.between(progress, done + share * k / run.trials, done + share * (k + 1) / run.trials)
            trials.append(run.run(stack, shape, ranking[:, k], report))
        for i, coded in zip(members, zip(*trials, strict=True), strict=True):
            seconds = ranked + sum(one.fit_seconds for one in coded)
            every = [_finish(pictures[i], prior, seed, threads, verify, one, seconds) for one in coded]
            results[i] = min(every, key=lambda result: result.lagrangian(pictures[i], beta))
        done += share
    return results


@dataclass(frozen=True)
class _Encode:
    """Encoding of pictures of one shape at given points and classes, as target.py needs it."""

    prior: Prior
    beta: float
    seed: int
    threads: int
    verify: bool
    options: dict
    pictures: Sequence[np.ndarray]
    stack: "torch.Tensor"  # (P, H, W, 1 or 3)

    def run(self, **changed) -> "Fit":
        from .fit import Fit

        return Fit(self.prior, self.beta, self.seed, **self.options | changed)

    def file_size(self, point: int, classes: np.ndarray) -> int:
        """Bytes of the file of a picture with these classes: (Rt, Ct)."""
        level = self.prior.level(point, self.stack.shape[-1] == 1)
        blocks = blocks_of(classes[None], self.prior.architecture)[0]
        lengths = level.stream_bits(self.prior.architecture, blocks.reshape(-1, *blocks.shape[2:]))
        bits = len(write_classes(classes, level)) + int(lengths.sum())
        return len(_file(self.prior, self.pictures[0].shape, self.seed, point, level.index_bits, bytes(-(-bits // 8))))

    def __call__(self, run: "Fit", jobs: Sequence[tuple[int, int, np.ndarray]], progress) -> list[Encoded]:
        """Encode (picture, point, classes)."""
        members = [i for i, _, _ in jobs]
        shape, points, classes = self.pictures[0].shape, np.array([j[1] for j in jobs]), [j[2] for j in jobs]
        coded = run.run(self.stack[members], shape, points, progress, classes)
        return [
            _finish(self.pictures[i], self.prior, self.seed, self.threads, self.verify, one, one.fit_seconds)
            for i, one in zip(members, coded, strict=True)
        ]


def _finish(picture, prior, seed, threads, verify, coded, seconds) -> Encoded:
    """File of one picture, decoded by the real decoder if it is to be verified."""
    data, pixels = assemble(prior, picture.shape, seed, coded), coded.pixels
    if verify:
        pixels = decode_array(data, prior, threads, max_pixels=None)
        off = np.abs(pixels.astype(np.int16) - coded.pixels).max()
        if off > SLIP:
            raise FormatError(f"verification failed: a pixel of the decoded file is off by {off} steps of 255")
    quality = psnr(picture, pixels), coded.point, coded.ideal_bits, psnr(picture, coded.sampled)
    return Encoded(data, pixels, *quality, seconds, coded.fitted)


def assemble(prior: Prior, shape, seed: int, coded) -> bytes:
    """File from the parts of one picture."""
    payload = np.packbits(np.concatenate([write_classes(coded.classes, prior.level(coded.point)), *coded.streams]))
    return _file(prior, shape, seed, coded.point, coded.index_bits, payload.tobytes())


def _file(prior, shape, seed, point, index_bits, payload) -> bytes:
    custom = prior.digest[:4] if prior.number == CUSTOM else b""
    header = Header(prior.number, point, index_bits, shape[1], shape[0], seed, custom, len(shape) == 2)
    return bitstream.write(header, prior.architecture.tile, payload, prior.digest)
