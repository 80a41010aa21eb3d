"""`make cuda`: for a day when a GPU is at hand. Its files beside the processor's, then seconds, memory, a profile.

Tests of the GPU's path come before (Makefile). Its rows are tables 1 and 2 of the paper, less the finding of betas.
"""

import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import torch

from combiner_codec.bench import report
from combiner_codec.bench.measure import machine
from combiner_codec.decoder import decode_array
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.encoded import Encoded
from combiner_codec.encoder.fit import replay
from combiner_codec.encoder.settings import Settings, resolve_device
from combiner_codec.format import prior as priors
from combiner_codec.format.prior import Prior
from combiner_codec.reports import Report

from . import options, pages
from .cuts import required

CIFAR = 0.00366, 0.0000793  # betas, about 0.9 and 4.4 bpp (docs/results/cifar10.md)
IMAGES = 500  # of CIFAR-10, together
KODAK = 0.021, 0.0055  # betas, about 0.1 and 0.27 bpp
GOALS = {CIFAR[0]: "6 s; the paper: 13 min", KODAK[1]: "2 s; the paper: 79 min"}
COMPARED_IMAGES = 64  # of CIFAR-10 that both devices encode
COMPARED = 2  # photographs that both devices encode
ALIKE = 0.2  # percent that J may differ by
OPERATIONS = 25  # lines of the profile
WAITS = "cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize"
CALLS = "cudaLaunchKernel", "cudaGraphLaunch", "cudaMemcpyAsync", *WAITS  # what Python asks of the driver


@dataclass(frozen=True)
class Run:
    """One encoding of some pictures."""

    files: list[Encoded]
    seconds: float
    memory: int  # most bytes of the device, 0 on the processor


def encoded(pictures: Sequence[np.ndarray], prior: Prior, beta: float, device: str) -> Run:
    """Pictures encoded together with `normal`."""
    on_gpu = resolve_device(device).type == "cuda"
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    files = encode_arrays(pictures, prior, Settings(beta, device=device))
    seconds = time.perf_counter() - started
    memory = torch.cuda.max_memory_allocated() if on_gpu else 0
    return Run(files, seconds, memory)


@contextmanager
def without_graphs() -> Iterator[None]:
    """Every step is launched by Python, operation by operation."""
    before = replay.captured
    replay.captured = lambda work, device: None
    try:
        yield
    finally:
        replay.captured = before


@dataclass
class Found:
    """What is known so far; the page has it even if time runs out."""

    device: str
    note: str
    compared: list[list[str]] = field(default_factory=list)  # files of both devices
    worst: float = 0.0  # percent that a row's J is above the processor's
    rows: list[list[str]] = field(default_factory=list)  # seconds and memory
    calls: list[list[str]] = field(default_factory=list)  # of the driver, for one photograph
    operations: str = ""  # torch's profile
    kept: dict[str, bytes] = field(default_factory=dict)  # files by name


def run(
    cifar: Path,
    kodak: Path,
    out: Path,
    archive: Path,
    device: str,
    count: int,
    limit: int | None,
    note: str,
    say: Report,
) -> None:
    """Write cuda.md, and all files into an archive. Raises ClickException for files worse than the processor's."""
    small = priors.load("small")
    photo = priors.load("photo")
    images = list(np.load(cifar / "test.npy")[: limit or IMAGES])
    photographs = required([kodak], limit or count)
    named = {picture.name: picture.pixels for picture in photographs}
    found = Found(device, note)

    def told(rows: list[list[str]]) -> None:
        say(" ".join(rows[-1]))
        write(out, found)

    warm_up = next(iter(named.values()))[:64, :64]
    encoded([warm_up], photo, KODAK[0], device)  # loads libraries and kernels
    for name, pixels in list(named.items())[:COMPARED]:
        compare(found, name, [pixels], photo, KODAK[1])
        told(found.compared)
    some = images[:COMPARED_IMAGES]
    compare(found, f"CIFAR-10, {len(some)} together", some, small, CIFAR[0])
    told(found.compared)
    for beta in KODAK:
        each_photograph(found, named, photo, beta)
        told(found.rows)
    together = encoded(list(named.values()), photo, KODAK[1], device)
    found.rows.append(row(f"Kodak, {len(named)} together", KODAK[1], together, ""))
    told(found.rows)
    with without_graphs():
        first = encoded([photographs[0].pixels], photo, KODAK[1], device)
    found.rows.append(row("the first one, without CUDA graphs", KODAK[1], first, ""))
    told(found.rows)
    for beta in CIFAR:
        every = encoded(images, small, beta, device)
        for i, file in enumerate(every.files):
            found.kept[f"cifar/{beta}/{i}.cmb"] = file.data
        found.rows.append(row(f"CIFAR-10, {len(images)} together", beta, every, GOALS.get(beta, "")))
        told(found.rows)
    profile(found, photographs[0].pixels, photo)
    write(out, found)
    pack(archive, out, found)
    if found.worst > ALIKE:
        raise click.ClickException(f"files of {device} cost {found.worst:.2f} % more than the processor's")


