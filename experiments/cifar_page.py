"""The page and the plot of `make bench-cifar`, from measured points."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from combiner_codec.bench import curves as rd
from combiner_codec.bench import report
from combiner_codec.bench.measure import Point
from combiner_codec.format import prior as priors

from . import pages

RATES = (0.91, 1.39, 2.28, 3.50, 4.45)  # bpp
MUST = (29.65, 32.45, 36.15, 39.8, 42.1)  # dB at these rates
AIM = (30.1, 33.0, 36.9, 40.6, 42.9)
LINE = "linear-Gaussian line"


@dataclass(frozen=True)
class Sections:
    """What was measured; sections that were left out are empty."""

    curves: dict[str, list[Point]] = field(default_factory=dict)  # ours, by row; the default family first
    groups: dict[str, list[Point]] = field(default_factory=dict)  # one point for each width of groups
    efforts: dict[str, tuple[Point, Point]] = field(default_factory=dict)  # each effort's, and `normal` on its images
    eight: list[Point] = field(default_factory=list)  # at eight betas


def write(out: Path, found: Sections, notes: Sequence[str]) -> None:
    """cifar10.md, and the plots if there are curves."""
    lines = [
        "# CIFAR-10",
        "",
        "Made by `make bench-cifar` from the first images of `test.npy`. Rate is file size, header included. PSNR "
        "is that of",
        "decoded 8-bit files over RGB. All figures are means over images.",
        "",
        "Betas were found on held-out training images, so measured rates differ a little from the wanted ones. "
        "The first table",
        "interpolates each row in log bpp; cells more than a tenth of the rate beyond the ends are empty. The "
        "second table has",
        "what was measured. *Must reach* and *aim* are this project's goals.",
        *notes,
        *(rates_table(found.curves) if found.curves else []),
        *(measured_table(found.curves) if found.curves else []),
        *(groups_table(found.groups) if found.groups else []),
        *(effort_table(found.efforts, next(iter(found.curves.values()), [])) if found.efforts else []),
        *(eight_table(found.eight) if found.eight else []),
    ]
    pages.write(out / "cifar10.md", lines)
    if found.curves:
        draw(found.curves, out)


def rates_table(curves: dict[str, list[Point]]) -> list[str]:
    """dB at the five rates, of every curve with more than one point."""
    line = rd.published_curve("cifar10", LINE)
    rows = [["must reach", "", *(pages.cell(v) for v in MUST)], ["aim", "", *(pages.cell(v) for v in AIM)]]
    rows.append(pages.at_rates(f"{LINE}, ideal coder, no header", 500, line, RATES))
    for name, own in curves.items():
        if len(own) > 1:
            rows.append(pages.at_rates(name, own[0].pictures, [p.rd for p in own], RATES))
    return ["", *report.table(["dB at file bpp", "images", *(f"{r:.2f}" for r in RATES)], rows)]


MEASURED = ["row", "setting", "bpp", "dB", "posterior samples, dB", "coding loss, dB", "KL / bits", "encode, s",
            "decode, ms"]  # fmt: skip


def measured_table(curves: dict[str, list[Point]]) -> list[str]:
    """Every point; coding loss is what posterior samples have over decoded files."""
    rows = [
        [name, p.label, f"{p.bpp:.3f}", f"{p.psnr:.2f}", *coding(p), f"{p.encode_seconds:.3g}",
         f"{1e3 * p.decode_seconds:.1f}"]
        for name, own in curves.items() for p in own
    ]  # fmt: skip
    note = "KL / bits is posterior KL over payload. The linear rows have custom priors: 4 bytes more of header."
    trained = priors.load("combiner-cifar").metadata.get("trained", "plain SIREN")
    about = f"The {trained}; it is a reference for the code path, not the paper's result."
    return ["", note, about, "", *report.table(MEASURED, rows)]


def coding(p: Point) -> list[str]:
    """Cells: dB of posterior samples, loss of coding in dB, KL over payload."""
    if not p.facts:
        return ["", "", ""]
    sampled = p.facts["sampled_psnr"]
    return [f"{sampled:.2f}", f"{sampled - p.psnr:.2f}", f"{kl_per_bit(p):.3f}"]


def kl_per_bit(p: Point) -> float:
    """KL of the posteriors over the files' bits without header."""
    return p.facts["ideal_bits"] / (8 * (p.bytes - p.facts["header_bytes"]))


def groups_table(groups: dict[str, list[Point]]) -> list[str]:
    """A row for each width of groups."""
    rows = [[name, f"{p.bpp:.3f}", f"{p.psnr:.2f}", f"{kl_per_bit(p):.3f}", f"{p.encode_seconds:.2f}"]
            for name, own in groups.items() for p in own]  # fmt: skip
    first = next(own[0] for own in groups.values() if own)
    about = f"First {first.pictures} images, one linear prior, {first.label}, `normal`."
    table = report.table(["groups", "bpp", "dB", "KL / bits", "encode, s"], rows)
    return ["", "## Group widths", "", about, "", *table]


def effort_table(efforts: dict[str, tuple[Point, Point]], default: Sequence[Point]) -> list[str]:
    """dB against `normal` on the same images, the difference in rate taken out along the default family's curve."""
    curve = [p.rd for p in default]

    def excess(p):
        return p.psnr - (pages.at_bpp(curve, [p.bpp])[0] if curve else 0.0)

    rows = [
        [f"`{name}`", str(p.pictures), f"{p.bpp:.3f}", f"{p.psnr:.2f}", f"{excess(p) - excess(normal):+.2f}",
         f"{p.encode_seconds:.3g}", f"{1e3 * p.decode_seconds:.1f}"]
        for name, (p, normal) in efforts.items()
    ]  # fmt: skip
    label = next(iter(efforts.values()))[0].label
    how = "at the same rate" if curve else "not corrected for the rate"
    about = f"Default family, {label}; dB against `normal` on the same images, {how}."
    header = ["effort", "images together", "bpp", "dB", "dB against normal", "encode, s", "decode, ms"]
    return ["", "## Effort", "", about, "", *report.table(header, rows)]


def eight_table(eight: Sequence[Point]) -> list[str]:
    """A row for each beta, and whether rate and quality fall as beta rises."""
    falls = pages.monotone([p.rd for p in eight]) and all(a.bpp < b.bpp for a, b in itertools.pairwise(eight))
    rows = [[p.label.removeprefix("beta "), f"{p.bpp:.3f}", f"{p.psnr:.2f}"] for p in eight]
    verdict = "both fall at every step as beta rises" if falls else "**not** monotone"
    about = f"First {eight[0].pictures} images, `fast`: mean bpp and mean PSNR, {verdict}."
    return ["", "## Eight betas", "", about, "", *report.table(["beta", "bpp", "dB"], rows)]


def draw(curves: dict[str, list[Point]], out: Path) -> None:
    """cifar10.png."""
    measured = {name: [p.rd for p in own] for name, own in curves.items() if own and name not in ("jpeg", "jxl")}
    drawn = [entry for entry in rd.published("cifar10") if entry["draw"] and entry["name"] != "JPEG 2000"]
    report.plot(out / "cifar10.png", "CIFAR-10 test images", measured, drawn, bottom=20)
