"""Rate-distortion curves: BD-rate, and published curves. A curve is a list of (bpp, dB)."""

import json
import math
from collections.abc import Sequence
from importlib.resources import files

import numpy as np

Curve = Sequence[tuple[float, float]]


ALL = (-math.inf, math.inf)  # dB


def bd_rate(anchor: Curve, curve: Curve, within: tuple[float, float] = ALL) -> float:
    """Bjøntegaard's mean rate difference in per cent over the common range of dB (VCEG-M33), cut to `within`.

    log rate is a piecewise cubic of dB (PCHIP, as in JVET's sheets); negative where `curve` needs fewer bits than
    `anchor`. NaN where a curve has fewer than two points or the ranges do not overlap.
    """
    low, high = common_range(anchor, curve, within)
    if not low < high:
        return float("nan")
    grid = np.linspace(low, high, 2001)
    first, second = (pchip(y, x, grid) for y, x in (_rising(anchor), _rising(curve)))
    difference = second - first
    mean = float(((difference[1:] + difference[:-1]) / 2).mean())
    return 100 * (np.exp(mean) - 1)


def common_range(anchor: Curve, curve: Curve, within: tuple[float, float] = ALL) -> tuple[float, float]:
    """Lowest and highest dB of `within` that both curves reach; NaN where a curve has fewer than two points."""
    sides = [_rising(anchor)[0], _rising(curve)[0]]
    if min(map(len, sides)) < 2:
        return float("nan"), float("nan")
    return max(within[0], *(y[0] for y in sides)), min(within[1], *(y[-1] for y in sides))


def _rising(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """dB and log bpp, points left out that cost more than a better one."""
    kept: list[tuple[float, float]] = []
    for rate, quality in sorted(curve):
        if not kept or quality > kept[-1][1]:
            kept.append((rate, quality))
    return np.array([q for _, q in kept]), np.log([r for r, _ in kept])


def pchip(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Monotone piecewise cubic through (x, y), slopes after Fritsch and Butland (1984); x rises."""
    width, slope = np.diff(x), _slopes(np.diff(x), np.diff(y) / np.diff(x))
    k = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(width) - 1)
    h, t = width[k], (at - x[k]) / width[k]
    left = y[k] * (1 + 2 * t) * (1 - t) ** 2 + h * slope[k] * t * (1 - t) ** 2
    right = y[k + 1] * t**2 * (3 - 2 * t) - h * slope[k + 1] * t**2 * (1 - t)
    return left + right


def _slopes(width: np.ndarray, rise: np.ndarray) -> np.ndarray:
    """Slope at every point from the (n - 1,) intervals' widths and rises: 0 where the curve turns."""
    slope = np.concatenate([rise[:1], np.zeros(len(rise) - 1), rise[-1:]])
    for i in range(1, len(rise)):
        if rise[i - 1] * rise[i] > 0:
            a, b = 2 * width[i] + width[i - 1], width[i] + 2 * width[i - 1]
            slope[i] = (a + b) / (a / rise[i - 1] + b / rise[i])
    return slope


def published(name: str) -> list[dict]:
    """Published curves of a set ("kodak" or "cifar10"): name, source, points, and whether a plot draws it."""
    text = (files(__package__) / "published" / f"{name}.json").read_text(encoding="utf-8")
    return json.loads(text)["curves"]


def published_curve(name: str, curve: str) -> Curve:
    """One of them."""
    return next(entry["points"] for entry in published(name) if entry["name"] == curve)
