"""Large pictures are encoded and decoded band by band, so that memory does not grow with them. The format does not
depend on bands.

A band is some rows of blocks, or in wide pictures some columns of blocks, between a few of its neighbours'. In an
encoder the neighbours before it are as the file has them, those after it are free. A band settles the pixels that no
later band changes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .architecture import Architecture
from .rectangle import Rectangle

BAND_PIXELS = 2**23  # of whole blocks in a band, about: larger pictures have several
NEIGHBOURS = 64  # pixels of neighbours on either side, at least; a latent changes none further away than half of that
LOWEST = 3  # bands of fewer rows, in neighbours, would be computed three times over: columns are cut instead


@dataclass(frozen=True)
class Band:
    """A part of a picture, in blocks and in pixels."""

    blocks: Rectangle  # those that it codes
    around: Rectangle  # the same with their neighbours
    pixels: Rectangle  # those of `around` that the picture has
    settled: Rectangle  # pixels that no later band changes
    row: int  # blocks in a row of the picture

    def tiles(self, architecture: Architecture) -> Rectangle:
        """Tiles of all its blocks, neighbours' too; some may be beyond the picture."""
        return self.around.times(architecture.side)

    def coded_tiles(self, architecture: Architecture) -> Rectangle:
        """Tiles of the blocks that it codes; some may be beyond the picture."""
        return self.blocks.times(architecture.side)

    def coded_pixels(self, architecture: Architecture) -> Rectangle:
        """Pixels of the blocks that it codes."""
        return self.blocks.times(architecture.block).cropped(self.pixels)

    @property
    def coded(self) -> Rectangle:
        """The blocks that it codes, among all of the band's."""
        return self.blocks.within(self.around)

    @property
    def visible(self) -> Rectangle:
        """The pixels that it settles, among all of the band's."""
        return self.settled.within(self.pixels)

    @property
    def before(self) -> Rectangle:
        """Neighbours that bands before it have coded; none of the first."""
        rows = range(self.around.rows.start, self.blocks.rows.start)
        if rows:
            return Rectangle(rows, self.around.columns)
        columns = range(self.around.columns.start, self.blocks.columns.start)
        return Rectangle(self.around.rows, columns)

    @property
    def numbers(self) -> np.ndarray:
        """Number of each block, neighbours too, in the file: (rows, columns)."""
        rows = np.arange(self.around.rows.start, self.around.rows.stop)
        columns = np.arange(self.around.columns.start, self.around.columns.stop)
        return np.add.outer(rows * self.row, columns)

    def runs(self) -> Iterator[range]:
        """Numbers of all its blocks as ranges: one of a band of whole rows, otherwise one for each row."""
        rows, columns = self.around.rows, self.around.columns
        if len(columns) == self.row:
            yield range(rows.start * self.row, rows.stop * self.row)
            return
        for row in rows:
            first = row * self.row
            yield range(first + columns.start, first + columns.stop)


@dataclass(frozen=True)
class Stretch:
    """Rows or columns of a band; see there."""

    blocks: range
    around: range
    pixels: range
    settled: range


def bands(architecture: Architecture, height: int, width: int, pixels: int = BAND_PIXELS) -> list[Band]:
    """A picture of height x width pixels: one band, or several of about equal size, from top to bottom or from left to
    right; pixels: of a band, about.
    """
    tile = architecture.tile
    block = architecture.block
    shorter = min(height, width)
    if shorter < block:  # most of each block is beyond the picture, and yet has latents
        pixels = pixels * blocks_in(shorter, tile) * tile // block
    reach = max(NEIGHBOURS, 2 * (architecture.tile + architecture.margin))
    whole_height = max(height, block)
    whole_width = max(width, block)
    if whole_height * whole_width <= pixels:
        return [whole(architecture, height, width)]
    rows_at_once = pixels // (whole_width * block)
    if width > height and rows_at_once < LOWEST * blocks_in(reach, block):
        columns_at_once = pixels // (whole_height * block)
        rows = all_of(height, block)
        return [band(rows, columns, width, block) for columns in stretches(width, block, reach, columns_at_once)]
    columns = all_of(width, block)
    return [band(rows, columns, width, block) for rows in stretches(height, block, reach, rows_at_once)]


def whole(architecture: Architecture, height: int, width: int) -> Band:
    """The only band of a picture."""
    block = architecture.block
    return band(all_of(height, block), all_of(width, block), width, block)


def band(rows: Stretch, columns: Stretch, width: int, block: int) -> Band:
    """The band of some rows and columns of a picture of so many columns of pixels."""
    return Band(
        Rectangle(rows.blocks, columns.blocks),
        Rectangle(rows.around, columns.around),
        Rectangle(rows.pixels, columns.pixels),
        Rectangle(rows.settled, columns.settled),
        blocks_in(width, block),
    )


def all_of(length: int, block: int) -> Stretch:
    """So many pixels at once."""
    blocks = range(blocks_in(length, block))
    return Stretch(blocks, blocks, range(length), range(length))


def stretches(length: int, block: int, reach: int, at_once: int) -> list[Stretch]:
    """So many pixels in parts of about equal size; at_once: blocks of a part, neighbours included."""
    blocks = blocks_in(length, block)
    neighbours = blocks_in(reach, block)
    most = max(neighbours, at_once - 2 * neighbours)
    count = -(-blocks // most)
    cuts = [round(i * blocks / count) for i in range(count + 1)]
    found = []
    for first, end in pairwise(cuts):
        around = range(max(0, first - neighbours), min(blocks, end + neighbours))
        pixels = range(around.start * block, min(length, around.stop * block))
        settled_from = first * block - reach // 2 if first > 0 else 0
        settled_to = end * block - reach // 2 if end < blocks else length
        found.append(Stretch(range(first, end), around, pixels, range(settled_from, settled_to)))
    return found


def blocks_in(length: int, block: int) -> int:
    """Blocks, or tiles, that so many pixels begin."""
    return -(-length // block)
