"""Plots by matplotlib, in its own colours."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from combiner_codec.inspect.drawing import pyplot

DOTS = 100  # an inch


def pictures(photographs: Sequence[Image.Image]) -> dict[str, Image.Image]:
    """Five plots."""
    rng = np.random.default_rng(3)
    return {
        "bars": figure((3.6, 2.7), lambda axis: bars(axis, rng)),
        "curves": figure((4, 3), lambda axis: curves(axis)),
        "points": figure((4, 3), lambda axis: points(axis, rng)),
        "field": figure((4, 3), lambda axis: field(axis)),
        "histogram": figure((4.8, 2.7), lambda axis: histogram(axis, rng)),
    }


def figure(inches: tuple[float, float], draw) -> Image.Image:
    """A figure with what `draw` does to its axes."""
    drawn, axis = pyplot().subplots(figsize=inches, dpi=DOTS, layout="constrained")
    draw(axis)
    drawn.canvas.draw()
    pixels = np.asarray(drawn.canvas.buffer_rgba())[..., :3]
    pyplot().close(drawn)
    return Image.fromarray(np.ascontiguousarray(pixels))


def bars(axis, rng: np.random.Generator) -> None:
    heights = rng.random(8) * 100
    axis.bar(range(8), heights)
    axis.set(title="Bars", xlabel="month", ylabel="items")
    for place, height in enumerate(heights):
        axis.text(place, height, f"{height:.0f}", ha="center", va="bottom", fontsize=8)


def curves(axis) -> None:
    x = np.linspace(0, 10, 400)
    for number in range(6):
        axis.plot(x, np.sin(x + number) * np.exp(-x / (4 + number)), label=f"run {number}")
    axis.set(title="Curves", xlabel="seconds", ylabel="volts")
    axis.grid(alpha=0.3)
    axis.legend()


def points(axis, rng: np.random.Generator) -> None:
    x = rng.normal(size=1500)
    y = x / 2 + rng.normal(size=1500)
    axis.scatter(x, y, c=np.hypot(x, y), s=14, alpha=0.6)
    axis.set(title="Points", xlabel="first", ylabel="second")


def field(axis) -> None:
    y, x = np.mgrid[-3:3:120j, -3:3:160j]
    values = np.sin(x * y) + np.exp(-(x**2) - y**2)
    shown = axis.imshow(values, interpolation="bilinear")
    axis.figure.colorbar(shown)
    axis.set(title="Field")


def histogram(axis, rng: np.random.Generator) -> None:
    for mean in (-1, 0, 2):
        axis.hist(rng.normal(mean, size=3000), bins=60, alpha=0.5, label=f"mean {mean}")
    axis.set(title="Histograms", ylabel="how often")
    axis.legend()
