"""Pictures at one operating point, from classes to the parts of files: start, fit, code and refine. Needs torch."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..format import classmap
from ..format.prior import OperatingPoint, Prior
from ..synthesis.architecture import blocks_of
from ..synthesis.bands import Band
from .fit import Descent, Subject
from .fitted import Fitted
from .modulation import Fit, Modulation, worth
from .posterior import Posterior
from .settings import Progress, Settings, between
from .streams import Code, bundles, code_segment, streams

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


def code(canvas: Canvas, settings: Settings, progress: Progress) -> list[Coded]:
    """Fit, then code and refine segment by segment, one band after another. Raises TargetError if a fit diverges."""
    started, fitting, bands, modulation = time.perf_counter(), 0.0, canvas.bands, canvas.modulation
    how = Code(settings.seed, settings.index_bits(canvas.point), settings.temperature, settings.plan.segments)
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
        found, posterior = finish(descent, posterior, how, settings, share)
        parts.append(found)
        started = time.perf_counter()
        if i + 1 < len(bands):
            above = descent.subject.rows(posterior.mean, band.before(bands[i + 1]))
        del descent, posterior  # before the next one's
    wholes, extra, count = [Part.join(one) for one in zip(*parts, strict=True)], own.bits if own else 0.0, len(parts[0])
    return [
        Coded(canvas.number, classes, stream, whole, how.index_bits,
              whole.ideal_bits + class_bits(classes, canvas.point) + extra, fitting / count)
        for whole, classes in zip(wholes, canvas.classes, strict=True)
    ]  # fmt: skip


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
    descent: Descent, posterior: Posterior, how: Code, settings: Settings, progress: Progress
) -> tuple[list[Part], Posterior]:
    """A fitted band coded: a part of every picture, and the posterior with what the file has."""
    subject, plan = descent.subject, settings.plan
    progress(FITTED)
    bits = kl_bits(subject, posterior)
    sampled = subject.pixels(descent.sample(posterior.mean, posterior.scale))
    fitted = fitted_of(subject, posterior) if settings.keep_posterior else [None] * len(sampled)
    own = bundles(subject, how)
    for segment in range(plan.segments):
        posterior = code_segment(own, segment, posterior)
        progress(FITTED + (1 - FITTED) * (segment + 1) / plan.segments)
        if segment + 1 < plan.segments:
            posterior = descent.run(posterior, round(descent.steps * plan.refine))
    written, pixels = streams(subject, own), subject.pixels(posterior.mean)
    each = len(written) // len(pixels)
    written = [written[i : i + each] for i in range(0, len(written), each)]
    return [Part(*one) for one in zip(written, bits, sampled, pixels, fitted, strict=True)], posterior


@torch.no_grad()
def kl_bits(subject: Subject, posterior: Posterior) -> np.ndarray:
    """KL of the blocks that are coded, for each picture: (P,)."""
    coded = torch.from_numpy(subject.coded).to(subject.device)
    nats = subject.by_picture(posterior.block_nats(subject.prior) * coded)
    return (nats / np.log(2)).cpu().numpy()


def class_bits(classes: np.ndarray, point: OperatingPoint) -> float:
    """What a class map costs: (Rt, Ct)."""
    if point.contexts is None:
        return float(point.class_bits * classes.size)
    return float(classmap.bits(classes.astype(np.uint8), point.contexts, point.single).sum())


def fitted_of(subject: Subject, posterior: Posterior) -> list[Fitted]:
    """The posterior of every picture's blocks that are coded, as arrays."""
    prior, coded = subject.prior, torch.from_numpy(subject.coded)
    tables = (posterior.mean, posterior.scale, prior.mean.expand_as(posterior.mean), prior.scale)
    arrays = [np.split(table.cpu()[coded].numpy(), len(subject.target)) for table in tables]
    return [Fitted(*parts) for parts in zip(*arrays, strict=True)]
