"""One process's training pictures, as a cosine family sees them. Needs torch.

Shapes, here and in all of training: N training pictures of one size (this process's; `shards.count` of them in all),
Rt x Ct tiles and Rb x Cb blocks each; D latents per block, U columns of the prior's tables, of which the first `own`
are those of a tile; K classes.
"""

from dataclasses import dataclass
from functools import cached_property

import torch

from ..encoder.analysis import decompose
from ..encoder.posterior import Gaussians
from ..synthesis.architecture import Architecture
from .shards import Shards

AT_ONCE = 64  # pictures whose latents are computed together


@dataclass(frozen=True)
class Pictures:
    """Pictures of whole blocks, and the architecture that is to show them."""

    architecture: Architecture
    pixels: torch.Tensor  # (N, H, W, 3) in [0, 1]
    shards: Shards

    @staticmethod
    def share(architecture: Architecture, pixels: torch.Tensor) -> "Pictures":
        """This process's share of all pictures (all, H, W, 3)."""
        shards = Shards(len(pixels))
        return Pictures(architecture, pixels[shards.mine], shards)

    @property
    def area(self) -> int:
        """Pixels of a picture."""
        return self.pixels[0, :, :, 0].numel()

    @property
    def tiles(self) -> tuple[int, int, int]:
        """(N, Rt, Ct)."""
        n, height, width = self.pixels.shape[:3]
        return n, height // self.architecture.tile, width // self.architecture.tile

    @property
    def own(self) -> int:
        """Latents of a tile."""
        return self.architecture.own

    @cached_property
    def columns(self) -> torch.Tensor:
        """Column of the prior's tables for each latent of a block: (D,) int64."""
        return torch.from_numpy(self.architecture.columns)

    @cached_property
    def repeats(self) -> torch.Tensor:
        """Latents of a block in each column: (U,) int64."""
        return torch.bincount(self.columns)

    def by_column(self, values: torch.Tensor) -> torch.Tensor:
        """Average over the tiles of a picture: (n, Rb, Cb, D) -> (n, U)."""
        return self.column_sums(values.mean((1, 2))) / self.repeats

    def column_sums(self, values: torch.Tensor) -> torch.Tensor:
        """Sums over the latents of each column: (n, D) -> (n, U)."""
        return torch.zeros(len(values), len(self.repeats)).index_add(1, self.columns, values)

    def decompose(self, shared: dict, above: Gaussians) -> torch.Tensor:
        """Latents whose linear part reproduces the pictures, `above` the prior of the upper levels: (N, Rb, Cb, D)."""
        parts = [decompose(self.architecture, shared, part, above) for part in self.pixels.split(AT_ONCE)]
        return torch.cat(parts)
