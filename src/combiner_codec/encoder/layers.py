"""Layers: the tiles of a picture that are stored without loss over a network's sample. Without torch.

Writing beside a photograph is smaller without loss, the photograph as a sample. What decides of a tile is J, squared
error + beta ln 2 bits. Of a network it is about a multiple of the bound (exact.py). Without loss every pixel's bits are
estimated, by a rough model of how VP8L codes it, and scaled to what a layer takes that was coded.

Shapes: H x W pixels, R x C tiles of 16 x 16 pixels, the last ones cut off by the picture's edges.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..picture import exact as contents
from ..picture import planes
from ..picture.palette import Histogram
from . import exact
from .exact import TILE
from .palettes import Palettes
from .unfitted import Unfitted

LARGEST = 2**23  # pixels of a picture that may have a layer
SMALLEST = 2**14  # the same
LOOKED_AT = 2**19  # pixels up to which all of a picture tells whether a network is worth its while, else a sample
NETWORK = 1.25  # J of a network over the bound, on photographs
ABOVE = 2.0  # the same at most, on writing
WORTH = 0.02  # share of J that makes a layer worth a look
SURE = 0.04  # share of J that makes it worth having
WORTH_A_FIT = 0.1  # both, where no network is fitted without one
SCALE = 0.7  # bits of a coded layer over what is estimated, before there is one
BORDER = 4  # nats that a border between a tile and its neighbour counts
SWEEPS = 6  # over the tiles, half of them at a time
ROUNDS = 3  # of choosing tiles and coding them
RISEN = 1.1  # times the least J: from there on it rises as colours get fewer
RARE = 0.01  # times that a colour counts which no pixel names
NATS_PER_BYTE = 8 * np.log(2)


@dataclass(frozen=True)
class Layer:
    """Some tiles of a picture without loss, or with few colours."""

    seen: np.ndarray  # (H, W) bool: where it is
    shown: np.ndarray  # (H, W, 2 or 4) uint8, alpha 255 where it is and else all 0
    codec: int
    content: bytes
    error: float  # squared, where it is, summed over pixels and averaged over channels
    below: np.ndarray  # (H, W) or (H, W, 3) uint8: the picture, smooth where the layer is

    def cost(self, beta: float) -> float:
        """J of the layer alone."""
        return self.error + beta * NATS_PER_BYTE * len(self.content)


@dataclass(frozen=True)
class Plan:
    """A layer, and the J that is expected with it and without."""

    layer: Layer
    cost: float
    network: float  # of a network alone


Costs = Callable[[np.ndarray], np.ndarray]  # about the J of a network by tiles: (H, W) or (H, W, 3) -> (R, C)


def planned(picture: np.ndarray, beta: float, of_network: Costs) -> Plan | None:
    """The best layer of a picture, (H, W) or (H, W, 3) uint8; None where no tile gains by one."""
    estimate = Estimate.of(picture, beta)
    costs = of_network(picture)
    best = None
    for _ in range(ROUNDS):
        tiles = _coherent(costs - estimate.costs, BORDER * beta)
        if not tiles.any():
            break
        layer, palette = _coded(picture, _pixels_of(tiles, picture.shape), beta)
        cost = layer.cost(beta) + float(of_network(layer.below).sum())
        if best is None or cost < best.cost:
            best = Plan(layer, cost, float(costs.sum()))
        estimate = estimate.corrected(palette, tiles, len(layer.content))
    return best


def saved_of_network(picture: np.ndarray, beta: float) -> float:
    """About the share of a network's J that a layer saves, at most."""
    costs = ABOVE * exact.bounds(picture, beta)
    gains = costs - Estimate.of(picture, beta).costs
    tiles = _coherent(gains, BORDER * beta)
    return float(gains[tiles].sum() / costs.sum())


def saved_of_exact(picture: Unfitted, cost: float, beta: float) -> float:
    """About the share of the J of a file without a network that one saves below a layer; by a sample if it is large."""
    looked_at = picture if picture.pixels <= LOOKED_AT else picture.sample
    costs = Estimate.of(looked_at.picture, beta).costs
    cost_here = cost * looked_at.pixels / picture.pixels
    costs *= cost_here / costs.sum()
    gains = costs - NETWORK * exact.bounds(looked_at.picture, beta)
    tiles = _coherent(gains, BORDER * beta)
    return float(gains[tiles].sum() / cost_here)


def possible(picture: np.ndarray) -> bool:
    """Whether a picture may have a layer: none with alpha, none very small or large."""
    pixels = picture.shape[0] * picture.shape[1]
    return planes.split(picture)[1] is None and SMALLEST <= pixels <= LARGEST


