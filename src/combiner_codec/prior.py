"""A prior: architecture, operating points, class tables and shared weights, in one .npz file without pickles.

A prior holds several operating points, each learned for one beta. A point holds K classes; a tile names its class. For
a latent d of class c, `kl[c, d]` is the index of its average KL in an integer table; the prior's scale follows from it
as s = noise * sqrt(2^(2 KL) - 1), where `noise` is the typical posterior scale. (At the M-step's optimum the average KL
is log2(s / sigma), so one integer gives both the partition and the scale.)
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path

import numpy as np

from .bitstream import CUSTOM, INDEX_BITS
from .candidates import order
from .errors import FormatError
from .inr import Architecture, pruned

# name -> (number in the file header, sha256 of the released file)
MANIFEST: dict[str, tuple[int, str]] = {
    "small": (1, "52e9244e1ad7900ce013f745f0a74e1e8c27f42e025c11fa28ff4fff93b3f5cd"),
    "combiner-cifar": (2, "538965953c1f406a5dbac5724bf998b5a05929a1d830096fad81546845ef3759"),
    "photo": (3, "106c86ccc117ab99b2942aada5bd6687526fbb42fc0f77c020acb24b64ff4a00"),
}

UNIT = 256  # KL tables count 1/256 bit
THUMBNAIL = 32  # pixels; measured on photographs scaled to 32, 40, 48, 64, 96 and 128 pixels


@cache
def kl_table() -> np.ndarray:
    """KL that index 0 … 255 stands for, in 1/256 bit: (256,) int64, fine near 0 and up to 15.9 bits."""
    i = np.arange(256)
    return i * i // 16


def kl_index(bits: np.ndarray) -> np.ndarray:
    """Nearest index for a KL in bits; below 0.003 bit a latent is not coded: (...) -> uint8."""
    return np.clip(np.rint(np.sqrt(np.maximum(bits, 0) * UNIT * 16)), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Partition:
    """How the latents of some blocks form groups (FORMAT.md, section 5)."""

    latents: np.ndarray  # coded latents in coding order, one block after another
    blocks: np.ndarray  # (B + 1,) where each block begins in `latents`
    dims: np.ndarray  # latents of every group, one block after another
    groups: np.ndarray  # (B + 1,) where each block begins in `dims`

    @property
    def counts(self) -> np.ndarray:
        """Groups of each block: (B,)."""
        return np.diff(self.groups)

    @staticmethod
    def join(parts: "list[Partition]") -> "Partition":
        """One after another."""

        def ends(name):
            return np.concatenate([[0], *(np.diff(getattr(part, name)) for part in parts)]).cumsum()

        latents, dims = (np.concatenate([getattr(part, name) for part in parts]) for name in ("latents", "dims"))
        return Partition(latents, ends("blocks"), dims, ends("groups"))


def partition(kl: np.ndarray, group_bits: int, chained: bool, mixed: bool = True) -> Partition:
    """Cut the latents of blocks into groups by the integer rules of FORMAT.md, section 5: (B, D) uint8."""
    walk = order(kl.shape[1]) if mixed else np.arange(kl.shape[1])
    parts = np.split(kl, range(64, len(kl), 64))
    return Partition.join([_partition(part, walk, group_bits, chained) for part in parts])


def _partition(kl, walk, group_bits, chained):
    cost = kl_table()[kl[:, walk]]
    total = cost.cumsum(1)
    capacity = group_bits * UNIT
    if chained:
        counts = group_count(total[:, -1], group_bits)
        group = np.minimum((total - 1 + capacity // 2) // capacity, counts[:, None] - 1)
        group[(cost == 0) | (counts == 0)[:, None]] = -1
    else:
        group = np.stack([_independent(row, capacity) for row in cost])
        counts = group.max(1) + 1
    groups = np.concatenate([[0], counts.cumsum()])
    row, place = np.nonzero(group >= 0)
    dims = np.bincount(groups[row] + group[row, place], minlength=groups[-1])
    return Partition(walk[place], np.searchsorted(row, np.arange(len(kl) + 1)), dims, groups)


def group_count(total: np.ndarray, group_bits: int) -> np.ndarray:
    """Groups of a chained stream for its KL in 1/256 bit, to the nearest."""
    capacity = group_bits * UNIT
    return (total + capacity // 2) // capacity


def _independent(cost, capacity):
    """A group takes latents as long as their KL stays within its bits, and one at least: group of each latent."""
    group, current, spent = np.full(len(cost), -1), 0, 0
    for place in np.flatnonzero(cost):
        if spent and spent + cost[place] > capacity:
            current, spent = current + 1, 0
        group[place], spent = current, spent + cost[place]
    return group


@dataclass(frozen=True)
class Level:
    """One operating point. U columns: the latents of one tile of each level of the architecture, tiles first."""

    beta: float  # squared error per nat, see DESIGN
    mean: np.ndarray  # (U,) float32
    noise: np.ndarray  # (U,) float32, typical posterior scale
    kl: np.ndarray  # (K, latents of a tile) uint8, index into kl_table
    coarse: np.ndarray  # (latents of the levels above,) uint8
    shared: dict[str, np.ndarray]  # weights of shared layers
    group_bits: int  # bits that a group adds
    index_bits: int  # width of an index that `--effort normal` uses
    contexts: np.ndarray | None = None  # (3, K + 1, K) int8 tables of classmap.py; None: class numbers as they are
    mixed: bool = True  # groups take latents in the fixed random order, else tile by tile

    @property
    def chained(self) -> bool:
        """Whether indices overlap."""
        return self.group_bits < self.index_bits

    @property
    def classes(self) -> int:
        return len(self.kl)

    @property
    def class_bits(self) -> int:
        """Bits of a class number in the file where classes have no context."""
        return (self.classes - 1).bit_length()

    @cached_property
    def tile_cost(self) -> np.ndarray:
        """Average KL of a tile of each class in 1/256 bit: (K,) int64."""
        return kl_table()[self.kl].sum(1)

    @property
    def tile_bits(self) -> np.ndarray:
        """The same in bits: (K,)."""
        return self.tile_cost / UNIT

    @cached_property
    def scale(self) -> np.ndarray:
        """Prior scales of tiles: (K, latents of a tile) float32; 0 where a latent is not coded."""
        return scale_of(self.kl, self.noise[: self.kl.shape[1]])

    def for_grey(self, architecture: Architecture) -> "Level":
        """The level for grey pictures: the colour components after the first, of three each, are not coded."""
        if architecture.features != "cosine":
            return self
        first = np.arange(self.kl.shape[1] + len(self.coarse)) % 3 == 0
        own = self.kl.shape[1]
        return replace(self, kl=self.kl * first[:own], coarse=self.coarse * first[own:])

    def block_kl(self, architecture: Architecture, classes: np.ndarray) -> np.ndarray:
        """KL indices of whole blocks: (B, n, n) classes of their tiles, -1 beyond the picture -> (B, D) uint8."""
        none = np.zeros((1, self.kl.shape[1]), np.uint8)
        tiles = np.concatenate([self.kl, none])[classes].reshape(len(classes), -1)
        above = self.coarse[architecture.columns[tiles.shape[1] :] - self.kl.shape[1]]
        return np.concatenate([tiles, np.tile(above, (len(classes), 1))], 1)

    def partition(self, kl: np.ndarray) -> Partition:
        """Groups of blocks: (B, D) KL indices."""
        return partition(kl, self.group_bits, self.chained, self.mixed)

    def least_bits(self, architecture: Architecture) -> int:
        """Bits of a block's stream whatever its classes: those of the levels above its tiles."""
        return int(self.stream_bits(architecture, architecture.no_tiles)[0])

    def stream_bits(self, architecture: Architecture, classes: np.ndarray) -> np.ndarray:
        """Bits of every block's stream: (B, n, n) classes of its tiles, -1 beyond the picture -> (B,) int64."""
        if not self.chained:
            kinds, kind = np.unique(classes.reshape(len(classes), -1), axis=0, return_inverse=True)
            kl = self.block_kl(architecture, kinds.reshape(-1, *classes.shape[1:]))
            return self.group_bits * self.partition(kl).counts[kind.reshape(-1)]
        tiles = np.append(self.tile_cost, 0)[classes].reshape(len(classes), -1).sum(1)
        above = self.coarse[architecture.columns[classes[0].size * self.kl.shape[1] :] - self.kl.shape[1]]
        return self.group_bits * group_count(tiles + kl_table()[above].sum(), self.group_bits)


