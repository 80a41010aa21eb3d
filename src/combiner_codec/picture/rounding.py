"""The one rounding rule. numpy only."""

import numpy as np


def to_uint8(values: np.ndarray) -> np.ndarray:
    """[0, 1] to the nearest of 256 steps, halves to even."""
    steps = np.clip(values * 255, 0, 255)
    return np.rint(steps).astype(np.uint8)
