"""`make bench-kodak`: the Kodak tables, other codecs measured on the same pictures in the same run.

Betas of the rates are found on crops of other photographs, never on Kodak pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from combiner_codec.bench import codecs, quality, report
from combiner_codec.bench import curves as rd
from combiner_codec.bench.codecs import CombinerCodec
from combiner_codec.bench.measure import Point, Store, points, summary
from combiner_codec.bench.pictures import Group, Picture, collect, grouped
from combiner_codec.errors import FormatError
from combiner_codec.reports import Report

from . import options, pages, rates
from .cuts import centre
from .session import Session

RATES = (0.11, 0.22, 0.29, 0.50, 1.00)  # bpp
MUST = (28.05, 30.3, 31.3, 33.7, 37.5)  # dB at these rates, `normal`
AIM = (28.35, 30.65, 31.75, 34.25, 38.2)
FAST_RATES = (0.22, 0.50)
FIVE = ("kodim03", "kodim08", "kodim13", "kodim20", "kodim23")
REFERENCES = ("RECOMBINER", "VC-INR", "shallow NTC, linear", "shallow NTC, two layers", "HM (HEVC)", "BPG 4:4:4",
              "shallow NTC, two layers, SGA", "AV1", "mbt2018", "C3", "MoRIC", "LotteryCodec 5100",
              "VVC (VTM-18)", "Cool-chic 5.0.1", "ELIC", "HPCM-Large")  # fmt: skip
ANCHORS = ("VVC (VTM-18)", "HM (HEVC)", "BPG 4:4:4")  # of BD-rate
PULSE = (
    "PULSE (Microsoft, 2026, arXiv 2609.18602; 5.2 thousand multiply-adds a pixel) publishes no points but a BD-rate",
    "against HM: +1.2 %.",
)
AVIF = (
    "AVIF 4:4:4 is encoded with `tune=psnr`. The rows named default are what the library does unasked: 4:2:0, and",
    "since libavif 1.4 `tune=iq`, which gives up PSNR for looks.",
)
COMPARED = (28.0, 34.0)  # dB
SHOWN = 1.6  # bpp up to which plots go
CROPS, SIDE = 12, 256  # photographs that betas are found on, and their centre crop


@dataclass(frozen=True)
class Settings:
    """One run. Betas that are not given are found on `photos`."""

    folder: Path
    out: Path
    photos: Path
    fast_betas: tuple[float, ...] = ()
    normal_betas: tuple[float, ...] = ()
    everything: bool = False  # both efforts at all rates on all pictures: hours
    threads: int = 0
    device: str = "auto"
    note: str = ""


def run(settings: Settings, say: Report) -> None:
    """Measure what is missing; write kodak.json, kodak.md and the plots."""
    session = Session(Store(settings.out / "kodak.json"), settings.threads, say)
    pictures, few = chosen(settings)
    fast, normal = ours(settings, session.store)
    found, missing = codecs.others(list(codecs.OTHERS))
    for line in missing:
        say(line)
    whole, small = grouped(pictures), grouped(few)
    for codec in found:
        session.curve(codec, whole)
    session.curve(normal, small)
    session.curve(fast, whole)
    everything = [fast, normal, *found]
    lists = {f"All {len(pictures)} pictures": curves_of(everything, whole, session.store)}
    if not settings.everything:
        names = ", ".join(Path(p.name).stem for p in few)
        lists[f"{len(few)} pictures: {names}"] = curves_of(everything, small, session.store)
    note = settings.note or session.store.data.get("note", "")
    session.store.save(note=note, summary={title: summary(curves) for title, curves in lists.items()})
    write(settings.out, lists, [*filter(None, [note, *missing, *session.failed]), *session.stamps])


def chosen(settings: Settings) -> tuple[list[Picture], list[Picture]]:
    """All pictures, and those that `normal` is measured on. Raises FormatError for another folder."""
    pictures, problems = collect([settings.folder])
    few = [p for p in pictures if settings.everything or Path(p.name).stem in FIVE]
    if problems or not few:
        raise FormatError(f"{settings.folder}: not the Kodak pictures ({'; '.join(problems) or 'none of kodim03, …'})")
    return pictures, few


def curves_of(encoders: Sequence[codecs.Codec], groups: Sequence[Group], store: Store) -> dict[str, list[Point]]:
    """What is known of some pictures, by codec."""
    found = {codec.name: points(codec, groups, store) for codec in encoders}
    return {name: own for name, own in found.items() if own}


def ours(settings: Settings, store: Store) -> tuple[CombinerCodec, CombinerCodec]:
    """`fast` and `normal` with the betas of their rates."""
    fast = CombinerCodec("combiner fast", "fast", device=settings.device)
    normal = CombinerCodec("combiner normal", "normal", device=settings.device)
    fast_rates = RATES if settings.everything else FAST_RATES
    wanted = (fast, settings.fast_betas, fast_rates), (normal, settings.normal_betas, RATES)
    return tuple(
        replace(codec, settings=given or found_betas(settings.photos, fast, store, aims, settings.threads))
        for codec, given, aims in wanted
    )


def found_betas(photos: Path, probe: CombinerCodec, store: Store, wanted: Sequence[float], threads: int) -> tuple:
    """Betas of some rates, found with `fast` on crops of other photographs."""
    return rates.betas_for(probe, wanted, [Group((crop,)) for crop in crops(photos)], store, threads)


def crops(folder: Path) -> list[Picture]:
    """Centre crops of some photographs. Raises FormatError for a folder without."""
    pictures, _ = collect([folder], CROPS)
    if not pictures:
        raise FormatError(f"{folder}: no photographs to find betas on")
    return [Picture(f"crop of {p.name}", centre(p.pixels, SIDE)) for p in pictures]


def write(out: Path, lists: dict[str, dict[str, list[Point]]], notes: Sequence[str]) -> None:
    """kodak.md, and a plot for each list of pictures."""
    measured_points = [point for curves in lists.values() for curve in curves.values() for point in curve]
    eye = [name for name in quality.USUAL if any(name in point.eye for point in measured_points)]
    lines = [
        "# Kodak",
        "",
        "Made by `make bench-kodak`. Rate is the mean file size in bits per pixel, header included. PSNR and "
        "MS-SSIM are those of",
        "decoded 8-bit files over RGB. All figures are means over the listed pictures.",
        "",
        "The first table of each list interpolates the mean curve in log bpp; cells more than a tenth of the rate "
        "beyond its ends",
        "are empty. The next table has what was measured. Betas were found on crops of other photographs, so "
        "measured rates differ.",
        "*Must reach* and *aim* are this project's goals.",
        "",
        "Published rows are means of all 24 pictures; `bench/published/kodak.json` has their sources. "
        "`bench/codecs.py` has the",
        "options of the other codecs.",
        *quality.notes(eye),
        "",
        *AVIF,
        "",
        *notes,
        "",
        "Libraries:",
        "",
        *(f"- {line}" for line in codecs.versions([name for curves in lists.values() for name in curves])),
    ]
    for name, (title, curves) in zip(("kodak", "kodak-five"), lists.items(), strict=False):
        lines += ["", f"## {title}", "", f"![PSNR against file size]({name}.png)", "", *rates_table(curves)]
        lines += ["", *report.points_table(curves)]
        lines += ["", *bd_section(curves)] if name == "kodak" else []
        drawn = [entry for entry in rd.published("kodak") if entry["draw"]] if name == "kodak" else []
        measured = {codec: [p.rd for p in own if p.bpp < SHOWN] for codec, own in curves.items()}
        report.plot(out / f"{name}.png", f"Kodak: {title[:1].lower()}{title[1:]}", measured, drawn, bottom=22)
    pages.write(out / "kodak.md", lines)


def rates_table(curves: dict[str, list[Point]]) -> list[str]:
    """dB at the five rates, published curves first."""
    rows = [["must reach", "24", *(pages.cell(v) for v in MUST)], ["aim", "24", *(pages.cell(v) for v in AIM)]]
    for name in REFERENCES:
        rows.append(pages.at_rates(f"{name}, published", 24, rd.published_curve("kodak", name), RATES))
    rows += [pages.at_rates(name, own[0].pictures, [p.rd for p in own], RATES) for name, own in curves.items()]
    return report.table(["dB at file bpp", "pictures", *(f"{r:.2f}" for r in RATES)], rows)


def bd_section(curves: dict[str, list[Point]]) -> list[str]:
    """BD-rate of measured and published curves against ANCHORS, over COMPARED or the part of it that both reach."""
    known = {name: [p.rd for p in own] for name, own in curves.items()}
    known |= {f"{entry['name']}, published": entry["points"] for entry in rd.published("kodak")}
    rows = [[name, *(bd_cell(rd.published_curve("kodak", a), curve) for a in ANCHORS)] for name, curve in known.items()]
    low, high = COMPARED
    return [
        f"BD-rate over {low:g}–{high:g} dB, less is better; where a curve reaches only a part of it, over the dB in",
        "brackets. Anchors are published means of all 24 pictures.",
        "",
        *report.table(["codec", *(f"against {anchor}" for anchor in ANCHORS)], rows),
        "",
        *PULSE,
    ]


def bd_cell(anchor: rd.Curve, curve: rd.Curve) -> str:
    """Per cent, and the range where it is not all of COMPARED; empty without a common one."""
    low, high = rd.common_range(anchor, curve, COMPARED)
    value = rd.bd_rate(anchor, curve, COMPARED)
    reached, whole = (f" ({a:.1f}–{b:.1f})" for a, b in ((low, high), COMPARED))
    part = "" if reached == whole else reached
    return f"{value:+.1f} %{part}" if low < high else ""


@click.command("kodak")
@options.folder
@options.out()
@options.photos
@click.option("--fast-betas", type=options.NUMBERS, default=(), help="Betas of `fast`, instead of finding them.")
@click.option("--normal-betas", type=options.NUMBERS, default=(), help="Betas of `normal`, instead of finding them.")
@click.option("--everything", is_flag=True, help="`normal` on all pictures, not on five; `fast` at all rates.")
@options.device
@options.threads
@options.note
def command(**settings):
    """The Kodak tables from FOLDER with kodim01.png … kodim24.png."""
    run(Settings(**settings), click.echo)
