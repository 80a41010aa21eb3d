"""Pictures that no camera takes, made here: writing, drawings, patterns and noise."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

SIDE = 128  # pixels along the side of a picture
EACH = 12  # pictures of each kind
LIKE_PHOTOGRAPHS = 7  # first kinds, tiles of which photographs have too; with the network off they cost 0.3 % of J more
CHECKERBOARDS = slice(9, 12)  # kinds that are; photographs have rows and columns (fences)
GREY = 127.5
WORDS = ["The", "quick", "(brown)", "fox:", "38", "dogs;", "JAM", "=", "0.25", "%", "[hack]", "@", "Qxz", "lab!"]
WORDS_IN_LINE = 16
LINE = 1.25  # of a line's height over the size of its letters
FEW_STROKES = 20  # of a drawing that has boxes too
OUTSIDE = 20  # pixels that strokes go beyond a picture, at most

Maker = Callable[[np.random.Generator], np.ndarray]  # of a picture, (SIDE, SIDE, 3 or 1), about 0 to 255


def kinds() -> dict[str, Maker]:
    """Makers of pictures by name."""
    return {
        "small print": partial(_writing, 8, 14, False),
        "print": partial(_writing, 15, 40, False),
        "coloured print": partial(_writing, 8, 24, True),
        "drawing": partial(_drawing, 8),
        "hatching": partial(_drawing, 60),
        "grain": partial(_noise, 25, 1),
        "coloured grain": partial(_noise, 25, 3),
        "noise": partial(_noise, 90, 1),
        "coloured noise": partial(_noise, 90, 3),
        "checkerboard": partial(_checkerboard, 1, 2),
        "checkerboard of 2": partial(_checkerboard, 2, 3),
        "coarse checkerboard": partial(_checkerboard, 3, 7),
        "rows": partial(_stripes, 0),
        "columns": partial(_stripes, 1),
        "bits": _bits,
        "dither": _dither,
    }


def pictures(side: int, seed: int = 0) -> Tensor:
    """EACH pictures of every kind, one kind after the other, cut into smaller ones: (N, side, side, 3) in [0, 1].

    side: a divisor of SIDE.
    """
    random = np.random.default_rng(seed)
    made = []
    for make in kinds().values():
        for _ in range(EACH):
            made.append(np.broadcast_to(make(random), (SIDE, SIDE, 3)))
    parts = SIDE // side
    lines = np.stack(made).reshape(len(made), parts, side, parts, side, 3)
    cut = lines.swapaxes(2, 3).reshape(-1, side, side, 3)
    return torch.from_numpy(cut.clip(0, 255) / 255).float()


def _noise(strength, channels, random):
    """White noise around grey, of one channel or three, its scale about `strength`."""
    scale = strength * random.uniform(0.7, 1.3)
    return GREY + scale * random.standard_normal((SIDE, SIDE, channels))


def _places():
    """Rows and columns of pixels: (SIDE, SIDE) each."""
    return np.indices((SIDE, SIDE))


def _two_colours(colours, where):
    """Two colours where a map (SIDE, SIDE) is 1 and 0."""
    first, second = colours
    return np.where(where[..., None], first, second)


def _checkerboard(least, end, random):
    """Squares of a size between two, in pixels."""
    colours = _colours(random)
    size = least if end == least + 1 else random.integers(least, end)
    row, column = _places()
    return _two_colours(colours, (column // size + row // size) % 2)


def _stripes(axis, random):
    """Rows or columns of one to three pixels."""
    colours = _colours(random)
    size = random.integers(1, 4)
    return _two_colours(colours, _places()[axis] // size % 2)


def _bits(random):
    """Pixels at random."""
    colours = _colours(random)
    return _two_colours(colours, random.integers(0, 2, (SIDE, SIDE)))


def _dither(random):
    """From one grey to another across, in two colours."""
    colours = _colours(random)
    ends = random.integers(0, 256, 2)
    row = np.linspace(*ends, SIDE)
    ramp = np.tile(row, (SIDE, 1)).astype(np.uint8)
    return _two_colours(colours, np.asarray(Image.fromarray(ramp).convert("1")))


def _colours(random):
    """Two colours that differ, often black and white."""
    if random.random() < 0.5:
        return np.zeros(3, np.int64), np.full(3, 255)
    first = random.integers(0, 256, 3)
    second = (first + random.integers(64, 193, 3)) % 256
    return first, second


def _writing(least, most, coloured, random):
    """Lines of words of a size between two, in pixels; else black on white."""
    paper = (255, 255, 255)
    ink = (0, 0, 0)
    if coloured:
        paper, ink = (tuple(colour.tolist()) for colour in _colours(random))
    picture = Image.new("RGB", (SIDE, SIDE), paper)
    draw = ImageDraw.Draw(picture)
    size = int(random.integers(least, most + 1))
    font = ImageFont.load_default(size)
    y = 0
    while y < SIDE:
        x = -int(random.integers(0, 8))
        line = " ".join(random.choice(WORDS, WORDS_IN_LINE))
        draw.text((x, y), line, fill=ink, font=font)
        y += round(LINE * size)
    return np.asarray(picture)


def _drawing(strokes, random):
    """So many lines on coloured paper; with few of them, boxes too."""
    paper, _ = _colours(random)
    picture = Image.new("RGB", (SIDE, SIDE), tuple(paper.tolist()))
    draw = ImageDraw.Draw(picture)
    for _ in range(strokes):
        colour = tuple(random.integers(0, 256, 3).tolist())
        ends = random.integers(-OUTSIDE, SIDE + OUTSIDE, 4).tolist()
        draw.line(ends, fill=colour, width=int(random.integers(1, 4)))
        if strokes < FEW_STROKES:
            left, right = sorted(ends[::2])
            top, bottom = sorted(ends[1::2])
            inside = colour if random.random() < 0.5 else None
            draw.rectangle((left, top, right, bottom), outline=colour, fill=inside)
    return np.asarray(picture)
