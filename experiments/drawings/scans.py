"""Pages as a scanner gives them: slightly turned, soft, with the paper's colour and the sensor's noise."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .words import font, paragraph, sentence, wrapped

WIDTH, HEIGHT = 320, 400  # pixels
SERIF = "DejaVuSerif"
FINER = 2


def pictures(photographs: Sequence[Image.Image]) -> dict[str, Image.Image]:
    """Five pages."""
    rng = np.random.default_rng(6)
    return {
        "letter": scanned(text_page(rng), rng, 0.6, 3).convert("L"),
        "fax": scanned(text_page(rng), rng, 0.3, 0).convert("L").point(lambda value: 255 * (value > 140)),
        "book": gutter(scanned(text_page(rng), rng, -0.8, 2)),
        "stamped": scanned(stamped(text_page(rng)), rng, -0.4, 3),
        "table": scanned(table_page(rng), rng, 0.2, 1.5),
    }


def text_page(rng: np.random.Generator) -> Image.Image:
    """A heading and paragraphs, FINER times as large."""
    page = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), "white")
    draw = ImageDraw.Draw(page)
    draw.text((100, 90), sentence(rng, 4), fill="black", font=font(44, SERIF))
    y = 190
    while y < HEIGHT * FINER - 200:
        for line in wrapped(paragraph(rng, 4), font(24, SERIF), WIDTH * FINER - 200):
            draw.text((100, y), line, fill="black", font=font(24, SERIF))
            y += 36
        y += 24
    return page


def table_page(rng: np.random.Generator) -> Image.Image:
    """Numbers between lines."""
    page = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), "white")
    draw = ImageDraw.Draw(page)
    for row in range(13):
        y = 120 + 50 * row
        draw.line([80, y, WIDTH * FINER - 80, y], fill="black", width=2)
        for column in range(3):
            draw.text((100 + 190 * column, y + 10), f"{rng.integers(10**5)}", fill="black", font=font(26))
    return page


def stamped(page: Image.Image) -> Image.Image:
    """With a stamp in red."""
    draw = ImageDraw.Draw(page)
    draw.rectangle([220, 560, 560, 690], outline="#c03030", width=8)
    draw.text((390, 625), "RECEIVED", fill="#c03030", font=font(50, "DejaVuSans-Bold"), anchor="mm")
    return page


def scanned(page: Image.Image, rng: np.random.Generator, degrees: float, noise: float) -> Image.Image:
    """Turned, blurred, on paper, with noise of so many steps."""
    turned = page.rotate(degrees, Image.Resampling.BICUBIC, fillcolor="white")
    soft = np.asarray(turned.filter(ImageFilter.GaussianBlur(1.2)).reduce(FINER), np.float64)
    paper = np.array([250, 247, 238])
    ink = np.array([35, 33, 40])
    shown = ink + (paper - ink) * soft / 255
    shown += noise * rng.normal(size=shown.shape[:2])[..., None]
    return Image.fromarray(np.clip(np.rint(shown), 0, 255).astype(np.uint8))


def gutter(page: Image.Image) -> Image.Image:
    """Darker towards the left, where the book bends."""
    pixels = np.asarray(page, np.float64)
    x = np.arange(pixels.shape[1])[None, :, None]
    light = 1 - 0.6 * np.exp(-x / 40)
    return Image.fromarray(np.rint(pixels * light).astype(np.uint8))
