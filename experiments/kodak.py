"""`make bench-kodak`: the Kodak tables, other codecs measured on the same pictures in the same run.

Betas of the rates are found on crops of other photographs, never on Kodak pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from combiner_codec.bench import codecs, report
from combiner_codec.bench import curves as rd
from combiner_codec.bench.codecs import CombinerCodec
from combiner_codec.bench.measure import Point, Store, points, summary
from combiner_codec.bench.pictures import Group, Picture, collect, grouped
from combiner_codec.errors import FormatError

from . import options, pages, rates
from .cuts import centre
from .session import Say, Session

RATES = (0.11, 0.22, 0.29, 0.50, 1.00)  # bpp
MUST = (26.0, 27.9, 28.8, 31.2, 34.8)  # dB at these rates
AIM = (26.9, 28.9, 29.8, 32.1, 35.8)
FAST_RATES = (0.22, 0.50)
FIVE = ("kodim03", "kodim08", "kodim13", "kodim20", "kodim23")
REFERENCES = ("RECOMBINER", "BPG 4:4:4")
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
    everything: bool = False  # `normal` on all pictures, for a machine with a GPU
    threads: int = 0
    device: str = "auto"
    note: str = ""


def run(settings: Settings, say: Say) -> None:
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
    wanted = (fast, settings.fast_betas, FAST_RATES), (normal, settings.normal_betas, RATES)
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
    lines = [
        "# Kodak",
        "",
        "Made by `make bench-kodak`. Rate is the mean file size in bits per pixel, header included; PSNR of decoded",
        "8-bit files over RGB; MS-SSIM over RGB; means over the listed pictures. The first table of each list",
        "interpolates the mean curve in log bpp (extended by a tenth of the rate at most; cells beyond are empty), the",
        "next gives what was measured. Betas were found on crops of other photographs, so measured rates differ.",
        "RECOMBINER and BPG are published means of all 24 pictures. Options of the other codecs: `bench/codecs.py`.",
        "",
        *notes,
    ]
    for name, (title, curves) in zip(("kodak", "kodak-five"), lists.items(), strict=False):
        jpeg = [p.rd for p in curves.get("jpeg", [])]
        lines += ["", f"## {title}", "", f"![PSNR against file size]({name}.svg)", "", *rates_table(curves)]
        lines += ["", *report.points_table(curves), "", *report.bd_table(curves, "jpeg", jpeg)]
        drawn = [entry for entry in rd.published("kodak") if entry["draw"]] if name == "kodak" else []
        measured = {codec: [p.rd for p in own if p.bpp < SHOWN] for codec, own in curves.items()}
        for suffix in ("svg", "png"):
            report.plot(out / f"{name}.{suffix}", f"Kodak: {title[:1].lower()}{title[1:]}", measured, drawn, bottom=22)
    pages.write(out / "kodak.md", lines)


def rates_table(curves: dict[str, list[Point]]) -> list[str]:
    """dB at the five rates, published curves first."""
    rows = [["must reach", "24", *(pages.cell(v) for v in MUST)], ["aim", "24", *(pages.cell(v) for v in AIM)]]
    for name in REFERENCES:
        rows.append(pages.at_rates(f"{name}, published", 24, rd.published_curve("kodak", name), RATES))
    rows += [pages.at_rates(name, own[0].pictures, [p.rd for p in own], RATES) for name, own in curves.items()]
    return report.table(["dB at file bpp", "pictures", *(f"{r:.2f}" for r in RATES)], rows)


@click.command("kodak")
@options.folder
@options.out()
@options.photos
@click.option("--fast-betas", type=options.NUMBERS, default=(), help="Betas of `fast`, instead of finding them.")
@click.option("--normal-betas", type=options.NUMBERS, default=(), help="Betas of `normal`, instead of finding them.")
@click.option("--everything", is_flag=True, help="`normal` on all pictures, not on five.")
@options.device
@options.threads
@options.note
def command(**settings):
    """The Kodak tables from FOLDER with kodim01.png … kodim24.png."""
    run(Settings(**settings), click.echo)
