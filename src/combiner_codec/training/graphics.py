"""Classes for tiles that no photograph has: writing, drawings, patterns and noise.

Their tables are learned in closed form from pictures made here, and are added to those of a trained operating point:
the others stay as they are. Without them such tiles lie beyond what any candidate reaches, at every beta.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ..encoder.fit.analysis import decompose
from ..encoder.fit.posterior import REACH, shared_weights, undamped
from ..format.prior import OperatingPoint
from ..format.streams import index_of
from ..synthesis.architecture import Architecture
from ..synthesis.latents import kl_bits_of
from .contexts import TOP
from .mixture import SMOOTHING, Mixture
from .shards import Shards

SIDE = 128  # pixels along the side of a picture
EACH = 12  # pictures of each kind
ROUNDS = 10  # of hard EM
LIKE_PHOTOGRAPHS = 7  # first kinds, tiles of which photographs have too; with the network off they cost 0.3 % of J more
CHECKERBOARDS = slice(9, 12)  # kinds that are; photographs have rows and columns (fences)
CONTRAST = 2  # of a pattern against the average of its kind, that a corner's tile reaches
SILENT = {"silu": -60.0, "sine": 0.0}  # biases with which layers say nothing: a network for photographs spoils patterns
# What the class maps' tables take off a class for each neighbour, in 1/16 bit. Set by hand, not learned.
RARE = 70  # a new class beside an old one
LEAVING = 64  # an old class beside a new one
OTHER = 16  # a new class beside another new one
WORDS = ["The", "quick", "(brown)", "fox:", "38", "dogs;", "JAM", "=", "0.25", "%", "[hack]", "@", "Qxz", "lab!"]
BLACK, WHITE = (0, 0, 0), (255, 255, 255)

Maker = Callable[[np.random.Generator], np.ndarray]  # of a picture, (SIDE, SIDE, 3 or 1), about 0 to 255


def kinds() -> dict[str, Maker]:
    """Makers of pictures by name."""
    return {
        "small print": lambda rng: _writing(rng, 8, 14, (WHITE, BLACK)),
        "print": lambda rng: _writing(rng, 15, 40, (WHITE, BLACK)),
        "coloured print": lambda rng: _writing(rng, 8, 24, _colours(rng)),
        "drawing": lambda rng: _drawing(rng, 8),
        "hatching": lambda rng: _drawing(rng, 60),
        "grain": lambda rng: _noise(rng, 25, 1),
        "coloured grain": lambda rng: _noise(rng, 25, 3),
        "noise": lambda rng: _noise(rng, 90, 1),
        "coloured noise": lambda rng: _noise(rng, 90, 3),
        "checkerboard": lambda rng: _pattern(rng, lambda y, x: (x + y) % 2),
        "checkerboard of 2": lambda rng: _pattern(rng, lambda y, x: _checkerboard(y, x, 2)),
        "coarse checkerboard": lambda rng: _pattern(rng, lambda y, x: _checkerboard(y, x, rng.integers(3, 7))),
        "rows": lambda rng: _pattern(rng, lambda y, x: y // rng.integers(1, 4) % 2),
        "columns": lambda rng: _pattern(rng, lambda y, x: x // rng.integers(1, 4) % 2),
        "bits": lambda rng: _pattern(rng, lambda y, x: rng.integers(0, 2, x.shape)),
        "dither": lambda rng: _pattern(rng, lambda y, x: np.asarray(Image.fromarray(_ramp(rng)).convert("1"))),
    }


def pictures(side: int, seed: int = 0) -> torch.Tensor:
    """EACH pictures of every kind, one kind after the other, cut into smaller ones: (N, side, side, 3) in [0, 1].

    side: a divisor of SIDE.
    """
    rng = np.random.default_rng(seed)
    made = [np.broadcast_to(make(rng), (SIDE, SIDE, 3)) for make in kinds().values() for _ in range(EACH)]
    cut = np.stack(made).reshape(len(made), SIDE // side, side, SIDE // side, side, 3).swapaxes(2, 3)
    return torch.from_numpy(cut.reshape(-1, side, side, 3).clip(0, 255) / 255).float()


@torch.no_grad()
def add_classes(point: OperatingPoint, architecture: Architecture, side: int) -> OperatingPoint:
    """The operating point with one more class of single tiles for each kind of picture, where its own do worse.

    Learned on pictures of `side` pixels by hard EM, in which the point's own such classes take part as they are. Those
    of checkerboards reach a picture's corners too, where a mirrored one is another pattern. Those of merged tiles
    come after the new ones.
    """
    count, single, shared = len(kinds()), point.single, shared_weights(point)
    made = pictures(side)
    none = np.zeros((len(made), *[side // architecture.tile] * 2), bool)  # merged tiles
    latents = decompose(architecture, shared, made, none).flatten(0, 2) - torch.from_numpy(point.mean)
    noise2 = torch.from_numpy(point.posterior_scale) ** 2
    energy = undamped(latents, noise2, point.beta) ** 2
    fixed = torch.from_numpy(point.scale_of(point.kl_index, slice(None))) ** 2 + noise2
    kind, shards = torch.arange(count).repeat_interleave(len(energy) // count), Shards(len(energy))
    mixture = Mixture(energy[shards.mine], noise2, fixed, count + single, shards, SMOOTHING)
    variance = mixture.learn(kind[shards.mine], ROUNDS)[1][:count] - noise2
    tiles = side // architecture.tile
    ends = [0, tiles - 1]
    corners = energy.unflatten(0, (count, -1, tiles, tiles))[:, :, ends][..., ends, :].mean((1, 2, 3))
    variance[CHECKERBOARDS] = variance[CHECKERBOARDS].maximum(corners[CHECKERBOARDS] * (CONTRAST / REACH) ** 2)
    kl_index = index_of(kl_bits_of(variance, noise2).numpy())
    layers = {f"b{i}": layer for i, layer in enumerate(architecture.layers) if layer.by_class}
    biases = {name: _with_new(point.shared[name], single, count, layer.kind) for name, layer in layers.items()}
    contexts = _widen(point.contexts, single, count)
    return replace(
        point, kl_index=np.concatenate([point.kl_index, kl_index]), shared=point.shared | biases, contexts=contexts
    )


def without(point: OperatingPoint, count: int) -> OperatingPoint:
    """The operating point as it was before `add_classes` gave it so many; its class map's tables stay."""
    kept = np.delete(np.arange(point.classes), np.s_[point.single - count : point.single])
    shared = {name: value[kept] if value.ndim == 2 else value for name, value in point.shared.items()}
    return replace(point, kl_index=point.kl_index[: point.single - count], shared=shared)


