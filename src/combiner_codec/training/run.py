"""`combiner train`: from pictures to a prior file, in one process or under torchrun. Needs torch."""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch.distributed as dist

from ..encoder.settings import resolve_device
from ..format.operating_point import OperatingPoint
from ..format.prior import find, load_file, save
from ..reports import Report
from ..synthesis.architecture import Architecture
from . import family
from .data.crops import pictures_of
from .finish import graphics, lowest, modulations
from .finish.drawn import kinds
from .finish.measured import held_out, measure
from .recipes import RECIPES, Recipe, linear_part
from .shards import Shards
from .siren import learn as siren

GIVEN = ("betas", "classes", "steps", "batch", "crops", "minutes")  # options that replace a recipe's settings


@dataclass(frozen=True)
class Options:
    """What `combiner train` takes; None stands for the family's own."""

    family: str = "small"  # a name of RECIPES
    betas: tuple[float, ...] | None = None
    classes: tuple[int, ...] | None = None
    steps: int | None = None
    batch: int | None = None
    crops: int | None = None  # of each operating point
    holdout: int = 0  # images at the end of every array
    validation: tuple[Path, ...] = ()  # folders of photographs to measure on
    minutes: float | None = None  # over all runs
    seed: int = 0
    start: Path | str | None = None  # a prior to begin with
    device: str = "cpu"  # "auto", "cpu" or "cuda"
    light: bool = False  # whether checkpoints go without posteriors of crops

    @property
    def recipe(self) -> Recipe:
        """The family's recipe with what was given in its place."""
        recipe = RECIPES[self.family]
        given = {name: getattr(self, name) for name in GIVEN if getattr(self, name) is not None}
        if self.betas:
            given["visits"] = ()
        return replace(recipe, settings=replace(recipe.settings, seed=self.seed, light=self.light, **given))


@dataclass(frozen=True)
class Learned:
    """What a prior file is made of."""

    points: list[OperatingPoint]  # from the largest beta to the smallest
    metadata: dict


def run(
    sources: list[Path],
    output: Path,
    checkpoints: Path,
    report: Report,
    options: Options,
) -> None:
    """Learn a family and write its prior file. Under torchrun, rank 0 writes. Raises FormatError for bad sources."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        dist.init_process_group("gloo")
    try:
        checkpoints.mkdir(parents=True, exist_ok=True)
        learned = learn(sources, checkpoints, report, options)
        if Shards(0).rank == 0:
            write(output, learned, sources, options)
            report(f"{output}: {len(learned.points)} operating points, {output.stat().st_size} bytes")
    finally:
        if world > 1:
            dist.destroy_process_group()


def learn(
    sources: list[Path],
    checkpoints: Path,
    report: Report,
    options: Options,
) -> Learned:
    """All operating points, and what the prior file says about them."""
    recipe = options.recipe
    if recipe.architecture.field.linear:
        return learn_family(sources, recipe, checkpoints, report, options)
    return learn_siren(sources, recipe, checkpoints, report, options)


def learn_family(
    sources: list[Path],
    recipe: Recipe,
    checkpoints: Path,
    report: Report,
    options: Options,
) -> Learned:
    """All operating points at once, then classes of graphics and modulations."""
    start = find(options.start) if options.start else None
    pictures = family.Sources.of(sources, options.validation, options.holdout)
    points = family.learn(pictures, recipe, checkpoints, report, resolve_device(options.device), start)
    metadata = {**recipe.metadata, "graphics": []}
    if recipe.graphics:
        points = [graphics.add_classes(point, recipe.architecture, recipe.side) for point in points]
        metadata["graphics"] = list(kinds())
    if Shards(0).rank == 0:
        path = checkpoints / "unfinished.npz"
        if recipe.pyramid:
            save(path, metadata, recipe.architecture, points)
            points = lowest.learn(load_file(path), recipe, pictures.training, report)
        if recipe.modulated:
            save(path, metadata, recipe.finished, points)
            points = modulations.learn(load_file(path), pictures.training, report, recipe.settings.seed)
    since = f", begun with {options.start}," if options.start else ""
    training = f"{options.family}{since} on {recipe.settings.crops} crops for each operating point of {_names(sources)}"
    trained = json.dumps(asdict(recipe.settings))
    return Learned(points, {**metadata, "training": training, "trained": trained})


def learn_siren(
    sources: list[Path],
    recipe: Recipe,
    checkpoints: Path,
    report: Report,
    options: Options,
) -> Learned:
    """The plain SIREN, from all pictures once or from so many crops."""
    settings = recipe.settings
    pictures = pictures_of(sources, options.holdout)
    point = siren.learn(pictures, recipe, options.crops, checkpoints, report)
    training = f"{options.family} on {options.crops or len(pictures)} pictures of {_names(sources)}"
    length = f"{settings.minutes:g} min" if settings.steps is None else f"{settings.steps} steps"
    cores = os.environ.get("WORLD_SIZE", "1")
    trained = f"plain SIREN, trained for {length} on {cores} processor core(s)"
    return Learned([point], {**recipe.metadata, "training": training, "trained": trained})


def _names(sources: list[Path]) -> str:
    return ", ".join(source.name for source in sources)


def write(
    output: Path,
    learned: Learned,
    sources: list[Path],
    options: Options,
) -> None:
    """The prior file, with what it measures on held-out pictures if there are any."""
    architecture = options.recipe.finished
    save(output, learned.metadata, architecture, learned.points)
    if options.holdout or options.validation:
        pictures, what = held_out(sources, options.holdout, options.validation)
        measured = measure(output, pictures, what)
        save(output, {**learned.metadata, "measured": measured}, architecture, learned.points)


def without_network(point: OperatingPoint, architecture: Architecture) -> tuple[Architecture, OperatingPoint]:
    """An operating point that has learned nothing beyond its closed form, less the layers after the colour map."""
    linear = linear_part(architecture)
    names = f"w{linear.colour}", f"b{linear.colour}"
    return linear, replace(point, shared={name: point.shared[name] for name in names})
