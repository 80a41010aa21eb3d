"""Pictures at one operating point, from classes to the parts of files: start, fit, code and refine. Needs torch."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...format import classmap
from ...format.prior import OperatingPoint, Prior
from ...synthesis.architecture import blocks_of
from ...synthesis.bands import Band
from ..fit.descent import FEWEST, Descent, Subject
from ..fit.modulation import Fit, Modulation, worth
from ..fit.posterior import Posterior
from ..fit.saved import Fitted
from ..fit.workers import each
from ..settings import Progress, Settings, between
from .streams import Bundle, Code, Draws, bundles, code_segment, streams

FITTED = 0.2  # share of the work that is done when the posterior is fitted, about
NO_BITS = np.zeros(0, np.uint8)


@dataclass(frozen=True)
class Canvas:
    """What is coded together: P pictures of one shape at one operating point, band by band."""

    prior: Prior
    number: int  # of the operating point
    shape: tuple[int, ...]  # of each picture: (H, W) or (H, W, 3)
    classes: np.ndarray  # (P, Rt, Ct)
    bands: Sequence[Band]
    pixels: Callable[[range], torch.Tensor]  # some rows of all pictures, whole tiles: (P, h, W, 1 or 3)
    device: torch.device  # where they are fitted

    @property
    def point(self) -> OperatingPoint:
        """For colour or for grey pictures."""
        return self.prior.operating_point(self.number, grey=len(self.shape) == 2)

    @property
    def size(self) -> int:
        """Pixels of all pictures."""
        return len(self.classes) * self.shape[0] * self.shape[1]

    @property
    def plain(self) -> bool:
        """Whether it is one band without modulations."""
        return len(self.bands) == 1 and self.point.modulation_kl(self.shape[0] * self.shape[1]) is None

    @property
    def modulation(self) -> Modulation | None:
        """What a picture on its own may have of modulations, if it is large enough."""
        pixels = self.shape[0] * self.shape[1]
        bits = int(self.point.stream_lengths(blocks_of(self.classes, self.prior.architecture)).sum())
        return Modulation.of(self.point, pixels, self.device) if worth(self.point, pixels, bits) else None

    def subject(self, band: Band) -> Subject:
        """What is fitted of one band."""
        classes, shape = self.classes[:, band.tiles(self.prior.architecture)], (len(band.rows), *self.shape[1:])
        return Subject.of(self.prior, self.point, self.pixels(band.rows).to(self.device), shape, classes, band)


@dataclass(frozen=True)
class Part:
    """What one picture's band adds to its file, and what it costs and shows."""

    streams: list[np.ndarray]  # bits of its blocks: arrays of 0 and 1
    ideal_bits: float  # KL of the fitted posterior
    sampled: np.ndarray  # (h, W) or (h, W, 3) uint8, one posterior sample
    pixels: np.ndarray  # the same rows of what the decoder should show
    fitted: Fitted | None  # the posterior before coding, where it was asked for

    @staticmethod
    def join(parts: "Sequence[Part]") -> "Part":
        """A picture's, from top to bottom."""
        streams = [stream for part in parts for stream in part.streams]
        sampled, pixels = (np.concatenate([getattr(part, name) for part in parts]) for name in ("sampled", "pixels"))
        fitted = Fitted.join([part.fitted for part in parts]) if parts[0].fitted else None
        return Part(streams, sum(part.ideal_bits for part in parts), sampled, pixels, fitted)


@dataclass(frozen=True)
class Coded:
    """The parts of one picture's file, and what they cost and show."""

    number: int  # of the operating point
    classes: np.ndarray  # (Rt, Ct)
    modulation: np.ndarray  # stream of 0 and 1, empty without modulations
    whole: Part  # of all its bands
    index_bits: int  # L
    ideal_bits: float  # KL of the fitted posteriors, and the classes, in bits
    seconds: float  # its share of the time until posteriors were fitted


def code(canvases: Sequence[Canvas], settings: Settings, progress: Progress) -> list[list[Coded]]:
    """Fit, then code and refine segment by segment: every picture of every canvas, all of one shape.

    Raises TargetError if a fit diverges.
    """
    if all(canvas.plain for canvas in canvases):
        return code_together(canvases, settings, progress)
    shares = [between(progress, i / len(canvases), (i + 1) / len(canvases)) for i in range(len(canvases))]
    return [code_bands(canvas, settings, share) for canvas, share in zip(canvases, shares, strict=True)]


def code_together(canvases: Sequence[Canvas], settings: Settings, progress: Progress) -> list[list[Coded]]:
    """`plain` canvases: candidates are drawn once for all, and those of few pixels are fitted side by side."""
    started, how = time.perf_counter(), code_of(canvases[0], settings)
    spread = each if all(canvas.size <= FEWEST for canvas in canvases) else map
    fitted = list(spread(lambda canvas: fit(canvas, settings, canvas.bands[0]), canvases))
    seconds = (time.perf_counter() - started) / sum(len(canvas.classes) for canvas in canvases)
    found = finish(fitted, how, settings, progress, spread)
    return [coded(canvas, parts, how, seconds) for canvas, (parts, _) in zip(canvases, found, strict=True)]


