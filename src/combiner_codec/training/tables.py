"""The prior of an operating point while it is learned, as variances. Needs torch.

Shapes, here and in all of training: P operating points; N crops of this process, side x side pixels, Rt x Ct tiles each
(`shards.count` crops in all); n of a step's B crops are this process's; U latents per tile; K classes, the last M of
merged tiles; R rows of tables, one for each class of single tiles and four for each of merged ones.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from ..encoder.fit.posterior import Gaussians, as_tensor, noise_variance
from ..format.operating_point import row_of
from ..format.streams import COST_PER_BIT
from ..synthesis.latents import kl_bits_of
from ..synthesis.squares import place_in_square

LEAST_KL = 0.5 / COST_PER_BIT  # bits from which a latent takes part; `index_of` gives up a few more
SMOOTHING = 8.0  # tiles' worth of an average or earlier table in every class table
MAP_SHARE = 0.6  # of a class number's own information, which its place in a class map costs about
LEAST_SCALE = 1e-6  # in divisions by prior scales, which are 0 where a latent is not coded


@dataclass(frozen=True)
class Tables:
    """The prior of one operating point as variances, in the latents' own units."""

    beta: Tensor | float  # squared error, summed over pixels, per nat
    mean: Tensor  # (U,)
    curvature: Tensor  # (U,) of the squared error in a latent; 1 where the network neither damps nor amplifies
    variance: Tensor  # (R, U) of the prior; up to 0 where a latent is not coded
    single: int  # K - M classes of single tiles, the first rows; classes of merged tiles have four each

    @property
    def noise(self) -> Tensor | float:
        """Variance of the picture's noise."""
        return noise_variance(self.beta)

    @property
    def unit(self) -> Tensor | float:
        """Scale of the picture's noise, in the latents' units."""
        return self.noise**0.5

    @property
    def posterior_variance(self) -> Tensor:
        """Typical posterior variances: (U,)."""
        return self.noise / self.curvature

    @property
    def marginal(self) -> Tensor:
        """Prior variances and the noise's together, by which classes are chosen at the beginning: (R, U)."""
        return self.variance + self.noise

    def kl_bits(self) -> Tensor:
        """KL of latents in bits: (R, U)."""
        return kl_bits_of(self.variance.clamp(min=0), self.posterior_variance)

    def rows_of(self, classes: Tensor) -> Tensor:
        """Rows that stand for tiles of these classes: (n, Rt, Ct) int64 -> the same."""
        rows, columns = classes.shape[-2:]
        return row_of(classes, self.single, _places(rows, columns, classes.device))

    def prior(self, classes: Tensor) -> Gaussians:
        """Prior of crops' latents from the classes of their tiles: (n, Rt, Ct) -> (n, Rt, Ct, U), means (U,)."""
        coded = self.kl_bits() > LEAST_KL
        scale = torch.where(coded, self.variance.clamp(min=0).sqrt(), 0.0)
        return Gaussians(self.mean, scale[self.rows_of(classes)], self.posterior_variance.sqrt())


@cache
def _places(rows: int, columns: int, device: torch.device) -> Tensor:
    """`place_in_square` where classes are: (Rt, Ct)."""
    return as_tensor(place_in_square(rows, columns), device)
