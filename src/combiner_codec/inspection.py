"""Where a file's bits went: by layer, level, group, tile and parameter (`combiner inspect`). numpy only.

Some figures follow from the file and its prior alone; those of KL need the posterior that its encoder fitted. A stream
has a length, but a bit of it has no owner: one bit helps to choose several groups. So a block's bits are shared among
its latents in proportion to what the prior expects each to cost (the integers of FORMAT.md, section 5). Shapes:
Rt x Ct tiles, B blocks with D latents each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from . import classmap, codec
from .codec import Contents
from .errors import FormatError
from .fitted import Fitted
from .image import psnr
from .inr import Architecture
from .prior import UNIT, Partition, kl_table

ACTIVE = 1.0  # bits of KL that make a hidden unit active
EQUAL = 100.0  # dB of equal pictures


@dataclass(frozen=True)
class Part:
    """Latents of a block that belong together: one stored layer of a SIREN, or one level of cosines."""

    layer: int  # number in the architecture
    name: str
    start: int  # first of its latents in a block
    hop: int  # pixels along the side of one of its tiles
    repeats: int  # its tiles along the side of a block
    shape: tuple[int, ...]  # latents of one tile: (inputs, and one row of biases; outputs) or (v, h, colour)

    @property
    def latents(self) -> slice:
        """Its place among the latents of a block."""
        return slice(self.start, self.start + self.repeats**2 * int(np.prod(self.shape)))


def parts_of(architecture: Architecture) -> list[Part]:
    """All parts, in the order of a block's latents."""
    parts, start = [], 0
    if architecture.features == "cosine":
        for i, grid in enumerate(architecture.grids):
            name = f"layer 0, {'coarse level' if i else 'tiles'} of {grid.hop} x {grid.hop}"
            shape = (grid.keep, grid.keep, 3)
            parts.append(Part(0, name, start, grid.hop, architecture.repeats(grid), shape))
            start = parts[-1].latents.stop
        return parts
    for i, layer in enumerate(architecture.stored):
        name = f"layer {i}, {layer.kind} {layer.inputs} to {layer.outputs}"
        parts.append(Part(i, name, start, architecture.tile, 1, (layer.inputs + layer.bias, layer.outputs)))
        start = parts[-1].latents.stop
    return parts


def unit_bits(architecture: Architecture, values: np.ndarray) -> list[np.ndarray]:
    """What the weights into and out of every hidden unit carry together: (B, D) -> one (B, units) for each layer.

    Biases count as weights into a unit. Only units with weights of both kinds in the file are looked at: units of
    shared layers, and cosines, which have no weights into them, are not.
    """
    if architecture.features == "cosine":
        return []
    maps = [values[:, part.latents].reshape(len(values), *part.shape) for part in parts_of(architecture)]
    return [a.sum(1) + b[:, : a.shape[2]].sum(2) for a, b in pairwise(maps)]


