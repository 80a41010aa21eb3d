"""A prior: architecture, operating points, class tables and shared weights, in one .npz file without pickles.

A prior holds several operating points, each learned for one beta. A point holds K classes; a tile names its class. For
a latent d of class c, `kl_index[c, d]` is the index of its average KL in an integer table, and the prior's scale
follows from it (synthesis/latents.py): one integer gives both the partition and the scale.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import FormatError
from ..synthesis.architecture import Architecture, pruned
from ..synthesis.latents import scale_factor, scale_of
from ..whole import whole_file
from .classmap import ONE_CLASS
from .header import CUSTOM, INDEX_BITS
from .modulation import Modulations
from .streams import UNIT, Partition, group_count, kl_table, partition

# name -> (number in the file header, sha256 of the released file)
MANIFEST: dict[str, tuple[int, str]] = {
    "small": (1, "f1ab4a56ba60d55624bbbdd4dcc199a18493a6a57adefc6b58b874638b65e7b8"),
    "combiner-cifar": (2, "3b3cb77aa94c7b79a895ff30fce24472577e123ecac3a14506516c9a5af10043"),
    "photo": (3, "7f7c0cb28e5dc543a154e550d8897b4cd4a35d2c7c32a792277f97f1e2c54f66"),
    "web": (4, "f37c8daf05c06948251bcf759ba1d4297f5ab0bfeac15cc8349843a45822d584"),
}

ARCHIVE = b"PK\3\4"  # what an .npz file begins with
THUMBNAIL = 32  # pixels; measured on photographs scaled to 32, 40, 48, 64, 96 and 128 pixels: docs/results/border.md


@dataclass(frozen=True, eq=False)
class OperatingPoint:
    """What a prior learned for one beta. K classes, of which the last M are of merged tiles; U latents of a tile."""

    beta: float  # squared error, summed over pixels, per nat
    mean: np.ndarray  # (U,) float32
    posterior_scale: np.ndarray  # (U,) float32, typical sigma
    kl_index: np.ndarray  # (K - M, U) uint8, index into kl_table
    merged: np.ndarray  # (M, 4, U) uint8, the same of the four tiles that form one
    shared: dict[str, np.ndarray]  # weights of shared layers
    group_bits: int  # bits that a group adds
    index_bits: int  # width of an index that `--effort normal` uses
    contexts: np.ndarray  # (3, K + 1, K) int8, the tables of classmap.py
    modulations: Modulations | None = None  # of shared layers, that a picture may have for its own

    @property
    def chained(self) -> bool:
        """Whether indices overlap."""
        return self.group_bits < self.index_bits

    @property
    def single(self) -> int:
        """K - M, classes of tiles on their own."""
        return len(self.kl_index)

    @property
    def classes(self) -> int:
        """K."""
        return self.single + len(self.merged)

    @cached_property
    def rows(self) -> np.ndarray:
        """KL indices of every class, at each place in a merged tile, and beyond the picture: (K + 3 M + 1, U) uint8."""
        beyond = np.zeros((1, self.kl_index.shape[1]), np.uint8)
        return np.concatenate([self.kl_index, self.merged.reshape(-1, self.kl_index.shape[1]), beyond])

    @cached_property
    def row_cost(self) -> np.ndarray:
        """Average KL of each row in 1/256 bit: int64."""
        return kl_table()[self.rows].sum(1)

    def shared_in(self, dtype) -> dict[str, np.ndarray]:
        """Weights of shared layers in some precision."""
        return _shared(self, np.dtype(dtype))

    def row_of(self, classes: np.ndarray) -> np.ndarray:
        """Number in `rows` of each tile; -1 beyond the picture, as in the classes."""
        return row_of(classes, self.single)

    @cached_property
    def tile_cost(self) -> np.ndarray:
        """Average KL of a tile of each class in 1/256 bit, all of a merged one: (K,) int64."""
        single, merged = self.row_cost[: self.single], self.row_cost[self.single : -1]
        return np.concatenate([single, merged.reshape(-1, 4).sum(1)])

    @property
    def tile_bits(self) -> np.ndarray:
        """The same in bits: (K,)."""
        return self.tile_cost / UNIT

    def modulation_kl(self, pixels: int) -> np.ndarray | None:
        """KL indices of the modulations of a picture of so many pixels: (1, M) uint8, None where it can have none."""
        return None if self.modulations is None else self.modulations.kl_of(pixels)

    def length_of(self, kl_index: np.ndarray) -> int:
        """Bits of the stream of some latents with these KL indices."""
        return self.group_bits * int(group_count(kl_table()[kl_index].sum(), self.group_bits))

    def scale_of(self, kl_index: np.ndarray, columns) -> np.ndarray:
        """Prior scales of some columns' latents from their KL indices: float32."""
        return scale_of(_factors()[kl_index], self.posterior_scale[columns])

    def for_grey(self, architecture: Architecture) -> "OperatingPoint":
        """The point for grey pictures: the colour components after the first are not coded (FORMAT.md, section 5)."""
        if architecture.components == 1:
            return self
        first = np.arange(len(self.mean)) % architecture.components == 0
        return replace(self, kl_index=self.kl_index * first, merged=self.merged * first)

    def block_kl(self, classes: np.ndarray) -> np.ndarray:
        """KL indices of whole blocks: (B, n, n) classes of their tiles, -1 beyond the picture -> (B, D) uint8."""
        return self.rows[self.row_of(classes)].reshape(len(classes), -1)

    def partition(self, kl_index: np.ndarray) -> Partition:
        """Groups of blocks: (B, D) KL indices."""
        return partition(kl_index, self.group_bits, self.chained)

    def stream_lengths(self, classes: np.ndarray) -> np.ndarray:
        """Bits of every block's stream: (B, n, n) classes of its tiles, -1 beyond the picture -> (B,) int64."""
        if not self.chained:
            kinds, kind = np.unique(classes.reshape(len(classes), -1), axis=0, return_inverse=True)
            kl_index = self.block_kl(kinds.reshape(-1, *classes.shape[1:]))
            return self.group_bits * self.partition(kl_index).counts[kind.reshape(-1)]
        total = self.row_cost[self.row_of(classes)].reshape(len(classes), -1).sum(1)
        return self.group_bits * group_count(total, self.group_bits)


