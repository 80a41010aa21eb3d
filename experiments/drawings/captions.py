"""Photographs that somebody wrote on."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from .words import font, sentence

SIZE = (352, 264)
BOLD = "DejaVuSans-Bold"


def pictures(photographs: Sequence[Image.Image]) -> dict[str, Image.Image]:
    """Five photographs."""
    rng = np.random.default_rng(7)
    makers = {"bar": bar, "subtitle": subtitle, "poster": poster, "watermark": watermark, "labels": labels}
    found = {}
    for (name, maker), photograph in zip(makers.items(), photographs, strict=False):
        image = photograph.resize(SIZE, Image.Resampling.LANCZOS)
        found[name] = maker(image, rng)
    return found


def bar(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A line of text on white below."""
    framed = Image.new("RGB", (image.width, image.height + 48), "white")
    framed.paste(image)
    draw = ImageDraw.Draw(framed)
    draw.text((12, image.height + 14), sentence(rng, 5), fill="#222", font=font(16))
    return framed


def subtitle(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Two lines in white with black edges."""
    draw = ImageDraw.Draw(image)
    for row in range(2):
        place = image.width / 2, image.height - 60 + 28 * row
        text = sentence(rng, 5)
        draw.text(place, text, "white", font(22), "mm", stroke_width=2, stroke_fill="black")
    return image


def poster(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Large capitals above and below."""
    draw = ImageDraw.Draw(image)
    for y in (40, image.height - 44):
        text = sentence(rng, 2).upper()
        draw.text((image.width / 2, y), text, "white", font(28, BOLD), "mm", stroke_width=4, stroke_fill="black")
    return image


def watermark(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A word in all places, half seen through."""
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    for y in range(20, image.height, 90):
        for x in range(10, image.width, 170):
            draw.text((x, y), "SAMPLE", fill=(255, 255, 255, 110), font=font(28, BOLD))
    return Image.alpha_composite(image.convert("RGBA"), layer.rotate(20)).convert("RGB")


def labels(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Boxes with names, lines to what they name."""
    draw = ImageDraw.Draw(image)
    for _ in range(5):
        x, y = int(rng.integers(10, image.width - 150)), int(rng.integers(20, image.height - 40))
        draw.line([x + 60, y + 12, x + 90, y + 60], fill="yellow", width=2)
        draw.rectangle([x, y, x + 120, y + 24], fill="#fff8d0", outline="black")
        draw.text((x + 6, y + 4), sentence(rng, 2), fill="black", font=font(13))
    return image