@dataclass(frozen=True)
class Inspection:
    """A file, and where given, its encoder's posterior and the original."""

    data: bytes
    contents: Contents
    fitted: Fitted | None = None
    original: np.ndarray | None = None  # (H, W) or (H, W, 3) uint8

    def __post_init__(self):
        header = self.contents.header
        shape = (header.height, header.width) + (() if header.grey else (3,))
        if self.original is not None and self.original.shape != shape:
            raise FormatError(f"the original is {_size(self.original.shape)}, the file holds {_size(shape)}")

    @property
    def architecture(self) -> Architecture:
        return self.contents.prior.architecture

    @cached_property
    def parts(self) -> list[Part]:
        return parts_of(self.architecture)

    @cached_property
    def indices(self) -> np.ndarray:
        """KL indices of all blocks: (B, D) uint8."""
        blocks = self.contents.blocks
        return self.contents.level.block_kl(self.architecture, blocks.reshape(-1, *blocks.shape[2:]))

    @cached_property
    def groups(self) -> Partition:
        """All groups, and the latents of each."""
        return self.contents.level.partition(self.indices)

    @cached_property
    def costs(self) -> np.ndarray:
        """What the prior expects every coded latent to cost, its average KL over training, in bits: (B, D)."""
        return kl_table()[self.indices] * (self.contents.lengths > 0)[:, None] / UNIT

    @cached_property
    def bits(self) -> np.ndarray:
        """Every latent's share of its block's stream, in bits: (B, D)."""
        total = self.costs.sum(1, keepdims=True)
        return self.costs * (self.contents.lengths[:, None] / np.where(total > 0, total, 1))

    @cached_property
    def kl(self) -> np.ndarray | None:
        """KL of the posterior per latent, in bits: (B, D)."""
        if self.fitted is None:
            return None
        value = self.fitted.kl_bits()
        if value.shape != self.costs.shape:
            raise FormatError(f"a posterior of {value.shape} latents, the file has {self.costs.shape}")
        return value

    @cached_property
    def class_bits(self) -> np.ndarray:
        """What every tile's class costs; the sum is what the class map takes: (Rt, Ct)."""
        classes, level = self.contents.classes, self.contents.level
        total = len(codec.write_classes(classes, level))
        if level.contexts is None or not total:
            return np.full(classes.shape, total / classes.size)
        each = classmap.bits(classes.astype(np.uint8), level.contexts)
        return each * (total / each.sum())

    def group_sums(self, values: np.ndarray) -> np.ndarray:
        """Sum over the latents of every group: (B, D) -> (G,)."""
        row = np.repeat(np.arange(len(values)), np.diff(self.groups.blocks))
        group = np.repeat(np.arange(len(self.groups.dims)), self.groups.dims)
        return np.bincount(group, values[row, self.groups.latents], len(self.groups.dims))

    def of_part(self, part: Part, values: np.ndarray) -> np.ndarray:
        """One part's tiles in rows and columns: (B, D) -> (rows, columns, *part.shape)."""
        rows, columns = self.contents.blocks.shape[:2]
        n = part.repeats
        x = values[:, part.latents].reshape(rows, columns, n, n, *part.shape).swapaxes(1, 2)
        return x.reshape(rows * n, columns * n, *part.shape)

    def parameter_map(self, part: Part, values: np.ndarray) -> np.ndarray:
        """Mean over the tiles of one part, those beyond the picture left out: (B, D) -> part.shape."""
        header = self.contents.header
        rows, columns = -(-header.height // part.hop), -(-header.width // part.hop)
        return self.of_part(part, values).sum((0, 1)) / (rows * columns)

    def tile_map(self, values: np.ndarray) -> np.ndarray:
        """Sum over the latents of every tile; those of coarser levels are spread evenly: (B, D) -> (Rt, Ct)."""
        rows, columns = self.contents.classes.shape
        total = np.zeros((rows, columns))
        for part in self.parts:
            n = part.hop // self.architecture.tile
            above = self.of_part(part, values)
            above = above.reshape(*above.shape[:2], -1).sum(2)
            owner = np.ix_(np.arange(rows) // n, np.arange(columns) // n)
            inside = -(-rows // n), -(-columns // n)
            held = np.zeros(inside)  # coarser tiles beyond the picture count for the nearest within it
            place = [np.minimum(np.arange(a), b - 1) for a, b in zip(above.shape, inside, strict=True)]
            np.add.at(held, np.ix_(*place), above)
            covered = np.zeros(inside)
            np.add.at(covered, owner, 1)
            total += (held / covered)[owner]
        return total

    @cached_property
    def tile_bits(self) -> np.ndarray:
        """Bits of every tile, its class and its share of coarser levels included: (Rt, Ct)."""
        return self.tile_map(self.bits) + self.class_bits

    @cached_property
    def decoded(self) -> np.ndarray:
        return codec.decode_array(self.data, self.contents.prior)

    @property
    def psnr(self) -> float:
        """dB against the original, 100 for equal pictures."""
        return min(psnr(self.original, self.decoded), EQUAL)

    @property
    def hidden_units(self) -> int:
        """Hidden units whose weights are in the file, per tile."""
        return sum(layer.outputs for layer in self.architecture.stored[:-1])

    def active_units(self, values: np.ndarray) -> np.ndarray:
        """Hidden units that carry at least ACTIVE bits, for each block: (B, D) -> (B,)."""
        return sum((bits >= ACTIVE).sum(1) for bits in unit_bits(self.architecture, values))

    @cached_property
    def totals(self) -> dict[str, int]:
        """Bits of the file; they add up to its size."""
        header = 8 * self.contents.header_bytes
        side, streams = round(self.class_bits.sum()), int(self.contents.lengths.sum())
        everything = 8 * len(self.data)
        return {
            "header": header,
            "class_map": side,
            "streams": streams,
            "padding": everything - header - side - streams,
            "file": everything,
        }

    def facts(self) -> dict:
        """Everything as plain data. Figures of KL are null without a posterior, those of pixels without an original."""
        contents, header = self.contents, self.contents.header
        return {
            "width": header.width,
            "height": header.height,
            "colour": "grey" if header.grey else "RGB",
            "bytes": len(self.data),
            "bpp": round(8 * len(self.data) / (header.width * header.height), 4),
            "prior": contents.prior.name,
            "operating_point": header.point,
            "beta": contents.level.beta,
            "bits": self.totals,
            "parts": [self._part_facts(part) for part in self.parts],
            "groups": {
                "bits_each": contents.level.group_bits,
                "block": np.repeat(np.arange(len(self.groups.counts)), self.groups.counts).tolist(),
                "latents": self.groups.dims.tolist(),
                "prior_kl_bits": _plain(self.group_sums(self.costs)),
                "kl_bits": self._of_posterior(self.group_sums),
            },
            "tiles": {
                "side": self.architecture.tile,
                "class": contents.classes.tolist(),
                "bits": _plain(self.tile_bits),
                "class_bits": _plain(self.class_bits),
                "kl_bits": self._of_posterior(self.tile_map),
            },
            "hidden_units": {
                "counted": self.hidden_units,
                "active_in_prior": self.active_units(self.costs).tolist() if self.hidden_units else None,
                "active_in_posterior": self._of_posterior(self.active_units) if self.hidden_units else None,
            },
            "psnr": None if self.original is None else round(self.psnr, 4),
        }

    def _part_facts(self, part: Part) -> dict:
        def total(values):
            return round(float(values[:, part.latents].sum()), 3)

        return {
            "name": part.name,
            "layer": part.layer,
            "tile": part.hop,
            "latents": self.costs[:, part.latents].size,
            "coded": int(np.count_nonzero(self.costs[:, part.latents])),
            "bits": total(self.bits),
            "prior_kl_bits": total(self.costs),
            "kl_bits": None if self.kl is None else total(self.kl),
        }

    def _of_posterior(self, figure):
        return None if self.kl is None else _plain(figure(self.kl))

    def text(self) -> str:
        """The report, without maps."""
        return "\n".join([*self._budget(), "", *self._spread(), "", *self._units(), "", *self._sources()]) + "\n"

    def _budget(self) -> list[str]:
        header, level, totals = self.contents.header, self.contents.level, self.totals
        pixels = header.width * header.height
        parts = [(part.name, self._part_facts(part)) for part in self.parts]
        rows = [("header and checksum", {"bits": totals["header"]}), ("class map", {"bits": totals["class_map"]})]
        rows += [*parts, ("padding", {"bits": totals["padding"]})]
        last = {name: sum(row[name] for _, row in parts) for name in ("latents", "coded")}
        last |= {
            "bits": totals["file"],
            "kl_bits": None if self.kl is None else sum(row["kl_bits"] for _, row in parts),
        }
        columns = ["latents", "coded", "bits", "of file", "bpp", *([] if self.kl is None else ["KL, bits"])]
        lines = [
            f"{header.width} x {header.height}, {'grey' if header.grey else 'RGB'}, prior {self.contents.prior.name}, "
            f"operating point {header.point} (beta {level.beta:g}), {len(self.data)} bytes, "
            f"{8 * len(self.data) / pixels:.3f} bpp",
            "",
            f"{'':34}" + "".join(f"{name:>10}" for name in columns),
        ]
        for name, row in [*rows, ("file", last)]:
            cells = [row.get("latents", ""), row.get("coded", ""), round(row["bits"])]
            cells += [f"{row['bits'] / totals['file']:.1%}", f"{row['bits'] / pixels:.4f}"]
            cells += [] if self.kl is None else ["" if row.get("kl_bits") is None else round(row["kl_bits"])]
            lines.append((f"{name:34}" + "".join(f"{cell:>10}" for cell in cells)).rstrip())
        shared = len(self.architecture.layers) - len(self.architecture.stored)
        return lines + ([f"{shared} more layers are shared: they come with the prior"] if shared else [])

    def _spread(self) -> list[str]:
        level, tile = self.contents.level, self.architecture.tile
        figures = [("streams, bits each", self.contents.lengths), ("groups, latents each", self.groups.dims)]
        if self.kl is not None:
            figures.append((f"groups, KL each ({level.group_bits} bits)", self.group_sums(self.kl)))
        figures.append((f"tiles of {tile} x {tile}, bits each", self.tile_bits.reshape(-1)))
        if self.kl is not None:
            figures.append((f"tiles of {tile} x {tile}, KL each", self.tile_map(self.kl).reshape(-1)))
        lines = [f"{'':34}{'count':>10}{'least':>10}{'median':>10}{'mean':>10}{'most':>10}"]
        for name, x in figures:
            if len(x):
                values = (x.min(), np.median(x), x.mean(), x.max())
                lines.append(f"{name:34}{len(x):>10}" + "".join(f"{value:>10.1f}" for value in values))
        return lines

    def _units(self) -> list[str]:
        enough = [("in the prior", self.costs)] + ([] if self.kl is None else [("in this posterior", self.kl)])
        shown = ", ".join(f"{(x >= ACTIVE).sum()} {name}" for name, x in enough)
        lines = [f"latents of at least 1 bit: {shown}, of {self.costs.size}"]
        if not self.hidden_units:
            return [*lines, "active hidden units: none are counted, their weights are shared"]
        shown = ", ".join(f"{_range(self.active_units(x))} {name}" for name, x in enough)
        return [*lines, f"active hidden units: {shown}, of {self.hidden_units}"]

    def _sources(self) -> list[str]:
        lines = [
            "from the file and its prior: all figures" + ("" if self.kl is None else " but those of KL and posterior")
        ]
        if self.kl is None:
            lines.append("KL and the posterior's active units need --posterior (encode --save-posterior)")
        else:
            share = self.kl.sum() / max(1, self.totals["streams"])
            lines.append(f"from the posterior: KL of {self.kl.sum():.0f} bits, {share:.3f} of the streams' bits")
        if self.original is not None:
            lines.append(f"from the original: PSNR {self.psnr:.2f} dB")
        return lines


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]} x {shape[0]}, {'grey' if len(shape) == 2 else 'RGB'}"


def _range(counts: np.ndarray) -> str:
    low, high = counts.min(), counts.max()
    return str(low) if low == high else f"{low} to {high} a tile (mean {counts.mean():.1f})"


def _plain(values: np.ndarray):
    return np.round(values, 4).tolist()
