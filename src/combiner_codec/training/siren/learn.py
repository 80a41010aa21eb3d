"""The plain SIREN's prior (COMBINER, section 3): posteriors of all pictures at once by Adam. Needs torch.

One class, one tile a picture. Shapes: N pictures of this process, D latents (weights) each.
"""

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...encoder.fit.posterior import Gaussians, distortion, kl_nats
from ...format.classmap import ONE_CLASS
from ...format.operating_point import OperatingPoint
from ...format.streams import COST_PER_BIT, index_of, kl_table
from ...reports import Report
from ...synthesis.architecture import Architecture
from ...synthesis.latents import scale_factor
from ...synthesis.network import forward
from ...synthesis.torch_ops import TorchOps
from .. import checkpoint
from ..data.crops import Picture, random_crops
from ..recipes import Recipe
from ..shards import Shards, random

FIRST_RATE = 5e-3  # of Adam, less the next
LAST_RATE = 2e-4
LOG_SCALE = -3.5  # of the posterior scales at the beginning: 0.03
FIRST_VARIANCE = 0.05  # of the prior
M_EVERY = 20  # steps between M-steps
LOG_EVERY = 500  # steps between lines of the log
SEEDS_APART = 1_000_003  # a prime between seeds, so that the steps of one do not repeat another's
LOSS_UNIT = 100  # times beta: so that Adam's epsilon is small beside gradients
MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam, as torch names them
GROUP_BITS = 16  # of independent groups, whose indices are as wide: the paper's coder


