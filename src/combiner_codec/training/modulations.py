"""How far modulations lie from 0 in pictures: their prior, by turns of fitting pictures and taking variances (EM).

Needs torch. Shapes: M modulations (synthesis/modulation.py), N pictures.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ..encoder.batch import as_pixels
from ..encoder.choose.chooser import Chooser
from ..encoder.fit.descent import Descent
from ..encoder.fit.gradients import modulated_layers
from ..encoder.fit.latents import Latents
from ..encoder.fit.modulation import ModulationFit, kl_bits
from ..encoder.fit.noise import Noise
from ..encoder.fit.subject import Subject
from ..format.operating_point import UNMODULATED_PIXELS, Modulations, OperatingPoint
from ..format.plane import ModulationSection
from ..format.prior import Prior
from ..format.streams import index_of
from ..reports import Report
from ..synthesis.modulation import count
from .crops import Picture

SIDE, PICTURES = 384, 6  # of the crops that are fitted, and how many at each operating point
SCALE = 0.03  # of every modulation at first
STEPS, APPROACH = 40, 10  # of a fit, and of latents alone before it
PROBES = 3  # random signs that curvature is measured with
ROWS = 9  # sizes of pictures that are told apart, powers of two
POOLED = 4.0  # pictures' worth of the variances before in new ones


def learn(prior: Prior, pictures: Sequence[Picture], report: Report, seed: int = 0) -> list[OperatingPoint]:
    """Operating points with modulations; without, where no picture is large enough.

    Each begins with the variances of the one before, the first one with two turns of which the second counts.
    """
    points, scale = [], None
    for number in range(len(prior.betas)):
        point, crops = prior.operating_point(number), crops_of(pictures, (seed, number))
        if not len(crops):
            points.append(point)
            continue
        if scale is None:
            first = np.full(count(point.shared, prior.architecture.colour + 1), SCALE)
            scale = turn(prior, number, first, crops, seed)[0]
        scale, curvature, nats = turn(prior, number, scale, crops, seed)
        points.append(replace(point, modulations=modulations(scale, curvature)))
        report(f"modulations, beta {point.beta:g}: {nats / np.log(2):.0f} bits a picture")
    return points


def modulations(scale: np.ndarray, curvature: np.ndarray) -> Modulations:
    """From scales and curvatures a pixel: (M,) each."""
    pixels = UNMODULATED_PIXELS * 2.0 ** (np.arange(ROWS) + 0.5)
    return Modulations(scale.astype(np.float32), index_of(0.5 * np.log2(1 + pixels[:, None] * curvature * scale**2)))


def turn(prior: Prior, number: int, scale: np.ndarray, crops: np.ndarray, seed: int):
    """Scales anew, curvatures a pixel, (M,) each, and nats a picture, from pictures fitted with some scales."""
    point, squares, curvatures, nats = prior.operating_point(number), 0.0, [], []
    generator = torch.Generator().manual_seed(seed)
    for crop in crops:
        target = as_pixels(crop[None])
        classes = Chooser(prior, point.beta, (number,), 1).classes(point, target)
        subject = Subject.of(prior, point, target, crop.shape, classes)
        descent = Descent.of(subject, prior.metadata)
        noise = Noise(seed)
        posterior, _ = descent.run(subject.start(), APPROACH, noise)
        curvature = curvature_of(subject, posterior, len(scale), generator)
        kl_index = index_of(0.5 * np.log2(1 + curvature * scale**2))
        own = replace(point, modulations=Modulations(scale.astype(np.float32), kl_index[None]))
        section = ModulationSection(own, crop[..., 0].size, prior.architecture.colour + 1)
        latents = Latents.of_picture(section, subject.device)
        _, found = descent.run(posterior, STEPS, noise, ModulationFit(latents))
        squares = squares + (found.mean**2 + found.scale**2)[0].double().numpy() / len(crops)
        nats.append(kl_bits(found, latents) * np.log(2))
        curvatures.append(curvature / crop[..., 0].size)
    variances = (len(crops) * squares + POOLED * scale**2) / (len(crops) + POOLED)
    return variances**0.5, np.mean(curvatures, 0), np.mean(nats)


def curvature_of(subject: Subject, posterior, size: int, generator: torch.Generator) -> np.ndarray:
    """Diagonal of the Gauss-Newton matrix of distortion / beta in nats, by Hutchinson's estimator: (M,)."""
    total, x = np.zeros(size), subject.field(posterior.mean).detach()
    for _ in range(PROBES):
        values = torch.zeros(1, size, requires_grad=True)
        shown = modulated_layers(x, values, subject.network, subject.network.whole)
        signs = torch.randint(0, 2, shown.shape, generator=generator) * 2.0 - 1
        (gradient,) = torch.autograd.grad((shown * signs).sum(), values)
        total += gradient[0].double().numpy() ** 2 / PROBES
    return total * 2 / (3 * subject.point.beta)


def crops_of(pictures: Sequence[Picture], seed) -> np.ndarray:
    """Crops of a few of the pictures that are large enough, one of each: (N, SIDE, SIDE, 3) uint8."""
    rng, crops = np.random.default_rng(seed), []
    for i in rng.permutation(len(pictures)):
        if len(crops) == PICTURES:
            break
        pixels = pictures[i][1]()
        if min(pixels.shape[:2]) >= SIDE:
            row, column = (rng.integers(size - SIDE + 1) for size in pixels.shape[:2])
            crops.append(pixels[row : row + SIDE, column : column + SIDE])
    return np.array(crops, np.uint8)
