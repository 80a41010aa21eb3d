"""`make bench-cifar`: the CIFAR-10 table, every row from one run on the same images.

Rate is the mean file size, PSNR the mean over the decoded 8-bit files. The betas of the five rates are chosen on
held-out training
images, never on the test images.
"""

import dataclasses
import json
import os
import platform
import statistics
import tempfile
import time
from datetime import date
from functools import partial
from pathlib import Path

import click
import numpy as np

from . import codec, fit, prior
from .prior import Prior

RATES = (0.91, 1.39, 2.28, 3.50, 4.45)
MUST = (26.7, 29.1, 32.3, 35.7, 38.0)
AIM = (27.4, 29.8, 33.0, 36.7, 39.2)
LINE = (27.83, 30.18, 33.61, 37.39, 39.90)
HELD_OUT = 285  # training images that `make train-cifar` leaves out
LINEAR_BETAS = tuple(0.012 * 2 ** (-0.75 * k) for k in range(12))


def file_bytes(run: fit.Fit, pictures) -> float:
    """Mean payload bytes of one-tile pictures at the run's beta: points and classes alone decide them."""
    ranking, classes = run.rank_points(np.stack(pictures), np.arange(len(pictures)))
    bits = [run.prior.level(p).bits[classes[i, p]] + run.prior.level(p).class_bits for i, p in enumerate(ranking[:, 0])]
    return float(np.mean([-(-int(b) // 8) for b in bits]))


def beta_for(chosen: Prior, pictures, bpp: float) -> float:
    """Beta at which held-out pictures reach a file size, by bisection in log beta."""
    header = 7 + 4 * (chosen.number == prior.CUSTOM)  # one-tile pictures without a seed
    low, high = 1e-6, 1.0
    for _ in range(22):
        middle = (low * high) ** 0.5
        size = 8 * (file_bytes(fit.Fit(chosen, middle, device="cpu"), pictures) + header) / pictures[0].shape[0] ** 2
        low, high = (middle, high) if size > bpp else (low, middle)
    return middle


def measure(chosen: Prior, pictures, beta: float, effort="normal", **options) -> dict:
    """One point of one row."""
    started = time.perf_counter()
    results = codec.encode_arrays(pictures, beta, chosen, effort=effort, **options)
    seconds = time.perf_counter() - started
    codec.decode_array(results[0].data, chosen)
    times = []
    for result in results[:50]:
        begun = time.perf_counter()
        codec.decode_array(result.data, chosen)
        times.append(time.perf_counter() - begun)
    kl = [r.ideal_bits for r in results]
    header = codec.parse(results[0].data, chosen).header_bytes
    return {
        "beta": beta,
        "images": len(pictures),
        "bpp": statistics.fmean(r.bpp for r in results),
        "psnr": statistics.fmean(r.psnr for r in results),
        "sampled_psnr": statistics.fmean(r.sampled_psnr for r in results),
        "kl_per_bit": sum(kl) / sum(8 * (len(r.data) - header) for r in results),
        "encode_seconds": seconds / len(pictures),
        "decode_ms": 1e3 * statistics.median(times),
    }


def regroup(original: Prior, group_bits: int, index_bits: int) -> Prior:
    """The same prior with other groups."""
    metadata = {**original.metadata, "group_bits": group_bits, "index_bits": index_bits}
    return dataclasses.replace(original, metadata=metadata)


def linear_reference(train_images, betas, classes, folder: Path, name: str) -> Prior:
    """A linear-only prior learned here and now from the training images."""
    from .train import TrainSettings, linear_prior

    path = folder / f"{name}.npz"
    if not path.exists():
        linear_prior(train_images, TrainSettings(betas, classes), path, click.echo)
    return prior.load_file(path)


def at_rate(points: list[dict], bpp: float) -> float:
    """PSNR at a rate, interpolated in the measured points of a row (extended by the nearest segment)."""
    points = sorted(points, key=lambda p: p["bpp"])
    if len(points) < 2:
        return float("nan")
    right = min(max(1, sum(p["bpp"] < bpp for p in points)), len(points) - 1)
    a, b = points[right - 1], points[right]
    return a["psnr"] + (b["psnr"] - a["psnr"]) * (bpp - a["bpp"]) / (b["bpp"] - a["bpp"])


class Rows:
    """Results on disk, so that a second run goes on where the first was stopped."""

    def __init__(self, path: Path):
        self.path = path
        kept = json.loads(path.read_text()) if path.exists() else {}
        self.rows, self.note = kept.get("rows", {}), kept.get("note", "")

    def get(self, row: str, key: str, compute):
        points = self.rows.setdefault(row, {})
        if key not in points:
            points[key] = compute()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            kept = {"machine": machine(), "date": str(date.today()), "note": self.note, "rows": self.rows}
            self.path.write_text(json.dumps(kept, indent=1))
            shown = points[key]
            click.echo(
                f"{row} {key}: {shown['bpp']:.4f} bpp {shown['psnr']:.2f} dB {shown['encode_seconds']:.2f} s/image"
            )
        return points[key]


def machine() -> str:
    import torch

    model = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{model}, {os.cpu_count()} cores, {where}, torch {torch.__version__}"


def _cpuinfo():
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/results"), show_default=True)
@click.option("--images", type=click.IntRange(1), default=500, show_default=True)
@click.option("--reference-images", type=click.IntRange(1), default=100, show_default=True)
@click.option("--work", type=click.Path(path_type=Path), default=None, help="Folder for the reference priors.")
@click.option("--note", default="", help="A sentence about the circumstances, for the table.")
@click.option("--only", multiple=True, help="Measure these rows only.")
def main(folder, out, images, reference_images, work, note, only):
    """The CIFAR-10 table from FOLDER with train.npy and test.npy."""
    work = work or Path(tempfile.gettempdir()) / "combiner-bench"
    work.mkdir(parents=True, exist_ok=True)
    test = list(np.load(folder / "test.npy")[:images])
    train = np.load(folder / "train.npy")
    held = list(train[-HELD_OUT:])
    rows = Rows(out / "cifar10.json")
    rows.note = note or rows.note
    for name, row in plan(train[:-HELD_OUT], work).items():
        if only and name not in only:
            continue
        chosen, effort, count, rates = row()
        pictures = test[: count or reference_images]
        for rate in rates:
            rows.get(name, str(rate), partial(point, chosen, pictures, held, rate, effort))
    write_table(rows, out)


def point(chosen, pictures, held, rate, effort):
    beta = beta_for(chosen, held, rate) if len(chosen.betas) > 1 else chosen.betas[0]
    return measure(chosen, pictures, beta, effort)


def plan(train, work):
    """Rows by name: each gives (prior, effort, images or None for the smaller reference set, rates)."""
    import torch

    def images():
        return torch.from_numpy(np.concatenate([train, train[:, :, ::-1]])).float() / 255

    def linear():
        return linear_reference(images(), LINEAR_BETAS, (64,) * len(LINEAR_BETAS), work, "linear")

    def single():
        return linear_reference(images(), LINEAR_BETAS, (2,) * len(LINEAR_BETAS), work, "single")

    everything = 10**9
    return {
        "default family, normal": lambda: (prior.load("small"), "normal", everything, RATES),
        "default family, fast": lambda: (prior.load("small"), "fast", None, RATES),
        "default family, best": lambda: (prior.load("small"), "best", None, RATES[:1]),
        "linear only, same classes and coder": lambda: (linear(), "normal", everything, RATES),
        "linear, one prior, independent 16-bit groups": lambda: (
            regroup(single(), 16, 16),
            "normal",
            everything,
            RATES,
        ),
        "linear, one prior, independent 18-bit groups": lambda: (regroup(single(), 18, 18), "normal", None, RATES[:2]),
        "linear, one prior, independent 20-bit groups": lambda: (regroup(single(), 20, 20), "normal", None, RATES[:2]),
        "linear, one prior, chained 16-bit indices": lambda: (regroup(single(), 6, 16), "normal", None, RATES),
        "plain SIREN": lambda: (prior.load("combiner-cifar"), "normal", None, ("one point",)),
    }


def write_table(rows: Rows, out: Path) -> None:
    """docs/results/cifar10.md and the plot beside it."""
    lines = [
        "# CIFAR-10",
        "",
        f"Made by `make bench-cifar` on {date.today()}: {machine()}. Test images from the start of `test.npy`;",
        "rate is file size, header included; PSNR of decoded 8-bit files; means over images. Betas were chosen on",
        "held-out training images, so measured rates differ a little from the targets: the first table interpolates",
        "each row at the target rates, the second gives what was measured. KL / bits is posterior KL over payload.",
        "The linear rows are custom priors: 4 bytes more of header. Empty cells were not measured.",
        rows.note,
        "",
        "| dB at file bpp | images | " + " | ".join(f"{r:.2f}" for r in RATES) + " |",
        "|---|---|" + "---|" * len(RATES),
        _row("must reach", "", MUST),
        _row("aim", "", AIM),
        _row("linear-Gaussian line, ideal coder, no header", "500", LINE),
    ]
    for name, points in rows.rows.items():
        if len(points) > 1:
            values = [at_rate(list(points.values()), r) if str(r) in points else float("nan") for r in RATES]
            lines.append(_row(name, str(next(iter(points.values()))["images"]), values))
    lines += [
        "",
        "| row | beta | bpp | dB | posterior samples, dB | coding loss, dB | KL / bits | encode, s | decode, ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, points in rows.rows.items():
        for p in points.values():
            lines.append(
                f"| {name} | {p['beta']:.3g} | {p['bpp']:.3f} | {p['psnr']:.2f} | {p['sampled_psnr']:.2f} | "
                f"{p['sampled_psnr'] - p['psnr']:.2f} | {p['kl_per_bit']:.3f} | {p['encode_seconds']:.2f} | "
                f"{p['decode_ms']:.1f} |"
            )
    (out / "cifar10.md").write_text("\n".join(lines) + "\n")
    plot(rows, out / "cifar10.svg")


def _row(name, images, values):
    return f"| {name} | {images} | " + " | ".join("" if np.isnan(v) else f"{v:.2f}" for v in values) + " |"


PUBLISHED = {  # DESIGN's anchors: the codecs' published files
    "BPG 4:4:4": ((1.0, 27.11), (1.25, 28.74), (1.875, 31.97), (2.5, 34.53), (3.75, 38.57), (5.0, 41.73)),
    "COIN++": ((0.55, 24.22), (1.10, 27.03), (1.65, 28.90), (2.20, 30.45), (3.29, 32.42), (4.06, 33.69)),
    "JPEG 2000": ((3.0, 24.85), (4.6, 31.42)),
    "linear-Gaussian line (ideal coder)": (
        (0.30, 24.06), (0.50, 25.14), (0.75, 26.89), (0.91, 27.83), (1.00, 28.31), (1.39, 30.18), (2.28, 33.61),
        (3.50, 37.39), (4.45, 39.90)),
}  # fmt: skip


def plot(rows: Rows, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5))
    for (name, points), style in zip(PUBLISHED.items(), ("s--", "v--", "^--", "k:"), strict=True):
        axes.plot(
            *zip(*points, strict=True), style, label=f"{name}, published" if name[0] != "l" else name, alpha=0.8, ms=4
        )
    for name, points in rows.rows.items():
        values = sorted((p["bpp"], p["psnr"]) for p in points.values())
        if name in ("default family, normal", "linear, one prior, independent 16-bit groups", "plain SIREN"):
            axes.plot(*zip(*values, strict=True), "o-", label=name, lw=2)
    axes.set(
        xlabel="file size, bits per pixel",
        ylabel="PSNR, dB",
        title="CIFAR-10 test images",
        xlim=(0, 5.2),
        ylim=(21, 43),
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path)
    figure.savefig(path.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
