"""`make bench-border`: which default family codes small pictures better, at sizes around their border."""

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from combiner_codec.bench import report
from combiner_codec.bench.measure import machine
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior as priors
from combiner_codec.reports import Report

from . import options, pages
from .cuts import required, thumbnail

SIDES = (32, 40, 48, 64, 96, 128)
BETAS = (0.01, 0.002)
FAMILIES = ("small", "photo")


def run(sources: Sequence[Path], out: Path, effort: str, limit: int | None, threads: int, say: Report) -> None:
    """Write border.md."""
    photographs, rows = required(sources, limit), []
    for side in SIDES:
        pictures = [thumbnail(photograph.pixels, side) for photograph in photographs]
        for beta in BETAS:
            rows.append(compared(pictures, Settings(beta, effort, threads=threads)))
            say(" ".join(rows[-1]))
    header = ["side", "beta", *(f"{name}, {unit}" for name in FAMILIES for unit in ("bytes", "dB"))]
    lines = [
        "# The border between the default families",
        "",
        f"Made by `make bench-border`: means over the centre squares of {len(photographs)} photographs, scaled down,",
        f"`--effort {effort}`. J is MSE + beta ln 2 bpp, here how much more `photo` costs than `small`.",
        "",
        *report.table([*header, "J of photo", "better", "default"], rows),
        "",
        f"Measured on {machine()}.",
    ]
    pages.write(out / "border.md", lines)


def compared(pictures: Sequence[np.ndarray], settings: Settings) -> list[str]:
    """Row of the table: both families on pictures of one size."""
    cells, costs, side = [], {}, len(pictures[0])
    for family in FAMILIES:
        files = encode_arrays(pictures, priors.load(family), settings)
        costs[family] = np.mean([f.lagrangian(p, settings.beta) for f, p in zip(files, pictures, strict=True)])
        cells += [f"{np.mean([len(f.data) for f in files]):.0f}", f"{np.mean([f.psnr for f in files]):.2f}"]
    share = f"{100 * (costs['photo'] / costs['small'] - 1):+.1f} %"
    better, default = min(costs, key=costs.get), priors.default(side, side).name
    return [f"{side}×{side}", f"{settings.beta:g}", *cells, share, better, default]


@click.command("border")
@options.sources
@options.out()
@options.effort("fast")
@options.limit
@options.threads
def command(**settings):
    """Both default families on pictures of 32 to 128 pixels."""
    run(**settings, say=click.echo)
