"""Gradients of the synthesis by hand: what a fit spends most of its time on, in two thirds of autograd's. Needs torch.

Shapes: see synthesis/architecture.py; a shared layer has inputs (P, H, W, C), outputs (P, H, W, O) and weights
(size, size, C, O) at H x W positions; a part of the pictures has h x w pixels, its support h' x w'; M modulations of a
picture (synthesis/modulation.py).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from ...synthesis.architecture import Layer
from ...synthesis.borders import Borders
from ...synthesis.modulation import modulated_weights, parts
from ...synthesis.network import Network, refold
from ...synthesis.rectangle import Rectangle
from ...synthesis.torch_ops import TorchOps
from ..threads import Threads
from .products import SINGLE, Products, channels_first

# number of a layer, gradients of its sums (P, H, W, O) and of its inputs (P, H, W, C)
OfLayer = Callable[[int, torch.Tensor, torch.Tensor], None]


def pull_back(x: torch.Tensor, gradient: torch.Tensor) -> None:
    """`x.backward(gradient)`, which would import sympy: 0.3 s."""
    Pulled.apply(x, gradient).backward()


class Pulled(torch.autograd.Function):
    """A number whose gradient is one that is given."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, gradient: torch.Tensor):
        ctx.gradient = gradient
        return x.new_zeros(())

    @staticmethod
    def backward(ctx, _: torch.Tensor):
        return ctx.gradient, None


class LappedRows(torch.autograd.Function):
    """First half of a field of cosines. It is orthonormal, so analysis is its gradient."""

    @staticmethod
    def forward(ctx, latents: torch.Tensor, network: Network, threads: Threads):
        """(P, Rb, Cb, D) -> (P, H, 3, W)."""
        ctx.network = network
        ctx.threads = threads
        architecture = network.architecture
        return architecture.field.rows(architecture, latents, network.merged, TorchOps, threads.map)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        network = ctx.network
        architecture = network.architecture
        latents = architecture.field.rows_back(architecture, gradient, network.merged, TorchOps, ctx.threads.map)
        return latents, None, None


class LappedColumns(torch.autograd.Function):
    """Second half of such a field, for a part of the pictures."""

    @staticmethod
    def forward(ctx, pixels: torch.Tensor, borders: Borders, part: Rectangle):
        """Of its rows and the columns that its borders reach, (P, h, 3, w') -> (P, h, w, 3)."""
        ctx.borders = borders
        ctx.part = part
        mixed = borders.mixed_part(pixels, part, TorchOps)
        return mixed.permute(0, 1, 3, 2)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        mixed = gradient.permute(0, 1, 3, 2)
        return ctx.borders.mixed_part_back(mixed, ctx.part, TorchOps), None, None


@dataclass(frozen=True)
class Shortcuts:
    """What a fit may do in less time than a decoder does."""

    products: Products = SINGLE
    # of layers, for the support of a part, (P, H, W, O) or (O,): they stay the same from step to step
    biases: Mapping[int, torch.Tensor] | None = None
    every: int = 1  # modulations' gradients are sums over one in so many rows of positions
    through: bool = True  # whether the field's gradient goes through all layers, or only through the colour map


NONE = Shortcuts()


def layers(x: torch.Tensor, network: Network, part: Rectangle, shortcuts: Shortcuts = NONE) -> torch.Tensor:
    """`Network.layers` with gradients for the field and for those shared weights that require one.

    So a picture's own weights may be any function of others that torch differentiates: gradients follow by the chain
    rule. Field of the part's support (P, h', w', C) -> (P, h, w, 3).
    """
    return Layers.apply(x, network, part, shortcuts, *network.shared.values())


