"""Priors by name, by number or from a file: the shipped ones and custom ones."""

import hashlib
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FormatError
from .header import CUSTOM
from .operating_point import Modulations, OperatingPoint
from .prior_check import UNPACKED
from .prior_file import Prior, open_released, parse, save

__all__ = [
    "MANIFEST", "Modulations", "OperatingPoint", "Prior",
    "by_number", "default", "find", "folder", "load", "load_file", "of_previews", "parse", "save",
]  # fmt: skip

if TYPE_CHECKING:
    from importlib.abc import Traversable

# name -> (number in the file header, sha256 of the released file)
MANIFEST: dict[str, tuple[int, str]] = {
    "small": (1, "716d162750418bb20bc380355de74b95aba1d76d104c5337fa9badbfdaa072c0"),
    "combiner-cifar": (2, "3b3cb77aa94c7b79a895ff30fce24472577e123ecac3a14506516c9a5af10043"),
    "photo": (3, "1c5ece35e72116cef42c3978215fef6125666b1e522d249b8388a6ed589b867f"),
    "nano": (5, "9d3fe776d39f3538e23d5202b6b2325a408bbf0f9619e991849c548172905cad"),
    "web": (4, "f37c8daf05c06948251bcf759ba1d4297f5ab0bfeac15cc8349843a45822d584"),
}

PREVIEW = 64  # pixels along the sides of the pictures that `nano` was trained for
PREVIEW_BYTES = 250  # beyond which it gains nothing: its finest operating point is reached
THUMBNAIL = 32  # pixels; measured on photographs scaled to 32, 40, 48, 64, 96 and 128 pixels: docs/results/border.md


def folder() -> "Path | Traversable":
    """Where the shipped priors are: in the installed package, a folder or an archive, or in a checkout's assets."""
    package = Path(__file__).parents[1]
    checkout = package.parents[1]
    for place in (package / "priors", checkout / "assets" / "priors"):
        if place.is_dir():
            return place
    from importlib.resources import files  # some milliseconds

    return files("combiner_codec") / "priors"


@cache
def load(name: str) -> Prior:
    """A shipped prior by name, checked against the manifest."""
    if name not in MANIFEST:
        raise FormatError(f"no prior named {name}: shipped priors are {', '.join(MANIFEST)}")
    number, expected = MANIFEST[name]
    file = folder() / f"{name}.npz"
    if not file.is_file():
        raise FormatError(
            f"prior {name} is missing from the installation: install combiner again; "
            "a program that is bundled with it needs the folder priors of the package combiner_codec"
        )
    data = file.read_bytes()
    digest = hashlib.sha256(data).digest()
    if digest.hex() != expected:
        raise FormatError(f"prior {name} is not the released one: install combiner again")
    return open_released(data, name, number, digest)


def load_file(path: Path) -> Prior:
    """A custom prior from a file, checked as a whole; a shipped one is recognised by its hash. Raises FormatError."""
    try:
        with open(path, "rb") as file:
            data = file.read(UNPACKED + 1)
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}") from error
    if len(data) > UNPACKED:
        raise FormatError(f"{path}: not a prior file (more than {UNPACKED} bytes)")
    digest = hashlib.sha256(data).hexdigest()
    for name, (_, released) in MANIFEST.items():
        if digest == released:
            return load(name)
    prior = parse(data, str(path))
    return replace(prior, name=Path(path).stem)


def find(name: "str | os.PathLike[str] | Prior") -> Prior:
    """A prior itself, or by the name of a shipped one or of a file. Raises FormatError, TypeError for anything else."""
    if isinstance(name, Prior):
        return name
    if not isinstance(name, str | os.PathLike):
        raise TypeError(f"prior must be a name, a path or a Prior, not {type(name).__name__}")
    if name in MANIFEST:
        return load(name)
    if not Path(name).is_file():
        raise FormatError(f"no prior named {name}, and no such file: shipped priors are {', '.join(MANIFEST)}")
    return load_file(Path(name))


def by_number(number: int, prior_hash: bytes = b"", given: Prior | None = None) -> Prior:
    """The prior that a file header names; `given` is the custom prior at hand, if any."""
    if number == CUSTOM:
        if given is None or given.digest[:4] != prior_hash:
            raise FormatError(f"made with a custom prior of hash {prior_hash.hex()}: name its file", "prior")
        return given
    for name, (shipped, _) in MANIFEST.items():
        if shipped == number:
            return load(name)
    raise FormatError(f"unknown prior {number}: the file is damaged, or newer than this version: update combiner")


def default(width: int, height: int) -> Prior:
    """The shipped prior for a picture of some size."""
    return load("photo" if max(width, height) > THUMBNAIL else "small")


def of_previews(side: int, size: int) -> Prior | None:
    """The shipped prior for previews within side x side pixels and `size` bytes; None where that of the picture's size
    is better.
    """
    return load("nano") if side <= PREVIEW and size <= PREVIEW_BYTES else None
