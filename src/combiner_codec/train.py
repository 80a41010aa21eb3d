"""Learning a prior by coordinate descent (COMBINER, section 3.1): E-steps on every picture's posterior, closed-form
M-steps on the prior, Adam on the shared layers.

Runs in one process or under torchrun: pictures are sharded, and every sum over pictures is combined by one all-reduce.
The batch order and the noise are functions of (seed, step), so the number of processes does not change the result.
Shapes: N training pictures of one size, Rt x Ct tiles and Rb x Cb blocks each; D latents per block, U columns of the
prior's tables, K classes.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from . import classmap, graphics, inr
from .inr import Architecture, Grid, Layer
from .mixture import Mixture, Shards, class_costs
from .posterior import Gaussians, TorchOps, closed_form, decompose, distortion, kl, tiles_of
from .prior import UNIT, Level, kl_index, kl_table, save

Report = Callable[[str], None]

COARSER = 2.0  # posterior variance of the levels above tiles, against what their curvature asks for
MAP_ROUNDS = 2  # of learning class maps and choosing classes
CENTRE = 256  # pixels along the side of the photographs' centres that a finished prior is measured on
MEASURED = 60  # held-out images on which a finished prior is measured
ANY_COLOUR = 0.12  # prior variance of a colour component that may take any value
METADATA = {"steps": 30, "rate": 0.3, "fit_scale": False, "budget_groups": 0}
SIREN_METADATA = {"steps": 800, "rate": 0.1, "fit_scale": True, "budget_groups": 1}


def cosine_architecture(tile: int = 32, coarse: tuple[Grid, ...] = ()) -> Architecture:
    """A linear layer of latents on cosine features, then shared sine layers that refine the field."""
    return Architecture(
        "cosine",
        tile,
        (
            Layer("linear", tile * tile, 3, latent=True, bias=False),
            Layer("linear", 3, 3),  # colour map
            Layer("sine", 3, 24, window=5, by_class=True),
            Layer("sine", 24, 16, window=3, by_class=not coarse),
            Layer("linear", 16, 3, residual_of=1),
        ),
        coarse,
    )


def linear_part(architecture: Architecture) -> Architecture:
    """The same without sine layers."""
    return replace(architecture, layers=architecture.layers[:2])


def siren_architecture(tile: int = 32) -> Architecture:
    """The paper's CIFAR-10 network: 1,123 weights, all stored (COMBINER, appendix; SIREN)."""
    scale = 6**0.5 / (3**0.5 * 4)  # standard deviation of SIREN's uniform weights, 16 inputs, times omega
    return Architecture(
        "fourier",
        tile,
        (
            Layer("sine", 32, 16, latent=True, scale=scale),
            Layer("sine", 16, 16, latent=True, scale=scale),
            Layer("sine", 16, 16, latent=True, scale=scale),
            Layer("linear", 16, 3, latent=True, scale=scale),
        ),
    )


@dataclass(frozen=True)
class TrainSettings:
    betas: tuple[float, ...]
    classes: tuple[int, ...]  # K per operating point, the flat class included
    steps: int = 2000  # minibatch steps per operating point
    first_steps: int = 4000  # for the first operating point, which starts from a linear model
    batch: int = 64
    m_steps: int = 8  # closed-form updates of the class tables per operating point
    rate: float = 2e-3  # Adam, shared weights
    e_rate: float = 0.25  # share of a Newton step that an E-step takes; falls to 0.03
    smoothing: float = 8.0  # tiles' worth of the average table in every class table
    group_bits: int = 6
    index_bits: int = 16
    seed: int = 0


UPWARDS = (0.0016, 0.003, 0.006, 0.012, 0.025, 0.05, 0.1)
DOWNWARDS = (0.0016, 0.0009, 0.0005, 0.00028, 0.00016, 0.00009, 0.000055, 0.000035)
SMALL = TrainSettings(  # the second time 0.0016 is found among the checkpoints and gone on from
    UPWARDS + DOWNWARDS, (64, 64, 64, 32, 32, 16, 16) + (64,) * len(DOWNWARDS)
)
PHOTO = TrainSettings(
    (0.0028, 0.0016, 0.0009, 0.0005, 0.00025, 0.0028, 0.0045, 0.007, 0.011, 0.018, 0.03, 0.06),
    (128,) * 12,
    800,
    1600,
    batch=8,
)