def scale_of(kl: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Prior scales from KL indices: s = noise * sqrt(2^(2 KL) - 1), float32."""
    return (noise * np.sqrt(np.expm1(2 * np.log(2) / UNIT * kl_table()))[kl]).astype(np.float32)


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

    def level(self, index: int, grey: bool = False) -> Level:
        """An operating point, for colour or for grey pictures."""
        if not 0 <= index < len(self.betas):
            raise FormatError(f"prior {self.name} has no operating point {index}")
        return self._levels(index, grey)

    @cached_property
    def _levels(self):
        return lru_cache(None)(self._load_level)

    def _load_level(self, index, grey):
        if grey:
            return self.level(index).for_grey(self.architecture)
        prefix = f"{index:02}."
        arrays = {k[len(prefix) :]: self.arrays[k] for k in self.arrays if k.startswith(prefix)}
        tables = arrays.pop("kl"), arrays.pop("coarse", np.zeros(0, np.uint8))
        contexts = arrays.pop("contexts", None)
        floats = {k: v.astype(np.float32) for k, v in arrays.items()}
        mean, noise = floats.pop("mean"), floats.pop("noise")
        widths = self.metadata["group_bits"], self.metadata["index_bits"]
        mixed = self.metadata.get("mixed", True)
        return Level(self.betas[index], mean, noise, *tables, floats, *widths, contexts, mixed)


def save(path: Path, metadata: dict, architecture: Architecture, levels: list[Level]) -> None:
    """Write a prior file; floats are stored in half precision, and `metadata` is stored as JSON."""
    arrays = {}
    for i, level in enumerate(levels):
        tables = {"kl": level.kl, "coarse": level.coarse, "contexts": level.contexts}
        arrays |= {f"{i:02}.{name}": table for name, table in tables.items() if table is not None}
        for name, value in {"mean": level.mean, "noise": level.noise, **pruned(architecture, level.shared)}.items():
            arrays[f"{i:02}.{name}"] = value.astype(np.float16)
    metadata = {
        **metadata,
        "betas": [level.beta for level in levels],
        "group_bits": levels[0].group_bits,
        "index_bits": levels[0].index_bits,
        "mixed": levels[0].mixed,
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
    raise FormatError(f"unknown prior {number}: the file is damaged, or newer than this version: update combiner")


def default(width: int, height: int) -> Prior:
    """The shipped prior for a picture of some size."""
    return load("photo" if max(width, height) > THUMBNAIL else "small")
