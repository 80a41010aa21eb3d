"""Folders, picture files and arrays as one list of RGB pictures, in groups that are encoded together."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..errors import CombinerError, FormatError
from ..picture import arrays, image

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
        first, last = self.pictures[0].name, self.pictures[-1].name
        return first if len(self.pictures) == 1 else f"{first} … {last}"

    @cached_property
    def digest(self) -> str:
        """Start of the sha256 of all pixels."""
        total = hashlib.sha256()
        for picture in self.pictures:
            total.update(repr(picture.pixels.shape).encode() + np.ascontiguousarray(picture.pixels).data)
        return total.hexdigest()[:16]


def collect(
    sources: list[Path], limit: int | None = None, besides: Sequence[Path] = ()
) -> tuple[list[Picture], list[str]]:
    """Pictures of folders, picture files and .npy arrays, and one line about each file that is left out.

    limit: pictures taken from each source, in the order of their names. besides: files that are not looked at.
    """
    found, problems, outputs = [], [], {os.path.realpath(path) for path in besides}
    for source in map(Path, sources):
        own = []
        for path in (path for path in _files(source) if os.path.realpath(path) not in outputs):
            try:
                own += read(path)
            except (CombinerError, OSError) as error:
                problems.append(str(error))
            if limit and len(own) >= limit:
                break
        found += own[:limit]
    return _unique(found), problems


def _files(source: Path) -> list[Path]:
    """A file, or the files of a folder whose names do not begin with a dot."""
    return sorted(p for p in source.iterdir() if p.is_file() and p.name[0] != ".") if source.is_dir() else [source]


def read(path: Path) -> list[Picture]:
    """Pictures of one file. Grey ones become RGB, those with alpha are refused. Raises FormatError."""
    if path.suffix == ".npy":
        return [Picture(f"{path.name}[{i}]", pixels) for i, pixels in enumerate(arrays.pictures(path))]
    pixels = np.asarray(image.load(path.read_bytes(), str(path)))
    if pixels.shape[2:] in ((2,), (4,)):
        raise FormatError(f"{path}: has alpha, which not every codec can keep")
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return [Picture(path.name, pixels)]


def grouped(pictures: list[Picture]) -> list[Group]:
    """Small pictures together, up to TOGETHER pixels; larger ones alone."""
    groups: list[list[Picture]] = []
    for picture in (p for p in pictures if p.size <= SMALL):
        if not groups or sum(p.size for p in groups[-1]) + picture.size > TOGETHER:
            groups.append([])
        groups[-1].append(picture)
    groups += [[p] for p in pictures if p.size > SMALL]
    return [Group(tuple(own)) for own in groups]


def _unique(pictures: list[Picture]) -> list[Picture]:
    """Pictures of one name in several folders are told apart by a number."""
    seen, result = {}, []
    for picture in pictures:
        seen[picture.name] = count = seen.get(picture.name, 0) + 1
        result.append(picture if count == 1 else Picture(f"{picture.name} ({count})", picture.pixels))
    return result
