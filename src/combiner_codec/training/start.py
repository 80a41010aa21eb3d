"""What an operating point starts from: the last one, or a file, or nothing; and its draft. Needs torch.

Shapes: see pictures.py.
"""

from dataclasses import dataclass

import torch

from ..encoder.posterior import Gaussians, closed_form, shared_weights
from ..format.prior import OperatingPoint
from ..format.streams import UNIT, kl_table
from ..synthesis.latents import scale_factor
from .classes import first_classes, flat_variances, learn_classes, tile_energy
from .draft import Draft, Tables, posterior_variance, widening
from .mixture import Mixture, class_nats
from .pictures import Pictures
from .recipes import TrainSettings
from .weights import first_weights, with_classes

UNKNOWN = 1e6  # prior variance of levels above tiles until it is measured: they take all they can
FIRST_VARIANCE = 1e-3  # of the posteriors that the very first targets are computed with; without effect but rounding
STEADY = 4.0  # widening up to which a posterior mean says where its target was


@dataclass(frozen=True)
class Start:
    """What the next operating point starts from."""

    shared: dict[str, torch.Tensor]  # weights of the shared layers
    mean: torch.Tensor  # (U,) of the prior
    curvature: torch.Tensor  # (U,) see Tables
    above: torch.Tensor  # (U - own,) prior variances of the levels above, or UNKNOWN
    pulled: torch.Tensor  # (N, Rb, Cb, D) targets whose posterior means under a linear decoder are the last ones
    assigned: torch.Tensor | None = None  # (N, Rt, Ct) int64 classes, None before the first operating point


def first_start(pictures: Pictures, seed: int) -> Start:
    """The start of a family: principal axes of colour, network without effect, no classes yet."""
    shared = first_weights(pictures, seed)
    U, own = len(pictures.repeats), pictures.own
    mean, above = torch.zeros(U), torch.full((U - own,), UNKNOWN)
    pulled = pictures.decompose(shared, _above(own, mean, above, torch.full((U,), FIRST_VARIANCE)))
    return Start(shared, mean, torch.ones(U), above, pulled)


def next_start(pictures: Pictures, draft: Draft) -> Start:
    """Where a finished draft ended."""
    prior = draft.prior(pictures.architecture)
    factor = widening(prior)
    steady = prior.coded & (factor < STEADY)
    pulled = torch.where(steady, prior.mean + factor * (draft.posterior_mean - prior.mean), draft.target)
    tables, shared = draft.tables, {name: value.detach() for name, value in draft.shared.items()}
    return Start(shared, tables.mean, tables.curvature, tables.above, pulled, draft.assigned)


def start_from(pictures: Pictures, point: OperatingPoint) -> Start:
    """The same from an operating point of a file, without its posteriors: classes are the likeliest ones."""
    own, shared, mean = pictures.own, shared_weights(point), torch.from_numpy(point.mean)
    variance = torch.from_numpy(point.posterior_scale) ** 2
    curvature = posterior_variance(point.beta, torch.ones_like(variance), own) / variance
    factor = torch.from_numpy(scale_factor(kl_table()[point.coarse] / UNIT) ** 2).float()
    above = factor * variance[own:]
    target = pictures.decompose(shared, _above(own, mean, above, variance))
    energy = tile_energy(pictures, target, mean, variance, point.beta)
    marginal = torch.from_numpy(point.scale) ** 2 + variance[:own]
    assigned = class_nats(energy, marginal, variance[:own]).argmin(1).reshape(pictures.tiles)
    return Start(shared, mean, curvature, above, target, assigned)


def begin(pictures: Pictures, settings: TrainSettings, number: int, start: Start) -> Draft:
    """The draft of an operating point: tables from the linear part's latents, posteriors in closed form."""
    beta, K, own = settings.betas[number], settings.classes[number], pictures.own
    variance = posterior_variance(beta, start.curvature, own)
    target = pictures.decompose(start.shared, _above(own, start.mean, start.above, variance))
    mean = prior_mean(pictures, target)
    energy = tile_energy(pictures, target, mean, variance, beta)
    fixed = flat_variances(pictures.architecture, K)
    mixture = Mixture(energy, variance[:own], fixed + variance[:own], K, pictures.shards, settings.smoothing)
    classes = learn_classes(pictures, mixture, first_classes(pictures, mixture, start.assigned))
    above = start.above if (start.above < UNKNOWN).all() else _variance_above(pictures, target - mean[pictures.columns])
    tables = Tables(beta, mean, start.curvature, classes.marginal - variance[:own], above)
    prior = tables.prior(pictures.architecture, classes.assigned)
    posterior = closed_form(start.pulled, prior)[0]
    shared = with_classes(pictures.architecture, start.shared, K)
    return Draft(number, tables, target, posterior, classes.assigned, classes.contexts, shared)


def _above(own: int, mean, above, variance) -> Gaussians:
    """Prior of the levels above tiles: means (U,), prior variances (U - own,), posterior variances (U,)."""
    return Gaussians(mean[own:], above.sqrt(), variance[own:].sqrt())


def _variance_above(pictures: Pictures, deviation: torch.Tensor) -> torch.Tensor:
    """Prior variances of the levels above tiles from (N, Rb, Cb, D) deviations of the latents: (U - own,)."""
    return pictures.shards.mean(pictures.by_column(deviation**2).sum(0)[pictures.own :])


def prior_mean(pictures: Pictures, target: torch.Tensor) -> torch.Tensor:
    """Means of the prior: (N, Rb, Cb, D) -> (U,). Only those of a whole picture's average colour differ from 0 by more
    than chance: without levels above tiles, pictures are tiles, and these are the first three columns.
    """
    mean = pictures.shards.mean(pictures.by_column(target).sum(0))
    mean[0 if pictures.architecture.coarse else 3 :] = 0
    return mean