def _with_new(biases, single, count, kind):
    """Biases (K, O) of a layer with `count` more classes after the first: the mean of these, or silence."""
    new = np.full((count, biases.shape[1]), SILENT[kind], biases.dtype)
    new[:LIKE_PHOTOGRAPHS] = biases[:single].mean(0)
    return np.concatenate([biases[:single], new, biases[single:]])


def _widen(tables, single, count):
    """Tables (3, K + 1, K) of a class map with more classes after the first: neighbours are mostly of one sort."""
    size, new = tables.shape[2] + count, range(single, single + count)
    old = np.setdiff1d(np.arange(size + 1), new)
    wide = np.full((3, size + 1, size), TOP - LEAVING, np.int64)
    wide[:, old[:, None], old[:-1]] = tables
    wide[:, old[:, None], new] = TOP - RARE
    wide[:, new, single : single + count] = TOP - OTHER
    wide[:, new, new] = TOP
    return wide.astype(np.int8)


def _noise(rng, strength, channels):
    """White noise around grey, of one channel or three, its scale about `strength`."""
    return 127.5 + strength * rng.uniform(0.7, 1.3) * rng.standard_normal((SIDE, SIDE, channels))


def _pattern(rng, of):
    """Two colours where a function of rows and columns is 1 and 0."""
    a, b = _colours(rng)
    return np.where(of(*np.indices((SIDE, SIDE)))[..., None], a, b)


def _checkerboard(y, x, size):
    return (x // size + y // size) % 2


def _colours(rng):
    """Two colours that differ, often black and white."""
    if rng.random() < 0.5:
        return np.zeros(3, np.int64), np.full(3, 255)
    a = rng.integers(0, 256, 3)
    return a, (a + rng.integers(64, 193, 3)) % 256


def _ramp(rng):
    """From one grey to another across: (SIDE, SIDE) uint8."""
    ends = rng.integers(0, 256, 2)
    return np.tile(np.linspace(*ends, SIDE), (SIDE, 1)).astype(np.uint8)


def _writing(rng, least, most, colours):
    """Lines of words of a size between two, in pixels; colours of paper and ink."""
    paper, ink = (tuple(int(v) for v in colour) for colour in colours)
    picture = Image.new("RGB", (SIDE, SIDE), paper)
    draw, size = ImageDraw.Draw(picture), int(rng.integers(least, most + 1))
    font, y = ImageFont.load_default(size), 0
    while y < SIDE:
        draw.text((-int(rng.integers(0, 8)), y), " ".join(rng.choice(WORDS, 16)), fill=ink, font=font)
        y += round(1.25 * size)
    return np.asarray(picture)


def _drawing(rng, strokes):
    """So many lines on coloured paper; with few of them, boxes too."""
    paper, _ = _colours(rng)
    picture = Image.new("RGB", (SIDE, SIDE), tuple(paper.tolist()))
    draw = ImageDraw.Draw(picture)
    for _ in range(strokes):
        colour = tuple(rng.integers(0, 256, 3).tolist())
        ends = rng.integers(-20, SIDE + 20, 4).tolist()
        box = (min(ends[::2]), min(ends[1::2]), max(ends[::2]), max(ends[1::2]))
        draw.line(ends, fill=colour, width=int(rng.integers(1, 4)))
        if strokes < 20:
            draw.rectangle(box, outline=colour, fill=colour if rng.random() < 0.5 else None)
    return np.asarray(picture)
