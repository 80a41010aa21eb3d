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
TICKS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 8, 12)  # bpp


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; every column but the first is aligned to the right."""
    return [
        "| " + " | ".join(header) + " |",
        "|---|" + "---:|" * (len(header) - 1),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def points_table(curves: dict[str, list[Point]]) -> list[str]:
    """Every mean point; Butteraugli has a column where a point has it."""
    eye = any(p.butteraugli is not None for own in curves.values() for p in own)
    header = ["codec", "setting", "pictures", "bytes", "bpp", "PSNR, dB", "(MS-)SSIM", *["Butteraugli"] * eye,
              "encode, s", "decode, s"]  # fmt: skip
    return table(header, [_cells(name, p, eye) for name, own in curves.items() for p in own])


def _cells(name: str, p: Point, eye: bool) -> list[str]:
    distance = ["" if p.butteraugli is None else f"{p.butteraugli:.3f}"] if eye else []
    return [name, p.label, str(p.pictures), f"{p.bytes:.0f}", f"{p.bpp:.3f}", f"{p.psnr:.2f}", f"{p.ssim:.4f}",
            *distance, f"{p.encode_seconds:.3g}", f"{p.decode_seconds:.3g}"]  # fmt: skip


def eye_line() -> str:
    """What the column of Butteraugli is, or why nothing new stands in it."""
    if quality.has_butteraugli():
        return "Butteraugli: mean 3-norm of libjxl's butteraugli_main, less is better; pictures from 176 pixels."
    return f"Butteraugli: {quality.BUTTERAUGLI} (Debian: libjxl-devtools) is not on PATH, not measured."


def bd_table(curves: dict[str, list[Point]], anchor: str, curve: rd.Curve) -> list[str]:
    """BD-rate of every curve against an anchor."""
    rows = []
    for name, own in curves.items():
        if name != anchor:
            value = rd.bd_rate(curve, [p.rd for p in own])
            rows.append([name, f"{value:+.1f} %" if np.isfinite(value) else "no common range"])
    return table(["codec", f"BD-rate against {anchor}"], rows)


def plot(path: Path, title: str, measured: dict[str, Sequence[tuple[float, float]]], published: Sequence[dict] = (),
         bottom: float | None = None) -> None:  # fmt: skip
    """PSNR against file size, legible at the width of a README: measured curves solid, published ones dashed.

    bottom: dB below which nothing is shown.
    """
    figure, axes = pyplot().subplots(figsize=(7.5, 6.0), layout="constrained")
    for i, (name, curve) in enumerate(measured.items()):
        style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "lw": 1.8, "ms": 5}
        again = {"mfc": "white", "ls": (0, (6, 1))} if i >= len(COLOURS) else {}  # a second round of colours
        axes.plot(*zip(*sorted(curve), strict=True), label=name, **style | again)
    for i, entry in enumerate(published):
        origin = "ideal coder" if entry["source"].startswith("this project") else "published"
        style = {"color": "0.35", "ls": DASHES[i % len(DASHES)], "lw": 1.2}
        axes.plot(*zip(*sorted(entry["points"]), strict=True), label=f"{entry['name']}, {origin}", **style)
    _limit(axes, [*measured.values()], [entry["points"] for entry in published], bottom)
    axes.set(xlabel="file size, bits per pixel (logarithmic)", ylabel="PSNR over RGB, dB", title=title)
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside lower center", ncols=3, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_bytes(figure, path.suffix))


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
    shown = [decibels for curve in [*measured, *published] for rate, decibels in curve if low <= rate <= high]
    if shown:
        axes.set_ylim(max(min(shown), bottom or 0) - 0.5, min(max(shown), 50) + 0.5)
