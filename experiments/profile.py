"""`make profile`: where the seconds of encoding and decoding go, stage by stage, on one thread.

Stages are functions of the package; while one runs inside another, the inner one's seconds count for it alone. Seconds
are the process's own, so that company on the machine matters less, and the least of some rounds.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from unittest.mock import patch

import click
import numpy as np

from combiner_codec import decoder
from combiner_codec.bench import codecs, report
from combiner_codec.bench.measure import machine
from combiner_codec.bench.pictures import SMALL
from combiner_codec.encoder import batch
from combiner_codec.encoder.choose.chooser import Chooser
from combiner_codec.encoder.code import pictures as coder
from combiner_codec.encoder.fit.descent import Descent
from combiner_codec.encoder.fit.subject import Subject
from combiner_codec.format import candidates, classmap
from combiner_codec.reports import Report
from combiner_codec.synthesis.network import Network

from . import options, pages
from .cuts import centre, mosaic, required, thumbnail

REST, EFFORTS = "rest", ("fast", "normal")
ENCODE = {
    "operating points": (Chooser, "rank"),
    "tiles merged": (Chooser, "tiling"),
    "classes": (Chooser, "classes"),
    "start": (Subject, "start"),
    "fit, refinement": (Descent, "run"),
    "candidates": (candidates, "candidates"),
    "scores, Viterbi": (coder, "code_segment"),
    "verification": (batch, "shown_over"),
}
DECODE = {
    "header, streams": (decoder, "parse"),
    "class map": (classmap, "decode"),
    "latents": (decoder, "sample"),
    "cosines, borders": (Network, "down"),
    "network": (Network, "show"),
}


@dataclass(frozen=True)
class Clock:
    """Process seconds by stage, those of stages inside it left out."""

    spent: dict[str, float] = field(default_factory=dict)
    inside: list[float] = field(default_factory=list)  # seconds of inner stages, one number for each open stage

    def timed(self, stage: str, work: Callable) -> Callable:
        """The same function, under this clock."""

        @wraps(work)
        def run(*args, **kwargs):
            self.inside.append(0.0)
            started = time.process_time()
            try:
                return work(*args, **kwargs)
            finally:
                whole = time.process_time() - started
                self.spent[stage] = self.spent.get(stage, 0.0) + whole - self.inside.pop()
                if self.inside:
                    self.inside[-1] += whole

        return run


def seconds(work: Callable, stages: dict[str, tuple], rounds: int) -> dict[str, float]:
    """Seconds of every stage and of the rest: those of the quickest round."""
    return min((_round(work, stages) for _ in range(rounds)), key=lambda spent: sum(spent.values()))


def _round(work, stages):
    clock = Clock()
    with ExitStack() as patched:
        for stage, (owner, name) in stages.items():
            patched.enter_context(patch.object(owner, name, clock.timed(stage, getattr(owner, name))))
        clock.timed(REST, work)()
    return {stage: clock.spent.get(stage, 0.0) for stage in (*stages, REST)}


def cuts(photographs: Sequence[np.ndarray], width: int, height: int, count: int) -> list[np.ndarray]:
    """Squares scaled down, other sizes from the middle; `count` of them where small ones are encoded together."""
    large = [pixels for pixels in photographs if pixels.shape[0] >= height and pixels.shape[1] >= width]
    some = large[: count if width * height <= SMALL else 1]
    return [thumbnail(pixels, width) if width == height else centre(pixels, width, height) for pixels in some]


def run(sources: Sequence[Path], out: Path, sizes: Sequence[str], beta: float, count: int, rounds: int,
        say: Report) -> None:  # fmt: skip
    """Seconds a picture by stage, for every size, into performance.md."""
    photographs = [picture.pixels for picture in required(sources)]
    encoding, decoding, heads = [], [], []
    for size in sizes:
        width, height = map(int, size.split("x"))
        pictures = cuts(photographs, width, height, count) or [mosaic(photographs, width, height)]
        heads.append(f"{size.replace('x', '×')}{f', {len(pictures)} together' if len(pictures) > 1 else ''}")
        for effort in EFFORTS:
            spent, files = encoded(pictures, effort, beta, rounds)
            encoding.append(spent)
            say(f"{size} {effort}: {sum(spent.values()):.3g} s a picture")
        decoding.append(decoded(files, rounds))
    pages.put(out, "profile", page(heads, encoding, decoding, beta, rounds))


def encoded(pictures: Sequence[np.ndarray], effort: str, beta: float, rounds: int) -> tuple[dict, list[bytes]]:
    """Seconds a picture of every stage, and the files."""
    codec = codecs.CombinerCodec(f"combiner {effort}", effort)
    files = [file.data for file in codec.encode(pictures, beta, 1)]  # loads priors and libraries too
    return _each(seconds(lambda: codec.encode(pictures, beta, 1), ENCODE, rounds), len(files)), files


def decoded(files: Sequence[bytes], rounds: int) -> dict[str, float]:
    """Seconds a file of every stage."""
    return _each(seconds(lambda: [decoder.decode_array(data, threads=1) for data in files], DECODE, rounds), len(files))


def _each(spent, count):
    return {stage: value / count for stage, value in spent.items()}


def page(heads: Sequence[str], encoding, decoding, beta: float, rounds: int) -> list[str]:
    """What it puts into performance.md."""
    efforts = [f"{head}, {effort}" for head in heads for effort in EFFORTS]
    return [
        f"Made by `make profile`: processor seconds a picture on one thread, β = {beta:g}, the quickest of {rounds} "
        "rounds, priors and",
        "libraries loaded. Squares are photographs scaled down, other sizes cut from the middle of one, mosaics where",
        "no photograph is that large.",
        "",
        "Encoding:",
        "",
        *table(efforts, encoding),
        "",
        "Decoding, files of effort `normal`:",
        "",
        *table(heads, decoding),
        "",
        f"Measured on {machine()}.",
    ]


def table(heads: Sequence[str], columns: Sequence[dict[str, float]]) -> list[str]:
    """A row for each stage, with its share, and their sum."""
    totals = [sum(own.values()) for own in columns]
    rows = [
        [stage, *(f"{own[stage]:.3g} ({own[stage] / total:.0%})" for own, total in zip(columns, totals, strict=True))]
        for stage in columns[0]
    ]
    return report.table(["stage", *heads], [*rows, ["all", *(f"{total:.3g}" for total in totals)]])


@click.command("profile")
@options.sources
@options.out("docs/performance.md")
@click.option("--sizes", default="32x32,64x64,768x512", show_default=True, help="2048x2048: four megapixels.")
@click.option("--beta", type=float, default=0.0055, show_default=True)
@click.option("--count", type=click.IntRange(1), default=16, show_default=True, help="Small pictures together.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
def command(sizes, **settings):
    """Where the seconds of encoding and decoding go."""
    run(sizes=sizes.split(","), **settings, say=click.echo)
