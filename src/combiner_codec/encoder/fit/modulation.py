"""A picture's modulations: fitted together with its latents, coded before them. Needs torch.

Shapes: M modulations (synthesis/modulation.py), as one block of that many latents.
"""

import numpy as np
import torch

from ...format.prior import OperatingPoint
from .latents import Latents
from .noise import Noise
from .posterior import Posterior, reachable

WORTH = 30  # times the bits of its modulations that a picture's blocks cost, from where on it has some
BEGIN = 0.25  # share of a fit's steps after which modulations move: the latents have come close by then
DECAYS = (0.5, 0.9)  # of Adam's means of gradients and of their squares: a fit has few steps
Number = float | torch.Tensor  # without axes
TRAVEL = 4.0  # prior scales that Adam moves a modulation by in a fit, all steps together, at most


def worth(point: OperatingPoint, pixels: int, bits: int) -> bool:
    """Whether a picture of so many pixels, whose blocks cost so many bits, is to have modulations."""
    kl_index = point.modulation_kl(pixels)
    return kl_index is not None and bits >= WORTH * point.length_of(kl_index) > 0


class Adam:
    """Adam (Kingma and Ba, 2015) for one tensor, as torch.optim has it, whose first step imports a second's modules."""

    def __init__(self, x: torch.Tensor):
        self.x = x
        self.mean = torch.zeros_like(x)  # of gradients
        self.square = torch.zeros_like(x)  # of their squares

    @torch.no_grad()
    def step(self, size: Number, root: Number) -> None:
        """Down the tensor's gradient, which stays where it is. size, root: see `adam_numbers`."""
        self.mean.lerp_(self.x.grad, 1 - DECAYS[0])
        self.square.mul_(DECAYS[1]).addcmul_(self.x.grad, self.x.grad, value=1 - DECAYS[1])
        scale = (self.square.sqrt() / root).add_(1e-8)
        self.x.sub_((self.mean * size).div_(scale))


def adam_numbers(rate: float, step: int) -> tuple[float, float]:
    """What the means of gradients are multiplied by, and the roots of those of squares divided by, in step 1, 2, …"""
    mean_bias = 1 - DECAYS[0] ** step
    square_bias = 1 - DECAYS[1] ** step
    return rate / mean_bias, square_bias**0.5


class ModulationFit:
    """Modulations on their way: Adam in units of prior scales, since they work on each other."""

    def __init__(self, latents: Latents, share: float = 1.0, steps: int = 0):
        """From no modulation, for a fit of so many steps; share: of the picture that is fitted."""
        self.latents = latents
        self.share = share
        self.steps = steps
        self.begin = opening(steps)
        self.rate = TRAVEL / max(1, steps - self.begin)
        self.mean = torch.zeros_like(latents.prior.scale).requires_grad_()
        self.adam = Adam(self.mean)

    def anew(self, steps: int) -> "ModulationFit":
        """The same from no modulation, for a fit of so many steps."""
        return ModulationFit(self.latents, self.share, steps)

    def normals(self, noise: Noise) -> torch.Tensor:
        """Noise of a sample: (1, M)."""
        return noise.normal(self.mean.shape, self.mean.device)

    def sample(self, normals: torch.Tensor) -> torch.Tensor:
        """Modulations that gradients go through: (1, M)."""
        prior = self.latents.prior
        return prior.scale * self.mean + prior.posterior_scale * normals

    def numbers(self, number: int) -> tuple[float, float]:
        """What Adam takes in a step of the fit from `begin` on; the rate falls with the steps that are done."""
        done = (number - self.begin) / (self.steps - self.begin)
        return adam_numbers(self.rate * (1 - done), number - self.begin + 1)

    def step(self, size: Number, root: Number) -> None:
        """Down the gradient of the free energy."""
        kl_gradient = torch.where(self.latents.prior.coded, self.share * self.mean.detach(), 0.0)
        self.mean.grad += kl_gradient
        self.adam.step(size, root)
        self.mean.grad = None

    @property
    def posterior(self) -> Posterior:
        """Where they are."""
        prior = self.latents.prior
        mean = reachable(prior.scale * self.mean.detach(), prior)
        return Posterior(mean, prior.posterior_scale, prior.coded)


def opening(steps: int) -> int:
    """First steps of a fit, without modulations: an even number, so that others start with a mirrored pair."""
    return 2 * int(BEGIN * steps / 2)


def kl_bits(posterior: Posterior, latents: Latents) -> float:
    """KL of the modulations' posterior in bits."""
    return float(posterior.nats(latents.prior).sum()) / np.log(2)
