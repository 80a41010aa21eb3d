"""The forward pass: field, shared layers, strips of rows; encoder and decoder share it (FORMAT.md, section 7).

Shapes: see architecture.py. `ops` is a NumpyOps or TorchOps.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

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

    @property
    def tiles(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return tuple(self.classes.shape[1:])

    @property
    def height(self) -> int:
        """Rows of pixels, whole tiles."""
        return self.classes.shape[1] * self.architecture.tile

    def down(self, latents) -> list:
        """First half of the field, for all rows: (P, Rb, Cb, D)."""
        return self.architecture.field.down(self.architecture, latents, self.tiles, self.ops)

    def across(self, halves: list, rows: Rows | tuple[int, None] = (0, None)):
        """Second half of the field, for some rows: -> (P, end - first, W, C)."""
        return self.architecture.field.across(self.architecture, halves, self.tiles, self.ops, rows)

    def field(self, latents):
        """The whole field: (P, Rb, Cb, D) -> (P, H, W, C)."""
        return self.across(self.down(latents))

    def support(self, rows: Rows) -> Rows:
        """Rows of the field that the shared layers need for some rows of the picture."""
        return max(0, rows[0] - self.architecture.margin), min(self.height, rows[1] + self.architecture.margin)

    def strips(self, pixels: int, height: int | None = None) -> list[Rows]:
        """Rows of about so many pixels, whole pictures high or up to `height` rows."""
        height = height or self.height
        each = max(self.architecture.tile, pixels // (self.classes.shape[0] * self.tiles[1] * self.architecture.tile))
        return [(first, min(first + each, height)) for first in range(0, height, each)]

    def shown(self, x, rows: Rows):
        """Some rows of the pictures from the field's rows of their `support`: -> (P, end - first, W, 1 or 3)."""
        out = self.layers(x, rows)
        return out.mean(-1)[..., None] if self.grey else out

    def layers(self, x, rows: Rows | None = None):
        """All shared layers: field (P, rows of the support, W, C) -> (P, end - first, W, 3), about 0 to 1."""
        first, end = rows or (0, self.height)
        low, high = self.support((first, end))
        layers, number = self.architecture.layers, self.architecture.colour
        x = self.ops.cast(x)
        outputs = [None] * (number - 1) + [x]
        for i, layer in enumerate(layers[number:], number):
            w = self.shared[f"w{i}"]
            y = self.ops.window(x, layer.window, w) if layer.window > 1 else x @ w[0, 0]
            y += self.bias(i, low, high)
            if layer.kind == "sine":
                y = self.ops.sin(layer.omega * y if layer.omega != 1 else y)
            if layer.residual_of is not None:
                y = y + outputs[layer.residual_of]
            outputs.append(y)
            x = y
        return x[:, first - low : end - low]

    def bias(self, i: int, low: int, high: int):
        """Biases of layer i for rows low … high: (O,), or (P, high - low, W, O)."""
        bias = self.shared[f"b{i}"]
        if bias.ndim == 1:
            return bias
        return _between(bias[self.classes], self.architecture.tile, low, high, self.ops)


def render(network: Network, field_of: Callable, strips: list[Rows], each: Callable = map) -> Iterable:
    """The one loop over strips: (rows, pictures' rows (P, n, W, 1 or 3)) of each, from `field_of(rows)`.

    each: like `map`; on threads in a decoder.
    """
    return each(lambda rows: (rows, network.shown(field_of(network.support(rows)), rows)), strips)


def forward(architecture: Architecture, latents, shared: dict, classes, ops):
    """Whole pictures from latents: (P, Rb, Cb, D), shared weights, (P, Rt, Ct) classes -> (P, H, W, 3)."""
    network = Network(architecture, shared, classes, ops)
    return network.layers(network.field(latents))


def _between(values, tile, low, high, ops):
    """Bilinear interpolation between centres of tiles, rows low … high: (P, Rt, Ct, O) -> (P, high - low, W, O)."""
    if values.shape[1:3] == (1, 1):
        return values
    place = (np.arange(low, high) + 0.5) / tile - 0.5
    above = np.clip(np.floor(place).astype(np.int64), 0, values.shape[1] - 1)
    below = np.minimum(above + 1, values.shape[1] - 1)
    share = ops.constant(np.clip(place - above, 0, 1), values)[:, None, None]
    rows = values[:, above] + share * (values[:, below] - values[:, above])
    ends = ops.concatenate([rows[:, :, :1], rows, rows[:, :, -1:]], 2)[:, :, :, None]  # (P, rows, Ct + 2, 1, O)
    share = ops.constant((np.arange(tile) + 0.5) / tile, values)[:, None]
    between = ends[:, :, :-1] + share * (ends[:, :, 1:] - ends[:, :, :-1])  # from centre to centre
    shape = between.shape
    between = between.reshape(*shape[:2], shape[2] * tile, shape[4])
    return between[:, :, tile // 2 : shape[2] * tile - tile // 2]
