"""Tables of the class map, learned from maps (FORMAT.md, "Class maps"). numpy only."""

from collections.abc import Sequence

import numpy as np

from ...format import classmap

RATE = 0.03  # of Adam, at the beginning; falls to 0
MEMORY = 0.9  # of Adam's means of gradients, a step
SQUARE_MEMORY = 0.98  # and of their squares
TINY = 1e-6  # added to Adam's scales
LEAST_STEPS = 400  # of Adam, where maps are few
LEAST_BATCH, MOST_BATCH = 64, 4096  # tiles of a step
TOP = 127  # weight of the likeliest class for each neighbour, the largest of int8


def learn(
    maps: Sequence[np.ndarray],
    K: int,
    single: int,
    epochs: int = 6,
    seed: int = 0,
) -> np.ndarray:
    """Tables (3, K + 1, K) int8 for maps like these, (rows, cols) uint8 each: logistic regression by Adam.

    Classes from `single` on are of merged tiles. Deterministic; a normal prior of one nat on every weight keeps rare
    pairs of classes near the average.
    """
    classes, neighbours, allowed = _named_tiles(maps, K, single)
    count = len(classes)
    batch = min(MOST_BATCH, LEAST_BATCH + count // 16)
    steps = max(LEAST_STEPS, epochs * count // batch)
    frequency = (np.bincount(classes, minlength=K) + 1) / (count + K)
    weights = np.zeros((3, K + 1, K), np.float32)
    marginal = np.log(frequency).astype(np.float32)
    adams = [_Adam(weights), _Adam(marginal)]
    random = np.random.Generator(np.random.Philox(seed))
    for step in range(1, steps + 1):
        some = random.integers(count, size=batch)
        gradients = _gradients(weights, marginal, neighbours[some], classes[some], allowed[some], count)
        rate = RATE * (1 - step / (steps + 1))
        for adam, gradient in zip(adams, gradients, strict=True):
            adam.step(gradient, rate)
    return _rounded(weights, marginal)


def _named_tiles(maps, K, single):
    """Tiles that name their class: classes (n,), those of the neighbours (n, 3), how many are allowed (n,)."""
    classes = []
    neighbours = []
    allowed = []
    for one in maps:
        classes.append(one.reshape(-1))
        around = np.stack(classmap.neighbours(one, K), -1)
        neighbours.append(around.reshape(-1, 3))
        allowed.append(classmap.allowed(one, single, K).reshape(-1))
    allowed = np.concatenate(allowed)
    named = allowed > 0
    classes = np.concatenate(classes)[named].astype(np.intp)
    neighbours = np.concatenate(neighbours)[named]
    return classes, neighbours, allowed[named]


class _Adam:
    """Adam (Kingma and Ba, 2015) for one array, in place."""

    def __init__(self, values: np.ndarray):
        self.values = values
        self.mean = np.zeros_like(values)  # of gradients
        self.square = np.zeros_like(values)
        self.steps = 0

    def step(self, gradient: np.ndarray, rate: float) -> None:
        """Down a gradient."""
        self.steps += 1
        self.mean += (1 - MEMORY) * (gradient - self.mean)
        self.square += (1 - SQUARE_MEMORY) * (gradient * gradient - self.square)
        mean = self.mean / (1 - MEMORY**self.steps)
        square = self.square / (1 - SQUARE_MEMORY**self.steps)
        self.values -= rate * mean / (np.sqrt(square) + TINY)


def _rounded(weights, marginal):
    """Weights (3, K + 1, K) and marginal (K,), natural logarithms, as tables int8 in 1/16 bit."""
    weights = weights.copy()
    weights[0] += marginal  # exactly one row of each table counts for a tile
    weights *= classmap.WEIGHT_PER_BIT / np.log(2)
    weights += TOP - weights.max(-1, keepdims=True)  # a constant in a row changes nothing
    return np.rint(weights.clip(-128)).astype(np.int8)


def _gradients(weights, marginal, neighbours, classes, allowed, count):
    """Gradients of the mean nats of a tile: weights (3, K + 1, K), marginal (K,), neighbours (B, 3), classes (B,) of
    as many (B,) as are allowed; `count` tiles in all.
    """
    left, up, up_right = neighbours.T
    scores = marginal + (weights[0][left] + weights[1][up] + weights[2][up_right])  # (B, K)
    scores[np.arange(len(marginal)) >= allowed[:, None]] = -np.inf
    error = np.exp(scores - scores.max(-1, keepdims=True))
    error /= error.sum(-1, keepdims=True)
    error[np.arange(len(classes)), classes] -= 1
    error /= len(classes)
    gradient = weights / count
    for table, c in zip(gradient, neighbours.T, strict=True):
        order = np.argsort(c, kind="stable")
        present, starts = np.unique(c[order], return_index=True)
        table[present] += np.add.reduceat(error[order], starts)
    return gradient, error.sum(0)
