"""`make growth`: how seconds and memory of encoding and decoding grow with pixels and with rate, as a user's commands.

Every command is a process of its own, with its start-up, which is most of what small pictures take. Pictures are
squares of photographs side by side. Seconds are those of the processor, all threads together, so that company on the
machine matters less; memory is the most that the process had.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image

from combiner_codec.bench import report
from combiner_codec.bench.measure import machine
from combiner_codec.inspect.drawing import COLOURS, pyplot, to_bytes
from combiner_codec.reports import Report

from . import options, pages
from .cuts import SQUARE, mosaic, required

MIDDLE = 1024  # side of the picture that is encoded at several rates
LARGE = 2**20  # pixels from where on slopes are fitted: below, start-up counts
WHAT = ("encode", "decode")
EVERY = 0.01  # seconds between looks at a process's memory


@dataclass(frozen=True)
class Cost:
    """Of one command."""

    seconds: float  # of the processor
    wall: float
    megabytes: float  # at most


@dataclass(frozen=True)
class Row:
    """One picture at one beta."""

    width: int
    height: int
    beta: float
    bytes: int
    costs: tuple[Cost, Cost]  # of encoding and decoding

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def bpp(self) -> float:
        return 8 * self.bytes / self.pixels


@dataclass(frozen=True)
class Reached:
    """A picture encoded to a goal, or to a beta."""

    picture: str
    goal: str  # an option of the command
    bytes: int
    cost: Cost
    usual: Cost  # of encoding it to a beta

    def cells(self) -> list[str]:
        """Of a table."""
        times = self.cost.seconds / self.usual.seconds
        return [self.picture, self.goal, str(self.bytes), f"{self.cost.seconds:.3g}", f"{times:.2f}",
                f"{self.cost.megabytes:.3g}"]  # fmt: skip


def run_goals(sources: Sequence[Path], out: Path, sizes: Sequence[str], beta: float, effort: str, threads: int,
              psnr: float, note: str, say: Report) -> None:  # fmt: skip
    """Part `goals` of performance.md: every picture to a beta, to the size of that file, and to a PSNR."""
    photographs = [picture.pixels for picture in required(sources)]
    rows = []
    for size in sizes:
        width, height = map(int, size.split("x"))
        rows += reached(mosaic(photographs, width, height), beta, effort, threads, psnr, say)
    head = ["picture", "goal", "bytes", "s of processor", "times that of the beta", "MB, at most"]
    lines = [
        f"Made by `make goals`: the command as a process, start-up included, `--effort {effort}`.",
        "",
        *report.table(head, [row.cells() for row in rows]),
        "",
        f"Measured on {machine()}.",
    ]
    if note:
        lines.append(note)
    pages.put(out, "goals", lines)


def reached(picture: np.ndarray, beta: float, effort: str, threads: int, psnr: float, say: Report) -> list[Reached]:
    """One picture to a beta, a size and a PSNR."""
    found: list[Reached] = []
    name = f"{picture.shape[1]}×{picture.shape[0]}"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        Image.fromarray(picture).save(folder / "in.png")
        options_of = ["in.png", "-o", "out.cmb", "--force", "--effort", effort]
        if threads:
            options_of += ["--threads", str(threads)]
        for option in ("beta", "target-size", "target-psnr"):
            value = {"beta": beta, "target-psnr": psnr}.get(option) or found[0].bytes
            taken = cost(["encode", *options_of, f"--{option}", str(value)], folder)
            size = (folder / "out.cmb").stat().st_size
            usual = found[0].cost if found else taken
            found.append(Reached(name, f"`--{option} {value}`", size, taken, usual))
            say(" ".join(found[-1].cells()))
    return found


def run(sources: Sequence[Path], out: Path, sizes: Sequence[str], beta: float, betas: Sequence[float], effort: str,
        threads: int, note: str, say: Report) -> None:  # fmt: skip
    """Table and picture, into performance.md and beside it."""
    photographs = [picture.pixels for picture in required(sources)]
    jobs = [(*map(int, size.split("x")), beta) for size in sizes] + [(MIDDLE, MIDDLE, own) for own in betas]
    rows = []
    for width, height, own in jobs:
        rows.append(measured(mosaic(photographs, width, height), own, effort, threads))
        say(" ".join(cells(rows[-1])))
    parts = rows[: len(sizes)], rows[len(sizes) :]
    pages.put(out, "growth", page(*parts, beta, effort, note))
    plot(out.parent / "figures" / "growth.png", *parts)


def measured(picture: np.ndarray, beta: float, effort: str, threads: int) -> Row:
    """Encoded and decoded once, by the commands."""
    own = ["--threads", str(threads)] if threads else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.fromarray(picture).save(folder / "in.png")
        encode = cost(["encode", "in.png", "-o", "out.cmb", "--beta", str(beta), "--effort", effort, *own], folder)
        decode = cost(["decode", "out.cmb", "-o", "out.png", *own], folder)
        size = (folder / "out.cmb").stat().st_size
    return Row(picture.shape[1], picture.shape[0], beta, size, (encode, decode))


def cost(arguments: Sequence[str], folder: Path) -> Cost:
    """Run the command. Raises CalledProcessError if it fails."""
    started, most = os.times().elapsed, 0.0
    with subprocess.Popen([sys.executable, "-m", "combiner_codec", *arguments], cwd=folder) as process:
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            most = max(most, high_water(process.pid))
            time.sleep(EVERY)
        _, status, usage = ended
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    return Cost(usage.ru_utime + usage.ru_stime, os.times().elapsed - started, most)


def high_water(pid: int) -> float:
    """Megabytes that a process has had at most; the kernel's usage of a child counts those of its parent too."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return sum(1024 / 1e6 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of a line through logarithms; NaN through fewer than two points."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0]) if len(x) > 1 else float("nan")


