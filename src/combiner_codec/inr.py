"""Architecture and forward pass of the implicit neural representation, for numpy and for torch.

A picture is a function of position. Its first layers hold the weights that a file stores ("latents"): either a linear
layer over lapped cosine features, at one or more levels that are summed, or all layers of a small SIREN. The result is
a field over the whole picture, which the layers that follow ("shared", weights from the prior) turn into RGB, looking
across tile borders. The prior file lists the layers as data.

Shapes: P pictures of H x W pixels, cut into Rt x Ct tiles, which form Rb x Cb blocks; D latents per block, C channels.
A tile has a class; a block's latents form one stream of the file.
"""

from dataclasses import asdict, dataclass
from functools import cache, cached_property

import numpy as np

BAND = 16  # columns of blocks that are synthesised downwards at once


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
    by_class: bool = False  # every class has its own bias

    @property
    def latents(self) -> int:
        return (self.inputs + self.bias) * self.outputs if self.latent else 0

    @property
    def multiplies(self) -> int:
        """Multiply-adds per pixel."""
        return self.window**2 * self.inputs * self.outputs


@dataclass(frozen=True)
class Grid:
    """One level of cosine latents: tiles of `hop` pixels, the lowest `keep` x `keep` frequencies of each."""

    hop: int
    keep: int

    @property
    def latents(self) -> int:
        """Latents per tile of this level, three colour components each."""
        return 3 * self.keep**2


