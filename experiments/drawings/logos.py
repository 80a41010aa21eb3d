"""Logos on nothing: RGB or grey with alpha; colour is zero where nothing is seen."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .line_art import FINER
from .words import font

BOLD = "DejaVuSans-Bold"
NOTHING = (0, 0, 0, 0)


def pictures(photographs: Sequence[Image.Image]) -> dict[str, Image.Image]:
    """Five logos."""
    return {
        "ring": ring(256),
        "badge": badge(320, 160),
        "star": star(240),
        "monogram": monogram(128),
        "leaves": leaves(240, 240),
    }


def fine(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A canvas of nothing FINER times as large."""
    canvas = Image.new("RGBA", (width * FINER, height * FINER), NOTHING)
    return canvas, ImageDraw.Draw(canvas)


def ring(side: int) -> Image.Image:
    """A red ring around a word."""
    canvas, draw = fine(side, side)
    draw.ellipse([40, 40, side * FINER - 40, side * FINER - 40], outline="#d8353b", width=80)
    draw.text((side * 2, side * 2), "LOGO", fill="#22324a", font=font(200, BOLD), anchor="mm")
    return canvas.reduce(FINER)


def badge(width: int, height: int) -> Image.Image:
    """A word on colours that change slowly, round corners."""
    x = np.linspace(0, 1, width * FINER)[None, :, None]
    colours = (1 - x) * [255, 120, 40] + x * [200, 30, 140]
    pixels = np.broadcast_to(colours, (height * FINER, width * FINER, 3)).astype(np.uint8)
    canvas = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGBA")
    mask = Image.new("L", canvas.size, 0)
    ImageDraw.Draw(mask).rounded_rectangle([20, 20, canvas.width - 20, canvas.height - 20], 160, fill=255)
    word = ImageDraw.Draw(canvas)
    word.text((canvas.width / 2, canvas.height / 2), "codec", fill="white", font=font(260, BOLD), anchor="mm")
    nothing = Image.new("RGBA", canvas.size, NOTHING)
    return Image.composite(canvas, nothing, mask).reduce(FINER)


def star(side: int) -> Image.Image:
    """Yellow over its own soft shadow."""
    canvas, draw = fine(side, side)
    middle = side * FINER / 2
    angle = np.pi * np.arange(10) / 5 - np.pi / 2
    radius = np.where(np.arange(10) % 2, 0.18, 0.42) * side * FINER
    corners = np.stack([middle + radius * np.cos(angle), middle + radius * np.sin(angle)], 1)
    draw.polygon([tuple(corner) for corner in corners + 30], fill=(0, 0, 0, 120))
    canvas = canvas.filter(ImageFilter.GaussianBlur(24))
    ImageDraw.Draw(canvas).polygon([tuple(corner) for corner in corners], fill="#ffc72c", outline="#a97800", width=12)
    return canvas.reduce(FINER)


def monogram(side: int) -> Image.Image:
    """Two letters, grey with alpha."""
    canvas, draw = fine(side, side)
    draw.rectangle([24, 24, side * FINER - 24, side * FINER - 24], outline="#404040", width=24)
    draw.text((side * 2, side * 2), "CC", fill="#202020", font=font(250, "DejaVuSerif-Bold"), anchor="mm")
    return canvas.reduce(FINER).convert("LA")


def leaves(width: int, height: int) -> Image.Image:
    """Leaves that can be seen through."""
    canvas = Image.new("RGBA", (width * FINER, height * FINER), NOTHING)
    for number in range(6):
        leaf = Image.new("RGBA", canvas.size, NOTHING)
        draw = ImageDraw.Draw(leaf)
        left, right = 0.42 * canvas.width, 0.58 * canvas.width
        draw.ellipse([left, 0.05 * canvas.height, right, 0.5 * canvas.height], fill=(40, 130 + 20 * number, 80, 170))
        canvas = Image.alpha_composite(canvas, leaf.rotate(60 * number, Image.Resampling.BICUBIC))
    return canvas.reduce(FINER)
