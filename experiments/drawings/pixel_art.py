"""Pixel art: few colours, every pixel meant; as it is, or with every pixel repeated."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

COLOURS = np.array(
    [[26, 28, 44], [93, 39, 93], [177, 62, 83], [239, 125, 87], [255, 205, 117], [167, 240, 112], [56, 183, 100],
     [37, 113, 121], [41, 54, 111], [59, 93, 201], [65, 166, 246], [115, 239, 247], [244, 244, 244], [148, 176, 194],
     [86, 108, 134], [51, 60, 87]], np.uint8)  # fmt: skip
BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16


def pictures(photographs: Sequence[Image.Image]) -> dict[str, Image.Image]:
    """Five pictures."""
    rng = np.random.default_rng(5)
    return {
        "sprites": shown(sprites(rng, 8, 6), 2),
        "sprites, small": shown(sprites(rng, 8, 6), 1),
        "tiles": shown(tiles(rng, 16, 12), 2),
        "sunset": shown(sunset(rng, 160, 120), 2),
        "cells": shown(cells(rng, 96), 3),
    }


def shown(numbers: np.ndarray, times: int) -> Image.Image:
    """Numbers of COLOURS (h, w) with every pixel repeated both ways."""
    return Image.fromarray(COLOURS[numbers].repeat(times, 0).repeat(times, 1))


def sprite(rng: np.random.Generator) -> np.ndarray:
    """A figure that is the same left and right: (16, 16)."""
    filled = rng.random((12, 6)) < 0.55
    colours = rng.integers(1, 13, 3)
    half = np.where(filled, colours[rng.integers(0, 3, (12, 6))], 0)
    half[filled & ~np.roll(filled, 1, 0)] = 15
    figure = np.zeros((16, 16), int)
    figure[2:14, 2:8] = half
    figure[2:14, 8:14] = half[:, ::-1]
    return figure


def sprites(rng: np.random.Generator, columns: int, rows: int) -> np.ndarray:
    """A sheet of them."""
    return np.vstack([np.hstack([sprite(rng) for _ in range(columns)]) for _ in range(rows)])


def tiles(rng: np.random.Generator, columns: int, rows: int) -> np.ndarray:
    """A map of eight kinds of tiles, which repeat."""
    kinds = []
    for colour in range(8):
        tile = np.full((16, 16), colour + 4)
        tile[rng.random((16, 16)) < 0.12] = 15
        tile[rng.random((16, 16)) < 0.08] = colour + 5
        kinds.append(tile)
    number = rng.integers(0, 8, (rows, columns))
    number[rng.random((rows, columns)) < 0.5] = 2
    return np.vstack([np.hstack([kinds[k] for k in row]) for row in number])


def sunset(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A sky in ordered dither over hills."""
    y, x = np.mgrid[0:height, 0:width]
    threshold = np.tile(BAYER, (height // 4, width // 4))
    numbers = 1 + np.floor(4 * y / height + threshold).astype(int)
    numbers[(x - 100) ** 2 + (y - 60) ** 2 < 300] = 4
    for number, base in ((9, 75), (8, 90), (0, 102)):
        steps = np.cumsum(rng.integers(-1, 2, width))
        numbers[y > base + steps] = number
    return numbers


def cells(rng: np.random.Generator, side: int) -> np.ndarray:
    """Life after forty generations, black and white."""
    alive = rng.random((side, side)) < 0.35
    for _ in range(40):
        shifts = [np.roll(alive, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)]
        around = np.sum(shifts, 0) - alive
        alive = (around == 3) | (alive & (around == 2))
    return np.where(alive, 12, 0)
