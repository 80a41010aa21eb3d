"""The encoder's posterior: factorised Gaussians over latents, their KL, and their fit by the beta-ELBO. Needs torch.

L = sum over pixels of Delta + beta * KL(q || p), Delta the squared error of a pixel averaged over its channels, KL in
nats
(COMBINER, equation 3, with the sum over pixels). Shapes: T tiles, D latents, G groups.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from .inr import Architecture, cosines
from .prior import Level


class TorchOps:
    """The forward pass of inr.py on torch tensors."""

    sin = staticmethod(torch.sin)

    @staticmethod
    def constant(array, like):
        return torch.from_numpy(array).to(like)

    @staticmethod
    def narrow(x):
        return x

    @staticmethod
    def window(x, size, weights):
        r = size // 2
        padded = functional.pad(x.permute(0, 3, 1, 2), (r, r, r, r), mode="replicate")
        return functional.conv2d(padded, weights.permute(3, 2, 0, 1)).permute(0, 2, 3, 1)


@dataclass(frozen=True)
class Gaussians:
    """The prior of a batch of tiles, each with its class: means (D,), scales (T, D), 0 where a latent is not coded."""

    mean: torch.Tensor
    scale: torch.Tensor
    noise: torch.Tensor  # (D,) typical posterior scale, the unit of steps
    coded: torch.Tensor  # (T, D) bool

    @staticmethod
    def of(level: Level, classes: torch.Tensor) -> "Gaussians":
        device = classes.device
        scale = torch.from_numpy(level.scale).to(device)[classes]
        mean, noise = (torch.from_numpy(a).to(device) for a in (level.mean, level.noise))
        return Gaussians(mean, scale, noise, scale > 0)


def kl(mu, sigma, prior: Gaussians):
    """KL(q || p) per latent in nats: (T, D)."""
    safe = torch.where(prior.coded, prior.scale, 1.0)
    ratio = sigma / safe
    value = 0.5 * (ratio**2 + ((mu - prior.mean) / safe) ** 2 - 1) - torch.log(ratio)
    return torch.where(prior.coded, value, 0.0)


def distortion(pixels, target):
    """Sum over pixels of the squared error averaged over channels: (T, H, W, 3) twice -> (T,)."""
    return ((pixels - target) ** 2).mean(-1).sum((1, 2))


def analyse(architecture: Architecture, shared: dict, pixels):
    """Latents whose linear part reproduces the pixels: the exact inverse of cosine layer and colour map.

    (T, H, W, 3) -> (T, D)
    """
    n = architecture.tile
    field = (pixels - shared["b1"]) @ torch.linalg.inv(shared["w1"].reshape(3, 3))
    c = TorchOps.constant(cosines(n), field)
    half = (c @ field.reshape(-1, n, n * 3)).reshape(-1, n, n, 3)
    return (c @ half).reshape(-1, n * n * 3)


def closed_form(target, prior: Gaussians):
    """Posterior of a linear decoder with noise `prior.noise`: mean and scale, (T, D) each."""
    precision = 1 / prior.noise**2
    variance = torch.where(prior.coded, 1 / (precision + 1 / torch.where(prior.coded, prior.scale, 1.0) ** 2), 0.0)
    mu = prior.mean + variance * precision * (target - prior.mean)
    return mu, variance.sqrt()


def shared_weights(level: Level, device) -> dict:
    return {name: torch.from_numpy(value).to(device) for name, value in level.shared.items()}


def as_tensor(array: np.ndarray, device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)
