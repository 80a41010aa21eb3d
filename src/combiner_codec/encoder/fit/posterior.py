"""Factorised Gaussians over latents: KL, closed form, reach (COMBINER, section 3). Needs torch.

L = sum over pixels of Delta + beta * KL(q || p), Delta the squared error of a pixel averaged over its channels, KL in
nats (COMBINER, equation 3, with the sum over pixels). Shapes: B blocks, D latents each, U columns of the tables.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from ...format.operating_point import OperatingPoint
from ..settings import noise_variance

BLOCKS_AT_ONCE = 256  # whose KL is computed together
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

    @property
    def precision(self) -> torch.Tensor:
        """1 / scale^2; 0 where a latent is not coded."""
        return torch.where(self.coded, self.scale, torch.inf) ** -2

    @property
    def curvature(self) -> torch.Tensor:
        """Of distortion / beta in nats, with a linear decoder: likelihood terms have the scale `posterior_scale`."""
        return self.posterior_scale**-2

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
        scale = torch.where(self.free, self.scale, 1.0)  # of which there is a logarithm
        nats = kl_nats(self.mean, scale, prior)
        return torch.where(self.free, nats, 0.0)

    def block_nats(self, prior: Gaussians) -> torch.Tensor:
        """Sums over blocks, a few at a time, so that copies are small: (B,)."""
        sums = []
        for first in range(0, max(len(self.mean), 1), BLOCKS_AT_ONCE):
            some = slice(first, first + BLOCKS_AT_ONCE)
            nats = self.of(some).nats(prior.of(some))
            sums.append(nats.sum(1))
        return torch.cat(sums)

    def of(self, blocks: slice) -> "Posterior":
        """That of some blocks."""
        return Posterior(self.mean[blocks], self.scale[blocks], self.free[blocks])

    def moved(self, mean: torch.Tensor, scale: torch.Tensor) -> "Posterior":
        """The same latents elsewhere."""
        return replace(self, mean=mean, scale=scale)

    def fixed(self, places: list[tuple], values: list) -> "Posterior":
        """Latents at some places (row, latent) stay at these values from now on."""
        mean = self.mean.clone()
        scale = self.scale.clone()
        free = self.free.clone()
        for place, value in zip(places, values, strict=True):
            mean[place] = value
            scale[place] = 0.0
            free[place] = False
        return Posterior(mean, scale, free)


def undamped(deviation, posterior_variance, beta: float):
    """Deviations of a picture's coefficients from the prior's mean, in the latents' own size: (..., latents), the same.

    A network that damps a latent by a factor leaves a posterior wider by it (posterior_variance = noise_variance /
    curvature), and the latent has to be larger by it to show as much.
    """
    return deviation * (posterior_variance / noise_variance(beta)).sqrt()


def kl_nats(mu, sigma, prior: Gaussians):
    """KL(q || p) per latent in nats."""
    scale = torch.where(prior.coded, prior.scale, 1.0)
    ratio = sigma / scale
    deviation = (mu - prior.mean) / scale
    nats = 0.5 * (ratio**2 + deviation**2 - 1) - torch.log(ratio)
    return torch.where(prior.coded, nats, 0.0)


def distortion(pixels, target):
    """Squared error averaged over channels: (..., H, W, C) twice -> (..., H, W)."""
    return ((pixels - target) ** 2).mean(-1)


def closed_form(target, prior: Gaussians):
    """Posterior of a linear decoder with likelihood terms of scale `prior.posterior_scale`: mean and scale."""
    curvature = prior.curvature
    variance = torch.where(prior.coded, 1 / (curvature + prior.precision), 0.0)
    mu = prior.mean + variance * curvature * (target - prior.mean)
    return mu, variance.sqrt()


def reachable(mu, prior: Gaussians):
    """Means that candidates can come close to: at most REACH prior scales from the prior's mean."""
    least, most = bounds(prior)
    return torch.minimum(torch.maximum(mu, least), most)


def bounds(prior: Gaussians) -> tuple[torch.Tensor, torch.Tensor]:
    """Least and most of what is reachable."""
    reach = REACH * prior.scale
    return prior.mean - reach, prior.mean + reach


def out_of_reach(size, scale, posterior_scale):
    """Squared error of what lies further out than candidates reach, in posterior variances; all broadcast.

    size: absolute deviations from the prior's mean. 0 for a latent whose prior is narrower than its posterior, which is
    hardly coded anyway.
    """
    beyond = (size - REACH * scale).clamp(min=0)
    return torch.where(scale > posterior_scale, beyond / posterior_scale, 0.0) ** 2


def shared_weights(point: OperatingPoint, device="cpu") -> dict[str, torch.Tensor]:
    """Weights of the shared layers by name."""
    return {name: as_tensor(value, device) for name, value in point.shared.items()}


def as_tensor(array: np.ndarray, device="cpu") -> torch.Tensor:
    """An array on a device; shares memory where it can."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)
