"""Terminals: text of one width in a few colours."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from .words import WORDS, font, sentence

MONO = "DejaVuSansMono"
COLUMN = 8  # pixels of a character of 13
ROW = 16
GREEN, RED, BLUE, YELLOW, GREY = "#4ec96f", "#ff6b68", "#6ca8ff", "#e5c07b", "#c8c8c8"
Line = list[tuple[str, str]]  # texts and their colours


def pictures(photographs: Sequence[Image.Image]) -> dict[str, Image.Image]:
    """Five terminals."""
    rng = np.random.default_rng(2)
    return {
        "listing": written([listing(rng) for _ in range(16)], "black", 48),
        "log": written([log(rng) for _ in range(16)], "#1e1e1e", 48),
        "code": written([code(rng) for _ in range(16)], "#282c34", 44),
        "difference": written([difference(rng) for _ in range(16)], "white", 48),
        "meters": meters(rng),
    }


def listing(rng: np.random.Generator) -> Line:
    """Of files."""
    name, ending = rng.choice(WORDS), rng.choice([".py", ".txt", "/", ".png"])
    colour = {"/": BLUE, ".png": YELLOW}.get(ending, GREY)
    hour, minute = rng.integers(24), rng.integers(60)
    return [(f"-rw-r--r-- 1 user users {rng.integers(10**6):>7} Nov {hour + 1:>2} {hour:02}:{minute:02} ", GREY),
            (f"{name}{ending}", colour)]  # fmt: skip


def log(rng: np.random.Generator) -> Line:
    """Of a service."""
    level = rng.choice(["INFO ", "WARN ", "ERROR"], p=[0.7, 0.2, 0.1])
    colour = {"INFO ": GREEN, "WARN ": YELLOW}.get(level, RED)
    text = sentence(rng, int(rng.integers(4, 11)))
    return [(f"12:{rng.integers(60):02}:{rng.integers(60):02}.{rng.integers(1000):03} ", GREY), (f"{level} ", colour),
            (text, GREY)]  # fmt: skip


def code(rng: np.random.Generator) -> Line:
    """In the colours of an editor."""
    name, other = rng.choice(WORDS), rng.choice(WORDS)
    indent = "    " * int(rng.integers(1, 4))
    kinds: list[Line] = [
        [(f"{indent}if ", "#c678dd"), (f"{name} < ", GREY), (str(rng.integers(100)), YELLOW), (":", GREY)],
        [
            (f"{indent}{name}", GREY),
            (" = ", "#56b6c2"),
            (f"{other}(", BLUE),
            (f"{rng.integers(999)}", YELLOW),
            (")", GREY),
        ],
        [(f"{indent}# {sentence(rng, 6)}", "#7f848e")],
        [("", GREY)],
    ]
    return kinds[rng.integers(len(kinds))]


def difference(rng: np.random.Generator) -> Line:
    """Lines that came and went."""
    sign = rng.choice([" ", "+", "-"], p=[0.5, 0.25, 0.25])
    colour = {"+": "#116329", "-": "#82071e"}.get(sign, "#24292f")
    return [(f"{sign}{sentence(rng, int(rng.integers(3, 11)))}", colour)]


def written(lines: Sequence[Line], background: str, columns: int) -> Image.Image:
    """All lines, each cut at the last column."""
    image = Image.new("RGB", (columns * COLUMN + 8, len(lines) * ROW + 8), background)
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        column = 0
        for text, colour in line:
            shown = text[: columns - column]
            draw.text((4 + column * COLUMN, 4 + row * ROW), shown, fill=colour, font=font(13, MONO))
            column += len(shown)
    return image


def meters(rng: np.random.Generator) -> Image.Image:
    """Bars over a table."""
    lines: list[Line] = []
    for core in range(6):
        full = int(rng.integers(4, 40))
        low, high = min(full, 20), max(full - 20, 0)
        lines.append([(f"{core:>2} [", GREY), ("|" * low, GREEN), ("|" * high, RED), (" " * (41 - full) + "]", GREY)])
    for _ in range(10):
        numbers = f"{rng.integers(10**5):>6} user {rng.random() * 100:5.1f} {rng.random() * 20:5.1f} "
        lines.append([(numbers, GREY), (" ".join(rng.choice(WORDS, 4)), YELLOW)])
    return written(lines, "#101418", 48)
