"""A file to pixels, in FORMAT.md's order: header, planes, latents, pixels. numpy only.

bytes -> Header -> planes (format/plane.py) -> candidates -> latents, section by section -> field -> pixels
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np

from .errors import FormatError
from .format import candidates, header, streams
from .format import plane as planes
from .format import prior as priors
from .format.header import GREY_AS_RGB, MAX_PIXELS, NO_PRIOR, POINTS, Header
from .format.operating_point import UNMODULATED_PIXELS
from .format.plane import AnyPlane, BitReader, Decoded, ExactPlane, InrPlane, OneColour, Section
from .format.prior import Prior
from .picture.planes import join, layered, sharpened
from .picture.rounding import to_uint8
from .synthesis.bands import Band, bands
from .synthesis.latents import latent
from .synthesis.network import Network
from .synthesis.numpy_ops import NumpyOps
from .synthesis.rectangle import Rectangle, cut

EXACT_PIXELS = UNMODULATED_PIXELS  # pictures up to this size are decoded in double precision throughout
CHUNK = 16  # blocks whose latents are decoded at once
SMALLEST_PART = 2**16  # pixels that the network computes at once: one part for each thread, within these
LARGEST_PART = 2**18
WIDEST_PART = 2**12  # columns of wide pictures' parts, at most: lower strips would be computed twice for the most part
T = TypeVar("T")


@dataclass(frozen=True)
class Contents:
    """A parsed file: everything but the pixels."""

    header: Header
    prior: Prior | None  # None where the file needs none
    header_bytes: int  # checksum included
    colour: AnyPlane
    alpha: AnyPlane | None = None
    layer: ExactPlane | None = None  # over the colour

    @property
    def exact(self) -> bool:
        """Whether another format has some of the pixels."""
        return self.layer is not None or isinstance(self.colour, ExactPlane) or isinstance(self.alpha, ExactPlane)

    @property
    def kind(self) -> str:
        """How the colour is stored, in words."""
        if isinstance(self.colour, ExactPlane):
            return f"{self.colour.format} inside"
        below = "one colour" if isinstance(self.colour, OneColour) else "INR"
        return f"{below} under {self.layer.format}" if self.layer else below

    def facts(self, size: int) -> dict[str, Any]:
        """What `combiner info` tells of a file of so many bytes."""
        colour = self.colour
        inr = colour if isinstance(colour, InrPlane) else None
        payload_bits = {"colour": colour.length}
        if self.alpha:
            payload_bits["alpha"] = self.alpha.length
        if self.layer:
            payload_bits["layer"] = self.layer.length
        return {
            "width": self.header.width,
            "height": self.header.height,
            "colour": self.header.colour,
            "bytes": size,
            "bpp": round(8 * size / (self.header.width * self.header.height), 4),
            "kind": self.kind,
            "prior": self.prior.name if self.prior else None,
            "operating_point": self.header.point if inr else None,
            "beta": inr.point.beta if inr else None,
            "seed": self.header.seed,
            "index_bits": self.header.index_bits,
            "tiles": inr.classes.size if inr else 0,
            "blocks": len(inr.blocks.lengths) if inr else 0,
            "groups": inr.blocks.length // inr.point.group_bits if inr else 0,
            "payload_bits": payload_bits,
            "header_bytes": self.header_bytes,
            "colour_axes": self.header.axes,
            "multiplies_per_pixel": self.prior.architecture.multiplies if self.prior else 0,
        }


def parse(data: bytes, prior: Prior | None = None, max_pixels: int | None = MAX_PIXELS) -> Contents:
    """Header, prior, classes and streams of a file; nothing much larger than the file is allocated.

    prior: the custom prior that the file may have been made with. max_pixels: larger pictures are refused, counted in
    whole tiles; None or 0 is no limit. Raises FormatError on anything that is not a whole, undamaged file.
    """
    head, start = header.read(data)
    header.check_pixels(head.width, head.height, max_pixels)  # as far as the file says, before its prior is looked for
    found = None
    digest = b""
    if head.prior != NO_PRIOR:
        found = priors.by_number(head.prior, head.prior_hash, prior)
        digest = found.digest
        head = head.sized(found.architecture.block)
        header.check_pixels(head.width, head.height, max_pixels)
        check_tiles(head, found.architecture.tile, max_pixels)
    payload = header.payload(data, start, digest)  # before anything of the prior is unpacked
    bits = BitReader(np.unpackbits(np.frombuffer(payload, np.uint8)))
    colour = planes.read(bits, head, found)
    alpha = None
    layer = None
    if head.layer:
        layer = ExactPlane.code(bits, head.of_layer, found)
    elif head.alpha is not None and not head.alpha_inside:
        alpha = planes.read(bits, head.of_alpha, found)
    used = -(-bits.position // 8)
    if used != len(payload) or bits.left.any():
        raise FormatError(f"payload of {len(payload)} bytes where {used} are expected")
    return Contents(head, found, len(data) - len(payload), colour, alpha, layer)


def check_tiles(head: Header, tile: int, max_pixels: int | None) -> None:
    """Raises FormatError for a picture of more pixels than a limit in whole tiles, which is what it takes to decode."""
    has_tiles = head.point < POINTS or (head.alpha is not None and head.alpha < POINTS)
    if not has_tiles:
        return
    planes.check_whole_tiles(head.width, head.height, tile, max_pixels)


def decode_array(
    data: bytes, prior: Prior | None = None, threads: int = 0, max_pixels: int | None = MAX_PIXELS
) -> np.ndarray:
    """File to uint8: (H, W) where it is grey, else (H, W, 3); with alpha (H, W, 2) or (H, W, 4).

    threads: of the processor, 0 takes all. Raises FormatError on anything that is not a whole, undamaged file, and on
    pictures of more than `max_pixels`.
    """
    return decode_contents(parse(data, prior, max_pixels), threads)


def decode_contents(contents: Contents, threads: int) -> np.ndarray:
    """A parsed file to uint8, as `decode_array`."""
    if isinstance(contents.colour, ExactPlane):
        return decode_exact(contents.colour, contents.header.mode)
    layer = decode_layer(contents.layer) if contents.layer else None  # first: it may be damaged
    alpha = decode_plane(contents.alpha, threads) if contents.alpha else None
    colour = decode_plane(contents.colour, threads)
    shown = joined(contents.header, colour, alpha)
    return shown if layer is None else layered(shown, layer)


def decode_strips(contents: Contents, threads: int) -> Iterator[np.ndarray] | None:
    """The same a few rows at a time, from top to bottom: what each band settles of a large picture.

    None where there are no several bands of whole rows: of a small or a very wide picture, or one without an INR; and
    where there is a layer.
    """
    if contents.layer:
        return None
    strips = []
    for plane in (contents.colour, contents.alpha):
        if plane is None:
            continue
        if not isinstance(plane, InrPlane) or not in_rows(plane):
            return None
        strips.append(inr_strips(plane, threads))
    return (joined(contents.header, *of_planes) for of_planes in zip(*strips, strict=True))


def joined(head: Header, colour: np.ndarray, alpha: np.ndarray | None = None) -> np.ndarray:
    """Rows of a picture from those of its planes."""
    if alpha is not None:
        alpha = sharpened(alpha, head.sharpness)
    return join(colour, alpha, rgb=head.channels == GREY_AS_RGB)


def decode_layer(plane: ExactPlane) -> np.ndarray:
    """The picture of a layer, (H, W, 2) or (H, W, 4) uint8. Raises FormatError for one that is damaged or half seen."""
    layer = decode_exact(plane, plane.header.mode)
    alpha = layer[..., -1]
    if ((alpha > 0) & (alpha < 255)).any():
        raise FormatError("a layer is half transparent")
    return layer


def decode_exact(plane: ExactPlane, mode: str) -> np.ndarray:
    """The picture of an exact plane, L, LA, RGB or RGBA: uint8. Needs Pillow. Raises FormatError for a damaged one."""
    from .picture import exact

    return exact.decoded(plane.codec, plane.content, plane.header.width, plane.header.height, mode)


def decode_plane(plane: AnyPlane, threads: int) -> np.ndarray:
    """Pixels of colour or alpha: (H, W) where one channel is coded, else (H, W, 3) uint8."""
    if isinstance(plane, ExactPlane):
        return decode_exact(plane, "L")
    shape = (plane.header.height, plane.header.width, 1 if plane.header.grey else 3)
    pixels = np.empty(shape, np.uint8)
    if isinstance(plane, OneColour):
        pixels[:] = np.frombuffer(plane.value, np.uint8)
    else:
        decode_inr(plane, threads or processors(), pixels)
    return pixels[..., 0] if plane.header.grey else pixels


def decode_inr(plane: InrPlane, threads: int, pixels: np.ndarray) -> None:
    """Fill in the pixels of an INR: (H, W, 1 or 3) uint8."""
    decoded, network = shared_parts(plane)
    for band in bands_of(plane):
        decode_band(plane, decoded, band, network, threads, pixels[band.settled.slices])


def inr_strips(plane: InrPlane, threads: int) -> Iterator[np.ndarray]:
    """Rows of an INR whose bands are of whole rows: (h, W) or (h, W, 3) uint8."""
    decoded, network = shared_parts(plane)
    channels = 1 if plane.header.grey else 3
    for band in bands_of(plane):
        rows = np.empty((*band.settled.shape, channels), np.uint8)
        decode_band(plane, decoded, band, network, threads or processors(), rows)
        yield rows[..., 0] if plane.header.grey else rows


def bands_of(plane: InrPlane) -> list[Band]:
    """The bands that an INR is decoded in."""
    return bands(plane.architecture, plane.header.height, plane.header.width)


def in_rows(plane: InrPlane) -> bool:
    """Whether an INR has several bands, of whole rows."""
    first, *others = bands_of(plane)
    return bool(others) and len(first.settled.columns) == plane.header.width


def shared_parts(plane: InrPlane) -> tuple[Decoded, Network]:
    """What all bands of an INR share."""
    dtype = precision(plane)
    decoded = Decoded(plane.shared)
    for section, stream in zip(plane.sections, plane.streams, strict=True):
        latents = partial(sample, plane.header, section, stream, np.float64 if section.few else dtype)
        decoded = section.commit(decoded, latents)
    if plane.modulated or plane.header.axes:
        shared = {name: value.astype(dtype) for name, value in decoded.shared.items()}
    else:
        shared = plane.point.shared_in(dtype)
    network = Network(
        plane.architecture,
        shared,
        plane.classes[None],
        NumpyOps(dtype),
        plane.header.grey,
        single=plane.point.single,
        completes=plane.completes,
    )
    return decoded, network


def precision(plane: InrPlane) -> type:
    """In which an INR is computed."""
    return np.float64 if plane.pixels <= EXACT_PIXELS else np.float32


def sample(head: Header, section: Section, stream: np.ndarray, dtype: type, blocks: slice) -> np.ndarray:
    """The coded sample of some blocks' latents: (b, D).

    stream: bits of the section, uint8 of 0 and 1.
    """
    number = np.arange(len(section.lengths))[blocks]
    lengths = section.lengths[blocks]
    latents: np.ndarray = np.tile(section.mean.astype(dtype), (len(number), 1))
    if not lengths.any():
        return latents
    end = int(section.lengths[: number[-1] + 1].sum())
    of_blocks = stream[end - int(lengths.sum()) : end]
    kl_index = section.kl_index(blocks)
    parts = section.point.partition(kl_index)
    indices = streams.read_indices(of_blocks, parts.counts, section.point.group_bits, head.index_bits)
    eps = candidates.candidates_at(head.seed, candidates.within(parts.counts), indices, parts.dims)
    place = parts.owners, parts.latents
    sign = candidates.signs(head.seed, number, kl_index.shape[1])[place]
    scale = section.scale(kl_index[place], parts.latents).astype(np.float64)
    latents[place] = latent(section.mean[parts.latents], scale, sign, eps)
    return latents


def decode_band(
    plane: InrPlane, decoded: Decoded, band: Band, network: Network, threads: int, pixels: np.ndarray
) -> None:
    """Fill in the pixels that a band settles: (h, w, 1 or 3) uint8."""
    latents = latents_of(decoded, band, network.architecture.latents, precision(plane), threads)
    of_band = network.of_tiles(band.tiles(network.architecture))
    each = partial(parallel, threads=threads)
    half = of_band.down(of_band.complete(latents, each), each)
    del latents  # of large pictures as large as the field
    of_thread = -(-band.visible.size // threads)
    pixels_at_once = min(max(of_thread, SMALLEST_PART), LARGEST_PART)

    def show(part: Rectangle) -> None:
        shown = of_band.show(lambda support: of_band.across(half, support), part)
        pixels[part.within(band.visible).slices] = to_uint8(shown[0])

    list(parallel(show, of_band.parts(pixels_at_once, band.visible, WIDEST_PART), threads))


def latents_of(decoded: Decoded, band: Band, size: int, dtype: type, threads: int) -> np.ndarray:
    """Latents of a band's blocks, `size` of each: (1, Rb, Cb, D)."""
    found: np.ndarray = np.empty((band.around.size, size), dtype)
    chunks: list[range] = []
    for run in band.runs():
        chunks += cut(run, CHUNK)
    ends = np.cumsum([len(chunk) for chunk in chunks]).tolist()

    def fill(numbers: range, end: int) -> None:
        found[end - len(numbers) : end] = decoded.latents(slice(numbers.start, numbers.stop))

    list(parallel(fill, chunks, threads, ends))
    return found.reshape(1, *band.around.shape, size)


@cache
def processors() -> int:
    """Threads that the processor has."""
    return os.cpu_count() or 1


def parallel(work: Callable[..., T], parts: Sequence[Any], threads: int, *others: Sequence[Any]) -> Iterable[T]:
    """Map on threads, in order. others: more arguments of the work, one for each part."""
    if len(parts) == 1 or threads == 1:
        return map(work, parts, *others)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, parts, *others))
