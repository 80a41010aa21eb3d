"""Random crops of pictures: places, scales, mirror images, quarter turns; each is a function of (seed, number)."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import FormatError
from ...picture import arrays

SUFFIXES = (".jpg", ".jpeg", ".png")  # of pictures in folders
PLAIN = 0.6  # share of crops at the picture's own scale, over octaves
LEAST_OCTAVES = 0.1  # by which others are scaled down
MIRRORED = 0.5  # share of crops
TURNED = 0.3  # share of crops, by one to three quarters


@dataclass(frozen=True)
class Picture:
    """A picture that is read when it is needed."""

    name: str
    read: Callable[[], np.ndarray]  # (H, W, 3) uint8


def pictures_of(sources: Iterable[Path], holdout: int = 0) -> list[Picture]:
    """Pictures of folders, and of arrays (.npy, uint8 (N, H, W, 3)) less the last `holdout`.

    Raises FormatError where there are none.
    """
    found = []
    for source in sources:
        if source.is_file():
            array = _of_array(source)
            found += array[: max(0, len(array) - holdout)]
        else:
            found += _of_folder(source)
    if not found:
        names = ", ".join(str(source) for source in sources)
        raise FormatError(f"{names}: no pictures to learn from")
    return found


def held_of(sources: Iterable[Path], holdout: int) -> list[Picture]:
    """The last `holdout` pictures of every array."""
    found = []
    for source in sources:
        if source.is_file():
            array = _of_array(source)
            found += array[max(0, len(array) - holdout) :]
    return found


def _of_array(source: Path) -> list[Picture]:
    array = arrays.pictures(source)
    return [Picture(f"{source}[{i}]", partial(_element, array, i)) for i in range(len(array))]


def _element(array: np.ndarray, number: int) -> np.ndarray:
    return np.asarray(array[number])


def _of_folder(source: Path) -> list[Picture]:
    files = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
    return [Picture(str(path), partial(_read, path)) for path in files]


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def random_crops(
    pictures: list[Picture],
    side: int,
    numbers: np.ndarray,
    seed: int,
    octaves: float = 1.0,
    least: float | None = None,
) -> np.ndarray:
    """The crops with these numbers, up to `octaves` powers of two smaller: (n,) int64 -> (n, side, side, 3) uint8.

    Pictures have turns, in random order; each is read once. least: octaves by which all crops are scaled down at least;
    None leaves most at the picture's own scale. Raises FormatError where a picture is smaller than a crop.
    """
    crops = np.empty((len(numbers), side, side, 3), np.uint8)
    chosen = _turns(len(pictures), numbers, seed)

    def cut_from(number: int) -> None:
        picture = pictures[number]
        pixels = picture.read()
        if min(pixels.shape[:2]) < side:
            raise FormatError(f"{picture.name}: smaller than {side} x {side} pixels")
        for place in np.flatnonzero(chosen == number):
            rng = np.random.default_rng([seed, 1, numbers[place]])
            crops[place] = _crop(pixels, side, octaves, least, rng)

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(cut_from, np.unique(chosen)):
            pass  # an error of a thread is raised here
    return crops


def _turns(count: int, numbers: np.ndarray, seed: int) -> np.ndarray:
    """The picture that each crop is of, `count` pictures once in every `count` crops: (n,) -> (n,)."""
    rounds, places = np.divmod(numbers, count)
    chosen = np.zeros(len(numbers), np.int64)
    for number in np.unique(rounds):
        order = np.random.default_rng([seed, 0, number]).permutation(count)
        now = rounds == number
        chosen[now] = order[places[now]]
    return chosen


def _crop(
    pixels: np.ndarray,
    side: int,
    octaves: float,
    least: float | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """A square of a picture, scaled down, mirrored and turned at random; without `octaves` as it is."""
    factor = 1.0
    if least is not None:
        factor = 2 ** rng.uniform(least, octaves)
    elif octaves > LEAST_OCTAVES:
        share = PLAIN / max(1, octaves)
        if rng.random() >= share:
            factor = 2 ** rng.uniform(LEAST_OCTAVES, octaves)
    height, width = pixels.shape[:2]
    size = min(round(side * factor), height, width)
    top = rng.integers(height - size + 1)
    left = rng.integers(width - size + 1)
    crop = pixels[top : top + size, left : left + size]
    if size > side:
        smaller = Image.fromarray(crop).resize((side, side), Image.Resampling.LANCZOS)
        crop = np.asarray(smaller)
    if not octaves:
        return crop
    if rng.random() < MIRRORED:
        crop = crop[:, ::-1]
    if rng.random() < TURNED:
        crop = np.rot90(crop, rng.integers(1, 4))
    return crop
