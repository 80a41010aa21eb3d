"""Pixels -> latents: the inverse of the field's linear part. Needs torch.

Shapes: P pictures of H x W pixels, Rt x Ct whole tiles of U latents each.
"""

import numpy as np
import torch

from ...synthesis.architecture import Architecture
from ...synthesis.lapped import analyse
from ...synthesis.torch_ops import TorchOps


def decompose(architecture: Architecture, shared: dict, pixels, merged: np.ndarray):
    """Latents whose linear part reproduces the pixels: (P, H, W, C), merged (P, Rt, Ct) bool -> (P, Rt, Ct, U).

    C is 3, or 1 for grey pictures, which stands for three equal channels.
    """
    axes, offset = colour_map(architecture, shared)
    rest = ((pixels - offset) @ torch.linalg.inv(axes)).permute(0, 1, 3, 2)
    return analyse(rest, merged, architecture.tile, TorchOps).flatten(3)


def colour_map(architecture: Architecture, shared: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """The layer from colour components to RGB: (3, 3) and (3,)."""
    return shared[f"w{architecture.colour}"].reshape(3, 3), shared[f"b{architecture.colour}"]
