"""The one search for a root: where a monotone function of log beta meets a goal."""

from collections.abc import Sequence

import numpy as np

INSIDE = (0.1, 0.9)  # shares of an interval between which the next guess lies


def next_guess(known: Sequence[tuple[float, float]], slope: float, factor: float = 1.0) -> float:
    """Where y should be 0, from points (x, y) that are known; dy / dx is about `slope`.

    Between the nearest points of both signs, else from the nearest along the slope; where two points lie near each
    other, along theirs, up to `factor` times steeper or flatter.
    """
    below = [point for point in known if point[1] <= 0]
    above = [point for point in known if point[1] > 0]
    if below and above:
        low_x, low_y = max(below, key=lambda point: point[1])
        high_x, high_y = min(above, key=lambda point: point[1])
        share = np.clip(low_y / (low_y - high_y), *INSIDE)
        return float(low_x + share * (high_x - low_x))
    nearest = sorted(known, key=lambda point: abs(point[1]))
    x, y = nearest[0]
    if len(nearest) > 1 and factor > 1:
        other_x, other_y = nearest[1]
        if x != other_x:
            measured = (y - other_y) / (x - other_x)
            slope *= np.clip(measured / slope, 1 / factor, factor)
    return float(x - y / slope)
