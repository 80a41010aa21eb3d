"""Factorised Gaussians over latents: KL, closed form, reach (COMBINER, section 3). Needs torch.

L = sum over pixels of Delta + beta * KL(q || p), Delta the squared error of a pixel averaged over its channels, KL in
nats (COMBINER, equation 3, with the sum over pixels). Shapes: B blocks, D latents each, U columns of the tables.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from ...format.prior import OperatingPoint

BLOCKS = 256  # whose KL is computed at once
REACH = 3.5  # prior scales that candidates reach: of 2^16 normals about 15 lie beyond on either side


@dataclass(frozen=True)
class Gaussians:
    """A prior over latents; all broadcast against the latents."""

    mean: torch.Tensor
    scale: torch.Tensor  # 0 where a latent is not coded
    posterior_scale: torch.Tensor  # typical sigma, the unit of steps

    @property
    def coded(self) -> torch.Tensor:
        return self.scale > 0

    def of(self, blocks: slice) -> "Gaussians":
        """That of some blocks: a scale for each latent of each, other tables for a block's latents."""
        return replace(self, scale=self.scale[blocks])


@dataclass(frozen=True)
class Posterior:
    """q of the latents of some blocks. A latent that is coded has its sample for a mean and no scale."""

    mean: torch.Tensor  # (B, D)
    scale: torch.Tensor  # (B, D)
    free: torch.Tensor  # (B, D) whether a latent is coded in the file, and is not yet

    def nats(self, prior: Gaussians) -> torch.Tensor:
        """KL of every latent that is still free: (B, D)."""
        return torch.where(self.free, kl_nats(self.mean, torch.where(self.free, self.scale, 1.0), prior), 0.0)

    def block_nats(self, prior: Gaussians) -> torch.Tensor:
        """Sums over blocks, a few at a time, so that copies are small: (B,)."""
        parts = range(0, max(len(self.mean), 1), BLOCKS)
        return torch.cat([self.of(some).nats(prior.of(some)).sum(1) for some in (slice(i, i + BLOCKS) for i in parts)])

    def of(self, blocks: slice) -> "Posterior":
        """Some blocks' own."""
        return Posterior(self.mean[blocks], self.scale[blocks], self.free[blocks])

    def moved(self, mean: torch.Tensor, scale: torch.Tensor) -> "Posterior":
        """The same latents elsewhere."""
        return replace(self, mean=mean, scale=scale)

    def fixed(self, places: list[tuple], values: list) -> "Posterior":
        """Latents at some places (row, latent) stay at these values from now on."""
        mean, scale, free = self.mean.clone(), self.scale.clone(), self.free.clone()
        for place, value in zip(places, values, strict=True):
            mean[place], scale[place], free[place] = value, 0.0, False
        return Posterior(mean, scale, free)


def noise_variance(beta: float) -> float:
    """Variance of the Gaussian likelihood whose log is -Delta / beta, of one colour component: Delta is a mean over
    three channels, so that n^2 = 3 beta / 2.
    """
    return 1.5 * beta


def undamped(deviation, posterior_variance, beta: float):
    """Deviations of a picture's coefficients from the prior's mean, in the latents' own size: (..., latents), the same.

    A network that damps a latent by a factor leaves a posterior wider by it (posterior_variance = noise_variance /
    curvature), and the latent has to be larger by it to show as much.
    """
    return deviation * (posterior_variance / noise_variance(beta)).sqrt()


def kl_nats(mu, sigma, prior: Gaussians):
    """KL(q || p) per latent in nats."""
    safe = torch.where(prior.coded, prior.scale, 1.0)
    ratio = sigma / safe
    value = 0.5 * (ratio**2 + ((mu - prior.mean) / safe) ** 2 - 1) - torch.log(ratio)
    return torch.where(prior.coded, value, 0.0)


def distortion(pixels, target):
    """Squared error averaged over channels: (..., H, W, C) twice -> (..., H, W)."""
    return ((pixels - target) ** 2).mean(-1)


def closed_form(target, prior: Gaussians):
    """Posterior of a linear decoder with likelihood terms of scale `prior.posterior_scale`: mean and scale."""
    precision = 1 / prior.posterior_scale**2
    variance = torch.where(prior.coded, 1 / (precision + 1 / torch.where(prior.coded, prior.scale, 1.0) ** 2), 0.0)
    mu = prior.mean + variance * precision * (target - prior.mean)
    return mu, variance.sqrt()


def reachable(mu, prior: Gaussians):
    """Means that candidates can come close to: at most REACH prior scales from the prior's mean."""
    return torch.minimum(torch.maximum(mu, prior.mean - REACH * prior.scale), prior.mean + REACH * prior.scale)


def shared_weights(point: OperatingPoint, device="cpu") -> dict[str, torch.Tensor]:
    """Weights of the shared layers by name."""
    return {name: as_tensor(value, device) for name, value in point.shared.items()}


def as_tensor(array: np.ndarray, device="cpu") -> torch.Tensor:
    """An array on a device; shares memory where it can."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)
