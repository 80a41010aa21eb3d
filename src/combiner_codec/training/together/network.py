"""One network for all operating points: shared layers whose weights depend on the point. Needs torch.

    weights of a layer   those of all points   + the point's own, soon
    biases of a class    those of all points   + the point's own + MLP(features of the class's table)

(Polynomials in log beta for weights were tried: with Muon the operating points at the ends diverged.)

In them a picture's noise has variance 1, and colours are principal axes. What the prior file holds for a point follows
from them (`shared`), so that training, encoder and decoder have one forward pass, synthesis/network.py.

Shapes: L shared layers after the colour map, of window k, C inputs and O outputs; K classes of F features; B biases of
a class in all layers together; P operating points.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from ...encoder.fit.analysis import ColourMap
from ...encoder.fit.posterior import noise_variance
from ...synthesis.architecture import Architecture, Layer
from ..points import row
from .grow import grown
from .optimizers import Slots

HIDDEN = 64  # units of the MLP
LOUDNESS = 0.12  # noise at which the first layer sees colours in units of the noise; elsewhere as its square root
FIRST_BOUND = 2.0  # of the first layer's starting weights, over the root of their number
INNER_BOUND = 0.7  # of the next layers'
BIAS_BOUND = 0.1  # of starting biases
BANDS = (0, 1, 2, 4, 8, 16, 32)  # borders between frequencies that features average over
LEAST_SPREAD = 1e-3  # of a feature over all classes

Shared = dict[str, Tensor]  # weights w{i} and biases b{i} of shared layers, as a prior file names them


def class_features(marginal: Tensor, tile: int, single: int) -> Tensor:
    """Logarithms of a class's scales, averages over bands: variances (R, U) in units of the noise's -> (K, F).

    Bands of a merged tile have borders twice as far apart, so each averages over the same places of all four.
    """
    logs = 0.5 * marginal.log().reshape(-1, tile, tile, 3)
    bands = [slice(low, high) for low, high in pairwise(BANDS) if high <= tile]
    averages = []
    for down in bands:
        for across in bands:
            averages.append(logs[:, down, across].mean((1, 2)))
    rows = torch.cat(averages, 1)
    merged = rows[single:].unflatten(0, (-1, 4)).mean(1)
    return torch.cat([rows[:single], merged])


def normalised(features: list[Tensor]) -> list[Tensor]:
    """Features of mean 0 and variance 1 over all operating points' classes: (K, F) each."""
    every = torch.cat(features)
    mean = every.mean(0)
    spread = every.std(0, correction=0) + LEAST_SPREAD
    return [(one - mean) / spread for one in features]


@dataclass(frozen=True)
class Chosen:
    """What one operating point has for itself: rows of the network's stacks, which gradients are asked for."""

    classes: Tensor  # (K, B)
    plain: list[Tensor]  # (O,) of each layer whose biases are the same for all classes
    weights: list[Tensor]  # (k, k, C, O) of each layer


