"""E-steps: a sample of some pictures' posteriors, its gradients, natural-gradient steps of the means. Needs torch.

Shapes: see pictures.py; n of a step's B pictures are this process's.
"""

from dataclasses import dataclass
from functools import partial

import torch

from ..encoder.posterior import Gaussians, distortion
from ..synthesis.network import forward
from ..synthesis.torch_ops import TorchOps
from .draft import LEAST_SCALE, Draft
from .pictures import Pictures
from .shards import Draw

# gradients of a process that has none of a step's pictures are 0
_grad = partial(torch.autograd.grad, materialize_grads=True)


@dataclass(frozen=True)
class Probe:
    """Sums of squares of the columns of J, the derivative of the pixels by a tile's latents."""

    square: torch.Tensor  # (U,) over tiles and probes
    count: int = 0  # of tiles, over all probes

    def __add__(self, other: "Probe") -> "Probe":
        return Probe(self.square + other.square, self.count + other.count)


@dataclass(frozen=True)
class Sample:
    """One sample of some pictures' posteriors, and what the network makes of it."""

    draw: Draw
    prior: Gaussians  # of the latents
    scale: torch.Tensor  # (n, Rt, Ct, U) of the posteriors
    mean: torch.Tensor  # (n, Rt, Ct, U) of the posteriors, a leaf
    pixels: torch.Tensor  # (n, H, W, 3)

    @staticmethod
    def of(pictures: Pictures, draft: Draft, draw: Draw) -> "Sample":
        """A sample at the draft's posteriors."""
        own = draw.own
        prior, scale = draft.posterior(own)
        mean = draft.posterior_mean[own].requires_grad_()
        latents = mean + scale * draw.eps
        pixels = forward(pictures.architecture, latents, draft.shared, draft.assigned[own], TorchOps)
        return Sample(draw, prior, scale, mean, pixels)

    def gradients(self, target: torch.Tensor, weights: list[torch.Tensor], keep: bool) -> tuple[torch.Tensor, ...]:
        """Of the squared error against the pictures (n, H, W, 3), summed over pixels: by the means and by weights.

        keep: for a probe that follows.
        """
        loss = distortion(self.pixels, target).sum()
        return _grad(loss, [self.mean, *weights], retain_graph=keep)

    def probe(self, seed: int) -> Probe:
        """Diagonal of J'J, summed over tiles."""
        squares = self.squares(seed)
        return Probe(squares.sum((0, 1, 2)), squares[..., 0].numel())

    def squares(self, seed: int) -> torch.Tensor:
        """The same of every latent, by random signs (Hutchinson, 1990), drawn for the whole batch: (n, Rt, Ct, U)."""
        shape = (len(self.draw.members), *self.pixels.shape[1:])
        signs = torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)).float() * 2 - 1
        (row,) = _grad((self.pixels * signs[self.draw.members]).sum(), self.mean)
        return row**2

    def moved(self, gradient: torch.Tensor, beta: float, rate: float) -> torch.Tensor:
        """Posterior means after a share `rate` of a Newton step on squared error / beta + KL."""
        prior, mean = self.prior, self.mean.detach()
        pull = torch.where(prior.coded, (mean - prior.mean) / prior.scale.clamp(min=LEAST_SCALE) ** 2, 0.0)
        return mean - rate * self.scale**2 * (gradient / beta + pull)