def cells(row: Row) -> list[str]:
    """Of a table."""
    numbers = [f"{value:.3g}" for own in row.costs for value in (own.seconds, own.wall, own.megabytes)]
    return [f"{row.width}×{row.height}", f"{row.beta:g}", str(row.bytes), f"{row.bpp:.3f}", *numbers]


def page(sizes: Sequence[Row], rates: Sequence[Row], beta: float, effort: str, note: str) -> list[str]:
    """What it puts into performance.md."""
    large = [row for row in sizes if row.pixels >= LARGE]
    slopes = [slope([row.pixels for row in large], [row.costs[k].seconds for row in large]) for k in range(2)]
    powers = [slope([row.bpp for row in rates], [row.costs[k].seconds for row in rates]) for k in range(2)]
    head = ["picture", "β", "bytes", "bpp"]
    head += [f"{what}, {unit}" for what in WHAT for unit in ("s of processor", "s", "MB")]
    return [
        f"Made by `make growth`: the commands as processes, start-up included, `--effort {effort}`; seconds of the",
        "processor (all threads) and on the clock, and the most memory that a process had. Squares of photographs of",
        f"{SQUARE}×{SQUARE} side by side.",
        "",
        "![Seconds and memory against pixels and rate](figures/growth.png)",
        "",
        f"With pixels, β = {beta:g}. From {LARGE} pixels on, seconds of the processor grow as pixels to the power of "
        f"{slopes[0]:.2f}",
        f"(encode) and {slopes[1]:.2f} (decode):",
        "",
        *report.table(head, [cells(row) for row in sizes]),
        "",
        f"With rate. Seconds of the processor grow as bits a pixel to the power of {powers[0]:.2f} (encode) and "
        f"{powers[1]:.2f} (decode):",
        "",
        *report.table(head, [cells(row) for row in rates]),
        "",
        f"Measured on {machine()}.",
        *([note] if note else []),
    ]


def plot(path: Path, sizes: Sequence[Row], rates: Sequence[Row]) -> None:
    """Seconds and memory against pixels, and against rate, logarithmic."""
    figure, axes = pyplot().subplots(1, 3, figsize=(10.5, 3.6), layout="constrained")
    for k, what in enumerate(WHAT):
        style = {"label": what, "color": COLOURS[k], "marker": "os"[k]}
        axes[0].plot([row.pixels for row in sizes], [row.costs[k].seconds for row in sizes], **style)
        axes[1].plot([row.pixels for row in sizes], [row.costs[k].megabytes for row in sizes], **style)
        axes[2].plot([row.bpp for row in rates], [row.costs[k].seconds for row in rates], **style)
    seconds = "seconds of the processor"
    for one, x, y in zip(axes, ("pixels", "pixels", "bits per pixel"), (seconds, "MB", seconds), strict=True):
        one.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
        one.grid(alpha=0.3)
    axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_bytes(figure, path.suffix))


@click.command("growth")
@options.sources
@options.out("docs/performance.md")
@click.option("--sizes", default="32x32,64x64,128x128,256x256,512x512,1024x1024,2048x2048,4096x4096",
              show_default=True, help="8192x6144: 50 megapixels.")  # fmt: skip
@click.option("--beta", type=float, default=0.0055, show_default=True)
@click.option("--betas", type=options.NUMBERS, default=(0.03, 0.011, 0.0045, 0.0016, 0.0005), show_default=True,
              help=f"For {MIDDLE}×{MIDDLE} pixels.")  # fmt: skip
@options.effort("fast")
@options.threads
@options.note
def command(sizes, **settings):
    """How seconds and memory grow with pixels and rate."""
    run(sizes=sizes.split(","), **settings, say=click.echo)


@click.command("goals")
@options.sources
@options.out("docs/performance.md")
@click.option("--sizes", default="1024x1024,4096x3072", show_default=True)
@click.option("--beta", type=float, default=0.0055, show_default=True)
@click.option("--psnr", type=float, default=30.0, show_default=True, help="dB.")
@options.effort("fast")
@options.threads
@options.note
def goals_command(sizes, **settings):
    """What a wanted size and a wanted PSNR cost, against a beta."""
    run_goals(sizes=sizes.split(","), **settings, say=click.echo)
