"""`make bench-looks`: how files look to measures of what people see, ours with both tunes beside others at equal bytes.

The bytes are those of `--tune psnr` at each beta; every other curve is read off at them, picture by picture, linear in
the logarithm of bytes. A run that is stopped goes on where it was, and a page has the pictures that are complete.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import click
import numpy as np
from PIL import Image

from combiner_codec.bench import codecs, quality, report
from combiner_codec.bench.codecs import Codec, CombinerCodec, File
from combiner_codec.bench.measure import Store, measure
from combiner_codec.bench.pictures import Group, Picture
from combiner_codec.reports import Report

from . import options, pages
from .cuts import centre, required

METRICS = ("psnr", "msssim", "ssimulacra2", "butteraugli")
SHOWN = {"psnr": ("PSNR, dB", 2), "ssimulacra2": ("SSIMULACRA 2", 1), "butteraugli": ("Butteraugli", 2)}
TUNES = ("psnr", "iq")
OTHERS = ("avif-default", "avif", "webp", "jxl", "heic")
LADDER = 8  # settings of other codecs, from the coarsest on: beyond them files are larger than any here
EXTENDED = 0.25  # share of a file's size by which a curve goes on beyond its ends
FLAT = 64  # pixels along the side of a flat crop
WORST = 160  # the same of a crop where others are better


@dataclass(frozen=True)
class KeptCodec(CombinerCodec):
    """Ours; files stay in a folder, so that crops can be looked at."""

    folder: Path = Path("build/looks")

    def encode(self, pixels: Sequence[np.ndarray], setting: float, threads: int = 0) -> list[File]:
        """As the codec itself."""
        files = super().encode(pixels, setting, threads)
        for picture, file in zip(pixels, files, strict=True):
            path = kept(self, picture, setting)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.data)
        return files


def kept(codec: KeptCodec, picture: np.ndarray, setting: float) -> Path:
    """Where the file of a picture is."""
    return codec.folder / f"{Group((Picture('', picture),)).digest}-{codec.tune}-{setting:g}.cmb"


def file_of(codec: KeptCodec, picture: np.ndarray, setting: float) -> bytes:
    """A kept file, or a new one."""
    path = kept(codec, picture, setting)
    if not path.exists():
        codec.encode([picture], setting, 1)
    return path.read_bytes()


@dataclass(frozen=True)
class Settings:
    """One run."""

    sources: Sequence[Path]
    out: Path
    work: Path
    betas: tuple[float, ...]
    side: int  # of centre crops, pixels; 0 takes whole pictures
    limit: int | None
    minutes: float  # no picture is begun after so many
    effort: str
    others: tuple[str, ...] = OTHERS  # codecs beside ours


def run(settings: Settings, say: Report) -> None:
    """Measure picture after picture; write the part of looks.md about whole pictures, or that about crops."""
    started = time.monotonic()
    store = Store(settings.work / "looks.json")
    groups = [Group((picture,)) for picture in chosen(settings)]
    encoders, missing = all_codecs(settings)
    for line in (*missing, *quality.missing(METRICS)):
        say(line)
    done = []
    for group in groups:
        if time.monotonic() - started > 60 * settings.minutes:
            break
        failed = measure(encoders, [group], store, 1, say, METRICS)
        if not failed:
            done.append(group)
    write(settings, store, encoders, done, len(groups), missing)


def chosen(settings: Settings) -> Iterator[Picture]:
    """Pictures of all sources, the sources in turns."""
    of_sources = [required([source], settings.limit) for source in settings.sources]
    for turn in zip_longest(*of_sources):
        for source, picture in zip(settings.sources, turn, strict=True):
            if picture is None:
                continue
            pixels = centre(picture.pixels, settings.side) if settings.side else picture.pixels
            yield Picture(f"{source.name}/{picture.name}", pixels)


def all_codecs(settings: Settings) -> tuple[list[Codec], list[str]]:
    """Ours first, and a line about each that is not installed."""
    ours = [
        KeptCodec(f"combiner {settings.effort}, tune {tune}", settings.effort, settings.betas, tune=tune,
                  folder=settings.work)
        for tune in TUNES
    ]  # fmt: skip
    found, missing = codecs.others(settings.others)
    return [*ours, *(replace(codec, settings=codec.settings[:LADDER]) for codec in found)], missing


def at_size(records: Sequence[dict], metric: str, size: float) -> float:
    """What a codec has at so many bytes, from its records of one picture; NaN beyond its ends."""
    points = sorted({record["bytes"][0]: record[metric][0] for record in records}.items())
    x = np.log([bytes_ for bytes_, _ in points])
    y = np.array([value for _, value in points])
    at = np.log(size)
    if len(points) < 2 or not x[0] - EXTENDED <= at <= x[-1] + EXTENDED:
        return float("nan")
    i = int(np.clip(np.searchsorted(x, at), 1, len(x) - 1))
    return float(y[i - 1] + (y[i] - y[i - 1]) * (at - x[i - 1]) / (x[i] - x[i - 1]))


def write(settings: Settings, store: Store, encoders: Sequence[Codec], groups: Sequence[Group], wanted: int,
          missing: Sequence[str]) -> None:  # fmt: skip
    """The page."""
    table = []
    for beta in settings.betas:
        table += rows_of(beta, store, encoders, groups)
    measured = [name for name in SHOWN if name == "psnr" or quality.EYE[name].installed()]
    header = ["bpp", "codec", "pictures", *(SHOWN[name][0] for name in measured)]
    part = f"centre crops of {settings.side}×{settings.side}" if settings.side else "whole pictures"
    sources = {source.name: sum(g.name.startswith(f"{source.name}/") for g in groups) for source in settings.sources}
    counted = ", ".join(f"{count} of {name}" for name, count in sources.items())
    lines = [
        f"{len(groups)} pictures ({counted}; {wanted} were asked for), {part}, `{settings.effort}`. Bytes are those of",
        "`--tune psnr` at one beta, picture by picture; other curves are read off there, linear in the logarithm of",
        "bytes. Means over the pictures whose size a codec reaches.",
        "",
        *quality.notes(METRICS),
        "",
        *report.table(header, table),
        "",
        gain(settings, store, encoders, groups),
        "",
        *missing,
        *codecs.versions([codec.name for codec in encoders]),
        *(f"Measured {line}" for line in store.machines(encoders, groups)),
    ]
    pages.put(settings.out / "looks.md", "crops" if settings.side else "measured", lines)


def gain(settings: Settings, store: Store, encoders: Sequence[Codec], groups: Sequence[Group]) -> str:
    """A sentence about what the second codec, ours with `iq`, has over the first at equal bytes."""
    changes: dict[str, list[float]] = {name: [] for name in SHOWN}
    growth = []
    for group in groups:
        plain, tuned = ([store.find(codec, beta, group) for beta in settings.betas] for codec in encoders[:2])
        for before, after in zip(plain, tuned, strict=True):
            size = before["bytes"][0]
            growth.append(after["bytes"][0] / size)
            for name, found in changes.items():
                if all(name in record for record in (*plain, *tuned)):
                    value = at_size(tuned, name, size)
                    found.append(value / before[name][0] - 1 if name == "butteraugli" else value - before[name][0])
    means = {name: float(np.nanmean(found)) for name, found in changes.items() if found}
    parts = [f"PSNR {means['psnr']:+.2f} dB"]
    if "ssimulacra2" in means:
        parts.append(f"SSIMULACRA 2 {means['ssimulacra2']:+.1f}")
    if "butteraugli" in means:
        parts.append(f"Butteraugli {means['butteraugli']:+.1%}")
    grown = f"{np.mean(growth):.2f} times the bytes"
    return f"`iq` against `psnr` wherever both reach the size: {', '.join(parts)}; {grown} at one beta."


def rows_of(beta: float, store: Store, encoders: Sequence[Codec], groups: Sequence[Group]) -> list[list[str]]:
    """Rows of one beta: a codec each, means over the pictures that it reaches."""
    sizes = [store.find(encoders[0], beta, group)["bytes"][0] for group in groups]
    bpp = float(np.mean([8 * size / group.pixels for size, group in zip(sizes, groups, strict=True)]))
    rows = []
    for codec in encoders:
        values: dict[str, list[float]] = {}
        for size, group in zip(sizes, groups, strict=True):
            records = [store.find(codec, setting, group) for setting in codec.settings]
            for name in SHOWN:
                if all(name in record for record in records):
                    values.setdefault(name, []).append(at_size(records, name, size))
        reached = np.isfinite(values["psnr"])
        cells = [pages.cell(float(np.nanmean(values[name])), SHOWN[name][1]) for name in SHOWN if name in values]
        rows.append([f"{bpp:.2f}", codec.name, str(int(reached.sum())), *cells])
    return rows


def crops(settings: Settings, beta: float, count: int, say: Report) -> None:
    """Flat places as PNG, enlarged: original, ours with both tunes, AVIF as by default at the same bytes."""
    from .flat import at_size as shown_at_size
    from .flat import variance_around

    ours = [codec for codec in all_codecs(settings)[0] if isinstance(codec, KeptCodec)]
    avif = codecs.OTHERS["avif-default"]
    for picture in chosen(settings):
        data = [file_of(codec, picture.pixels, beta) for codec in ours]
        shown = [codec.decode(file) for codec, file in zip(ours, data, strict=True)]
        other = shown_at_size(avif, picture.pixels, max(map(len, data)))
        row, column = flattest(variance_around(picture.pixels))
        place = slice(row, row + FLAT), slice(column, column + FLAT)
        parts = [pixels[place] for pixels in (picture.pixels, *shown, other.pixels)]
        path = settings.work / "crops" / f"{picture.name.replace('/', '-').removesuffix('.png')}-{beta:g}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet = np.concatenate(parts, 1).repeat(4, 0).repeat(4, 1)
        Image.fromarray(sheet).save(path)
        say(f"{path}: {[len(file) for file in data]} bytes, avif {other.size}; at row {row}, column {column}")
        count -= 1
        if not count:
            return


def worst(settings: Settings, beta: float, count: int, say: Report) -> None:
    """Crops of the pictures whose scores are furthest behind AVIF's, where our error exceeds AVIF's most: as JPEG.

    Each row: the original, ours with both tunes, AVIF as by default at the bytes of `psnr`. Needs a measured store.
    """
    from .flat import at_size as shown_at_size

    store = Store(settings.work / "looks.json")
    ours = [codec for codec in all_codecs(settings)[0] if isinstance(codec, KeptCodec)]
    avif = replace(codecs.OTHERS["avif-default"], settings=codecs.OTHERS["avif-default"].settings[:LADDER])
    behind = []
    for picture in chosen(settings):
        group = Group((picture,))
        records = [[store.find(codec, setting, group) for setting in codec.settings] for codec in (ours[1], avif)]
        plain = store.find(ours[0], beta, group)
        if plain and all(record for own in records for record in own):
            tuned, other = (at_size(own, "ssimulacra2", plain["bytes"][0]) for own in records)
            behind.append((other - tuned, picture))
    behind.sort(key=lambda pair: -pair[0])
    rows = []
    for points, picture in behind[:count]:
        data = [file_of(codec, picture.pixels, beta) for codec in ours]
        shown = [codec.decode(file) for codec, file in zip(ours, data, strict=True)]
        other = shown_at_size(avif, picture.pixels, len(data[0])).pixels
        row, column = most_behind(picture.pixels, shown[1], other)
        place = slice(row, row + WORST), slice(column, column + WORST)
        rows.append(np.concatenate([pixels[place] for pixels in (picture.pixels, *shown, other)], 1))
        say(f"{picture.name}: {points:+.1f} points behind, {[len(file) for file in data]} bytes, row {row}, {column}")
    path = settings.out / "looks-worst.jpg"
    Image.fromarray(np.concatenate(rows)).save(path, quality=90)
    say(f"{path} written")


def most_behind(original: np.ndarray, ours: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Row and column of the square of WORST x WORST pixels where our squared error exceeds another's most."""
    more = ((original.astype(float) - ours) ** 2 - (original.astype(float) - other) ** 2).sum(2)
    return lowest(-more, WORST)


