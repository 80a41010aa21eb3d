"""Colour axes of one picture: the prior's, turned (FORMAT.md, section 7, "Colour axes").

The first shared layer maps three colour components to RGB. A rotation of the components suits a picture of strong
colour. It is named by three integers, the vector part of a quaternion whose real part is UNIT (Cayley's map): of the
four rotations that differ by signs of axes only, one has no larger part than the real one. Numpy only.
"""

import numpy as np

Axes = tuple[int, int, int]

UNIT = 128  # real part of the quaternion
LEAST, MOST = -128, 127  # of its other parts
UNTURNED: Axes = (0, 0, 0)


def rotation(axes: Axes) -> np.ndarray:
    """What turns components: new ones by old ones, (3, 3) float64. Quotients of integers, each rounded once."""
    a, b, c = axes
    vector = np.array(axes, np.int64)
    square = vector @ vector
    cross = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])
    turn = (UNIT**2 - square) * np.eye(3, dtype=np.int64)
    turn += 2 * np.outer(vector, vector)
    turn += 2 * UNIT * cross
    return turn / (UNIT**2 + square)


def turned(shared: dict[str, np.ndarray], first: int, axes: Axes) -> dict[str, np.ndarray]:
    """Weights of the shared layers, float32, of a picture with its own axes; first: number of the first of them."""
    weights = shared[f"w{first}"]
    *window, inputs, outputs = weights.shape
    components = weights.astype(np.float64).reshape(*window, inputs // 3, 3, outputs)
    mixed = rotation(axes) @ components
    return shared | {f"w{first}": mixed.reshape(weights.shape).astype(np.float32)}
