"""The forward pass: field, shared layers, part after part; encoder and decoder share it (FORMAT.md, section 7).

Shapes: see architecture.py; a part of h x w pixels. `ops` is a NumpyOps or TorchOps.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import isqrt

import numpy as np

from .architecture import Architecture
from .array import Array, Ops
from .completion import completed
from .rectangle import Rectangle

WIDEST = 2**14  # columns of a strip, at most: wider pictures are cut into columns too


@dataclass(frozen=True)
class Network:
    """The shared layers of one operating point on pictures of known classes."""

    architecture: Architecture
    # w{i} (k, k, C, O) and b{i} (O,), or one bias per class (K, O), interpolated between tile centres
    shared: dict[str, Array]
    classes: Array  # (P, Rt, Ct)
    ops: Ops
    grey: bool = False  # pictures have one channel: the mean of the network's three
    single: int | None = None  # classes of tiles on their own: those from here on are of merged tiles
    completes: bool = False  # whether latents without bits are completed where tiles of two sizes meet

    @cached_property
    def merged(self) -> np.ndarray:
        """Tiles that are part of a merged one: (P, Rt, Ct) bool."""
        classes = self.classes
        if self.single is None:
            return np.zeros(tuple(classes.shape), bool)
        if not isinstance(classes, np.ndarray):
            classes = np.asarray(classes.cpu())
        return classes >= self.single

    def of(self, pictures: slice) -> "Network":
        """The same of some of the pictures only."""
        return replace(self, classes=self.classes[pictures])

    def of_tiles(self, tiles: Rectangle) -> "Network":
        """The same of a part of the pictures."""
        rows, columns = tiles.slices
        return replace(self, classes=self.classes[:, rows, columns])

    @property
    def whole(self) -> Rectangle:
        """All pixels, whole tiles."""
        _, rows, columns = self.classes.shape
        return Rectangle.of(rows, columns).times(self.architecture.tile)

    def complete(self, latents, each=map):
        """Latents of whole pictures as they are shown: (P, Rb, Cb, D), the same. each: as `Field.down` has it."""
        if not self.completes:
            return latents
        return completed(self.architecture, latents, self.merged, self.ops, each)

    def down(self, latents, each=map):
        """First half of the field, for all pixels: (P, Rb, Cb, D). each: as `Field.down` has it."""
        return self.architecture.field.down(self.architecture, latents, self.merged, self.ops, each)

    def across(self, half, part: Rectangle | None = None):
        """Second half of the field, for a part of the pictures, or all: -> (P, h, w, C)."""
        return self.architecture.field.across(half, self.ops, part or self.whole)

    def field(self, latents):
        """The whole field: (P, Rb, Cb, D) -> (P, H, W, C)."""
        return self.across(self.down(latents))

    def support(self, part: Rectangle) -> Rectangle:
        """What of the field the shared layers need for a part of the pictures: whole folds, and columns of whole tiles,
        since products of rows of few divisors are slow.
        """
        architecture = self.architecture
        down = part.grown(architecture.margin, architecture.fold, self.whole.shape)
        across = part.grown(architecture.margin, architecture.tile, self.whole.shape)
        return Rectangle(down.rows, across.columns)

    def parts(self, pixels: int, within: Rectangle | None = None, widest: int = WIDEST) -> list[Rectangle]:
        """A rectangle, or all, in parts of about so many pixels: strips, or squares if it has over `widest` columns."""
        within = within or self.whole
        tile = self.architecture.tile
        width = -(-len(within.columns) // tile) * tile
        pixels = pixels // len(self.classes)
        if width > widest:
            rows = min(len(within.rows), max(tile, isqrt(pixels)))
            width = max(1, pixels // rows // tile) * tile
        return within.cut(max(tile, pixels // width), width)

    def show(self, field_of: Callable[[Rectangle], Array], part: Rectangle):
        """A part of the pictures from a function that gives parts of the field: -> (P, h, w, 1 or 3)."""
        field = field_of(self.support(part))
        out = self.layers(field, part)
        return out.mean(-1)[..., None] if self.grey else out

    def layers(self, x, part: Rectangle | None = None):
        """All shared layers: field of a part's support, or all, (P, h', w', C) -> (P, h, w, 3), about 0 to 1."""
        part = part or self.whole
        support = self.support(part)
        layers, first = self.architecture.layers, self.architecture.colour
        outputs = {first - 1: (self.ops.cast(x), 1)}  # of every layer, and its fold
        for i in range(first, len(layers)):
            layer = layers[i]
            x = refold(*outputs[i - 1], layer.fold, self.ops)
            outputs[i - 1] = x, layer.fold  # as a residual it is asked for in the same fold
            residual = None
            if layer.residual_of is not None:
                residual = refold(*outputs[layer.residual_of], layer.fold, self.ops)
            outputs[i] = self._layer(i, x, residual, support), layer.fold
            for j in set(outputs) - self._read_after(i):
                del outputs[j]  # its memory is the next one's, which is quicker than fresh memory
        shown = refold(*outputs[len(layers) - 1], 1, self.ops)
        rows, columns = part.within(support).slices
        return shown[:, rows, columns]

    def _read_after(self, i: int) -> set[int]:
        """Numbers of layers whose outputs are read after layer i."""
        later = self.architecture.layers[i + 1 :]
        return {i} | {layer.residual_of for layer in later if layer.residual_of is not None}

    def _layer(self, i: int, x, residual, support: Rectangle):
        """Output of layer i on the positions of a part of the field. residual: what is added, or None."""
        layer = self.architecture.layers[i]
        positions = support.over(layer.fold)
        biases, place = self._biases(i, positions)

        def epilogue(y, rows: slice):
            """Output for some rows from their products (P, h, w, O), which are overwritten."""
            if place is None:
                y += biases
            else:
                y += self._between(i, biases, Rectangle(place.rows[rows], place.columns))
            if layer.omega != 1:
                y *= layer.omega
            y = self.ops.activation(layer.kind, y)
            if residual is not None:
                y += residual[:, rows]
            return y

        return self.ops.window(x, self.shared[f"w{i}"], epilogue)

    def bias(self, i: int, positions: Rectangle):
        """Biases of layer i: (O,), or at some of its positions (P, h, w, O)."""
        biases, place = self._biases(i, positions)
        return biases if place is None else self._between(i, biases, place)

    def _biases(self, i: int, positions: Rectangle):
        """Biases of layer i, (O,), and None; or at the centres of tiles about some of its positions, (P, r, c, O), and
        where in these tiles the positions are.
        """
        bias = self.shared[f"b{i}"]
        if bias.ndim == 1:
            return bias, None
        size = self._positions(i)
        tiles = positions.over(size).grown(1, 1, self.classes.shape[1:])
        place = positions.within(tiles.times(size))
        return self.ops.look_up(bias, self.of_tiles(tiles).classes), place

    def _between(self, i: int, biases, place: Rectangle):
        """`bias` at a place in the tiles of `_biases`."""
        return self.ops.between(biases, self._positions(i), place)

    def _positions(self, i: int) -> int:
        """Positions of layer i along the side of a tile."""
        return self.architecture.tile // self.architecture.layers[i].fold


