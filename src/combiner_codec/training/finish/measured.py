"""What a finished prior measures on pictures that training left out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...encoder.encode import encode_arrays
from ...encoder.settings import Settings
from ...format.prior import load_file
from ...picture.image import EQUAL
from ..data.crops import held_of

CENTRE = 256  # pixels along the side of the photographs' centres
MOST_IMAGES = 60  # from the ends of arrays
EVERY = 3  # photograph of a validation folder is measured: eight of 24


def held_out(
    sources: list[Path],
    holdout: int,
    validation: Sequence[Path],
) -> tuple[list[np.ndarray], str]:
    """Pictures (H, W, 3) uint8 that training left out, and a line about them.

    The last `holdout` of every array, or centres of photographs in the folders `validation`.
    """
    if not validation:
        pictures = [picture.read() for picture in held_of(sources, holdout)[:MOST_IMAGES]]
        return pictures, f"{len(pictures)} held-out 32x32 training images"
    centres = []
    for folder in validation:
        files = sorted(folder.glob("*.png"))
        centres += [_centre(path) for path in files[::EVERY]]
    return centres, f"{len(centres)} held-out photographs, {CENTRE}x{CENTRE} from the centre"


def _centre(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    height, width = (min(length, CENTRE) for length in pixels.shape[:2])
    top = (pixels.shape[0] - height) // 2
    left = (pixels.shape[1] - width) // 2
    return pixels[top : top + CENTRE, left : left + CENTRE]


def measure(
    path: Path,
    pictures: list[np.ndarray],
    what: str,
) -> dict:
    """Size and quality at the beta of every operating point of a prior file: the table in `encode --help`.

    what: a line about the pictures (H, W, 3) uint8.
    """
    prior = load_file(path)
    points = []
    for beta in prior.betas:
        results = encode_arrays(pictures, prior, Settings(beta, "fast"))
        rates = []
        qualities = []
        for picture, result in zip(pictures, results, strict=True):
            size = len(result.data) - len(prior.header_hash)  # a shipped prior has a number instead
            rates.append(8 * size / picture[..., 0].size)
            qualities.append(min(result.psnr, EQUAL))
        bpp = round(float(np.mean(rates)), 3)
        psnr = round(float(np.mean(qualities)), 2)
        points.append({"beta": beta, "bpp": bpp, "psnr": psnr})
    return {"images": f"{what}, effort fast", "points": points}
