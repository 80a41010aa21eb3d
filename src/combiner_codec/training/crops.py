"""Random crops of pictures: places, scales, mirror images, quarter turns; each is a function of (seed, number)."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import FormatError
from ..picture import arrays

SUFFIXES = (".jpg", ".jpeg", ".png")  # of pictures in folders
PLAIN = 0.6  # share of crops at the picture's own scale, over octaves
LEAST_OCTAVES = 0.1  # by which others are scaled down
MIRRORED, TURNED = 0.5, 0.3  # shares of crops

Picture = tuple[str, Callable[[], np.ndarray]]  # its name, and what reads it: (H, W, 3) uint8


def pictures_of(sources: Iterable[Path], holdout: int = 0) -> list[Picture]:
    """Pictures of folders, and of arrays (.npy, uint8 (N, H, W, 3), less the last `holdout`). Raises FormatError where
    there are none.
    """
    some = slice(-holdout or None)
    found = [
        picture for source in sources for picture in (_array(source, some) if source.is_file() else _folder(source))
    ]
    if not found:
        raise FormatError(f"{', '.join(map(str, sources))}: no pictures to learn from")
    return found


def held_of(sources: Iterable[Path], holdout: int) -> list[Picture]:
    """The last `holdout` pictures of every array."""
    some = slice(-holdout, None) if holdout else slice(0)
    return [picture for source in sources if source.is_file() for picture in _array(source, some)]


def _array(source: Path, some: slice) -> Iterator[Picture]:
    array = arrays.pictures(source)[some]
    return ((f"{source}[{i}]", lambda i=i: np.asarray(array[i])) for i in range(len(array)))


def _folder(source: Path) -> Iterator[Picture]:
    files = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
    return ((str(path), lambda path=path: _read(path)) for path in files)


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def random_crops(
    pictures: list[Picture], side: int, numbers: np.ndarray, seed: int, octaves: float = 1.0
) -> np.ndarray:
    """The crops with these numbers, up to `octaves` powers of two smaller: (n,) int64 -> (n, side, side, 3) uint8.

    Pictures have turns, in random order; each is read once.
    """
    crops = np.empty((len(numbers), side, side, 3), np.uint8)
    chosen = _turns(len(pictures), numbers, seed)

    def of_picture(i):
        name, read = pictures[i]
        pixels = read()
        if min(pixels.shape[:2]) < side:
            raise FormatError(f"{name}: smaller than {side} x {side} pixels")
        for place in np.flatnonzero(chosen == i):
            crops[place] = _crop(pixels, side, octaves, np.random.default_rng([seed, 1, numbers[place]]))

    with ThreadPoolExecutor() as pool:
        list(pool.map(of_picture, np.unique(chosen)))
    return crops


def _turns(count: int, numbers: np.ndarray, seed: int) -> np.ndarray:
    """The picture that each crop is of, `count` pictures once in every `count` crops: (n,) -> (n,)."""
    rounds, places = np.divmod(numbers, count)
    orders = {r: np.random.default_rng([seed, 0, r]).permutation(count) for r in np.unique(rounds)}
    return np.array([orders[r][place] for r, place in zip(rounds, places, strict=True)], np.int64)


def _crop(pixels: np.ndarray, side: int, octaves: float, rng: np.random.Generator) -> np.ndarray:
    """A square of a picture, scaled down, mirrored and turned at random; without `octaves` as it is."""
    scaled = octaves > LEAST_OCTAVES and rng.random() >= PLAIN / max(1, octaves)
    factor = 2 ** rng.uniform(LEAST_OCTAVES, octaves) if scaled else 1.0
    size = min(round(side * factor), *pixels.shape[:2])
    top, left = (rng.integers(length - size + 1) for length in pixels.shape[:2])
    crop = pixels[top : top + size, left : left + size]
    if size > side:
        crop = np.asarray(Image.fromarray(crop).resize((side, side), Image.Resampling.LANCZOS))
    if not octaves:
        return crop
    crop = crop[:, ::-1] if rng.random() < MIRRORED else crop
    return np.rot90(crop, rng.integers(1, 4)) if rng.random() < TURNED else crop
