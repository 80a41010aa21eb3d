"""The forward pass: field, shared layers, strips of rows; encoder and decoder share it (FORMAT.md, section 7).

Shapes: see architecture.py. `ops` is a NumpyOps or TorchOps.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from .architecture import Architecture

Rows = tuple[int, int]  # first row and the one after the last


@dataclass(frozen=True)
class Network:
    """The shared layers of one operating point on pictures of known classes."""

    architecture: Architecture
    shared: dict  # w{i} (k, k, C, O) and b{i} (O,), or one bias per class (K, O), interpolated between tile centres
    classes: object  # (P, Rt, Ct) array
    ops: object
    grey: bool = False  # pictures have one channel: the mean of the network's three
    single: int | None = None  # classes of tiles on their own: those from here on are of merged tiles

    @cached_property
    def merged(self) -> np.ndarray:
        """Tiles that are part of a merged one: (P, Rt, Ct) bool."""
        if self.single is None:
            return np.zeros(tuple(self.classes.shape), bool)
        return np.asarray(self.classes if isinstance(self.classes, np.ndarray) else self.classes.cpu()) >= self.single

    def of(self, pictures: slice) -> "Network":
        """The same of some of the pictures only."""
        return replace(self, classes=self.classes[pictures])

    @property
    def height(self) -> int:
        """Rows of pixels, whole tiles."""
        return self.classes.shape[1] * self.architecture.tile

    def down(self, latents):
        """First half of the field, for all rows: (P, Rb, Cb, D)."""
        return self.architecture.field.down(self.architecture, latents, self.merged, self.ops)

    def across(self, half, rows: Rows | tuple[int, None] = (0, None)):
        """Second half of the field, for some rows: -> (P, end - first, W, C)."""
        return self.architecture.field.across(half, self.ops, rows)

    def field(self, latents):
        """The whole field: (P, Rb, Cb, D) -> (P, H, W, C)."""
        return self.across(self.down(latents))

    def support(self, rows: Rows) -> Rows:
        """Rows of the field that the shared layers need for some rows of the picture: whole folds."""
        margin, fold = self.architecture.margin, self.architecture.fold
        return max(0, (rows[0] - margin) // fold * fold), min(self.height, -(-(rows[1] + margin) // fold) * fold)

    def strips(self, pixels: int, rows: range | None = None) -> list[Rows]:
        """Some rows, or all, cut into parts of about so many pixels."""
        rows = rows or range(self.height)
        (pictures, _, columns), tile = self.classes.shape, self.architecture.tile
        each = max(tile, pixels // (pictures * columns * tile))
        return [(first, min(first + each, rows.stop)) for first in range(rows.start, rows.stop, each)]

    def shown(self, x, rows: Rows):
        """Some rows of the pictures from the field's rows of their `support`: -> (P, end - first, W, 1 or 3)."""
        out = self.layers(x, rows)
        return out.mean(-1)[..., None] if self.grey else out

    def strip(self, field_of: Callable, rows: Rows):
        """Some rows of the pictures from a function that gives rows of the field: -> (P, end - first, W, 1 or 3)."""
        return self.shown(field_of(self.support(rows)), rows)

    def layers(self, x, rows: Rows | None = None):
        """All shared layers: field (P, rows of the support, W, C) -> (P, end - first, W, 3), about 0 to 1."""
        first, end = rows or (0, self.height)
        low, _ = self.support((first, end))
        layers, number = self.architecture.layers, self.architecture.colour
        outputs = [None] * (number - 1) + [(self.ops.cast(x), 1)]  # of every layer, and its fold
        for i, layer in enumerate(layers[number:], number):
            x, residual = refold(*outputs[-1], layer.fold, self.ops), None
            outputs[-1] = x, layer.fold  # as a residual it is asked for in the same fold
            if layer.residual_of is not None:
                residual = refold(*outputs[layer.residual_of], layer.fold, self.ops)
            finished = partial(self.finished, i, residual, self.biases(i), low // layer.fold)
            outputs.append((self.ops.window(x, self.shared[f"w{i}"], finished), layer.fold))
        return refold(*outputs[-1], 1, self.ops)[:, first - low : end - low]

    def finished(self, i: int, residual, biases, start: int, y, rows: Rows):
        """Output of layer i for some rows from their products, (P, end - first, W, O), which are overwritten.

        rows: first and end, counted from row `start` of the layer's positions. residual: what is added, all rows of it.
        """
        layer = self.architecture.layers[i]
        y += self.between(i, biases, start + rows[0], start + rows[1])
        if layer.omega != 1:
            y *= layer.omega
        y = self.ops.activation(layer.kind, y)
        if residual is not None:
            y += residual[:, slice(*rows)]
        return y

    def bias(self, i: int, first: int, end: int):
        """Biases of layer i: (O,), or for some rows of its positions (P, end - first, columns, O)."""
        return self.between(i, self.biases(i), first, end)

    def biases(self, i: int):
        """Biases of layer i: (O,), or at the centres of tiles (P, Rt, Ct, O)."""
        bias = self.shared[f"b{i}"]
        return bias if bias.ndim == 1 else self.ops.look_up(bias, self.classes)

    def between(self, i: int, biases, first: int, end: int):
        """`bias` from `biases`."""
        if biases.ndim == 1:
            return biases
        return self.ops.between(biases, self.architecture.tile // self.architecture.layers[i].fold, first, end)


def forward(architecture: Architecture, latents, shared: dict, classes, ops, single: int | None = None):
    """Whole pictures from latents: (P, Rb, Cb, D), shared weights, (P, Rt, Ct) classes -> (P, H, W, 3)."""
    network = Network(architecture, shared, classes, ops, single=single)
    return network.layers(network.field(latents))


def refold(x, fold: int, wanted: int, ops):
    """Pixels folded into channels, `fold` x `fold` of them, folded otherwise: (P, H, W, C) -> (P, H', W', C').

    Channels count (row in the fold, column in it, channel of the pixel), the last fastest.
    """
    if fold != 1 != wanted or wanted == fold:
        return x if wanted == fold else refold(refold(x, fold, 1, ops), 1, wanted, ops)
    p, h, w, c = x.shape
    if wanted > 1:
        x = ops.permute(x.reshape(p, h // wanted, wanted, w // wanted, wanted, c), (0, 1, 3, 2, 4, 5))
        return x.reshape(p, h // wanted, w // wanted, wanted * wanted * c)
    x = ops.permute(x.reshape(p, h, w, fold, fold, c // fold**2), (0, 1, 3, 2, 4, 5))
    return x.reshape(p, h * fold, w * fold, c // fold**2)
