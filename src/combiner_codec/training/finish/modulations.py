"""How far modulations lie from 0 in pictures: their prior, by turns of fitting pictures and taking variances (EM).

Needs torch. Shapes: M modulations (synthesis/modulation.py), N pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...encoder.batch import as_pixels
from ...encoder.choose.chooser import Chooser
from ...encoder.fit.descent import Descent
from ...encoder.fit.gradients import modulated_layers
from ...encoder.fit.latents import Latents
from ...encoder.fit.modulation import ModulationFit, kl_bits
from ...encoder.fit.noise import Noise
from ...encoder.fit.posterior import Posterior
from ...encoder.fit.subject import Subject
from ...format.operating_point import UNMODULATED_PIXELS, Modulations, OperatingPoint
from ...format.plane import ModulationSection
from ...format.prior import Prior
from ...format.streams import index_of
from ...reports import Report
from ...synthesis.modulation import count
from ..data.crops import Picture

SIDE = 384  # pixels along the side of the crops that are fitted
PICTURES = 6  # that are fitted at each operating point
FIRST_SCALE = 0.03  # of every modulation
STEPS = 40  # of a fit
APPROACH = 10  # steps of latents alone before it
PROBES = 3  # random signs that curvature is measured with
ROWS = 9  # sizes of pictures that are told apart, powers of two
POOLED = 4.0  # pictures' worth of the variances before in new ones


@dataclass(frozen=True)
class Fitted:
    """Modulations of one picture."""

    squares: np.ndarray  # (M,) mean squares under the posterior
    curvature: np.ndarray  # (M,) of distortion / beta in nats, a pixel
    nats: float  # KL


def learn(
    prior: Prior,
    pictures: Sequence[Picture],
    report: Report,
    seed: int = 0,
) -> list[OperatingPoint]:
    """Operating points with modulations; without, where no picture is large enough.

    Each begins with the variances of the one before, the first one with two turns of which the second counts.
    """
    points = []
    scale = None
    for number in range(len(prior.betas)):
        point = prior.operating_point(number)
        crops = crops_of(pictures, (seed, number))
        if not len(crops):
            points.append(point)
            continue
        if scale is None:
            first = np.full(count(point.shared, prior.architecture.colour + 1), FIRST_SCALE)
            scale, _, _ = turn(prior, number, first, crops, seed)
        scale, curvature, nats = turn(prior, number, scale, crops, seed)
        points.append(replace(point, modulations=modulations(scale, curvature)))
        report(f"modulations, beta {point.beta:g}: {nats / np.log(2):.0f} bits a picture")
    return points


def modulations(scale: np.ndarray, curvature: np.ndarray) -> Modulations:
    """From scales and curvatures a pixel: (M,) each."""
    pixels = UNMODULATED_PIXELS * 2.0 ** (np.arange(ROWS) + 0.5)
    nats = pixels[:, None] * curvature * scale**2
    return Modulations(scale.astype(np.float32), index_of(0.5 * np.log2(1 + nats)))


def turn(
    prior: Prior,
    number: int,
    scale: np.ndarray,
    crops: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Scales anew, curvatures a pixel, (M,) each, and nats a picture, from pictures fitted with some scales."""
    generator = torch.Generator().manual_seed(seed)
    fitted = [fit(prior, number, scale, crop, seed, generator) for crop in crops]
    squares = sum(one.squares / len(crops) for one in fitted)
    variances = (len(crops) * squares + POOLED * scale**2) / (len(crops) + POOLED)
    curvature = np.mean([one.curvature for one in fitted], 0)
    nats = float(np.mean([one.nats for one in fitted]))
    return variances**0.5, curvature, nats


def fit(
    prior: Prior,
    number: int,
    scale: np.ndarray,
    crop: np.ndarray,
    seed: int,
    generator: torch.Generator,
) -> Fitted:
    """A picture (SIDE, SIDE, 3) uint8 with modulations of these prior scales (M,)."""
    point = prior.operating_point(number)
    target = as_pixels(crop[None])
    pixels = crop[..., 0].size
    classes = Chooser(prior, point.beta, (number,), 1).classes(point, target)
    subject = Subject.of(prior, point, target, crop.shape, classes)
    descent = Descent.of(subject, prior.metadata)
    noise = Noise(seed)
    posterior, _ = descent.run(subject.start(), APPROACH, noise)
    curvature = curvature_of(subject, posterior, len(scale), generator)
    kl_index = index_of(0.5 * np.log2(1 + curvature * scale**2))
    modulated = replace(point, modulations=Modulations(scale.astype(np.float32), kl_index[None]))
    section = ModulationSection(modulated, pixels, prior.architecture.colour + 1)
    latents = Latents.of_picture(section, subject.device)
    _, found = descent.run(posterior, STEPS, noise, ModulationFit(latents))
    squares = (found.mean**2 + found.scale**2)[0].double().numpy()
    return Fitted(squares, curvature / pixels, kl_bits(found, latents) * np.log(2))


def curvature_of(
    subject: Subject,
    posterior: Posterior,
    size: int,
    generator: torch.Generator,
) -> np.ndarray:
    """Diagonal of the Gauss-Newton matrix of distortion / beta in nats, by Hutchinson's estimator: (M,)."""
    total = np.zeros(size)
    field = subject.field(posterior.mean).detach()
    for _ in range(PROBES):
        values = torch.zeros(1, size, requires_grad=True)
        shown = modulated_layers(field, values, subject.network, subject.network.whole)
        signs = torch.randint(0, 2, shown.shape, generator=generator) * 2.0 - 1
        (gradient,) = torch.autograd.grad((shown * signs).sum(), values)
        total += gradient[0].double().numpy() ** 2 / PROBES
    return total * 2 / (3 * subject.point.beta)


def crops_of(pictures: Sequence[Picture], seed) -> np.ndarray:
    """Crops of a few of the pictures that are large enough, one of each: (N, SIDE, SIDE, 3) uint8."""
    random = np.random.default_rng(seed)
    crops = []
    for number in random.permutation(len(pictures)):
        if len(crops) == PICTURES:
            break
        pixels = pictures[number].read()
        height, width = pixels.shape[:2]
        if min(height, width) >= SIDE:
            row = random.integers(height - SIDE + 1)
            column = random.integers(width - SIDE + 1)
            crops.append(pixels[row : row + SIDE, column : column + SIDE])
    return np.array(crops, np.uint8)
