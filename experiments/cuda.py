"""`make cuda`: for a day when a GPU is at hand. Its files against the processor's, seconds, memory, a profile.

Tests of the GPU's path come first (Makefile). Its rows are tables 1 and 2 of the paper, less the finding of betas.
"""

import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import torch

from combiner_codec.bench import report
from combiner_codec.bench.measure import machine
from combiner_codec.bench.pictures import Picture
from combiner_codec.decoder import decode_array
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.encoded import Encoded
from combiner_codec.encoder.settings import Settings, resolve_device
from combiner_codec.format import prior as priors
from combiner_codec.format.prior import Prior
from combiner_codec.reports import Report

from . import options, pages
from .cuts import required

CIFAR = 0.00366, 0.0000793  # betas, about 0.9 and 4.4 bpp (docs/results/cifar10.md)
IMAGES = 500  # of CIFAR-10, together
KODAK = 0.021, 0.0055  # betas, about 0.1 and 0.27 bpp
GOALS = {CIFAR[0]: "20 s; the paper: 13 min", KODAK[1]: "10 s; the paper: 79 min"}
COMPARED = 2  # photographs that both devices encode
OPERATIONS = 25  # lines of the profile


@dataclass(frozen=True)
class Run:
    """One encoding of some pictures."""

    files: list[Encoded]
    seconds: float
    memory: int  # most bytes of the device, 0 on the processor


def encoded(pictures: Sequence[np.ndarray], prior: Prior, beta: float, device: str) -> Run:
    """Pictures encoded together with `normal`."""
    on = resolve_device(device)
    if on.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    files = encode_arrays(pictures, prior, Settings(beta, device=device))
    seconds = time.perf_counter() - started
    return Run(files, seconds, torch.cuda.max_memory_allocated() if on.type == "cuda" else 0)


@dataclass
class Found:
    """What is known so far; the page has it even if time runs out."""

    rows: list[list[str]] = field(default_factory=list)  # seconds and memory
    compared: list[list[str]] = field(default_factory=list)  # files of both devices
    operations: str = ""  # torch's profile


def run(cifar: Path, kodak: Path, out: Path, archive: Path, device: str, count: int, limit: int | None, note: str,
        say: Report) -> None:  # fmt: skip
    """Write cuda.md, and all files into an archive."""
    small, photo, found, kept = priors.load("small"), priors.load("photo"), Found(), {}
    images, photographs = list(np.load(cifar / "test.npy")[: limit or IMAGES]), required([kodak], limit or count)
    encoded([photographs[0].pixels[:64, :64]], photo, KODAK[0], device)  # loads libraries and kernels
    for beta in CIFAR:
        every = encoded(images, small, beta, device)
        kept |= {f"cifar/{beta}/{i}.cmb": one.data for i, one in enumerate(every.files)}
        found.rows.append(row(f"CIFAR-10, {len(every.files)} together", beta, every, GOALS.get(beta, "")))
        say(" ".join(found.rows[-1]))
        write(out, found, device, note)
    for picture in photographs[:COMPARED]:
        found.compared.append(compare(picture, photo, device))
        say(" ".join(found.compared[-1]))
        write(out, found, device, note)
    for beta in KODAK:
        alone = [encoded([picture.pixels], photo, beta, device) for picture in photographs]
        files, seconds = [one.files[0] for one in alone], float(np.mean([one.seconds for one in alone]))
        kept |= {f"kodak/{beta}/{p.name}.cmb": one.data for p, one in zip(photographs, files, strict=True)}
        every = Run(files, seconds, max(one.memory for one in alone))
        found.rows.append(row(f"Kodak, each of {len(files)}", beta, every, GOALS.get(beta, "")))
        say(" ".join(found.rows[-1]))
        write(out, found, device, note)
    found.operations = profile(photographs[0].pixels, photo, device)
    write(out, found, device, note)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(out / "cuda.md", "cuda.md")
        for name, data in kept.items():
            packed.writestr(name, data)


def row(name: str, beta: float, found: Run, goal: str) -> list[str]:
    """What one encoding took and made."""
    bpp, psnr = (float(np.mean([getattr(one, k) for one in found.files])) for k in ("bpp", "psnr"))
    memory = f"{found.memory / 1e6:.0f}" if found.memory else ""
    return [name, f"{beta:g}", f"{bpp:.3f}", f"{psnr:.2f}", f"{found.seconds:.2f}", goal, memory]


def compare(picture: Picture, prior: Prior, device: str) -> list[str]:
    """One photograph by both devices, and how far the decoder is from what each expects."""
    both = [encoded([picture.pixels], prior, KODAK[1], name).files[0] for name in ("cpu", device)]
    off = [int(np.abs(decode_array(one.data, prior).astype(int) - one.pixels).max()) for one in both]
    same = "yes" if both[0].data == both[1].data else "no"
    return [picture.name, *(f"{len(one.data)} B, {one.psnr:.2f} dB" for one in both), same, f"{off[0]}, {off[1]}"]


def profile(pixels: np.ndarray, prior: Prior, device: str) -> str:
    """Torch's operations of one encoding, the dearest first."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if resolve_device(device).type == "cuda" else []
    with torch.profiler.profile(activities=kinds) as found:
        encoded([pixels], prior, KODAK[1], device)
    order = "self_device_time_total" if len(kinds) > 1 else "self_cpu_time_total"
    return found.key_averages().table(sort_by=order, row_limit=OPERATIONS, max_name_column_width=48)


def write(out: Path, found: Found, device: str, note: str) -> None:
    """The page."""
    lines = [
        "# On a GPU",
        "",
        f"Made by `make cuda`: effort `normal`, device `{device}`, libraries loaded. Seconds are those of all "
        "pictures that are",
        "encoded together, or of one photograph. Files are written, and verified by the decoder on the processor.",
        "",
        *report.table(["pictures", "β", "bpp", "dB", "seconds", "goal", "device memory, MB"], found.rows),
    ]
    if found.compared:
        lines += [
            "",
            "The same photographs by both devices; the last column: steps that the decoder is off what each expects.",
            "",
            *report.table(["picture", "cpu", device, "same file", "off"], found.compared),
        ]
    if found.operations:
        lines += ["", "One photograph's operations:", "", "```", found.operations.rstrip(), "```"]
    pages.write(out / "cuda.md", [*lines, "", f"Measured on {machine()}.", *([note] if note else [])])


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
    """A GPU's files, seconds, memory and profile."""
    run(**settings, say=click.echo)
