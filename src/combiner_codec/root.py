"""The one search for a root: where a monotone function of log beta meets a goal."""

from collections.abc import Sequence

import numpy as np

Point = tuple[float, float]  # x, y

INSIDE = (0.1, 0.9)  # shares of an interval between which the next guess lies


def next_guess(known: Sequence[Point], slope: float, factor: float = 1.0) -> float:
    """Where y should be 0, from points (x, y) that are known; dy / dx is about `slope`.

    Between the nearest points of both signs, else from the nearest along the slope; where two points lie near each
    other, along theirs, up to `factor` times steeper or flatter.
    """
    below = [point for point in known if point[1] <= 0]
    above = [point for point in known if point[1] > 0]
    if below and above:
        low_x, low_y = max(below, key=_height)
        high_x, high_y = min(above, key=_height)
        share = low_y / (low_y - high_y)
        share = np.clip(share, *INSIDE)
        return float(low_x + share * (high_x - low_x))
    nearest = sorted(known, key=lambda point: abs(_height(point)))
    x, y = nearest[0]
    if len(nearest) > 1 and factor > 1:
        other_x, other_y = nearest[1]
        if x != other_x:
            measured = (y - other_y) / (x - other_x)
            slope *= np.clip(measured / slope, 1 / factor, factor)
    return float(x - y / slope)


def _height(point: Point) -> float:
    _, y = point
    return y
