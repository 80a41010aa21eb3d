"""A prior file: architecture and operating points in one .npz without pickles, read and written (FORMAT.md, section 8).

    metadata, JSON                  architecture, betas, group and index width, and how it was trained
    NN.kl NN.merged NN.contexts     integer tables of operating point NN
    NN.mean NN.noise NN.w1 NN.b1 …  floats of it, half precision

A shipped prior is opened for every file that is decoded: nothing is unpacked before it is asked for.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import FormatError
from ..synthesis.architecture import Architecture, pruned
from ..synthesis.pyramid import COLOURS, kind_count
from ..whole import whole_file
from . import archive, prior_check
from .classmap import ONE_CLASS
from .header import CUSTOM, USUAL_BITS
from .operating_point import Modulations, OperatingPoint


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
    index_bits: int | None = None  # L of the files that it is for; None: as metadata have it
    points: dict[tuple[int, bool], OperatingPoint] = field(default_factory=dict, repr=False)  # what was asked for
    of_widths: dict[int, "Prior"] = field(default_factory=dict, repr=False)  # the same prior, by L
    unpacked: dict[int, OperatingPoint] = field(default_factory=dict, repr=False)  # for all of these

    @property
    def header_hash(self) -> bytes:
        """What a file header names it by beside its number: the first 4 bytes of a custom prior's hash."""
        return self.digest[:4] if self.number == CUSTOM else b""

    @property
    def betas(self) -> list[float]:
        """One for each operating point."""
        return self.metadata["betas"]

    def of_width(self, index_bits: int) -> "Prior":
        """The same for files of an index width: with it go the bits that a group adds."""
        if index_bits not in self.of_widths:
            self.of_widths[index_bits] = replace(self, index_bits=index_bits, points={})
        return self.of_widths[index_bits]

    @property
    def shifts(self) -> np.ndarray:
        """`OperatingPoint.shifts` of all points: (points, kinds - 1, 3) int64."""
        kinds = kind_count(self.architecture.pyramid) - 1
        listed = self.metadata["kind_costs"] if kinds else []
        return np.array(listed, np.int64).reshape(len(self.betas), kinds, COLOURS)

    @property
    def chained(self) -> bool:
        """Whether indices overlap."""
        return self.group_bits < self.metadata["index_bits"]

    @property
    def group_bits(self) -> int:
        """Bits that a group adds to its block's stream."""
        found = self.metadata["group_bits"]
        if isinstance(found, int):
            return found
        index_bits = self.index_bits or self.metadata["index_bits"]
        place = (index_bits - USUAL_BITS[0]) // 2
        return found[min(max(0, place), len(found) - 1)]

    def operating_point(self, index: int, grey: bool = False) -> OperatingPoint:
        """An operating point, for colour or for grey pictures. Raises FormatError where there is none of this index."""
        if not 0 <= index < len(self.betas):
            raise FormatError(f"prior {self.name} has no operating point {index}")
        if (index, grey) not in self.points:
            if grey:
                point = self.operating_point(index).for_grey(self.architecture)
            else:
                if index not in self.unpacked:
                    self.unpacked[index] = self._unpack(index)
                point = replace(self.unpacked[index], group_bits=self.group_bits)
            self.points[index, grey] = point
        return self.points[index, grey]

    def _unpack(self, index):
        prefix = f"{index:02}."
        tables = {name.removeprefix(prefix): self.arrays[name] for name in self.arrays if name.startswith(prefix)}
        kl_index = in_turns(tables["kl"])
        if "merged" in tables:
            merged = in_turns(tables["merged"])
        else:
            merged = np.zeros((0, 4, kl_index.shape[1]), np.uint8)
        modulations = None
        if "modulation_kl" in tables:
            modulations = Modulations(tables["modulation_scale"].astype(np.float32), tables["modulation_kl"])
        return OperatingPoint(
            beta=self.betas[index],
            mean=tables["mean"].astype(np.float32),
            posterior_scale=tables["noise"].astype(np.float32),
            kl_index=kl_index,
            merged=merged,
            shared={name: table.astype(np.float32) for name, table in tables.items() if is_shared(name)},
            group_bits=self.group_bits,
            index_bits=self.metadata["index_bits"],
            contexts=tables.get("contexts", ONE_CLASS),
            modulations=modulations,
            shifts=self.shifts[index],
        )


