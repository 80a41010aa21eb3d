"""The one search for a root: where a monotone function of log beta meets a goal."""

from collections.abc import Sequence

import numpy as np

INSIDE = (0.1, 0.9)  # shares of an interval between which the next guess lies


def next_guess(known: Sequence[tuple[float, float]], slope: float, factor: float = 1.0) -> float:
    """Where y should be 0, from points (x, y) that are known; dy / dx is about `slope`.

    Between the nearest points of both signs, else from the nearest along the slope; where two points lie near each
    other, along theirs, up to `factor` times steeper or flatter.
    """
    below = max((p for p in known if p[1] <= 0), key=lambda p: p[1], default=None)
    above = min((p for p in known if p[1] > 0), key=lambda p: p[1], default=None)
    if below and above:
        share = np.clip(below[1] / (below[1] - above[1]), *INSIDE)
        return float(below[0] + share * (above[0] - below[0]))
    (x, y), (u, v) = sorted(known, key=lambda p: abs(p[1]))[:2] if len(known) > 1 else [known[0]] * 2
    if factor > 1 and x != u:
        slope *= np.clip((y - v) / (x - u) / slope, 1 / factor, factor)
    return float(x - y / slope)