def forward(
    architecture: Architecture, latents, shared: dict[str, Array], classes, ops: Ops, single: int | None = None
):
    """Whole pictures from latents: (P, Rb, Cb, D), shared weights, (P, Rt, Ct) classes -> (P, H, W, 3)."""
    network = Network(architecture, shared, classes, ops, single=single)
    return network.layers(network.field(latents))


def refold(x, fold: int, wanted: int, ops):
    """Pixels folded into channels, `fold` x `fold` of them, folded otherwise: (P, H, W, C) -> (P, H', W', C').

    Channels count (row in the fold, column in it, channel of the pixel), the last fastest.
    """
    if wanted == fold:
        return x
    if fold > 1:
        x = _unfolded(x, fold, ops)
    if wanted > 1:
        x = _folded(x, wanted, ops)
    return x


def _folded(x, fold: int, ops):
    """(P, H, W, C) -> (P, H / fold, W / fold, fold fold C)."""
    pictures, height, width, channels = x.shape
    rows, columns = height // fold, width // fold
    squares = ops.permute(x.reshape(pictures, rows, fold, columns, fold, channels), (0, 1, 3, 2, 4, 5))
    return squares.reshape(pictures, rows, columns, fold * fold * channels)


def _unfolded(x, fold: int, ops):
    """The inverse of `_folded`."""
    pictures, rows, columns, channels = x.shape
    squares = x.reshape(pictures, rows, columns, fold, fold, channels // fold**2)
    lines = ops.permute(squares, (0, 1, 3, 2, 4, 5))
    return lines.reshape(pictures, rows * fold, columns * fold, channels // fold**2)
