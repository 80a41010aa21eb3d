"""What the stored layers make of their latents: a field over the whole picture. One class for each kind of features.

Synthesis is done in two halves: `down` for all pixels, then `across` for the part that is wanted, so that a decoder can
go part by part. Shapes: see architecture.py; a part of h x w pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .borders import Borders
from .lapped import coefficients, kinds_of, matrices_of, synthesise, whole_squares
from .pyramid import Pyramid
from .rectangle import Rectangle

if TYPE_CHECKING:
    from .architecture import Architecture

COLUMNS_AT_ONCE = 4  # columns of blocks that are synthesised downwards at once, so that they stay in the cache


@dataclass(frozen=True)
class Part:
    """Latents of a tile that belong together: one stored layer of a SIREN, or the cosines."""

    layer: int  # number in the architecture
    name: str
    start: int  # first of its latents in a tile
    shape: tuple[int, ...]  # (inputs, and one row of biases; outputs) or (v, h, colour)

    @property
    def size(self) -> int:
        """Latents of one tile."""
        return int(np.prod(self.shape))

    @property
    def latents(self) -> slice:
        """Its place among the latents of a tile."""
        return slice(self.start, self.start + self.size)


class Field(Protocol):
    """What architecture, decoder and encoder ask of a kind of features."""

    linear: bool  # whether the field is linear in the latents, so that a posterior has a closed form
    components: int  # colour components that the columns of the prior's tables take turns with

    def parts(self, architecture: "Architecture") -> Iterator[Part]:
        """Latents of a tile that belong together, in the tile's order."""

    def multiplies(self, architecture: "Architecture") -> float:
        """Multiply-adds per pixel of the field."""

    def down(self, architecture: "Architecture", latents, merged: np.ndarray, ops, each=map):
        """First half, for all pixels: (P, Rb, Cb, D), merged (P, Rt, Ct) bool -> what `across` takes.

        each: what does some columns after others, as `map`.
        """

    def across(self, half, ops, part: Rectangle):
        """Second half, for a part of the pictures: -> (P, h, w, C)."""


class Cosines:
    """Coefficients of lapped cosines (lapped.py)."""

    linear = True
    components = 3

    def parts(self, architecture):
        n = architecture.tile
        yield Part(0, f"layer 0, cosines of tiles of {n} x {n}", 0, (n, n, 3))

    def multiplies(self, architecture):
        """Products of cosines are separable: two passes, twice as long in merged tiles."""
        return 2 * 3 * architecture.tile

    def down(self, architecture, latents, merged, ops, each=map):
        """Every tile's cosines, and borders between rows."""
        pixels = self.rows(architecture, latents, merged, ops, each)
        return pixels, Borders.of(merged, architecture.tile)

    def rows(self, architecture, latents, merged, ops, each=map):
        """The pixels of `down`: (P, Rb, Cb, D) -> (P, H, 3, W)."""
        hop = architecture.tile
        kinds = kinds_of(merged)
        borders = Borders.of(merged, hop)
        _, pictures, rows, columns = kinds.shape
        out = ops.empty((pictures, rows * borders.side, 3, columns * borders.side), latents)

        def some_columns(first):
            tiles = tiles_of(architecture, latents[:, :, first : first + COLUMNS_AT_ONCE])
            tiles = pyramid_of(architecture, merged, first, tiles, ops).spread(tiles)
            cosines = tiles.reshape(*tiles.shape[:3], hop, hop, 3)
            squares = columns_of_squares(architecture, first)
            matrices = matrices_of(kinds[..., squares], hop, latents, ops)
            pixels = synthesise(cosines, matrices, ops)
            start = squares.start * borders.side
            borders.mix_down(pixels, out[..., start : start + pixels.shape[3]], ops, first=start)

        list(each(some_columns, range(0, latents.shape[2], COLUMNS_AT_ONCE)))
        return out[:, : merged.shape[1] * hop, :, : merged.shape[2] * hop]

    def rows_back(self, architecture, pixels, merged, ops, each=map):
        """Transpose of `rows`: (P, H, 3, W) -> (P, Rb, Cb, D)."""
        hop = architecture.tile
        kinds = kinds_of(merged)
        borders = Borders.of(merged, hop)
        _, rows, columns = merged.shape

        def some_columns(first):
            squares = columns_of_squares(architecture, first)
            start = squares.start * borders.side
            mixed = whole_squares(pixels[..., start : squares.stop * borders.side], borders.side, ops)
            parted = ops.empty(mixed.shape, mixed)
            borders.mix_down(mixed, parted, ops, -1, start)
            cosines = coefficients(parted, matrices_of(kinds[..., squares], hop, pixels, ops), ops)
            tiles = cosines.reshape(*cosines.shape[:3], -1)[:, :rows, : columns - 2 * squares.start]
            latents = pyramid_of(architecture, merged, first, tiles, ops).gathered(tiles)
            return blocks_from(architecture, latents, ops)

        block_columns = -(-columns // architecture.side)
        parts = list(each(some_columns, range(0, block_columns, COLUMNS_AT_ONCE)))
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, 2)

    def across(self, half, ops, part):
        """Borders between columns."""
        pixels, borders = half
        rows, columns = Rectangle(part.rows, borders.reached(part.columns)).slices
        mixed = borders.mixed_part(pixels[:, rows, :, columns], part, ops)
        return ops.permute(mixed, (0, 1, 3, 2))