@dataclass(frozen=True)
class Architecture:
    features: str  # "cosine": lapped cosines up to Nyquist; "fourier": sines and cosines of octaves
    tile: int  # pixels along the side of a tile
    layers: tuple[Layer, ...]
    coarse: tuple[Grid, ...] = ()  # levels above the tiles; the largest hop is a block

    @property
    def block(self) -> int:
        """Pixels along the side of a block."""
        return max([self.tile, *(grid.hop for grid in self.coarse)])

    @cached_property
    def grids(self) -> tuple[Grid, ...]:
        """All levels, tiles first."""
        return (Grid(self.tile, self.tile), *self.coarse)

    def repeats(self, grid: Grid) -> int:
        """How many tiles of a level lie along the side of a block."""
        return self.block // grid.hop

    @property
    def stored(self) -> tuple[Layer, ...]:
        """Layers whose weights a file stores: the first ones."""
        return tuple(layer for layer in self.layers if layer.latent)

    @cached_property
    def pattern(self) -> tuple[int, ...]:
        """Latents of one tile of each level; prior tables have one column for each."""
        if self.features == "cosine":
            return tuple(grid.latents for grid in self.grids)
        return (sum(layer.latents for layer in self.layers),)

    @cached_property
    def columns(self) -> np.ndarray:
        """Column of the prior's tables for each latent of a block: (D,)."""
        starts = np.cumsum((0, *self.pattern))
        counts = [self.repeats(grid) ** 2 for grid in self.grids] if self.features == "cosine" else [1]
        parts = [np.tile(np.arange(a, b), n) for a, b, n in zip(starts, starts[1:], counts, strict=False)]
        return np.concatenate(parts)

    @property
    def latents(self) -> int:
        """D, the number of weights stored per block."""
        return len(self.columns)

    @property
    def no_tiles(self) -> np.ndarray:
        """Classes of a block that lies beyond the picture: (1, n, n) of -1."""
        n = self.block // self.tile
        return np.full((1, n, n), -1)

    @property
    def margin(self) -> int:
        """How far the shared layers look."""
        return sum(layer.window // 2 for layer in self.layers)

    @property
    def multiplies(self) -> int:
        """Multiply-adds per pixel; cosine products are separable (two passes)."""
        if self.features != "cosine":
            return sum(layer.multiplies for layer in self.layers)
        first = sum(3 * (grid.keep + grid.keep * grid.keep / grid.hop) for grid in self.grids)
        return round(first) + sum(layer.multiplies for layer in self.layers[1:])

    def to_json(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_json(data: dict) -> "Architecture":
        layers = tuple(Layer(**layer) for layer in data["layers"])
        return Architecture(data["features"], data["tile"], layers, tuple(Grid(**g) for g in data.get("coarse", ())))


def counts(width: int, height: int, side: int) -> tuple[int, int]:
    """Rows and columns of tiles or blocks of `side` pixels."""
    return -(-height // side), -(-width // side)


class NumpyOps:
    """What the forward pass needs of an array library; `dtype` is that of the shared layers."""

    ROWS = 8  # rows of pixels that a window layer takes at once, so that they stay in the cache
    SLAB = 128  # most pixels of one product: too few for BLAS to share among threads, which would slow ours
    concatenate = staticmethod(np.concatenate)

    def __init__(self, dtype=np.float64):
        self.dtype = dtype

    @staticmethod
    def sin(x):
        """In place."""
        return np.sin(x, out=x)

    @staticmethod
    def constant(array, like):
        return array.astype(like.dtype)

    @staticmethod
    def flip(x, axis):
        return np.flip(x, axis)

    @staticmethod
    def permute(x, axes):
        return x.transpose(axes)

    def narrow(self, x):
        """Shared layers are computed as wide as asked for."""
        return x.astype(self.dtype)

    @staticmethod
    def window(x, size, weights):
        """Dense layer over size x size neighbourhoods: (P, H, W, C) (size, size, C, O) -> (P, H, W, O)."""
        r, (pictures, height, width, channels) = size // 2, x.shape
        padded = np.pad(x, ((0, 0), (r, r), (r, r), (0, 0)), mode="edge")
        picture, row, column, item = padded.strides
        slab = max(n for n in range(1, NumpyOps.SLAB + 1) if width % n == 0)
        across = np.lib.stride_tricks.as_strided(  # the pixels of a row that each pixel looks at, gathered below
            padded,
            (pictures, height + 2 * r, width // slab, slab, size * channels),
            (picture, row, slab * column, column, item),
            writeable=False,
        )
        weights = weights.reshape(size, size * channels, -1)
        out = np.empty((pictures, height, width // slab, slab, weights.shape[2]), x.dtype)
        for first in range(0, height, NumpyOps.ROWS):
            part = np.ascontiguousarray(across[:, first : first + NumpyOps.ROWS + 2 * r])
            total = out[:, first : first + NumpyOps.ROWS]
            np.matmul(part[:, : total.shape[1]], weights[0], out=total)
            for u in range(1, size):
                total += part[:, u : u + total.shape[1]] @ weights[u]
        return out.reshape(pictures, height, width, -1)


def forward(architecture: Architecture, latents, shared: dict, classes, ops):
    """Pictures from latents: (P, Rb, Cb, D), shared weights by name, (P, Rt, Ct) classes -> (P, H, W, 3), about 0 to 1.

    H and W are whole tiles.
    """
    tiles = tuple(classes.shape[1:])
    return network(architecture, field(architecture, latents, tiles, ops), shared, classes, ops)


def field(architecture: Architecture, latents, tiles: tuple[int, int], ops):
    """What the stored layers make of their latents: (P, Rb, Cb, D), tiles (Rt, Ct) -> (P, H, W, C)."""
    return across(architecture, down(architecture, latents, tiles, ops), tiles, ops)


def down(architecture: Architecture, latents, tiles: tuple[int, int], ops) -> list:
    """First half of `field`, for all rows: (P, Rb, Cb, D), tiles (Rt, Ct) -> what `across` takes.

    A band of blocks after the other, so that a large picture's copies are small.
    """
    if architecture.features != "cosine":
        return [_siren(architecture, latents, ops)]
    halves, start, n = [], 0, architecture.block // architecture.tile
    for grid in architecture.grids:
        size = architecture.repeats(grid) ** 2 * grid.latents
        bands = []
        for first in range(0, latents.shape[2], BAND):
            band = latents[:, :, first : first + BAND, start : start + size]
            bands.append(unfold(architecture, grid, band, (tiles[0], min(n * BAND, tiles[1] - n * first)), ops))
        halves.append(bands[0] if len(bands) == 1 else ops.concatenate(bands, 3))
        start += size
    return halves


def across(architecture: Architecture, halves: list, tiles: tuple[int, int], ops, rows=(0, None)):
    """Second half of `field`, for some rows (first, end): -> (P, end - first, W, C)."""
    if architecture.features != "cosine":
        return halves[0][:, slice(*rows)]
    total = 0
    for grid, half in zip(architecture.grids, halves, strict=True):
        total = total + synthesise_rows(half[:, slice(*rows)], grid.hop, ops)[..., : tiles[1] * architecture.tile]
    return ops.permute(total, (0, 1, 3, 2))


def unfold(architecture: Architecture, grid: Grid, latents, tiles: tuple[int, int], ops):
    """One level synthesised downwards: (P, Rb, Cb, its latents of a block), tiles (Rt, Ct) -> (P, H, 3, C, k)."""
    (p, r, c), n, k = latents.shape[:3], architecture.repeats(grid), grid.keep
    height, width = (count * architecture.tile for count in tiles)
    rows, columns = counts(width, height, grid.hop)
    x = ops.permute(latents.reshape(p, r, c, n, n, k, k, 3), (0, 1, 3, 5, 7, 2, 4, 6))
    x = x.reshape(p, r * n, k, 3, c * n, k)[:, :rows, :, :, :columns]
    return synthesise_columns(x, grid.hop, ops)[:, :height]


def blocks_of(classes: np.ndarray, architecture: Architecture) -> np.ndarray:
    """Classes of the tiles of each block, -1 beyond the picture: (P, Rt, Ct) -> (P, Rb, Cb, n, n)."""
    n, (p, r, c) = architecture.block // architecture.tile, classes.shape
    rows, columns = counts(c, r, n)
    padded = np.pad(classes, ((0, 0), (0, rows * n - r), (0, columns * n - c)), constant_values=-1)
    return padded.reshape(p, rows, n, columns, n).swapaxes(2, 3)


def support(architecture: Architecture, rows: tuple[int, int], height: int) -> tuple[int, int]:
    """Rows of the field that the network needs for some rows of the picture."""
    return max(0, rows[0] - architecture.margin), min(height, rows[1] + architecture.margin)


def network(architecture: Architecture, x, shared: dict, classes, ops, rows: tuple[int, int] | None = None):
    """The shared layers on a field: (P, H, W, C) -> (P, H, W, 3).

    For some rows (first, end) of the result only, x holds the field's rows of their `support`. Shared layer i has
    weights `w{i}` (k, k, C, O) and biases `b{i}` (O,), or one per class (K, O), which are interpolated between the
    centres of tiles.
    """
    stored = len(architecture.stored)
    height = classes.shape[1] * architecture.tile
    first, end = rows or (0, height)
    low, high = support(architecture, (first, end), height)
    x = ops.narrow(x)
    outputs = [None] * (stored - 1) + [x]
    for i, layer in enumerate(architecture.layers[stored:], stored):
        w, bias = shared[f"w{i}"], shared[f"b{i}"]
        y = ops.window(x, layer.window, w) if layer.window > 1 else x @ w[0, 0]
        if bias.ndim == 2:
            bias = _between(bias[classes], architecture.tile, low, high, ops)
        y += bias
        if layer.kind == "sine":
            y = ops.sin(layer.omega * y if layer.omega != 1 else y)
        if layer.residual_of is not None:
            y = y + outputs[layer.residual_of]
        outputs.append(y)
        x = y
    return x[:, first - low : end - low]


def pruned(architecture: Architecture, shared: dict) -> dict:
    """Shared weights without the channels that no later layer reads: a point may use fewer than its architecture."""
    layers, shared = architecture.layers, dict(shared)
    kept = {layer.residual_of for layer in layers} | {len(layers) - 1}
    for i in range(len(architecture.stored), len(layers)):
        if i not in kept and (read := shared[f"w{i + 1}"].any((0, 1, 3))).any():
            shared |= {name: shared[name][..., read] for name in (f"w{i}", f"b{i}")}
            shared[f"w{i + 1}"] = shared[f"w{i + 1}"][:, :, read]
    return shared


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


def _siren(architecture, latents, ops):
    """All layers of a SIREN on every block: (P, R, C, D) -> (P, H, W, outputs)."""
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


def synthesise(x, hop: int, ops):
    """Lapped cosine synthesis in both directions: (P, R, k, 3, C, k) coefficients -> (P, R * hop, 3, C * hop)."""
    return synthesise_rows(synthesise_columns(x, hop, ops), hop, ops)


def synthesise_columns(x, hop: int, ops):
    """Downwards: (P, R, k, 3, C, k) coefficients -> (P, R * hop, 3, C, k)."""
    p, r, k, colours, c, across = x.shape
    y = _expand(x.reshape(p, r, k, colours * c * across), hop, ops)
    return y.reshape(p, r * hop, colours, c, across)


def synthesise_rows(x, hop: int, ops):
    """Across: (P, H, 3, C, k) coefficients of rows -> (P, H, 3, C * hop)."""
    p, height, colours, c, k = x.shape
    return _expand(x.reshape(p * height * colours, c, k, 1), hop, ops).reshape(p, height, colours, c * hop)


def analyse(x, hop: int, ops):
    """Inverse and transpose of `synthesise`, all `hop` frequencies: (P, H, 3, W) -> (P, R, hop, 3, C, hop)."""
    p, h, colours, w = x.shape
    y = _reduce(x.reshape(p, h // hop, hop, colours * w), hop, ops)
    y = _reduce(y.reshape(-1, w // hop, hop, 1), hop, ops)
    return y.reshape(p, h // hop, hop, colours, w // hop, hop)


def _expand(x, hop, ops):
    """Along one axis: (N, tiles, k, M) coefficients -> (N, tiles, hop, M) samples."""
    inner, last = (ops.constant(np.ascontiguousarray(b[: x.shape[2]]), x) for b in (lapped(hop), cosines(hop)))
    if x.shape[1] == 1:
        return _apply(last.T, x)
    return _rotate(ops.concatenate([_apply(inner.T, x[:, :-1]), _apply(last.T, x[:, -1:])], 1), ops, 1)


def _reduce(x, hop, ops):
    """Transpose of `_expand`: (N, tiles, hop, M) samples -> (N, tiles, hop, M) coefficients."""
    inner, last = ops.constant(lapped(hop), x), ops.constant(cosines(hop), x)
    if x.shape[1] == 1:
        return _apply(last, x)
    x = _rotate(x, ops, -1)
    return ops.concatenate([_apply(inner, x[:, :-1]), _apply(last, x[:, -1:])], 1)


def _apply(matrix, x):
    """Matrix times the third axis; columns of one element make one large product."""
    if x.shape[3] == 1:
        return (x[..., 0] @ matrix.T)[..., None]
    return matrix @ x


def _rotate(x, ops, sign):
    """Mix samples mirrored at the borders of tiles, (N, tiles, hop, M); sign -1 undoes it.

    Basis functions go on beyond their tile with the other half of a sine window, odd at its right end and even at its
    left: the modified discrete cosine transform (Princen and Bradley, 1986). The picture's ends are left alone.
    """
    half = x.shape[2] // 2
    angle = np.pi / 4 * (1 + (np.arange(half) + 0.5) / half)
    cos, sin = (ops.constant(f(angle), x)[:, None] for f in (np.sin, np.cos))
    left, right = ops.flip(x[:, :-1, half:], 2), x[:, 1:, :half]
    left, right = cos * left + sign * sin * right, cos * right - sign * sin * left
    first = ops.concatenate([x[:, :1, :half], right], 1)
    second = ops.concatenate([ops.flip(left, 2), x[:, -1:, half:]], 1)
    return ops.concatenate([first, second], 2)


@cache
def cosines(n: int) -> np.ndarray:
    """Orthonormal cosines of n pixel centres, even at both ends (DCT-II): (frequency, position) float64."""
    k = np.arange(n)
    c = np.sqrt(2 / n) * np.cos(np.pi * (k + 0.5) * k[:, None] / n)
    c[0] /= np.sqrt(2)
    return c


@cache
def lapped(n: int) -> np.ndarray:
    """Orthonormal cosines, even at the left and odd at the right end (DCT-IV): (frequency, position) float64."""
    k = np.arange(n) + 0.5
    return np.sqrt(2 / n) * np.cos(np.pi * k * k[:, None] / n)


@cache
def fourier(n: int, count: int) -> np.ndarray:
    """Sines and cosines of count / 4 octaves of both coordinates: (n * n, count) float64."""
    axis = (2 * np.arange(n) + 1) / n - 1
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    phases = (grid[:, :, None] * np.pi * 2.0 ** (np.arange(count // 4) - 1)).reshape(n * n, -1)
    return np.concatenate([np.sin(phases), np.cos(phases)], 1)
