"""`make ablation`: what each part of the family for photographs is worth.

Every variant gets a prior of its own, trained for the same time on the same crops, and codes the same photographs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

from combiner_codec.bench import report
from combiner_codec.bench.codecs import CombinerCodec
from combiner_codec.bench.measure import Store
from combiner_codec.bench.pictures import Group, grouped
from combiner_codec.encoder.settings import EFFORTS
from combiner_codec.errors import FormatError
from combiner_codec.format import prior as priors
from combiner_codec.format.operating_point import NO_SHIFTS
from combiner_codec.format.prior import Prior
from combiner_codec.reports import Report

from . import options, pages
from .cuts import required
from .session import Session

PICTURES = 6
CROPS = 400
SHORTER = "three quarters of its training"
WITHOUT = ("merged tiles", "the adapting prior", "the network", SHORTER)
SHIPPED = "`fast` with the shipped prior"
HEADER = ["beta", "row", "bpp", "dB", "J, 1e-3", "encode, s", "training"]


@dataclass(frozen=True)
class Settings:
    """One run: `photos` holds train/ and val/; priors go to `work`."""

    photos: Path
    out: Path
    work: Path
    betas: tuple[float, ...] = (0.0045, 0.02)
    seconds: float = 240.0  # of training, for each prior
    threads: int = 0
    note: str = ""


def learn(settings: Settings, beta: float, without: str, path: Path, say: Report) -> None:
    """Train a prior for photographs without one of its parts, and write it."""
    import torch

    from combiner_codec.training import family
    from combiner_codec.training.recipes import METADATA, RECIPES
    from combiner_codec.training.run import without_network

    torch.set_num_threads(settings.threads or torch.get_num_threads())
    recipe, linear = RECIPES["photo"], without == "the network"
    share = {"the network": 0.0, SHORTER: 0.25}.get(without, 1.0)  # the linear part has a closed form
    seconds = share * settings.seconds
    plan = replace(recipe.settings, betas=(beta,), visits=(), crops=CROPS, minutes=seconds / 60)
    classes = {"merged tiles": (plan.classes[0], 0), "the adapting prior": (1, 0)}
    one, merged = classes.get(without, (plan.classes[0], plan.merged))
    plan = replace(plan, classes=(one,), merged=merged)
    folder, architecture = path.with_suffix(""), recipe.architecture
    folder.mkdir(exist_ok=True)
    sources = family.Sources.of([settings.photos / "train"])
    (point,) = family.learn(sources, replace(recipe, settings=plan), folder, say)
    if linear:
        architecture, point = without_network(point, architecture)
    trained = {"without": without, "seconds": round(seconds), "crops": CROPS}
    priors.save(path, {**METADATA, "trained": trained}, architecture, [point])


def variants(settings: Settings, beta: float, say: Report) -> dict[str, tuple[CombinerCodec, Prior]]:
    """Codecs for one beta, by the name of their row."""

    def prior(without: str) -> Prior:
        path = settings.work / f"{without.replace(' ', '-') or 'whole'}-{beta:g}.npz"
        if not path.exists():
            say(f"training without {without or 'nothing'}")
            learn(settings, beta, without, path, say)
        return priors.load_file(path)

    whole = prior("")
    refined = replace(EFFORTS["normal"], steps=EFFORTS["fast"].steps, wider=EFFORTS["fast"].wider)
    rows = {"`fast` with refinement": (refined, whole), "`fast`, which is without refinement": ("fast", whole)}
    rows |= {f"… and without {name}": ("fast", prior(name)) for name in WITHOUT}
    without_axes = replace(EFFORTS["fast"], axes=False)
    rows |= {
        SHIPPED: ("fast", priors.load("photo")),
        f"{SHIPPED}, without colour axes of its own": (without_axes, priors.load("photo")),
        f"{SHIPPED}, without modulations": ("fast", unmodulated(settings)),
        f"{SHIPPED}, without a pyramid": ("fast", without_pyramid(settings)),
    }
    return {name: (CombinerCodec(name, effort, (beta,), prior), prior) for name, (effort, prior) in rows.items()}


def without_pyramid(settings: Settings) -> Prior:
    """The shipped prior with tiles' lowest frequencies told as they are, likewise; costs are as in its classes."""
    whole, path = priors.load("photo"), settings.work / "without-pyramid.npz"
    points = [replace(whole.operating_point(number), shifts=NO_SHIFTS) for number in range(len(whole.betas))]
    priors.save(path, whole.metadata, replace(whole.architecture, pyramid=0), points)
    return priors.load_file(path)


