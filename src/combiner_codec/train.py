"""Learning a prior by coordinate descent (COMBINER, section 3.1): E-steps on every image's posterior, closed-form
M-steps.

Runs in one process or under torchrun: images are sharded, and every sum over images is combined by one all-reduce.
The batch
order and the noise are functions of (seed, step), so the number of processes does not change the result.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from . import inr
from .inr import Architecture, Layer
from .posterior import Gaussians, TorchOps, analyse, closed_form, distortion, kl
from .prior import UNIT, Level, kl_index, kl_table, save

Report = Callable[[str], None]

MEASURED = 60  # held-out images on which a finished prior is measured
ANY_COLOUR = 0.12  # prior variance of a colour component that may take any value
UPWARDS = (0.0016, 0.003, 0.006, 0.012, 0.025, 0.05, 0.1)
DOWNWARDS = (0.0016, 0.0009, 0.0005, 0.00028, 0.00016, 0.00009, 0.000055, 0.000035)
BETAS = UPWARDS + DOWNWARDS  # the second time 0.0016 is found among the checkpoints and gone on from
CLASSES = (64, 64, 64, 32, 32, 16, 16) + (64,) * len(DOWNWARDS)
DEFAULT_METADATA = {"steps": 30, "rate": 0.3, "fit_scale": False, "budget_groups": 0}


def cosine_architecture(tile: int = 32) -> Architecture:
    """The default family: a per-tile linear layer on cosine features, then shared sine layers that refine the field."""
    return Architecture(
        "cosine",
        tile,
        (
            Layer("linear", tile * tile, 3, latent=True, bias=False),
            Layer("linear", 3, 3),  # colour map
            Layer("sine", 3, 24, window=5),
            Layer("sine", 24, 16, window=3),
            Layer("linear", 16, 3, residual_of=1),
        ),
    )


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
    m_steps: int = 4  # closed-form updates of the class tables per operating point
    rate: float = 2e-3  # Adam, shared weights
    e_rate: float = 0.25  # share of a Newton step that an E-step takes; falls to 0.03
    smoothing: float = 8.0  # images' worth of the average table in every class table
    group_bits: int = 6
    index_bits: int = 16
    seed: int = 0


class Shards:
    """This process's share of the images, and sums over all of them."""

    def __init__(self, count: int):
        on = dist.is_available() and dist.is_initialized()
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if on else (0, 1)
        self.mine = torch.arange(self.rank, count, self.world)
        self.count = count

    def sum(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self.world > 1:
            flat = torch.cat([t.reshape(-1) for t in tensors])
            dist.all_reduce(flat)
            parts = flat.split([t.numel() for t in tensors])
            tensors = tuple(p.reshape(t.shape) for p, t in zip(parts, tensors, strict=True))
        return tensors

    def batch(self, size: int, seed: int, step: int, latents: int):
        """Local positions of this step's images, the noise that belongs to them, and which of the batch they are."""
        g = torch.Generator().manual_seed(seed * 1_000_003 + step)
        chosen = torch.randint(self.count, (size,), generator=g)
        eps = torch.randn(size, latents, generator=g)
        own = chosen % self.world == self.rank
        return chosen[own] // self.world, eps[own], own


def learn_colour(pixels: torch.Tensor, shards: Shards) -> dict:
    """Principal axes of RGB as the fixed colour map, from (N, H, W, 3)."""
    flat = pixels.reshape(-1, 3).double()
    n, total, square = shards.sum(torch.tensor([len(flat)]).double(), flat.sum(0), flat.T @ flat)
    mean = total / n
    axes = torch.linalg.eigh(square / n - mean[:, None] * mean)[1].flip(1).T
    axes = axes * torch.where(axes[:, :1] < 0, -1, 1)
    return {"w1": axes.float()[None, None], "b1": torch.full((3,), 0.5)}


def learn_classes(energy, noise2, count, start, shards, smoothing, rounds=20):
    """Hard EM of a mixture of zero-mean Gaussians with diagonal covariance.

    energy: (N, D) squared deviations; noise2: (D,) posterior noise variance. Returns class of each image (N,),
    variances (K, D).
    """
    average, images = shards.sum(energy.sum(0), torch.tensor([float(len(energy))]))
    average = average / images
    assigned = start
    for _ in range(rounds):
        n = torch.bincount(assigned, minlength=count).float()
        sums = torch.zeros(count, energy.shape[1]).index_add(0, assigned, energy)
        n, sums = shards.sum(n, sums)
        gain = (sums.sum(1) / (n.clamp(min=1) * average.sum())).clamp(1e-3, 50)[:, None]
        variance = (sums + smoothing * gain * average) / (n + smoothing)[:, None]
        assigned = class_costs(energy, variance.clamp(min=noise2), noise2).argmin(1)
    return assigned, variance


def class_costs(energy, marginal, noise2):
    """Negative log-likelihood in nats under each class's marginal variance: (N, D) (K, D) -> (N, K)."""
    return 0.5 * torch.log(marginal / noise2).sum(1) + 0.5 * energy @ (1 / marginal).T


class Family:
    """State of training the default family at one operating point after the other."""

    def __init__(self, pixels: torch.Tensor, settings: TrainSettings, report: Report = print, linear: bool = False):
        self.settings, self.report = settings, report
        self.architecture = cosine_architecture(pixels.shape[1])
        if linear:
            self.architecture = replace(self.architecture, layers=self.architecture.layers[:2])
        self.per_class = [f"b{i}" for i, layer in enumerate(self.architecture.layers) if layer.kind == "sine"]
        self.shards = Shards(len(pixels))
        self.pixels = pixels[self.shards.mine]
        self.shared = learn_colour(self.pixels, self.shards) | init_shared(self.architecture, settings)
        self.target = analyse(self.architecture, self.shared, self.pixels)  # (N, D)
        self.curvature = torch.ones(self.architecture.latents)
        self.mean = torch.zeros(self.architecture.latents)
        self.pulled = self.target  # what a linear decoder's posterior would have to be drawn to
        self.assigned = None

    def level(self, index: int) -> Level:
        """Learn one operating point, warm-started from the last."""
        settings, beta = self.settings, self.settings.betas[index]
        steps = settings.first_steps if self.assigned is None else settings.steps
        classes = settings.classes[index] - 1  # the flat class comes on top
        noise2 = 1.5 * beta / self.curvature
        (self.mean,) = self.shards.sum(self.target.sum(0))
        self.mean = self.mean / self.shards.count
        self.mean[3:] = 0  # only the means of whole pictures differ from 0 by more than chance
        energy = (self.target - self.mean) ** 2
        self.assigned, variance = learn_classes(
            energy, noise2, classes, self._start(energy, classes), self.shards, settings.smoothing
        )
        scale2 = variance - noise2
        mu, _ = closed_form(self.pulled, self._prior(scale2, noise2, self.assigned))
        shared = {k: v.clone() if k in ("w1", "b1") else v.clone().requires_grad_() for k, v in self.shared.items()}
        for name in self.per_class:
            if len(shared[name]) != classes:
                shared[name] = shared[name].detach().mean(0).expand(classes, -1).clone().requires_grad_()
        learned = [v for k, v in shared.items() if k not in ("w1", "b1")]
        optimizer = torch.optim.Adam(learned, settings.rate) if learned else None
        started, square = time.time(), torch.zeros_like(self.curvature)
        probes = 0
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * min(1, (step + 1) / 50) * (1 - step / steps) + 1e-5
            own, eps, members = self.shards.batch(settings.batch, settings.seed + 7919 * index, step, mu.shape[1])
            prior = self._prior(scale2, noise2, self.assigned[own])
            sigma = closed_form(self.target[own], prior)[1]
            mean = mu[own].requires_grad_()
            pixels = inr.forward(self.architecture, mean + sigma * eps, shared, self.assigned[own], TorchOps)
            loss = distortion(pixels, self.pixels[own]).sum()
            grads = torch.autograd.grad(loss, [mean, *learned], retain_graph=step % 8 == 0)
            if step % 8 == 0:  # diagonal of J'J by random signs (Hutchinson)
                g = torch.Generator().manual_seed(step)
                flips = torch.randint(0, 2, (settings.batch, *pixels.shape[1:]), generator=g).float() * 2 - 1
                probe = torch.autograd.grad((pixels * flips[members]).sum(), mean)[0]
                square, probes = square + (probe**2).sum(0), probes + len(own)
            with torch.no_grad():
                pull = torch.where(prior.coded, (mean - prior.mean) / prior.scale.clamp(min=1e-6) ** 2, 0.0)
                step_size = (0.03 + settings.e_rate * (1 - step / steps)) * sigma**2
                mu[own] = mean.detach() - step_size * (grads[0] / beta + pull)
                summed = self.shards.sum(*grads[1:])
                for parameter, grad in zip(learned, summed, strict=True):
                    parameter.grad = grad / (settings.batch * self.pixels.shape[1] ** 2 * 1e-3)
                optimizer.step()
            if (step + 1) % (steps // settings.m_steps) == 0:
                square, total = self.shards.sum(square, torch.tensor([float(probes)]))
                if total > 0:
                    self.curvature = (square / total).clamp(0.3, 3)
                noise2 = 1.5 * beta / self.curvature
                square, probes = torch.zeros_like(square), 0
                scale2 = self._m_step(mu, scale2, noise2, classes)
                self._log(index, step, beta, shared, mu, scale2, noise2, time.time() - started)
        self.shared = {k: v.detach() for k, v in shared.items()}
        self.pulled = self._pulled(mu, self._prior(scale2, noise2, self.assigned))
        return self._freeze(beta, scale2, noise2)

    def resume(self, level: Level) -> None:
        """Go on from a finished operating point."""
        self.shared = {k: torch.from_numpy(v[:-1] if k in self.per_class else v) for k, v in level.shared.items()}
        self.target = analyse(self.architecture, self.shared, self.pixels)
        self.pulled = self.target
        self.curvature = 1.5 * level.beta / torch.from_numpy(level.noise) ** 2
        self.mean = torch.from_numpy(level.mean)
        scale2 = torch.from_numpy(level.scale[:-1]) ** 2
        energy, noise2 = (self.target - self.mean) ** 2, torch.from_numpy(level.noise) ** 2
        self.assigned = class_costs(energy, scale2 + noise2, noise2).argmin(1)

    def _pulled(self, mu, prior: Gaussians):
        """The inverse of `closed_form`: the target whose posterior mean is mu, so that the next point starts where
        this one ended.
        """
        shrink = 1 + prior.noise**2 / prior.scale.clamp(min=1e-6) ** 2
        steady = prior.coded & (shrink < 4)
        return torch.where(steady, prior.mean + shrink * (mu - prior.mean), self.target)

    def _start(self, energy, classes):
        """Start of the classes: by log energy, or the classes of the last operating point where their number is the
        same.
        """
        if self.assigned is not None and int(self.assigned.max()) < classes <= 1.5 * int(self.assigned.max() + 1):
            return self.assigned
        scores = torch.zeros(self.shards.count)
        scores[self.shards.mine] = torch.log(energy.clamp(min=1e-3)).sum(1)
        (scores,) = self.shards.sum(scores)
        scores = scores + 0.3 * scores.std() * torch.randn(len(scores), generator=torch.Generator().manual_seed(1))
        return (torch.argsort(torch.argsort(scores)) * classes // len(scores))[self.shards.mine]

    def _prior(self, scale2, noise2, classes) -> Gaussians:
        coded = 0.5 * torch.log2(1 + scale2.clamp(min=0) / noise2) > 0.5 / UNIT
        scale = torch.where(coded, scale2.clamp(min=0).sqrt(), 0.0)[classes]
        return Gaussians(self.mean, scale, noise2.sqrt(), scale > 0)

    def _m_step(self, mu, scale2, noise2, classes):
        """Class variances from the posteriors, in closed form.

        The plain M-step s^2 = mean(sigma^2 + (mu - m)^2) creeps, as mu is shrunk by the last s. Where the data speak
        (s^2 > noise^2) this
        takes its fixed point instead: with likelihood terms N(pulled; h, noise^2) held fixed that is s^2 =
        mean((pulled - m)^2) - noise^2.
        (Elsewhere the jump multiplies the noise of mu: tried, and ELBO got worse below 0.5 bpp.)
        """
        prior = self._prior(scale2, noise2, self.assigned)
        sigma = closed_form(self.target, prior)[1]
        shrink = 1 + noise2 / prior.scale.clamp(min=1e-6) ** 2
        steady = shrink < 2
        jump = (shrink * (mu - self.mean)) ** 2 - noise2
        energy = torch.where(steady, jump, sigma**2 + (mu - self.mean) ** 2)
        n = torch.bincount(self.assigned, minlength=classes).float()
        sums = torch.zeros(classes, energy.shape[1]).index_add(0, self.assigned, energy)
        n, sums = self.shards.sum(n, sums)
        nu = self.settings.smoothing
        return ((sums + nu * scale2.clamp(min=0)) / (n + nu)[:, None]).clamp(min=0)

    @torch.no_grad()
    def _log(self, index, step, beta, shared, mu, scale2, noise2, seconds):
        own = torch.arange(min(200, len(mu)))
        prior = self._prior(scale2, noise2, self.assigned[own])
        sigma = closed_form(self.target[own], prior)[1]
        eps = torch.randn(sigma.shape, generator=torch.Generator().manual_seed(2))
        latents = mu[own] + sigma * eps
        pixels = inr.forward(self.architecture, latents, shared, self.assigned[own], TorchOps)
        plain = inr.forward(
            replace(self.architecture, layers=self.architecture.layers[:2]),
            latents,
            shared,
            self.assigned[own],
            TorchOps,
        )
        nats, error = kl(mu[own], sigma, prior).sum(1), distortion(pixels, self.pixels[own])
        area = self.pixels.shape[1] ** 2
        psnr = -10 * torch.log10(error / area).mean()
        linear = -10 * torch.log10(distortion(plain, self.pixels[own]) / area).mean()
        self.report(
            f"point {index} beta {beta:g} step {step + 1}: ELBO {float((error + beta * nats).mean()):.4f}, "
            f"{float(nats.mean()) / np.log(2) / area:.4f} bpp, {float(psnr):.2f} dB (field alone {float(linear):.2f}), "
            f"{seconds:.0f} s"
        )

    def _freeze(self, beta, scale2, noise2) -> Level:
        bits = 0.5 * torch.log2(1 + scale2.clamp(min=0) / noise2)
        flat = torch.zeros(1, bits.shape[1])  # a class for pictures of one colour, any colour: only the means
        flat[0, :3] = 0.5 * torch.log2(1 + ANY_COLOUR * self.architecture.tile**2 / noise2[:3])
        shared = {
            k: torch.cat([v, v.mean(0, keepdim=True)]) if k in self.per_class else v for k, v in self.shared.items()
        }
        return Level(
            beta,
            self.mean.numpy(),
            noise2.sqrt().numpy(),
            kl_index(torch.cat([bits, flat]).numpy()),
            {k: v.numpy() for k, v in shared.items()},
            self.settings.group_bits,
            self.settings.index_bits,
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
        shared[f"b{i}"] = bias[None] if layer.kind == "sine" else bias
    return shared


def train_siren(
    pixels: torch.Tensor, beta: float, minutes: float, folder: Path, report: Report, seed: int = 0
) -> Level:
    """Learn the plain SIREN's prior: Adam on all posteriors at once, closed-form M-step every 20 steps, until the
    time is up.
    """
    architecture, shards = siren_architecture(pixels.shape[1]), Shards(len(pixels))
    target, size = pixels[shards.mine], architecture.latents
    state = folder / "siren.pt"
    g = torch.Generator().manual_seed(seed)
    start = torch.randn(size, generator=g)
    mu = start.repeat(len(target), 1).requires_grad_()
    rho = torch.full_like(mu, -3.5).requires_grad_()
    mean, scale2 = start.clone(), torch.full((size,), 0.05)
    optimizer = torch.optim.Adam([mu, rho], 5e-3)
    step, before = 0, 0.0
    if state.exists():
        saved = torch.load(state)
        mu.data, rho.data, mean, scale2, step, before = (
            saved[k] for k in ("mu", "rho", "mean", "scale2", "step", "seconds")
        )
        optimizer.load_state_dict(saved["optimizer"])
    started = time.time()
    classes = torch.zeros(len(target), dtype=torch.int64)
    while (seconds := before + time.time() - started) < 60 * minutes:
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * (1 - seconds / (60 * minutes)) + 2e-4
        noise = torch.Generator().manual_seed(seed * 1_000_003 + step)
        eps = torch.randn(shards.count, size, generator=noise)[shards.mine]
        prior = Gaussians(mean, scale2.sqrt().expand_as(mu), scale2, torch.ones_like(mu, dtype=torch.bool))
        sigma = rho.exp()
        error = distortion(inr.forward(architecture, mu + sigma * eps, {}, classes, TorchOps), target)
        nats = kl(mu, sigma, prior).sum(1)
        loss = (error + beta * nats).sum() / (beta * 100)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 20 == 0:
            with torch.no_grad():
                n = shards.count
                mean = shards.sum(mu.sum(0))[0] / n
                scale2 = shards.sum((rho.exp() ** 2 + (mu - mean) ** 2).sum(0))[0] / n
        if step % 500 == 0:
            area, values = target.shape[1] ** 2, torch.stack([error.detach(), nats.detach()])
            psnr = -10 * torch.log10(values[0] / area).mean()
            report(
                f"step {step}: ELBO {float((values[0] + beta * values[1]).mean()):.4f}, "
                f"{float(values[1].mean()) / np.log(2) / area:.4f} bpp, {float(psnr):.2f} dB, {seconds:.0f} s"
            )
            saved = {"mu": mu.data, "rho": rho.data, "mean": mean, "scale2": scale2, "step": step, "seconds": seconds}
            torch.save({**saved, "optimizer": optimizer.state_dict()}, state)
    with torch.no_grad():
        prior = Gaussians(mean, scale2.sqrt().expand_as(mu), scale2, torch.ones_like(mu, dtype=torch.bool))
        bits = shards.sum(kl(mu, rho.exp(), prior).sum(0))[0] / shards.count / np.log(2)
    index = kl_index(bits.numpy())
    noise = scale2.sqrt().numpy() / np.sqrt(np.expm1(2 * np.log(2) * np.maximum(kl_table()[index], 1) / UNIT))
    return Level(beta, mean.numpy(), noise, index[None], {}, group_bits=16, index_bits=16)


def load_images(sources: list[Path], tile: int, crops: int, holdout: int, seed: int = 0) -> torch.Tensor:
    """Training tiles from .npy arrays (uint8 (N, H, W, 3), less the last `holdout`) and folders of pictures.

    Arrays are mirrored too. Folders give `crops` random crops in all, each from a picture scaled down by 1 to 16 times.
    Returns (N, tile, tile, 3) in [0, 1].
    """
    from PIL import Image

    parts, rng = [], np.random.default_rng(seed)
    folders = [s for s in sources if s.is_dir()]
    for source in sources:
        if source.suffix == ".npy":
            array = np.load(source)[: -holdout or None]
            if array.shape[1:] != (tile, tile, 3) or array.dtype != np.uint8:
                raise ValueError(f"{source}: expected uint8 (N, {tile}, {tile}, 3), got {array.dtype} {array.shape}")
            parts += [array, array[:, :, ::-1]]
    for folder in folders:
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
        for k in range(crops // len(folders)):
            with Image.open(files[k % len(files)]) as picture:
                image = picture.convert("RGB")
            most = min(image.size) / tile
            factor = min(most, 2 ** rng.uniform(0, 4))
            size = [max(tile, round(side / factor)) for side in image.size]
            image = image.resize(size, Image.Resampling.LANCZOS) if factor > 1.05 else image
            x, y = (int(rng.integers(0, side - tile + 1)) for side in image.size)
            parts.append(np.asarray(image.crop((x, y, x + tile, y + tile)))[None])
    return torch.from_numpy(np.concatenate(parts)).float() / 255


def linear_prior(pixels: torch.Tensor, settings: TrainSettings, path: Path, report: Report) -> None:
    """The linear-only reference: the same cosine field and class tables in closed form, without sine layers."""
    family = Family(pixels, replace(settings, steps=0, first_steps=0), report, linear=True)
    levels = [family.level(i) for i in range(len(settings.betas))]
    levels.sort(key=lambda level: -level.beta)
    save(path, {**DEFAULT_METADATA, "steps": 0}, family.architecture, levels)


def save_level(path: Path, level: Level) -> None:
    """One operating point as a checkpoint, in single precision."""
    arrays = {"mean": level.mean, "noise": level.noise, "kl": level.kl, **level.shared}
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, beta=level.beta, bits=[level.group_bits, level.index_bits], **arrays)
    os.replace(temporary, path)


def load_level(path: Path) -> Level:
    arrays = dict(np.load(path))
    beta, (group_bits, index_bits) = float(arrays.pop("beta")), arrays.pop("bits").tolist()
    return Level(beta, arrays.pop("mean"), arrays.pop("noise"), arrays.pop("kl"), arrays, group_bits, index_bits)


def train_default(
    pixels: torch.Tensor, settings: TrainSettings, folder: Path, report: Report, again: bool = False
) -> None:
    """Learn every operating point that the checkpoint folder does not hold yet; with `again`, go on with those it
    holds.
    """
    family = Family(pixels, settings, report)
    for index, beta in enumerate(settings.betas):
        path = folder / f"level-{beta:g}.npz"
        if path.exists():
            family.resume(load_level(path))
            if not again:
                continue
        level = family.level(index)
        if family.shards.rank == 0:
            save_level(path, level)


def read_levels(folder: Path) -> list[Level]:
    """The checkpoints of a folder, from the largest beta to the smallest."""
    return sorted((load_level(p) for p in folder.glob("level-*.npz")), key=lambda level: -level.beta)


def run(
    sources,
    output,
    checkpoints,
    report,
    *,
    family,
    betas,
    classes,
    steps,
    first_steps,
    crops,
    holdout,
    minutes,
    seed,
    again,
):
    """`combiner train`: learn a family and write its prior file. Under torchrun, rank 0 writes."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        dist.init_process_group("gloo")
    checkpoints.mkdir(parents=True, exist_ok=True)
    images = load_images(sources, 32, crops, holdout, seed)
    command = f"{family} on {len(images)} tiles of {', '.join(s.name for s in sources)}"
    if family == "combiner-cifar":
        beta = _numbers(betas, float, (0.002,))[0]
        level = train_siren(images, beta, minutes, checkpoints, report, seed)
        trained = f"plain SIREN, trained for {minutes:g} min on {world} processor core(s)"
        metadata = {"steps": 800, "rate": 0.1, "fit_scale": True, "budget_groups": 1}
        architecture, levels = siren_architecture(), [level]
    else:
        defaults = TrainSettings(BETAS, CLASSES)
        settings = TrainSettings(
            _numbers(betas, float, BETAS),
            _numbers(classes, int, CLASSES),
            steps=steps or defaults.steps,
            first_steps=first_steps or steps or defaults.first_steps,
            seed=seed,
        )
        train_default(images, settings, checkpoints, report, again)
        trained = json.dumps(asdict(settings))
        metadata = dict(DEFAULT_METADATA)
        architecture, levels = cosine_architecture(), read_levels(checkpoints)
    if world == 1 or dist.get_rank() == 0:
        metadata = {**metadata, "training": command, "trained": trained}
        save(output, metadata, architecture, levels)
        if holdout:
            metadata["measured"] = measure(output, held_out(sources, holdout)[:MEASURED])
            save(output, metadata, architecture, levels)
        report(f"{output}: {len(levels)} operating points, {output.stat().st_size} bytes")
    if world > 1:
        dist.destroy_process_group()


def held_out(sources, holdout) -> list[np.ndarray]:
    """The images that training left out."""
    return [image for source in sources if source.suffix == ".npy" for image in np.load(source)[-holdout:]]


def measure(path: Path, pictures: list[np.ndarray]) -> dict:
    """Size and quality at the beta of every operating point on held-out pictures: the table in `encode --help`."""
    from .codec import encode_arrays
    from .prior import load_file

    prior, points = load_file(path), []
    for beta in prior.betas:
        results = encode_arrays(pictures, beta, prior)
        bpp = np.mean([r.bpp for r in results])
        points.append(
            {"beta": beta, "bpp": round(float(bpp), 3), "psnr": round(float(np.mean([r.psnr for r in results])), 2)}
        )
    return {"images": f"{len(pictures)} held-out 32x32 training images, effort normal", "points": points}


def _numbers(text, kind, default):
    return tuple(kind(part) for part in text.split(",")) if text else default
