"""`make bench-border`: which default family codes small pictures better, at sizes around their border."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .. import prior as priors
from ..codec import encode_arrays
from . import report
from .measure import machine
from .pictures import required
from .thumbnails import thumbnail

SIDES = (32, 40, 48, 64, 96, 128)
BETAS = (0.01, 0.002)
FAMILIES = ("small", "photo")


def run(sources: Sequence[Path], out: Path, effort: str, limit: int | None, threads: int,
        say: Callable[[str], None]) -> None:  # fmt: skip
    """Write border.md."""
    photographs = required(sources, limit)
    rows = []
    for side in SIDES:
        pictures = [thumbnail(photograph.pixels, side) for photograph in photographs]
        for beta in BETAS:
            cells, costs = [], {}
            for family in FAMILIES:
                files = encode_arrays(pictures, beta, priors.load(family), threads=threads, effort=effort)
                costs[family] = np.mean([f.lagrangian(p, beta) for f, p in zip(files, pictures, strict=True)]) / side**2
                cells += [f"{np.mean([len(f.data) for f in files]):.0f}", f"{np.mean([f.psnr for f in files]):.2f}"]
            better = min(costs, key=costs.get)
            share = f"{100 * (costs['photo'] / costs['small'] - 1):+.1f} %"
            rows.append([f"{side}×{side}", f"{beta:g}", *cells, share, better, priors.default(side, side).name])
            say(" ".join(rows[-1]))
    header = ["side", "beta", *(f"{name}, {unit}" for name in FAMILIES for unit in ("bytes", "dB"))]
    lines = [
        "# The border between the default families",
        "",
        f"Made by `make bench-border`: {len(photographs)} photographs, centre squares scaled down,",
        f"`--effort {effort}`, means. J is the Lagrangian, MSE + beta ln 2 bpp: what `photo` costs more than `small`.",
        "",
        *report.table([*header, "J of photo", "better", "default"], rows),
        "",
        f"Measured on {machine()}.",
    ]
    out.mkdir(parents=True, exist_ok=True)
    (out / "border.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
