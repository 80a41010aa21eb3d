"""`make bench-kodak`: the Kodak tables, other codecs measured on the same pictures in the same run.

Betas of the rates are found on crops of other photographs, never on Kodak pictures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import FormatError
from . import codecs, rates, report
from . import curves as rd
from .codecs import CombinerCodec
from .measure import Point, Store, measure, points, summary
from .pictures import Group, Picture, collect, grouped

RATES = (0.11, 0.22, 0.29, 0.50, 1.00)
MUST = (26.0, 27.9, 28.8, 31.2, 34.8)
AIM = (26.9, 28.9, 29.8, 32.1, 35.8)
FAST_RATES = (0.22, 0.50)
FIVE = ("kodim03", "kodim08", "kodim13", "kodim20", "kodim23")
REFERENCES = ("RECOMBINER", "BPG 4:4:4")
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


def run(settings: Settings, say: Callable[[str], None]) -> None:
    """Measure what is missing; write kodak.json, kodak.md and the plots."""
    pictures, problems = collect([settings.folder])
    five = [p for p in pictures if settings.everything or Path(p.name).stem in FIVE]
    if problems or not five:
        raise FormatError(f"{settings.folder}: not the Kodak pictures ({'; '.join(problems) or 'none of kodim03, …'})")
    store = Store(settings.out / "kodak.json")
    fast, normal = ours(settings, store)
    found, missing = codecs.others(list(codecs.OTHERS))
    for line in missing:
        say(line)
    small, whole = grouped(five), grouped(pictures)
    failed = measure(found, whole, store, settings.threads, say)
    failed += measure([normal], small, store, settings.threads, say)
    failed += measure([fast], whole, store, settings.threads, say)
    for line in failed:
        say(line)

    def on(groups: Sequence[Group], chosen):
        return {codec.name: own for codec in chosen if (own := points(codec, groups, store))}

    lists = {f"All {len(pictures)} pictures": (pictures, on(whole, [fast, normal, *found]))}
    if not settings.everything:
        names = ", ".join(Path(p.name).stem for p in five)
        lists[f"{len(five)} pictures: {names}"] = (five, on(small, [fast, normal, *found]))
    note = settings.note or store.data.get("note", "")
    store.save(note=note, summary={title: summary(curves) for title, (_, curves) in lists.items()})
    stamps = {*store.machines([fast, *found], whole), *store.machines([normal], small)}
    write(settings.out, lists, sorted(stamps), [note, *missing, *failed])


def ours(settings: Settings, store: Store) -> tuple[CombinerCodec, CombinerCodec]:
    """`fast` and `normal` with the betas of their rates."""
    plain = CombinerCodec("combiner fast", "fast", device=settings.device)
    held_out: list[Group] = []
    if not (settings.fast_betas and settings.normal_betas):
        held_out = [Group((crop,)) for crop in crops(settings.photos)]

    def betas(given, wanted):
        return given or tuple(rates.betas_for(plain, wanted, held_out, store, settings.threads))

    fast = CombinerCodec("combiner fast", "fast", betas(settings.fast_betas, FAST_RATES), device=settings.device)
    chosen = betas(settings.normal_betas, RATES)
    return fast, CombinerCodec("combiner normal", "normal", chosen, device=settings.device)


def crops(folder: Path) -> list[Picture]:
    """Centre crops of some photographs."""
    pictures, _ = collect([folder], CROPS)
    if not pictures:
        raise FormatError(f"{folder}: no photographs to find betas on")

    def centre(pixels: np.ndarray) -> np.ndarray:
        top, left = ((n - min(n, SIDE)) // 2 for n in pixels.shape[:2])
        return np.ascontiguousarray(pixels[top : top + SIDE, left : left + SIDE])

    return [Picture(f"crop of {p.name}", centre(p.pixels)) for p in pictures]


def write(out: Path, lists: dict[str, tuple[list[Picture], dict[str, list[Point]]]], stamps: Sequence[str],
          notes: Sequence[str]) -> None:  # fmt: skip
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
        *(line for line in notes if line),
        *(f"Measured {line}" for line in stamps),
    ]
    for number, (title, (_, curves)) in enumerate(lists.items()):
        name = "kodak" if number == 0 else "kodak-five"
        lines += ["", f"## {title}", "", f"![PSNR against file size]({name}.svg)", "", *rates_table(curves), ""]
        lines += [*report.points_table(curves), ""]
        lines += report.bd_table(curves, "jpeg", [p.rd for p in curves.get("jpeg", [])])
        drawn = [e for e in rd.published("kodak") if e["draw"]] if number == 0 else []
        measured = {name: [p.rd for p in own if p.bpp < 1.6] for name, own in curves.items()}
        for suffix in ("svg", "png"):
            report.plot(out / f"{name}.{suffix}", f"Kodak: {title[:1].lower()}{title[1:]}", measured, drawn, bottom=22)
    (out / "kodak.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def rates_table(curves: dict[str, list[Point]]) -> list[str]:
    rows = [["must reach", "24", *(report.cell(v) for v in MUST)], ["aim", "24", *(report.cell(v) for v in AIM)]]
    for name in REFERENCES:
        rows.append(report.at_rates(f"{name}, published", 24, rd.published_curve("kodak", name), RATES))
    rows += [report.at_rates(name, own[0].pictures, [p.rd for p in own], RATES) for name, own in curves.items()]
    return report.table(["dB at file bpp", "pictures", *(f"{r:.2f}" for r in RATES)], rows)
