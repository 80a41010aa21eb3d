"""Gradients of the synthesis by hand: what a fit spends most of its time on, in two thirds of autograd's. Needs torch.

Shapes: see synthesis/architecture.py; M modulations of a picture (synthesis/modulation.py).
"""

from dataclasses import replace

import torch
from torch.nn import functional

from ...synthesis.architecture import Layer
from ...synthesis.lapped import Borders
from ...synthesis.modulation import modulated, parts
from ...synthesis.network import Network, refold
from ...synthesis.rectangle import Rectangle
from ...synthesis.torch_ops import TorchOps
from .workers import each


def pull_back(x: torch.Tensor, gradient: torch.Tensor) -> None:
    """`x.backward(gradient)`, which would import sympy: 0.3 s."""
    (x * gradient).sum().backward()


class LappedRows(torch.autograd.Function):
    """First half of a field of cosines. It is orthonormal, so analysis is its gradient."""

    @staticmethod
    def forward(ctx, latents: torch.Tensor, network: Network):
        """(P, Rb, Cb, D) -> (P, H, 3, W)."""
        ctx.network, architecture = network, network.architecture
        return architecture.field.rows(architecture, latents, network.merged, TorchOps, each)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        architecture, merged = ctx.network.architecture, ctx.network.merged
        return architecture.field.rows_back(architecture, gradient, merged, TorchOps, each), None


class LappedColumns(torch.autograd.Function):
    """Second half of such a field, for a part of the pictures."""

    @staticmethod
    def forward(ctx, pixels: torch.Tensor, borders: Borders, part: Rectangle):
        """Of its rows and the columns that its borders reach, (P, h, 3, w') -> (P, h, w, 3)."""
        ctx.borders, ctx.part = borders, part
        return borders.mixed_part(pixels, part, TorchOps).permute(0, 1, 3, 2)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        return ctx.borders.mixed_part_back(gradient.permute(0, 1, 3, 2), ctx.part, TorchOps), None, None


class Layers(torch.autograd.Function):
    """`Network.layers` with gradients for the field and for modulations, not for weights.

    Modulations work on weights here: those of an input sum up input times gradient, those of an output likewise.
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor, values: torch.Tensor | None, network: Network, part: Rectangle):
        """Field of the part's support (P, h', w', C), modulations (1, M) or None -> (P, h, w, 3)."""
        support = network.support(part)
        ctx.run = run = Run(network, support, None if values is None else values[0])
        ctx.rows, ctx.columns = part.within(support).slices
        ctx.asked = ctx.needs_input_grad[1]
        return run.forward(x)[:, ctx.rows, ctx.columns]

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        run = ctx.run
        whole = gradient.new_zeros(len(gradient), *run.support.shape, gradient.shape[3])
        whole[:, ctx.rows, ctx.columns] = gradient
        found = run.backward(whole, ctx.asked)
        return found, torch.cat(run.slopes)[None] if ctx.asked else None, None, None


class Run:
    """One pass through the shared layers, and back."""

    def __init__(self, network: Network, support: Rectangle, values: torch.Tensor | None):
        self.layers, self.first, self.support = network.architecture.layers, network.architecture.colour, support
        self.network, self.own, own = network, {}, self.first + 1
        if values is not None:
            self.network = replace(network, shared=modulated(network.shared, own, values))
            self.own = parts(network.shared, own, values)
        self.seen, self.sums, self.slopes = {}, {}, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(P, H, W, C) -> (P, H, W, 3)."""
        outputs = {self.first - 1: (x, 1)}
        for i in range(self.first, len(self.layers)):
            layer = self.layers[i]
            x = refold(*outputs[i - 1], layer.fold, TorchOps)
            bias = self.network.bias(i, self.support.over(layer.fold))
            total = correlate(x, self.network.shared[f"w{i}"]).add_(bias)
            if i in self.own:
                self.seen[i] = x, bias
            if layer.omega != 1:
                total *= layer.omega
            self.sums[i] = total
            y = TorchOps.activation(layer.kind, total)
            if layer.residual_of is not None:
                y = y + refold(*outputs[layer.residual_of], layer.fold, TorchOps)
            outputs[i] = y, layer.fold
        return refold(*outputs[len(self.layers) - 1], 1, TorchOps)

    def backward(self, gradient: torch.Tensor, asked: bool) -> torch.Tensor:
        """(P, H, W, 3) -> (P, H, W, C)."""
        arrived = {len(self.layers) - 1: (gradient, 1)}
        for i in reversed(range(self.first, len(self.layers))):
            layer = self.layers[i]
            above = refold(*arrived.pop(i), layer.fold, TorchOps)
            total = self.sums.pop(i)
            below = slope(layer, above, total)
            x = spread(below, self.network.shared[f"w{i}"])
            if asked and i in self.own:
                self.slopes = [*self.of_modulations(i, below, total, x), *self.slopes]
            gather(arrived, i - 1, x, layer.fold)
            if layer.residual_of is not None:
                gather(arrived, layer.residual_of, above, layer.fold)
        return refold(*arrived.pop(self.first - 1), 1, TorchOps)

    def of_modulations(self, i: int, below, total, x) -> list[torch.Tensor]:
        """Gradients of layer i's three kinds, from those of its sums and of its input."""
        (into, factor, _), (seen, bias) = self.own[i], self.seen.pop(i)
        products = over_positions(below, total) / self.layers[i].omega - over_positions(below, bias)
        return [over_positions(seen, x) / (1 + into), products / (1 + factor), over_positions(below)]


def over_positions(x: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
    """Sums of products: (P, H, W, C) each -> (C,)."""
    for other in others:
        x = x * other
    return x.sum((0, 1, 2))


def gather(arrived: dict, i: int, gradient: torch.Tensor, fold: int) -> None:
    """Add what one more reader of output i sends back; in the fold of the first."""
    if i in arrived:
        before, own = arrived[i]
        arrived[i] = before + refold(gradient, fold, own, TorchOps), own
    else:
        arrived[i] = gradient, fold


def slope(layer: Layer, gradient: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """Gradient of a layer's sums before omega."""
    if layer.kind == "silu":
        gradient = torch.ops.aten.silu_backward(gradient, total)
    elif layer.kind == "sine":
        gradient = gradient * total.cos()
    return gradient * layer.omega if layer.omega != 1 else gradient


def correlate(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """`TorchOps.window` without what follows it."""
    return TorchOps.window(x, weights, lambda y, rows: y)


def spread(gradient: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Transpose of `correlate`: (P, H, W, O) (size, size, C, O) -> (P, H, W, C)."""
    r = len(weights) // 2
    if not r:
        return gradient @ weights[0, 0].T
    turned = weights.flip(0, 1).permute(2, 3, 0, 1)
    x = functional.conv2d(gradient.permute(0, 3, 1, 2), turned, padding=2 * r).permute(0, 2, 3, 1)
    for k in range(r):  # what looked beyond an edge has seen it
        for axis in (1, 2):
            size = x.shape[axis]
            x.select(axis, r).add_(x.select(axis, k))
            x.select(axis, size - 1 - r).add_(x.select(axis, size - 1 - k))
    return x[:, r:-r, r:-r]
