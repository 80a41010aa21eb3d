"""Pixels -> latents: the inverse of the field's linear part. Needs torch.

Shapes: P pictures of H x W pixels, Rt x Ct whole tiles of U latents each.
"""

import numpy as np
import torch

from ...synthesis.architecture import Architecture
from ...synthesis.lapped import analyse
from ...synthesis.torch_ops import TorchOps


def decompose(architecture: Architecture, shared: dict, pixels: torch.Tensor, merged: np.ndarray) -> torch.Tensor:
    """Latents whose linear part reproduces the pixels: (P, H, W, C), merged (P, Rt, Ct) bool -> (P, Rt, Ct, U).

    C is 3, or 1 for grey pictures, which stands for three equal channels.
    """
    components = colour_components(architecture, shared, pixels)
    field = components.permute(0, 1, 3, 2)  # (P, H, 3, W)
    tiles = analyse(field, merged, architecture.tile, TorchOps)
    return tiles.flatten(3)


def colour_components(architecture: Architecture, shared: dict, pixels: torch.Tensor) -> torch.Tensor:
    """What the field has to be for the colour map to give the pixels: (..., 3 or 1) -> (..., 3)."""
    number = architecture.colour
    axes = shared[f"w{number}"].reshape(3, 3)
    offset = shared[f"b{number}"]
    return (pixels - offset) @ torch.linalg.inv(axes)
