"""The prior of an operating point while it is learned, as variances. Needs torch. Shapes: see persistent.py."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from ..encoder.fit.posterior import Gaussians, as_tensor, noise_variance
from ..format.operating_point import OperatingPoint, row_of
from ..format.streams import COST_PER_BIT, index_of
from ..synthesis.latents import kl_bits_of
from ..synthesis.squares import place_in_square

# bits of KL from which a latent takes part; `index_of` gives up those below 0.77 / COST_PER_BIT too
CODED = 0.5 / COST_PER_BIT
LEAST_SCALE = 1e-6  # in divisions by prior scales, which are 0 where a latent is not coded


@dataclass(frozen=True)
class Tables:
    """The prior of one operating point as variances, in the latents' own units."""

    beta: float  # squared error, summed over pixels, per nat
    mean: torch.Tensor  # (U,)
    curvature: torch.Tensor  # (U,) of the squared error in a latent; 1 where the network neither damps nor amplifies
    variance: torch.Tensor  # (R, U) of the prior; up to 0 where a latent is not coded
    single: int  # K - M classes of single tiles, the first rows; classes of merged tiles have four each

    @property
    def posterior_variance(self) -> torch.Tensor:
        """Typical posterior variances: (U,)."""
        return noise_variance(self.beta) / self.curvature

    def kl_bits(self) -> torch.Tensor:
        """KL of latents in bits: (R, U)."""
        return kl_bits_of(self.variance.clamp(min=0), self.posterior_variance)

    def rows_of(self, assigned: torch.Tensor) -> torch.Tensor:
        """Rows that stand for tiles of these classes: (n, Rt, Ct) int64 -> the same."""
        rows, columns = assigned.shape[-2:]
        return row_of(assigned, self.single, _places(rows, columns, assigned.device))

    def merged(self, assigned: torch.Tensor) -> np.ndarray:
        """Which tiles of these classes are merged: (n, Rt, Ct) -> the same, bool."""
        return assigned.cpu().numpy() >= self.single

    def prior(self, assigned: torch.Tensor) -> Gaussians:
        """Prior of pictures' latents from the classes of their tiles: (n, Rt, Ct) -> (n, Rt, Ct, U), means (U,)."""
        scale = torch.where(self.kl_bits() > CODED, self.variance.clamp(min=0).sqrt(), 0.0)
        return Gaussians(self.mean, scale[self.rows_of(assigned)], self.posterior_variance.sqrt())

    def frozen(
        self, shared: dict[str, torch.Tensor], contexts: np.ndarray, group_bits: int, index_bits: int
    ) -> OperatingPoint:
        """As the prior file holds it, with weights of the shared layers and tables of the class map."""
        rows = index_of(self.kl_bits().cpu().numpy())
        kl_index, merged = rows[: self.single], rows[self.single :].reshape(-1, 4, rows.shape[1])
        weights = {name: value.detach().cpu().numpy().copy() for name, value in shared.items()}
        scale, mean = (x.cpu().numpy() for x in (self.posterior_variance.sqrt(), self.mean))
        return OperatingPoint(self.beta, mean, scale, kl_index, merged, weights, group_bits, index_bits, contexts)


def widening(prior: Gaussians) -> torch.Tensor:
    """Of a target's deviation over its posterior mean's (`closed_form`): 1 + sigma^2 / s^2, shaped as the prior."""
    return 1 + prior.posterior_scale**2 / prior.scale.clamp(min=LEAST_SCALE) ** 2


@cache
def _places(rows: int, columns: int, device: torch.device) -> torch.Tensor:
    """`place_in_square` where classes are."""
    return as_tensor(place_in_square(rows, columns), device)
