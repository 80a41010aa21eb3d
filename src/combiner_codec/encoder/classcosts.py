"""What a tile costs in each class, by the linear part, whose posterior has a closed form. Needs torch.

Shapes: T tiles of n latents each, K classes.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..format.prior import OperatingPoint
from ..format.streams import UNIT, kl_table
from .posterior import REACH, undamped

TILES = 1024  # whose costs are computed at once
OUTLIERS = 64  # latents of a tile that may lie further out than candidates reach; most tiles have none
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
        return Classes(point.beta, *(torch.from_numpy(table) for table in tables), 1 / side)

    def errors(self, deviation: torch.Tensor) -> np.ndarray:
        """Distortion of coding each tile with each class, as far as classes differ in it.

        (T, n) latents less the prior's mean -> (T, K). With the point's own beta and a code that spends what the
        posterior wants, distortion / beta + nats is -log of the marginal likelihood. Ours spends a fixed number of
        bits: where the KL exceeds it by y n / (2 ln 2) bits, the distortion of the n coded latents (n / 2 nats) grows
        by e^y, unless other tiles of the block leave bits over. And no candidate lies much further out than REACH prior scales: what is beyond stays as error.
        """
        parts = [self._errors(part).float().numpy() for part in deviation.split(TILES)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.scale)), np.float32)

    def _errors(self, deviation):
        noise2 = self.posterior_scale.double() ** 2
        deviation = undamped(deviation, noise2, self.beta)
        scale2 = self.scale.double() ** 2
        energy, marginal = deviation**2, scale2 + noise2
        log_ratio = torch.log(marginal / noise2)
        nats = 0.5 * log_ratio.sum(1) + 0.5 * energy @ (1 / marginal).T
        spent = 0.5 * (log_ratio - scale2 / marginal).sum(1) + 0.5 * energy @ (scale2 / marginal**2).T
        payload = np.log(2) * self.bits
        coded = (scale2 > CODED * noise2).sum(1).clamp(min=1)
        surplus = (2 * (spent - payload) / coded).clamp(*SURPLUS)
        nats = nats + 0.5 * self.share * coded * (torch.exp(surplus) - 1 - surplus)
        nats = nats + 0.5 * self._beyond(deviation, noise2.sqrt())
        return self.beta * (nats - payload)

    def _beyond(self, deviation, noise):
        """Squares of what lies out of reach of each class's candidates, in posterior variances: (T, n) -> (T, K)."""
        far = torch.topk(deviation.abs() / noise, min(OUTLIERS, len(noise))).indices  # (T, outliers)
        scale, noise = self.scale.T[far], noise.float()[far]  # (T, outliers, K), (T, outliers)
        beyond = (deviation.gather(1, far).abs().float()[..., None] - REACH * scale).clamp(min=0)
        return (torch.where(scale > noise[..., None], beyond / noise[..., None], 0.0) ** 2).sum(1)


def tile_nats(point: OperatingPoint) -> np.ndarray:
    """What a tile of each class costs, class number included where it has no context: (K,) nats."""
    return np.log(2) * (point.tile_bits + (point.class_bits if point.contexts is None else 0))
