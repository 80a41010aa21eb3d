"""What an operating point starts from: the last one, or a file, or nothing; and its draft. Needs torch.

Shapes: see pictures.py.
"""

from dataclasses import dataclass

import torch

from ..encoder.posterior import closed_form, noise_variance, shared_weights
from ..format.prior import OperatingPoint
from .classes import first_classes, flat_variances, tile_energy
from .draft import Draft, Tables, widening
from .mixture import Mixture, class_nats
from .pictures import Pictures
from .recipes import TrainSettings
from .weights import first_weights, with_classes

STEADY = 4.0  # widening up to which a posterior mean says where its target was


@dataclass(frozen=True)
class Start:
    """What the next operating point starts from."""

    shared: dict[str, torch.Tensor]  # weights of the shared layers
    curvature: torch.Tensor  # (U,) see Tables
    pulled: torch.Tensor  # (N, Rt, Ct, U) targets whose posterior means under a linear decoder are the last ones
    assigned: torch.Tensor | None = None  # (N, Rt, Ct) int64 classes, None before the first operating point


def first_start(pictures: Pictures, seed: int) -> Start:
    """The start of a family: principal axes of colour, network without effect, no classes yet."""
    shared = first_weights(pictures, seed)
    return Start(shared, torch.ones(pictures.architecture.own), pictures.decompose(shared))


def next_start(draft: Draft) -> Start:
    """Where a finished draft ended."""
    prior = draft.prior()
    factor = widening(prior)
    steady = prior.coded & (factor < STEADY)
    pulled = torch.where(steady, prior.mean + factor * (draft.posterior_mean - prior.mean), draft.target)
    shared = {name: value.detach() for name, value in draft.shared.items()}
    return Start(shared, draft.tables.curvature, pulled, draft.assigned)


def start_from(pictures: Pictures, point: OperatingPoint) -> Start:
    """The same from an operating point of a file, without its posteriors: classes are the likeliest ones."""
    shared, variance = shared_weights(point), torch.from_numpy(point.posterior_scale) ** 2
    target = pictures.decompose(shared)
    energy = tile_energy(target - torch.from_numpy(point.mean), variance, point.beta)
    marginal = torch.from_numpy(point.scale_of(point.kl_index, slice(None))) ** 2 + variance
    assigned = class_nats(energy, marginal, variance).argmin(1).reshape(pictures.tiles)
    return Start(shared, noise_variance(point.beta) / variance, target, assigned)


def begin(pictures: Pictures, settings: TrainSettings, number: int, start: Start) -> Draft:
    """The draft of an operating point: tables from the linear part's latents, posteriors in closed form."""
    beta, K = settings.betas[number], settings.classes[number]
    variance, target = noise_variance(beta) / start.curvature, pictures.decompose(start.shared)
    mean = prior_mean(pictures, target)
    fixed = flat_variances(pictures.architecture, K) + variance
    energy = tile_energy(target - mean, variance, beta)
    mixture = Mixture(energy, variance, fixed, K, pictures.shards, settings.smoothing)
    assigned, marginal = mixture.learn(first_classes(pictures, mixture, start.assigned))
    assigned = assigned.reshape(pictures.tiles)
    tables = Tables(beta, mean, start.curvature, marginal - variance)
    posterior = closed_form(start.pulled, tables.prior(assigned))[0]
    return Draft(number, tables, target, posterior, assigned, with_classes(pictures.architecture, start.shared, K))


def prior_mean(pictures: Pictures, target: torch.Tensor) -> torch.Tensor:
    """Means of the prior: (N, Rt, Ct, U) -> (U,). Pictures are tiles, and only the means of their average colours, the
    first three columns, differ from 0 by more than chance.
    """
    mean = pictures.shards.mean(target.mean((1, 2)).sum(0))
    mean[3:] = 0
    return mean