@dataclass(frozen=True)
class Recipe:
    """A family that `combiner train` knows."""

    architecture: Architecture
    settings: TrainSettings
    side: int  # pixels along the side of a training picture
    octaves: float  # how far crops of photographs are scaled down


RECIPES = {
    "small": Recipe(cosine_architecture(), SMALL, 32, 4.0),
    "photo": Recipe(cosine_architecture(16, (Grid(64, 4),)), PHOTO, 128, 1.0),
    "combiner-cifar": Recipe(siren_architecture(), TrainSettings((0.002,), (1,)), 32, 4.0),
}


def learn_colour(pixels: torch.Tensor, shards: Shards) -> dict:
    """Principal axes of RGB as the fixed colour map, from (N, H, W, 3)."""
    flat = pixels[:, ::2, ::2].reshape(-1, 3).double()
    n, total, square = shards.sum(torch.tensor([len(flat)]).double(), flat.sum(0), flat.T @ flat)
    mean = total / n
    axes = torch.linalg.eigh(square / n - mean[:, None] * mean)[1].flip(1).T
    axes = axes * torch.where(axes[:, :1] < 0, -1, 1)
    return {"w1": axes.float()[None, None], "b1": torch.full((3,), 0.5)}


def fixed_point(mu, sigma, prior: Gaussians):
    """What an M-step averages to get s^2, per latent.

    The plain s^2 = mean(sigma^2 + (mu - m)^2) creeps, as mu is shrunk by the last s. Where the data speak
    (s^2 > noise^2) this takes its fixed point instead: with likelihood terms N(pulled; h, noise^2) held fixed that is
    s^2 = mean((pulled - m)^2) - noise^2. (Elsewhere the jump multiplies the noise of mu: tried, and ELBO got worse
    below 0.5 bpp.)
    """
    shrink = 1 + prior.noise**2 / prior.scale.clamp(min=1e-6) ** 2
    jump = (shrink * (mu - prior.mean)) ** 2 - prior.noise**2
    return torch.where(shrink < 2, jump, sigma**2 + (mu - prior.mean) ** 2)


@dataclass
class Point:
    """An operating point while it is learned."""

    beta: float
    scale2: torch.Tensor  # (K, latents of a tile) prior variances; below noise2's reach a latent is not coded
    above2: torch.Tensor  # (latents of the levels above,) the same
    noise2: torch.Tensor  # (U,) typical posterior variances
    mu: torch.Tensor  # (N, Rb, Cb, D) posterior means
    shared: dict
    started: float = field(default_factory=time.time)