def unmodulated(settings: Settings) -> Prior:
    """The shipped prior for photographs less its modulations, as a custom one: 4 bytes of its files are its hash."""
    whole, path = priors.load("photo"), settings.work / "unmodulated.npz"
    points = [replace(whole.operating_point(number), modulations=None) for number in range(len(whole.betas))]
    priors.save(path, whole.metadata, whole.architecture, points)
    return priors.load_file(path)


def run(settings: Settings, say: Report) -> None:
    """Measure what is missing and write ablation.md. Raises FormatError without enough photographs."""
    pictures = required([settings.photos / "val"], PICTURES)
    if len(pictures) < PICTURES:
        raise FormatError(f"{settings.photos / 'val'}: {PICTURES} photographs are needed")
    settings.work.mkdir(parents=True, exist_ok=True)
    session = Session(Store(settings.out / "ablation.json"), settings.threads, say)
    groups, rows = grouped(pictures), []
    for beta in settings.betas:
        for name, (codec, prior) in variants(settings, beta, say).items():
            trained = "" if SHIPPED in name else f"{prior.metadata['trained']['seconds']} s"
            rows.append([f"{beta:g}", name, *measured(session, codec, groups, beta), trained])
    names = ", ".join(Path(p.name).stem for p in pictures)
    write(settings, names, rows, session.stamps)


def measured(session: Session, codec: CombinerCodec, groups: Sequence[Group], beta: float) -> list[str]:
    """Cells of one variant. Raises FormatError if it fails."""
    found = session.curve(codec, groups)
    if not found:
        raise FormatError(session.failed[-1])
    cost = lagrangian(beta, [session.store.find(codec, beta, group) for group in groups], groups)
    return [f"{found[0].bpp:.3f}", f"{found[0].psnr:.2f}", f"{cost:.3f}", f"{found[0].encode_seconds:.1f}"]


def write(settings: Settings, names: str, rows: Sequence[list[str]], stamps: Sequence[str]) -> None:
    """The page."""
    lines = [
        "# Ablation on photographs",
        "",
        f"Made by `make ablation`: means over {PICTURES} validation photographs ({names}), whole files. J is MSE +",
        "beta ln 2 bpp in units of 1e-3. It compares rows of different rates at one beta; less is better.",
        "",
        f"Each prior had {settings.seconds:g} s of gradient steps on the same {CROPS} crops, classes not counted, "
        "and has no",
        "modulations. The linear one has a closed form. The shipped prior was trained for hours on all points "
        "together.",
        settings.note,
        "",
        *report.table(HEADER, rows),
        "",
        *stamps,
    ]
    pages.write(settings.out / "ablation.md", lines)


def lagrangian(beta: float, records: Sequence[dict], groups: Sequence[Group]) -> float:
    """Mean of MSE + beta ln 2 bits per pixel, in units of 1e-3."""
    costs = [
        10 ** (-psnr / 10) + beta * np.log(2) * 8 * size / picture.size
        for record, group in zip(records, groups, strict=True)
        for psnr, size, picture in zip(record["psnr"], record["bytes"], group.pictures, strict=True)
    ]
    return 1e3 * float(np.mean(costs))


@click.command("ablation")
@click.argument("photos", type=options.FOLDER)
@options.out()
@options.work("checkpoints/ablation")
@click.option("--betas", type=options.NUMBERS, default="0.0045,0.02", show_default=True)
@click.option("--seconds", type=float, default=240.0, show_default=True, help="Training of each prior.")
@options.threads
@options.note
def command(**settings):
    """What each part of the family for photographs is worth: PHOTOS holds train/ and val/."""
    run(Settings(**settings), click.echo)
