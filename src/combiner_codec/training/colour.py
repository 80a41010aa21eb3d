"""The colour map, principal axes of RGB, which no step changes. Needs torch."""

import torch

from ..synthesis.architecture import Architecture
from .shards import Shards


def principal_axes(flat: torch.Tensor, shards: Shards) -> tuple[torch.Tensor, torch.Tensor]:
    """Principal axes of RGB as rows, and its mean, from all processes' pixels: (n, 3) -> (3, 3), (3,)."""
    flat = flat.double()
    n, total, square = shards.sum(torch.tensor([len(flat)]).double(), flat.sum(0), flat.T @ flat)
    mean = total / n
    axes = torch.linalg.eigh(square / n - mean[:, None] * mean)[1].flip(1).T
    return (axes * torch.where(axes[:, :1] < 0, -1, 1)).float(), mean.float()


def colour_names(architecture: Architecture) -> tuple[str, str]:
    """Names of the colour map's weights and bias among the shared ones."""
    return f"w{architecture.colour}", f"b{architecture.colour}"