def code_bands(canvas: Canvas, settings: Settings, progress: Progress) -> list[Coded]:
    """Any canvas, one band after another."""
    started, fitting, bands, modulation = time.perf_counter(), 0.0, canvas.bands, canvas.modulation
    how = code_of(canvas, settings)
    own = Fit(modulation, 1 / len(bands)) if modulation else None
    stream, shared, above, parts = NO_BITS, None, None, []
    if own and len(bands) > 1:  # the same for all, from one in the middle
        descent, _ = fit(canvas, settings, bands[len(bands) // 2], own=own)
        stream, shared = own.code(descent.subject.network, how)
    for i, band in enumerate(bands):
        descent, posterior = fit(canvas, settings, band, shared, above, None if shared else own)
        if own and not shared:
            stream, shared = own.code(descent.subject.network, how)
            descent = descent.with_weights(shared)
        fitting += time.perf_counter() - started
        share = between(progress, i / len(bands), (i + 1) / len(bands))
        ((found, posterior),) = finish([(descent, posterior)], how, settings, share)
        parts.append(found)
        started = time.perf_counter()
        if i + 1 < len(bands):
            above = descent.subject.rows(posterior.mean, band.before(bands[i + 1]))
        del descent, posterior  # before the next one's
    wholes = [Part.join(one) for one in zip(*parts, strict=True)]
    return coded(canvas, wholes, how, fitting / len(wholes), stream, own.bits if own else 0.0)


def coded(
    canvas: Canvas,
    wholes: Sequence[Part],
    how: Code,
    seconds: float,
    modulation: np.ndarray = NO_BITS,
    bits: float = 0.0,
) -> list[Coded]:
    """Every picture of a canvas; bits: KL of its modulations."""
    return [
        Coded(canvas.number, classes, modulation, whole, how.index_bits,
              whole.ideal_bits + class_bits(classes, canvas.point) + bits, seconds)
        for whole, classes in zip(wholes, canvas.classes, strict=True)
    ]  # fmt: skip


def code_of(canvas: Canvas, settings: Settings) -> Code:
    """How its groups are coded."""
    return Code(settings.seed, settings.index_bits(canvas.point), settings.temperature, settings.plan.segments)


def fit(
    canvas: Canvas, settings: Settings, band: Band, shared: dict | None = None, above=None, own: Fit | None = None
) -> tuple[Descent, Posterior]:
    """The posterior of one band.

    shared: weights of the decoder, if not the prior's; above: latents of the rows of blocks before; own: modulations
    that are fitted along.
    """
    descent = Descent.of(canvas.subject(band), canvas.prior.metadata, settings.seed)
    descent = descent.with_weights(shared) if shared else descent
    return descent, descent.run(descent.subject.start(above), round(descent.steps * settings.plan.steps), own)


def finish(
    fitted: Sequence[tuple[Descent, Posterior]], how: Code, settings: Settings, progress: Progress, spread=map
) -> list[tuple[list[Part], Posterior]]:
    """Fitted bands coded, of each: a part of every picture, and the posterior with what the file has.

    spread: what refines them, as `map`.
    """
    plan, posteriors = settings.plan, [posterior for _, posterior in fitted]
    progress(FITTED)
    sampled = [sample(descent, posterior, settings.keep_posterior) for descent, posterior in fitted]
    own = [bundles(descent.subject, how) for descent, _ in fitted]
    draws = Draws(how, fitted[0][0].subject.device)

    def refine(one):
        (descent, _), posterior = one
        return descent.run(posterior, round(descent.steps * plan.refine))

    for segment in range(plan.segments):
        posteriors = code_segment(list(zip(own, posteriors, strict=True)), segment, draws)
        progress(FITTED + (1 - FITTED) * (segment + 1) / plan.segments)
        if segment + 1 < plan.segments:
            posteriors = list(spread(refine, zip(fitted, posteriors, strict=True)))
    done = zip(fitted, own, sampled, posteriors, strict=True)
    return [(written(descent.subject, *one), one[-1]) for (descent, _), *one in done]


def sample(descent: Descent, posterior: Posterior, keep: bool) -> list[tuple]:
    """Of every picture, before coding: ideal bits, pixels of a posterior sample and, if kept, the posterior."""
    bits = kl_bits(descent.subject, posterior)
    sampled = descent.subject.pixels(descent.sample(posterior.mean, posterior.scale))
    fitted = fitted_of(descent.subject, posterior) if keep else [None] * len(sampled)
    return list(zip(bits, sampled, fitted, strict=True))


def written(subject: Subject, own: Sequence[Bundle], sampled: Sequence[tuple], posterior: Posterior) -> list[Part]:
    """A part of every picture, of what was coded."""
    blocks, pixels = streams(subject, own), subject.pixels(posterior.mean)
    count = len(blocks) // len(pixels)
    blocks = [blocks[i : i + count] for i in range(0, len(blocks), count)]
    return [
        Part(streams, bits, before, shown, fitted)
        for streams, (bits, before, fitted), shown in zip(blocks, sampled, pixels, strict=True)
    ]


@torch.no_grad()
def kl_bits(subject: Subject, posterior: Posterior) -> np.ndarray:
    """KL of the blocks that are coded, for each picture: (P,)."""
    coded = torch.from_numpy(subject.coded).to(subject.device)
    nats = subject.by_picture(posterior.block_nats(subject.prior) * coded)
    return (nats / np.log(2)).cpu().numpy()


def class_bits(classes: np.ndarray, point: OperatingPoint) -> float:
    """What a class map costs: (Rt, Ct)."""
    return float(classmap.bits(classes.astype(np.uint8), point.contexts, point.single).sum())


def fitted_of(subject: Subject, posterior: Posterior) -> list[Fitted]:
    """The posterior of every picture's blocks that are coded, as arrays."""
    prior, coded = subject.prior, torch.from_numpy(subject.coded)
    tables = (posterior.mean, posterior.scale, prior.mean.expand_as(posterior.mean), prior.scale)
    arrays = [np.split(table.cpu()[coded].numpy(), len(subject.target)) for table in tables]
    return [Fitted(*parts) for parts in zip(*arrays, strict=True)]
