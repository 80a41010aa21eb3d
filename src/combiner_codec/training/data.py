"""Pictures to learn from, and pictures held out to measure on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .. import arrays
from ..errors import FormatError

SUFFIXES = (".jpg", ".jpeg", ".png")
CENTRE = 256  # pixels along the side of the photographs' centres that a finished prior is measured on
MEASURED = 60  # images at most from the ends of arrays
EVERY = 3  # photograph of a validation folder is measured: eight of 24
SCALED = 1.05  # factor up to which a picture is cropped as it is


def load_images(
    sources: list[Path], side: int, crops: int, holdout: int, seed: int = 0, octaves: float = 4.0
) -> torch.Tensor:
    """Training pictures from .npy arrays (uint8 (N, H, W, 3), less the last `holdout`) and folders of pictures.

    Arrays are mirrored too. Folders give `crops` random crops in all, each from a picture scaled down by up to
    `octaves` powers of two. Returns (N, side, side, 3) float32 in [0, 1]. Raises FormatError for an array of another
    shape or type, and where there are no pictures at all.
    """
    rng = np.random.default_rng(seed)
    folders = [source for source in sources if source.is_dir()]
    parts = [part for source in sources if source.suffix == ".npy" for part in _array(source, side, holdout)]
    for folder in folders:
        parts += _crops(folder, crops // len(folders), side, octaves, rng)
    if not parts:
        raise FormatError(f"{', '.join(map(str, sources))}: no pictures to learn from")
    return torch.from_numpy(np.concatenate(parts)).float() / 255


def _array(source: Path, side: int, holdout: int) -> list[np.ndarray]:
    """An array less its end, and its mirror image."""
    array = arrays.pictures(source, side)[: -holdout or None]
    return [array, array[:, :, ::-1]]


def _crops(folder: Path, count: int, side: int, octaves: float, rng) -> list[np.ndarray]:
    """Random crops of a folder's pictures, taken in turns: (1, side, side, 3) uint8 each."""
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if count and not files:
        raise FormatError(f"{folder}: no pictures ({', '.join(SUFFIXES)})")
    return [_crop(files[k % len(files)], side, octaves, rng)[None] for k in range(count)]


def _crop(path: Path, side: int, octaves: float, rng) -> np.ndarray:
    """A random crop of a picture, scaled down at random."""
    with Image.open(path) as picture:
        image = picture.convert("RGB")
    if min(image.size) < side:
        raise FormatError(f"{path}: {image.width} x {image.height} pixels are less than a crop of {side} x {side}")
    most = min(image.size) / side
    factor = min(most, 2 ** rng.uniform(0, octaves))
    size = [max(side, round(length / factor)) for length in image.size]
    image = image.resize(size, Image.Resampling.LANCZOS) if factor > SCALED else image
    x, y = (int(rng.integers(0, length - side + 1)) for length in image.size)
    return np.asarray(image.crop((x, y, x + side, y + side)))


def held_out(sources: list[Path], holdout: int, validation: Sequence[Path]) -> tuple[list[np.ndarray], str]:
    """Pictures (H, W, 3) uint8 that training left out, and a line about them.

    The last `holdout` of every array, or centres of photographs in the folders `validation`.
    """
    if not validation:
        ends = [image for s in sources if s.suffix == ".npy" for image in arrays.pictures(s)[-holdout:]][:MEASURED]
        return ends, f"{len(ends)} held-out 32x32 training images"
    centres = [_centre(path) for folder in validation for path in sorted(folder.glob("*.png"))[::EVERY]]
    return centres, f"{len(centres)} held-out photographs, {CENTRE}x{CENTRE} from the centre"


def _centre(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    top, left = ((length - min(length, CENTRE)) // 2 for length in pixels.shape[:2])
    return pixels[top : top + CENTRE, left : left + CENTRE]
