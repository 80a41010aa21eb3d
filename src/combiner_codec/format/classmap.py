"""Class maps <-> bits: probabilities from the neighbours' classes, arithmetic coding (FORMAT.md, "Class maps").

Each tile names one of K classes. Its class is predicted from those of its left, upper and upper right neighbours; K
stands for a neighbour outside the picture. `tables` (3, K + 1, K) int8 hold a weight, in 1/16 bit, for each neighbour,
its class and the tile's class. The three weights of a class add up to log2 of its probability, up to a constant.

Classes from `single` on are of merged tiles, 2 x 2 of them with one class, which the first one names. Only a tile at an
even row and column with all four inside the picture may name one; it costs the others nothing. All that a decoder
computes are integers. numpy only.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ..errors import FormatError
from ..synthesis.squares import everywhere, first_of_square
from .arithmetic import TAIL, ArithmeticDecoder, ArithmeticEncoder

NEIGHBOURS = ((0, -1), (-1, 0), (-1, 1))  # (row, column) offsets of the neighbours that the three tables stand for
ONE_CLASS = np.zeros((3, 2, 1), np.int8)  # tables where K is 1: a map has no bits
WEIGHT_PER_BIT = 16  # weights count 1/16 bit
FREQUENCY_BITS = 16  # the likeliest class of a tile has frequency 2^16, the others at least 1
HALVING = (  # round(2^(16 - i / 16))
    65536, 62757, 60097, 57549, 55109, 52773, 50535, 48393,
    46341, 44376, 42495, 40693, 38968, 37316, 35734, 34219,
)  # fmt: skip
LARGEST_LOSS = 3 * 255  # of a score against the best one
IMPOSSIBLE = -(1 << 16)  # score of a class that a tile may not name
CONTEXTS_KEPT = 4096  # seven in ten recur within a photograph


def _frequency(loss: int) -> int:
    """Of a class whose score is so far below the best one."""
    halvings, rest = divmod(loss, WEIGHT_PER_BIT)
    return max(1, HALVING[rest] >> halvings)


FREQUENCY = np.array([_frequency(loss) for loss in range(LARGEST_LOSS + 1)])


def encode(classes: np.ndarray, tables: np.ndarray, single: int) -> np.ndarray:
    """Map (rows, cols) uint8, each below K, as (n,) uint8 of 0 and 1; n is at most 2 above the sum of `bits`."""
    K = tables.shape[2]
    if K == 1:
        return np.zeros(0, np.uint8)
    ends_of = _cumulative(tables)
    coder = ArithmeticEncoder()
    choices = allowed(classes, single, K).tolist()
    above = [K] * (classes.shape[1] + 1)
    for row, counts in zip(classes.tolist(), choices, strict=True):
        left = K
        for j, (c, count) in enumerate(zip(row, counts, strict=True)):
            if count:
                coder.put(ends_of(left, above[j], above[j + 1], count), c)
            left = c
        above = [*row, K]
    return coder.finish()


def decode(bits: np.ndarray, rows: int, cols: int, tables: np.ndarray, single: int) -> tuple[np.ndarray, int]:
    """Map (rows, cols) uint8 that `bits` (n,) begin with, and how many of them it took. Raises FormatError."""
    K = tables.shape[2]
    if K == 1:
        return np.zeros((rows, cols), np.uint8), 0
    _check_size(len(bits), rows, cols, K, single)
    ends_of = _cumulative(tables)
    coder = ArithmeticDecoder(bits)
    most = len(bits) - TAIL
    classes = []
    above = [K] * (cols + 1)
    for r in range(rows):
        row = []
        left = K
        merges = r % 2 == 0 and r + 1 < rows
        for j in range(cols):
            begun = K  # class of the merged tile that this one may be part of
            if r % 2:
                begun = above[j]
            elif j % 2:
                begun = left
            if single <= begun < K:
                left = begun
            else:
                count = K if merges and j % 2 == 0 and j + 1 < cols else single
                left = coder.take(ends_of(left, above[j], above[j + 1], count))
                if coder.used > most:
                    raise FormatError(f"truncated: the classes of {rows} x {cols} tiles take over {len(bits)} bits")
            row.append(left)
        above = [*row, K]
        classes.append(np.array(row, np.uint8))
    return np.array(classes, np.uint8).reshape(rows, cols), coder.used + TAIL


def _check_size(bits: int, rows: int, cols: int, K: int, single: int) -> None:
    """A class costs at least log2(1 + (single - 1) / 2^16) bits, and stands for four tiles at most."""
    tiles_per_class = 4 if single < K else 1
    most = bits * tiles_per_class << FREQUENCY_BITS
    if rows * cols * (single - 1) > most:
        raise FormatError(f"truncated: {bits} bits are too few for the classes of {rows} x {cols} tiles")


def allowed(classes: np.ndarray, single: int, K: int) -> np.ndarray:
    """How many of the K classes each tile may name: all, `single`, or 0 where a merged tile's first one has named it
    already: (rows, cols) -> the same.
    """
    first = first_of_square(*classes.shape)
    named = (classes >= single) & ~first
    choices = np.where(first & everywhere(classes.shape), K, single)
    return np.where(named, 0, choices)


def bits(classes: np.ndarray, tables: np.ndarray, single: int) -> np.ndarray:
    """What the coder pays for each tile: -log2 of its probability, (rows, cols) float64."""
    K = tables.shape[2]
    count = allowed(classes, single, K)
    scores = np.zeros((*classes.shape, K), np.intp)
    for table, c in zip(tables.astype(np.intp), neighbours(classes, K), strict=True):
        scores += table[c]
    choices = np.where(count, count, K)[..., None]
    possible = np.arange(K) < choices
    best = np.where(possible, scores, IMPOSSIBLE).max(-1, keepdims=True)
    frequency = np.where(possible, FREQUENCY.take(best - scores, mode="clip"), 0)
    total = frequency.sum(-1)
    of_class = np.take_along_axis(frequency, classes[..., None].astype(np.intp), -1)[..., 0]
    paid = np.log2(total) - np.log2(of_class)
    return np.where(count > 0, paid, 0.0)


def neighbours(classes: np.ndarray, K: int) -> list[np.ndarray]:
    """Classes of the three neighbours of every tile, K outside the picture: [(rows, cols)] * 3."""
    rows, cols = classes.shape
    padded = np.pad(classes.astype(np.intp), ((1, 0), (1, 1)), constant_values=K)
    found = []
    for down, across in NEIGHBOURS:
        top = 1 + down
        first = 1 + across
        found.append(padded[top : top + rows, first : first + cols])
    return found


def _cumulative(tables: np.ndarray) -> Callable[[int, int, int, int], list[int]]:
    """Function of the left, upper and upper right class and of how many classes are allowed: 0 and the running sum of
    their frequencies.
    """
    left, up, up_right = tables

    @lru_cache(CONTEXTS_KEPT)
    def ends_of(of_left: int, of_up: int, of_up_right: int, count: int) -> list[int]:
        two = np.add(left[of_left], up[of_up], dtype=np.int16)
        scores = (two + up_right[of_up_right])[:count]
        frequencies = FREQUENCY.take(scores.max() - scores)
        return [0, *frequencies.cumsum().tolist()]

    return ends_of
