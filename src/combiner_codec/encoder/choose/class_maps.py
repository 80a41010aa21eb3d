"""Classes that make a picture cheap together with their map (format/classmap.py). Needs torch.

Shapes: P pictures of Rt x Ct tiles, or one of rows x cols; K classes, those from `single` on of merged tiles. Costs of
a merged tile stand at the first of its four, are 0 at the others, and infinite for classes that a tile cannot have.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ...format import classmap
from ...format.operating_point import OperatingPoint
from ...synthesis.squares import begins, cells, first_of_square


def cheapest(point: OperatingPoint, costs: np.ndarray, beta: float) -> np.ndarray:
    """Classes that minimise costs and class maps together: (P, Rt, Ct, K) -> (P, Rt, Ct) int64."""
    if point.classes == 1:
        return np.zeros(costs.shape[:-1], np.int64)
    bits = costs / (beta * np.log(2))
    maps = [choose_map(tile_bits, point.contexts, point.single) for tile_bits in bits]
    return np.stack(maps).astype(np.int64)


def choose_map(tile_bits: np.ndarray, tables: np.ndarray, single: int, sweeps: int = 2) -> np.ndarray:
    """Classes that make a picture cheap: bits of each tile in each class (rows, cols, K) -> (rows, cols) uint8.

    A first map tile after tile, then sweeps that change one tile in four at a time, and one merged tile in four: none
    of those affects the cost of another. No step makes tiles and map together dearer, frequencies counted as unrounded.
    """
    merged = np.isinf(tile_bits[..., 0])
    _, row, column = cells(merged[None])  # (S, 4) of merged tiles
    first_row = row[:, 0]
    first_column = column[:, 0]
    turns = _turn(*np.indices(merged.shape))
    merged_turns = _turn(first_row // 2, first_column // 2)
    classes = _first_map(tile_bits, merged, tables)
    for step in range(4 * sweeps):
        map_bits = map_costs(classes, tables, single)
        best = (tile_bits + map_bits).argmin(-1)
        changing = ~merged & (turns == step % 4)
        classes = np.where(changing, best, classes).astype(np.uint8)
        if merged.any():
            map_bits = map_costs(classes, tables, single)
            of_four = map_bits[row, column].sum(1)  # (S, K)
            best = (tile_bits[first_row, first_column] + of_four).argmin(-1)
            changing = merged_turns == step % 4
            classes[row[changing], column[changing]] = best[changing, None]
    return classes


def _turn(row, column):
    """Number of the turn in which a tile changes, 0 to 3: none affects another of the same turn."""
    return (3 * row + column) % 4


def _first_map(tile_bits, merged, tables):
    """Tile after tile, given those before: (rows, cols, K) -> (rows, cols) uint8."""
    rows, cols, K = tile_bits.shape
    left, up, up_right = tables.astype(np.float32) / classmap.WEIGHT_PER_BIT
    chooses = begins(merged)
    classes = np.zeros((rows, cols), np.uint8)
    above = [K] * (cols + 1)  # classes of the row above, and one beyond its end
    for r in range(rows):
        of_above = up[above[:-1]]
        of_above_right = up_right[above[1:]]
        row_bits = tile_bits[r] - of_above - of_above_right
        c = K
        for j in range(cols):
            if chooses[r, j]:
                bits = row_bits[j] - left[c]
                c = int(bits.argmin())
            else:
                c = int(classes[r - r % 2, j - j % 2])
            classes[r, j] = c
        above = [*classes[r].tolist(), K]
    return classes


def map_costs(classes: np.ndarray, tables: np.ndarray, single: int) -> np.ndarray:
    """Bits of a map as a function of one tile's class, up to a constant for each tile: (rows, cols, K) float32.

    That is the class's own bits given its neighbours, and those of the three tiles that it predicts; of a merged tile
    the sum over its four. Frequencies count as unrounded, so a cost above 16 bits may be too high.
    """
    K = tables.shape[2]
    weights = tables.astype(np.float32) / classmap.WEIGHT_PER_BIT
    neighbours = classmap.neighbours(classes, K)
    pairs = zip(weights, neighbours, strict=True)
    score = sum(table[of_neighbour] for table, of_neighbour in pairs)  # (rows, cols, K), log2 up to a constant
    choices = classmap.allowed(classes, single, K)[..., None]
    possible = np.arange(K) < np.where(choices, choices, K)
    silent = choices[..., 0] == 0  # a merged tile's first one has named their class
    out = np.where(silent[..., None], 0, -score)
    for context in _contexts(weights, neighbours, single):
        bits = _predicted_bits(context, score, possible, classes)
        bits[silent | ~context.where] = 0
        out[context.place] += bits[context.predicted]
    return out


def _predicted_bits(context, score, possible, classes):
    """Bits of each tile by the class of its neighbour in a context, less what they are: (rows, cols, K)."""
    K = score.shape[2]
    rest = score - context.weights[context.classes]
    top = np.where(possible, rest, -np.inf)
    top = top.max(-1, keepdims=True)
    others = np.exp2(np.minimum(rest - top, 0)) * possible
    of_class = context.weights[:K].T  # (class of the tile, class of the neighbour)
    total = product_of(others.reshape(-1, K), np.exp2(of_class))
    bits = np.log2(total).reshape(score.shape) + top
    chosen = classes[..., None].astype(np.intp)
    bits -= np.take_along_axis(rest, chosen, -1) + of_class[classes]
    return bits


def product_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b, by torch: numpy's library shares it among threads that wait for each other, 10 ms on a busy machine."""
    return (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()


@dataclass(frozen=True)
class Context:
    """A neighbour that predicts tiles."""

    weights: np.ndarray  # (K + 1, K), of its class and the tile's
    classes: np.ndarray  # (rows, cols), of every tile's neighbour
    offset: tuple[int, int]  # of the neighbour: rows, columns
    where: np.ndarray  # (rows, cols) bool, tiles that it predicts with these weights

    @property
    def predicted(self) -> tuple[slice, slice]:
        """Tiles whose neighbour is inside the picture."""
        down, across = self.offset
        _, columns = self.classes.shape
        first = max(0, -across)
        end = columns - max(0, across)
        return slice(-down, None), slice(first, end)

    @property
    def place(self) -> tuple[slice, slice]:
        """Their neighbours, in the same order."""
        down, across = self.offset
        rows, columns = self.classes.shape
        first = max(0, across)
        end = columns - max(0, -across)
        return slice(rows + down), slice(first, end)


def _contexts(weights, neighbours, single) -> Iterator[Context]:
    """The three neighbours. A merged tile that is two neighbours of a tile, the upper and the upper right one, counts
    once, with both weights.
    """
    left, up, up_right = classmap.NEIGHBOURS
    of_left, of_up, of_up_right = weights
    beside, above, above_right = neighbours
    wide = (above >= single) & (above == above_right)
    both = wide & first_of_square(*above.shape)
    both[0] = False  # outside the picture
    yield Context(of_left, beside, left, np.ones_like(both))
    yield Context(of_up, above, up, ~both)
    yield Context(of_up_right, above_right, up_right, ~both)
    if both.any():
        yield Context(of_up + of_up_right, above, up, both)
