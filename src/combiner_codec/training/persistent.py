"""Posteriors that persist: an operating point's crops, classes and tables while it is learned. Needs torch.

    visit:   pixels -> target -> posterior (difference) -> sample -> shared layers -> gradients -> posterior moved
    M-step:  what visits have seen since the last one -> curvature, prior variances

Shapes, here and in all of training: N crops of this process, side x side pixels, Rt x Ct tiles each (`shards.count`
crops in all); n of a step's B crops are this process's; U latents per tile; K classes, the last M of merged tiles;
R rows of tables, one for each class of single tiles and four for each of merged ones.
"""

from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from ..encoder.fit.posterior import Gaussians, closed_form, distortion, kl_nats, noise_variance, reachable
from ..synthesis.architecture import Architecture
from ..synthesis.network import Network
from ..synthesis.torch_ops import TorchOps
from .joint import class_features
from .lapping import Lapping, decompose
from .mixture import MAP_SHARE, SMOOTHING
from .sample import Sample
from .shards import Draw, Shards
from .tables import Tables, widening

WELL_CODED = 0.3  # prior variance over the noise's from which a latent's curvature counts
CURVATURE = (0.3, 3.0)  # as far as measured curvatures are believed
LOUD = 2.0  # widening below which the data speak: s^2 > sigma^2
FEW = 50  # probes' worth of the neighbours' curvature in that of a frequency


@dataclass(frozen=True)
class Crops:
    """Pictures of an operating point, and their posteriors."""

    pixels: torch.Tensor  # (N, side, side, 3) uint8
    assigned: torch.Tensor  # (N, Rt, Ct) uint8 classes, those of merged tiles last
    difference: torch.Tensor  # (N, Rt, Ct, U) float16, posterior mean less target, in noise units; visits write it
    lapping: Lapping  # as the classes have it

    def colours(self, own: torch.Tensor) -> torch.Tensor:
        """Some crops in [0, 1]."""
        return self.pixels[own].float() / 255


@dataclass(frozen=True)
class Evidence:
    """What visits have seen since the last M-step, summed in place."""

    tiles: torch.Tensor  # (R,) of each row
    energy: torch.Tensor  # (R, U) `fixed_point` over tiles of each row
    squares: torch.Tensor  # (U,) probes of the curvature, over latents that are well coded
    probes: torch.Tensor  # (U,) their number

    @staticmethod
    def none(tables: Tables) -> "Evidence":
        """Before the first visit."""
        energy = torch.zeros_like(tables.variance)
        return Evidence(energy[:, 0].clone(), energy, torch.zeros_like(energy[0]), torch.zeros_like(energy[0]))

    @property
    def sums(self) -> tuple[torch.Tensor, ...]:
        """All of it."""
        return self.tiles, self.energy, self.squares, self.probes


@dataclass(frozen=True)
class Point:
    """An operating point while it is learned."""

    tables: Tables
    frequency: torch.Tensor  # (K,) of the classes, see sizes.py
    crops: Crops
    evidence: Evidence

    @property
    def unit(self) -> float:
        """Scale of the noise, in the latents' units."""
        return noise_variance(self.tables.beta) ** 0.5

    @property
    def marginal(self) -> torch.Tensor:
        """Prior variances and the noise's together, by which classes are chosen at the beginning: (R, U)."""
        return self.tables.variance + self.unit**2

    def features(self, tile: int) -> torch.Tensor:
        """What the network knows of the classes: (K, F)."""
        return class_features(self.marginal / self.unit**2, tile, self.tables.single)

    def map_nats(self, assigned: torch.Tensor) -> torch.Tensor:
        """What the class maps of crops cost, about: (n, Rt, Ct) -> (n,)."""
        named = torch.where(assigned < self.tables.single, 1.0, 0.25)  # four tiles name theirs once
        return -MAP_SHARE * (self.frequency.log()[assigned] * named).sum((1, 2))


@dataclass(frozen=True)
class Turn:
    """How a visit goes."""

    draw: Draw
    rate: float  # share of a Newton step
    probe: int | None = None  # seed of a probe of the curvature, if there is one
    counts: bool = True  # for the next M-step


@dataclass(frozen=True)
class Visited:
    """What a visit found."""

    gradients: list[torch.Tensor]  # of the squared error over beta, by the weights asked for
    error: torch.Tensor  # (n,) squared errors, summed over pixels
    nats: torch.Tensor  # (n,) KL and class maps


