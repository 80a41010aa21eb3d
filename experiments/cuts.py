"""Pictures of an experiment: read whole, cut and scaled down. Pixels are (H, W, 3) uint8."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from combiner_codec.bench.pictures import Picture, collect
from combiner_codec.errors import FormatError

SQUARE = 512  # pixels along the sides of a photograph in a mosaic


def required(sources: Sequence[Path], limit: int | None = None) -> list[Picture]:
    """All pictures of some sources. Raises FormatError if there are none, or if a file is left out."""
    pictures, problems = collect(list(sources), limit)
    if problems or not pictures:
        raise FormatError(f"no pictures: {'; '.join(problems) or ', '.join(map(str, sources))}")
    return pictures


def centre(pixels: np.ndarray, width: int, height: int | None = None) -> np.ndarray:
    """At most width x height pixels from the middle, a square where no height is given."""
    height = height or width
    top, left = ((length - min(length, own)) // 2 for length, own in zip(pixels.shape, (height, width), strict=False))
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def thumbnail(pixels: np.ndarray, side: int) -> np.ndarray:
    """Centre square scaled to side x side."""
    square = Image.fromarray(centre(pixels, min(pixels.shape[:2])))
    return np.asarray(square.resize((side, side), Image.Resampling.LANCZOS))


def mosaic(photographs: Sequence[np.ndarray], width: int, height: int) -> np.ndarray:
    """Squares of photographs side by side, in other order and turned in every row; of one where it is small."""
    if max(width, height) <= SQUARE:
        return thumbnail(photographs[0], max(width, height))[:height, :width]
    squares = [thumbnail(pixels, SQUARE) for pixels in photographs]
    picture = np.empty((height, width, 3), np.uint8)
    for r in range(0, height, SQUARE):
        for c in range(0, width, SQUARE):
            number = r // SQUARE * 5 + c // SQUARE
            square = np.rot90(squares[number % len(squares)], number // len(squares))
            picture[r : r + SQUARE, c : c + SQUARE] = square[: height - r, : width - c]
    return picture