def is_shared(name: str) -> bool:
    """Whether a table of an operating point holds weights or biases of a shared layer: w1, b1, w2, …"""
    return name[0] in "wb" and name[1:].isdigit()


def open_released(data: bytes, name: str, number: int, digest: bytes) -> Prior:
    """The prior of a file that is known by its digest: nothing is checked, nor unpacked before it is asked for."""
    arrays = np.load(io.BytesIO(data), allow_pickle=False)
    metadata = json.loads(bytes(arrays["metadata"]))
    architecture = Architecture.from_json(metadata["architecture"])
    return Prior(name, number, digest, metadata, architecture, data, arrays)


def parse(data: bytes, name: str, number: int = CUSTOM) -> Prior:
    """The prior of any other file, checked as a whole and unpacked. Raises FormatError."""
    if not data.startswith(archive.SIGNATURE):
        raise FormatError(f"{name}: not a prior file (.npz)")
    try:
        arrays = archive.read_arrays(data, prior_check.UNPACKED)
        metadata = prior_check.read_metadata(arrays)
        architecture = prior_check.read_architecture(metadata.get("architecture"))
        prior_check.check_members(arrays, architecture, len(metadata["betas"]))
        prior_check.check_kind_costs(metadata, architecture)
    except FormatError as error:
        raise FormatError(f"{name}: not a prior file ({error})") from error
    return Prior(name, number, hashlib.sha256(data).digest(), metadata, architecture, data, arrays)


def save(path: Path, metadata: dict, architecture: Architecture, points: list[OperatingPoint]) -> None:
    """Write a prior file; `metadata` as JSON. Group bits are the points', unless these list some for index widths."""
    arrays = {}
    for i, point in enumerate(points):
        for name, table in members(point, architecture).items():
            arrays[f"{i:02}.{name}"] = table
    group_bits = metadata.get("group_bits")
    metadata = {
        **metadata,
        "betas": [point.beta for point in points],
        "group_bits": group_bits if isinstance(group_bits, list) else points[0].group_bits,
        "index_bits": points[0].index_bits,
        "kind_costs": [point.shifts.tolist() for point in points],
        "architecture": architecture.to_json(),
    }
    arrays["metadata"] = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        write_arrays(file, arrays)


def members(point: OperatingPoint, architecture: Architecture) -> dict[str, np.ndarray]:
    """Tables of an operating point as a file holds them, floats in half precision."""
    integers = {"kl": by_component(point.kl_index, architecture.components)}
    if len(point.merged):
        integers["merged"] = by_component(point.merged, architecture.components)
    if point.classes > 1:
        integers["contexts"] = point.contexts
    floats = {"mean": point.mean, "noise": point.posterior_scale}
    floats |= pruned(architecture, point.shared)
    if point.modulations:
        integers["modulation_kl"] = point.modulations.kl_index
        floats["modulation_scale"] = point.modulations.scale
    tables = {name: np.ascontiguousarray(table) for name, table in integers.items()}
    for name, table in floats.items():
        tables[name] = table.astype(np.float16)
    return tables


def by_component(table: np.ndarray, components: int) -> np.ndarray:
    """Columns whose colour components take turns, as prior files have them, which shrink by a tenth when compressed:
    (..., U) -> (..., components, U / components).
    """
    *rows, columns = table.shape
    turns = table.reshape(*rows, columns // components, components)
    return turns.swapaxes(-1, -2)


def in_turns(table: np.ndarray) -> np.ndarray:
    """The inverse of `by_component`."""
    *rows, components, turns = table.shape
    return table.swapaxes(-1, -2).reshape(*rows, turns * components)


def write_arrays(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """As `numpy.savez_compressed`, as small as that can be."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as written:
        for name, array in arrays.items():
            with written.open(f"{name}{archive.SUFFIX}", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
