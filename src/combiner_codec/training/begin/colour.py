"""The colour map, principal axes of RGB, which no step changes. Needs torch."""

import torch
from torch import Tensor

from ...encoder.fit.analysis import ColourMap
from ..shards import Shards

THINNED = 97  # pixels of a crop, of which one is taken


def learn_colour_map(pixels: Tensor, shards: Shards) -> ColourMap:
    """From crops (P, N, side, side, 3) uint8 of all processes."""
    of_crops = pixels.flatten(2, 3)  # (P, N, pixels, 3)
    some = of_crops[:, :, ::THINNED].reshape(-1, 3).cpu()
    axes, mean = principal_axes(some / 255, shards)
    inverse = torch.linalg.inv(axes)
    device = pixels.device
    return ColourMap(axes.to(device), mean.to(device), inverse.to(device))


def principal_axes(flat: Tensor, shards: Shards) -> tuple[Tensor, Tensor]:
    """Principal axes of RGB as rows, and its mean, from all processes' pixels: (n, 3) -> (3, 3), (3,)."""
    flat = flat.double()
    count = torch.tensor([len(flat)]).double()
    products = flat.T @ flat
    count, total, products = shards.sum(count, flat.sum(0), products)
    mean = total / count
    covariance = products / count - mean[:, None] * mean
    axes = torch.linalg.eigh(covariance)[1].flip(1).T
    signs = torch.where(axes[:, :1] < 0, -1, 1)
    return (axes * signs).float(), mean.float()
