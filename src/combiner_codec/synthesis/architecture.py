"""What an implicit neural representation is made of, as the prior file lists it (FORMAT.md, sections 5, 7 and 8).

A picture is a function of position. Its first layers hold the weights that a file stores ("latents"): either a linear
layer over lapped cosine features or all layers of a small SIREN. The result is a field over the whole picture, which
the layers that follow ("shared", weights from the prior) turn into RGB, looking across tile borders.

Shapes: P pictures of H x W pixels, cut into Rt x Ct tiles, which form Rb x Cb blocks, B of them in all; D latents per
block, C channels. A tile has a class; four tiles of cosines may be merged into one of twice the side, and then share
one (lapped.py). A block's latents form one stream of the file.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .fields import FIELDS, Field, Part


@dataclass(frozen=True)
class Layer:
    """One layer, out = act(W x + b): `window` > 1 looks at that many positions squared (edges repeated)."""

    kind: str  # "linear", "sine" or "silu"
    inputs: int
    outputs: int
    latent: bool = False  # weights come from the file
    bias: bool = True
    window: int = 1
    omega: float = 1.0  # sine layers: sin(omega * (W x + b)), SIREN, section 3.2
    scale: float = 1.0  # weights are scale * theta with theta of order 1
    residual_of: int | None = None  # add the output of that layer
    by_class: bool = False  # every class has its own bias
    fold: int = 1  # shared layers: side of the squares of pixels that are folded into channels (half resolution: 2)

    @property
    def latents(self) -> int:
        """Weights and biases of one tile that the file stores."""
        if not self.latent:
            return 0
        return (self.inputs + self.bias) * self.outputs

    @property
    def multiplies(self) -> float:
        """Multiply-adds per pixel."""
        return self.window**2 * self.inputs * self.outputs / self.fold**2


@dataclass(frozen=True)
class Architecture:
    """The layers, and how the picture is cut."""

    features: str  # "cosine": lapped cosines up to Nyquist; "fourier": sines and cosines of octaves
    tile: int  # pixels along the side of a tile
    layers: tuple[Layer, ...]
    side: int = 1  # tiles along the side of a block; even where tiles may be merged
    pyramid: int = 0  # levels of sums and differences of tiles' lowest frequencies (pyramid.py)

    @property
    def field(self) -> Field:
        """What the stored layers are."""
        return FIELDS[self.features]

    @property
    def block(self) -> int:
        """Pixels along the side of a block."""
        return self.tile * self.side

    @property
    def stored(self) -> tuple[Layer, ...]:
        """Layers whose weights a file stores: the first ones."""
        return tuple(layer for layer in self.layers if layer.latent)

    @property
    def colour(self) -> int:
        """Number of the first shared layer: a map of three colour components to RGB, where the field has those."""
        return len(self.stored)

    @property
    def components(self) -> int:
        """Colour components that the columns of the prior's tables take turns with."""
        return self.field.components

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Latents of a tile that belong together, in the tile's order."""
        return tuple(self.field.parts(self))

    @property
    def tile_latents(self) -> int:
        """U, the latents of a tile, and the columns of the prior's tables."""
        return sum(part.size for part in self.parts)

    @cached_property
    def columns(self) -> np.ndarray:
        """Column of the prior's tables for each latent of a block: (D,)."""
        return np.tile(np.arange(self.tile_latents), self.side**2)

    @property
    def latents(self) -> int:
        """D, the number of weights stored per block."""
        return self.side**2 * self.tile_latents

    @property
    def margin(self) -> int:
        """Pixels that the shared layers look to each side."""
        return sum(layer.window // 2 * layer.fold for layer in self.layers)

    @property
    def fold(self) -> int:
        """Side of the largest squares of pixels that a layer works on; a tile is a multiple of it."""
        return max(layer.fold for layer in self.layers)

    @property
    def multiplies(self) -> int:
        """Multiply-adds per pixel."""
        shared = self.layers[self.colour :]
        return round(self.field.multiplies(self)) + round(sum(layer.multiplies for layer in shared))

    def to_json(self) -> dict[str, Any]:
        """As the prior's metadata hold it."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Architecture":
        """The inverse. Raises KeyError or TypeError for anything else."""
        layers = tuple(Layer(**layer) for layer in data["layers"])
        return Architecture(data["features"], data["tile"], layers, data.get("side", 1), data.get("pyramid", 0))


def counts(width: int, height: int, side: int) -> tuple[int, int]:
    """Rows and columns of tiles or blocks of `side` pixels."""
    return -(-height // side), -(-width // side)


def blocks_of(classes: np.ndarray, architecture: Architecture) -> np.ndarray:
    """Classes of the tiles of each block, -1 beyond the picture: (P, Rt, Ct) -> (P * Rb * Cb, n, n)."""
    n = architecture.side
    pictures, tile_rows, tile_columns = classes.shape
    rows, columns = counts(tile_columns, tile_rows, n)
    beyond = ((0, 0), (0, rows * n - tile_rows), (0, columns * n - tile_columns))
    padded = np.pad(classes, beyond, constant_values=-1)
    blocks = padded.reshape(pictures, rows, n, columns, n).swapaxes(2, 3)
    return blocks.reshape(-1, n, n)


def pruned(architecture: Architecture, shared: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Shared weights without the channels that no later layer reads: a point may use fewer than its architecture."""
    layers = architecture.layers
    last = len(layers) - 1
    whole = {layer.residual_of for layer in layers} | {last}  # outputs that keep all channels
    out = dict(shared)
    for i in range(architecture.colour, last):
        if i in whole or layers[i].fold != layers[i + 1].fold:
            continue
        read = out[f"w{i + 1}"].any((0, 1, 3))  # (C,) channels that the next layer looks at
        if read.any():
            out[f"w{i}"] = out[f"w{i}"][..., read]
            out[f"b{i}"] = out[f"b{i}"][..., read]
            out[f"w{i + 1}"] = out[f"w{i + 1}"][:, :, read]
    return out
