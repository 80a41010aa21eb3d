"""What `combiner bench` does after its arguments are read."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from ..errors import FormatError
from ..format.prior import Prior
from ..inspect import drawing
from ..reports import Report
from . import codecs, curves, quality, report
from .measure import Point, Store, measure, points, summary
from .pictures import Picture, collect, grouped


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Files that a run writes, where they are wanted."""

    json: Path | None = None  # results; a run goes on from them
    plot: Path | None = None  # .svg, .png or .pdf
    markdown: Path | None = None  # the report

    @property
    def paths(self) -> list[Path]:
        return [path for path in (self.json, self.plot, self.markdown) if path]


@dataclass(frozen=True)
class Plan(Outputs):
    """What to measure and where results go."""

    sources: Sequence[Path]
    betas: Sequence[float] = codecs.BETAS
    others: Sequence[str] = tuple(codecs.OTHERS)
    priors: Sequence[Prior | None] = (None,)  # None: by the picture's size
    efforts: Sequence[str] = ("normal",)
    tunes: Sequence[str] = ("psnr",)
    limit: int | None = None  # pictures of every source
    threads: int = 0  # of the processor; 0 takes all
    device: str = "auto"
    kind: str = "inr"  # what ours stores pictures as
    anchor: str | None = None  # curve that BD-rate compares with; None: JPEG
    published: str | None = None  # set of published curves to draw as well
    metrics: Sequence[str] = quality.USUAL  # names of quality.METRICS


def bench(plan: Plan, say: Report) -> str:
    """Measure and return the report in Markdown; progress and what is left out go to `say`.

    Raises FormatError without a picture, or for an anchor that is not among the curves; MissingError for a plot without
    matplotlib.
    """
    if plan.plot:
        drawing.check(str(plan.plot))  # before the work
    started = time.perf_counter()
    store = Store(plan.json)
    pictures, problems = chosen_pictures(plan, say)
    encoders, missing = chosen_codecs(plan, say)
    groups = grouped(pictures)
    for line in quality.missing(plan.metrics):
        say(line)
    say(f"{len(pictures)} pictures, {len(encoders)} codecs")
    failed = measure(encoders, groups, store, plan.threads, say, plan.metrics)
    measured = {}
    for codec in encoders:
        if curve := points(codec, groups, store):
            measured[codec.name] = curve
    problems += [*missing, *failed]
    text = describe(plan, len(pictures), measured, store.machines(encoders, groups), problems)
    names = {group.name: [picture.name for picture in group.pictures] for group in groups}
    store.save(summary=summary(measured), pictures=names, left_out=problems)
    if plan.plot and measured:
        drawn = {name: [point.rd for point in curve] for name, curve in measured.items()}
        report.plot(plan.plot, f"mean of {len(pictures)} pictures", drawn, published(plan, pictures))
    if plan.markdown:
        plan.markdown.parent.mkdir(parents=True, exist_ok=True)
        plan.markdown.write_text(text, encoding="utf-8")
    say(f"{time.perf_counter() - started:.0f} s")
    return text


def chosen_pictures(plan: Plan, say: Report) -> tuple[list[Picture], list[str]]:
    """What is measured, and a line about each file that is left out. Raises FormatError without a picture."""
    pictures, problems = collect(list(plan.sources), plan.limit, plan.paths)  # not those of an earlier run
    for line in problems:
        say(f"left out: {line}")
    if not pictures:
        raise FormatError("no picture to measure")
    return pictures, problems


def chosen_codecs(plan: Plan, say: Report) -> tuple[list[codecs.Codec], list[str]]:
    """Ours and others, and a line about each that is not installed. Raises FormatError for an unknown anchor."""
    found, missing = codecs.others(plan.others)
    for line in missing:
        say(line)
    encoders = [*ours(plan), *found]
    check_anchor(plan, [codec.name for codec in encoders])
    return encoders, missing


def ours(plan: Plan) -> list[codecs.CombinerCodec]:
    """One curve per prior, effort and tune, named by what differs."""
    result = []
    for prior in plan.priors:
        for effort, tune in product(plan.efforts, plan.tunes):
            name = f"combiner {effort}"
            if prior:
                name += f", {prior.name}"
            if tune != "psnr":
                name += f", tune {tune}"
            if plan.kind != "inr":
                name += f", {plan.kind}"
            how = {"device": plan.device, "tune": tune, "kind": plan.kind}
            result.append(codecs.CombinerCodec(name, effort, tuple(plan.betas), prior, **how))
    return result


def published(plan: Plan, pictures: Sequence[Picture]) -> list[dict]:
    """Published curves to draw; 32 x 32 pictures always get the linear-Gaussian line."""
    drawn = []
    if plan.published:
        drawn = [entry for entry in curves.published(plan.published) if entry["draw"]]
    shapes = {picture.pixels.shape[:2] for picture in pictures}
    if not drawn and shapes == {(32, 32)}:
        drawn = [entry for entry in curves.published("cifar10") if entry["name"] == "linear-Gaussian line"]
    return drawn


def check_anchor(plan: Plan, names: Sequence[str]) -> None:
    """Raises FormatError if the anchor is neither among these curves nor published."""
    known = list(names)
    if plan.published:
        known += [entry["name"] for entry in curves.published(plan.published)]
    if plan.anchor and curve_name(plan.anchor) not in known:
        raise FormatError(f"no curve named {plan.anchor} to compare with: there are {', '.join(known)}")


def curve_name(anchor: str | None) -> str | None:
    """A curve's name in tables, given that or the name that --codec takes."""
    return codecs.OTHERS[anchor].name if anchor in codecs.OTHERS else anchor


def describe(plan: Plan, pictures: int, measured: dict[str, list[Point]], machines: Sequence[str],
             problems: Sequence[str]) -> str:  # fmt: skip
    """The whole report."""
    usual = "jpeg" if "jpeg" in measured else next(iter(measured), "")
    anchor = curve_name(plan.anchor) or usual
    reference = []
    if anchor in measured:
        reference = [point.rd for point in measured[anchor]]
    elif plan.published and plan.anchor:
        reference = curves.published_curve(plan.published, anchor)
    lines = [
        f"Mean of {pictures} pictures; whole files; PSNR over 8-bit RGB; MS-SSIM over RGB (SSIM where a side is",
        "below 176 pixels); seconds per picture; small pictures are encoded together.",
        *quality.notes(plan.metrics),
        "",
        *report.points_table(measured, plan.metrics),
        "",
        *report.bd_table(measured, anchor, reference),
        "",
        *codecs.versions(measured),
        *(f"Measured {line}" for line in machines),
        *([f"Left out ({len(problems)}):", *(f"- {line}" for line in problems)] if problems else []),
    ]
    return "\n".join(lines) + "\n"