def visit(architecture: Architecture, point: Point, crops: Crops, shared: dict, learned: list, turn: Turn) -> Visited:
    """One sample of some crops' posteriors, its gradients by weights (`learned`), and a step of the posteriors."""
    own, beta = turn.draw.own, point.tables.beta
    if not len(own):
        none = turn.draw.eps.new_zeros(0)
        return Visited([torch.zeros_like(w) for w in learned], none, none)
    pixels, assigned = crops.colours(own), crops.assigned[own].long()
    lapping = crops.lapping.some(own)
    target, prior = decompose(architecture, shared, pixels, lapping).detach(), point.tables.prior(assigned)
    scale = closed_form(target, prior)[1]
    mean = target + point.unit * crops.difference[own].float()
    mean = torch.where(prior.coded, mean, prior.mean).requires_grad_()
    network = Network(architecture, shared, assigned, TorchOps, single=point.tables.single)
    shown = network.layers(lapping.field(mean + scale * turn.draw.eps))
    sample = Sample(turn.draw, prior, scale, mean, shown)
    gradient, *of_weights = sample.gradients(pixels, learned, keep=turn.probe is not None)
    moved = reachable(sample.moved(gradient, beta, turn.rate), prior)
    crops.difference[own] = ((moved - target) / point.unit).half()
    if turn.counts:
        count(point.evidence, fixed_point(moved, scale, prior), point.tables.rows_of(assigned))
    if turn.probe is not None:
        count_probe(point.evidence, sample.squares(turn.probe), prior)
    error = distortion(shown.detach(), pixels).sum((1, 2))
    nats = kl_nats(moved, scale, prior).sum((1, 2, 3)) + point.map_nats(assigned)
    return Visited([g / beta for g in of_weights], error, nats)


def fixed_point(mean: torch.Tensor, scale: torch.Tensor, prior: Gaussians) -> torch.Tensor:
    """What an M-step averages to get s^2, per latent, from posterior means and scales.

    The plain s^2 = mean(sigma^2 + (mu - m)^2) creeps, as mu is shrunk by the last s. Where the data speak (LOUD) this
    takes its fixed point instead: with likelihood terms N(pulled; h, v) held fixed, v the typical posterior variance,
    that is s^2 = mean((pulled - m)^2) - v. (Elsewhere the jump multiplies the noise of mu: tried, and ELBO got worse
    below 0.5 bpp.)
    """
    factor = widening(prior)
    jump = (factor * (mean - prior.mean)) ** 2 - prior.posterior_scale**2
    return torch.where(factor < LOUD, jump, scale**2 + (mean - prior.mean) ** 2)


def count(evidence: Evidence, energy: torch.Tensor, rows: torch.Tensor) -> None:
    """Add to the evidence: what an M-step averages, (n, Rt, Ct, U) of tiles that these rows (n, Rt, Ct) stand for."""
    flat = rows.reshape(-1)
    evidence.energy.index_add_(0, flat, energy.flatten(0, 2))
    evidence.tiles.index_add_(0, flat, torch.ones_like(flat, dtype=evidence.tiles.dtype))


def count_probe(evidence: Evidence, squares: torch.Tensor, prior: Gaussians) -> None:
    """Add a probe of the curvature (n, Rt, Ct, U) to the evidence.

    Of well coded latents only: where a class codes nothing, the network damps what is there. With the mean over all
    latents J was 0.3102 on validation, with this one 0.3068, with curvature 1 everywhere 0.3074 (beta 0.011).
    """
    coded = prior.scale**2 > WELL_CODED * prior.posterior_scale**2
    for total, values in ((evidence.squares, squares * coded), (evidence.probes, coded.float())):
        total.add_(values.sum((0, 1, 2)))


@torch.no_grad()
def m_step(architecture: Architecture, shards: Shards, point: Point) -> Point:
    """The same point with tables of all evidence, which starts afresh."""
    tables = updated(architecture, shards, point.tables, point.evidence)
    return replace(point, tables=tables, evidence=Evidence.none(tables))


def updated(architecture: Architecture, shards: Shards, tables: Tables, evidence: Evidence) -> Tables:
    """Curvature from the probes, if there were any, and prior variances from the posteriors."""
    tiles, energy, squares, probes = shards.sum(*evidence.sums)
    variance = (energy + SMOOTHING * tables.variance) / (tiles + SMOOTHING)[:, None]
    curvature = curvature_of(architecture.tile, squares, probes) if probes.any() else tables.curvature
    return replace(tables, variance=variance.clamp(min=0), curvature=curvature)


def curvature_of(tile: int, squares: torch.Tensor, probes: torch.Tensor) -> torch.Tensor:
    """Mean squares of J's columns, drawn to those of frequencies around where there are few: (U,) -> (U,)."""

    def around(sums):
        planes = sums.reshape(1, tile, tile, 3).permute(0, 3, 1, 2)
        padded = functional.pad(planes, (1, 1, 1, 1), mode="replicate")
        return functional.avg_pool2d(padded, 3, 1)[0].permute(1, 2, 0).reshape(-1)

    nearby = (around(squares) + 2) / (around(probes) + 2)  # 1 where there are none
    return ((squares + FEW * nearby) / (probes + FEW)).clamp(*CURVATURE)
