"""One network for all operating points: shared layers whose weights depend on the point. Needs torch.

    weights of a layer   those of all points   + the point's own, soon
    biases of a class    those of all points   + the point's own + MLP(features of the class's table)

(Polynomials in log beta for weights were tried: with Muon the operating points at the ends diverged.)

In them a picture's noise has variance 1, and colours are principal axes. What the prior file holds for a point follows
from them (`shared`), so that training, encoder and decoder have one forward pass, synthesis/network.py.

Shapes: L shared layers after the colour map, of window k, C inputs and O outputs; K classes of F features; B biases of
a class in all layers together.
"""

from itertools import pairwise

import torch
from torch import nn

from ..encoder.fit.posterior import noise_variance
from ..synthesis.architecture import Architecture, Layer
from .colour import colour_names

HIDDEN = 64  # units of the MLP
LOUDNESS = 0.12  # noise at which the first layer sees colours in units of the noise; elsewhere as its square root
FIRST, INNER, BIAS = 2.0, 0.7, 0.1  # bounds of starting weights, over the root of their number; of biases
BANDS = (0, 1, 2, 4, 8, 16, 32)  # borders between frequencies that features average over


def class_features(marginal: torch.Tensor, tile: int, single: int) -> torch.Tensor:
    """Logarithms of a class's scales, averages over bands: variances (R, U) in units of the noise's -> (K, F).

    Bands of a merged tile have borders twice as far apart, so each averages over the same places of all four.
    """
    logs = 0.5 * marginal.log().reshape(-1, tile, tile, 3)
    bands = [slice(a, b) for a, b in pairwise(BANDS) if b <= tile]
    rows = torch.cat([logs[:, v, h].mean((1, 2)) for v in bands for h in bands], 1)
    return torch.cat([rows[:single], rows[single:].unflatten(0, (-1, 4)).mean(1)])


class OwnWeights(nn.Module):
    """What one operating point has for itself."""

    def __init__(self, classes: int, biases: int, layers: tuple[Layer, ...]):
        super().__init__()
        self.classes = nn.Parameter(torch.zeros(classes, biases))
        self.plain = nn.ParameterList(torch.zeros(layer.outputs) for layer in layers if not layer.by_class)
        self.weights = nn.ParameterList(torch.zeros(_shape(layer)) for layer in layers)


class JointNetwork(nn.Module):
    """Weights of the shared layers, of all operating points."""

    def __init__(self, architecture: Architecture, colour: dict, betas: tuple[float, ...], features: list, seed: int):
        """colour: the colour map, as `learn_colour` gives it; features: (K, F) of every operating point's classes."""
        super().__init__()
        g, layers = torch.Generator().manual_seed(seed), architecture.layers[architecture.colour + 1 :]
        biases = sum(layer.outputs for layer in layers if layer.by_class)
        self.architecture, self.colour, self.betas = architecture, colour, betas
        for p, f in enumerate(normalised(features)):
            self.register_buffer(f"features{p}", f)
        self.weights = nn.ParameterList(_start(layer, i, len(layers), g) for i, layer in enumerate(layers))
        self.biases = nn.Parameter(_uniform((biases,), BIAS, g))
        self.hyper = nn.Sequential(nn.Linear(features[0].shape[1], HIDDEN), nn.GELU(), nn.Linear(HIDDEN, biases))
        for parameter in self.hyper[0].parameters():
            parameter.data = _uniform(parameter.shape, features[0].shape[1] ** -0.5, g)
        for parameter in self.hyper[2].parameters():
            parameter.data.zero_()
        self.points = nn.ModuleList(OwnWeights(len(f), biases, layers) for f in features)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The shared layers after the colour map."""
        return self.architecture.layers[self.architecture.colour + 1 :]

    def learned(self, p: int, own: bool) -> list[nn.Parameter]:
        """What a step at point p moves; own: its own weights too."""
        point = self.points[p]
        return [
            *(*self.weights, self.biases, *self.hyper.parameters(), point.classes, *point.plain),
            *(point.weights if own else ()),
        ]

    def matrices(self) -> list[nn.Parameter]:
        """Weights of all layers and points."""
        return [*self.weights, *(w for point in self.points for w in point.weights)]

    def shared(self, p: int) -> dict[str, torch.Tensor]:
        """Weights of all shared layers of point p, as the prior file holds them."""
        weights, biases, first = self.weights_of(p), self.biases_of(p), self.architecture.colour + 1
        into, out, offset = self.colours(p)
        weights[0], biases[0] = reading(weights[0], biases[0], into, offset)
        for i in self.written:
            weights[i], biases[i] = writing(weights[i], out), writing(biases[i], out)
        named = [{f"w{first + i}": w, f"b{first + i}": b} for i, (w, b) in enumerate(zip(weights, biases, strict=True))]
        return self.colour | {name: value for layer in named for name, value in layer.items()}

    @torch.no_grad()
    def adopt(self, known: list[dict[str, torch.Tensor]]) -> None:
        """Weights of all points as a prior file has them, the inverse of `shared`: means are common, the rest is the
        points' own.
        """
        first, every = self.architecture.colour + 1, []
        for p, shared in enumerate(known):
            weights, biases = ([shared[f"{k}{first + i}"] for i in range(len(self.layers))] for k in "wb")
            into, out, offset = self.colours(p)
            weights[0], _ = reading(weights[0], biases[0], into.inverse(), offset)
            biases[0] = 2 * biases[0] - reading(weights[0], biases[0], into, offset)[1]
            for i in self.written:
                weights[i], biases[i] = (writing(x, out.inverse()) for x in (weights[i], biases[i]))
            every.append((weights, biases))
        for common, *own in zip(self.weights, *(weights for weights, _ in every), strict=True):
            common.copy_(torch.stack(own).mean(0))
        for point, (weights, biases) in zip(self.points, every, strict=True):
            for own, common, w in zip(point.weights, self.weights, weights, strict=True):
                own.copy_(w - common)
            point.classes.copy_(torch.cat([b for b in biases if b.ndim == 2], 1))
            for own, b in zip(point.plain, [b for b in biases if b.ndim == 1], strict=True):
                own.copy_(b)
        self.biases.zero_()  # the MLP adds nothing yet

    def colours(self, p: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Principal axes as the first layer reads them and as the last one writes them, (3, RGB), and their origin."""
        axes, offset = (self.colour[name].reshape(-1, 3) for name in colour_names(self.architecture))
        unit = noise_variance(self.betas[p]) ** 0.5
        return axes / (unit * LOUDNESS) ** 0.5, axes * unit, offset

    @property
    def written(self) -> list[int]:
        """Layers whose output is colours."""
        return [i for i, layer in enumerate(self.layers) if layer.residual_of == self.architecture.colour]

    def weights_of(self, p: int) -> list[torch.Tensor]:
        """Weights of point p's layers: (k, k, C, O) each."""
        return [w + own for w, own in zip(self.weights, self.points[p].weights, strict=True)]

    def biases_of(self, p: int) -> list[torch.Tensor]:
        """Biases of point p's layers: (K, O) where classes have their own, else (O,)."""
        table = self.biases + self.points[p].classes + self.hyper(getattr(self, f"features{p}"))  # (K, B)
        columns = iter(table.split([layer.outputs for layer in self.layers if layer.by_class], 1))
        plain = iter(self.points[p].plain)
        return [next(columns if layer.by_class else plain) for layer in self.layers]


