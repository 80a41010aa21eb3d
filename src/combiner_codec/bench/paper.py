"""`make table1`, `table2`, `ablation-finetune`: the experiments of COMBINER's paper, its figures beside ours.

Results are kept where `make bench-cifar` and `make bench-kodak` keep theirs, so what one has measured the others need
not measure again.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from .. import prior as priors
from ..errors import FormatError
from ..prior import Prior
from . import codecs, kodak, rates, report
from .cifar import DEFAULT, Cifar
from .codecs import CombinerCodec
from .measure import Point, Store, measure, points
from .pictures import Group, Picture, collect, grouped, read

Say = Callable[[str], None]
TENTH = 0.1  # share of the refinement steps that the ablation leaves


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
    return json.loads((files(__package__) / "published" / "combiner.json").read_text(encoding="utf-8"))


def table1(settings: Settings, say: Say) -> None:
    """CIFAR-10: encoding time of 500 images in two parts, decoding time of one. Writes table1.md."""
    paper = published()["cifar10"]
    count = settings.count or paper["images"]
    cifar = Cifar(settings.folder, settings.out, Path("checkpoints/bench"), say, count, threads=settings.threads)
    betas = settings.betas or cifar.betas(cifar.family, [row["bpp"] for row in paper["rows"]])
    name = DEFAULT if settings.effort == "normal" else f"default family, {settings.effort}"
    codec = CombinerCodec(name, settings.effort, betas, cifar.family, settings.device)
    groups = [Group(tuple(cifar.test))]
    found = curve(codec, groups, cifar.store, settings, say)
    list_of = f"The first {len(cifar.test)} CIFAR-10 test images, encoded together"
    table("table1", "CIFAR-10", paper, list_of, found, cifar.store.machines([codec], groups), settings)


def table2(settings: Settings, say: Say, photos: Path) -> None:
    """Kodak: the same for one picture. Without a GPU the five pictures of bench-kodak unless told. Writes table2.md."""
    paper = published()["kodak"]
    store = Store(settings.out / "kodak.json")
    pictures = chosen(collect([settings.folder])[0], settings)
    betas = settings.betas or photo_betas(settings, photos, store, [row["bpp"] for row in paper["rows"]])
    if not pictures:
        raise FormatError(f"{settings.folder}: no pictures")
    height, width = pictures[0].pixels.shape[:2]
    prior = codecs.default_prior(width, height)
    codec = CombinerCodec(f"combiner {settings.effort}", settings.effort, betas, prior, settings.device)
    groups = grouped(pictures)
    found = curve(codec, groups, store, settings, say)
    list_of = f"{len(pictures)} Kodak pictures, each on its own: {', '.join(Path(p.name).stem for p in pictures)}"
    machines = store.machines([codec], groups)
    table("table2", "Kodak", paper, list_of, found, machines, settings)


def chosen(pictures: Sequence[Picture], settings: Settings) -> list[Picture]:
    """All pictures with a GPU; without, the busy and the plain ones that bench-kodak takes."""
    from ..fit import resolve_device

    if settings.count is None and resolve_device(settings.device).type == "cuda":
        return list(pictures)
    first = [p for p in pictures if Path(p.name).stem in kodak.FIVE]
    others = [p for p in pictures if p not in first]
    return (first + others)[: settings.count or len(first)]


def photo_betas(settings: Settings, photos: Path, store: Store, wanted: Sequence[float]) -> tuple[float, ...]:
    """Betas of some rates, found with `fast` on crops of other photographs."""
    held_out = [Group((crop,)) for crop in kodak.crops(photos)]
    probe = CombinerCodec("combiner fast", "fast", device=settings.device)
    return tuple(rates.betas_for(probe, wanted, held_out, store, settings.threads))


def curve(codec: CombinerCodec, groups: Sequence[Group], store: Store, settings: Settings, say: Say) -> list[Point]:
    """All points of a codec; libraries, prior and GPU are loaded before the clock runs."""
    flat = np.zeros((32, 32, 3), np.uint8)
    replace(codec, effort="fast").encode([flat], codec.prior.betas[0])
    if failed := measure([codec], groups, store, settings.threads, say):
        raise FormatError(failed[0])
    return points(codec, groups, store)


def table(name: str, title: str, paper: dict, pictures: str, found: Sequence[Point], machines: Sequence[str],
          settings: Settings) -> None:  # fmt: skip
    """Write a page: the paper's minutes beside ours, for as many images as the paper's."""
    images = paper["images"]
    header = ["bpp of COMBINER", "bpp here", "dB here", "posterior, COMBINER", "posterior, here", "coding, COMBINER",
              "coding, here", "total, COMBINER", "total, here", "decode, COMBINER", "decode, here"]  # fmt: skip
    rows = []
    for theirs, ours in zip(paper["rows"], found, strict=False):
        posterior = ours.facts["posterior_seconds"]
        spent = [posterior, ours.encode_seconds - posterior, ours.encode_seconds]
        cells = [f"{theirs['bpp']:.2f}", f"{ours.bpp:.3f}", f"{ours.psnr:.2f}"]
        for key, seconds in zip(("posterior", "coding", "total"), spent, strict=True):
            cells += [f"~{theirs[f'{key}_minutes']:g} min", f"{seconds * images / 60:.2f} min"]
        rows.append([*cells, f"{theirs['decode_ms']:g} ms", f"{1e3 * ours.decode_seconds:.3g} ms"])
    used = ", ".join(point.label.removeprefix("beta ") for point in found)
    scaled = "" if found and found[0].pictures == images else f", scaled from {found[0].pictures} measured"
    each = f"{images} images{scaled}" if images > 1 else "one picture, mean"
    lines = [
        f"# {title}: seconds of encoding and decoding",
        "",
        f"Made by `make {name}`. {pictures}; effort `{settings.effort}`, betas {used}, device `{settings.device}`,",
        f"processor threads: {settings.threads or 'all'}. Minutes are those of {each}; decoding is one image's on the",
        "processor. *Posterior* is choosing operating points and classes and fitting; *coding* is the rest: A* coding,",
        "refinement between the parts of a stream, writing the file and decoding it once.",
        f"{published()['source']}; the paper gives no dB as numbers.",
        settings.note,
        "",
        *(f"Measured {line}" for line in machines),
        "",
        *report.table(header, rows),
    ]
    write(settings.out / f"{name}.md", lines)


def write(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def finetune(settings: Settings, say: Say, photos: Path, families: Sequence[str]) -> None:
    """Full refinement against a tenth of it and none, at equal rate; betas are one for each family. Writes
    ablation-finetune.md.
    """
    from ..fit import EFFORTS

    store = Store(settings.out / "ablation-finetune.json")
    plan = replace(EFFORTS[settings.effort], trials=1)
    amounts = {"full": plan, "a tenth": replace(plan, refine=TENTH * plan.refine), "none": replace(plan, refine=0.0)}
    rows, used, stamps = [], [], set()
    for family, beta in zip(families, settings.betas or map(BETAS.get, families), strict=False):
        prior, pictures, what = subject(family, settings, photos)
        groups = grouped(pictures)
        full = None
        for label, own in amounts.items():
            name = f"{family}, {settings.effort}, {label}"
            codec = CombinerCodec(name, own, (beta,), prior, settings.device)
            (point,) = curve(codec, groups, store, settings, say)
            full = full or point
            steps = (own.segments - 1) * round(prior.metadata["steps"] * own.refine)
            difference = "" if point is full else f"{point.psnr - full.psnr:+.2f}"
            rows.append([family, str(point.pictures), label, str(steps), f"{point.bpp:.3f}", f"{point.psnr:.2f}",
                         difference, f"{point.encode_seconds:.3g}"])  # fmt: skip
            stamps |= set(store.machines([codec], groups))
        used.append(f"- `{family}`: {what}, beta {beta:g}")
    theirs = published()["finetune"]
    header = ["family", "pictures", "refinement", "steps", "bpp", "dB", "dB against full", "encode, s"]
    lines = [
        "# Refinement: all of it, a tenth, none",
        "",
        f"Made by `make ablation-finetune`. Effort `{settings.effort}`, one operating point a picture. Classes are",
        "chosen before, and with them the lengths of all streams, so rates are equal. Steps count all of an encoding:",
        "some after each part of the stream but the last. Pictures:",
        "",
        *used,
        "",
        f"COMBINER went from {theirs['steps']:,} to {theirs['fewer_steps']:,} steps and lost about "
        f"{theirs['loss_db']:g} dB ({published()['source'].split(': enc')[0]}).",
        settings.note,
        "",
        *(f"Measured {line}" for line in sorted(stamps)),
        "",
        *report.table(header, rows),
    ]
    write(settings.out / "ablation-finetune.md", lines)


BETAS = {"small": 0.00164, "photo": 0.0085, "combiner-cifar": 0.002}
MOST = {"small": 500, "photo": kodak.CROPS, "combiner-cifar": 20}  # pictures at most


def subject(family: str, settings: Settings, photos: Path) -> tuple[Prior, list[Picture], str]:
    """Prior and pictures of one family of the ablation, and a line about them."""
    count = min(settings.count or 50, MOST[family])
    prior = priors.load(family)
    if family == "photo":
        pictures = kodak.crops(photos)[:count]
        return prior, pictures, f"centres of {kodak.SIDE}x{kodak.SIDE}, {', '.join(p.name for p in pictures)}"
    pictures = read(settings.folder / "test.npy")[:count]
    return prior, pictures, f"the first {len(pictures)} CIFAR-10 test images"
