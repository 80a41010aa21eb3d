"""Tables of the class map, learned from maps (FORMAT.md, "Class maps"). numpy only."""

from collections.abc import Sequence

import numpy as np

from ..format import classmap

RATE = 0.03  # of Adam, at the beginning; falls to 0
MEMORY, SQUARE_MEMORY = 0.9, 0.98  # of Adam's averages, a step
LEAST_STEPS = 400  # of Adam, where maps are few
TOP = 127  # weight of the likeliest class for each neighbour, the largest of int8


def learn(maps: Sequence[np.ndarray], K: int, single: int, epochs: int = 6, seed: int = 0) -> np.ndarray:
    """Tables (3, K + 1, K) int8 for maps like these, (rows, cols) uint8 each: logistic regression by Adam.

    Classes from `single` on are of merged tiles. Deterministic; a normal prior of one nat on every weight keeps rare
    pairs of classes near the average.
    """
    allowed = np.concatenate([classmap.allowed(m, single, K).reshape(-1) for m in maps])
    named = allowed > 0  # by the tile itself
    classes, allowed = np.concatenate([m.reshape(-1) for m in maps])[named].astype(np.intp), allowed[named]
    neighbours = np.concatenate([np.stack(classmap.neighbours(m, K), -1).reshape(-1, 3) for m in maps])[named]  # (n, 3)
    n, batch = len(classes), min(4096, 64 + len(classes) // 16)
    marginal = np.log((np.bincount(classes, minlength=K) + 1) / (n + K)).astype(np.float32)
    parameters = [np.zeros((3, K + 1, K), np.float32), marginal]
    moments = [(np.zeros_like(p), np.zeros_like(p)) for p in parameters]
    random, steps = np.random.Generator(np.random.Philox(seed)), max(LEAST_STEPS, epochs * n // batch)
    for step in range(1, steps + 1):
        some = random.integers(n, size=batch)
        gradients = _gradients(*parameters, neighbours[some], classes[some], allowed[some], n)
        rate = RATE * (1 - step / (steps + 1))
        for p, g, (m, v) in zip(parameters, gradients, moments, strict=True):
            m += (1 - MEMORY) * (g - m)
            v += (1 - SQUARE_MEMORY) * (g * g - v)
            p -= rate * (m / (1 - MEMORY**step)) / (np.sqrt(v / (1 - SQUARE_MEMORY**step)) + 1e-6)
    return _rounded(*parameters)


def _rounded(weights, marginal):
    """Weights (3, K + 1, K) and marginal (K,), natural logarithms, as tables int8 in 1/16 bit."""
    weights = weights.copy()
    weights[0] += marginal  # exactly one row of each table counts for a tile
    weights *= classmap.WEIGHT_PER_BIT / np.log(2)
    weights += TOP - weights.max(-1, keepdims=True)  # a constant in a row changes nothing
    return np.rint(weights.clip(-128)).astype(np.int8)


def _gradients(weights, marginal, neighbours, classes, allowed, n):
    """Gradients of the mean nats of a tile: weights (3, K + 1, K), marginal (K,), neighbours (B, 3), classes (B,) of
    as many (B,) as are allowed.
    """
    scores = marginal + sum(w[c] for w, c in zip(weights, neighbours.T, strict=True))  # (B, K)
    scores[np.arange(len(marginal)) >= allowed[:, None]] = -np.inf
    error = np.exp(scores - scores.max(-1, keepdims=True))
    error /= error.sum(-1, keepdims=True)
    error[np.arange(len(classes)), classes] -= 1
    error /= len(classes)
    gradient = weights / n
    for table, c in zip(gradient, neighbours.T, strict=True):
        order = np.argsort(c, kind="stable")
        present, starts = np.unique(c[order], return_index=True)
        table[present] += np.add.reduceat(error[order], starts)
    return gradient, error.sum(0)
