"""The page docs/results/graphics.md from what `graphics` has measured."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from combiner_codec.bench import report
from combiner_codec.bench.measure import machine

from . import pages
from .drawings import KINDS, PACKAGED, Drawing

EXACT = 100.0  # dB that stand for no error at all
INR = "INR"  # what a file of ours holds, of a network
SHOWN = 60.0  # dB that an exact picture counts in a mean
RIVALS = ("WebP", "AVIF, tune psnr", "AVIF, default", "JPEG XL")
WEBP, PNG, JXL = "WebP, lossless", "PNG", "JPEG XL, lossless"


@dataclass(frozen=True)
class File:
    """A picture as some codec stores it at one setting."""

    setting: float
    size: int  # bytes
    error: float  # squared, summed over pixels, averaged over channels
    psnr: float  # dB; EXACT without any error
    stored: str  # what our file holds

    def lagrangian(self, beta: float) -> float:
        """J."""
        return self.error + beta * math.log(2) * 8 * self.size


@dataclass(frozen=True)
class Measured:
    """A drawing as all codecs store it."""

    drawing: Drawing
    files: dict[str, list[File]]

    def ours(self, beta: float) -> File:
        """Our file at a beta."""
        return next(file for file in self.files["auto"] if file.setting == beta)

    def network(self, beta: float) -> File | None:
        """That of a network alone, if it was made."""
        return next((file for file in self.files["inr"] if file.setting == beta), None)

    @property
    def lossless(self) -> File:
        """Our file without loss."""
        return self.files["lossless"][0]

    def of(self, name: str) -> list[File]:
        """Files of another format, those without loss among them."""
        return [*self.files.get(name, []), *self.files.get(f"{name}, lossless", [])]


@dataclass(frozen=True)
class Pace:
    """Seconds of one picture without loss, and sizes of its files in bytes."""

    pixels: tuple[int, int]
    size: int
    webp_size: int
    seconds: float
    webp_seconds: float
    command_seconds: float
    webp_command_seconds: float


def write(
    path: Path, found: Sequence[Measured], betas: Sequence[float], pace: Pace | None, remarks: Sequence[str]
) -> None:
    """The whole page."""
    kinds = [kind for kind in (*KINDS, PACKAGED) if any(one.drawing.kind == kind for one in found)]
    lines = [
        "# Graphics",
        "",
        f"Made by `make bench-graphics`: {len(found)} pictures in {len(kinds)} kinds, drawn by scripts",
        "(`experiments/drawings`), up to five of each, or from Debian packages (gnome-user-docs, CC BY-SA 3.0, and",
        "tango-icon-theme, public domain: `make debian-pictures`); `--effort fast`, one thread. J is squared error,",
        "averaged over channels, + β ln 2 bits, which the encoder minimises. WebP, AVIF 4:4:4 (tune psnr), AVIF as",
        "Pillow does it unasked, and JPEG XL have four settings each; lossless is a fifth where a format has it.",
        "",
        "## What must hold",
        "",
        *musts(found, betas),
        "",
        "## Without loss",
        "",
        "Bytes of all pictures of a kind; the last columns are the worst of a single picture.",
        "",
        *without_loss(found, kinds),
        "",
        "## What is chosen, and J",
        "",
        "How many are exact / have few colours / are a network's sample below a layer / or alone, and the J of others",
        "as a multiple of ours: a network alone (`--kind inr`, of some pictures), and the best setting of each format.",
        "Geometric means.",
        "",
        *by_j(found, kinds, betas),
        "",
        "## At equal PSNR",
        "",
        "Bytes of the smallest file that shows at least as many dB as ours, as a multiple of ours: geometric mean, and",
        "in brackets for how many there is no such file. Where ours is exact, only files without loss are such.",
        "",
        *at_equal_psnr(found, kinds, betas),
        "",
        "## At equal bytes",
        "",
        f"dB of ours less dB of the best file that is not larger, mean. Exact pictures count {SHOWN:.0f} dB; where no",
        "file is so small, the smallest counts.",
        "",
        *at_equal_bytes(found, kinds, betas),
        "",
        f"## Every picture at β = {betas[0]:g}",
        "",
        *every_picture(found, betas[0]),
        "",
        *timing(pace),
        f"Measured on {machine()}.",
        *(line for line in remarks if line),
    ]
    pages.write(path, lines)


def musts(found: Sequence[Measured], betas: Sequence[float]) -> list[str]:
    """A row for everything that must hold of every picture, and the worst that was seen."""
    against_webp = max(one.lossless.size / one.files[WEBP][0].size for one in found)
    against_png = max(one.lossless.size / one.files[PNG][0].size for one in found)
    against_network = []
    for one in found:
        for beta in betas:
            if network := one.network(beta):
                against_network.append(one.ours(beta).lagrangian(beta) / network.lagrangian(beta))
    exact = all(one.lossless.psnr == EXACT for one in found)
    rows = [
        ["`--lossless` shows every pixel as it was", "all", "all" if exact else "not all"],
        ["its bytes over lossless WebP's", "≤ 1.03", f"{against_webp:.3f}"],
        ["its bytes over the PNG's", "≤ 1.01", f"{against_png:.3f}"],
    ]
    if against_network:
        name = f"J over that of a network alone, {len(against_network)} of them"
        rows.append([name, "≤ 1", f"{max(against_network):.3f}"])
    return report.table(["", "wanted", "worst"], rows)


def without_loss(found: Sequence[Measured], kinds: Sequence[str]) -> list[str]:
    """Sums of bytes."""
    others = [name for name in (WEBP, PNG, JXL) if name in found[0].files]
    rows = []
    for kind in kinds:
        members = of_kind(found, kind)
        sums = [sum(one.files[name][0].size for one in members) for name in ("lossless", *others)]
        worst = [max(one.lossless.size / one.files[name][0].size for one in members) for name in (WEBP, PNG)]
        rows.append([kind, *(f"{size:,}" for size in sums), *(f"{ratio:.3f}" for ratio in worst)])
    return report.table(["kind", "combiner", *others, "× WebP, worst", "× PNG, worst"], rows)


def by_j(found: Sequence[Measured], kinds: Sequence[str], betas: Sequence[float]) -> list[str]:
    """What is chosen, and J of others over ours."""
    names = [name for name in RIVALS if name in found[0].files]
    rows = []
    for kind in kinds:
        members = of_kind(found, kind)
        for beta in betas:
            counts = chosen([one.ours(beta) for one in members])
            best = {"inr": [one.network(beta) for one in members]}
            for name in names:
                best[name] = [min(one.of(name), key=lagrangian_at(beta)) for one in members]
            ratios = []
            for files in best.values():
                pairs = [(file, one.ours(beta)) for file, one in zip(files, members, strict=True) if file]
                ratios.append(mean_ratio([file.lagrangian(beta) / ours.lagrangian(beta) for file, ours in pairs]))
            rows.append([kind, f"{beta:g}", counts, *ratios])
    return report.table(["kind", "β", "exact / few colours / layer / INR", "INR alone", *names], rows)


def lagrangian_at(beta: float) -> Callable[[File], float]:
    """A key of files."""
    return lambda file: file.lagrangian(beta)


def chosen(files: Sequence[File]) -> str:
    """How many are exact, of few colours, samples of a network below a layer, and alone."""
    exact = sum(file.psnr == EXACT for file in files)
    below = sum(file.stored.startswith(f"{INR} under") for file in files)
    networks = sum(file.stored == INR for file in files)
    return f"{exact} / {len(files) - exact - below - networks} / {below} / {networks}"


def at_equal_psnr(found: Sequence[Measured], kinds: Sequence[str], betas: Sequence[float]) -> list[str]:
    """Bytes of others over ours."""

    def ratio(one: Measured, name: str, beta: float) -> float:
        ours = one.ours(beta)
        sizes = [file.size for file in one.of(name) if file.psnr >= ours.psnr]
        return min(sizes) / ours.size if sizes else math.nan

    return by_kind(found, kinds, betas, ratio, mean_ratio)


def at_equal_bytes(found: Sequence[Measured], kinds: Sequence[str], betas: Sequence[float]) -> list[str]:
    """dB of ours over others."""

    def gain(one: Measured, name: str, beta: float) -> float:
        ours = one.ours(beta)
        files = one.of(name)
        within = [file for file in files if file.size <= ours.size]
        best = max(within or [min(files, key=lambda file: file.size)], key=lambda file: file.psnr)
        return min(ours.psnr, SHOWN) - min(best.psnr, SHOWN)

    return by_kind(found, kinds, betas, gain, lambda gains: f"{statistics.fmean(gains):+.1f}")


def by_kind(
    found: Sequence[Measured],
    kinds: Sequence[str],
    betas: Sequence[float],
    compared: Callable[[Measured, str, float], float],
    shown: Callable[[Sequence[float]], str],
) -> list[str]:
    """A table of other formats, with a row for each kind and beta: what is shown of all pictures of the kind."""
    names = [name for name in RIVALS if name in found[0].files]
    rows = []
    for kind in kinds:
        pictures = of_kind(found, kind)
        for beta in betas:
            cells = [shown([compared(one, name, beta) for one in pictures]) for name in names]
            rows.append([kind, f"{beta:g}", *cells])
    return report.table(["kind", "β", *names], rows)


def every_picture(found: Sequence[Measured], beta: float) -> list[str]:
    """A row for each."""
    rows = []
    for one in found:
        height, width = one.drawing.pixels.shape[:2]
        ours = one.ours(beta)
        quality = "exact" if ours.psnr == EXACT else f"{ours.psnr:.1f}"
        network = one.network(beta)
        alone = [f"{network.size:,}", f"{network.psnr:.1f}"] if network else ["", ""]
        name = f"{one.drawing.kind}, {one.drawing.name}, {width}×{height}"
        rows.append([name, ours.stored, f"{ours.size:,}", quality,
                     *alone, *(f"{one.files[name][0].size:,}" for name in (WEBP, PNG))])  # fmt: skip
    head = ["picture", "stored as", "bytes", "dB", "INR alone, bytes", "dB", WEBP, PNG]
    return report.table(head, rows)


def timing(pace: Pace | None) -> list[str]:
    """Seconds without loss beside WebP's."""
    if pace is None:
        return []
    width, height = pace.pixels
    rows = [
        ["in a process", f"{pace.seconds:.3f}", f"{pace.webp_seconds:.3f}", f"{pace.seconds / pace.webp_seconds:.2f}"],
        ["as a command", f"{pace.command_seconds:.3f}", f"{pace.webp_command_seconds:.3f}",
         f"{pace.command_seconds / pace.webp_command_seconds:.2f}"],
    ]  # fmt: skip
    return [
        f"## Time of a screen of {width}×{height} without loss",
        "",
        f"Six pages side by side: {pace.size:,} bytes; lossless WebP through Pillow {pace.webp_size:,}. Seconds",
        "of the processor, medians of rounds in turns; a command starts, reads a PNG and writes its file.",
        "",
        *report.table(["", "combiner, s", "WebP, s", "×"], rows),
        "",
    ]


def of_kind(found: Sequence[Measured], kind: str) -> list[Measured]:
    """The pictures of a kind."""
    return [one for one in found if one.drawing.kind == kind]


def mean_ratio(ratios: Sequence[float]) -> str:
    """Geometric mean of those that are numbers; in brackets how many are not."""
    known = [ratio for ratio in ratios if not math.isnan(ratio)]
    lacking = f" ({len(ratios) - len(known)})" if len(known) < len(ratios) else ""
    if not known:
        return lacking.strip()
    return f"{statistics.geometric_mean(known):.2f}{lacking}"