def row_of(classes: np.ndarray, single: int) -> np.ndarray:
    """Number of each tile's row among those of all classes, of which merged ones have four: (..., Rt, Ct) int."""
    place = np.add.outer(np.arange(classes.shape[-2]) % 2 * 2, np.arange(classes.shape[-1]) % 2)
    return np.where(classes < single, classes, 4 * classes - 3 * single + place)


@lru_cache(4)
def _shared(point, dtype):
    return {name: value.astype(dtype) for name, value in point.shared.items()}


@cache
def _factors() -> np.ndarray:
    """`scale_factor` of every KL index: (256,) float64."""
    return scale_factor(kl_table() / UNIT)


@dataclass(frozen=True)
class Prior:
    """A prior file and what it says."""

    name: str
    number: int  # in file headers: that of a shipped prior, or CUSTOM
    digest: bytes  # sha256 of the file
    metadata: dict  # see FORMAT.md, section 8
    architecture: Architecture
    data: bytes  # the file
    arrays: Mapping[str, np.ndarray]  # members of the file, unpacked where they are asked for
    points: dict[tuple[int, bool], OperatingPoint] = field(default_factory=dict, repr=False)  # what was asked for

    @property
    def header_hash(self) -> bytes:
        """What a file header names it by beside its number: the first 4 bytes of a custom prior's hash."""
        return self.digest[:4] if self.number == CUSTOM else b""

    @property
    def betas(self) -> list[float]:
        return self.metadata["betas"]

    def operating_point(self, index: int, grey: bool = False) -> OperatingPoint:
        """An operating point, for colour or for grey pictures. Raises FormatError where there is none of this index."""
        if not 0 <= index < len(self.betas):
            raise FormatError(f"prior {self.name} has no operating point {index}")
        if (index, grey) not in self.points:
            point = self.operating_point(index).for_grey(self.architecture) if grey else self._unpack(index)
            self.points[index, grey] = point
        return self.points[index, grey]

    def _unpack(self, index):
        prefix = f"{index:02}."
        arrays = {k[len(prefix) :]: self.arrays[k] for k in self.arrays if k.startswith(prefix)}
        kl_index = in_turns(arrays.pop("kl"))
        merged = in_turns(arrays.pop("merged")) if "merged" in arrays else np.zeros((0, 4, kl_index.shape[1]), np.uint8)
        tables = kl_index, merged
        contexts = arrays.pop("contexts", ONE_CLASS)
        kl, scale = arrays.pop("modulation_kl", None), arrays.pop("modulation_scale", None)
        floats = {k: v.astype(np.float32) for k, v in arrays.items()}
        mean, posterior_scale = floats.pop("mean"), floats.pop("noise")
        widths = self.metadata["group_bits"], self.metadata["index_bits"]
        own = None if kl is None else Modulations(scale.astype(np.float32), kl)
        return OperatingPoint(self.betas[index], mean, posterior_scale, *tables, floats, *widths, contexts, own)


