"""Latents without bits, completed where tiles of two sizes meet (FORMAT.md, section 7, "Completion"). For numpy and for
torch.

Along the border between merged tiles and others basis functions jump, so even a smooth picture needs fine frequencies
there. They have no bits, and what they lack would be seen as small crosses. The field made smooth needs about the same
frequencies, and a decoder has that.

Shapes: as in architecture.py.
"""

from functools import cache

import numpy as np

from .architecture import Architecture
from .array import Array, Ops
from .borders import Borders
from .fields import Cosines

CELL = 4  # pixels along the side of the squares whose means make a smooth field
GROUP = 8  # cells along an axis that are interpolated at once


def completed(architecture: Architecture, latents: Array, merged: np.ndarray, ops: Ops, each=map) -> Array:
    """Those latents that are 0 as in the smooth field, the others as they are: (P, Rb, Cb, D), the same.

    each: as `Field.down` has it.
    """
    cosines = Cosines()
    borders = Borders.of(merged, architecture.tile)
    field = borders.mixed_across(cosines.rows(architecture, latents, merged, ops, each), ops)
    parted = borders.mixed_across(smooth(field, ops), ops, -1)
    return latents + (latents == 0) * cosines.rows_back(architecture, parted, merged, ops, each)


def smooth(field: Array, ops: Ops) -> Array:
    """Means of cells, each with its neighbours, and bilinear between their centres: (P, H, 3, W), the same."""
    pictures, height, colours, width = field.shape
    rows, columns = height // CELL, width // CELL
    of_rows = field.reshape(pictures, rows, CELL, colours, width).sum(2)
    means = of_rows.reshape(pictures, rows, colours, columns, CELL).sum(4) / CELL**2
    means = with_neighbours(with_neighbours(means, 1), 3)
    weights = ops.constant(between(), field)
    groups = part(means, 1, around(rows)).reshape(pictures, -1, GROUP + 2, colours * columns)
    tall = (weights @ groups).reshape(pictures, -1, colours, columns)[:, :height]
    wide = part(tall, 3, around(columns)) @ weights.swapaxes(0, 1)  # (P, H, 3, groups, pixels)
    return wide.reshape(pictures, height, colours, -1)[..., :width]


def with_neighbours(means: Array, axis: int) -> Array:
    """A quarter of each neighbour and half of the mean itself; those at the ends are repeated."""
    places = np.arange(means.shape[axis])
    before = np.maximum(places - 1, 0)
    after = np.minimum(places + 1, places[-1])
    neighbours = part(means, axis, before) + part(means, axis, after)
    return neighbours / 4 + means / 2


def part(values: Array, axis: int, places: np.ndarray) -> Array:
    """Values at some places along axis 1 or 3."""
    return values[:, places] if axis == 1 else values[..., places]


def around(count: int) -> np.ndarray:
    """Cells of each group and one more on either side, those at the ends repeated: (groups, GROUP + 2)."""
    firsts = np.arange(0, count, GROUP)
    places = np.add.outer(firsts, np.arange(-1, GROUP + 1))
    return np.clip(places, 0, count - 1)


@cache
def between() -> np.ndarray:
    """Shares of the cells `around` for the pixels of a group, which lie between their centres: (pixels, cells)."""
    place = (np.arange(GROUP * CELL) + 0.5) / CELL + 0.5
    return np.maximum(0, 1 - np.abs(np.subtract.outer(place, np.arange(GROUP + 2))))
