"""Where a file's bits went: by layer, level, group, tile and parameter (`combiner inspect`). numpy only.

Some figures follow from the file and its prior alone; those of KL need the posterior that its encoder fitted. A stream
has a length, but a bit of it has no owner: one bit helps to choose several groups. So a block's bits are shared among
its latents in proportion to what the prior expects each to cost (the integers of FORMAT.md, section 5). Shapes:
Rt x Ct tiles, B blocks with D latents each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from ..decoder import Contents, decode_array
from ..encoder.choose.tiling import squares
from ..encoder.fit.saved import SavedPosterior
from ..errors import FormatError
from ..format import classmap
from ..format.header import WORDS
from ..format.plane import InrPlane
from ..format.prior import OperatingPoint
from ..format.streams import COST_PER_BIT, Partition, kl_table
from ..picture.image import EQUAL, psnr
from ..synthesis.architecture import Architecture
from ..synthesis.fields import Part, tiles_of

CHANNELS = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,)}  # a picture's last dimension by its mode
ACTIVE = 1.0  # bits of KL that make a hidden unit active


def unit_bits(architecture: Architecture, values: np.ndarray) -> list[np.ndarray]:
    """What the weights into and out of every hidden unit carry together: (B, D) -> one (B, units) for each layer.

    Biases count as weights into a unit. Only units with weights of both kinds in the file are looked at: units of
    shared layers, and cosines, which have no weights into them, are not.
    """
    if architecture.field.linear:
        return []
    maps = [values[:, part.latents].reshape(len(values), *part.shape) for part in architecture.parts]  # side is 1
    return [a.sum(1) + b[:, : a.shape[2]].sum(2) for a, b in pairwise(maps)]


@dataclass(frozen=True)
class Level:
    """Latents that are shown together."""

    name: str
    part: Part
    side: int  # pixels along the side of a tile
    where: np.ndarray  # (Rt, Ct) bool, the tiles that have them


@dataclass(frozen=True)
class Inspection:
    """A file, and where given, its encoder's posterior and the original. Of alpha only the bits are told."""

    data: bytes
    contents: Contents
    fitted: SavedPosterior | None = None
    original: np.ndarray | None = None  # uint8, of the shape that the file shows

    def __post_init__(self):
        header = self.contents.header
        if not isinstance(self.contents.colour, InrPlane):
            raise FormatError("a picture of one colour: there is nothing to look into")
        shape = (header.height, header.width) + CHANNELS[header.mode]
        if self.original is not None and self.original.shape != shape:
            raise FormatError(f"the original is {size_of(self.original.shape)}, the file holds {size_of(shape)}")

    @property
    def plane(self) -> InrPlane:
        """The picture's colour."""
        return self.contents.colour

    @property
    def point(self) -> OperatingPoint:
        return self.plane.point

    @property
    def architecture(self) -> Architecture:
        return self.plane.architecture

    @property
    def lengths(self) -> np.ndarray:
        """Bits of every block's stream: (B,)."""
        return self.plane.blocks.lengths

    @cached_property
    def indices(self) -> np.ndarray:
        """KL indices of all blocks: (B, D) uint8."""
        return self.plane.blocks.kl_index()

    @cached_property
    def groups(self) -> Partition:
        """All groups, and the latents of each."""
        return self.point.partition(self.indices)

    @cached_property
    def costs(self) -> np.ndarray:
        """What the prior expects every coded latent to cost, its average KL over training, in bits: (B, D)."""
        return kl_table()[self.indices] * (self.lengths > 0)[:, None] / COST_PER_BIT

    @cached_property
    def bits(self) -> np.ndarray:
        """Every latent's share of its block's stream, in bits: (B, D)."""
        total = self.costs.sum(1, keepdims=True)
        return self.costs * (self.lengths[:, None] / np.where(total > 0, total, 1))

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
        classes, point = self.plane.classes, self.point
        if point.classes == 1:
            return np.zeros(classes.shape)
        each = classmap.bits(classes.astype(np.uint8), point.contexts, point.single)
        return each * (len(classmap.encode(classes.astype(np.uint8), point.contexts, point.single)) / each.sum())

    def group_sums(self, values: np.ndarray) -> np.ndarray:
        """Sum over the latents of every group: (B, D) -> (G,)."""
        row = np.repeat(np.arange(len(values)), np.diff(self.groups.blocks))
        group = np.repeat(np.arange(len(self.groups.dims)), self.groups.dims)
        return np.bincount(group, values[row, self.groups.latents], len(self.groups.dims))

    @cached_property
    def merged(self) -> np.ndarray:
        """Tiles that are part of a merged one: (Rt, Ct) bool."""
        return self.plane.classes >= self.point.single

    @cached_property
    def levels(self) -> list[Level]:
        """What the latents are shown by: the layers of a SIREN, or cosines by size of tile."""
        everywhere = np.ones(self.merged.shape, bool)
        if not self.architecture.field.linear:
            return [Level(part.name, part, self.architecture.tile, everywhere) for part in self.architecture.parts]
        part, sides = self.architecture.parts[0], (self.architecture.tile, 2 * self.architecture.tile)
        found = zip(sides, (~self.merged, self.merged), strict=True)
        return [Level(f"layer 0, cosines of {n} x {n}", part, n, own) for n, own in found if own.any()]

    def cells(self, level: Level, values: np.ndarray) -> np.ndarray:
        """The latents of a level's tiles, four to a merged one: (B, D) -> (cells, latents)."""
        tiles = tiles_of(self.architecture, values.reshape(1, *self.plane.grid, -1))[0]
        rows, columns = self.merged.shape
        return tiles[:rows, :columns][level.where][:, level.part.latents]

    def parameter_map(self, level: Level, values: np.ndarray) -> np.ndarray:
        """Mean over the tiles of a level: (B, D) -> the shape of a tile's latents."""
        if level.side == self.architecture.tile:
            return self.cells(level, values).mean(0).reshape(level.part.shape)
        corners = np.indices((2, 2)).reshape(2, 4).T
        own = [replace(level, where=level.where & self._corner(*corner)) for corner in corners]
        means = np.stack([self.cells(one, values).mean(0).reshape(level.part.shape) for one in own])
        n, _, colours = level.part.shape
        return means.reshape(2, 2, n, n, colours).transpose(2, 0, 3, 1, 4).reshape(2 * n, 2 * n, colours)

    def _corner(self, row, column):
        r, c = np.indices(self.merged.shape) % 2
        return (r == row) & (c == column)

    def tile_map(self, values: np.ndarray) -> np.ndarray:
        """Sum over the latents of every tile; a merged one's is spread evenly over its four: (B, D) -> (Rt, Ct)."""
        rows, columns = self.merged.shape
        total = tiles_of(self.architecture, values.reshape(1, *self.plane.grid, -1))[0].sum(2)[:rows, :columns]
        return self._spread(total)

    def _spread(self, values):
        mean = squares(values[None])[0].repeat(2, 0).repeat(2, 1)[: values.shape[0], : values.shape[1]] / 4
        return np.where(self.merged, mean, values)

    @cached_property
    def tile_bits(self) -> np.ndarray:
        """Bits of every tile, its class included: (Rt, Ct)."""
        return self.tile_map(self.bits) + self._spread(self.class_bits)

    @cached_property
    def decoded(self) -> np.ndarray:
        """The picture that the file holds: (H, W) or (H, W, 2 to 4) uint8."""
        return decode_array(self.data, self.contents.prior)

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
        parts = self.plane.parts
        totals = {
            "header": 8 * self.contents.header_bytes,
            "class_map": parts["class_map"] + parts["modulated"],
            "modulations": parts.get("modulations", 0),
            "streams": parts["streams"],
            "alpha": self.contents.alpha.length if self.contents.alpha else 0,
        }
        file = 8 * len(self.data)
        return {**totals, "padding": file - sum(totals.values()), "file": file}


def size_of(shape: Sequence[int]) -> str:
    """A picture's shape in words."""
    mode = next(mode for mode, channels in CHANNELS.items() if channels == tuple(shape[2:]))
    return f"{shape[1]} x {shape[0]}, {WORDS.get(mode, mode)}"