def compare(found: Found, name: str, pictures: Sequence[np.ndarray], prior: Prior, beta: float) -> None:
    """Pictures by both devices: J, files, and how far the decoder is from what each expects."""
    runs = [encoded(pictures, prior, beta, device) for device in ("cpu", found.device)]
    costs = []
    cells = []
    for one in runs:
        cost = sum(file.lagrangian(picture, beta) for file, picture in zip(one.files, pictures, strict=True))
        size = sum(len(file.data) for file in one.files)
        psnr = np.mean([file.psnr for file in one.files])
        costs.append(cost)
        cells.append(f"{size} B, {psnr:.2f} dB, {one.seconds:.2f} s")
    change = 100 * (costs[1] / costs[0] - 1)
    here, there = ([file.data for file in one.files] for one in runs)
    same = sum(a == b for a, b in zip(here, there, strict=True))
    off = max(shown_off(file, prior) for one in runs for file in one.files)
    found.worst = max(found.worst, change)
    found.compared.append([name, f"{beta:g}", *cells, f"{change:+.3f} %", f"{same} of {len(here)}", str(off)])


def shown_off(file: Encoded, prior: Prior) -> int:
    """Steps that the decoder is off what the encoder expects, at most."""
    decoded = decode_array(file.data, prior).astype(int)
    return int(np.abs(decoded - file.pixels).max())


def each_photograph(found: Found, named: dict[str, np.ndarray], prior: Prior, beta: float) -> None:
    """Photographs one after another: their mean."""
    files = []
    seconds = []
    memory = 0
    for name, pixels in named.items():
        alone = encoded([pixels], prior, beta, found.device)
        files += alone.files
        seconds.append(alone.seconds)
        memory = max(memory, alone.memory)
        found.kept[f"kodak/{beta}/{name}.cmb"] = alone.files[0].data
    mean = Run(files, float(np.mean(seconds)), memory)
    found.rows.append(row(f"Kodak, each of {len(files)}", beta, mean, GOALS.get(beta, "")))


def row(name: str, beta: float, found: Run, goal: str) -> list[str]:
    """What one encoding took and made."""
    bpp = np.mean([file.bpp for file in found.files])
    psnr = np.mean([file.psnr for file in found.files])
    memory = f"{found.memory / 1e6:.0f}" if found.memory else ""
    return [name, f"{beta:g}", f"{bpp:.3f}", f"{psnr:.2f}", f"{found.seconds:.2f}", goal, memory]


def profile(found: Found, pixels: np.ndarray, prior: Prior) -> None:
    """What one encoding asks of the driver, and torch's operations, the dearest first."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    order = "self_cpu_time_total"
    if resolve_device(found.device).type == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
        order = "self_device_time_total"
    with torch.profiler.profile(activities=kinds) as profiled:
        encoded([pixels], prior, KODAK[1], found.device)
    averages = profiled.key_averages()
    for event in averages:
        if event.key in CALLS:
            found.calls.append([event.key, str(event.count), f"{event.self_cpu_time_total / 1e3:.1f}"])
    found.operations = averages.table(sort_by=order, row_limit=OPERATIONS, max_name_column_width=48)


def write(out: Path, found: Found) -> None:
    """The page."""
    lines = [
        "# On a GPU",
        "",
        f"Made by `make cuda`: effort `normal`, device `{found.device}`, libraries loaded. Files are verified by the",
        "decoder on the processor.",
        "",
        f"The same pictures by both devices. J, over all pictures of a row, may be {ALIKE} % above the processor's.",
        "The last column: steps of 255 that the decoder is off what either expects, at most.",
        "",
        *report.table(["pictures", "β", "cpu", found.device, "J", "same files", "off"], found.compared),
    ]
    if found.rows:
        lines += [
            "",
            "Seconds are those of all pictures that are encoded together, or of one photograph.",
            "",
            *report.table(["pictures", "β", "bpp", "dB", "seconds", "goal", "device memory, MB"], found.rows),
        ]
    if found.calls:
        lines += ["", "What one photograph asks of the driver:", ""]
        lines += report.table(["call", "times", "ms of the processor"], found.calls)
    if found.operations:
        lines += ["", "One photograph's operations:", "", "```", found.operations.rstrip(), "```"]
    lines += ["", f"Measured on {machine()}."]
    if found.note:
        lines.append(found.note)
    pages.write(out / "cuda.md", lines)


def pack(archive: Path, out: Path, found: Found) -> None:
    """The page and all files in one."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(out / "cuda.md", "cuda.md")
        for name, data in found.kept.items():
            packed.writestr(name, data)


@click.command("cuda")
@click.argument("cifar", type=options.FOLDER)
@click.argument("kodak", type=options.FOLDER)
@options.out()
@click.option("--archive", type=click.Path(path_type=Path), default="build/cuda.zip", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cuda", show_default=True, help="cpu: a trial.")
@click.option("--count", type=click.IntRange(1), default=6, show_default=True, help="Photographs, the first ones.")
@options.limit
@options.note
def command(**settings):
    """A GPU's files beside the processor's, seconds, memory and profile."""
    run(**settings, say=click.echo)
