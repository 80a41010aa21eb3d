"""Class maps <-> bits: probabilities from the neighbours' classes, arithmetic coding (FORMAT.md, "Class maps").

Each tile names one of K classes. Its class is predicted from those of its left, upper and upper right neighbours; K
stands for a neighbour outside the picture. `tables` (3, K + 1, K) int8 hold a weight, in 1/16 bit, for each neighbour,
its class and the tile's class. The three weights of a class add up to log2 of its probability, up to a constant.

Classes from `single` on are of merged tiles, 2 x 2 of them with one class, which the first one names. Only a tile at an
even row and column with all four inside the picture may name one; it costs the others nothing. All that a decoder
computes are integers. numpy only.
"""

from bisect import bisect
from functools import lru_cache

import numpy as np

from ..errors import FormatError

NEIGHBOURS = ((0, -1), (-1, 0), (-1, 1))  # (row, column) offsets of the neighbours that the three tables stand for
UNIT = 16  # weights count 1/16 bit
TOP = 16  # the likeliest class of a tile has frequency 2^16, the others at least 1
HALVING = (65536, 62757, 60097, 57549, 55109, 52773, 50535, 48393)
HALVING += (46341, 44376, 42495, 40693, 38968, 37316, 35734, 34219)  # round(2^(16 - i / 16))
FREQUENCY = np.array([max(1, HALVING[x % UNIT] >> x // UNIT) for x in range(3 * 255 + 1)])

WORD = 32  # bits of the coder's registers
MASK, HALF, QUARTER = (1 << WORD) - 1, 1 << WORD - 1, 1 << WORD - 2
CACHED = 4096  # contexts: seven in ten recur within a photograph
ONE_CLASS = np.zeros((3, 2, 1), np.int8)  # tables where K is 1: a map has no bits
TAIL = 2  # bits that place the end of the code inside the last interval


def encode(classes: np.ndarray, tables: np.ndarray, single: int) -> np.ndarray:
    """Map (rows, cols) uint8, each below K, as (n,) uint8 of 0 and 1; n is at most 2 above the sum of `bits`."""
    K = tables.shape[2]
    if K == 1:
        return np.zeros(0, np.uint8)
    ends_of = _cumulative(tables)
    digits, pending, low, high = [], 0, 0, MASK
    choices = allowed(classes, single, K)
    above = [K] * (classes.shape[1] + 1)
    for row, own in zip(classes.tolist(), choices.tolist(), strict=True):
        left = K
        for j, (c, count) in enumerate(zip(row, own, strict=True)):
            if count:
                low, high = _narrow(low, high, ends_of(left, above[j], above[j + 1], count), c)
                settled, straddling = _shifts(low, high)
                if settled:
                    digits.append(_spell(low >> WORD - settled, settled, pending))
                    pending = 0
                low, high = _drop(low, 0, settled, straddling), _drop(high, -1, settled, straddling)
                pending += straddling
            left = c
        above = [*row, K]
    digits.append(_spell(1 if low < QUARTER else 2, TAIL, pending))
    return np.frombuffer("".join(digits).encode(), np.uint8) - ord("0")


def decode(bits: np.ndarray, rows: int, cols: int, tables: np.ndarray, single: int) -> tuple[np.ndarray, int]:
    """Map (rows, cols) uint8 that `bits` (n,) begin with, and how many of them it took."""
    K = tables.shape[2]
    if K == 1:
        return np.zeros((rows, cols), np.uint8), 0
    # a class costs at least log2(1 + (single - 1) / 2^16) bits, and stands for four tiles at most
    if rows * cols * (single - 1) > len(bits) << TOP + 2 * (single < K):
        raise FormatError(f"truncated: {len(bits)} bits are too few for the classes of {rows} x {cols} tiles")
    ends_of = _cumulative(tables)
    digits = (np.asarray(bits, np.uint8) + ord("0")).tobytes().decode() + "0" * 3 * WORD
    low, high, code, used = 0, MASK, int(digits[:WORD], 2), 0
    above, classes = [K] * (cols + 1), []
    for r in range(rows):
        row, c = [], K
        for j in range(cols):
            if r % 2 and single <= above[j] < K:
                c = above[j]
            elif r % 2 or not j % 2 or not single <= c < K:
                count = K if r % 2 == j % 2 == 0 and r + 1 < rows and j + 1 < cols else single
                ends = ends_of(c, above[j], above[j + 1], count)
                c = bisect(ends, ((code - low + 1) * ends[-1] - 1) // (high - low + 1)) - 1
                low, high = _narrow(low, high, ends, c)
                settled, straddling = _shifts(low, high)
                low, high = _drop(low, 0, settled, straddling), _drop(high, -1, settled, straddling)
                start, used = used, used + settled + straddling
                if used + TAIL > len(bits):
                    raise FormatError(f"truncated: the classes of {rows} x {cols} tiles take over {len(bits)} bits")
                if used > start:
                    code = _drop(code, int(digits[start + WORD : used + WORD], 2), settled, straddling)
            row.append(c)
        above = [*row, K]
        classes.append(np.array(row, np.uint8))
    return np.array(classes, np.uint8).reshape(rows, cols), used + TAIL


def allowed(classes: np.ndarray, single: int, K: int) -> np.ndarray:
    """How many of the K classes each tile may name: all, `single`, or 0 where a merged tile's first one has named it
    already: (rows, cols) -> the same.
    """
    rows, cols = classes.shape
    r, c = np.arange(rows)[:, None] % 2, np.arange(cols) % 2
    first = (r == 0) & (c == 0) & (np.arange(rows)[:, None] + 1 < rows) & (np.arange(cols) + 1 < cols)
    named = ((r == 1) | (c == 1)) & (classes >= single)
    return np.where(named, 0, np.where(first, K, single))


def bits(classes: np.ndarray, tables: np.ndarray, single: int) -> np.ndarray:
    """What the coder pays for each tile: -log2 of its probability, (rows, cols) float64."""
    K = tables.shape[2]
    pairs = zip(tables.astype(np.intp), neighbours(classes, K), strict=True)
    scores = sum(table[c] for table, c in pairs)  # (rows, cols, K)
    count = allowed(classes, single, K)[..., None]
    scores = np.where(np.arange(K) < np.where(count, count, K), scores, -(1 << 16))
    f = FREQUENCY.take(scores.max(-1, keepdims=True) - scores, mode="clip") * (scores > -(1 << 16))
    paid = np.log2(f.sum(-1)) - np.log2(np.take_along_axis(f, classes[..., None].astype(np.intp), -1)[..., 0])
    return np.where(count[..., 0], paid, 0.0)


def neighbours(classes, K):
    """Classes of the three neighbours of every tile, K outside the picture: [(rows, cols)] * 3."""
    rows, cols = classes.shape
    padded = np.pad(classes.astype(np.intp), ((1, 0), (1, 1)), constant_values=K)
    return [padded[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + cols] for dy, dx in NEIGHBOURS]


def _cumulative(tables):
    """Function of the left, upper and upper right class and of how many classes are allowed: 0 and the running sum of
    their frequencies, as a list.
    """
    left, up, up_right = tables

    @lru_cache(CACHED)
    def ends_of(of_left, of_up, of_up_right, count):
        scores = (np.add(left[of_left], up[of_up], dtype=np.int16) + up_right[of_up_right])[:count]
        return [0, *FREQUENCY.take(scores.max() - scores).cumsum().tolist()]

    return ends_of


def _narrow(low, high, ends, c):
    """Part of class c of the interval, both ends inclusive."""
    span, total = high - low + 1, ends[-1]
    return low + span * ends[c] // total, low + span * ends[c + 1] // total - 1


def _shifts(low, high):
    """How many leading bits of an interval are settled, and how many behind them straddle the middle."""
    settled = WORD - (low ^ high).bit_length()
    ones = (low & ~high) << settled
    return settled, WORD - 1 - (~ones & HALF - 1).bit_length()


def _drop(word, fresh, settled, straddling):
    """Word without its settled and its straddling bits, which follow the first one left; fresh bits come in below."""
    word = (word << settled + straddling) | fresh & (1 << settled + straddling) - 1
    return word & HALF - 1 | word >> straddling & HALF


def _spell(value, width, pending):
    """Binary digits of a value; the bits that straddled the middle follow the first digit as its opposite."""
    digits = f"{value:0{width}b}"
    return digits[0] + "10"[int(digits[0])] * pending + digits[1:]