class Family:
    """State of training a cosine family at one operating point after the other."""

    def __init__(
        self, pixels: torch.Tensor, architecture: Architecture, settings: TrainSettings, report: Report = print
    ):
        self.architecture, self.settings, self.report = architecture, settings, report
        self.per_class = [f"b{i}" for i, layer in enumerate(architecture.layers) if layer.by_class]
        self.shards = Shards(len(pixels))
        self.pixels = pixels[self.shards.mine]
        self.shared = learn_colour(self.pixels, self.shards) | init_shared(architecture, settings)
        self.own = architecture.pattern[0]
        self.columns = torch.from_numpy(architecture.columns)
        columns = sum(architecture.pattern)
        self.curvature, self.mean = torch.ones(columns), torch.zeros(columns)
        self.above2 = torch.full((columns - self.own,), 1e6)  # until they are measured, levels above take all they can
        self.target = self._decompose(torch.full((columns,), 1e-3))
        self.pulled = self.target  # what a linear decoder's posterior would have to be drawn to
        self.assigned = None  # (N, Rt, Ct) classes
        self.contexts = None  # tables of classmap.py
        self.flat = torch.zeros(self.own)  # prior variances for tiles of one colour
        if not architecture.coarse:
            self.flat[:3] = ANY_COLOUR * architecture.tile**2

    def level(self, index: int) -> Level:
        """Learn one operating point, warm-started from the last."""
        settings, beta = self.settings, self.settings.betas[index]
        steps = settings.first_steps if self.assigned is None else settings.steps
        point = self._begin(beta, settings.classes[index])
        fixed = ("w1", "b1")
        learned = [v.requires_grad_() for k, v in point.shared.items() if k not in fixed]
        optimizer = torch.optim.Adam(learned, settings.rate) if learned else None
        area = self.pixels[0, :, :, 0].numel()
        square, probes = torch.zeros(self.architecture.latents), 0
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * min(1, (step + 1) / 50) * (1 - step / steps) + 1e-5
            shape = point.mu.shape[1:]
            own, eps, members = self.shards.batch(settings.batch, settings.seed + 7919 * index, step, shape)
            prior = self._prior(point, own)
            sigma = closed_form(self.target[own], prior)[1]
            mean = point.mu[own].requires_grad_()
            pixels = inr.forward(self.architecture, mean + sigma * eps, point.shared, self.assigned[own], TorchOps)
            loss = distortion(pixels, self.pixels[own]).sum()
            grads = torch.autograd.grad(loss, [mean, *learned], retain_graph=step % 8 == 0)
            if step % 8 == 0:  # diagonal of J'J by random signs (Hutchinson)
                g = torch.Generator().manual_seed(step)
                flips = torch.randint(0, 2, (settings.batch, *pixels.shape[1:]), generator=g).float() * 2 - 1
                probe = torch.autograd.grad((pixels * flips[members]).sum(), mean)[0]
                square, probes = square + (probe**2).sum((0, 1, 2)), probes + probe[..., 0].numel()
            with torch.no_grad():
                pull = torch.where(prior.coded, (mean - prior.mean) / prior.scale.clamp(min=1e-6) ** 2, 0.0)
                step_size = (0.03 + settings.e_rate * (1 - step / steps)) * sigma**2
                point.mu[own] = mean.detach() - step_size * (grads[0] / beta + pull)
                for parameter, grad in zip(learned, self.shards.sum(*grads[1:]), strict=True):
                    parameter.grad = grad / (settings.batch * area * 1e-3)
                optimizer.step()
            if (step + 1) % max(1, steps // settings.m_steps) == 0:
                self._m_step(point, square, probes)
                square, probes = torch.zeros_like(square), 0
                self._log(index, step, point)
        self.shared = {k: v.detach() for k, v in point.shared.items()}
        self.above2 = point.above2
        self.pulled = self._pulled(point)
        return self._freeze(point)

    def resume(self, level: Level) -> None:
        """Go on from a finished operating point."""
        self.shared = {k: torch.from_numpy(v) for k, v in level.shared.items()}
        noise2, self.mean = torch.from_numpy(level.noise) ** 2, torch.from_numpy(level.mean)
        self.curvature = self._noise2(level.beta, torch.ones_like(noise2)) / noise2
        self.above2 = torch.expm1(2 * np.log(2) / UNIT * torch.from_numpy(kl_table()[level.coarse])).float()
        self.above2 = self.above2 * noise2[self.own :]
        self.target = self._decompose(noise2)
        self.pulled = self.target
        marginal = torch.from_numpy(level.scale) ** 2 + noise2[: self.own]
        self.assigned = class_costs(self._energy(), marginal, noise2[: self.own]).argmin(1).reshape(self._tiles())

    def _begin(self, beta, classes) -> Point:
        """Class tables and posteriors of a new operating point, from the linear part and the last point."""
        noise2 = self._noise2(beta, self.curvature)
        self.target = self._decompose(noise2)
        (self.mean,) = self.shards.sum(self._by_column(self.target).sum(0))
        self.mean = self.mean / self.shards.count
        if self.architecture.coarse:
            self.mean[: self.own] = 0
        self.mean[3:] = 0  # only the means of whole pictures differ from 0 by more than chance
        own2 = noise2[: self.own]
        flat = self._flat(classes)
        mixture = Mixture(self._energy(), own2, flat + own2, classes, self.shards, self.settings.smoothing)
        assigned, variance = mixture.learn(self._start(mixture.energy, classes - len(flat)))
        self.assigned = assigned.reshape(self._tiles())
        for _ in range(MAP_ROUNDS if self.architecture.coarse else 0):
            self._learn_map(mixture.energy, variance, own2, classes)
            variance = mixture.variances(self.assigned.reshape(-1))
        if (self.above2 > 1e5).any():
            deviation = self.target - self.mean[self.columns]
            (above,) = self.shards.sum(self._by_column(deviation**2).sum(0)[self.own :])
            self.above2 = above / self.shards.count
        shared = {k: v.clone() for k, v in self.shared.items()}
        for name in self.per_class:
            if len(shared[name]) != classes:
                shared[name] = shared[name].mean(0).expand(classes, -1).clone()
        point = Point(beta, variance - own2, self.above2, noise2, self.target, shared)
        point.mu = closed_form(self.pulled, self._prior(point))[0]
        return point

    def _learn_map(self, energy, variance, noise2, classes):
        """Tables of the class map from the maps of all pictures, then classes anew with the map's cost counted."""
        maps = torch.zeros(self.shards.count, *self.assigned.shape[1:])
        maps[self.shards.mine] = self.assigned.float()
        (maps,) = self.shards.sum(maps)
        self.contexts = classmap.learn(list(maps.numpy().astype(np.uint8)), classes, epochs=3)
        each = self.assigned[0].numel()
        for i, part in enumerate(energy.split(each)):
            bits = (class_costs(part, variance, noise2) / np.log(2)).numpy().reshape(*self.assigned.shape[1:], -1)
            self.assigned[i] = torch.from_numpy(classmap.choose(bits, self.contexts).astype(np.int64))

    def _flat(self, classes):
        """Prior variances of the last class, which is not learned: (1, own), or (0, own) where there is no other."""
        return self.flat[None, :][: classes - 1]

    def _noise2(self, beta, curvature):
        """Typical posterior variances: (U,). Levels above are coarser still: the tiles make up for it."""
        noise2 = 1.5 * beta / curvature
        noise2[self.own :] *= COARSER
        return noise2

    def _decompose(self, noise2):
        """Latents that reproduce the pictures: (N, Rb, Cb, D)."""
        above = Gaussians(self.mean[self.own :], self.above2.sqrt(), noise2[self.own :].sqrt())
        parts = [decompose(self.architecture, self.shared, part, above) for part in self.pixels.split(64)]
        return torch.cat(parts)

    def _tiles(self):
        n = self.architecture.tile
        return len(self.pixels), self.pixels.shape[1] // n, self.pixels.shape[2] // n

    def _energy(self):
        """Squared deviations of all tiles' latents: (tiles, latents of a tile)."""
        deviation = tiles_of(self.architecture, self.target).reshape(-1, self.own) - self.mean[: self.own]
        return deviation**2 / self.curvature[: self.own]  # what the network damps has to be larger

    def _by_column(self, values):
        """Average over the tiles of a picture: (N, Rb, Cb, D) -> (N, U)."""
        repeats = torch.bincount(self.columns)
        sums = torch.zeros(len(values), len(repeats)).index_add(1, self.columns, values.mean((1, 2)))
        return sums / repeats

    def _pulled(self, point: Point):
        """The inverse of `closed_form`: the target whose posterior mean is mu, so that the next point starts where
        this one ended.
        """
        prior = self._prior(point)
        shrink = 1 + prior.noise**2 / prior.scale.clamp(min=1e-6) ** 2
        steady = prior.coded & (shrink < 4)
        return torch.where(steady, prior.mean + shrink * (point.mu - prior.mean), self.target)

    def _start(self, energy, classes):
        """Start of the classes: by log energy, or the classes of the last operating point where their number is the
        same.
        """
        if self.assigned is not None and int(self.assigned.max()) <= classes <= 1.5 * int(self.assigned.max() + 1):
            return self.assigned.reshape(-1).clamp(max=classes - 1)
        each = len(energy) // max(1, len(self.pixels))
        scores = torch.zeros(self.shards.count, each)
        scores[self.shards.mine] = torch.log(energy.clamp(min=1e-3)).sum(1).reshape(-1, each)
        (scores,) = self.shards.sum(scores)
        g = torch.Generator().manual_seed(1)
        scores = scores.reshape(-1) + 0.3 * scores.std() * torch.randn(scores.numel(), generator=g)
        ranks = torch.argsort(torch.argsort(scores)) * classes // len(scores)
        return ranks.reshape(-1, each)[self.shards.mine].reshape(-1)

    def _prior(self, point: Point, rows=slice(None)) -> Gaussians:
        """Prior of some pictures' latents."""

        def scale(variance, noise2):
            coded = 0.5 * torch.log2(1 + variance.clamp(min=0) / noise2) > 0.5 / UNIT
            return torch.where(coded, variance.clamp(min=0).sqrt(), 0.0)

        tiles = scale(point.scale2, point.noise2[: self.own])[self.assigned[rows]]
        n, (p, r, c) = self.architecture.block // self.architecture.tile, tiles.shape[:3]
        tiles = tiles.reshape(p, r // n, n, c // n, n, self.own).transpose(2, 3)
        tiles = tiles.reshape(p, r // n, c // n, n * n * self.own)
        above = scale(point.above2, point.noise2[self.own :])[self.columns[tiles.shape[-1] :] - self.own]
        whole = torch.cat([tiles, above.expand(*tiles.shape[:3], -1)], -1)
        return Gaussians(self.mean[self.columns], whole, point.noise2.sqrt()[self.columns])

    @torch.no_grad()
    def _m_step(self, point: Point, square, probes):
        """Noise from the curvature, prior variances from the posteriors, both in closed form."""
        square, total = self.shards.sum(square, torch.tensor([float(probes)]))
        if total > 0:
            repeats = torch.bincount(self.columns)
            square = torch.zeros(len(repeats)).index_add(0, self.columns, square) / repeats
            self.curvature = (square / total).clamp(0.3, 3)
        point.noise2 = self._noise2(point.beta, self.curvature)
        classes, nu = len(point.scale2), self.settings.smoothing
        sums, above = torch.zeros_like(point.scale2), torch.zeros_like(point.above2)
        n = torch.bincount(self.assigned.reshape(-1), minlength=classes).float()
        for rows in torch.arange(len(point.mu)).split(64):
            prior, mu = self._prior(point, rows), point.mu[rows]
            sigma = closed_form(self.target[rows], prior)[1]
            energy = fixed_point(mu, sigma, prior)
            tiles = tiles_of(self.architecture, energy).reshape(-1, self.own)
            sums.index_add_(0, self.assigned[rows].reshape(-1), tiles)
            above += self._by_column(energy)[:, self.own :].sum(0)
        n, sums, above = self.shards.sum(n, sums, above)
        point.scale2 = ((sums + nu * point.scale2.clamp(min=0)) / (n + nu)[:, None]).clamp(min=0)
        flat = self._flat(classes)
        point.scale2[classes - len(flat) :] = flat
        point.above2 = (above / self.shards.count).clamp(min=0)

    @torch.no_grad()
    def _log(self, index, step, point: Point):
        area = self.pixels[0, :, :, 0].numel()
        own = torch.arange(min(200 * 1024 // area, len(point.mu)))
        prior = self._prior(point, own)
        sigma = closed_form(self.target[own], prior)[1]
        latents = point.mu[own] + sigma * torch.randn(sigma.shape, generator=torch.Generator().manual_seed(2))
        nats = kl(point.mu[own], sigma, prior).sum((1, 2, 3))

        def error(architecture):
            pixels = inr.forward(architecture, latents, point.shared, self.assigned[own], TorchOps)
            return distortion(pixels, self.pixels[own]).sum((1, 2))

        def decibels(errors):
            return float(-10 * torch.log10(errors / area).mean())

        full = error(self.architecture)
        self.report(
            f"point {index} beta {point.beta:g} step {step + 1}: "
            f"ELBO {float((full + point.beta * nats).mean()) * 1024 / area:.4f}, "
            f"{float(nats.mean()) / np.log(2) / area:.4f} bpp, {decibels(full):.2f} dB "
            f"(field alone {decibels(error(linear_part(self.architecture))):.2f}), {time.time() - point.started:.0f} s"
        )

    def _freeze(self, point: Point) -> Level:
        bits = 0.5 * torch.log2(1 + point.scale2.clamp(min=0) / point.noise2[: self.own])
        shared = {k: v.numpy().copy() for k, v in self.shared.items()}
        if not self.architecture.coarse:  # no training picture is of one colour
            for name in self.per_class:
                shared[name][-1] = shared[name][:-1].mean(0)
        return Level(
            point.beta,
            self.mean.numpy(),
            point.noise2.sqrt().numpy(),
            kl_index(bits.numpy()),
            kl_index(0.5 * torch.log2(1 + point.above2 / point.noise2[self.own :]).numpy()),
            shared,
            self.settings.group_bits,
            self.settings.index_bits,
            self.contexts,
        )


def init_shared(architecture: Architecture, settings: TrainSettings) -> dict:
    """Starting weights of the shared layers: the last is zero, so that the family starts as its linear part."""
    g = torch.Generator().manual_seed(settings.seed)
    shared = {}
    for i, layer in enumerate(architecture.layers):
        if layer.latent or i == 1:
            continue
        fan = layer.window**2 * layer.inputs
        bound = 0.0 if i == len(architecture.layers) - 1 else (3.0 if i == 2 else 1.0) / fan**0.5
        shape = (layer.window, layer.window, layer.inputs, layer.outputs)
        shared[f"w{i}"] = (torch.rand(shape, generator=g) * 2 - 1) * bound
        bias = (torch.rand(layer.outputs, generator=g) * 2 - 1) * bound
        shared[f"b{i}"] = bias[None] if layer.by_class else bias
    return shared


class PlainSiren:
    """State of learning the plain SIREN's prior: posteriors of all pictures at once. One class, one tile a picture."""

    KEPT = ("mu", "rho", "mean", "scale2", "count", "seconds")  # of a checkpoint, the optimizer's state aside
    RATE = 5e-3  # of Adam, at the beginning

    def __init__(self, pixels: torch.Tensor, beta: float, seed: int):
        self.architecture, self.shards = siren_architecture(pixels.shape[1]), Shards(len(pixels))
        self.target, self.beta, self.seed = pixels[self.shards.mine], beta, seed
        size = self.architecture.latents
        start = torch.randn(size, generator=torch.Generator().manual_seed(seed))
        self.mu = start.repeat(len(self.target), 1).requires_grad_()
        self.rho = torch.full_like(self.mu, -3.5).requires_grad_()  # log of the posterior scales
        self.mean, self.scale2 = start.clone(), torch.full((size,), 0.05)
        self.optimizer = torch.optim.Adam([self.mu, self.rho], self.RATE)
        self.count, self.seconds = 0, 0.0

    def step(self, share: float) -> torch.Tensor:
        """One step of Adam, `share` of the time gone: squared error and KL in nats of every picture, (2, N)."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.RATE * (1 - share) + 2e-4
        noise = torch.Generator().manual_seed(self.seed * 1_000_003 + self.count)
        eps = torch.randn(self.shards.count, len(self.mean), generator=noise)[self.shards.mine]
        sigma = self.rho.exp()
        latents, classes = self.mu + sigma * eps, torch.zeros(len(self.mu), 1, 1, dtype=torch.int64)
        shown = inr.forward(self.architecture, latents[:, None, None], {}, classes, TorchOps)
        error = distortion(shown, self.target).sum((1, 2))
        nats = kl(self.mu, sigma, self.prior()).sum(1)
        loss = (error + self.beta * nats).sum() / (self.beta * 100)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.count += 1
        return torch.stack([error, nats]).detach()

    def prior(self) -> Gaussians:
        return Gaussians(self.mean, self.scale2.sqrt().expand_as(self.mu), self.scale2)

    @torch.no_grad()
    def m_step(self) -> None:
        n = self.shards.count
        self.mean = self.shards.sum(self.mu.sum(0))[0] / n
        self.scale2 = self.shards.sum((self.rho.exp() ** 2 + (self.mu - self.mean) ** 2).sum(0))[0] / n

    def save(self, path: Path) -> None:
        kept = {name: getattr(self, name) for name in self.KEPT}
        torch.save({**kept, "optimizer": self.optimizer.state_dict()}, path)

    def resume(self, path: Path) -> None:
        saved = torch.load(path)
        self.mu.data, self.rho.data = saved["mu"].data, saved["rho"].data
        self.mean, self.scale2, self.count, self.seconds = (saved[name] for name in self.KEPT[2:])
        self.optimizer.load_state_dict(saved["optimizer"])

    @torch.no_grad()
    def level(self) -> Level:
        nats = self.shards.sum(kl(self.mu, self.rho.exp(), self.prior()).sum(0))[0] / self.shards.count
        index = kl_index((nats / np.log(2)).numpy())
        least = np.maximum(kl_table()[index], 1) / UNIT
        noise = self.scale2.sqrt().numpy() / np.sqrt(np.expm1(2 * np.log(2) * least))
        return Level(self.beta, self.mean.numpy(), noise, index[None], index[:0], {}, group_bits=16, index_bits=16)


def train_siren(
    pixels: torch.Tensor, beta: float, minutes: float, folder: Path, report: Report, seed: int = 0
) -> Level:
    """Learn the plain SIREN's prior: Adam on all posteriors at once, closed-form M-step every 20 steps, until the
    time is up.
    """
    siren, path = PlainSiren(pixels, beta, seed), folder / "siren.pt"
    if path.exists():
        siren.resume(path)
    started = time.time() - siren.seconds
    while siren.seconds < 60 * minutes:
        error, nats = siren.step(siren.seconds / (60 * minutes))
        siren.seconds = time.time() - started
        if siren.count % 20 == 0:
            siren.m_step()
        if siren.count % 500 == 0:
            area = pixels.shape[1] ** 2
            bpp, psnr = float(nats.mean()) / np.log(2) / area, float(-10 * torch.log10(error / area).mean())
            elbo = float((error + beta * nats).mean())
            report(f"step {siren.count}: ELBO {elbo:.4f}, {bpp:.4f} bpp, {psnr:.2f} dB, {siren.seconds:.0f} s")
            siren.save(path)
    return siren.level()


def load_images(
    sources: list[Path], side: int, crops: int, holdout: int, seed: int = 0, octaves: float = 4.0
) -> torch.Tensor:
    """Training pictures from .npy arrays (uint8 (N, H, W, 3), less the last `holdout`) and folders of pictures.

    Arrays are mirrored too. Folders give `crops` random crops in all, each from a picture scaled down by up to
    `octaves` powers of two. Returns (N, side, side, 3) in [0, 1].
    """
    from PIL import Image

    parts, rng = [], np.random.default_rng(seed)
    folders = [s for s in sources if s.is_dir()]
    for source in sources:
        if source.suffix == ".npy":
            array = np.load(source)[: -holdout or None]
            if array.shape[1:] != (side, side, 3) or array.dtype != np.uint8:
                raise ValueError(f"{source}: expected uint8 (N, {side}, {side}, 3), got {array.dtype} {array.shape}")
            parts += [array, array[:, :, ::-1]]
    for folder in folders:
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
        for k in range(crops // len(folders)):
            with Image.open(files[k % len(files)]) as picture:
                image = picture.convert("RGB")
            most = min(image.size) / side
            factor = min(most, 2 ** rng.uniform(0, octaves))
            size = [max(side, round(length / factor)) for length in image.size]
            image = image.resize(size, Image.Resampling.LANCZOS) if factor > 1.05 else image
            x, y = (int(rng.integers(0, length - side + 1)) for length in image.size)
            parts.append(np.asarray(image.crop((x, y, x + side, y + side)))[None])
    return torch.from_numpy(np.concatenate(parts)).float() / 255


def linear_prior(pixels: torch.Tensor, recipe: Recipe, path: Path, report: Report) -> None:
    """The linear-only reference: the same field and class tables in closed form, without sine layers."""
    architecture = linear_part(recipe.architecture)
    family = Family(pixels, architecture, replace(recipe.settings, steps=0, first_steps=0), report)
    levels = [family.level(i) for i in range(len(recipe.settings.betas))]
    levels.sort(key=lambda level: -level.beta)
    save(path, {**METADATA, "steps": 0}, architecture, levels)


def save_level(path: Path, level: Level) -> None:
    """One operating point as a checkpoint, in single precision."""
    arrays = {"mean": level.mean, "noise": level.noise, "kl": level.kl, "coarse": level.coarse, **level.shared}
    if level.contexts is not None:
        arrays["contexts"] = level.contexts
    temporary = path.with_name(f".{path.name}")  # other processes do not take it for a checkpoint
    np.savez(temporary, beta=level.beta, bits=[level.group_bits, level.index_bits], **arrays)
    os.replace(temporary, path)


def load_level(path: Path) -> Level:
    arrays = dict(np.load(path))
    beta, (group_bits, index_bits) = float(arrays.pop("beta")), arrays.pop("bits").tolist()
    tables = [arrays.pop(name) for name in ("mean", "noise", "kl")]
    tables += [arrays.pop("coarse", np.zeros(0, np.uint8))]
    contexts = arrays.pop("contexts", None)
    return Level(beta, *tables, arrays, group_bits, index_bits, contexts)


def train_cosine(
    pixels: torch.Tensor, recipe: Recipe, folder: Path, report: Report, again: bool = False
) -> list[Level]:
    """Learn every operating point that the checkpoint folder does not hold yet; with `again`, go on with those it
    holds. Returns all of the folder's, from the largest beta to the smallest.
    """
    family = Family(pixels, recipe.architecture, recipe.settings, report)
    for index, beta in enumerate(recipe.settings.betas):
        path = folder / f"level-{beta:g}.npz"
        if path.exists():
            family.resume(load_level(path))
            if not again:
                continue
        level = family.level(index)
        if family.shards.rank == 0:
            save_level(path, level)
    family.shards.wait()
    return sorted((load_level(p) for p in folder.glob("level-*.npz")), key=lambda level: -level.beta)


@dataclass(frozen=True)
class Options:
    """What `combiner train` takes; None stands for the family's own."""

    family: str = "small"
    betas: tuple[float, ...] | None = None
    classes: tuple[int, ...] | None = None
    steps: int | None = None
    first_steps: int | None = None
    batch: int | None = None
    crops: int = 0
    holdout: int = 0
    validation: Path | None = None
    minutes: float = 40.0
    again: bool = False
    seed: int = 0

    @property
    def recipe(self) -> Recipe:
        recipe = RECIPES[self.family]
        names = ("betas", "classes", "steps", "first_steps", "batch")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.steps and not self.first_steps:
            given["first_steps"] = self.steps
        return replace(recipe, settings=replace(recipe.settings, seed=self.seed, **given))


def run(sources: list[Path], output: Path, checkpoints: Path, report: Report, options: Options) -> None:
    """`combiner train`: learn a family and write its prior file. Under torchrun, rank 0 writes."""
    world, recipe = int(os.environ.get("WORLD_SIZE", "1")), options.recipe
    if world > 1:
        dist.init_process_group("gloo")
    checkpoints.mkdir(parents=True, exist_ok=True)
    images = load_images(sources, recipe.side, options.crops, options.holdout, options.seed, recipe.octaves)
    command = f"{options.family} on {len(images)} pictures of {', '.join(s.name for s in sources)}"
    if options.family == "combiner-cifar":
        beta = recipe.settings.betas[0]
        levels = [train_siren(images, beta, options.minutes, checkpoints, report, options.seed)]
        trained = f"plain SIREN, trained for {options.minutes:g} min on {world} processor core(s)"
        metadata = SIREN_METADATA
    else:
        levels = train_cosine(images, recipe, checkpoints, report, options.again)
        levels = [graphics.add_classes(level, recipe.architecture, recipe.side) for level in levels]
        trained = json.dumps(asdict(recipe.settings))
        metadata = METADATA | {"graphics": list(graphics.kinds())}
    if world == 1 or dist.get_rank() == 0:
        metadata = {**metadata, "training": command, "trained": trained}
        save(output, metadata, recipe.architecture, levels)
        if options.holdout or options.validation:
            metadata["measured"] = measure(output, *held_out(sources, options))
            save(output, metadata, recipe.architecture, levels)
        report(f"{output}: {len(levels)} operating points, {output.stat().st_size} bytes")
    if world > 1:
        dist.destroy_process_group()


def held_out(sources, options: Options) -> tuple[list[np.ndarray], str]:
    """Pictures that training left out, and a line about them: the ends of arrays, or centres of photographs."""
    from PIL import Image

    if options.validation is None:
        ends = [image for s in sources if s.suffix == ".npy" for image in np.load(s)[-options.holdout :]][:MEASURED]
        return ends, f"{len(ends)} held-out 32x32 training images"
    centres = []
    for path in sorted(options.validation.glob("*.png"))[::3]:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        top, left = ((length - min(length, CENTRE)) // 2 for length in pixels.shape[:2])
        centres.append(pixels[top : top + CENTRE, left : left + CENTRE])
    return centres, f"{len(centres)} held-out photographs, {CENTRE}x{CENTRE} from the centre"


def measure(path: Path, pictures: list[np.ndarray], what: str) -> dict:
    """Size and quality at the beta of every operating point on held-out pictures: the table in `encode --help`."""
    from .codec import encode_arrays
    from .prior import load_file

    prior, points = load_file(path), []
    for beta in prior.betas:
        results = encode_arrays(pictures, beta, prior, effort="fast")
        bpp, psnr = (float(np.mean([getattr(r, name) for r in results])) for name in ("bpp", "psnr"))
        points.append({"beta": beta, "bpp": round(bpp, 3), "psnr": round(psnr, 2)})
    return {"images": f"{what}, effort fast", "points": points}
