"""`make bench-cifar`: the CIFAR-10 tables, every row on the same images.

Betas of the five rates are found on held-out training images, never on test images.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import click
import numpy as np

from combiner_codec.bench.codecs import Codec, CombinerCodec
from combiner_codec.bench.measure import Point, Store, points, summary
from combiner_codec.bench.pictures import Group, read
from combiner_codec.format import prior as priors
from combiner_codec.format.prior import Prior
from combiner_codec.reports import Report

from . import options, rates
from .cifar_page import RATES, Sections, write
from .session import Session

DEFAULT = "default family, normal"
REFERENCE_IMAGES = 100  # for the rows that the default family is compared with
GROUPS = ((16, 16), (18, 18), (20, 20), (6, 16))  # bits that a group adds, bits of an index
GROUP_IMAGES = 20
EFFORTS = (("fast", 96), ("normal", 96), ("best", 8))  # images
EFFORT_RATE = 2.28  # bpp
EIGHT = tuple(float(f"{b:.2g}") for b in np.geomspace(0.03, 0.0001, 8))
EIGHT_IMAGES = 50
HELD_OUT = 285  # training images that `make train-cifar` leaves out
PROBED = 64  # of these, the ones that betas are found on
LINEAR_BETAS = tuple(0.012 * 2 ** (-0.75 * k) for k in range(12))
CLASSES = {"linear": 64, "single": 1}  # of single tiles, of the linear priors
SECTIONS = ("table", "groups", "effort", "betas")


@dataclass(frozen=True)
class Settings:
    """One run."""

    folder: Path  # with train.npy and test.npy
    out: Path
    work: Path  # where linear priors are kept
    images: int = 500
    threads: int = 0
    note: str = ""


@dataclass(frozen=True)
class Cifar:
    """Images, priors and results of one run."""

    settings: Settings
    session: Session
    say: Report

    @staticmethod
    def of(settings: Settings, say: Report) -> "Cifar":
        """A run that goes on from the results in the folder of its pages."""
        return Cifar(settings, Session(Store(settings.out / "cifar10.json"), settings.threads, say), say)

    @cached_property
    def whole(self) -> Group:
        """All test images of this run."""
        return self.first(self.settings.images)

    def first(self, count: int) -> Group:
        """The first test images."""
        return Group(tuple(read(self.settings.folder / "test.npy")[: min(count, self.settings.images)]))

    @cached_property
    def held_out(self) -> Group:
        """Training images that no prior has seen."""
        return Group(tuple(read(self.settings.folder / "train.npy")[-HELD_OUT:][:PROBED]))

    @cached_property
    def family(self) -> Prior:
        """The default family."""
        return priors.default(32, 32)

    @cached_property
    def linear(self) -> Prior:
        """The default family without its sine layers."""
        return self._linear("linear")

    @cached_property
    def single(self) -> Prior:
        """One linear prior for all images (a class for flat ones apart)."""
        return self._linear("single")

    def _linear(self, name: str) -> Prior:
        """A linear prior from the work folder, learned first if it is not there."""
        path = self.settings.work / f"{name}.npz"
        if not path.exists():
            learn_linear(self.settings.folder / "train.npy", CLASSES[name], path, self.say)
        return priors.load_file(path)

    def betas(self, prior: Prior, wanted: Sequence[float] = RATES) -> tuple[float, ...]:
        """Betas of some rates, found on held-out images."""
        probe, session = CombinerCodec(prior=prior), self.session
        return rates.betas_for(probe, wanted, [self.held_out], session.store, session.threads)

    def row(self, codec: Codec, count: int) -> list[Point]:
        """A curve on the first test images."""
        return self.session.curve(codec, [self.first(count)])


def learn_linear(array: Path, classes: int, path: Path, say: Report) -> None:
    """A prior without network, of LINEAR_BETAS and so many classes, in closed form; the held-out images left out."""
    from combiner_codec.training import family
    from combiner_codec.training.recipes import METADATA, RECIPES
    from combiner_codec.training.run import without_network

    path.parent.mkdir(parents=True, exist_ok=True)
    recipe, P = RECIPES["small"], len(LINEAR_BETAS)
    merged = recipe.settings.merged * (classes > 1)
    settings = replace(recipe.settings, betas=LINEAR_BETAS, classes=(classes,) * P, merged=merged, steps=0)
    sources = family.Sources.of([array], holdout=HELD_OUT)
    points = family.learn(sources, replace(recipe, settings=settings), path.parent, say)
    architectures, points = zip(*(without_network(point, recipe.architecture) for point in points), strict=True)
    priors.save(path, {**METADATA, "steps": 0}, architectures[0], list(points))


def table(cifar: Cifar) -> dict[str, list[Point]]:
    """Our rows, by name."""
    images, regrouped = cifar.settings.images, regroup(cifar.single, 16, 16)
    few, siren = min(images, REFERENCE_IMAGES), priors.load("combiner-cifar")
    default = CombinerCodec(DEFAULT, "normal", cifar.betas(cifar.family), cifar.family, sampled=True)
    references = {
        "linear only, same classes and coder": (cifar.linear, cifar.betas(cifar.linear)),
        "linear, one prior, independent 16-bit groups": (regrouped, cifar.betas(regrouped)),
        "plain SIREN": (siren, tuple(siren.betas)),
    }
    curves = {DEFAULT: cifar.row(default, images)}
    if few < images:
        curves[f"the same, first {few} images"] = points(default, [cifar.whole], cifar.session.store, first=few)
    for name, (prior, betas) in references.items():
        curves[name] = cifar.row(CombinerCodec(name, "normal", betas, prior, sampled=True), few)
    return curves


def groups(cifar: Cifar) -> dict[str, list[Point]]:
    """Group widths: one linear prior, one beta."""
    betas, result = cifar.betas(regroup(cifar.single, 16, 16))[:1], {}
    for group_bits, index_bits in GROUPS:
        name = f"independent, {index_bits} bits"
        if group_bits < index_bits:
            name = f"chained, {group_bits} new bits, {index_bits}-bit indices"
        prior = regroup(cifar.single, group_bits, index_bits)
        result[name] = cifar.row(CombinerCodec(f"groups: {name}", "normal", betas, prior), GROUP_IMAGES)
    return result


def efforts(cifar: Cifar) -> dict[str, tuple[Point, Point]]:
    """Each effort's point, and that of `normal` on the same images."""
    betas, count = (cifar.betas(cifar.family)[RATES.index(EFFORT_RATE)],), dict(EFFORTS)["normal"]
    normal, result = CombinerCodec("effort: normal", "normal", betas, cifar.family), {}
    cifar.row(normal, count)
    for effort, n in EFFORTS:
        own = cifar.row(replace(normal, name=f"effort: {effort}", effort=effort), n)
        result[effort] = own[0], points(normal, [cifar.first(count)], cifar.session.store, first=n)[0]
    return result


