"""A prior: architecture, operating points, class tables and shared weights, in one .npz file without pickles.

A prior holds several operating points ("levels"), each learned for one beta. A level holds K classes; a tile names
its class. For
a latent d of class c, `kl[c, d]` is the index of its average KL in an integer table; the prior's scale follows from
it as
s = noise * sqrt(2^(2 KL) - 1), where `noise` is the typical posterior scale. (At the M-step's optimum the average KL is
log2(s / sigma), so one integer gives both the partition and the scale.)
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path

import numpy as np

from .bitstream import CUSTOM, INDEX_BITS
from .candidates import order
from .errors import FormatError
from .inr import Architecture

# name -> (number in the file header, sha256 of the released file)
MANIFEST: dict[str, tuple[int, str]] = {
    "small": (1, "b98233402ddbe30e83d6e621ac2eb5a99977b80bf0b3a9ac51515c62194d9c35"),
    "combiner-cifar": (2, "538965953c1f406a5dbac5724bf998b5a05929a1d830096fad81546845ef3759"),
}

UNIT = 256  # KL tables count 1/256 bit


@cache
def kl_table() -> np.ndarray:
    """KL that index 0 … 255 stands for, in 1/256 bit: (256,) int64, fine near 0 and up to 15.9 bits."""
    i = np.arange(256)
    return i * i // 16


def kl_index(bits: np.ndarray) -> np.ndarray:
    """Nearest index for a KL in bits; below 0.003 bit a latent is not coded: (...) -> uint8."""
    return np.clip(np.rint(np.sqrt(np.maximum(bits, 0) * UNIT * 16)), 0, 255).astype(np.uint8)


def partition(kl: np.ndarray, group_bits: int, index_bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut one class's latents into groups by the integer rules of FORMAT.md, section 5.

    kl: (D,) uint8. Returns latents (M,) in coding order, dims (G,) latents per group, bits (G,) that each group adds
    to the stream.
    """
    cost = kl_table()[kl]
    walk = order(len(kl))
    walk = walk[cost[walk] > 0]
    if group_bits < index_bits:
        ends, bits = _chained_groups(np.cumsum(cost[walk]), group_bits)
    else:
        ends = _independent_groups(np.cumsum(cost[walk]), group_bits)
        bits = [index_bits] * (len(ends) - 1)
    return walk[: ends[-1]], np.diff(ends), np.array(bits, np.int64)


