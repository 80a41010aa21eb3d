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
        changing = ~merged & (turns == step % 4)
        map_bits = map_costs(classes, tables, single, changing)
        classes[changing] = (tile_bits[changing] + map_bits[changing]).argmin(-1)
        if merged.any():
            turn = merged_turns == step % 4
            four = row[turn], column[turn]
            changing = np.zeros_like(merged)
            changing[four] = True
            map_bits = map_costs(classes, tables, single, changing)
            best = tile_bits[first_row[turn], first_column[turn]] + map_bits[four].sum(1)  # (S, K)
            classes[four] = best.argmin(-1)[:, None]
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


def map_costs(classes: np.ndarray, tables: np.ndarray, single: int, wanted: np.ndarray | None = None) -> np.ndarray:
    """Bits of a map as a function of one tile's class, up to a constant for each tile: (rows, cols, K) float32.

    That is the class's own bits given its neighbours, and those of the three tiles that it predicts; of a merged tile
    the sum over its four. Frequencies count as unrounded, so a cost above 16 bits may be too high.
    wanted: tiles whose costs are asked for, (rows, cols) bool; all, if None.
    """
    K = tables.shape[2]
    weights = tables.astype(np.float32) / classmap.WEIGHT_PER_BIT
    neighbours = classmap.neighbours(classes, K)
    pairs = zip(weights, neighbours, strict=True)
    score = sum(table[of_neighbour] for table, of_neighbour in pairs)  # (rows, cols, K), log2 up to a constant
    choices = classmap.allowed(classes, single, K)
    silent = choices == 0  # a merged tile's first one has named their class
    out = np.where(silent[..., None], 0, -score)
    if wanted is None:
        wanted = np.ones_like(silent)
    for context in _contexts(weights, neighbours, single):
        tile, neighbour = context.pairs(~silent, wanted)
        possible = np.arange(K) < choices[tile][:, None]
        out[neighbour] += _predicted_bits(context, tile, score[tile], possible, classes[tile])
    return out


def _predicted_bits(context, tile, score, possible, classes):
    """Bits of some tiles by the class of their neighbour in a context, less what they are: (n, K).

    tile: their places. score, possible: (n, K); classes: (n,).
    """
    K = score.shape[1]
    rest = score - context.weights[context.classes[tile]]
    top = np.where(possible, rest, -np.inf)
    top = top.max(1, keepdims=True)
    others = np.exp2(np.minimum(rest - top, 0)) * possible
    of_class = context.weights[:K].T  # (class of the tile, class of the neighbour)
    total = product_of(others, np.exp2(of_class))
    chosen = np.take_along_axis(rest, classes[:, None].astype(np.intp), 1)
    return np.log2(total) + top - chosen - of_class[classes]


def product_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b, by torch: numpy's library shares it among threads that wait for each other, 10 ms on a busy machine."""
    return (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()


Places = tuple[np.ndarray, np.ndarray]  # rows and columns of n tiles


@dataclass(frozen=True)
class Context:
    """A neighbour that predicts tiles."""

    weights: np.ndarray  # (K + 1, K), of its class and the tile's
    classes: np.ndarray  # (rows, cols), of every tile's neighbour
    offset: tuple[int, int]  # of the neighbour: rows, columns
    where: np.ndarray  # (rows, cols) bool, tiles that it predicts with these weights

    def pairs(self, speaking: np.ndarray, wanted: np.ndarray) -> tuple[Places, Places]:
        """Tiles that name a class and whose neighbour is wanted, and these neighbours: masks (rows, cols) -> places."""
        down, across = self.offset
        row, column = np.nonzero(self.where & speaking)
        there = (row + down >= 0) & (column + across >= 0) & (column + across < self.where.shape[1])
        row = row[there]
        column = column[there]
        asked = wanted[row + down, column + across]
        row = row[asked]
        column = column[asked]
        return (row, column), (row + down, column + across)


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
