"""`make ranks`: how many small pictures a second `encode` takes under torchrun, against the number of processes.

Pictures are squares cut from small photographs. Every run is a command of its own, with its start-up. What each process
took is read from the system (Linux) while it works.
"""

import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image

from combiner_codec.bench import report
from combiner_codec.bench.measure import machine
from combiner_codec.command.jobs import Kind, Plan
from combiner_codec.errors import FormatError
from combiner_codec.reports import Report

from . import options, pages
from .growth import high_water

EVERY = 0.2  # seconds between looks at the processes
MANY = 100_000  # pictures that the page extrapolates to
FOLDER = "pictures"


@dataclass(frozen=True)
class Used:
    """What one process has taken so far."""

    seconds: float  # of the processor
    megabytes: float  # at most


@dataclass(frozen=True)
class Run:
    """Of one command."""

    ranks: int
    pictures: int
    wall: float  # seconds, start-up included
    of_ranks: tuple[Used, ...]

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.pictures / self.wall

    @property
    def seconds(self) -> float:
        """Of the processor, all ranks together; without torchrun's own process."""
        return sum(used.seconds for used in self.of_ranks)

    def cells(self) -> list[str]:
        """Of a table."""
        seconds = [used.seconds for used in self.of_ranks]
        most = max(used.megabytes for used in self.of_ranks)
        return [
            str(self.ranks),
            f"{self.wall:.1f}",
            f"{self.rate:.1f}",
            f"{1000 * self.seconds / self.pictures:.2f}",
            f"{min(seconds):.1f} to {max(seconds):.1f}",
            f"{most:.0f}",
        ]


@dataclass(frozen=True)
class Listed:
    """What the list of inputs takes in every process, a picture."""

    microseconds: float
    held: float  # bytes
    most: float  # bytes, while it is made


def run(source: Path, out: Path, count: int, side: int, ranks: Sequence[int], effort: str, note: str, say: Report):
    """Table into performance.md."""
    photographs = np.load(source, mmap_mode="r")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cut(photographs, folder / FOLDER, count, side)
        listed = list_of(folder)
        runs = []
        for number in ranks:
            runs.append(measured(folder, number, count, effort))
            say(" ".join(runs[-1].cells()))
    pages.put(out, "ranks", page(runs, listed, side, effort, note))


def cut(photographs: np.ndarray, folder: Path, count: int, side: int) -> None:
    """So many squares as PNG: (n, H, W, 3) uint8. Raises FormatError where there are too few."""
    _, height, width, _ = photographs.shape
    places = [(top, left) for top in range(0, height - side + 1, side) for left in range(0, width - side + 1, side)]
    if count > len(places) * len(photographs):
        raise FormatError(f"{count} squares of {side} pixels are more than there are")
    folder.mkdir()
    for number in range(count):
        top, left = places[number // len(photographs)]
        square = photographs[number % len(photographs), top : top + side, left : left + side]
        Image.fromarray(square).save(folder / f"{number:06}.png")


def list_of(folder: Path) -> Listed:
    """Time and memory of the list of a folder's pictures."""
    plan = Plan([str(folder / FOLDER)], folder=folder / "listed", quiet=True)
    kind = Kind(".cmb", (".png",), is_output=lambda name: False)
    began = time.process_time()
    count = len(plan.jobs(kind, []))
    seconds = time.process_time() - began
    tracemalloc.start()
    jobs = plan.jobs(kind, [])
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return Listed(1e6 * seconds / count, held / len(jobs), most / len(jobs))


def measured(folder: Path, ranks: int, count: int, effort: str) -> Run:
    """All pictures, encoded by so many processes of one thread. Raises FormatError where an output is missing."""
    target = folder / f"out{ranks}"
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    line += ["-m", "combiner_codec", "encode", FOLDER, "--output-dir", str(target), "--effort", effort]
    line += ["--threads", "1", "--quiet"]
    used: dict[int, Used] = {}
    began = time.perf_counter()
    with subprocess.Popen(line, cwd=folder, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for pid in children(process.pid):
                found = used_by(pid)
                if found:
                    used[pid] = found
            time.sleep(EVERY)
    wall = time.perf_counter() - began
    made = len(list(target.iterdir()))
    if process.returncode or made != count or len(used) != ranks:
        what = f"exit code {process.returncode}, {made} of {count} files, {len(used)} processes"
        raise FormatError(f"{ranks} ranks: {what}")
    return Run(ranks, count, wall, tuple(used.values()))


def children(pid: int) -> list[int]:
    """Processes that a process has started, by Linux."""
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):  # of each of its threads
        try:
            found += map(int, listed.read_text().split())
        except OSError:
            continue  # a thread that has ended
    return [child for child in found if is_rank(child)]


def is_rank(pid: int) -> bool:
    """Whether a process is one of torchrun's job."""
    try:
        return b"combiner_codec" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def used_by(pid: int) -> Used | None:
    """What a process has taken; None where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        most = high_water(pid)
    except OSError:
        return None
    ticks = int(fields[11]) + int(fields[12])  # user's and system's: proc(5), fields 14 and 15
    return Used(ticks / os.sysconf("SC_CLK_TCK"), most) if most else None


def page(runs: Sequence[Run], listed: Listed, side: int, effort: str, note: str) -> list[str]:
    """What it puts into performance.md."""
    head = ["ranks", "s", "pictures a second", "ms of processor a picture", "s of processor, each rank"]
    head.append("MB, each rank")
    last = runs[-1]
    minutes = last.seconds / last.pictures * MANY / 60
    held = listed.held * MANY / 1e6
    most = listed.most * MANY / 1e6
    seconds = listed.microseconds * MANY / 1e6
    what = f"{last.pictures} pictures of {side}×{side} with `--effort {effort}`"
    return [
        f"Made by `make ranks`: `torchrun … encode` of {what},",
        "one thread a rank, start-up included. Memory is the most that a process had.",
        "",
        *report.table(head, [one.cells() for one in runs]),
        "",
        f"{MANY} such pictures take {minutes:.0f} minutes of processor, if each takes what it takes with "
        f"{last.ranks} ranks.",
        f"The list of them is held once in each process: {held:.0f} MB, {most:.0f} MB "
        f"and {seconds:.1f} s while it is made.",
        "",
        f"Measured on {machine()}.",
        *([note] if note else []),
    ]


@click.command("ranks")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.out("docs/performance.md")
@click.option("--count", type=click.IntRange(1), default=20_000, show_default=True, help="Pictures.")
@click.option("--side", type=click.IntRange(1), default=8, show_default=True, help="Pixels of their sides.")
@click.option("--ranks", default="1,2,4", show_default=True, help="Numbers of processes.")
@options.effort("fast")
@options.note
def command(ranks, **settings):
    """Pictures a second against processes. SOURCE: small photographs, .npy of (n, H, W, 3)."""
    run(ranks=[int(word) for word in ranks.split(",")], **settings, say=click.echo)