def by_component(table: np.ndarray, components: int) -> np.ndarray:
    """Columns whose colour components take turns, as prior files have them, which shrink by a tenth when compressed:
    (..., U) -> (..., components, U / components).
    """
    return table.reshape(*table.shape[:-1], table.shape[-1] // components, components).swapaxes(-1, -2)


def in_turns(table: np.ndarray) -> np.ndarray:
    """The inverse of `by_component`."""
    return table.swapaxes(-1, -2).reshape(*table.shape[:-2], -1)


def save(
    path: Path, metadata: dict, architecture: Architecture, points: list[OperatingPoint], dtype=np.float16
) -> None:
    """Write a prior file: floats in half precision, or, in a checkpoint, in single; `metadata` as JSON."""
    arrays = {}
    for i, point in enumerate(points):
        merged, kl_index = (by_component(table, architecture.components) for table in (point.merged, point.kl_index))
        tables = {"kl": kl_index, "merged": merged}
        if point.classes > 1:
            tables["contexts"] = point.contexts
        floats = {"mean": point.mean, "noise": point.posterior_scale, **pruned(architecture, point.shared)}
        if point.modulations:
            tables["modulation_kl"], floats["modulation_scale"] = point.modulations.kl_index, point.modulations.scale
        arrays |= {f"{i:02}.{name}": np.ascontiguousarray(t) for name, t in tables.items() if len(t)}
        arrays |= {f"{i:02}.{name}": value.astype(dtype) for name, value in floats.items()}
    metadata = {
        **metadata,
        "betas": [point.beta for point in points],
        "group_bits": points[0].group_bits,
        "index_bits": points[0].index_bits,
        "architecture": architecture.to_json(),
    }
    arrays["metadata"] = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        write_arrays(file, arrays)


def write_arrays(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """As `numpy.savez_compressed`, as small as that can be."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def parse(data: bytes, name: str, number: int = 0) -> Prior:
    """The prior of a file's bytes. Raises FormatError."""
    if not data.startswith(ARCHIVE):
        raise FormatError(f"{name}: not a prior file (.npz)")
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
    package = Path(__file__).parents[1]
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
    try:
        data = Path(path).read_bytes()
        prior = replace(parse(data, str(path), CUSTOM), name=Path(path).stem)
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}") from error
    for name, (_, digest) in MANIFEST.items():
        if digest == prior.digest.hex():
            return load(name)
    return prior


def find(name: "str | os.PathLike | Prior") -> Prior:
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
