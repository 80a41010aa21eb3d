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
from ..synthesis.squares import as_squares, place_in_square, square_sums

CHANNELS = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,)}  # a picture's last dimension by its mode
ACTIVE = 1.0  # bits of KL that make a hidden unit active


def unit_bits(architecture: Architecture, values: np.ndarray) -> list[np.ndarray]:
    """What the weights into and out of every hidden unit carry together: (B, D) -> one (B, units) for each layer.

    Biases count as weights into a unit. Only units with weights of both kinds in the file are looked at: units of
    shared layers, and cosines, which have no weights into them, are not.
    """
    if architecture.field.linear:
        return []
    maps = []
    for part in architecture.parts:
        of_layer = values[:, part.latents]  # a block is one tile here
        maps.append(of_layer.reshape(len(values), *part.shape))
    found = []
    for into, out_of in pairwise(maps):
        units = into.shape[2]
        found.append(into.sum(1) + out_of[:, :units].sum(2))
    return found


@dataclass(frozen=True)
class Shown:
    """Latents that are shown together: a layer of a SIREN, or the cosines of tiles of one size."""

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
            raise FormatError(f"{self.contents.kind}: there is nothing to look into")
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
        coded = self.lengths > 0
        return kl_table()[self.indices] * coded[:, None] / COST_PER_BIT

    @cached_property
    def bits(self) -> np.ndarray:
        """Every latent's share of its block's stream, in bits: (B, D)."""
        total = self.costs.sum(1)
        bits_per_cost = self.lengths / np.where(total > 0, total, 1)
        return self.costs * bits_per_cost[:, None]

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
        point = self.point
        if point.classes == 1:
            return np.zeros(self.plane.classes.shape)
        classes = self.plane.classes.astype(np.uint8)
        ideal = classmap.bits(classes, point.contexts, point.single)
        return ideal * (self.plane.class_map_bits / ideal.sum())

    def group_sums(self, values: np.ndarray) -> np.ndarray:
        """Sum over the latents of every group: (B, D) -> (G,)."""
        groups = self.groups
        count = len(groups.dims)
        group = np.repeat(np.arange(count), groups.dims)
        coded = values[groups.owners, groups.latents]
        return np.bincount(group, coded, count)

    @cached_property
    def merged(self) -> np.ndarray:
        """Tiles that are part of a merged one: (Rt, Ct) bool."""
        return self.plane.classes >= self.point.single

    @cached_property
    def levels(self) -> list[Shown]:
        """What the latents are shown by: the layers of a SIREN, or cosines by size of tile."""
        tile = self.architecture.tile
        parts = self.architecture.parts
        if not self.architecture.field.linear:
            everywhere = np.ones(self.merged.shape, bool)
            return [Shown(part.name, part, tile, everywhere) for part in parts]
        found = []
        for side, where in ((tile, ~self.merged), (2 * tile, self.merged)):
            if where.any():
                found.append(Shown(f"layer 0, cosines of {side} x {side}", parts[0], side, where))
        return found

    def cells(self, level: Shown, values: np.ndarray) -> np.ndarray:
        """The latents of a level's tiles, four to a merged one: (B, D) -> (cells, latents)."""
        of_tiles = self._by_tile(values)[level.where]
        return of_tiles[:, level.part.latents]

    def _by_tile(self, values: np.ndarray) -> np.ndarray:
        """(B, D) -> (Rt, Ct, latents of a tile)."""
        of_blocks = values.reshape(1, *self.plane.grid, -1)
        rows, columns = self.merged.shape
        return tiles_of(self.architecture, of_blocks)[0, :rows, :columns]

    def parameter_map(self, level: Shown, values: np.ndarray) -> np.ndarray:
        """Mean over the tiles of a level: (B, D) -> the shape of a tile's latents."""
        if level.side == self.architecture.tile:
            return self.cells(level, values).mean(0).reshape(level.part.shape)
        n, _, colours = level.part.shape
        means = np.empty((n, 2, n, 2, colours))
        place = place_in_square(*self.merged.shape)
        for row in range(2):
            for column in range(2):
                corner = place == 2 * row + column
                of_corner = replace(level, where=level.where & corner)
                mean = self.cells(of_corner, values).mean(0)
                means[:, row, :, column] = mean.reshape(n, n, colours)
        return means.reshape(2 * n, 2 * n, colours)

    def tile_map(self, values: np.ndarray) -> np.ndarray:
        """Sum over the latents of every tile; a merged one's is spread evenly over its four: (B, D) -> (Rt, Ct)."""
        return self._spread(self._by_tile(values).sum(2))

    def _spread(self, values: np.ndarray) -> np.ndarray:
        """What merged tiles have, spread evenly over their four: (Rt, Ct), the same."""
        shape = (1, *values.shape)
        means = square_sums(values[None]) / 4
        return np.where(self.merged, as_squares(means, shape)[0], values)

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
            "layer": self.contents.layer.length if self.contents.layer else 0,
        }
        file = 8 * len(self.data)
        return {**totals, "padding": file - sum(totals.values()), "file": file}


def size_of(shape: Sequence[int]) -> str:
    """A picture's shape in words."""
    mode = next(mode for mode, channels in CHANNELS.items() if channels == tuple(shape[2:]))
    return f"{shape[1]} x {shape[0]}, {WORDS.get(mode, mode)}"
