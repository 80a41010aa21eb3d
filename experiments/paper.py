"""`make table1`, `make table2`: COMBINER's published times beside ours.

Results are kept where `make bench-cifar` and `make bench-kodak` keep theirs, so what one has measured the others need
not measure again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

from combiner_codec.bench import report
from combiner_codec.bench.codecs import CombinerCodec
from combiner_codec.bench.measure import Point, Store
from combiner_codec.bench.pictures import Group, Picture, grouped
from combiner_codec.encoder.settings import resolve_device
from combiner_codec.errors import FormatError
from combiner_codec.format import prior as priors
from combiner_codec.reports import Report

from . import cifar, kodak, options, pages
from .cuts import required
from .session import Session

PUBLISHED = Path(__file__).parent / "published" / "combiner.json"
WORK = Path("checkpoints/bench")  # where bench-cifar keeps its priors


@dataclass(frozen=True)
class Settings:
    """One run. Betas that are not given are found on pictures that are not measured."""

    folder: Path
    out: Path
    count: int | None = None  # pictures
    betas: tuple[float, ...] = ()
    effort: str = "normal"
    device: str = "auto"
    threads: int = 0
    note: str = ""


def published() -> dict:
    """The paper's seconds and steps, with their source."""
    return json.loads(PUBLISHED.read_text(encoding="utf-8"))


def table1(settings: Settings, say: Report) -> None:
    """CIFAR-10: encoding time of 500 images in two parts, decoding time of one. Writes table1.md."""
    paper = published()["cifar10"]
    count = settings.count or paper["images"]
    run = cifar.Cifar.of(cifar.Settings(settings.folder, settings.out, WORK, count, settings.threads), say)
    betas = settings.betas or run.betas(run.family, [row["bpp"] for row in paper["rows"]])
    name = cifar.DEFAULT if settings.effort == "normal" else f"default family, {settings.effort}"
    codec = CombinerCodec(name, settings.effort, betas, run.family, settings.device)
    found = curve(codec, [run.whole], run.session)
    about = f"The first {len(run.whole.pictures)} CIFAR-10 test images, encoded together"
    write("table1", "CIFAR-10", paper, about, found, run.session.stamps, settings)


def table2(settings: Settings, say: Report, photos: Path) -> None:
    """Kodak: the same for one picture. Without a GPU the five pictures of bench-kodak unless told. Writes table2.md."""
    paper, pictures = published()["kodak"], chosen(required([settings.folder]), settings)
    session = Session(Store(settings.out / "kodak.json"), settings.threads, say)
    fast = CombinerCodec("combiner fast", "fast", device=settings.device)
    wanted = [row["bpp"] for row in paper["rows"]]
    betas = settings.betas or kodak.found_betas(photos, fast, session.store, wanted, settings.threads)
    prior = priors.default(*pictures[0].pixels.shape[1::-1])
    codec = CombinerCodec(f"combiner {settings.effort}", settings.effort, betas, prior, settings.device)
    found = curve(codec, grouped(pictures), session)
    about = f"{len(pictures)} Kodak pictures, each on its own: {', '.join(Path(p.name).stem for p in pictures)}"
    write("table2", "Kodak", paper, about, found, session.stamps, settings)


def chosen(pictures: Sequence[Picture], settings: Settings) -> list[Picture]:
    """All pictures with a GPU; without, the busy and the plain ones that bench-kodak takes."""
    if settings.count is None and resolve_device(settings.device).type == "cuda":
        return list(pictures)
    first = [p for p in pictures if Path(p.name).stem in kodak.FIVE]
    others = [p for p in pictures if Path(p.name).stem not in kodak.FIVE]
    return (first + others)[: settings.count or len(first)]


def curve(codec: CombinerCodec, groups: Sequence[Group], session: Session) -> list[Point]:
    """All points of a codec; libraries, prior and GPU are loaded before the clock runs. Raises FormatError if it
    fails.
    """
    flat = np.zeros((32, 32, 3), np.uint8)
    replace(codec, effort="fast").encode([flat], codec.prior.betas[0])
    found = session.curve(codec, groups)
    if session.failed:
        raise FormatError(session.failed[0])
    return found


HEADER = ["bpp of COMBINER", "bpp here", "dB here", "posterior, COMBINER", "posterior, here", "coding, COMBINER",
          "coding, here", "total, COMBINER", "total, here", "decode, COMBINER", "decode, here"]  # fmt: skip


def write(name: str, title: str, paper: dict, pictures: str, found: Sequence[Point], stamps: Sequence[str],
          settings: Settings) -> None:  # fmt: skip
    """A page: the paper's minutes beside ours, for as many images as the paper's."""
    images = paper["images"]
    used = ", ".join(point.label.removeprefix("beta ") for point in found)
    scaled = "" if found and found[0].pictures == images else f", scaled from {found[0].pictures} measured"
    each = f"{images} images{scaled}" if images > 1 else "one picture, mean"
    lines = [
        f"# {title}: seconds of encoding and decoding",
        "",
        f"Made by `make {name}`. {pictures}. Effort `{settings.effort}`, betas {used}, device `{settings.device}`,",
        f"processor threads: {settings.threads or 'all'}. Minutes are those of {each}. Decoding is that of one "
        "image on the",
        "processor. *Posterior* is choosing operating points and classes, and the fit. *Coding* is the rest: A* "
        "coding,",
        "refinement between the parts of a stream, writing the file and decoding it once.",
        "",
        f"{published()['source']}; the paper gives no dB as numbers.",
        settings.note,
        "",
        *stamps,
        "",
        *report.table(HEADER, [row(*pair, images) for pair in zip(paper["rows"], found, strict=False)]),
    ]
    pages.write(settings.out / f"{name}.md", lines)


def row(theirs: dict, ours: Point, images: int) -> list[str]:
    """One rate: the paper's minutes, and ours for as many images."""
    posterior = ours.facts["posterior_seconds"]
    spent = {"posterior": posterior, "coding": ours.encode_seconds - posterior, "total": ours.encode_seconds}
    cells = [f"{theirs['bpp']:.2f}", f"{ours.bpp:.3f}", f"{ours.psnr:.2f}"]
    for part, seconds in spent.items():
        cells += [f"~{theirs[f'{part}_minutes']:g} min", f"{seconds * images / 60:.2f} min"]
    return [*cells, f"{theirs['decode_ms']:g} ms", f"{1e3 * ours.decode_seconds:.3g} ms"]


of_paper = options.together(
    options.folder,
    options.out(),
    click.option("--count", type=click.IntRange(1), help="Pictures [the paper's; fewer of Kodak without a GPU]."),
    click.option("--betas", type=options.NUMBERS, default=(), help="Instead of finding them or the command's own."),
    options.effort("normal"),
    options.device,
    options.threads,
    options.note,
)


@click.command("table1")
@of_paper
def table1_command(**settings):
    """Seconds on CIFAR-10 beside the paper's, from FOLDER with train.npy and test.npy."""
    table1(Settings(**settings), click.echo)


@click.command("table2")
@of_paper
@options.photos
def table2_command(photos, **settings):
    """Seconds on Kodak beside the paper's, from FOLDER with kodim01.png … kodim24.png."""
    table2(Settings(**settings), click.echo, photos)