class PlainSiren:
    """State of learning: posteriors and prior."""

    OF_PICTURES = ("mu", "rho")  # tensors that a checkpoint keeps, of all processes' pictures
    OF_PRIOR = ("mean", "variance")  # and those that all processes have alike

    def __init__(
        self,
        architecture: Architecture,
        pixels: Tensor,
        beta: float,
        seed: int,
    ):
        """Pixels: (all, side, side, 3) in [0, 1]; beta: squared error, summed over pixels, per nat."""
        self.architecture = architecture
        self.shards = Shards(len(pixels))
        self.target = pixels[self.shards.mine]
        self.beta = beta
        self.seed = seed
        size = architecture.latents
        start = torch.randn(size, generator=random(seed))
        self.mu = start.repeat(len(self.target), 1).requires_grad_()  # (N, D) posterior means
        self.rho = torch.full_like(self.mu, LOG_SCALE).requires_grad_()  # (N, D) logs of posterior scales
        self.mean = start.clone()  # (D,) of the prior
        self.variance = torch.full((size,), FIRST_VARIANCE)  # (D,) of the prior
        self.optimizer = torch.optim.Adam([self.mu, self.rho], FIRST_RATE)
        self.count = 0  # steps
        self.seconds = 0.0  # that they took

    def step(self, share: float) -> tuple[Tensor, Tensor]:
        """One step of Adam, `share` of the time gone: squared error and KL in nats of every picture, (N,) each."""
        self.optimizer.param_groups[0]["lr"] = FIRST_RATE * (1 - share) + LAST_RATE
        scale = self.rho.exp()
        error = self.error(scale)
        nats = self.nats(scale).sum(1)
        loss = (error + self.beta * nats).sum() / (self.beta * LOSS_UNIT)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.count += 1
        return error.detach(), nats.detach()

    def error(self, scale: Tensor) -> Tensor:
        """Squared error of one sample of the posteriors, summed over pixels: scales (N, D) -> (N,)."""
        normals = random(self.seed * SEEDS_APART + self.count)
        eps = torch.randn(self.shards.count, len(self.mean), generator=normals)[self.shards.mine]
        latents = self.mu + scale * eps
        classes = torch.zeros(len(self.mu), 1, 1, dtype=torch.int64)
        shown = forward(self.architecture, latents[:, None, None], {}, classes, TorchOps)
        return distortion(shown, self.target).sum((1, 2))

    def nats(self, scale: Tensor) -> Tensor:
        """KL of every latent from scales of posteriors: (N, D) -> (N, D) nats."""
        prior = Gaussians(self.mean, self.variance.sqrt().expand_as(self.mu), scale)
        return kl_nats(self.mu, scale, prior)

    @torch.no_grad()
    def m_step(self) -> None:
        """Means and variances of the prior in closed form."""
        self.mean = self.shards.mean(self.mu.sum(0))
        squares = self.rho.exp() ** 2 + (self.mu - self.mean) ** 2
        self.variance = self.shards.mean(squares.sum(0))

    @property
    def plan(self) -> dict:
        """What a checkpoint is of."""
        architecture = repr(self.architecture)
        return {"siren": architecture, "beta": self.beta, "pictures": self.shards.count, "seed": self.seed}

    def save(self, path: Path) -> None:
        """A checkpoint, the same for any number of processes. All take part; the first one writes."""
        state = self.optimizer.state_dict()["state"]
        members = {"plan": self.plan, "count": self.count, "seconds": self.seconds}
        for number, name in enumerate(self.OF_PICTURES):
            members[name] = self.shards.whole(getattr(self, name).detach())
            for moment in MOMENTS:
                value = state[number][moment] if state else torch.zeros_like(self.mu)
                members[f"{name}.{moment}"] = self.shards.whole(value)
        for name in self.OF_PRIOR:
            members[name] = getattr(self, name)
        if self.shards.rank == 0:
            checkpoint.write(path, members)
        self.shards.wait()

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same pictures. Raises FormatError for another file."""
        moments = {f"{name}.{moment}" for name in self.OF_PICTURES for moment in MOMENTS}
        names = {"count", "seconds", *self.OF_PICTURES, *self.OF_PRIOR, *moments}
        members = checkpoint.read(path, self.plan, names)
        self.count = members["count"]
        self.seconds = members["seconds"]
        for name in self.OF_PRIOR:
            setattr(self, name, members[name].clone())
        for name in self.OF_PICTURES:
            posteriors = getattr(self, name)
            posteriors.data = members[name][self.shards.mine]
            state = {moment: members[f"{name}.{moment}"][self.shards.mine] for moment in MOMENTS}
            self.optimizer.state[posteriors] = {"step": torch.tensor(float(self.count)), **state}

    @torch.no_grad()
    def operating_point(self) -> OperatingPoint:
        """As the prior file holds it: posterior scales such that prior scales and the KL table agree."""
        nats = self.shards.mean(self.nats(self.rho.exp()).sum(0))
        index = index_of((nats / np.log(2)).numpy())
        least = np.maximum(kl_table()[index], 1) / COST_PER_BIT  # bits; every latent is given a posterior scale
        posterior_scale = self.variance.sqrt().numpy() / scale_factor(least)
        return OperatingPoint(
            beta=self.beta,
            mean=self.mean.numpy(),
            posterior_scale=posterior_scale,
            kl_index=index[None],
            merged=np.zeros((0, 4, len(index)), np.uint8),
            shared={},
            group_bits=GROUP_BITS,
            index_bits=GROUP_BITS,
            contexts=ONE_CLASS,
        )


def learn(
    pictures: list[Picture],
    recipe: Recipe,
    count: int | None,
    folder: Path,
    report: Report,
) -> OperatingPoint:
    """Learn the prior from all pictures once, or from so many crops, until steps or time are over.

    Goes on from the checkpoint in `folder`, if there is one.
    """
    settings = recipe.settings
    numbers = np.arange(count or len(pictures))
    crops = random_crops(pictures, recipe.side, numbers, settings.seed, recipe.octaves)
    pixels = torch.from_numpy(crops).float() / 255
    siren = PlainSiren(recipe.architecture, pixels, settings.betas[0], settings.seed)
    path = folder / "siren.pt"
    if path.exists():
        siren.resume(path)
    first = siren.count
    saved = siren.seconds
    started = time.time() - siren.seconds
    while settings.share(siren.count, siren.seconds) < 1:
        error, nats = siren.step(settings.share(siren.count, siren.seconds))
        siren.seconds = siren.shards.agreed(time.time() - started)
        if siren.count % M_EVERY == 0:
            siren.m_step()
        if siren.count % LOG_EVERY == 0:
            report(log_line(siren, error, nats))
        if siren.seconds - saved >= checkpoint.SAVE_EVERY:
            siren.save(path)
            saved = siren.seconds
    if siren.count > first:
        siren.save(path)
    return siren.operating_point()


def log_line(siren: PlainSiren, error: Tensor, nats: Tensor) -> str:
    """How this process's pictures do, by squared errors and nats (N,)."""
    pixels = siren.target[0, :, :, 0].numel()
    bpp = float(nats.mean()) / np.log(2) / pixels
    elbo = float((error + siren.beta * nats).mean())
    psnr = float(-10 * torch.log10(error / pixels).mean())
    return f"step {siren.count}: ELBO {elbo:.4f}, {bpp:.4f} bpp, {psnr:.2f} dB, {siren.seconds:.0f} s"
