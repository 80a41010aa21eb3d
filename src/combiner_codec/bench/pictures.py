"""Folders, picture files and arrays as one list of RGB pictures, in groups that are encoded together."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..errors import CombinerError, FormatError
from ..picture import arrays, image
from ..picture.folders import files_below

SMALL = 128 * 128  # pixels; pictures up to this size are encoded together
TOGETHER = 2**20  # pixels of a group


@dataclass(frozen=True)
class Picture:
    name: str
    pixels: np.ndarray  # (H, W, 3) uint8

    @property
    def size(self) -> int:
        """Pixels."""
        return self.pixels.shape[0] * self.pixels.shape[1]


@dataclass(frozen=True)
class Group:
    """Pictures that are encoded in one call: one picture, or many small ones."""

    pictures: tuple[Picture, ...]

    @property
    def name(self) -> str:
        first = self.pictures[0].name
        if len(self.pictures) == 1:
            return first
        return f"{first} … {self.pictures[-1].name}"

    @property
    def pixels(self) -> int:
        """Of all pictures."""
        return sum(picture.size for picture in self.pictures)

    @cached_property
    def digest(self) -> str:
        """Start of the sha256 of all pixels."""
        total = hashlib.sha256()
        for picture in self.pictures:
            total.update(repr(picture.pixels.shape).encode())
            total.update(np.ascontiguousarray(picture.pixels).data)
        return total.hexdigest()[:16]


def collect(
    sources: list[Path], limit: int | None = None, besides: Sequence[Path] = ()
) -> tuple[list[Picture], list[str]]:
    """Pictures of folders, picture files and .npy arrays, and one line about each file that is left out.

    limit: pictures taken from each source, in the order of their names. besides: files that are not looked at.
    """
    found: list[Picture] = []
    problems: list[str] = []
    outputs = {os.path.realpath(path) for path in besides}
    for source in sources:
        of_source: list[Picture] = []
        for path in _files(Path(source), problems):
            if os.path.realpath(path) in outputs:
                continue
            try:
                of_source += read(path)
            except (CombinerError, OSError) as error:
                problems.append(str(error))
            if limit and len(of_source) >= limit:
                break
        found += of_source[:limit]
    return _unique(found), problems


def _files(source: Path, problems: list[str]) -> Iterator[Path]:
    """A file, or the files of a folder and of all below it, as `combiner encode` takes them."""
    if not source.is_dir():
        yield source
        return
    for path in files_below(source, lambda error: problems.append(str(error))):
        yield Path(path)


def read(path: Path) -> list[Picture]:
    """Pictures of one file. Grey ones become RGB, those with alpha are refused. Raises FormatError."""
    if path.suffix == ".npy":
        stack = arrays.pictures(path)
        return [Picture(f"{path.name}[{i}]", pixels) for i, pixels in enumerate(stack)]
    pixels = np.asarray(image.load(path.read_bytes(), str(path)))
    if pixels.shape[2:] in ((2,), (4,)):
        raise FormatError(f"{path}: has alpha, which not every codec can keep")
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return [Picture(path.name, pixels)]


def grouped(pictures: list[Picture]) -> list[Group]:
    """Small pictures together, up to TOGETHER pixels; larger ones alone."""
    groups: list[list[Picture]] = []
    small = [picture for picture in pictures if picture.size <= SMALL]
    large = [picture for picture in pictures if picture.size > SMALL]
    room = 0  # pixels that the last group can still take
    for picture in small:
        if picture.size > room:
            groups.append([])
            room = TOGETHER
        groups[-1].append(picture)
        room -= picture.size
    groups += [[picture] for picture in large]
    return [Group(tuple(group)) for group in groups]


def _unique(pictures: list[Picture]) -> list[Picture]:
    """Pictures of one name in several folders are told apart by a number."""
    seen: Counter[str] = Counter()
    result = []
    for picture in pictures:
        name = picture.name
        seen[name] += 1
        if seen[name] > 1:
            picture = Picture(f"{name} ({seen[name]})", picture.pixels)
        result.append(picture)
    return result