def flattest(variance: np.ndarray) -> tuple[int, int]:
    """Row and column of the square of FLAT x FLAT pixels with the least variance around them: (H, W)."""
    return lowest(variance, FLAT)


def lowest(values: np.ndarray, side: int) -> tuple[int, int]:
    """Row and column of the square of pixels with the least sum of some values: (H, W)."""
    sums = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    total = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    row, column = np.unravel_index(total.argmin(), total.shape)
    return int(row), int(column)


@click.command("looks")
@options.sources
@options.out()
@options.work("build/looks")
@click.option("--betas", type=options.NUMBERS, default=(0.02, 0.0085, 0.0035, 0.0013), show_default=True)
@click.option("--side", type=click.IntRange(0), default=384, show_default=True, help="Of centre crops; 0: whole.")
@options.limit
@click.option("--minutes", type=float, default=600, show_default=True, help="No picture is begun after so many.")
@options.effort("fast")
@click.option("--others", type=options.NAMES, default=",".join(OTHERS), show_default=True, help="Codecs beside ours.")
@click.option("--crops", "count", type=click.IntRange(0), default=0, help="Only write flat crops of so many pictures.")
@click.option("--worst", "worst_count", type=click.IntRange(0), default=0, help="Only write crops of the worst ones.")
def command(count, worst_count, **settings):
    """Measures of what people see, ours beside others at equal bytes."""
    plan = Settings(**settings)
    if worst_count:
        worst(plan, plan.betas[len(plan.betas) // 2], worst_count, click.echo)
    elif count:
        crops(plan, plan.betas[len(plan.betas) // 2], count, click.echo)
    else:
        run(plan, click.echo)
