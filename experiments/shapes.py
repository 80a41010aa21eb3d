"""`make shapes`: whether memory depends on the pixels of a picture alone, not on its shape (synthesis/bands.py).

The same photographs side by side, in a square and in ever longer lines, encoded and decoded by the command, as
growth.py does it.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from combiner_codec.bench import report
from combiner_codec.bench.measure import machine
from combiner_codec.reports import Report

from . import options, pages
from .cuts import mosaic, required
from .growth import Row, measured

HEAD = ["picture", "bytes", "encode, MB", "of the square's", "decode, MB", "of the square's"]


def run(
    sources: Sequence[Path],
    out: Path,
    sizes: Sequence[str],
    beta: float,
    effort: str,
    threads: int,
    note: str,
    say: Report,
) -> None:
    """A page with a row for each size; the first one is the square."""
    photographs = [picture.pixels for picture in required(sources)]
    rows = []
    for size in sizes:
        width, height = map(int, size.split("x"))
        rows.append(measured(mosaic(photographs, width, height), beta, effort, threads))
        say(" ".join(cells(rows[-1], rows[0])))
    pages.write(out, page(rows, beta, effort, note))


def cells(row: Row, square: Row) -> list[str]:
    """Of the table."""
    found = [f"{row.width}×{row.height}", str(row.bytes)]
    for cost, of_square in zip(row.costs, square.costs, strict=True):
        found += [f"{cost.megabytes:.0f}", f"{cost.megabytes / of_square.megabytes:.2f}"]
    return found


def page(rows: Sequence[Row], beta: float, effort: str, note: str) -> list[str]:
    """The page's lines."""
    lines = [
        "# Memory and the shape of a picture",
        "",
        "Made by `make shapes`: the most memory that the commands had as processes, start-up included, for pictures of",
        f"as many pixels as the first one has; β = {beta:g}, `--effort {effort}`.",
        "",
        *report.table(HEAD, [cells(row, rows[0]) for row in rows]),
        "",
        f"Measured on {machine()}.",
    ]
    if note:
        lines += ["", note]
    return lines


@click.command("shapes")
@options.sources
@options.out("docs/results/shapes.md")
@click.option("--sizes", default="4096x4096,16384x1024,1024x16384,1048576x16,16x1048576", show_default=True,
              help="Width and height; the first one is what others are compared with.")  # fmt: skip
@click.option("--beta", type=float, default=0.0055, show_default=True)
@options.effort("fast")
@options.threads
@options.note
def command(sizes, **settings):
    """How memory depends on the shape of a picture."""
    run(sizes=sizes.split(","), **settings, say=click.echo)
