"""Classes for tiles that no photograph has: writing, drawings, patterns and noise.

Their tables are learned in closed form from pictures made here, and are added to those of a trained operating point:
the others stay as they are. Without them such tiles lie beyond what any candidate reaches, at every beta.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from .inr import Architecture
from .mixture import Mixture, Shards
from .posterior import coarse_prior, decompose, shared_weights, tiles_of
from .prior import Level, kl_index

SIDE, EACH = 128, 12  # pixels along the side of a picture, pictures of each kind
ROUNDS = 10
SMOOTHING = 8.0  # tiles' worth of the average table in every class table
RARE, LEAVING, OTHER = 70, 64, 16  # 1/16 bit a neighbour: a new class among old ones, the reverse, another new class
WORDS = ["The", "quick", "(brown)", "fox:", "38", "dogs;", "JAM", "=", "0.25", "%", "[hack]", "@", "Qxz", "lab!"]


def kinds() -> dict[str, Callable]:
    """Makers of pictures by name: generator -> (SIDE, SIDE, 3), about 0 to 255."""

    def noise(strength, channels):
        def make(rng):
            return 127.5 + strength * rng.uniform(0.7, 1.3) * rng.standard_normal((SIDE, SIDE, channels))

        return make

    def pattern(of):
        def make(rng):
            y, x = np.indices((SIDE, SIDE))
            a, b = _colours(rng)
            return np.where(of(x, y, rng)[..., None], a, b)

        return make

    return {
        "small print": lambda rng: _writing(rng, 8, 14, ((255, 255, 255), (0, 0, 0))),
        "print": lambda rng: _writing(rng, 15, 40, ((255, 255, 255), (0, 0, 0))),
        "coloured print": lambda rng: _writing(rng, 8, 24, _colours(rng)),
        "drawing": lambda rng: _drawing(rng, 8),
        "hatching": lambda rng: _drawing(rng, 60),
        "grain": noise(25, 1),
        "coloured grain": noise(25, 3),
        "noise": noise(90, 1),
        "coloured noise": noise(90, 3),
        "checkerboard": pattern(lambda x, y, rng: (x + y) % 2),
        "checkerboard of 2": pattern(lambda x, y, rng: (x // 2 + y // 2) % 2),
        "coarse checkerboard": pattern(lambda x, y, rng: (x // (k := rng.integers(3, 7)) + y // k) % 2),
        "rows": pattern(lambda x, y, rng: y // rng.integers(1, 4) % 2),
        "columns": pattern(lambda x, y, rng: x // rng.integers(1, 4) % 2),
        "bits": pattern(lambda x, y, rng: rng.integers(0, 2, x.shape)),
        "dither": pattern(lambda x, y, rng: np.asarray(Image.fromarray(_ramp(rng)).convert("1"))),
    }


def pictures(side: int, seed: int = 0) -> torch.Tensor:
    """EACH pictures of every kind, one kind after the other, cut into smaller ones: (N, side, side, 3) in [0, 1]."""
    rng = np.random.default_rng(seed)
    made = [np.broadcast_to(make(rng), (SIDE, SIDE, 3)) for make in kinds().values() for _ in range(EACH)]
    cut = np.stack(made).reshape(len(made), SIDE // side, side, SIDE // side, side, 3).swapaxes(2, 3)
    return torch.from_numpy(cut.reshape(-1, side, side, 3).clip(0, 255) / 255).float()


@torch.no_grad()
def add_classes(level: Level, architecture: Architecture, side: int) -> Level:
    """The operating point with one more class for each kind of picture, where its own classes do worse.

    Learned on pictures of `side` pixels by hard EM, in which the point's own classes take part as they are.
    """
    own, old, count = level.kl.shape[1], level.classes, len(kinds())
    above, shared = coarse_prior(level, "cpu"), shared_weights(level, "cpu")
    latents = decompose(architecture, shared, pictures(side), above)
    tiles = tiles_of(architecture, latents).reshape(-1, own) - torch.from_numpy(level.mean[:own])
    noise2 = torch.from_numpy(level.noise[:own]) ** 2
    energy = tiles**2 * noise2 / (1.5 * level.beta)  # what the network damps has to be larger
    fixed = torch.from_numpy(level.scale) ** 2 + noise2
    kind, shards = torch.arange(count).repeat_interleave(len(energy) // count), Shards(len(energy))
    mixture = Mixture(energy[shards.mine], noise2, fixed, count + old, shards, SMOOTHING)
    variance = mixture.learn(kind[shards.mine], ROUNDS)[1][:count]
    kl = kl_index(0.5 * torch.log2(variance / noise2).numpy())
    biases = {name: value for name, value in level.shared.items() if value.ndim == 2}
    biases = {name: np.concatenate([b, np.tile(b.mean(0), (count, 1))]) for name, b in biases.items()}
    contexts = None if level.contexts is None else _widen(level.contexts, count)
    return replace(level, kl=np.concatenate([level.kl, kl]), shared=level.shared | biases, contexts=contexts)


def _widen(contexts, count):
    """Tables (3, K + 1, K) of a class map with `count` more classes: neighbours are mostly of one sort."""
    old = contexts.shape[2]
    wide = np.full((3, old + count + 1, old + count), 127 - LEAVING, np.int64)
    wide[:, [*range(old), -1], :old] = contexts
    wide[:, [*range(old), -1], old:] = 127 - RARE
    wide[:, old:-1, old:] = 127 - OTHER
    wide[:, range(old, old + count), range(old, old + count)] = 127
    return wide.astype(np.int8)


def _colours(rng):
    """Two colours that differ, often black and white."""
    if rng.random() < 0.5:
        return np.zeros(3, np.int64), np.full(3, 255)
    a = rng.integers(0, 256, 3)
    return a, (a + rng.integers(64, 193, 3)) % 256


def _ramp(rng):
    ends = rng.integers(0, 256, 2)
    return np.tile(np.linspace(*ends, SIDE), (SIDE, 1)).astype(np.uint8)


def _writing(rng, least, most, colours):
    paper, ink = (tuple(int(v) for v in colour) for colour in colours)
    picture = Image.new("RGB", (SIDE, SIDE), paper)
    draw, size = ImageDraw.Draw(picture), int(rng.integers(least, most + 1))
    font, y = ImageFont.load_default(size), 0
    while y < SIDE:
        draw.text((-int(rng.integers(0, 8)), y), " ".join(rng.choice(WORDS, 16)), fill=ink, font=font)
        y += round(1.25 * size)
    return np.asarray(picture)


def _drawing(rng, strokes):
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
