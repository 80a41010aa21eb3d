"""Lines: smooth ones that were drawn four times as large, and a hard maze."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

FINER = 4  # times the size at which lines are drawn before they are scaled down


def pictures(photographs: Sequence[Image.Image]) -> dict[str, Image.Image]:
    """Five drawings."""
    rng = np.random.default_rng(4)
    return {
        "roses": roses(288),
        "plant": plant(rng, 288, 384),
        "maze": maze(rng, 33),
        "hatching": hatching(288),
        "heights": heights(rng, 384, 288),
    }


def smooth(width: int, height: int, background: str, mode: str = "RGB") -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A canvas FINER times as large, and what draws on it."""
    canvas = Image.new(mode, (width * FINER, height * FINER), background)
    return canvas, ImageDraw.Draw(canvas)


def reduced(canvas: Image.Image) -> Image.Image:
    """A canvas in its final size."""
    return canvas.reduce(FINER)


def roses(side: int) -> Image.Image:
    """Curves of one line, grey."""
    canvas, draw = smooth(side, side, "white", "L")
    middle = side * FINER / 2
    t = np.linspace(0, 20 * np.pi, 6000)
    for number in range(3):
        radius = (0.45 - 0.1 * number) * side * FINER * np.cos((5 + 2 * number) / 3 * t)
        x = middle + radius * np.cos(t)
        y = middle + radius * np.sin(t)
        draw.line(np.stack([x, y], 1).ravel().tolist(), fill=40 * number, width=FINER)
    return reduced(canvas)


def plant(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Branches that end in leaves."""
    canvas, draw = smooth(width, height, "#fffdf5")
    waiting = [(width * FINER / 2, height * FINER * 0.95, -np.pi / 2, height * FINER * 0.2, 9)]
    while waiting:
        x, y, angle, length, depth = waiting.pop()
        end_x = x + length * np.cos(angle)
        end_y = y + length * np.sin(angle)
        draw.line([x, y, end_x, end_y], fill="#3b2b1a", width=depth * FINER // 2)
        if depth == 1:
            draw.ellipse([end_x - 10, end_y - 10, end_x + 10, end_y + 10], fill="#4d8b31")
            continue
        for turn in (-0.45, 0.4):
            waiting.append((end_x, end_y, angle + turn + 0.2 * rng.normal(), length * 0.78, depth - 1))
    return reduced(canvas)


def maze(rng: np.random.Generator, cells: int) -> Image.Image:
    """Black walls, by a walk that visits every second cell; eight pixels a cell."""
    free = np.zeros((cells, cells), bool)
    free[1, 1] = True
    path = [(1, 1)]
    while path:
        row, column = path[-1]
        ways = []
        for down, right in ((-2, 0), (2, 0), (0, -2), (0, 2)):
            there = row + down, column + right
            inside = 0 < there[0] < cells and 0 < there[1] < cells
            if inside and not free[there]:
                ways.append((down, right))
        if not ways:
            path.pop()
            continue
        down, right = ways[rng.integers(len(ways))]
        free[row + down // 2, column + right // 2] = True
        free[row + down, column + right] = True
        path.append((row + down, column + right))
    return Image.fromarray(free.repeat(8, 0).repeat(8, 1)).convert("RGB")


def hatching(side: int) -> Image.Image:
    """A ball whose shade is the width of parallel lines, grey."""
    y, x = np.mgrid[-1 : 1 : side * FINER * 1j, -1 : 1 : side * FINER * 1j]
    inside = x**2 + y**2 < 0.8
    depth = np.sqrt(np.maximum(0.8 - x**2 - y**2, 0))
    light = np.clip((depth - 0.5 * x - 0.5 * y) / 1.1, 0, 1)
    wave = (x + y) * 45 % 1
    dark = inside & (wave > light)
    return reduced(Image.fromarray(np.where(dark, 0, 255).astype(np.uint8)))


def heights(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """A map with lines of equal height over flat colours."""
    y, x = np.mgrid[0 : 3 : height * FINER * 1j, 0 : 4 : width * FINER * 1j]
    ground = np.zeros_like(x)
    for _ in range(14):
        far = (x - rng.uniform(0, 4)) ** 2 + (y - rng.uniform(0, 3)) ** 2
        ground += rng.uniform(0.5, 1.5) * np.exp(-far / rng.uniform(0.05, 0.6))
    level = np.minimum((ground * 4).astype(int), 11)
    colours = np.linspace([206, 233, 196], [196, 150, 106], 12).astype(np.uint8)
    pixels = colours[level]
    edge = (level != np.roll(level, FINER, 0)) | (level != np.roll(level, FINER, 1))
    pixels[edge] = (110, 80, 50)
    return reduced(Image.fromarray(pixels))
