"""A sample of some pictures' posteriors, its gradients, natural-gradient steps of the means. Needs torch.

Shapes: see persistent.py.
"""

from dataclasses import dataclass
from functools import partial

import torch

from ..encoder.fit.posterior import Gaussians, distortion
from .shards import Draw, random
from .tables import LEAST_SCALE

# gradients of a process that has none of a step's pictures are 0
_grad = partial(torch.autograd.grad, materialize_grads=True)


@dataclass(frozen=True)
class Sample:
    """One sample of some pictures' posteriors, and what the network makes of it."""

    draw: Draw
    prior: Gaussians  # of the latents
    scale: torch.Tensor  # (n, Rt, Ct, U) of the posteriors
    mean: torch.Tensor  # (n, Rt, Ct, U) of the posteriors, a leaf
    pixels: torch.Tensor  # (n, H, W, 3)

    def gradients(self, target: torch.Tensor, weights: list[torch.Tensor], keep: bool) -> tuple[torch.Tensor, ...]:
        """Of the squared error against the pictures (n, H, W, 3), summed over pixels: by the means and by weights.

        keep: for a probe that follows.
        """
        loss = distortion(self.pixels, target).sum()
        return _grad(loss, [self.mean, *weights], retain_graph=keep)

    def squares(self, seed: int) -> torch.Tensor:
        """Diagonal of J'J by random signs (Hutchinson, 1990), drawn for the whole batch: (n, Rt, Ct, U). J is the
        derivative of the pixels by the latents.
        """
        shape, on = (self.draw.batch, *self.pixels.shape[1:]), self.pixels.device
        signs = torch.randint(0, 2, shape, generator=random(seed, on), device=on).float() * 2 - 1
        (row,) = _grad((self.pixels * signs[self.draw.members]).sum(), self.mean)
        return row**2

    def moved(self, gradient: torch.Tensor, beta: float, rate: float) -> torch.Tensor:
        """Posterior means after a share `rate` of a Newton step on squared error / beta + KL."""
        prior, mean = self.prior, self.mean.detach()
        pull = torch.where(prior.coded, (mean - prior.mean) / prior.scale.clamp(min=LEAST_SCALE) ** 2, 0.0)
        return mean - rate * self.scale**2 * (gradient / beta + pull)
