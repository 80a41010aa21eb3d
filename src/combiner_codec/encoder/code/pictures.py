"""Pictures at given operating points and classes: fitted, then coded section by section. Needs torch.

    start -> fit, with modulations if there are any -> code the modulations -> code a segment, refit the rest, and so on

A large picture goes through this band by band. Shapes: P pictures of a canvas.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...format import classmap
from ...format.header import GREY, RGB, Header
from ...format.plane import Decoded, InrPlane
from ...format.prior import OperatingPoint, Prior
from ...picture.image import squared_error
from ...picture.rounding import to_uint8
from ...synthesis.bands import Band
from ...synthesis.colour_axes import Axes, turned
from ...synthesis.rectangle import Rectangle
from ..fit.descent import Descent
from ..fit.latents import Latents
from ..fit.modulation import ModulationFit, kl_bits, worth
from ..fit.noise import Noise
from ..fit.posterior import Posterior, as_tensor
from ..fit.saved import SavedPosterior
from ..fit.subject import FEWEST_PIXELS, Subject
from ..looks import component_weights
from ..settings import Progress, Settings, between
from ..threads import ALONE, Threads
from .streams import CoderSettings, Draws, Streams, bundles, code_segment, streams

NO_BITS = np.zeros(0, np.uint8)
FITTED = 0.2  # share of the work that is done when the posterior is fitted, about


@dataclass(frozen=True)
class Seen:
    """What error as people see it asks of P pictures."""

    weights_of: Callable[[Rectangle], np.ndarray]  # tiles of an area (looks.py): (P, rt, ct)
    contrast: torch.Tensor  # what `structural_error` takes: (P, S, L)


@dataclass(frozen=True)
class Canvas:
    """What is coded together: P pictures of one shape at one operating point, band by band."""

    prior: Prior
    number: int  # of the operating point
    shape: tuple[int, ...]  # of each picture: (H, W) or (H, W, 3)
    classes: np.ndarray  # (P, Rt, Ct)
    bands: Sequence[Band]
    area_of: Callable[[Rectangle], torch.Tensor]  # an area of all pictures, whole tiles: (P, h, w, 1 or 3)
    device: torch.device  # where they are fitted
    axes: Axes | None = None  # of their colours
    seen: Seen | None = None  # None where squared error counts

    @property
    def point(self) -> OperatingPoint:
        """For colour or for grey pictures."""
        return self.prior.operating_point(self.number, grey=len(self.shape) == 2)

    @property
    def pixels(self) -> int:
        """Of one picture."""
        return self.shape[0] * self.shape[1]

    @property
    def all_pixels(self) -> int:
        """Of all of them."""
        return len(self.classes) * self.pixels

    def planes(self, settings: Settings) -> list[InrPlane]:
        """The pictures' planes, without streams."""
        return [plane_of(self.prior, self.number, self.shape, classes, settings, self.axes) for classes in self.classes]

    def subject(self, band: Band, threads: Threads) -> Subject:
        """What is fitted of one band."""
        rows, columns = band.tiles(self.prior.architecture).slices
        classes = self.classes[:, rows, columns]
        shape = (*band.pixels.shape, *self.shape[2:])
        pixels = self.area_of(band.pixels).to(self.device)
        subject = Subject.of(self.prior, self.point, pixels, shape, classes, band, threads)
        if self.seen is not None:
            components = component_weights(self.prior.architecture, self.point, self.axes)
            weights = self.seen.weights_of(band.pixels)
            subject = subject.with_tile_weights(weights, components).with_structure(self.seen.contrast.to(self.device))
        if self.axes is None:
            return subject
        shared = turned(self.point.shared, self.prior.architecture.colour, self.axes)
        return subject.with_weights({name: as_tensor(value, self.device) for name, value in shared.items()})


