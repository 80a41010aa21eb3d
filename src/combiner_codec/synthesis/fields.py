"""What the stored layers make of their latents: a field over the whole picture. One class for each kind of features.

Synthesis is done in two halves: `down` for all rows, then `across` for the rows that are wanted, so that a decoder can
go strip by strip. Shapes: see architecture.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .lapped import synthesise_columns, synthesise_rows

if TYPE_CHECKING:
    from .architecture import Architecture

BAND = 16  # columns of blocks that are synthesised downwards at once


@dataclass(frozen=True)
class Part:
    """Latents of a block that belong together: one stored layer of a SIREN, or one level of cosines."""

    layer: int  # number in the architecture
    name: str
    start: int  # first of its latents in a block
    hop: int  # pixels along the side of one of its tiles
    repeats: int  # its tiles along the side of a block
    shape: tuple[int, ...]  # latents of one tile: (inputs, and one row of biases; outputs) or (v, h, colour)

    @property
    def size(self) -> int:
        """Latents of one tile."""
        return int(np.prod(self.shape))

    @property
    def latents(self) -> slice:
        """Its place among the latents of a block."""
        return slice(self.start, self.start + self.repeats**2 * self.size)


class Field(Protocol):
    """What architecture, decoder and encoder ask of a kind of features."""

    linear: bool  # whether the field is linear in the latents, so that a posterior has a closed form
    components: int  # colour components that the columns of the prior's tables take turns with

    def parts(self, architecture: "Architecture") -> Iterator[Part]:
        """Latents of a block that belong together, in the block's order."""

    def multiplies(self, architecture: "Architecture") -> float:
        """Multiply-adds per pixel of the field."""

    def down(self, architecture: "Architecture", latents, tiles: tuple[int, int], ops) -> list:
        """First half, for all rows: (P, Rb, Cb, D), tiles (Rt, Ct) -> what `across` takes."""

    def across(self, architecture: "Architecture", halves: list, tiles: tuple[int, int], ops, rows=(0, None)):
        """Second half, for some rows (first, end): -> (P, end - first, W, C)."""


class Cosines:
    """Coefficients of lapped cosines, at one or more levels that are summed; a level that keeps none has no part."""

    linear, components = True, 3

    def parts(self, architecture):
        start = 0
        for i, grid in enumerate(grid for grid in architecture.grids if grid.keep):
            name = f"layer 0, {'coarse level' if i else 'tiles'} of {grid.hop} x {grid.hop}"
            part = Part(0, name, start, grid.hop, architecture.block // grid.hop, (grid.keep, grid.keep, 3))
            start = part.latents.stop
            yield part

    def multiplies(self, architecture):
        """Products of cosines are separable: two passes."""
        return sum(3 * (grid.keep + grid.keep * grid.keep / grid.hop) for grid in architecture.grids)

    def down(self, architecture, latents, tiles, ops):
        """A band of blocks after the other, so that a large picture's copies are small."""
        halves, n = [], architecture.side
        for part in architecture.parts:
            bands = []
            for first in range(0, latents.shape[2], BAND):
                band = latents[:, :, first : first + BAND, part.latents]
                bands.append(unfold(architecture, part, band, (tiles[0], min(n * BAND, tiles[1] - n * first)), ops))
            halves.append(bands[0] if len(bands) == 1 else ops.concatenate(bands, 3))
        return halves

    def across(self, architecture, halves, tiles, ops, rows=(0, None)):
        total = 0
        for part, half in zip(architecture.parts, halves, strict=True):
            total = total + synthesise_rows(half[:, slice(*rows)], part.hop, ops)[..., : tiles[1] * architecture.tile]
        return ops.permute(total, (0, 1, 3, 2))


class Siren:
    """All layers of a SIREN on every tile (Sitzmann et al., 2020; COMBINER's network)."""

    linear, components = False, 1

    def parts(self, architecture):
        start = 0
        for i, layer in enumerate(architecture.stored):
            name = f"layer {i}, {layer.kind} {layer.inputs} to {layer.outputs}"
            part = Part(i, name, start, architecture.tile, 1, (layer.inputs + layer.bias, layer.outputs))
            start = part.latents.stop
            yield part

    def multiplies(self, architecture):
        return sum(layer.multiplies for layer in architecture.stored)

    def down(self, architecture, latents, tiles, ops):
        p, r, c = latents.shape[:3]
        n, start = architecture.tile, 0
        latents = latents.reshape(p * r * c, -1)
        x = ops.constant(fourier(n, architecture.layers[0].inputs), latents)
        for layer in architecture.stored:
            size = layer.inputs * layer.outputs
            chunk = layer.scale * latents[:, start : start + layer.latents]
            x = x @ chunk[:, :size].reshape(-1, layer.inputs, layer.outputs)
            if layer.bias:
                x = x + chunk[:, None, size:]
            if layer.kind == "sine":
                x = ops.sin(layer.omega * x)
            start += layer.latents
        x = x.reshape(p, r, c, n, n, -1)
        return [ops.permute(x, (0, 1, 3, 2, 4, 5)).reshape(p, r * n, c * n, -1)]

    def across(self, architecture, halves, tiles, ops, rows=(0, None)):
        return halves[0][:, slice(*rows)]


FIELDS: dict[str, Field] = {"cosine": Cosines(), "fourier": Siren()}


def unfold(architecture: "Architecture", part: Part, latents, tiles: tuple[int, int], ops):
    """One level synthesised downwards: (P, Rb, Cb, its latents of a block), tiles (Rt, Ct) -> (P, H, 3, C, k)."""
    (p, r, c), n, k = latents.shape[:3], part.repeats, part.shape[0]
    height, width = (count * architecture.tile for count in tiles)
    rows, columns = -(-height // part.hop), -(-width // part.hop)
    x = ops.permute(latents.reshape(p, r, c, n, n, k, k, 3), (0, 1, 3, 5, 7, 2, 4, 6))
    x = x.reshape(p, r * n, k, 3, c * n, k)[:, :rows, :, :, :columns]
    return synthesise_columns(x, part.hop, ops)[:, :height]


@cache
def fourier(n: int, count: int) -> np.ndarray:
    """Sines and cosines of count / 4 octaves of both coordinates: (n * n, count) float64."""
    axis = (2 * np.arange(n) + 1) / n - 1
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    phases = (grid[:, :, None] * np.pi * 2.0 ** (np.arange(count // 4) - 1)).reshape(n * n, -1)
    return np.concatenate([np.sin(phases), np.cos(phases)], 1)
