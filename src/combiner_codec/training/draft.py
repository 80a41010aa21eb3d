"""An operating point while it is learned: its prior as variances, its pictures' posteriors. Needs torch.

Shapes: see pictures.py.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..encoder.posterior import Gaussians, closed_form, noise_variance
from ..format.prior import OperatingPoint
from ..format.streams import UNIT, index_of
from ..synthesis.architecture import Architecture
from ..synthesis.latents import kl_bits_of

# Posterior variance of the levels above tiles, against what their curvature asks for: the tiles make up for what they
# leave. Set by hand; no measurement of other values is kept.
COARSER = 2.0
CODED = 0.5 / UNIT  # bits of KL from which a latent takes part; `index_of` gives up those below 0.77 / UNIT too
LEAST_SCALE = 1e-6  # in divisions by prior scales, which are 0 where a latent is not coded


def posterior_variance(beta: float, curvature: torch.Tensor, own: int) -> torch.Tensor:
    """Typical posterior variances: curvatures (U,), the first `own` those of a tile's latents -> (U,)."""
    variance = noise_variance(beta) / curvature
    variance[own:] *= COARSER
    return variance


@dataclass(frozen=True)
class Tables:
    """The prior of one operating point as variances, in the latents' own units."""

    beta: float  # squared error, summed over pixels, per nat
    mean: torch.Tensor  # (U,)
    curvature: torch.Tensor  # (U,) of the squared error in a latent; 1 where the network neither damps nor amplifies
    tiles: torch.Tensor  # (K, own) prior variances; up to 0 where a latent is not coded
    above: torch.Tensor  # (U - own,) prior variances of the levels above

    @property
    def own(self) -> int:
        """Latents of a tile."""
        return self.tiles.shape[1]

    @property
    def posterior_variance(self) -> torch.Tensor:
        """Typical posterior variances: (U,)."""
        return posterior_variance(self.beta, self.curvature, self.own)

    def kl_bits(self) -> tuple[torch.Tensor, torch.Tensor]:
        """KL of latents of tiles (K, own) and of the levels above (U - own,), in bits."""
        variance = self.posterior_variance
        return (
            kl_bits_of(self.tiles.clamp(min=0), variance[: self.own]),
            kl_bits_of(self.above.clamp(min=0), variance[self.own :]),
        )

    def prior(self, architecture: Architecture, assigned: torch.Tensor) -> Gaussians:
        """Prior of pictures' latents from the classes of their tiles: (n, Rt, Ct) -> (n, Rb, Cb, D) each, or (D,)."""
        tiles, above = (
            torch.where(bits > CODED, variance.clamp(min=0).sqrt(), 0.0)
            for bits, variance in zip(self.kl_bits(), (self.tiles, self.above), strict=True)
        )
        n, (p, r, c) = architecture.side, assigned.shape
        tiles = tiles[assigned].reshape(p, r // n, n, c // n, n, self.own).transpose(2, 3)
        tiles = tiles.reshape(p, r // n, c // n, n * n * self.own)
        columns = torch.from_numpy(architecture.columns)
        above = above[columns[tiles.shape[-1] :] - self.own]
        scale = torch.cat([tiles, above.expand(*tiles.shape[:3], -1)], -1)
        return Gaussians(self.mean[columns], scale, self.posterior_variance.sqrt()[columns])

    def frozen(
        self, shared: dict[str, torch.Tensor], contexts: np.ndarray | None, group_bits: int, index_bits: int
    ) -> OperatingPoint:
        """As the prior file holds it, with weights of the shared layers and tables of the class map."""
        tiles, above = (index_of(bits.numpy()) for bits in self.kl_bits())
        weights = {name: value.detach().numpy().copy() for name, value in shared.items()}
        scale, mean = self.posterior_variance.sqrt().numpy(), self.mean.numpy()
        return OperatingPoint(self.beta, mean, scale, tiles, above, weights, group_bits, index_bits, contexts)


def widening(prior: Gaussians) -> torch.Tensor:
    """Of a target's deviation over its posterior mean's (`closed_form`): 1 + sigma^2 / s^2, shaped as the prior."""
    return 1 + prior.posterior_scale**2 / prior.scale.clamp(min=LEAST_SCALE) ** 2


@dataclass(frozen=True)
class Draft:
    """An operating point while it is learned: its prior, and the posteriors of this process's pictures."""

    number: int  # its place in the order of training
    tables: Tables
    target: torch.Tensor  # (N, Rb, Cb, D) latents whose linear part reproduces the pictures
    posterior_mean: torch.Tensor  # (N, Rb, Cb, D); E-steps move it in place, since it is large
    assigned: torch.Tensor  # (N, Rt, Ct) int64 classes
    contexts: np.ndarray | None  # (3, K + 1, K) int8 tables of the class map
    shared: dict[str, torch.Tensor]  # weights of the shared layers; Adam moves them in place

    def prior(self, architecture: Architecture, rows=slice(None)) -> Gaussians:
        """Prior of some pictures' latents."""
        return self.tables.prior(architecture, self.assigned[rows])

    def posterior(self, architecture: Architecture, rows) -> tuple[Gaussians, torch.Tensor]:
        """Prior of some pictures' latents and the scales of their posteriors, those of a linear decoder."""
        prior = self.prior(architecture, rows)
        return prior, closed_form(self.target[rows], prior)[1]

    def frozen(self, group_bits: int, index_bits: int) -> OperatingPoint:
        """As the prior file holds it."""
        return self.tables.frozen(self.shared, self.contexts, group_bits, index_bits)