class JointNetwork(nn.Module):
    """Weights of the shared layers, of all operating points."""

    def __init__(
        self,
        architecture: Architecture,
        colours: ColourMap,
        betas: tuple[float, ...],
        features: Tensor,
        seed: int,
    ):
        """features: (P, K, F) of every operating point's classes, see `normalised`."""
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        points, classes, inputs = features.shape
        self.architecture = architecture
        self.layers = architecture.layers[architecture.colour + 1 :]  # the shared ones after the colour map
        self.colours = colours
        units = torch.tensor([noise_variance(beta) ** 0.5 for beta in betas], dtype=torch.float64)
        self.register_buffer("units", units, persistent=False)  # (P,) scales of the noise
        self.register_buffer("features", features)
        last = len(self.layers) - 1
        starts = [_start(layer, i, last, random) for i, layer in enumerate(self.layers)]
        self.weights = nn.ParameterList(starts)
        biases = sum(layer.outputs for layer in self.layers if layer.by_class)
        self.biases = nn.Parameter(_uniform((biases,), BIAS_BOUND, random))
        into = nn.Linear(inputs, HIDDEN)
        out = nn.Linear(HIDDEN, biases)
        self.hyper = nn.Sequential(into, nn.GELU(), out)
        for parameter in into.parameters():
            parameter.data = _uniform(parameter.shape, inputs**-0.5, random)
        for parameter in out.parameters():
            parameter.data.zero_()  # it adds nothing yet
        plain = [layer for layer in self.layers if not layer.by_class]
        self.point_classes = nn.Parameter(torch.zeros(points, classes, biases))
        self.point_plain = nn.ParameterList(torch.zeros(points, layer.outputs) for layer in plain)
        self.point_weights = nn.ParameterList(torch.zeros(points, *_shape(layer)) for layer in self.layers)

    @property
    def matrices(self) -> Slots:
        """Weights of layers, which Muon moves."""
        return Slots(list(self.weights), list(self.point_weights))

    @property
    def vectors(self) -> Slots:
        """Biases and what they come from, which Adam moves."""
        return Slots([self.biases, *self.hyper.parameters()], [self.point_classes, *self.point_plain])

    def chosen(self, p: Tensor | int) -> Chosen:
        """Copies of what point p has for itself."""
        copies = []
        for stack in (self.point_classes, *self.point_plain, *self.point_weights):
            copies.append(row(stack, p).detach().requires_grad_())
        plain = 1 + len(self.point_plain)
        return Chosen(copies[0], copies[1:plain], copies[plain:])

    def shared(
        self,
        p: Tensor | int,
        chosen: Chosen | None = None,
    ) -> Shared:
        """Weights of all shared layers of point p, as the prior file holds them. chosen: those of the point."""
        chosen = chosen or self.chosen(p)
        weights = [common + point for common, point in zip(self.weights, chosen.weights, strict=True)]
        biases = self._biases(p, chosen)
        scale = self.scale(p)
        weights[0], biases[0] = scale.reading(weights[0], biases[0])
        for i, layer in enumerate(self.layers):
            if layer.residual_of == self.architecture.colour:
                weights[i] = scale.writing(weights[i])
                biases[i] = scale.writing(biases[i])
        return self.colours.shared(self.architecture) | named(self.architecture, weights, biases)

    def _biases(
        self,
        p: Tensor | int,
        chosen: Chosen,
    ) -> list[Tensor]:
        """Biases of point p's layers: (K, O) where classes have their own, else (O,)."""
        of_classes = self.biases + chosen.classes + self.hyper(row(self.features, p))  # (K, B)
        outputs = [layer.outputs for layer in self.layers if layer.by_class]
        columns = iter(of_classes.split(outputs, 1))
        plain = iter(chosen.plain)
        return [next(columns) if layer.by_class else next(plain) for layer in self.layers]

    def scale(self, p: Tensor | int) -> "Scale":
        """How colours enter and leave the network at point p."""
        unit = row(self.units, p)
        into = self.colours.axes / (unit * LOUDNESS) ** 0.5
        out = self.colours.axes * unit
        return Scale(into, out, self.colours.offset)

    @torch.no_grad()
    def adopt(self, known: list[Shared], architecture: Architecture) -> None:
        """Begin with the weights of all points of a prior, whose architecture is this one or one that it grew from.

        Means over points are common, the rest is the points' own. What the prior has not begins without effect: layers
        that are new add nothing to their residual, and old channels get nothing from new ones, which start at random.
        Raises FormatError where the architecture cannot have grown so.
        """
        of_layers = grown(architecture, self.architecture)
        old = [self._unscaled(p, shared, architecture) for p, shared in enumerate(known)]
        self.biases.zero_()
        self.point_classes.zero_()
        plain = iter(self.point_plain)
        columns = 0  # of the table of biases, so far
        for i, (layer, number) in enumerate(zip(self.layers, of_layers, strict=True)):
            if layer.by_class:
                biases = self.point_classes[:, :, columns : columns + layer.outputs]
                columns += layer.outputs
            else:
                biases = next(plain)
            if number is None:
                self.weights[i].zero_()
                continue
            weights = torch.stack([weights[number] for weights, _ in old])  # (P, k, k, C, O) of the prior
            inputs, outputs = weights.shape[-2:]
            common = weights.mean(0)
            self.weights[i][..., :outputs] = 0
            self.weights[i][..., :inputs, :outputs] = common
            self.point_weights[i][..., :inputs, :outputs] = weights - common
            for p, (_, known_biases) in enumerate(old):
                biases[p][..., :outputs] = known_biases[number]

    def _unscaled(
        self,
        p: int,
        shared: Shared,
        architecture: Architecture,
    ) -> tuple[list, list]:
        """Weights and biases of the layers of a prior's point p, as the network has them: the inverse of `shared`."""
        first = architecture.colour + 1
        layers = architecture.layers[first:]
        weights = [shared[f"w{first + i}"] for i in range(len(layers))]
        biases = [shared[f"b{first + i}"] for i in range(len(layers))]
        scale = self.scale(p)
        weights[0], biases[0] = scale.invert_reading(weights[0], biases[0])
        for i, layer in enumerate(layers):
            if layer.residual_of == architecture.colour:
                weights[i] = scale.invert_writing(weights[i])
                biases[i] = scale.invert_writing(biases[i])
        return weights, biases


