"""encode(pictures) -> bytes and decode(bytes) -> picture: the only place that knows the order of steps.

Decoding uses numpy alone; torch is imported when something is encoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import bitstream, candidates
from . import prior as priors
from .bitstream import CUSTOM, Header
from .errors import FormatError
from .image import psnr, to_uint8
from .inr import NumpyOps, forward
from .prior import Level, Prior

EXACT_PIXELS = 128 * 128  # pictures up to this size are decoded in double precision throughout
CHUNK = 16  # tiles a forward pass takes at once


@dataclass(frozen=True)
class Contents:
    """A parsed file: everything but the pixels."""

    header: Header
    prior: Prior
    level: Level
    classes: np.ndarray  # (T,) class of each tile
    bits: np.ndarray  # payload bits, uint8 of 0 and 1, class numbers left out
    header_bytes: int


def tile_grid(width: int, height: int, tile: int) -> tuple[int, int]:
    """Rows and columns of tiles."""
    return -(-height // tile), -(-width // tile)


def parse(data: bytes, prior: Prior | None = None) -> Contents:
    """Header, prior, classes and payload bits of a file; nothing larger than the file is allocated."""

    def tile_of(number, prior_hash):
        return priors.by_number(number, prior_hash, prior).architecture.tile

    header, start = bitstream.read(data, tile_of)
    found = priors.by_number(header.prior, header.prior_hash, prior)
    level = found.level(header.point)
    payload = bitstream.payload(data, start, found.digest)
    rows, columns = tile_grid(header.width, header.height, found.architecture.tile)
    tiles, side = rows * columns, level.class_bits
    each = side + int(level.bits.min())
    if not each or (not level.chained and header.index_bits != level.index_bits):
        raise FormatError(f"prior {found.name} cannot have made this file")
    least = tiles * each
    if least > 8 * len(payload):
        raise FormatError(f"truncated: {tiles} tiles need at least {-(-least // 8)} bytes, {len(payload)} found")
    bits = np.unpackbits(np.frombuffer(payload, np.uint8))
    classes = bits[: tiles * side].reshape(tiles, side) @ (1 << np.arange(side)[::-1])
    if tiles and classes.max(initial=0) >= len(level.kl):
        raise FormatError("a tile names a class that its prior does not have")
    used = tiles * side + int(level.bits[classes].sum())
    if -(-used // 8) != len(payload) or bits[used:].any():
        raise FormatError(f"payload of {len(payload)} bytes where {-(-used // 8)} are expected")
    return Contents(header, found, level, classes, bits[tiles * side : used], start + bitstream.CHECKSUM.size)


def sample_latents(contents: Contents) -> np.ndarray:
    """The coded sample of all tiles' latents: (T, D) float64."""
    level, classes, header = contents.level, contents.classes, contents.header
    size = contents.prior.architecture.latents
    latents = np.tile(level.mean.astype(np.float64), (len(classes), 1))
    lengths = level.bits[classes]
    starts = np.cumsum(lengths) - lengths
    for c in np.unique(classes):
        tiles = np.flatnonzero(classes == c)
        coded, dims, widths = level.partition(c)
        if not len(coded):
            continue
        stream = contents.bits[starts[tiles][:, None] + np.arange(lengths[tiles[0]])]  # (t, bits)
        indices = read_indices(stream, widths, header.index_bits)  # (t, G)
        groups = np.tile(np.arange(len(dims)), len(tiles))
        eps = candidates.candidates_at(header.seed, groups, indices.reshape(-1), np.tile(dims, len(tiles)))
        signed = candidates.signs(header.seed, tiles, size)[:, coded] * eps.reshape(len(tiles), -1)
        latents[tiles[:, None], coded] += level.scale_of(c)[coded].astype(np.float64) * signed
    return latents


def read_indices(stream: np.ndarray, widths: np.ndarray, index_bits: int) -> np.ndarray:
    """Index of every group, the last L bits of the stream up to its end: (t, bits), (G,) -> (t, G) int64."""
    padded = np.pad(stream, ((0, 0), (index_bits, 0)))
    ends = np.cumsum(widths)
    value = np.zeros((len(stream), len(widths)), np.int64)
    for k in range(index_bits):
        value = value << 1 | padded[:, ends + k]
    return value


def decode_array(data: bytes, prior: Prior | None = None, threads: int = 0) -> np.ndarray:
    """File to (H, W, 3) uint8. Raises FormatError on anything that is not a whole, undamaged file."""
    contents = parse(data, prior)
    header, level, architecture = contents.header, contents.level, contents.prior.architecture
    latents = sample_latents(contents)
    ops = NumpyOps(np.float64 if header.width * header.height <= EXACT_PIXELS else np.float32)
    shared = {name: value.astype(ops.dtype) for name, value in level.shared.items()}

    def render(start):
        part = slice(start, start + CHUNK)
        return to_uint8(forward(architecture, latents[part], shared, contents.classes[part], ops))

    starts = range(0, len(latents), CHUNK)
    if len(starts) == 1 or threads == 1:
        parts = [render(start) for start in starts]
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(threads or None) as pool:
            parts = list(pool.map(render, starts))
    tiles = np.concatenate(parts)
    return join_tiles(tiles, header.width, header.height)


