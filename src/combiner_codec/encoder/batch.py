"""Pictures of one shape on their way to files: choose, code, write, verify. Needs torch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain, product
from time import perf_counter

import numpy as np
import torch

from .. import decoder
from ..errors import FormatError
from ..format import classmap, header
from ..format.header import ONE_COLOUR, Header
from ..format.prior import OperatingPoint, Prior
from ..picture.image import largest_difference, png_bytes, psnr, squared_error
from ..synthesis.architecture import blocks_of, counts
from ..synthesis.bands import Band, bands
from .choose.chooser import Chooser
from .code.code import Canvas, Coded, code
from .fit.descent import PIXELS
from .fit.modulation import worth
from .fit.posterior import noise_variance
from .fit.saved import Fitted
from .settings import Effort, Progress, Settings, between, resolve_device

POOR = 10  # times the error of three coded latents a pixel, beta / 2 each: what deserves a warning
SLIP = 3  # steps that a decoder may be off what the encoder, in single precision, expects it to show


@dataclass(frozen=True)
class Encoded:
    """One encoded picture and what its decoder will show."""

    data: bytes  # the file
    pixels: np.ndarray  # uint8, of the picture's shape, decoded; as the encoder expects them if not verified
    psnr: float  # dB, of these 8-bit pixels
    point: int  # number of the colour's operating point, or ONE_COLOUR
    ideal_bits: float  # KL of the fitted posteriors, in bits
    sampled_psnr: float  # dB, of one sample of the fitted posteriors before coding
    posterior_seconds: float  # its share of choosing operating points and classes and of fitting, all trials
    fitted: Fitted | None  # the colour's posterior before coding, where it was asked for and there is one

    @property
    def bpp(self) -> float:
        """Bits per pixel of the file."""
        return 8 * len(self.data) / (self.pixels.shape[0] * self.pixels.shape[1])

    def warnings(self, picture: np.ndarray, beta: float | None, prior: Prior) -> list[str]:
        """What speaks against coding the picture like this, a line each; beta: None where a goal was set instead."""
        if self.point == ONE_COLOUR:
            return []
        lines, wanted = [], max(beta or prior.betas[self.point], min(prior.betas))
        if len(self.data) > (png := png_bytes(picture)):
            lines.append(f"{len(self.data)} bytes are more than the {png} of its PNG")
        if 10 ** (-self.psnr / 10) > POOR * noise_variance(wanted):
            lines.append(f"only {self.psnr:.1f} dB: the prior {prior.name} knows no such pictures")
        return lines

    def lagrangian(self, picture: np.ndarray, beta: float) -> float:
        """Squared error, summed over pixels and averaged over channels, + beta ln 2 bits."""
        error = squared_error(picture, self.pixels) / 255**2 / (1 if picture.ndim == 2 else 3)
        return error + beta * np.log(2) * 8 * len(self.data)


@dataclass(frozen=True)
class Batch:
    """Pictures of one shape, and how they are encoded."""

    prior: Prior
    settings: Settings
    pictures: Sequence[np.ndarray]  # (H, W) or (H, W, 3) uint8 each

    @cached_property
    def stack(self) -> torch.Tensor:
        """All of them in [0, 1], as whole tiles: (P, H, W, 1 or 3)."""
        return self.rows(range(len(self.pictures)), range(self.shape[0]))

    def rows(self, members: Iterable[int], rows: range) -> torch.Tensor:
        """Some rows of pixels of some pictures in [0, 1], as whole tiles: (n, h, W, 1 or 3)."""
        tile, rows = self.prior.architecture.tile, slice(rows.start, rows.stop)
        return as_pixels(np.stack([whole_tiles(self.pictures[i][rows], tile) for i in members]))

    @cached_property
    def bands(self) -> list[Band]:
        """In which every picture is encoded."""
        return bands(self.prior.architecture, *self.shape[:2])

    @property
    def shape(self) -> tuple[int, ...]:
        return self.pictures[0].shape

    @property
    def pixels(self) -> int:
        """Of one picture."""
        return self.shape[0] * self.shape[1]

    @cached_property
    def chooser(self) -> Chooser:
        """Of operating points and classes."""
        one = self.settings.point
        points = tuple(range(len(self.prior.betas))) if one is None else (one,)
        return Chooser(self.prior, self.settings.beta, points, min(self.settings.plan.trials, len(points)))

    def point(self, number: int) -> OperatingPoint:
        """An operating point for these pictures."""
        return self.prior.operating_point(number, grey=len(self.shape) == 2)

    def with_effort(self, effort: "str | Effort") -> "Batch":
        """The same pictures, encoded otherwise."""
        return replace(self, settings=replace(self.settings, effort=effort))

    def best(self, progress: Progress) -> list[Encoded]:
        """Every picture at the best of the operating points that are likeliest for beta."""
        started, trials = perf_counter(), self.chooser.trials
        ranking = self.chooser.rank(len(self.pictures), self.cost)
        seconds = (perf_counter() - started) / len(self.pictures)
        members = np.tile(np.arange(len(self.pictures)), trials)
        coded, results = self.code(members, ranking.T.reshape(-1), progress, rounds=trials), []
        for i in range(len(self.pictures)):
            own = coded[i :: len(self.pictures)]
            spent = seconds + sum(one.seconds for one in own)
            every = [self.finish(i, one, spent) for one in own]
            results.append(min(every, key=lambda result: result.lagrangian(self.pictures[i], self.settings.beta)))
        return results

    def cost(self, number: int, members: np.ndarray) -> np.ndarray:
        """Lagrangians of some pictures at an operating point, as `Chooser.total_cost` has them: (n,)."""
        own = (self.rows(members, band.own_rows(self.prior.architecture)) for band in self.bands)
        return sum(self.chooser.total_cost(self.point(number), pixels) for pixels in own)

    def classes(self, number: int, members: Sequence[int]) -> np.ndarray:
        """Classes of the tiles of some pictures at an operating point: (n, Rt, Ct)."""
        found, side = [], self.prior.architecture.side
        for band in self.bands:
            own = self.chooser.classes(self.point(number), self.rows(members, band.rows))
            found.append(own[:, band.coded.start * side : band.coded.stop * side])
        return np.concatenate(found, 1)

    def code(
        self, members: Sequence[int], points: np.ndarray, progress: Progress, classes=None, rounds: int = 1
    ) -> list[Coded]:
        """Some pictures at their operating points (n,); classes: (Rt, Ct) of each, chosen by beta if None; rounds:
        parts of them that share no canvas.
        """
        coded, done = [None] * len(members), 0
        for parts in together(points.reshape(rounds, -1), self.share, self.pixels):
            started, count = perf_counter(), sum(map(len, parts))
            canvases = [
                self.canvas(int(points[part[0]]), [members[i] for i in part], classes and [classes[i] for i in part])
                for part in parts
            ]
            chosen = (perf_counter() - started) / count
            share = between(progress, done / len(members), (done + count) / len(members))
            found = code(canvases, self.settings, share)
            for i, one in zip(np.concatenate(parts), chain.from_iterable(found), strict=True):
                coded[i] = replace(one, seconds=one.seconds + chosen)
            done += count
        return coded

    def share(self, number: int) -> int:
        """Pictures that may share a canvas at an operating point: with modulations each has a network of its own."""
        return max(1, PIXELS // self.pixels) if self.point(number).modulation_kl(self.pixels) is None else 1

    def canvas(self, number: int, members: Sequence[int], classes=None) -> Canvas:
        """Some pictures at an operating point; classes: (Rt, Ct) of each, chosen by beta if None."""
        own = self.classes(number, members) if classes is None else np.stack(classes)
        on = resolve_device(self.settings.device)
        return Canvas(self.prior, number, self.shape, own, self.bands, partial(self.rows, members), on)

    def finish(self, i: int, coded: Coded, seconds: float) -> Encoded:
        """File of one picture, decoded by the real decoder if it is to be verified. Raises FormatError if that shows
        another picture.
        """
        picture, whole = self.pictures[i], coded.whole
        pixels = whole.pixels
        point = self.prior.operating_point(coded.number)
        flag = [] if point.modulation_kl(self.pixels) is None else [len(coded.modulation) > 0]
        parts = np.array(flag, np.uint8), write_classes(coded.classes, point), coded.modulation
        bits = np.concatenate([*parts, *whole.streams])
        data = self.file(coded.number, coded.index_bits, np.packbits(bits).tobytes())
        if self.settings.verify:
            pixels = decoder.decode_array(data, self.prior, self.settings.threads, max_pixels=None)
            off = largest_difference(pixels, whole.pixels)
            if off > SLIP:
                raise FormatError(f"verification failed: a pixel of the decoded file is off by {off} steps of 255")
        quality = psnr(picture, pixels), coded.number, coded.ideal_bits, psnr(picture, whole.sampled)
        return Encoded(data, pixels, *quality, seconds, whole.fitted)

    def file(self, number: int, index_bits: int, payload: bytes) -> bytes:
        """Header, payload and checksum of one picture."""
        prior, (height, width) = self.prior, self.shape[:2]
        channels = header.GREY if len(self.shape) == 2 else header.RGB
        head = Header(prior.number, number, index_bits, width, height, self.settings.seed, prior.header_hash, channels)
        return header.write(head, prior.architecture.block, payload, prior.digest)

    @property
    def empty(self) -> int:
        """Bytes of a file without a payload."""
        return len(self.file(0, self.settings.index_bits(self.point(0)), b""))

    def file_size(self, number: int, classes: np.ndarray) -> int:
        """Bytes of the file of a picture with these classes: (Rt, Ct)."""
        point, architecture = self.point(number), self.prior.architecture
        streams = int(point.stream_lengths(blocks_of(classes[None], architecture)).sum())
        bits = len(write_classes(classes, point)) + streams
        if (kl_index := point.modulation_kl(self.pixels)) is not None:
            bits += 1 + worth(point, self.pixels, streams) * point.length_of(kl_index)
        return len(self.file(number, point.index_bits, bytes(-(-bits // 8))))


def together(points: np.ndarray, share: Callable[[int], int], pixels: int) -> Iterator[list[np.ndarray]]:
    """Which pictures, of so many pixels each, are coded at once: arrays of their numbers, one for each canvas. That
    takes as many pictures of a point as `share` says. points: (rounds, n), those of a round share canvases.
    """
    parts, size = [], 0
    for round, number in product(range(len(points)), np.unique(points)):
        same, each = np.flatnonzero(points[round] == number) + round * points.shape[1], share(int(number))
        for part in np.split(same, range(each, len(same), each)) if len(same) else ():
            size += len(part) * pixels
            if parts and size > PIXELS:
                yield parts
                parts, size = [], len(part) * pixels
            parts.append(part)
    if parts:
        yield parts


def write_classes(classes: np.ndarray, point: OperatingPoint) -> np.ndarray:
    """Bits of all tiles' classes, the inverse of `decoder.read_classes`: (Rt, Ct) -> uint8 of 0 and 1."""
    return classmap.encode(classes.astype(np.uint8), point.contexts, point.single)


def whole_tiles(picture: np.ndarray, tile: int) -> np.ndarray:
    """(H, W) or (H, W, 3) with edges repeated at right and bottom up to whole tiles."""
    height, width = picture.shape[:2]
    rows, columns = counts(width, height, tile)
    missing = ((0, rows * tile - height), (0, columns * tile - width), (0, 0))
    return np.pad(picture, missing[: picture.ndim], mode="edge")


def as_pixels(pictures: np.ndarray) -> torch.Tensor:
    """uint8 (P, H, W) or (P, H, W, 3) to float32 in [0, 1], (P, H, W, 1 or 3)."""
    return torch.from_numpy(pictures.reshape(*pictures.shape[:3], -1)).float() / 255