def _chained_groups(total, group_bits):
    """A group closes as soon as it has `group_bits`; it adds as many bits as the rounded running total has grown by."""
    rounded = (total + UNIT // 2) // UNIT
    ends, spent, bits = [0], 0, []
    while ends[-1] < len(rounded) and rounded[-1] > spent:
        end = min(int(np.searchsorted(rounded, spent + group_bits)) + 1, len(rounded))
        bits.append(int(rounded[end - 1]) - spent)
        spent += bits[-1]
        ends.append(end)
    return ends, bits


def _independent_groups(total, group_bits):
    """A group takes latents as long as their KL stays within `group_bits`, and one at least."""
    ends = [0]
    while ends[-1] < len(total):
        spent = int(total[ends[-1] - 1]) if ends[-1] else 0
        end = int(np.searchsorted(total, spent + group_bits * UNIT, side="right"))
        ends.append(max(end, ends[-1] + 1))
    return ends


@dataclass(frozen=True)
class Level:
    """One operating point."""

    beta: float  # squared error per nat, see DESIGN
    mean: np.ndarray  # (D,) float32
    noise: np.ndarray  # (D,) float32, typical posterior scale
    kl: np.ndarray  # (K, D) uint8, index into kl_table
    shared: dict[str, np.ndarray]  # weights of shared layers
    group_bits: int  # new bits of a group, about
    index_bits: int  # width of an index that `--effort normal` uses

    @cached_property
    def scale(self) -> np.ndarray:
        """Prior scales: (K, D) float32; 0 where a latent is not coded."""
        return self.scale_of(slice(None))

    def scale_of(self, c) -> np.ndarray:
        """Prior scales of one class or some: (D,) or (k, D). A decoder needs few."""
        bits = kl_table()[self.kl[c]] / UNIT
        return (self.noise * np.sqrt(np.expm1(2 * np.log(2) * bits))).astype(np.float32)

    @cached_property
    def bits(self) -> np.ndarray:
        """Payload bits of a tile of each class: (K,) int64."""
        if self.chained:
            return (kl_table()[self.kl].sum(1) + UNIT // 2) // UNIT
        return np.array([self.partition(c)[2].sum() for c in range(len(self.kl))])

    @property
    def chained(self) -> bool:
        """Whether indices overlap."""
        return self.group_bits < self.index_bits

    def partition(self, c: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if c not in self._partitions:
            self._partitions[c] = partition(self.kl[c], self.group_bits, self.index_bits)
        return self._partitions[c]

    @cached_property
    def _partitions(self) -> dict:
        return {}

    @property
    def class_bits(self) -> int:
        """Bits of a class number in the file."""
        return (len(self.kl) - 1).bit_length()


@dataclass(frozen=True)
class Prior:
    name: str
    number: int
    digest: bytes  # sha256 of the file
    metadata: dict
    architecture: Architecture
    data: bytes
    arrays: Mapping[str, np.ndarray]  # members of the file, unpacked where they are asked for

    @property
    def betas(self) -> list[float]:
        return self.metadata["betas"]

    def level(self, index: int) -> Level:
        if not 0 <= index < len(self.betas):
            raise FormatError(f"prior {self.name} has no operating point {index}")
        return self._levels(index)

    @cached_property
    def _levels(self):
        return lru_cache(None)(self._load_level)

    def _load_level(self, index):
        prefix = f"{index:02}."
        arrays = {k[len(prefix) :]: self.arrays[k] for k in self.arrays if k.startswith(prefix)}
        floats = {k: v.astype(np.float32) for k, v in arrays.items() if k != "kl"}
        mean, noise = floats.pop("mean"), floats.pop("noise")
        meta = self.metadata
        return Level(self.betas[index], mean, noise, arrays["kl"], floats, meta["group_bits"], meta["index_bits"])


def save(path: Path, metadata: dict, architecture: Architecture, levels: list[Level]) -> None:
    """Write a prior file; floats are stored in half precision, and `metadata` is stored as JSON."""
    arrays = {}
    for i, level in enumerate(levels):
        arrays[f"{i:02}.kl"] = level.kl
        for name, value in {"mean": level.mean, "noise": level.noise, **level.shared}.items():
            arrays[f"{i:02}.{name}"] = value.astype(np.float16)
    metadata = {
        **metadata,
        "betas": [level.beta for level in levels],
        "group_bits": levels[0].group_bits,
        "index_bits": levels[0].index_bits,
        "architecture": architecture.to_json(),
    }
    arrays["metadata"] = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        np.savez_compressed(file, **arrays)


def parse(data: bytes, name: str, number: int = 0) -> Prior:
    try:
        arrays = np.load(io.BytesIO(data), allow_pickle=False)
        metadata = json.loads(bytes(arrays["metadata"]))
        architecture = Architecture.from_json(metadata["architecture"])
        if metadata["index_bits"] not in INDEX_BITS or not 1 <= metadata["group_bits"] <= metadata["index_bits"]:
            raise ValueError("group or index width out of range")
    except Exception as error:
        raise FormatError(f"{name}: not a prior file ({error})") from error
    return Prior(name, number, hashlib.sha256(data).digest(), metadata, architecture, data, arrays)


def folder() -> Path:
    """Where the shipped priors are: inside the installed package, or assets/priors of a source checkout."""
    package = Path(__file__).parent
    installed = package / "priors"
    return installed if installed.is_dir() else package.parents[1] / "assets" / "priors"


@cache
def load(name: str) -> Prior:
    """A shipped prior by name, checked against the manifest."""
    if name not in MANIFEST:
        raise FormatError(f"no prior named {name}: shipped priors are {', '.join(MANIFEST)}")
    number, expected = MANIFEST[name]
    path = folder() / f"{name}.npz"
    if not path.is_file():
        raise FormatError(f"prior {name} is missing from the installation ({path}): install combiner again")
    prior = parse(path.read_bytes(), name, number)
    if prior.digest.hex() != expected:
        raise FormatError(f"prior {name} is not the released one: install combiner again")
    return prior


def load_file(path: Path) -> Prior:
    """A custom prior from a file; a shipped one is recognised by its hash."""
    prior = parse(Path(path).read_bytes(), Path(path).stem, CUSTOM)
    for name, (_, digest) in MANIFEST.items():
        if digest == prior.digest.hex():
            return load(name)
    return prior


def by_number(number: int, prior_hash: bytes = b"", given: Prior | None = None) -> Prior:
    """The prior that a file header names; `given` is the custom prior at hand, if any."""
    if number == CUSTOM:
        if given is None or given.digest[:4] != prior_hash:
            raise FormatError(f"made with a custom prior of hash {prior_hash.hex()}: name its file with --prior")
        return given
    for name, (shipped, _) in MANIFEST.items():
        if shipped == number:
            return load(name)
    raise FormatError(f"unknown prior {number}: made by a newer version of combiner, or damaged")


def default() -> Prior:
    """The family for a picture of any size; a larger picture is cut into tiles."""
    return load("small")
