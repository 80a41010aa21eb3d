"""Weights of the shared layers: how they start, which of them are learned. Needs torch."""

import torch

from ..synthesis.architecture import Architecture
from .pictures import Pictures
from .shards import Shards

FIRST_BOUND = 3.0  # of the first sine layer's weights against the others': it spans more of the sine, as in SIREN


def first_weights(pictures: Pictures, seed: int) -> dict[str, torch.Tensor]:
    """All shared weights at the start of a family."""
    return learn_colour(pictures) | init_shared(pictures.architecture, seed)


def learn_colour(pictures: Pictures) -> dict[str, torch.Tensor]:
    """Principal axes of RGB as the fixed colour map, the first layer after the stored ones."""
    flat = pictures.pixels[:, ::2, ::2].reshape(-1, 3)
    axes = principal_axes(flat, pictures.shards)[0]
    weights, bias = colour_names(pictures.architecture)
    return {weights: axes[None, None], bias: torch.full((3,), 0.5)}


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


def init_shared(architecture: Architecture, seed: int) -> dict[str, torch.Tensor]:
    """Starting weights of the layers after the colour map: the last is zero, so that the family starts as its linear
    part.
    """
    g, first = torch.Generator().manual_seed(seed), architecture.colour + 1
    shared, last = {}, len(architecture.layers) - 1
    for i, layer in enumerate(architecture.layers[first:], first):
        fan = layer.window**2 * layer.inputs
        bound = 0.0 if i == last else (FIRST_BOUND if i == first else 1.0) / fan**0.5
        shape = (layer.window, layer.window, layer.inputs, layer.outputs)
        shared[f"w{i}"] = (torch.rand(shape, generator=g) * 2 - 1) * bound
        bias = (torch.rand(layer.outputs, generator=g) * 2 - 1) * bound
        shared[f"b{i}"] = bias[None] if layer.by_class else bias
    return shared


def class_biases(architecture: Architecture) -> list[str]:
    """Names of the biases that every class has its own of."""
    return [f"b{i}" for i, layer in enumerate(architecture.layers) if layer.by_class]


def with_classes(architecture: Architecture, shared: dict, K: int) -> dict[str, torch.Tensor]:
    """A copy of shared weights for K classes, whose biases start from the mean where their number is another."""
    shared = {name: value.clone() for name, value in shared.items()}
    for name in class_biases(architecture):
        if len(shared[name]) != K:
            shared[name] = shared[name].mean(0).expand(K, -1).clone()
    return shared


def learned_weights(architecture: Architecture, shared: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Those of the layers after the colour map, which stays as it is; their gradients are asked for from now on."""
    fixed = colour_names(architecture)
    return [value.requires_grad_() for name, value in shared.items() if name not in fixed]
