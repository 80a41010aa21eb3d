"""`make bench-speed`: encode and decode beside WebP and AVIF at the same size, in one run on one machine.

Seconds differ between machines and days; ratios of one run less. Every encoder gets the same number of threads; rounds
go from codec to codec, so that a slow minute meets all of them, and the median counts.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from combiner_codec.bench import codecs, report
from combiner_codec.bench.codecs import AVIF_SPEED, WEBP_METHOD, Codec, PillowCodec
from combiner_codec.bench.measure import machine, timed
from combiner_codec.bench.pictures import Picture
from combiner_codec.reports import Report

from . import options, pages
from .cuts import required

BETA = 0.004
PACED_PIXELS = 10**5  # of pictures that are large enough to tell seconds a megapixel
QUALITIES = range(0, 96, 5)
COMMANDS = "--help", "info in.cmb", "decode in.cmb -o out.png -f"


@dataclass(frozen=True)
class Times:
    """Seconds of one codec on one picture, and its file."""

    codec: Codec
    encode: float
    decode: float
    size: int  # bytes


def run(sources: Sequence[Path], out: Path, efforts: Sequence[str], rounds: int, threads: int, say: Report) -> None:
    """Write speed.md: seconds and ratios for every picture."""
    pictures = required(sources)
    rivals, missing = codecs.others(["webp", "avif"])
    ours = [codecs.CombinerCodec(f"combiner {effort}", effort) for effort in efforts]
    rows, started = [], []
    paces: dict[str, list[float]] = {}  # seconds a megapixel of each picture, by effort
    for picture in pictures:
        (file,) = ours[0].encode([picture.pixels], BETA, threads)
        size = len(file.data)
        jobs = [(codec, BETA) for codec in ours] + [(codec, nearest(codec, picture.pixels, size)) for codec in rivals]
        found = median_of(jobs, picture.pixels, rounds, threads)
        own = [row(picture, one, found[len(ours) :]) for one in found]
        say("\n".join(map(" ".join, own)))
        rows += own
        started.append([titled(picture), *(f"{seconds:.2f}" for seconds in as_commands(file.data, rounds))])
        if picture.size >= PACED_PIXELS:
            for one in found[: len(ours)]:
                paces.setdefault(one.codec.name, []).append(one.encode * 1e6 / picture.size)
    pace = [[name, f"{statistics.median(seconds):.3g}"] for name, seconds in paces.items()]
    for name, seconds in pace:
        say(f"{name}: {seconds} s a megapixel")
    write(out, [codec.name for codec in rivals], rows, started, pace, rounds, threads, missing)


def nearest(codec: PillowCodec, pixels: np.ndarray, size: int) -> float:
    """The quality whose file is nearest to `size` bytes."""
    return min(QUALITIES, key=lambda quality: abs(len(codec.encode([pixels], quality)[0].data) - size))


def median_of(jobs: Sequence[tuple[Codec, float]], pixels: np.ndarray, rounds: int, threads: int) -> list[Times]:
    """Medians of every (codec, setting)."""
    taken = [[measured(codec, setting, pixels, threads) for codec, setting in jobs] for _ in range(rounds)]
    return [
        Times(own[0].codec, *(statistics.median(getattr(one, k) for one in own) for k in ("encode", "decode")),
              own[0].size)
        for own in zip(*taken, strict=True)
    ]  # fmt: skip


def measured(codec: Codec, setting: float, pixels: np.ndarray, threads: int) -> Times:
    """One encoding and one decoding."""
    (file,), encode = timed(lambda: codec.encode([pixels], setting, threads))
    _, decode = timed(lambda: codec.decode(file.data, threads))
    return Times(codec, encode, decode, len(file.data))


def as_commands(data: bytes, rounds: int) -> list[float]:
    """Median seconds of COMMANDS as processes, start-up included, on one file.

    Their modules are compiled, as those of an installed package are, whatever the environment says.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.cmb"
        path.write_bytes(data)

        def run(*arguments):
            command = [sys.executable, "-m", "combiner_codec", *arguments]
            subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)

        taken = [[timed(lambda own=own: run(*own.split()))[1] for own in COMMANDS] for _ in range(rounds)]
    return [statistics.median(own) for own in zip(*taken, strict=True)]


def titled(picture: Picture) -> str:
    """Name and size."""
    height, width = picture.pixels.shape[:2]
    return f"{picture.name}, {width}×{height}"


def row(picture: Picture, own: Times, others: Sequence[Times]) -> list[str]:
    """Seconds, and as multiples of the others'."""
    encoding = [f"{own.encode / other.encode:.3g}" for other in others]
    decoding = [f"{own.decode / other.decode:.3g}" for other in others]
    return [titled(picture), own.codec.name, str(own.size), f"{own.encode:.3g}", *encoding,
            f"{own.decode:.3g}", *decoding]  # fmt: skip


def write(out: Path, rivals: Sequence[str], rows: Sequence[list[str]], started: Sequence[list[str]],
          pace: Sequence[list[str]], rounds: int, threads: int, missing: Sequence[str]) -> None:  # fmt: skip
    """The page."""
    against = [f"× {name}" for name in rivals]
    lines = [
        "# Speed",
        "",
        f"Made by `make bench-speed`: medians of {rounds} rounds in one process, {threads or 'all'} threads for "
        "every codec,",
        f"priors and libraries loaded. WebP has method {WEBP_METHOD}, AVIF is libaom's at speed {AVIF_SPEED}; both "
        "have the",
        "quality whose file is nearest in size. A ratio is this codec's time as a multiple of the other's.",
        "",
        *report.table(["picture", "codec", "bytes", "encode, s", *against, "decode, s", *against], rows),
        "",
        "Seconds of the commands, start-up included, on the first row's file:",
        "",
        *report.table(["file", *COMMANDS], started),
        "",
        "Encoding, seconds a megapixel: by these the command tells how long a picture takes (`command/estimate.py`).",
        "",
        *report.table(["codec", "s a megapixel"], pace),
        "",
        f"Measured on {machine()}.",
        *missing,
    ]
    pages.write(out / "speed.md", lines)


@click.command("speed")
@options.sources
@options.out()
@click.option("--effort", "efforts", multiple=True, type=options.EFFORTS, default=["fast", "normal"], show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@options.threads
def command(**settings):
    """Encode and decode times beside WebP and AVIF."""
    run(**settings, say=click.echo)