@dataclass(frozen=True)
class CodedPicture:
    """One picture as its file has it, and what it costs and shows."""

    plane: InrPlane
    ideal_bits: float  # KL of the fitted posteriors, and the classes, in bits
    sampled_error: float | None  # of one posterior sample, where asked for: squared, summed over samples of 8 bits
    pixels: np.ndarray  # (H, W) or (H, W, 3) uint8, what the decoder should show
    saved: SavedPosterior | None  # the posterior before coding, where it was asked for
    seconds: float  # its share of the time until posteriors were fitted


@dataclass(frozen=True)
class FittedBand:
    """A fitted band before it is coded."""

    descent: Descent
    posterior: Posterior
    noise: Noise
    ideal_bits: np.ndarray  # (P,)
    sampled_errors: list[float]  # P of them, of what it settles; none if not asked for
    saved: list[SavedPosterior | None]

    @property
    def subject(self) -> Subject:
        return self.descent.subject


@dataclass(frozen=True)
class CodedBand:
    """What a band adds to its P pictures; b blocks of each are coded."""

    band: Band
    streams: list[np.ndarray]  # P b of them, picture by picture
    ideal_bits: np.ndarray  # (P,)
    sampled_errors: list[float]  # P of them, of what it settles; none if not asked for
    saved: list[SavedPosterior | None]
    seconds: float

    @property
    def numbers(self) -> np.ndarray:
        """Of its coded blocks in the file: (b,)."""
        return self.band.numbers[self.band.coded.slices].reshape(-1)

    def streams_of(self, picture: int) -> list[np.ndarray]:
        """Streams of one picture's blocks."""
        count = len(self.streams) // len(self.saved)
        first = picture * count
        return self.streams[first : first + count]


def encode_canvases(
    canvases: Sequence[Canvas], settings: Settings, threads: Threads, progress: Progress
) -> list[list[CodedPicture]]:
    """Every picture of every canvas, all of one shape.

    Candidates are drawn once for all; canvases of few pixels are fitted side by side. Raises TargetError if a fit
    diverges.
    """
    side_by_side = all(canvas.all_pixels <= FEWEST_PIXELS for canvas in canvases)
    spread = threads.map if side_by_side else map
    coder = CoderSettings(settings.seed, settings.index_bits(canvases[0].prior), settings.plan.segments)
    works = [CanvasEncoder(canvas, settings, coder, ALONE if side_by_side else threads) for canvas in canvases]
    bands = canvases[0].bands
    pictures = sum(len(canvas.classes) for canvas in canvases)
    for number, band in enumerate(bands):
        started = time.perf_counter()
        fits = list(spread(lambda work, band=band: work.fit(band), works))
        seconds = (time.perf_counter() - started) / pictures
        share = between(progress, number / len(bands), (number + 1) / len(bands))
        coded = code_blocks(fits, settings, coder, threads, spread, share)
        for work, fit, section in zip(works, fits, coded, strict=True):
            work.keep(number, fit, section, seconds)
        del fits, coded  # before the next band's
    return [work.pictures() for work in works]


def code_blocks(
    fits: Sequence[FittedBand],
    settings: Settings,
    coder: CoderSettings,
    threads: Threads,
    spread: Callable,
    progress: Progress,
) -> list[Streams]:
    """Streams of the blocks of fitted bands, segment by segment; between them what is left is fitted again.

    spread: what fits them, as `map`.
    """
    sections = [Streams(bundles(fit.subject.latents, coder), fit.posterior) for fit in fits]
    draws = Draws(coder, fits[0].subject.device)
    progress(FITTED)

    def refitted(work):
        fit, section = work
        _, share = settings.plan.shares(fit.descent.noisy)
        steps = round(fit.descent.steps * share)
        posterior, _ = fit.descent.run(section.posterior, steps, fit.noise)
        return replace(section, posterior=posterior)

    for segment in range(coder.segments):
        sections = code_segment(sections, segment, draws, threads)
        progress(FITTED + (1 - FITTED) * (segment + 1) / coder.segments)
        if segment + 1 < coder.segments:
            sections = list(spread(refitted, zip(fits, sections, strict=True)))
    return sections


