"""Pictures held out, on which finished priors are measured."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .crops import held_of

CENTRE = 256  # pixels along the side of the photographs' centres that a finished prior is measured on
MEASURED = 60  # images at most from the ends of arrays
EVERY = 3  # photograph of a validation folder is measured: eight of 24


def held_out(sources: list[Path], holdout: int, validation: Sequence[Path]) -> tuple[list[np.ndarray], str]:
    """Pictures (H, W, 3) uint8 that training left out, and a line about them.

    The last `holdout` of every array, or centres of photographs in the folders `validation`.
    """
    if not validation:
        ends = [read() for _, read in held_of(sources, holdout)[:MEASURED]]
        return ends, f"{len(ends)} held-out 32x32 training images"
    centres = [_centre(path) for folder in validation for path in sorted(folder.glob("*.png"))[::EVERY]]
    return centres, f"{len(centres)} held-out photographs, {CENTRE}x{CENTRE} from the centre"


def _centre(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    top, left = ((length - min(length, CENTRE)) // 2 for length in pixels.shape[:2])
    return pixels[top : top + CENTRE, left : left + CENTRE]