def reading(weights, biases, axes, offset):
    """A layer of RGB from one of principal axes: (k, k, C, O) and (..., O), axes (3, RGB) scaled, offset (1, RGB)."""
    by_colour = torch.einsum("ar,uvfao->uvfro", axes, weights.unflatten(2, (-1, 3)))
    return by_colour.flatten(2, 3), biases - torch.einsum("uvfro,xr->o", by_colour, offset)


def writing(values, axes):
    """The same for what a layer puts out: weights or biases (..., O)."""
    return (values.unflatten(-1, (-1, 3)) @ axes).flatten(-2)


def normalised(features: list[torch.Tensor]) -> list[torch.Tensor]:
    """Features of mean 0 and variance 1 over all operating points' classes: (K, F) each."""
    every = torch.cat(features)
    return [(f - every.mean(0)) / (every.std(0, correction=0) + 1e-3) for f in features]


def orthogonal(gradient: torch.Tensor) -> torch.Tensor:
    """Matrices of about the same singular vectors whose singular values are about 1, by Newton-Schulz steps (Muon):
    (n, rows, columns).
    """
    if gradient.shape[-2] > gradient.shape[-1]:
        return orthogonal(gradient.mT).mT
    x = gradient / (torch.linalg.matrix_norm(gradient, keepdim=True) + 1e-9)
    for _ in range(5):
        s = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(s, s, s, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x


class Muon(torch.optim.Optimizer):
    """Steps along orthogonalised momenta (Jordan et al., 2024), for weights (k, k, C, O) as matrices (k k C, O).

    After three minutes on one core validation J was 0.3266 where Adam alone had 0.3290.
    """

    MOMENTUM, DECAY = 0.95, 0.01

    def __init__(self, weights: list[nn.Parameter], rate: float):
        super().__init__(weights, {"lr": rate})

    @torch.no_grad()
    def step(self):
        """Moves the weights that have a gradient, those of one shape together."""
        for group in self.param_groups:
            alike = {}
            for w in group["params"]:
                if w.grad is not None:
                    alike.setdefault(w.shape, []).append(w)
            for weights in alike.values():
                torch._foreach_mul_(weights, 1 - group["lr"] * self.DECAY)
                torch._foreach_sub_(weights, self.directions(weights), alpha=group["lr"])

    def directions(self, weights: list[nn.Parameter]) -> list[torch.Tensor]:
        """Nesterov's momenta, orthogonalised, in the size of Adam's steps: shaped as the weights, which are alike."""
        gradients = [w.grad for w in weights]
        momenta = [self.state[w].setdefault("momentum", torch.zeros_like(w)) for w in weights]
        torch._foreach_lerp_(momenta, gradients, 1 - self.MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, self.MOMENTUM)
        matrices = torch.stack(ahead).flatten(1, 3)  # (n, k k C, O)
        turned = 0.2 * max(matrices.shape[1:]) ** 0.5 * orthogonal(matrices)
        return [one.reshape(w.shape) for one, w in zip(turned, weights, strict=True)]


def _shape(layer: Layer) -> tuple[int, int, int, int]:
    return layer.window, layer.window, layer.inputs, layer.outputs


def _start(layer: Layer, number: int, count: int, g: torch.Generator) -> torch.Tensor:
    """Starting weights (k, k, C, O). The last layer's are 0; the first layer's do not see what is constant, since
    colours in units of the noise are large where there is little of it.
    """
    bound = FIRST if number == 0 else INNER if number < count - 1 else 0.0
    weights = _uniform(_shape(layer), bound / (layer.window**2 * layer.inputs) ** 0.5, g)
    if number > 0:
        return weights
    by_colour = weights.unflatten(2, (-1, 3))  # (k, k, fold^2, 3, O)
    return (by_colour - by_colour.mean((0, 1, 2))).flatten(2, 3)


def _uniform(shape, bound: float, g: torch.Generator) -> torch.Tensor:
    return (torch.rand(shape, generator=g) * 2 - 1) * bound
