"""Classes that make a picture cheap together with their map (format/classmap.py). Needs torch.

Shapes: P pictures of Rt x Ct tiles, or one of rows x cols; K classes, those from `single` on of merged tiles. Costs of
a merged tile stand at the first of its four, are 0 at the others, and infinite for classes that a tile cannot have.
"""

from itertools import product

import numpy as np
import torch

from ...format import classmap
from ...format.prior import OperatingPoint
from .tiling import begins


def cheapest(point: OperatingPoint, costs: np.ndarray, beta: float) -> np.ndarray:
    """Classes that minimise costs and class maps together: (P, Rt, Ct, K) -> (P, Rt, Ct) int64."""
    if point.classes == 1:
        return np.zeros(costs.shape[:-1], np.int64)
    bits = costs / (beta * np.log(2))
    return np.stack([choose_map(one, point.contexts, point.single) for one in bits]).astype(np.int64)


def map_costs(classes: np.ndarray, tables: np.ndarray, single: int) -> np.ndarray:
    """Bits of a map as a function of one tile's class, up to a constant for each tile: (rows, cols, K) float32.

    That is the class's own bits given its neighbours, and those of the three tiles that it predicts; of a merged tile
    the sum over its four. Frequencies count as unrounded, so a cost above 16 bits may be too high.
    """
    (rows, cols), K = classes.shape, tables.shape[2]
    weights = tables.astype(np.float32) / classmap.UNIT
    neighbours = classmap.neighbours(classes, K)
    score = sum(w[c] for w, c in zip(weights, neighbours, strict=True))  # (rows, cols, K)
    choices = classmap.allowed(classes, single, K)[..., None]
    possible, named = np.arange(K) < np.where(choices, choices, K), choices[..., 0] == 0
    out, own = np.where(named[..., None], 0, -score), classes[..., None].astype(np.intp)
    for w, c, (dy, dx), where in _predicting(weights, neighbours, single):
        rest = score - w[c]
        top = np.where(possible, rest, -np.inf).max(-1, keepdims=True)
        # bits of each tile, by the class of the neighbour that w weighs: (rows, cols, K)
        others = np.exp2(np.minimum(rest - top, 0)) * possible
        later = np.log2(product_of(others.reshape(-1, K), np.exp2(w[:K]).T)).reshape(score.shape) + top
        later -= np.take_along_axis(rest, own, -1) + w[:K].T[classes]
        later[named | ~where] = 0
        out[: rows + dy, max(0, dx) : cols - max(0, -dx)] += later[-dy:, max(0, -dx) : cols - max(0, dx)]
    return out


def product_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b, by torch: numpy's library shares it among threads that wait for each other, 10 ms on a busy machine."""
    return (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()


def _predicting(weights, neighbours, single):
    """Weights, classes and place of each neighbour, and the tiles that it predicts by itself. A merged tile that is two
    neighbours of a tile, the upper and the upper right one, counts once, with both weights.
    """
    (_, up, up_right), (_, above, beside) = weights, neighbours
    rows, cols = np.indices(above.shape)
    both = (above >= single) & (above == beside) & (rows % 2 == 0) & (cols % 2 == 0) & (rows > 0)
    both[:, cols.shape[1] // 2 * 2 :] = False
    alone = np.ones_like(both), ~both, ~both
    yield from zip(weights, neighbours, classmap.NEIGHBOURS, alone, strict=True)
    if both.any():
        yield up + up_right, above, classmap.NEIGHBOURS[1], both


def choose_map(tile_bits: np.ndarray, tables: np.ndarray, single: int, sweeps: int = 2) -> np.ndarray:
    """Classes that make a picture cheap: bits of each tile in each class (rows, cols, K) -> (rows, cols) uint8.

    A first map tile after tile, then sweeps that change one tile in four at a time, and one merged tile in four: none
    of those affects the cost of another. No step makes tiles and map together dearer, frequencies counted as unrounded.
    """
    merged = np.isinf(tile_bits[..., 0])
    first = np.argwhere(merged & begins(merged))
    cells = [tuple((first + corner).T) for corner in product(range(2), repeat=2)]
    classes = _first_map(tile_bits, merged, tables)
    for step in range(4 * sweeps):
        best = (tile_bits + map_costs(classes, tables, single)).argmin(-1)
        turn = _phase(*np.indices(merged.shape)) == step % 4
        classes = np.where(turn & ~merged, best, classes).astype(np.uint8)
        if len(first):
            bits = map_costs(classes, tables, single)
            best = (tile_bits[cells[0]] + sum(bits[cell] for cell in cells)).argmin(-1)
            turn = _phase(*first.T // 2) == step % 4
            for cell in cells:
                classes[tuple(i[turn] for i in cell)] = best[turn]
    return classes


def _first_map(tile_bits, merged, tables):
    """Tile after tile, given those before."""
    (rows, cols, K), (left, up, up_right) = tile_bits.shape, tables.astype(np.float32) / classmap.UNIT
    classes, above = np.zeros((rows, cols), np.uint8), [K] * (cols + 1)
    for r in range(rows):
        c, row = K, tile_bits[r] - up[above[:-1]] - up_right[above[1:]]
        for j in range(cols):
            named = merged[r, j] and (r % 2 or j % 2)
            classes[r, j] = c = int(classes[r - r % 2, j - j % 2] if named else (row[j] - left[c]).argmin())
        above = [*classes[r].tolist(), K]
    return classes


def _phase(row, column):
    """Turns of tiles: none affects another of the same turn."""
    return (3 * row + column) % 4
