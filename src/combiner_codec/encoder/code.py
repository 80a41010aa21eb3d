"""Pictures at one operating point, from classes to the parts of files: start, fit, code and refine. Needs torch."""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..format import classmap
from ..format.prior import OperatingPoint, Prior
from .fit import Descent, Subject
from .fitted import Fitted
from .modulation import Fit
from .posterior import Posterior
from .settings import Progress, Settings
from .streams import Code, bundles, code_segment, streams

FITTED = 0.2  # share of the work that is done when the posterior is fitted, about


@dataclass(frozen=True)
class Coded:
    """The parts of one picture's file, and what they cost and show."""

    number: int  # of the operating point
    classes: np.ndarray  # (Rt, Ct)
    modulation: np.ndarray  # stream of 0 and 1, empty without modulations
    streams: list[np.ndarray]  # B arrays of 0 and 1
    index_bits: int  # L
    ideal_bits: float  # KL of the fitted posterior, and its classes, in bits
    sampled: np.ndarray  # (H, W) or (H, W, 3) uint8, one posterior sample
    pixels: np.ndarray  # (H, W) or (H, W, 3) uint8, what the decoder should show
    fitted: Fitted | None  # the posterior before coding, where it was asked for
    seconds: float  # its share of the time until the posterior was fitted


def code(prior: Prior, number: int, settings: Settings, subject: Subject, progress: Progress) -> list[Coded]:
    """Fit, then code and refine segment by segment. Raises TargetError if a fit diverges."""
    started, plan = time.perf_counter(), settings.plan
    descent, steps = Descent.of(subject, prior.metadata, settings.seed), prior.metadata["steps"]
    how = Code(settings.seed, settings.index_bits(subject.point), settings.temperature, plan.segments)
    own = Fit(subject.modulation) if subject.modulation else None
    posterior = descent.run(subject.start(), round(steps * plan.steps), own)
    progress(FITTED)
    bits = ideal_bits(subject, posterior)
    modulation = np.zeros(0, np.uint8)
    if own:
        bits = [bits[0] + own.bits]
        modulation, network = own.code(subject.network, how)
        subject = replace(subject, network=network)
        descent = replace(descent, subject=subject)
    sampled = subject.pixels(descent.sample(posterior.mean, posterior.scale))
    seconds = (time.perf_counter() - started) / len(sampled)
    fitted = fitted_of(subject, posterior) if settings.keep_posterior else [None] * len(sampled)
    parts = bundles(subject, how)
    for segment in range(plan.segments):
        posterior = code_segment(parts, segment, posterior)
        progress(FITTED + (1 - FITTED) * (segment + 1) / plan.segments)
        if segment + 1 < plan.segments:
            posterior = descent.run(posterior, round(steps * plan.refine))
    written, shown = streams(subject, parts), subject.pixels(posterior.mean)
    each = len(written) // len(sampled)
    return [
        Coded(number, subject.classes[i], modulation, written[each * i : each * (i + 1)], how.index_bits, bits[i],
              sampled[i], shown[i], fitted[i], seconds)
        for i in range(len(sampled))
    ]  # fmt: skip


@torch.no_grad()
def ideal_bits(subject: Subject, posterior: Posterior) -> list[float]:
    """KL of the posterior and bits of the classes, of each picture."""
    nats = subject.by_picture(posterior.block_nats(subject.prior))
    return ((nats / np.log(2)).cpu().numpy() + [class_bits(c, subject.point) for c in subject.classes]).tolist()


def class_bits(classes: np.ndarray, point: OperatingPoint) -> float:
    """What a class map costs: (Rt, Ct)."""
    if point.contexts is None:
        return float(point.class_bits * classes.size)
    return float(classmap.bits(classes.astype(np.uint8), point.contexts, point.single).sum())


def fitted_of(subject: Subject, posterior: Posterior) -> list[Fitted]:
    """The posterior of every picture as arrays."""
    prior = subject.prior
    tables = (posterior.mean, posterior.scale, prior.mean.expand_as(posterior.mean), prior.scale)
    arrays = [np.split(table.cpu().numpy().copy(), len(subject.target)) for table in tables]
    return [Fitted(*parts) for parts in zip(*arrays, strict=True)]
