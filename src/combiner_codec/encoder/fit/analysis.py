"""Pixels -> latents: the inverse of the field's linear part. Needs torch.

Shapes: P pictures of H x W pixels, Rt x Ct whole tiles of U latents each.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ...synthesis.architecture import Architecture
from ...synthesis.colour_axes import Axes, rotation
from ...synthesis.lapped import analyse
from ...synthesis.pyramid import Pyramid
from ...synthesis.torch_ops import TorchOps


@dataclass(frozen=True)
class ColourMap:
    """The layer from three colour components to RGB, and back."""

    axes: torch.Tensor  # (component, RGB)
    offset: torch.Tensor  # (RGB,)
    inverse: torch.Tensor  # (RGB, component)

    @staticmethod
    def of(architecture: Architecture, shared: dict) -> "ColourMap":
        """From the weights of the shared layers."""
        number = architecture.colour
        axes = shared[f"w{number}"].reshape(3, 3)
        inverse = torch.linalg.inv_ex(axes).inverse  # `inv` would wait for a GPU
        return ColourMap(axes, shared[f"b{number}"], inverse)

    def shared(self, architecture: Architecture) -> dict[str, torch.Tensor]:
        """The weights and the bias that it is made of, by name."""
        number = architecture.colour
        return {f"w{number}": self.axes[None, None], f"b{number}": self.offset}

    def components(self, pixels: torch.Tensor) -> torch.Tensor:
        """What the field has to be for the map to give the pixels: (..., C) -> (..., 3).

        C is 3, or 1 for grey pictures, which stands for three equal channels.
        """
        return (pixels - self.offset) @ self.inverse

    def with_components_turned(self, pixels: torch.Tensor, axes: Axes) -> torch.Tensor:
        """Pixels that have here the components which others have with axes of their own: (..., 3) -> (..., 3)."""
        turn = torch.from_numpy(rotation(axes).T).float()
        return (pixels - self.offset) @ (self.inverse @ turn @ self.axes) + self.offset


def decompose(architecture: Architecture, shared: dict, pixels: torch.Tensor, merged: np.ndarray) -> torch.Tensor:
    """Latents whose linear part reproduces the pixels: (P, H, W, C), merged (P, Rt, Ct) bool -> (P, Rt, Ct, U).

    C is 3, or 1 for grey pictures.
    """
    components = ColourMap.of(architecture, shared).components(pixels)
    field = components.permute(0, 1, 3, 2)  # (P, H, 3, W)
    tiles = analyse(field, merged, architecture.tile, TorchOps)
    return Pyramid.of(merged, architecture.pyramid, tiles, TorchOps).gathered(tiles.flatten(3))
