"""A picture's modulations: fitted together with its latents, coded before them. Needs torch.

Shapes: M modulations (synthesis/modulation.py), as one block of that many latents.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ...format.prior import OperatingPoint
from ...format.streams import COST_PER_BIT, Partition, kl_table
from ...synthesis.modulation import modulated
from ...synthesis.network import Network
from ..code.streams import Code, Draws, bundles, code_segment, streams
from .noise import Noise
from .posterior import Gaussians, Posterior, as_tensor, reachable

WORTH = 30  # times the bits of its modulations that a picture's blocks cost, from where on it has some
BEGIN = 0.25  # share of a fit's steps after which modulations move: the latents have come close by then
DECAYS = (0.9, 0.98)  # of Adam's means of gradients and of their squares
RATE = 6.0  # prior scales that Adam moves a modulation by in a fit, all steps together, at most


def worth(point: OperatingPoint, pixels: int, bits: int) -> bool:
    """Whether a picture of so many pixels, whose blocks cost so many bits, is to have modulations."""
    kl_index = point.modulation_kl(pixels)
    return kl_index is not None and bits >= WORTH * point.length_of(kl_index) > 0


@dataclass(frozen=True)
class Modulation:
    """What is coded: one block of latents, as a Subject has many."""

    point: OperatingPoint
    kl_index: np.ndarray  # (1, M) uint8
    partition: Partition
    prior: Gaussians  # (1, M)
    numbers: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    coded: np.ndarray = field(default_factory=lambda: np.ones(1, bool))

    @staticmethod
    def of(point: OperatingPoint, pixels: int, device: torch.device) -> "Modulation":
        """Of a picture of so many pixels."""
        kl_index = point.modulation_kl(pixels)
        partition = point.partition(kl_index)
        scale = np.zeros(kl_index.shape, np.float32)
        scale[0, partition.latents] = point.modulations.scale[partition.latents]
        sigma = scale * np.exp2(-kl_table()[kl_index] / COST_PER_BIT)
        tables = np.zeros(kl_index.shape[1]), scale, sigma
        gaussians = Gaussians(*(as_tensor(table.astype(np.float32), device) for table in tables))
        return Modulation(point, kl_index, partition, gaussians)

    @property
    def device(self) -> torch.device:
        return self.prior.scale.device


class Adam:
    """Adam (Kingma and Ba, 2015) for one tensor, as torch.optim has it, whose first step imports a second's modules."""

    def __init__(self, x: torch.Tensor):
        self.x, self.steps = x, 0
        self.mean, self.square = torch.zeros_like(x), torch.zeros_like(x)  # of gradients

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Down the tensor's gradient."""
        self.steps += 1
        unbiased = [1 - decay**self.steps for decay in DECAYS]
        self.mean.lerp_(self.x.grad, 1 - DECAYS[0])
        self.square.mul_(DECAYS[1]).addcmul_(self.x.grad, self.x.grad, value=1 - DECAYS[1])
        scale = (self.square.sqrt() / unbiased[1] ** 0.5).add_(1e-8)
        self.x.addcdiv_(self.mean, scale, value=-rate / unbiased[0])


class Fit:
    """Modulations on their way: Adam in units of prior scales, since they work on each other."""

    def __init__(self, modulation: Modulation, share: float = 1.0):
        """share: of the picture that is fitted."""
        self.modulation, self.share = modulation, share
        self.start(0)

    def start(self, steps: int) -> None:
        """From no modulation, for a fit of so many steps."""
        self.begin = 2 * int(BEGIN * steps / 2)  # with a pair of samples
        self.rate = RATE / max(1, steps - self.begin)
        self.mean = torch.zeros_like(self.modulation.prior.scale).requires_grad_()
        self.adam = Adam(self.mean)

    def sample(self, noise: Noise) -> torch.Tensor:
        """Modulations that gradients go through: (1, M)."""
        prior = self.modulation.prior
        return prior.scale * self.mean + prior.posterior_scale * noise.normal(prior.scale.shape, prior.scale.device)

    def step(self, share: float) -> None:
        """Down the gradient of the free energy; the rate falls with the share of steps that are done."""
        prior = self.modulation.prior
        self.mean.grad += torch.where(prior.coded, self.share * self.mean.detach(), 0.0)  # of the KL
        self.adam.step(self.rate * (1 - share))
        self.mean.grad = None

    @property
    def posterior(self) -> Posterior:
        """Where they are."""
        prior = self.modulation.prior
        mean = reachable(prior.scale * self.mean.detach(), prior)
        return Posterior(mean, prior.posterior_scale, prior.coded)

    @property
    def bits(self) -> float:
        """KL of the posterior."""
        return float(self.posterior.nats(self.modulation.prior).sum()) / np.log(2)

    def code(self, network: Network, how: Code) -> tuple[np.ndarray, dict]:
        """Bits of the stream, uint8 of 0 and 1, and the shared weights that the decoder will have."""
        how = replace(how, segments=1)
        coded = bundles(self.modulation, how)
        (values,) = code_segment([(coded, self.posterior)], 0, Draws(how, self.modulation.device))
        shared = modulated(network.shared, network.architecture.colour + 1, values.mean[0])
        return streams(self.modulation, coded)[0], shared