class CanvasEncoder:
    """One canvas on its way through its bands."""

    def __init__(self, canvas: Canvas, settings: Settings, coder: CoderSettings, threads: Threads):
        self.canvas = canvas
        self.settings = settings
        self.coder = coder
        self.threads = threads
        self.planes = canvas.planes(settings)
        self.before: torch.Tensor | None = None  # latents that the next band has from those before
        self.decoded: Decoded | None = None  # what the file says before its blocks, once that is coded
        self.modulations: list[np.ndarray] = []  # their stream, once they are coded
        self.modulation_bits = 0.0  # their KL
        self.parts: list[CodedBand] = []
        self.pixels = [np.empty(canvas.shape, np.uint8) for _ in self.planes]  # as far as bands have settled them

    def fit(self, band: Band) -> FittedBand:
        """The posterior of a band. Modulations are fitted along, and coded: with a band in the middle, for all."""
        bands = self.canvas.bands
        if not self.planes[0].modulated:
            return self._fitted(*self._descend(band))
        if len(bands) == 1:
            descent, posterior, noise = self._descend(band, self._modulations())
            return self._fitted(descent.with_weights(self.decoded.shared), posterior, noise)
        if not self.decoded:
            self._descend(bands[len(bands) // 2], self._modulations())
        return self._fitted(*self._descend(band))

    def _modulations(self) -> ModulationFit:
        """How they begin: a picture on its own has the canvas then."""
        latents = Latents.of_picture(self.planes[0].sections[0], self.canvas.device)
        return ModulationFit(latents, 1 / len(self.canvas.bands))

    def _descend(self, band: Band, modulations: ModulationFit | None = None) -> tuple[Descent, Posterior, Noise]:
        """A band's posterior after the steps of a fit."""
        descent = Descent.of(self.canvas.subject(band, self.threads), self.canvas.prior.metadata)
        if self.decoded:
            descent = descent.with_weights(self.decoded.shared)
        noise = Noise(self.settings.seed)
        share, _ = self.settings.plan.shares(descent.noisy)
        steps = round(descent.steps * share)
        start = descent.subject.start(self.before)
        linear = descent.linear_steps(steps)
        posterior, modulation_posterior = descent.run(start, steps, noise, modulations, linear)
        if modulations:
            self._code_modulations(modulations.latents, modulation_posterior, descent.subject)
        return descent, posterior, noise

    def _code_modulations(self, latents: Latents, posterior: Posterior, subject: Subject) -> None:
        """Code them, and take them for granted from now on."""
        coder = replace(self.coder, segments=1)
        section = Streams(bundles(latents, coder), posterior)
        (section,) = code_segment([section], 0, Draws(coder, latents.device), self.threads)
        self.modulations = streams(latents, section.bundles)
        self.modulation_bits = kl_bits(posterior, latents)
        self.decoded = latents.section.commit(Decoded(subject.network.shared), lambda _: section.posterior.mean)

    def _fitted(self, descent: Descent, posterior: Posterior, noise: Noise) -> FittedBand:
        subject = descent.subject
        bits = ideal_bits(subject, posterior)
        errors = []
        if self.settings.sampled:
            errors = squared_errors(subject, descent.sample(posterior, noise))
        saved = [None] * len(bits)
        if self.settings.keep_posterior:
            saved = saved_posteriors(subject, posterior)
        return FittedBand(descent, posterior, noise, bits, errors, saved)

    def keep(self, number: int, fit: FittedBand, section: Streams, seconds: float) -> None:
        """What band `number` adds to every picture."""
        bands = self.canvas.bands
        subject = fit.subject
        mean = section.posterior.mean
        part = CodedBand(
            bands[number],
            streams(subject.latents, section.bundles),
            fit.ideal_bits,
            fit.sampled_errors,
            fit.saved,
            seconds,
        )
        self.parts.append(part)
        for pixels, settled in zip(self.pixels, subject.pixels(mean), strict=True):
            pixels[part.band.settled.slices] = settled
        if number + 1 < len(bands):
            places = subject.places(bands[number + 1].before)
            self.before = mean[as_tensor(places, mean.device)]

    def pictures(self) -> list[CodedPicture]:
        """Every picture, of all bands."""
        return [self._picture(i) for i in range(len(self.planes))]

    def _picture(self, i: int) -> CodedPicture:
        """One of them. Blocks are in the order of the file, row by row, whatever bands there were."""
        plane = self.planes[i]
        of_blocks = []
        for part in self.parts:
            of_blocks += part.streams_of(i)
        order = np.argsort(np.concatenate([part.numbers for part in self.parts]))
        blocks = np.concatenate([*(of_blocks[block] for block in order), NO_BITS])
        saved = None
        if self.settings.keep_posterior:
            saved = SavedPosterior.join([part.saved[i] for part in self.parts]).of(order)
        bits = sum(part.ideal_bits[i] for part in self.parts) + class_bits(plane) + self.modulation_bits
        error = None
        if self.settings.sampled:
            error = sum(part.sampled_errors[i] for part in self.parts)
        seconds = sum(part.seconds for part in self.parts)
        coded = replace(plane, streams=(*self.modulations, blocks))
        return CodedPicture(coded, bits, error, self.pixels[i], saved, seconds)


def plane_of(
    prior: Prior,
    number: int,
    shape: tuple[int, ...],
    classes: np.ndarray,
    settings: Settings,
    axes: Axes | None = None,
) -> InrPlane:
    """The plane of a picture (H, W) or (H, W, 3) with classes (Rt, Ct), without streams."""
    plane = InrPlane(header_of(prior, number, shape, settings, axes), prior, classes)
    return replace(plane, modulated=worth(plane.point, plane.pixels, plane.blocks.length))


def header_of(
    prior: Prior, number: int, shape: tuple[int, ...], settings: Settings, axes: Axes | None = None
) -> Header:
    """Header of a file of such a picture."""
    channels = GREY if len(shape) == 2 else RGB
    height, width = shape[:2]
    return Header(
        prior.number,
        number,
        settings.index_bits(prior),
        width,
        height,
        settings.seed,
        prior.header_hash,
        channels,
        axes=axes,
    )


@torch.no_grad()
def ideal_bits(subject: Subject, posterior: Posterior) -> np.ndarray:
    """KL of the blocks that are coded, for each picture: (P,)."""
    in_file = torch.from_numpy(subject.latents.in_file).to(subject.device)
    nats = subject.by_picture(posterior.block_nats(subject.prior) * in_file)
    return (nats / np.log(2)).cpu().numpy()


def squared_errors(subject: Subject, latents: torch.Tensor) -> list[float]:
    """Of what a band settles, if it had (B, D) latents: for each picture, summed over samples of 8 bits."""
    rows, columns = subject.band.visible.slices
    errors = []
    for target, shown in zip(subject.target, subject.pixels(latents), strict=True):
        original = to_uint8(target[rows, columns].cpu().numpy())
        errors.append(squared_error(original.reshape(shown.shape), shown))
    return errors


def class_bits(plane: InrPlane) -> float:
    """What a class map costs."""
    classes = plane.classes.astype(np.uint8)
    return float(classmap.bits(classes, plane.point.contexts, plane.point.single).sum())


def saved_posteriors(subject: Subject, posterior: Posterior) -> list[SavedPosterior]:
    """The posterior of every picture's blocks that are coded, as arrays."""
    prior = subject.prior
    in_file = torch.from_numpy(subject.latents.in_file)
    tables = (posterior.mean, posterior.scale, prior.mean.expand_as(posterior.mean), prior.scale)
    pictures = len(subject.target)
    arrays = []
    for table in tables:
        wanted = table.cpu()[in_file].numpy()
        arrays.append(np.split(wanted, pictures))
    return [SavedPosterior(*of_picture) for of_picture in zip(*arrays, strict=True)]