def split_tiles(picture: np.ndarray, tile: int) -> np.ndarray:
    """(H, W, 3) -> (T, tile, tile, 3), edges repeated at right and bottom."""
    height, width = picture.shape[:2]
    rows, columns = tile_grid(width, height, tile)
    padded = np.pad(picture, ((0, rows * tile - height), (0, columns * tile - width), (0, 0)), mode="edge")
    return padded.reshape(rows, tile, columns, tile, 3).swapaxes(1, 2).reshape(-1, tile, tile, 3)


def join_tiles(tiles: np.ndarray, width: int, height: int) -> np.ndarray:
    """Inverse of `split_tiles`."""
    tile = tiles.shape[1]
    rows, columns = tile_grid(width, height, tile)
    whole = tiles.reshape(rows, columns, tile, tile, 3).swapaxes(1, 2).reshape(rows * tile, columns * tile, 3)
    return np.ascontiguousarray(whole[:height, :width])


@dataclass(frozen=True)
class Encoded:
    """One encoded picture and what its decoder will show."""

    data: bytes
    pixels: np.ndarray  # (H, W, 3) uint8, decoded
    psnr: float  # dB, of the decoded 8-bit pixels
    point: int
    ideal_bits: float  # KL of the fitted posteriors, in bits
    sampled_psnr: float  # dB, of one sample of the fitted posteriors before coding

    @property
    def bpp(self) -> float:
        return 8 * len(self.data) / (self.pixels.shape[0] * self.pixels.shape[1])

    def lagrangian(self, picture: np.ndarray, beta: float) -> float:
        """Squared error, summed over pixels and averaged over channels, + beta ln 2 bits."""
        error = ((picture.astype(np.float64) - self.pixels) ** 2).sum() / (3 * 255**2)
        return error + beta * np.log(2) * 8 * len(self.data)


def encode_arrays(
    pictures: Sequence[np.ndarray], beta: float, prior: Prior, seed: int = 0, threads: int = 0, **options
) -> list[Encoded]:
    """Encode (H, W, 3) uint8 pictures together: their tiles share every matrix product. Options: see `fit.Fit`."""
    from . import fit  # torch

    fit.use_threads(threads)
    tiles = [split_tiles(picture, prior.architecture.tile) for picture in pictures]
    owner = np.repeat(np.arange(len(pictures)), [len(t) for t in tiles])
    number = np.concatenate([np.arange(len(t)) for t in tiles])
    everything = np.concatenate(tiles)
    run = fit.Fit(prior, beta, seed, **options)
    ranking, classes = run.rank_points(everything, owner)
    trials = [run.run(everything, owner, number, ranking[:, k], classes, k) for k in range(run.trials)]

    def finish(i, picture):
        mine = np.flatnonzero(owner == i)
        every = [_finish(picture, prior, seed, threads, coded, i, mine) for coded in trials]
        return min(every, key=lambda result: result.lagrangian(picture, beta))

    return [finish(i, picture) for i, picture in enumerate(pictures)]


def _finish(picture, prior, seed, threads, coded, i, tiles) -> Encoded:
    """File of one picture, decoded by the real decoder."""
    data = assemble(prior, picture.shape, seed, coded, tiles)
    decoded = decode_array(data, prior, threads)
    sampled = join_tiles(coded.sampled[tiles], picture.shape[1], picture.shape[0])
    bits = float(coded.ideal_bits[tiles].sum())
    return Encoded(data, decoded, psnr(picture, decoded), int(coded.points[i]), bits, psnr(picture, sampled))


def assemble(prior: Prior, shape, seed: int, coded, tiles: np.ndarray) -> bytes:
    """File from the coded tiles of one picture."""
    point = int(coded.points_of_tiles[tiles[0]])
    level = prior.level(point)
    classes = (coded.classes[tiles][:, None] >> np.arange(level.class_bits)[::-1]) & 1
    payload = np.packbits(np.concatenate([classes.astype(np.uint8).reshape(-1), *(coded.bits[t] for t in tiles)]))
    custom = prior.digest[:4] if prior.number == CUSTOM else b""
    header = Header(prior.number, point, coded.index_bits, shape[1], shape[0], seed, custom)
    return bitstream.write(header, prior.architecture.tile, payload.tobytes(), prior.digest)