@dataclass(frozen=True)
class Scale:
    """How colours enter and leave a network of principal axes in units of the noise, at one operating point.

    Weights are (k, k, C, O), biases (..., O); channels of colours count the last fastest.
    """

    into: Tensor  # (axis, RGB), as the first layer reads colours
    out: Tensor  # (axis, RGB), as the last one writes them
    offset: Tensor  # (RGB,) where the axes meet

    def reading(
        self,
        weights: Tensor,
        biases: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """A layer of RGB from one of axes."""
        of_rgb = _over_colours(self.into, weights)
        return of_rgb, biases - self._of_offset(of_rgb)

    def invert_reading(
        self,
        weights: Tensor,
        biases: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """A layer of axes from one of RGB."""
        of_axes = _over_colours(self.into.inverse(), weights)
        return of_axes, biases + self._of_offset(weights)

    def writing(self, values: Tensor) -> Tensor:
        """Weights or biases of a layer that puts out RGB, from those of one that puts out axes."""
        by_colour = values.unflatten(-1, (-1, 3))
        return (by_colour @ self.out).flatten(-2)

    def invert_writing(self, values: Tensor) -> Tensor:
        """The inverse."""
        by_colour = values.unflatten(-1, (-1, 3))
        return (by_colour @ self.out.inverse()).flatten(-2)

    def _of_offset(self, weights: Tensor) -> Tensor:
        """What a layer of RGB makes of the offset alone: (O,)."""
        by_colour = weights.unflatten(2, (-1, 3))
        return torch.einsum("uvfro,r->o", by_colour, self.offset)


def _over_colours(axes: Tensor, weights: Tensor) -> Tensor:
    """Weights (k, k, C, O) whose inputs are made of others by a map (other, input)."""
    by_colour = weights.unflatten(2, (-1, 3))
    return torch.einsum("ar,uvfao->uvfro", axes, by_colour).flatten(2, 3)


def named(
    architecture: Architecture,
    weights: list[Tensor],
    biases: list[Tensor],
) -> Shared:
    """By the names of a prior file, from those of the layers after the colour map."""
    found = {}
    for i, (w, b) in enumerate(zip(weights, biases, strict=True), architecture.colour + 1):
        found[f"w{i}"] = w
        found[f"b{i}"] = b
    return found


def _shape(layer: Layer) -> tuple[int, int, int, int]:
    return layer.window, layer.window, layer.inputs, layer.outputs


def _start(
    layer: Layer,
    number: int,
    last: int,
    random: torch.Generator,
) -> Tensor:
    """Starting weights (k, k, C, O). The last layer's are 0; the first layer's do not see what is constant, since
    colours in units of the noise are large where there is little of it.
    """
    bound = INNER_BOUND
    if number == 0:
        bound = FIRST_BOUND
    elif number == last:
        bound = 0.0
    weights = _uniform(_shape(layer), bound / (layer.window**2 * layer.inputs) ** 0.5, random)
    if number > 0:
        return weights
    by_colour = weights.unflatten(2, (-1, 3))  # (k, k, fold^2, 3, O)
    return (by_colour - by_colour.mean((0, 1, 2))).flatten(2, 3)


def _uniform(
    shape: tuple[int, ...],
    bound: float,
    random: torch.Generator,
) -> Tensor:
    return (torch.rand(shape, generator=random) * 2 - 1) * bound
