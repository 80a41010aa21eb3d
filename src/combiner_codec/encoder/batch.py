"""Pictures of one shape: their pixels as tensors, what they could cost, and the files that they become. Needs torch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from time import perf_counter

import numpy as np
import torch

from ..errors import FormatError
from ..format import header
from ..format.header import Header
from ..format.plane import count, write
from ..format.prior import OperatingPoint, Prior
from ..picture.image import psnr, psnr_of
from ..synthesis.architecture import counts
from ..synthesis.bands import Band, bands
from ..synthesis.colour_axes import Axes
from ..synthesis.rectangle import Rectangle
from .choose.chooser import Chooser
from .code.pictures import Canvas, CodedPicture, Seen, encode_canvases, header_of, plane_of
from .encoded import Encoded
from .fit.structure import log_contrast
from .fit.subject import MOST_PIXELS
from .looks import seen_error, tile_weights
from .sample import sample_of
from .settings import Effort, Progress, Settings, between, resolve_device
from .threads import ALONE, Threads, one_ahead
from .verification import shown_over

TOLD_APART = (1e-30, 1e30)  # betas between which costs stay finite in single precision
CODED_ON_A_GPU = 2**20  # pixels of pictures that are coded together there; on a processor MOST_PIXELS
LOOKED_AT = 2**10  # pixels along the side of what is looked at together for its contrast
SLIP = 3  # steps that a decoder may be off what the encoder, in single precision, expects it to show


@dataclass(frozen=True)
class Job:
    """A picture of a batch that is to be encoded at an operating point."""

    picture: int  # its number in the batch
    point: int
    classes: np.ndarray | None = None  # (Rt, Ct), chosen by beta if None
    round: int = 0  # jobs of several rounds share no canvas
    seconds: float = 0.0  # that it took to choose it


@dataclass(frozen=True)
class Batch:
    """Pictures of one shape, and how they are encoded."""

    prior: Prior  # made one for files of the settings' index width
    settings: Settings
    pictures: Sequence[np.ndarray]  # (H, W) or (H, W, 3) uint8 each
    threads: Threads = ALONE
    axes: Axes | None = None  # of their colours

    def __post_init__(self):
        index_bits = self.settings.index_bits(self.prior)
        object.__setattr__(self, "prior", self.prior.of_width(index_bits))

    @cached_property
    def stack(self) -> torch.Tensor:
        """All of them in [0, 1], as whole tiles: (P, H, W, 1 or 3)."""
        return self.area(range(len(self.pictures)), Rectangle.of(*self.shape[:2]))

    def area(self, members: Iterable[int], area: Rectangle) -> torch.Tensor:
        """An area of some pictures in [0, 1], as whole tiles: (n, h, w, 1 or 3)."""
        tile = self.prior.architecture.tile
        parts = [whole_tiles(self.pictures[i][area.slices], tile) for i in members]
        return as_pixels(np.stack(parts))

    @cached_property
    def tile_weights(self) -> np.ndarray | None:
        """Of squared error, as the settings' tune has them: (P, Rt, Ct); None where all are 1."""
        if self.settings.tune == "psnr":
            return None
        return np.stack([tile_weights(picture, self.prior.architecture.tile) for picture in self.pictures])

    @cached_property
    def contrast(self) -> torch.Tensor | None:
        """What `structural_error` takes, of every picture: (P, S, L); None where the settings' tune has no need."""
        if self.settings.tune == "psnr":
            return None
        logs = 0
        windows = 0
        for part in Rectangle.of(*self.shape[:2]).cut(LOOKED_AT, LOOKED_AT):
            of_part, count = log_contrast(self.area(range(len(self.pictures)), part))
            logs = logs + of_part
            windows = windows + count
        return torch.exp(logs / windows[:, None])

    def weights(self, members: Iterable[int], area: Rectangle) -> np.ndarray | None:
        """The same of an area of some pictures: (n, rt, ct)."""
        if self.tile_weights is None:
            return None
        tile = self.prior.architecture.tile
        rows = slice(area.rows.start // tile, -(-area.rows.stop // tile))
        columns = slice(area.columns.start // tile, -(-area.columns.stop // tile))
        return self.tile_weights[list(members), rows, columns]

    def cost_of(self, i: int, file: Encoded) -> float:
        """Lagrangian of a file of picture i."""
        if self.tile_weights is None:
            return file.lagrangian(self.pictures[i], self.chooser.beta)
        return self.error_of(i, file) + self.chooser.beta * np.log(2) * 8 * len(file.data)

    def error_of(self, i: int, file: Encoded) -> float:
        """Squared error of a file of picture i, as the settings' tune has it."""
        picture = self.pictures[i]
        if self.tile_weights is None:
            return 10 ** (-file.psnr / 10)
        return seen_error(picture, file.pixels, self.tile_weights[i], self.prior.architecture.tile)

    def sample(self, i: int) -> "Batch | None":
        """A batch of a sample of picture i, where it has several bands and a sample is smaller."""
        if len(self.bands) == 1:
            return None
        squares = sample_of(self.pictures[i])
        return None if squares is None else replace(self, pictures=[squares])

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
        points = tuple(range(len(self.prior.betas)))
        if self.settings.point is not None:
            points = (self.settings.point,)
        trials = min(self.settings.plan.trials, len(points))
        beta = float(np.clip(self.settings.beta, *TOLD_APART))
        return Chooser(self.prior, beta, points, trials, self.threads, self.axes)

    def point(self, number: int) -> OperatingPoint:
        """An operating point for these pictures."""
        return self.prior.operating_point(number, grey=len(self.shape) == 2)

    def with_effort(self, effort: str | Effort) -> "Batch":
        """The same pictures, encoded otherwise."""
        return replace(self, settings=replace(self.settings, effort=effort))

    def likeliest(self) -> list[Job]:
        """Every picture at each of the operating points that are likeliest for beta, the pictures in turns."""
        started = perf_counter()
        ranking = self.chooser.rank(len(self.pictures), self.cost)
        seconds = (perf_counter() - started) / len(self.pictures)
        jobs = []
        for trial in range(self.chooser.trials):
            for i in range(len(self.pictures)):
                jobs.append(Job(i, int(ranking[i, trial]), round=trial, seconds=seconds / self.chooser.trials))
        return jobs

    def best(self, files: Sequence[Encoded]) -> list[Encoded]:
        """The best file of every picture, from those of `likeliest`."""
        results = []
        for i in range(len(self.pictures)):
            tried = files[i :: len(self.pictures)]
            costs = [self.cost_of(i, file) for file in tried]
            seconds = sum(file.posterior_seconds for file in tried)
            results.append(replace(tried[int(np.argmin(costs))], posterior_seconds=seconds))
        return results

    def cost(self, number: int, members: np.ndarray) -> np.ndarray:
        """Lagrangians of some pictures at an operating point, as `Chooser.total_cost` has them: (n,)."""
        total = 0
        for band in self.bands:
            area = band.coded_pixels(self.prior.architecture)
            pixels = self.area(members, area)
            total = total + self.chooser.total_cost(self.point(number), pixels, self.weights(members, area))
        return total

    def tile_costs(self, number: int, i: int) -> np.ndarray:
        """The Lagrangian of picture i at an operating point by tiles: (Rt, Ct)."""
        architecture = self.prior.architecture
        height, width = self.shape[:2]
        found = np.empty(counts(width, height, architecture.tile))
        for band in self.bands:
            of_band = self.chooser.tile_costs(self.point(number), self.area([i], band.pixels))
            tiles = band.coded_tiles(architecture)
            found[tiles.slices] = of_band[0][tiles.within(band.tiles(architecture)).slices]
        return found

    def classes(self, number: int, members: Sequence[int]) -> np.ndarray:
        """Classes of the tiles of some pictures at an operating point: (n, Rt, Ct)."""
        architecture = self.prior.architecture
        height, width = self.shape[:2]
        found = np.empty((len(members), *counts(width, height, architecture.tile)), np.int64)
        for band in self.bands:
            pixels = self.area(members, band.pixels)
            weights = self.weights(members, band.pixels)
            of_band = self.chooser.classes(self.point(number), pixels, weights)
            tiles = band.coded_tiles(architecture)
            rows, columns = tiles.slices
            rows_of_band, columns_of_band = tiles.within(band.tiles(architecture)).slices
            found[:, rows, columns] = of_band[:, rows_of_band, columns_of_band]
        return found

    def encode(self, jobs: Sequence[Job], progress: Progress) -> list[Encoded]:
        """A file for each job. Raises TargetError if a fit diverges, FormatError if a file shows another picture."""
        files: list = [None] * len(jobs)
        done = 0
        on_gpu = resolve_device(self.settings.device).type != "cpu"
        threads = ALONE if on_gpu else self.threads
        with one_ahead(on_gpu) as preparing:
            works = preparing.ahead(partial(self._prepared, jobs), together(jobs, self.share, self.pixels, self.most))
            for parts, canvases, chosen in works:
                size = sum(map(len, parts))
                share = between(progress, done / len(jobs), (done + size) / len(jobs))
                coded = encode_canvases(canvases, self.settings, threads, share)
                for part, pictures in zip(parts, coded, strict=True):
                    for i, picture in zip(part, pictures, strict=True):
                        seconds = jobs[i].seconds + chosen + picture.seconds
                        files[i] = self.finish(jobs[i].picture, replace(picture, seconds=seconds))
                done += size
        return files

    def _prepared(self, jobs: Sequence[Job], parts: list[list[int]]) -> tuple[list[list[int]], list[Canvas], float]:
        """Canvases of some jobs, with these numbers, and the seconds that took for each."""
        started = perf_counter()
        canvases = [self.canvas([jobs[i] for i in part]) for part in parts]
        return parts, canvases, (perf_counter() - started) / sum(map(len, parts))

    @property
    def most(self) -> int:
        """Pixels of pictures that are coded together, at most."""
        on_processor = resolve_device(self.settings.device).type == "cpu"
        return MOST_PIXELS if on_processor else CODED_ON_A_GPU

    def share(self, number: int) -> int:
        """Pictures that may share a canvas at an operating point: with modulations each has a network of its own."""
        if self.point(number).modulation_kl(self.pixels) is not None:
            return 1
        return max(1, self.most // self.pixels)

    def canvas(self, jobs: Sequence[Job]) -> Canvas:
        """Jobs of one operating point, coded together."""
        number = jobs[0].point
        members = [job.picture for job in jobs]
        if jobs[0].classes is None:
            classes = self.classes(number, members)
        else:
            classes = np.stack([job.classes for job in jobs])
        device = resolve_device(self.settings.device)
        pixels = partial(self.area, members)
        seen = None
        if self.tile_weights is not None:
            seen = Seen(partial(self.weights, members), self.contrast[members])
        return Canvas(self.prior, number, self.shape, classes, self.bands, pixels, device, self.axes, seen)

    def finish(self, i: int, coded: CodedPicture) -> Encoded:
        """File of one picture, decoded by the real decoder if it is to be verified. Raises FormatError if that shows
        another picture.
        """
        data = self.file(coded.plane.header, write(coded.plane))
        pixels = coded.pixels
        if self.settings.verify:
            off = shown_over(pixels, data, self.prior, self.settings.threads)
            if off > SLIP:
                raise FormatError(f"verification failed: a pixel of the decoded file is off by {off} steps of 255")
        sampled_psnr = None
        if coded.sampled_error is not None:
            sampled_psnr = psnr_of(coded.sampled_error, pixels.size)
        return Encoded(
            data,
            coded.plane,
            pixels,
            psnr=psnr(self.pictures[i], pixels),
            ideal_bits=coded.ideal_bits,
            sampled_psnr=sampled_psnr,
            posterior_seconds=coded.seconds,
            saved=coded.saved,
        )

    def file(self, head: Header, payload: bytes) -> bytes:
        """Header, payload and checksum of one picture."""
        return header.write(head, self.prior.architecture.block, payload, self.prior.digest)

    @property
    def empty(self) -> int:
        """Bytes of a file without a payload."""
        return len(self.file(header_of(self.prior, 0, self.shape, self.settings, self.axes), b""))

    def file_size(self, number: int, classes: np.ndarray) -> int:
        """Bytes of the file of a picture with these classes: (Rt, Ct)."""
        plane = plane_of(self.prior, number, self.shape, classes, self.settings, self.axes)
        head = replace(plane.header, index_bits=plane.point.index_bits)
        return len(self.file(head, bytes(-(-count(plane) // 8))))


def together(
    jobs: Sequence[Job], share: Callable[[int], int], pixels: int, most: int = MOST_PIXELS
) -> Iterator[list[list[int]]]:
    """Which jobs, of pictures of so many pixels, are coded at once, with so many pixels at most: lists of their
    numbers, one for each canvas. That takes as many pictures of a point as `share` says.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for i, job in enumerate(jobs):
        groups.setdefault((job.round, job.point), []).append(i)
    parts: list[list[int]] = []
    size = 0
    for (_, point), members in sorted(groups.items()):
        each = share(point)
        for start in range(0, len(members), each):
            part = members[start : start + each]
            size += len(part) * pixels
            if parts and size > most:
                yield parts
                parts = []
                size = len(part) * pixels
            parts.append(part)
    if parts:
        yield parts


def whole_tiles(picture: np.ndarray, tile: int) -> np.ndarray:
    """(H, W) or (H, W, 3) with edges repeated at right and bottom up to whole tiles."""
    height, width = picture.shape[:2]
    rows, columns = counts(width, height, tile)
    missing = ((0, rows * tile - height), (0, columns * tile - width), (0, 0))
    return np.pad(picture, missing[: picture.ndim], mode="edge")


def as_pixels(pictures: np.ndarray) -> torch.Tensor:
    """uint8 (P, H, W) or (P, H, W, 3) to float32 in [0, 1], (P, H, W, 1 or 3)."""
    return torch.from_numpy(pictures.reshape(*pictures.shape[:3], -1)).float() / 255