class Siren:
    """All layers of a SIREN on every tile (Sitzmann et al., 2020; COMBINER's network)."""

    linear = False
    components = 1

    def parts(self, architecture):
        start = 0
        for i, layer in enumerate(architecture.stored):
            name = f"layer {i}, {layer.kind} {layer.inputs} to {layer.outputs}"
            part = Part(i, name, start, (layer.inputs + layer.bias, layer.outputs))
            start = part.latents.stop
            yield part

    def multiplies(self, architecture):
        return sum(layer.multiplies for layer in architecture.stored)

    def down(self, architecture, latents, merged, ops, each=map):
        """All layers; nothing is left for `across`: -> (P, H, W, C)."""
        pictures, rows, columns, _ = latents.shape
        latents = latents.reshape(pictures * rows * columns, -1)
        n = architecture.tile
        x = ops.constant(fourier(n, architecture.layers[0].inputs), latents)
        start = 0
        for layer in architecture.stored:
            end = start + layer.latents
            theta = layer.scale * latents[:, start:end]
            size = layer.inputs * layer.outputs
            x = x @ theta[:, :size].reshape(-1, layer.inputs, layer.outputs)
            if layer.bias:
                x = x + theta[:, None, size:]
            if layer.kind == "sine":
                x = ops.sin(layer.omega * x)
            start = end
        tiles = x.reshape(pictures, rows, columns, n, n, -1)
        return ops.permute(tiles, (0, 1, 3, 2, 4, 5)).reshape(pictures, rows * n, columns * n, -1)

    def across(self, half, ops, part):
        rows, columns = part.slices
        return half[:, rows, columns]


FIELDS: dict[str, Field] = {"cosine": Cosines(), "fourier": Siren()}


def columns_of_squares(architecture: "Architecture", first: int) -> slice:
    """Squares of the columns of blocks from `first` on that are done at once."""
    tiles = architecture.side * COLUMNS_AT_ONCE
    start = first * architecture.side // 2
    return slice(start, start + tiles // 2)


def pyramid_of(architecture: "Architecture", merged: np.ndarray, first: int, like, ops) -> Pyramid:
    """That of these columns of blocks; merged: (P, Rt, Ct) bool."""
    start = first * architecture.side
    some = merged[:, :, start : start + COLUMNS_AT_ONCE * architecture.side]
    return Pyramid.of(some, architecture.pyramid, like, ops)


def tiles_of(architecture: "Architecture", latents):
    """Latents of blocks by tiles, in rows and columns: (P, Rb, Cb, D) -> (P, Rb * n, Cb * n, U)."""
    pictures, rows, columns, block_latents = latents.shape
    n = architecture.side
    size = block_latents // n**2
    x = latents.reshape(pictures, rows, columns, n, n, size).swapaxes(2, 3)
    return x.reshape(pictures, rows * n, columns * n, size)


def blocks_from(architecture: "Architecture", tiles, ops):
    """The inverse; tiles beyond the picture are 0: (P, Rt, Ct, U) -> (P, Rb, Cb, D)."""
    pictures, height, width, size = tiles.shape
    n = architecture.side
    rows, columns = -(-height // n), -(-width // n)
    x = tiles
    if height % n or width % n:
        x = ops.zeros((pictures, rows * n, columns * n, size), tiles)
        x[:, :height, :width] = tiles
    blocks = x.reshape(pictures, rows, n, columns, n, size).swapaxes(2, 3)
    return blocks.reshape(pictures, rows, columns, -1)


@cache
def fourier(n: int, count: int) -> np.ndarray:
    """Sines and cosines of count / 4 octaves of both coordinates: (n * n, count) float64."""
    axis = (2 * np.arange(n) + 1) / n - 1
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    octaves = 2.0 ** (np.arange(count // 4) - 1)
    phases = (grid[:, :, None] * np.pi * octaves).reshape(n * n, -1)
    return np.concatenate([np.sin(phases), np.cos(phases)], 1)
