"""What a tile costs in each class, by the linear part, whose posterior has a closed form. Needs torch.

Shapes: T tiles of n latents each, K classes.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch

from ...format.prior import OperatingPoint
from ...format.streams import UNIT, kl_table
from ..fit.posterior import REACH, undamped
from ..fit.workers import each

TILES = 1024  # whose costs are computed at once
OUTLIERS = 64  # latents of a tile that may lie further out than candidates reach; most tiles have none
POINTS = 4  # operating points whose tables are kept, some megabytes each
CODED = 0.4  # prior variance, in posterior variances, from which a latent counts as coded
SURPLUS = (-3.0, 20.0)  # logarithms of the distortion's growth that are told apart


@dataclass(frozen=True)
class Classes:
    """Classes of tiles of one size at one operating point."""

    beta: float  # that the point was learned for
    scale: torch.Tensor  # (K, n) float32 prior scales
    posterior_scale: torch.Tensor  # (n,) float32
    bits: torch.Tensor  # (K,) float64, average KL of a tile
    share: float  # of what a tile's KL exceeds these bits by that no other tile makes up for

    @staticmethod
    def of(point: OperatingPoint, kl_index: np.ndarray, side: int) -> "Classes":
        """From KL indices of the cells of a tile (K, cells, U); a block, and so a stream, has side * side tiles."""
        count, cells, size = kl_index.shape
        scale = point.scale_of(kl_index, slice(None)).reshape(count, cells * size)
        bits = kl_table()[kl_index].sum((1, 2)) / UNIT
        tables = scale, np.tile(point.posterior_scale, cells), bits
        return Classes(point.beta, *(torch.from_numpy(table) for table in tables), cells**0.5 / side)

    def errors(self, deviation: torch.Tensor) -> np.ndarray:
        """Distortion of coding each tile with each class, as far as classes differ in it.

        (T, n) latents less the prior's mean -> (T, K). With the point's own beta and a code that spends what the
        posterior wants, distortion / beta + nats is -log of the marginal likelihood. Ours spends a fixed number of
        bits: where the KL exceeds it by y n / (2 ln 2) bits, the distortion of the n coded latents (n / 2 nats) grows
        by e^y, unless other tiles of the block leave bits over. And no candidate lies much further out than REACH prior
        scales: what is beyond stays as error.
        """
        parts = each(lambda part: self._errors(part).numpy(), deviation.split(TILES))
        return np.concatenate(parts) if parts else np.zeros((0, len(self.scale)), np.float32)

    def least(self, deviation: torch.Tensor, rates: np.ndarray) -> np.ndarray:
        """Errors and rates of the best classes: (T, n), rates (K,) float32 -> (T,). See `errors`.

        What candidates do not reach only adds to a class, so it is asked for where a class might be the best alone.
        """
        parts = [part for part in deviation.split(TILES) if len(part)]
        parts = each(lambda part: self._least(part, torch.from_numpy(rates)).numpy(), parts)
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    @cached_property
    def _noise2(self):
        return self.posterior_scale.double() ** 2

    @cached_property
    def _tables(self):
        """What of the sums below depends on classes alone: (K,) each, and three (n, K)."""
        scale2, noise2 = self.scale.double() ** 2, self._noise2
        marginal = scale2 + noise2
        log_ratio = torch.log(marginal / noise2)
        coded = (scale2 > CODED * noise2).sum(1).clamp(min=1)
        sums = 0.5 * log_ratio.sum(1), 0.5 * (log_ratio - scale2 / marginal).sum(1), coded
        return *sums, (1 / marginal).T, (scale2 / marginal**2).T

    def _errors(self, deviation):
        deviation = undamped(deviation, self._noise2, self.beta)
        far, size, noise = self._outliers(deviation)
        return self._error(self._within(deviation), self._beyond(size, noise, self.scale.T[far]))

    def _least(self, deviation, rates):
        deviation = undamped(deviation, self._noise2, self.beta)
        (far, size, noise), within = self._outliers(deviation), self._within(deviation)

        def costs(tile, own):
            beyond = self._beyond(size[tile], noise[tile], self.scale[own[:, None], far[tile]][..., None])
            return self._error(within[tile, own], beyond[:, 0], own) + rates[own]

        bounds = self._error(within, 0) + rates
        best = costs(torch.arange(len(far)), bounds.argmin(1))
        tile, own = torch.nonzero(bounds < best[:, None], as_tuple=True)
        return best.scatter_reduce(0, tile, costs(tile, own), "amin")

    def _error(self, within, beyond, own=slice(None)):
        """Distortion of all classes, or of one each, in single precision."""
        return (self.beta * (within + 0.5 * beyond - np.log(2) * self.bits[own])).float()

    def _within(self, deviation):
        """Nats of each tile in each class, as if candidates reached all: (T, n) -> (T, K) float64."""
        log_ratio, least, coded, precision, slope = self._tables
        energy = deviation**2
        nats = log_ratio + 0.5 * energy @ precision
        spent = least + 0.5 * energy @ slope
        surplus = (2 * (spent - np.log(2) * self.bits) / coded).clamp(*SURPLUS)
        return nats + 0.5 * self.share * coded * (torch.exp(surplus) - 1 - surplus)

    def _outliers(self, deviation):
        """The furthest latents of each tile: their numbers, sizes and noise, (T, outliers) each."""
        noise = self._noise2.sqrt()
        far = torch.topk(deviation.abs() / noise, min(OUTLIERS, len(noise))).indices
        return far, deviation.gather(1, far).abs().float(), noise.float()[far]

    @staticmethod
    def _beyond(size, noise, scale):
        """Squares of what lies out of reach of classes' candidates, in posterior variances: sizes and noise of N tiles'
        outliers, scales (N, outliers, K) -> (N, K).
        """
        noise = noise[..., None]
        beyond = (size[..., None] - REACH * scale).clamp(min=0)
        return (torch.where(scale > noise, beyond / noise, 0.0) ** 2).sum(1)


@lru_cache(POINTS)
def kinds(point: OperatingPoint, side: int) -> tuple[Classes, Classes]:
    """Classes of tiles on their own and of merged ones, of which a block has side * side and a fourth of them."""
    return Classes.of(point, point.kl_index[:, None], side), Classes.of(point, point.merged, side)


def tile_nats(point: OperatingPoint) -> np.ndarray:
    """What a tile of each class costs, its class apart: (K,) nats."""
    return np.log(2) * point.tile_bits
