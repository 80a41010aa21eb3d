"""Architecture and forward pass of the implicit neural representation, for numpy and for torch.

A picture is a function of position: pixel centres in [-1, 1]^2 -> features -> layers -> RGB. The prior file lists the
layers
as data. Weights of `latent` layers are what a file stores, one sample per tile; all other weights belong to the prior.

Shapes: T tiles, H x W pixels, C channels, D latents per tile, F features.
"""

from dataclasses import asdict, dataclass
from functools import cache

import numpy as np


@dataclass(frozen=True)
class Layer:
    """One layer, out = act(W x + b): `window` > 1 looks at that many pixels squared (edges repeated)."""

    kind: str  # "linear" or "sine"
    inputs: int
    outputs: int
    latent: bool = False  # weights come from the file
    bias: bool = True
    window: int = 1
    omega: float = 1.0  # sine layers: sin(omega * (W x + b)), SIREN equation 3.2
    scale: float = 1.0  # weights are scale * theta with theta of order 1
    residual_of: int | None = None  # add the output of that layer

    @property
    def latents(self) -> int:
        return (self.inputs + self.bias) * self.outputs if self.latent else 0

    @property
    def multiplies(self) -> int:
        """Multiply-adds per pixel."""
        return self.window**2 * self.inputs * self.outputs


@dataclass(frozen=True)
class Architecture:
    features: str  # "cosine": products of cosines up to Nyquist; "fourier": sines and cosines of octaves
    tile: int  # tiles are tile x tile pixels
    layers: tuple[Layer, ...]

    @property
    def latents(self) -> int:
        """D, the number of weights stored per tile."""
        return sum(layer.latents for layer in self.layers)

    @property
    def multiplies(self) -> int:
        """Multiply-adds per pixel; cosine products are separable (two passes of `tile` multiplications each)."""
        first = 2 * self.tile * self.layers[0].outputs if self.features == "cosine" else self.layers[0].multiplies
        return first + sum(layer.multiplies for layer in self.layers[1:])

    def to_json(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_json(data: dict) -> "Architecture":
        return Architecture(data["features"], data["tile"], tuple(Layer(**layer) for layer in data["layers"]))


class NumpyOps:
    """What the forward pass needs of an array library; `dtype` is that of the shared layers."""

    sin = staticmethod(np.sin)

    def __init__(self, dtype=np.float64):
        self.dtype = dtype

    @staticmethod
    def constant(array, like):
        return array.astype(like.dtype)

    def narrow(self, x):
        """Latent layers are computed in double precision, shared ones as wide as asked for."""
        return x.astype(self.dtype)

    @staticmethod
    def window(x, size, weights):
        """Dense layer over size x size neighbourhoods: (T, H, W, C) (size, size, C, O) -> (T, H, W, O)."""
        r = size // 2
        padded = np.pad(x, ((0, 0), (r, r), (r, r), (0, 0)), mode="edge")
        patches = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))  # (T, H, W, C, k, k)
        patches = patches.transpose(0, 1, 2, 4, 5, 3).reshape(*x.shape[:3], -1)
        return patches @ weights.reshape(patches.shape[-1], -1)


def forward(architecture: Architecture, latents, shared: dict, classes, ops):
    """Tiles from latents: (T, D), shared weights by name, (T,) class of each tile -> (T, H, W, 3), about 0 to 1.

    Shared layer i has weights `w{i}` (k, k, C, O) and biases `b{i}` (O,) or one per class (K, O).
    """
    n, outputs, start = architecture.tile, [], 0
    x = None
    for i, layer in enumerate(architecture.layers):
        if layer.latent:
            chunk = latents[:, start : start + layer.latents]
            start += layer.latents
            weights, bias = _split(layer, chunk)
            if i == 0:
                y = _embed(architecture, weights, ops)
            else:
                y = (x.reshape(len(x), n * n, -1) @ weights).reshape(len(x), n, n, -1)
        else:
            x, w, bias = ops.narrow(x), shared[f"w{i}"], shared[f"b{i}"]
            y = ops.window(x, layer.window, w) if layer.window > 1 else x @ w.reshape(layer.inputs, layer.outputs)
            bias = bias[classes][:, None] if bias.ndim == 2 else bias
        if bias is not None:
            y = y + (bias[:, None] if bias.ndim == 3 else bias)
        if layer.kind == "sine":
            y = ops.sin(layer.omega * y)
        if layer.residual_of is not None:
            y = y + outputs[layer.residual_of]
        outputs.append(y)
        x = y
    return x


def _split(layer, chunk):
    """Flat latents of one layer -> weights (T, C, O) and bias (T, 1, O) or None."""
    size = layer.inputs * layer.outputs
    weights = layer.scale * chunk[:, :size].reshape(-1, layer.inputs, layer.outputs)
    return weights, layer.scale * chunk[:, None, size:] if layer.bias else None


def _embed(architecture, weights, ops):
    """First layer on the fixed features of the pixel grid: (T, F, C) -> (T, H, W, C)."""
    n = architecture.tile
    if architecture.features == "cosine":
        c = ops.constant(cosines(n), weights)  # (frequency, position)
        grid = weights.reshape(-1, n, n * weights.shape[-1])  # rows of frequencies first
        half = (c.T @ grid).reshape(len(weights), n, n, -1)
        return c.T @ half
    x = ops.constant(fourier(n, architecture.layers[0].inputs), weights)
    return (x @ weights).reshape(len(weights), n, n, -1)


@cache
def cosines(n: int) -> np.ndarray:
    """Orthonormal cosine features of n pixel centres: (frequency, position) float64."""
    k = np.arange(n)
    c = np.sqrt(2 / n) * np.cos(np.pi * (k + 0.5) * k[:, None] / n)
    c[0] /= np.sqrt(2)
    return c


@cache
def fourier(n: int, count: int) -> np.ndarray:
    """Sines and cosines of count / 4 octaves of both coordinates: (n * n, count) float64."""
    axis = (2 * np.arange(n) + 1) / n - 1
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    phases = (grid[:, :, None] * np.pi * 2.0 ** (np.arange(count // 4) - 1)).reshape(n * n, -1)
    return np.concatenate([np.sin(phases), np.cos(phases)], 1)
