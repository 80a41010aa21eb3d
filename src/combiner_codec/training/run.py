"""`combiner train`: from pictures to a prior file, in one process or under torchrun. Needs torch."""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from ..encoder.encode import encode_arrays
from ..encoder.settings import Settings, resolve_device
from ..format.prior import OperatingPoint, find, load_file, parse, save
from ..picture.image import EQUAL
from ..reports import Report
from ..synthesis.architecture import Architecture
from . import endtoend, graphics, modulations
from .colour import colour_names
from .crops import pictures_of, random_crops
from .data import held_out
from .endtoend import Sources
from .recipes import METADATA, RECIPES, SIREN_METADATA, Recipe, linear_part
from .shards import Shards
from .siren import train_siren

# options that replace a recipe's settings
GIVEN = ("betas", "classes", "steps", "batch", "crops", "minutes")


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

    @property
    def recipe(self) -> Recipe:
        """The family's recipe with what was given in its place."""
        recipe = RECIPES[self.family]
        given = {name: getattr(self, name) for name in GIVEN if getattr(self, name) is not None}
        if self.betas:
            given["visits"] = ()
        return replace(recipe, settings=replace(recipe.settings, seed=self.seed, **given))


def run(sources: list[Path], output: Path, checkpoints: Path, report: Report, options: Options) -> None:
    """Learn a family and write its prior file. Under torchrun, rank 0 writes. Raises FormatError for bad sources."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        dist.init_process_group("gloo")
    try:
        checkpoints.mkdir(parents=True, exist_ok=True)
        points, metadata = learn(sources, checkpoints, report, options)
        if world == 1 or dist.get_rank() == 0:
            write(output, metadata, points, sources, options)
            report(f"{output}: {len(points)} operating points, {output.stat().st_size} bytes")
    finally:
        if world > 1:
            dist.destroy_process_group()


def learn(sources, checkpoints, report, options: Options) -> tuple[list[OperatingPoint], dict]:
    """All operating points, from the largest beta to the smallest, and what the prior file says about them."""
    recipe = options.recipe
    if not recipe.architecture.field.linear:
        return learn_siren(sources, recipe, checkpoints, report, options)
    points, training = learn_together(sources, recipe, checkpoints, report, options)
    points = [graphics.add_classes(point, recipe.architecture, recipe.side) for point in points]
    since = f", begun with {options.start}," if options.start else ""
    training = f"{options.family}{since} on {training} of {', '.join(s.name for s in sources)}"
    metadata = {**METADATA, "graphics": list(graphics.kinds())}
    if recipe.modulated and Shards(0).rank == 0:
        save(checkpoints / "unmodulated.npz", metadata, recipe.architecture, points)
        plain, pictures = load_file(checkpoints / "unmodulated.npz"), pictures_of(sources, options.holdout)
        points = modulations.learn(plain, pictures, report, recipe.settings.seed)
    return points, {**metadata, "training": training, "trained": json.dumps(asdict(recipe.settings))}


def learn_siren(sources, recipe: Recipe, checkpoints, report, options: Options) -> tuple[list[OperatingPoint], dict]:
    """The plain SIREN, from all pictures once or from so many crops."""
    pictures, settings = pictures_of(sources, options.holdout), recipe.settings
    numbers = np.arange(options.crops or len(pictures))
    crops = random_crops(pictures, recipe.side, numbers, settings.seed, recipe.octaves)
    pixels = torch.from_numpy(crops).float() / 255
    points = [train_siren(pixels, settings, checkpoints, report)]
    training = f"{options.family} on {len(crops)} pictures of {', '.join(s.name for s in sources)}"
    length = f"{settings.minutes:g} min" if settings.steps is None else f"{settings.steps} steps"
    cores = os.environ.get("WORLD_SIZE", "1")
    trained = f"plain SIREN, trained for {length} on {cores} processor core(s)"
    return points, {**SIREN_METADATA, "training": training, "trained": trained}


def learn_together(
    sources, recipe: Recipe, checkpoints: Path, report, options: Options
) -> tuple[list[OperatingPoint], str]:
    """All operating points at once, and what they were learned from."""
    pictures, shards = Sources.of(sources, options.validation, options.holdout), Shards(0)
    start = find(options.start) if options.start else None
    for point in endtoend.learn(pictures, recipe, checkpoints, report, resolve_device(options.device), start):
        if shards.rank == 0:
            save_point(checkpoints / f"point-{point.beta:g}.npz", recipe.architecture, point)
    shards.wait()
    points = from_the_largest(load_point(path) for path in checkpoints.glob("point-*.npz"))
    return points, f"{recipe.settings.crops} crops for each operating point"


def write(output: Path, metadata: dict, points: list[OperatingPoint], sources: list[Path], options: Options) -> None:
    """The prior file, with what it measures on held-out pictures if there are any."""
    architecture = options.recipe.architecture
    save(output, metadata, architecture, points)
    if options.holdout or options.validation:
        measured = measure(output, *held_out(sources, options.holdout, options.validation))
        save(output, {**metadata, "measured": measured}, architecture, points)


def save_point(path: Path, architecture: Architecture, point: OperatingPoint) -> None:
    """A checkpoint: a prior file of one operating point, in single precision."""
    save(path, METADATA, architecture, [point], np.float32)


def load_point(path: Path) -> OperatingPoint:
    """The operating point of a checkpoint. Raises FormatError for another file."""
    return parse(path.read_bytes(), str(path), floats="f4").operating_point(0)


def from_the_largest(points) -> list[OperatingPoint]:
    """Operating points in the order of the prior file: by falling beta."""
    return sorted(points, key=lambda point: -point.beta)


def without_network(point: OperatingPoint, architecture: Architecture) -> tuple[Architecture, OperatingPoint]:
    """An operating point that has learned nothing beyond its closed form, less the layers after the colour map."""
    linear = linear_part(architecture)
    return linear, replace(point, shared={name: point.shared[name] for name in colour_names(linear)})


def measure(path: Path, pictures: list[np.ndarray], what: str) -> dict:
    """Size and quality at the beta of every operating point on held-out pictures: the table in `encode --help`."""
    prior, points = load_file(path), []
    for beta in prior.betas:
        results = encode_arrays(pictures, prior, Settings(beta, "fast"))
        bits = [8 * (len(r.data) - len(prior.header_hash)) for r in results]  # a shipped prior has a number instead
        bpp = np.mean([n / picture[..., 0].size for n, picture in zip(bits, pictures, strict=True)])
        psnr = np.mean([min(r.psnr, EQUAL) for r in results])
        points.append({"beta": beta, "bpp": round(float(bpp), 3), "psnr": round(float(psnr), 2)})
    return {"images": f"{what}, effort fast", "points": points}
