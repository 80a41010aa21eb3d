"""Pictures that no camera took, drawn by scripts: the same ones every time.

Forty in eight kinds, five each. Pixels are uint8: (H, W), (H, W, 3) or with alpha (H, W, 2), (H, W, 4). Fonts are
those of matplotlib; photographs come from a folder; browser pages need a Chromium.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from combiner_codec.errors import MissingError
from combiner_codec.picture.image import load

from . import browser, captions, line_art, logos, pixel_art, plots, scans, terminal

PACKAGED = "Debian packages"  # a kind of which the pictures are files: scripts/debian_pictures.sh
PHOTOGRAPHS = 10  # that are taken from the folder


@dataclass(frozen=True)
class Drawing:
    """A picture of one of the kinds."""

    kind: str
    name: str
    pixels: np.ndarray  # uint8


KINDS: dict[str, Callable[[Sequence[Image.Image]], dict[str, Image.Image]]] = {
    "browser pages": browser.pictures,
    "terminals": terminal.pictures,
    "plots": plots.pictures,
    "line art": line_art.pictures,
    "pixel art": pixel_art.pictures,
    "logos with alpha": logos.pictures,
    "scanned pages": scans.pictures,
    "photographs with captions": captions.pictures,
}


def drawings(photographs: Sequence[Image.Image], kinds: Sequence[str] = tuple(KINDS)) -> Iterator[Drawing]:
    """All pictures of some kinds. Raises MissingError for browser pages without a Chromium."""
    for kind in kinds:
        for name, image in KINDS[kind](photographs).items():
            yield Drawing(kind, name, np.asarray(image))


def packaged(folder: Path) -> Iterator[Drawing]:
    """Pictures of a folder, as they are. Raises MissingError where there is none."""
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise MissingError(f"no pictures in {folder}: make debian-pictures")
    for path in paths:
        yield Drawing(PACKAGED, path.stem, load(path.read_bytes(), path.name))


def photographs_of(folder: Path) -> list[Image.Image]:
    """The first PHOTOGRAPHS of a folder."""
    paths = sorted(folder.glob("*.png"))[:PHOTOGRAPHS]
    return [Image.open(path).convert("RGB") for path in paths]
