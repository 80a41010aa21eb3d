"""`make bench-web`: previews with the priors for the web against those that it was made of, and what each downloads."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from combiner_codec.bench import report
from combiner_codec.bench.measure import machine
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.goal import Goal
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior as priors
from combiner_codec.format.prior import Prior
from combiner_codec.picture.scaling import PREVIEW_SIDE
from combiner_codec.reports import Report
from scripts import web_prior

from . import options, pages
from .cuts import required, thumbnail

BUDGETS = (60, 100, 200)
SMALLER = {"points": [0, 2, 4], "classes": 24, "merged": 10, "bits": 2}  # one of half the download


def run(
    sources: Sequence[Path], out: Path, work: Path, effort: str, limit: int | None, threads: int, say: Report
) -> None:
    """Write web.md."""
    photographs, rows = required(sources, limit), []
    pictures = [thumbnail(photograph.pixels, PREVIEW_SIDE) for photograph in photographs]
    for name, prior in compared(work).items():
        size = len(gzip.compress(web_prior.web(prior), 9))
        decibels = [f"{mean_of(pictures, prior, Settings(effort=effort, threads=threads), n):.2f}" for n in BUDGETS]
        rows.append([name, f"{size / 1000:.0f} kB", *decibels])
        say(" ".join(rows[-1]))
    lines = [
        "# Priors for the web",
        "",
        f"Made by `make bench-web` from the centre squares of {len(photographs)} photographs, scaled to {PREVIEW_SIDE}×"
        f"{PREVIEW_SIDE}: mean dB of",
        f"files of at most so many bytes, `--effort {effort}`. The download is the gzipped prior "
        "(`scripts/web_prior.py`). The",
        "last prior has no number; the 4 bytes by which its files name it are not counted.",
        "",
        *report.table(["prior", "download", *(f"{budget} bytes" for budget in BUDGETS)], rows),
        "",
        f"Measured on {machine()}.",
    ]
    pages.write(out / "web.md", lines)


def compared(work: Path) -> dict[str, Prior]:
    """Priors by the name of their row."""
    work.mkdir(parents=True, exist_ok=True)
    less = web_prior.smaller(priors.load("photo"), work / "smaller.npz", **SMALLER)
    title = "photo, {classes} + {merged} classes, {bits} bits of fraction".format(**SMALLER)
    return {name: priors.load(name) for name in ("photo", "small", "web", "nano")} | {title: less}


def mean_of(pictures: Sequence[np.ndarray], prior: Prior, settings: Settings, budget: int) -> float:
    """Mean dB at a number of bytes. Raises CombinerError where a picture cannot be so small."""
    results = encode_arrays(pictures, prior, settings, Goal(size=budget + len(prior.header_hash)))
    for result in results:
        if isinstance(result, Exception):
            raise result
    return float(np.mean([result.psnr for result in results]))


@click.command("web")
@options.sources
@options.out()
@options.work("build/web")
@options.effort("normal")
@options.limit
@options.threads
def command(**settings):
    """Previews with priors for the web."""
    run(**settings, say=click.echo)
