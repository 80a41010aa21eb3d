"""Tables in Markdown and rate-distortion plots."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..inspect.drawing import COLOURS, pyplot, to_bytes
from . import curves as rd
from . import quality
from .measure import Point

MARKERS = "osD^vP*X"
DASHES = ("--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 3)))
MOST_DECIBELS = 50  # that a plot shows
TICKS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 8, 12)  # bpp


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; every column but the first is aligned to the right."""
    return [
        "| " + " | ".join(header) + " |",
        "|---|" + "---:|" * (len(header) - 1),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def points_table(curves: dict[str, list[Point]], metrics: Sequence[str] = quality.METRICS) -> list[str]:
    """Every mean point; each of the eye's measures that is asked for has a column where a point has it."""
    points = [(name, point) for name, curve in curves.items() for point in curve]
    known = {name for _, point in points for name in point.eye}
    eye = [name for name in quality.EYE if name in known and name in metrics]
    header = ["codec", "setting", "pictures", "bytes", "bpp"]
    if "psnr" in metrics:
        header.append("PSNR, dB")
    if "msssim" in metrics:
        header.append("(MS-)SSIM")
    header += [quality.EYE[name].heading for name in eye]
    header += ["encode, s", "decode, s"]
    return table(header, [_cells(name, point, metrics, eye) for name, point in points])


def _cells(name: str, point: Point, metrics: Sequence[str], eye: Sequence[str]) -> list[str]:
    cells = [name, point.label, str(point.pictures), f"{point.bytes:.0f}", f"{point.bpp:.3f}"]
    if "psnr" in metrics:
        cells.append(f"{point.psnr:.2f}")
    if "msssim" in metrics:
        cells.append(f"{point.ssim:.4f}")
    for metric in eye:
        digits = quality.EYE[metric].digits
        cells.append(f"{point.eye[metric]:.{digits}f}" if metric in point.eye else "")
    return [*cells, f"{point.encode_seconds:.3g}", f"{point.decode_seconds:.3g}"]


def bd_table(curves: dict[str, list[Point]], anchor: str, curve: rd.Curve) -> list[str]:
    """BD-rate of every curve against an anchor."""
    rows = []
    for name, points in curves.items():
        if name == anchor:
            continue
        value = rd.bd_rate(curve, [point.rd for point in points])
        rows.append([name, f"{value:+.1f} %" if np.isfinite(value) else "no common range"])
    return table(["codec", f"BD-rate against {anchor}"], rows)


def plot(path: Path, title: str, measured: dict[str, Sequence[tuple[float, float]]], published: Sequence[dict] = (),
         bottom: float | None = None) -> None:  # fmt: skip
    """PSNR against file size, legible at the width of a README: measured curves solid, published ones dashed.

    bottom: dB below which nothing is shown.
    """
    figure, axes = pyplot().subplots(figsize=(7.5, 6.0), layout="constrained")
    for i, (name, curve) in enumerate(measured.items()):
        style = {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "lw": 1.8,
            "ms": 5,
        }
        if i >= len(COLOURS):  # a second round of colours
            style |= {"mfc": "white", "ls": (0, (6, 1))}
        _draw(axes, curve, name, style)
    for i, entry in enumerate(published):
        ours = entry["source"].startswith("this project")
        origin = "ideal coder" if ours else "published"
        style = {"color": "0.35", "ls": DASHES[i % len(DASHES)], "lw": 1.2}
        _draw(axes, entry["points"], f"{entry['name']}, {origin}", style)
    others = [entry["points"] for entry in published]
    _limit(axes, list(measured.values()), others, bottom)
    axes.set(xlabel="file size, bits per pixel (logarithmic)", ylabel="PSNR over RGB, dB", title=title)
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside lower center", ncols=3, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_bytes(figure, path.suffix))


def _draw(axes, curve: rd.Curve, name: str, style: dict) -> None:
    points = sorted(curve)
    rates = [rate for rate, _ in points]
    decibels = [quality for _, quality in points]
    axes.plot(rates, decibels, label=name, **style)


def _limit(axes, measured: Sequence[rd.Curve], published: Sequence[rd.Curve], bottom: float | None) -> None:
    """Show the measured rates, and what all curves reach there."""
    rates = sorted(rate for curve in measured for rate, _ in curve)
    if rates:
        axes.set_xlim(rates[0] * 0.85, rates[-1] * 1.15)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    ticks = [rate for rate in TICKS if low <= rate <= high]
    axes.set_xticks(ticks, [f"{rate:g}" for rate in ticks])
    axes.minorticks_off()
    shown = []
    for curve in [*measured, *published]:
        shown += [decibels for rate, decibels in curve if low <= rate <= high]
    if shown:
        least = max(min(shown), bottom or 0)
        most = min(max(shown), MOST_DECIBELS)
        axes.set_ylim(least - 0.5, most + 0.5)