@dataclass(frozen=True)
class Estimate:
    """What the tiles of a picture cost without loss."""

    histogram: Histogram
    beta: float
    bits: np.ndarray  # (R, C)
    errors: np.ndarray  # (R, C)
    scale: float = SCALE  # bits of a layer over these

    @staticmethod
    def of(picture: np.ndarray, beta: float) -> "Estimate":
        """With all colours of a picture."""
        histogram = Histogram.of(picture)
        bits = _tile_sums(_pixel_bits(histogram.number))
        return Estimate(histogram, beta, bits, np.zeros_like(bits))

    @property
    def costs(self) -> np.ndarray:
        """J: (R, C)."""
        return self.errors + self.beta * np.log(2) * self.scale * self.bits

    def corrected(self, palette: np.ndarray | None, tiles: np.ndarray, size: int) -> "Estimate":
        """By what some tiles (R, C) bool took in a layer: its palette, and its bytes."""
        found = self
        if palette is not None:
            nearest = self.histogram.nearest(palette)
            bits = _tile_sums(_pixel_bits(nearest[self.histogram.number]))
            errors = _tile_sums(_errors(self.histogram, palette, nearest))
            found = replace(self, bits=bits, errors=errors)
        return replace(found, scale=8 * size / found.bits[tiles].sum())


def _pixel_bits(numbers: np.ndarray) -> np.ndarray:
    """About the bits of every pixel by the number of its colour, some of which repeat: (H, W) -> (H, W) float32.

    A pixel is like its left or upper neighbour, or new; both are likelier where these two are alike. What is new costs
    what the frequency of its colour among those says.
    """
    left = np.pad(numbers, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
    above = np.pad(numbers, ((1, 0), (0, 0)), constant_values=-1)[:-1]
    known = (numbers == left) | (numbers == above)
    alike = left == above
    bits = np.empty(numbers.shape, np.float32)
    for same in (False, True):
        here = alike == same
        like = here & known
        share = (like.sum() + 1) / (here.sum() + 2)  # neither 0 nor 1
        which = 0 if same else 1  # bit: of the two neighbours it is like
        bits[like] = which - np.log2(share)
        bits[here & ~known] = -np.log2(1 - share)
    new = numbers[~known]
    counts = np.bincount(new) + RARE
    of_colours = np.log2(counts.sum() / counts).astype(np.float32)
    bits[~known] += of_colours[new]
    return bits


def _errors(histogram: Histogram, palette: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Squared error of every pixel with the nearest colours of a palette, averaged over channels: (H, W) float32."""
    difference = histogram.colours.astype(np.float32) - palette[nearest]
    squares = (difference**2).sum(1) / 255**2 / 3
    return squares[histogram.number]


def _tile_sums(values: np.ndarray) -> np.ndarray:
    """Sums over tiles: (H, W) -> (R, C)."""
    height, width = values.shape
    missing = (0, -height % TILE), (0, -width % TILE)
    rows = -(-height // TILE)
    tiles = np.pad(values, missing).reshape(rows, TILE, -1, TILE)
    return tiles.sum((1, 3), dtype=np.float64)


def _pixels_of(tiles: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Which pixels of a picture are in some tiles: (R, C) bool -> (H, W) bool."""
    height, width = shape[:2]
    return tiles.repeat(TILE, 0).repeat(TILE, 1)[:height, :width]


def _coherent(gains: np.ndarray, border: float) -> np.ndarray:
    """Tiles that a layer gains most with, where every border of it costs: (R, C) -> (R, C) bool.

    Tile after tile as its four neighbours make it cheapest (iterated conditional modes: Besag, 1986).
    """
    chosen = gains > 0
    rows, columns = np.indices(gains.shape)
    for sweep in range(SWEEPS):
        sides = np.pad(np.where(chosen, 1, -1), 1, mode="edge")
        around = sides[:-2, 1:-1] + sides[2:, 1:-1] + sides[1:-1, :-2] + sides[1:-1, 2:]
        changing = (rows + columns) % 2 == sweep % 2
        chosen = np.where(changing, gains + border * around > 0, chosen)
    return chosen


def _coded(picture: np.ndarray, seen: np.ndarray, beta: float) -> tuple[Layer, np.ndarray | None]:
    """The layer of some pixels, (H, W) bool, with the colours of the least J, and its palette, if any."""
    some = np.ascontiguousarray(picture[seen][None])  # (1, N) or (1, N, 3)
    fewer = Palettes(some)
    below = planes.filled(picture, ~seen)
    best = _layer(picture, seen, some, below)
    palette = None
    for size in reversed(fewer.sizes):
        if fewer.error(size) > best.cost(beta):
            break
        layer = _layer(picture, seen, fewer.shown(size, fewer.histogram.number), below)
        cost = layer.cost(beta)
        if cost < best.cost(beta):
            best = layer
            palette = fewer.colours(size)
        elif cost > RISEN * best.cost(beta):
            break
    return best, palette


def _layer(picture: np.ndarray, seen: np.ndarray, some: np.ndarray, below: np.ndarray) -> Layer:
    """The layer that shows these pixels, (1, N) or (1, N, 3), where it is."""
    channels = 1 if picture.ndim == 2 else 3
    shown = np.zeros((*seen.shape, channels + 1), np.uint8)
    shown[seen, :-1] = some.reshape(-1, channels)
    shown[seen, -1] = 255
    difference = some[0].astype(np.float64) - picture[seen]
    error = float((difference**2).sum() / 255**2 / channels)
    codec, content = contents.encoded(shown)
    return Layer(seen, shown, codec, content, error, below)
