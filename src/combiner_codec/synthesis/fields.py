"""What the stored layers make of their latents: a field over the whole picture. One class for each kind of features.

Synthesis is done in two halves: `down` for all rows, then `across` for the rows that are wanted, so that a decoder can
go strip by strip. Shapes: see architecture.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .lapped import Borders, coefficients, synthesise

if TYPE_CHECKING:
    from .architecture import Architecture

BAND = 16  # columns of blocks that are synthesised downwards at once


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

    def down(self, architecture: "Architecture", latents, merged: np.ndarray, ops):
        """First half, for all rows: (P, Rb, Cb, D), merged (P, Rt, Ct) bool -> what `across` takes."""

    def across(self, half, ops, rows=(0, None)):
        """Second half, for some rows (first, end): -> (P, end - first, W, C)."""


class Cosines:
    """Coefficients of lapped cosines (lapped.py)."""

    linear, components = True, 3

    def parts(self, architecture):
        n = architecture.tile
        yield Part(0, f"layer 0, cosines of tiles of {n} x {n}", 0, (n, n, 3))

    def multiplies(self, architecture):
        """Products of cosines are separable: two passes, twice as long in merged tiles."""
        return 2 * 3 * architecture.tile

    def down(self, architecture, latents, merged, ops):
        """Every tile's cosines, and borders between rows."""
        return self.rows(architecture, latents, merged, ops), Borders.of(merged, architecture.tile)

    def rows(self, architecture, latents, merged, ops, each=map):
        """The pixels of `down`, band after band of blocks, so that copies are small: -> (P, H, 3, W)."""
        hop, side = architecture.tile, architecture.side
        borders = Borders.of(merged.swapaxes(1, 2), hop)

        def band(first):
            own = tiles_of(architecture, latents[:, :, first : first + BAND])
            columns = first * side, (first + BAND) * side
            pixels = synthesise(own.reshape(*own.shape[:3], hop, hop, 3), merged, ops, columns)
            return borders.mixed(pixels, 1, ops, first=columns[0] * hop)

        bands = list(each(band, range(0, latents.shape[2], BAND)))
        return bands[0] if len(bands) == 1 else ops.concatenate(bands, 3)

    def rows_back(self, architecture, pixels, merged, ops, each=map):
        """Transpose of `rows`: (P, H, 3, W) -> (P, Rb, Cb, D)."""
        hop, side = architecture.tile, architecture.side
        borders = Borders.of(merged.swapaxes(1, 2), hop)

        def band(first):
            columns = first * side, (first + BAND) * side
            start = columns[0] * hop
            own = borders.mixed(pixels[..., start : columns[1] * hop], 1, ops, -1, start)
            tiles = coefficients(own, merged, hop, ops, columns)
            return blocks_from(architecture, tiles.reshape(*tiles.shape[:3], -1), ops)

        bands = list(each(band, range(0, -(-merged.shape[2] // side), BAND)))
        return bands[0] if len(bands) == 1 else ops.concatenate(bands, 2)

    def across(self, half, ops, rows=(0, None)):
        """Borders between columns."""
        pixels, borders = half
        return ops.permute(borders.mixed(pixels[:, slice(*rows)], 3, ops, first=rows[0]), (0, 1, 3, 2))


class Siren:
    """All layers of a SIREN on every tile (Sitzmann et al., 2020; COMBINER's network)."""

    linear, components = False, 1

    def parts(self, architecture):
        start = 0
        for i, layer in enumerate(architecture.stored):
            name = f"layer {i}, {layer.kind} {layer.inputs} to {layer.outputs}"
            part = Part(i, name, start, (layer.inputs + layer.bias, layer.outputs))
            start = part.latents.stop
            yield part

    def multiplies(self, architecture):
        return sum(layer.multiplies for layer in architecture.stored)

    def down(self, architecture, latents, merged, ops):
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
        return ops.permute(x, (0, 1, 3, 2, 4, 5)).reshape(p, r * n, c * n, -1)

    def across(self, half, ops, rows=(0, None)):
        return half[:, slice(*rows)]


FIELDS: dict[str, Field] = {"cosine": Cosines(), "fourier": Siren()}


def tiles_of(architecture: "Architecture", latents):
    """Latents of blocks by tiles, in rows and columns: (P, Rb, Cb, D) -> (P, Rb * n, Cb * n, latents of a tile)."""
    (p, r, c, size), n = latents.shape, architecture.side
    x = latents.reshape(p, r, c, n, n, size // n**2).swapaxes(2, 3)
    return x.reshape(p, r * n, c * n, size // n**2)


def blocks_from(architecture: "Architecture", tiles, ops):
    """The inverse; tiles beyond the picture are 0: (P, Rt, Ct, latents of a tile) -> (P, Rb, Cb, D)."""
    (p, r, c, size), n = tiles.shape, architecture.side
    rows, columns = -(-r // n), -(-c // n)
    x = ops.zeros((p, rows * n, columns * n, size), tiles)
    x[:, :r, :c] = tiles
    return x.reshape(p, rows, n, columns, n, size).swapaxes(2, 3).reshape(p, rows, columns, -1)


@cache
def fourier(n: int, count: int) -> np.ndarray:
    """Sines and cosines of count / 4 octaves of both coordinates: (n * n, count) float64."""
    axis = (2 * np.arange(n) + 1) / n - 1
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    phases = (grid[:, :, None] * np.pi * 2.0 ** (np.arange(count // 4) - 1)).reshape(n * n, -1)
    return np.concatenate([np.sin(phases), np.cos(phases)], 1)