def eight(cifar: Cifar) -> list[Point]:
    """Eight betas."""
    return cifar.row(CombinerCodec("eight betas", "fast", EIGHT, cifar.family), EIGHT_IMAGES)


def regroup(original: Prior, group_bits: int, index_bits: int) -> Prior:
    """The same prior with other groups, as a prior file of its own."""
    arrays = dict(np.load(io.BytesIO(original.data), allow_pickle=False))
    metadata = json.loads(bytes(arrays["metadata"])) | {"group_bits": group_bits, "index_bits": index_bits}
    arrays["metadata"] = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return priors.parse(buffer.getvalue(), f"{original.name} {group_bits}/{index_bits}", priors.CUSTOM)


def run(cifar: Cifar, only: Sequence[str] = ()) -> None:
    """Measure what is missing and write cifar10.md and .png; `only` names sections, for a part of the run."""
    wanted, store = only or SECTIONS, cifar.session.store
    found = Sections(
        table(cifar) if "table" in wanted else {},
        groups(cifar) if "groups" in wanted else {},
        efforts(cifar) if "effort" in wanted else {},
        eight(cifar) if "betas" in wanted else [],
    )
    note = cifar.settings.note or store.data.get("note", "")
    store.save(note=note, summary=summary({**found.curves, **found.groups, "eight betas": found.eight}))
    write(cifar.settings.out, found, [note, "", *cifar.session.stamps])


@click.command("cifar")
@options.folder
@options.out()
@options.work("checkpoints/bench")
@click.option("--images", type=click.IntRange(1), default=500, show_default=True)
@click.option("--only", multiple=True, type=click.Choice(SECTIONS), help="These sections alone, for trying out.")
@options.threads
@options.note
def command(only, **settings):
    """The CIFAR-10 tables from FOLDER with train.npy and test.npy."""
    run(Cifar.of(Settings(**settings), click.echo), only)