class Layers(torch.autograd.Function):
    """See `layers`. Layers whose weights and biases need no gradient do not pay for it."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, network: Network, part: Rectangle, shortcuts: Shortcuts, *weights: torch.Tensor):
        """weights: those of the network, in its order."""
        needed = zip(network.shared, ctx.needs_input_grad[4:], strict=True)
        ctx.asked = {name for name, is_needed in needed if is_needed}
        kept = {int(name[1:]) for name in ctx.asked if name.startswith("w")}
        ctx.run = Pass(network, part, kept, shortcuts)
        return ctx.run.forward(x)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        run = ctx.run
        found = {}

        def of_layer(i: int, below: torch.Tensor, _: torch.Tensor) -> None:
            if f"w{i}" in ctx.asked:
                found[f"w{i}"] = run.weight_gradient(i, below)
            if f"b{i}" in ctx.asked:
                found[f"b{i}"] = run.bias_gradient(i, below)

        x = run.backward(gradient, of_layer)
        weights = [found.get(name) for name in run.network.shared]
        return x, None, None, None, *weights


def modulated_layers(
    x: torch.Tensor,
    values: torch.Tensor,
    network: Network,
    part: Rectangle,
    shortcuts: Shortcuts = NONE,
) -> torch.Tensor:
    """`layers` of the network with modulations (1, M), with gradients for the field and for these."""
    return ModulatedLayers.apply(x, values, network, part, shortcuts)


class ModulatedLayers(torch.autograd.Function):
    """See `modulated_layers`.

    Modulations scale inputs and outputs and shift outputs, so their gradients are sums over positions of products of
    what has passed and what comes back. `layers` of modulated weights has the same gradients, by those of the weights:
    that takes 14 % longer for a fit of 768x512 pixels.
    """

    @staticmethod
    def forward(
        ctx,
        x: torch.Tensor,
        values: torch.Tensor,
        network: Network,
        part: Rectangle,
        shortcuts: Shortcuts,
    ):
        first = network.architecture.colour + 1
        ctx.parts = parts(network.shared, first, values[0])
        ctx.asked = ctx.needs_input_grad[1]
        kept = ctx.parts if ctx.asked else ()
        shared = network.shared | modulated_weights(network.shared, ctx.parts)
        shifts = {i: layer.shift for i, layer in ctx.parts.items()}
        ctx.run = Pass(replace(network, shared=shared), part, kept, shortcuts, shifts)
        return ctx.run.forward(x)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        run = ctx.run
        every = run.shortcuts.every
        found = {}

        def sums(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
            return every * over_positions(first[:, ::every] * second[:, ::every])

        def of_layer(i: int, below: torch.Tensor, arriving: torch.Tensor) -> None:
            if i not in run.kept:
                return
            step = run.steps[i]
            layer = ctx.parts[i]
            of_shift = over_positions(below)
            of_bias = sums(below, step.bias) if step.bias.ndim > 1 else step.bias * of_shift
            of_product = sums(below, step.total) / run.layer(i).omega - of_bias - layer.shift * of_shift
            of_inputs = sums(step.seen, arriving) / (1 + layer.of_inputs)
            found[i] = of_inputs, of_product / (1 + layer.of_outputs), of_shift

        x = run.backward(gradient, of_layer)
        if not ctx.asked:
            return x, None, None, None, None
        slopes = [slope for i in sorted(found) for slope in found[i]]
        return x, torch.cat(slopes)[None], None, None, None


@dataclass(frozen=True)
class Step:
    """What a layer has done, as its gradients need it."""

    total: torch.Tensor  # (P, H, W, O) its sums, times omega
    seen: torch.Tensor | None = None  # (P, H, W, C) its inputs, where they are kept
    bias: torch.Tensor | None = None  # (O,) or (P, H, W, O), likewise


@dataclass
class Pass:
    """One pass through the shared layers, and back."""

    network: Network
    part: Rectangle  # of the pictures
    kept: Collection[int]  # layers whose inputs and biases their gradients need
    shortcuts: Shortcuts = NONE
    shifts: Mapping[int, torch.Tensor] = field(default_factory=dict)  # of layers' sums, (O,)
    steps: dict[int, Step] = field(default_factory=dict)

    @property
    def numbers(self) -> range:
        """Of the shared layers."""
        architecture = self.network.architecture
        return range(architecture.colour, len(architecture.layers))

    def layer(self, i: int) -> Layer:
        """By its number."""
        return self.network.architecture.layers[i]

    @cached_property
    def support(self) -> Rectangle:
        """What of the field is needed."""
        return self.network.support(self.part)

    @property
    def shown(self) -> tuple[slice, slice]:
        """Where the part is in its support."""
        return self.part.within(self.support).slices

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Field of the support (P, h', w', C) -> (P, h, w, 3)."""
        outputs = {self.numbers.start - 1: (x, 1)}  # of every layer, and its fold
        for i in self.numbers:
            layer = self.layer(i)
            seen = refold(*outputs[i - 1], layer.fold, TorchOps)
            bias = self.bias(i)
            total = self.shortcuts.products.correlate(seen, self.network.shared[f"w{i}"], self.shifts.get(i))
            total += bias
            if layer.omega != 1:
                total *= layer.omega
            self.steps[i] = Step(total, seen, bias) if i in self.kept else Step(total)
            y = TorchOps.activation(layer.kind, total)
            if layer.residual_of is not None:
                residual = refold(*outputs[layer.residual_of], layer.fold, TorchOps)
                y = y + residual if y is total else y.add_(residual)
            outputs[i] = y, layer.fold
        y, fold = outputs[self.numbers.stop - 1]
        rows, columns = self.shown
        return refold(y, fold, 1, TorchOps)[:, rows, columns]

    def backward(self, gradient: torch.Tensor, of_layer: OfLayer) -> torch.Tensor:
        """(P, h, w, 3) -> (P, h', w', C).

        of_layer: is told the number of every layer, and the gradients of its sums and of its inputs.
        """
        rows, columns = self.shown
        pictures, _, _, channels = gradient.shape
        whole = gradient.new_zeros(pictures, *self.support.shape, channels)
        whole[:, rows, columns] = gradient
        if not self.shortcuts.through:
            colours = self.network.shared[f"w{self.numbers.start}"]
            return self.shortcuts.products.spread(whole, colours)
        arrived = {self.numbers.stop - 1: (whole, 1)}
        for i in reversed(self.numbers):
            layer = self.layer(i)
            above = refold(*arrived.pop(i), layer.fold, TorchOps)
            below = slope(layer, above, self.steps[i].total)
            x = self.shortcuts.products.spread(below, self.network.shared[f"w{i}"])
            of_layer(i, below, x)
            gather(arrived, i - 1, x, layer.fold)
            if layer.residual_of is not None:
                gather(arrived, layer.residual_of, above, layer.fold)
        x, fold = arrived.pop(self.numbers.start - 1)
        return refold(x, fold, 1, TorchOps)

    def bias(self, i: int) -> torch.Tensor:
        """Of layer i at the positions of the support: (P, H, W, O), or (O,)."""
        if self.shortcuts.biases is not None:
            return self.shortcuts.biases[i]
        return self.network.bias(i, self.support.over(self.layer(i).fold))

    def weight_gradient(self, i: int, below: torch.Tensor) -> torch.Tensor:
        """Of layer i's weights, from that of its sums: (P, H, W, O) -> (size, size, C, O)."""
        seen = self.steps[i].seen
        size, _, inputs, outputs = self.network.shared[f"w{i}"].shape
        if size == 1:
            each_input = seen.reshape(-1, inputs).T
            product = each_input @ below.reshape(-1, outputs)
            return product[None, None]
        padding = (size // 2,) * 4
        around = functional.pad(channels_first(seen), padding, "replicate")
        shape = outputs, inputs, size, size
        found = conv2d_weight(around, shape, channels_first(below))
        return found.permute(2, 3, 1, 0)

    def bias_gradient(self, i: int, below: torch.Tensor) -> torch.Tensor:
        """Of layer i's biases, from that of its sums: (P, H, W, O) -> (O,) or (K, O)."""
        biases = self.network.shared[f"b{i}"]
        if biases.ndim == 1:
            return over_positions(below)
        positions = self.support.over(self.layer(i).fold)
        leaf = biases.detach().requires_grad_()
        network = replace(self.network, shared={f"b{i}": leaf})
        with torch.enable_grad():
            shown = network.bias(i, positions)
            total = (shown * below).sum()
        return torch.autograd.grad(total, leaf)[0]


def placed_biases(network: Network, part: Rectangle) -> dict[int, torch.Tensor]:
    """Biases of all layers at the positions of a part's support: (P, H, W, O), or (O,)."""
    run = Pass(network, part, ())
    return {i: run.bias(i) for i in run.numbers}


def over_positions(x: torch.Tensor) -> torch.Tensor:
    """Sums: (P, H, W, C) -> (C,)."""
    return x.sum((0, 1, 2))


def gather(arrived: dict, i: int, gradient: torch.Tensor, fold: int) -> None:
    """Add what one more reader of output i sends back; in the fold of the first."""
    if i not in arrived:
        arrived[i] = gradient, fold
        return
    before, first_fold = arrived[i]
    before += refold(gradient, fold, first_fold, TorchOps)


def slope(layer: Layer, gradient: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """Gradient of a layer's sums before omega."""
    if layer.kind == "silu":
        gradient = torch.ops.aten.silu_backward(gradient, total)
    elif layer.kind == "sine":
        gradient = total.cos().mul_(gradient)
    if layer.omega != 1:
        gradient = gradient * layer.omega
    return gradient
