"""`make ablation-finetune`: all of the refinement, a tenth of it, and none, as in COMBINER's ablation."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from combiner_codec.bench import report
from combiner_codec.bench.codecs import CombinerCodec
from combiner_codec.bench.measure import Point, Store
from combiner_codec.bench.pictures import Picture, grouped, read
from combiner_codec.encoder.settings import EFFORTS, Effort
from combiner_codec.format import prior as priors
from combiner_codec.format.prior import Prior
from combiner_codec.reports import Report

from . import kodak, options, pages
from .paper import Settings, curve, of_paper, published
from .session import Session

TENTH = 0.1  # share of the refinement steps that the paper leaves
BETAS = {"small": 0.00164, "photo": 0.0085, "combiner-cifar": 0.002}
MOST = {"small": 500, "photo": kodak.CROPS, "combiner-cifar": 20}  # pictures at most
COUNT = 50  # pictures unless told
HEADER = ["family", "pictures", "refinement", "steps", "bpp", "dB", "dB against full", "encode, s"]


def run(settings: Settings, say: Report, photos: Path, families: Sequence[str]) -> None:
    """At equal rate, betas one for each family. Writes ablation-finetune.md."""
    session = Session(Store(settings.out / "ablation-finetune.json"), settings.threads, say)
    rows, used = [], []
    for family, beta in zip(families, settings.betas or map(BETAS.get, families), strict=False):
        prior, pictures, about = subject(family, settings, photos)
        rows += measured(settings, session, family, beta, prior, pictures)
        used.append(f"- `{family}`: {about}, beta {beta:g}")
    write(settings, used, session.stamps, rows)


def measured(settings: Settings, session: Session, family: str, beta: float, prior: Prior,
             pictures: list[Picture]) -> list[list[str]]:  # fmt: skip
    """Rows of one family."""
    rows, full = [], None
    for label, effort in amounts(settings.effort).items():
        name = f"{family}, {settings.effort}, {label}"
        codec = CombinerCodec(name, effort, (beta,), prior, settings.device)
        (point,) = curve(codec, grouped(pictures), session)
        full = full or point
        steps = (effort.segments - 1) * round(prior.metadata["steps"] * effort.refine)
        rows.append([family, str(point.pictures), label, str(steps), *quality(point, full)])
    return rows


def amounts(effort: str) -> dict[str, Effort]:
    """An effort with one operating point a picture, and with less refinement."""
    plan = replace(EFFORTS[effort], trials=1)
    return {"full": plan, "a tenth": replace(plan, refine=TENTH * plan.refine), "none": replace(plan, refine=0.0)}


def quality(point: Point, full: Point) -> list[str]:
    """Cells: bpp, dB, dB against full refinement, seconds."""
    difference = "" if point is full else f"{point.psnr - full.psnr:+.2f}"
    return [f"{point.bpp:.3f}", f"{point.psnr:.2f}", difference, f"{point.encode_seconds:.3g}"]


def subject(family: str, settings: Settings, photos: Path) -> tuple[Prior, list[Picture], str]:
    """Prior and pictures of one family, and a line about them."""
    count, prior = min(settings.count or COUNT, MOST[family]), priors.load(family)
    if family == "photo":
        pictures = kodak.crops(photos)[:count]
        return prior, pictures, f"centres of {kodak.SIDE}x{kodak.SIDE}, {', '.join(p.name for p in pictures)}"
    pictures = read(settings.folder / "test.npy")[:count]
    return prior, pictures, f"the first {len(pictures)} CIFAR-10 test images"


def write(settings: Settings, used: Sequence[str], stamps: Sequence[str], rows: Sequence[list[str]]) -> None:
    """The page."""
    theirs = published()["finetune"]
    lines = [
        "# Refinement: all of it, a tenth, none",
        "",
        f"Made by `make ablation-finetune`, effort `{settings.effort}`, one operating point a picture. Classes, "
        "and with them",
        "the lengths of all streams, are chosen before, so rates are equal. Steps are those of a whole encoding; "
        "they follow",
        "each part of the stream but the last. Pictures:",
        "",
        *used,
        "",
        f"COMBINER went from {theirs['steps']:,} to {theirs['fewer_steps']:,} steps and lost about "
        f"{theirs['loss_db']:g} dB ({published()['source'].split(': enc')[0]}).",
        settings.note,
        "",
        *stamps,
        "",
        *report.table(HEADER, rows),
    ]
    pages.write(settings.out / "ablation-finetune.md", lines)


@click.command("ablation-finetune")
@of_paper
@options.photos
@click.option("--family", "families", multiple=True, type=click.Choice(list(BETAS)), default=list(BETAS),
              show_default=True)  # fmt: skip
def command(photos, families, **settings):
    """What refinement is worth, on FOLDER/test.npy and centres of photographs."""
    run(Settings(**settings), click.echo, photos, families)
