"""An operating point while it is learned: its prior as variances, its pictures' posteriors. Needs torch.

Shapes: see pictures.py.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..encoder.posterior import Gaussians, closed_form, noise_variance
from ..format.prior import OperatingPoint
from ..format.streams import UNIT, index_of
from ..synthesis.latents import kl_bits_of

CODED = 0.5 / UNIT  # bits of KL from which a latent takes part; `index_of` gives up those below 0.77 / UNIT too
LEAST_SCALE = 1e-6  # in divisions by prior scales, which are 0 where a latent is not coded


@dataclass(frozen=True)
class Tables:
    """The prior of one operating point as variances, in the latents' own units."""

    beta: float  # squared error, summed over pixels, per nat
    mean: torch.Tensor  # (U,)
    curvature: torch.Tensor  # (U,) of the squared error in a latent; 1 where the network neither damps nor amplifies
    variance: torch.Tensor  # (K, U) of the prior; up to 0 where a latent is not coded

    @property
    def posterior_variance(self) -> torch.Tensor:
        """Typical posterior variances: (U,)."""
        return noise_variance(self.beta) / self.curvature

    def kl_bits(self) -> torch.Tensor:
        """KL of latents in bits: (K, U)."""
        return kl_bits_of(self.variance.clamp(min=0), self.posterior_variance)

    def prior(self, assigned: torch.Tensor) -> Gaussians:
        """Prior of pictures' latents from the classes of their tiles: (n, Rt, Ct) -> (n, Rt, Ct, U), means (U,)."""
        scale = torch.where(self.kl_bits() > CODED, self.variance.clamp(min=0).sqrt(), 0.0)
        return Gaussians(self.mean, scale[assigned], self.posterior_variance.sqrt())

    def frozen(
        self, shared: dict[str, torch.Tensor], contexts: np.ndarray | None, group_bits: int, index_bits: int
    ) -> OperatingPoint:
        """As the prior file holds it, with weights of the shared layers and tables of the class map."""
        kl_index = index_of(self.kl_bits().numpy())
        merged = np.zeros((0, 4, kl_index.shape[1]), np.uint8)
        weights = {name: value.detach().numpy().copy() for name, value in shared.items()}
        scale, mean = self.posterior_variance.sqrt().numpy(), self.mean.numpy()
        return OperatingPoint(self.beta, mean, scale, kl_index, merged, weights, group_bits, index_bits, contexts)


def widening(prior: Gaussians) -> torch.Tensor:
    """Of a target's deviation over its posterior mean's (`closed_form`): 1 + sigma^2 / s^2, shaped as the prior."""
    return 1 + prior.posterior_scale**2 / prior.scale.clamp(min=LEAST_SCALE) ** 2


@dataclass(frozen=True)
class Draft:
    """An operating point while it is learned: its prior, and the posteriors of this process's pictures."""

    number: int  # its place in the order of training
    tables: Tables
    target: torch.Tensor  # (N, Rt, Ct, U) latents whose linear part reproduces the pictures
    posterior_mean: torch.Tensor  # (N, Rt, Ct, U); E-steps move it in place, since it is large
    assigned: torch.Tensor  # (N, Rt, Ct) int64 classes
    shared: dict[str, torch.Tensor]  # weights of the shared layers; Adam moves them in place

    def prior(self, rows=slice(None)) -> Gaussians:
        """Prior of some pictures' latents."""
        return self.tables.prior(self.assigned[rows])

    def posterior(self, rows) -> tuple[Gaussians, torch.Tensor]:
        """Prior of some pictures' latents and the scales of their posteriors, those of a linear decoder."""
        prior = self.prior(rows)
        return prior, closed_form(self.target[rows], prior)[1]

    def frozen(self, group_bits: int, index_bits: int) -> OperatingPoint:
        """As the prior file holds it: a tile has no neighbours, and so classes have no contexts."""
        return self.tables.frozen(self.shared, None, group_bits, index_bits)
