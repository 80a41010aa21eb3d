"""Rate-distortion curves: BD-rate, and published curves. A curve is a list of (bpp, dB)."""

import json
import math
from collections.abc import Sequence
from importlib.resources import files

import numpy as np

Curve = Sequence[tuple[float, float]]


ALL = (-math.inf, math.inf)  # dB
SAMPLES = 2001  # of the common range, for its mean


def bd_rate(anchor: Curve, curve: Curve, within: tuple[float, float] = ALL) -> float:
    """Bjøntegaard's mean rate difference in per cent over the common range of dB (VCEG-M33), cut to `within`.

    log rate is a piecewise cubic of dB (PCHIP, as in JVET's sheets); negative where `curve` needs fewer bits than
    `anchor`. NaN where a curve has fewer than two points or the ranges do not overlap.
    """
    low, high = common_range(anchor, curve, within)
    if not low < high:
        return float("nan")
    decibels = np.linspace(low, high, SAMPLES)
    difference = pchip(*_rising(curve), decibels) - pchip(*_rising(anchor), decibels)
    trapezoids = (difference[1:] + difference[:-1]) / 2
    return 100 * (np.exp(float(trapezoids.mean())) - 1)


def common_range(anchor: Curve, curve: Curve, within: tuple[float, float] = ALL) -> tuple[float, float]:
    """Lowest and highest dB of `within` that both curves reach; NaN where a curve has fewer than two points."""
    low, high = within
    for side in (anchor, curve):
        decibels, _ = _rising(side)
        if len(decibels) < 2:
            return math.nan, math.nan
        low = max(low, decibels[0])
        high = min(high, decibels[-1])
    return low, high


def _rising(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """dB and log bpp, points left out that cost more than a better one."""
    rates: list[float] = []
    decibels: list[float] = []
    for rate, quality in sorted(curve):
        if not decibels or quality > decibels[-1]:
            rates.append(rate)
            decibels.append(quality)
    return np.array(decibels), np.log(rates)


def pchip(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Monotone piecewise cubic through (x, y), slopes after Fritsch and Butland (1984); x rises."""
    width = np.diff(x)
    slope = _slopes(width, np.diff(y) / width)
    interval = np.searchsorted(x, at, side="right") - 1
    k = np.clip(interval, 0, len(width) - 1)
    h = width[k]
    t = (at - x[k]) / h  # 0 to 1 within the interval
    left = y[k] * (1 + 2 * t) + h * slope[k] * t
    right = y[k + 1] * (3 - 2 * t) - h * slope[k + 1] * (1 - t)
    return left * (1 - t) ** 2 + right * t**2


def _slopes(width: np.ndarray, rise: np.ndarray) -> np.ndarray:
    """Slope at every point from the (n - 1,) intervals' widths and rises: 0 where the curve turns."""
    slope = np.zeros(len(rise) + 1)
    slope[0] = rise[0]
    slope[-1] = rise[-1]
    for i in range(1, len(rise)):
        before, after = rise[i - 1], rise[i]
        if before * after > 0:
            of_before = 2 * width[i] + width[i - 1]
            of_after = width[i] + 2 * width[i - 1]
            slope[i] = (of_before + of_after) / (of_before / before + of_after / after)
    return slope


def published(name: str) -> list[dict]:
    """Published curves of a set ("kodak" or "cifar10"): name, source, points, and whether a plot draws it."""
    text = (files(__package__) / "published" / f"{name}.json").read_text(encoding="utf-8")
    return json.loads(text)["curves"]


def published_curve(name: str, curve: str) -> Curve:
    """One of them."""
    found = (entry["points"] for entry in published(name) if entry["name"] == curve)
    return next(found)
