"""One process's training pictures, as a cosine family sees them. Needs torch.

Shapes, here and in all of training: N training pictures of one size (this process's; `shards.count` of them in all),
Rt x Ct tiles each; U latents per tile; K classes.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..encoder.analysis import decompose
from ..synthesis.architecture import Architecture
from .shards import Shards

AT_ONCE = 64  # pictures whose latents are computed together


@dataclass(frozen=True)
class Pictures:
    """Pictures of whole tiles, each a block, and the architecture that is to show them."""

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

    def decompose(self, shared: dict) -> torch.Tensor:
        """Latents whose linear part reproduces the pictures: (N, Rt, Ct, U)."""
        none = np.zeros((AT_ONCE, *self.tiles[1:]), bool)  # merged tiles
        parts = self.pixels.split(AT_ONCE)
        return torch.cat([decompose(self.architecture, shared, part, none[: len(part)]) for part in parts])
