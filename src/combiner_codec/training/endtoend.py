"""A family whose operating points are learned at once, end to end: crops -> steps, log, checkpoints -> points.

Needs torch. Shapes: see persistent.py.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..encoder.fit.posterior import shared_weights
from ..errors import FormatError
from ..format.prior import OperatingPoint, Prior
from ..reports import Report
from . import checkpoint, contexts, graphics
from .begin import first_points, held_crops, points_of
from .colour import colour_names, principal_axes
from .crops import Picture, held_of, pictures_of, random_crops
from .recipes import Recipe
from .shards import Shards
from .together import HELD_PIXELS, Measured, Plan, Progress, State, first_state, measured, take_step

LOG_EVERY = 300  # seconds
SHOWN = 3  # operating points of a line about validation, which take turns
THINNED = 97  # pixels of a crop, of which one is taken for the axes of colour
OF_TRAINING, OF_HELD = 0, 1  # addresses of noise in measurements


@dataclass(frozen=True)
class Sources:
    """Pictures to learn from and to measure on."""

    training: list[Picture]
    validation: list[Picture]

    @staticmethod
    def of(training: list[Path], validation: Sequence[Path] = (), holdout: int = 0) -> "Sources":
        """From folders and arrays; validation on folders, else on the ends of arrays. Raises FormatError where there is
        nothing to learn from.
        """
        held = pictures_of(validation) if validation else held_of(training, holdout)
        return Sources(pictures_of(training, holdout), held)


def learn(
    sources: Sources, recipe: Recipe, folder: Path, report: Report, device="cpu", start: Prior | None = None
) -> list[OperatingPoint]:
    """Go on from the folder's checkpoint, if there is one, until steps or time are over; all operating points.

    start: a prior of the same architecture and betas to begin with, where there is no checkpoint yet.
    """
    settings, path = recipe.settings, folder / "joint.pt"
    held = Shards(HELD_PIXELS // recipe.side**2 if sources.validation else 0)
    plan = Plan(recipe.architecture, settings, recipe.side, Shards(settings.crops), held, torch.device(device))
    report = report if plan.shards.rank == 0 else lambda line: None
    state = opened(plan, sources, recipe.octaves, path, start)
    crops = f"{len(settings.betas)} x {settings.crops} crops of {len(sources.training)} pictures"
    report(f"{crops}, {state.progress.step} steps")
    go_on(plan, state, path, report)
    return [operating_point(plan, state, p) for p in range(len(settings.betas))]


def opened(plan: Plan, sources: Sources, octaves: float, path: Path, start: Prior | None = None) -> State:
    """The state of a checkpoint, or the first one."""
    P, seed = len(plan.settings.betas), plan.settings.seed
    numbers = (plan.shards.count * torch.arange(P)[:, None] + plan.shards.mine).numpy()  # (P, N)
    pixels = random_crops(sources.training, plan.side, numbers.reshape(-1), seed, octaves)
    pixels = list(torch.from_numpy(pixels).to(plan.device).unflatten(0, numbers.shape))
    held = random_crops(sources.validation, plan.side, plan.held.mine.numpy(), seed, 0.0)
    held = torch.from_numpy(held).to(plan.device)
    return checkpoint.load(path, plan, pixels, held) if path.exists() else begun(plan, pixels, held, start)


def begun(plan: Plan, pixels: list[torch.Tensor], held: torch.Tensor, start: Prior | None) -> State:
    """Everything in closed form or from a prior, with training crops of every operating point and validation crops,
    uint8.
    """
    architecture, settings = plan.architecture, plan.settings
    known = known_points(plan, start) if start else []
    weights = [shared_weights(point, plan.device) for point in known]
    if known:
        colour = {name: weights[0][name] for name in colour_names(architecture)}
        points = points_of(known, architecture, colour, pixels, plan.shards)
    else:
        flat = torch.cat([crops.flatten(1, 2)[:, ::THINNED].reshape(-1, 3) for crops in pixels]).cpu()
        axes, mean = (values.to(plan.device) for values in principal_axes(flat / 255, plan.shards))
        colour = dict(zip(colour_names(architecture), (axes[None, None], mean), strict=True))
        points = first_points(architecture, colour, pixels, settings, plan.shards)
    state = first_state(plan, colour, [point.features(architecture.tile) for point in points])
    state.points = points
    if known:
        for network in (state.network, state.average):
            network.adopt(weights)
    state.held = [held_crops(architecture, colour, point, held) for point in points] if plan.held.count else []
    progress, closed = state.progress, [(p, colour) for p in range(len(points))]
    progress.before = [on_training(plan, state, *pair).cost for pair in closed]
    progress.before_held = [on_held(plan, state, *pair).cost for pair in closed] if plan.held.count else []
    return state


def known_points(plan: Plan, start: Prior) -> list[OperatingPoint]:
    """A prior's operating points, less classes of graphics, which come anew. Raises FormatError where a family has
    another architecture, other operating points or other numbers of single tiles' classes; points may do without merged
    tiles.
    """
    settings, graphics_too = plan.settings, len(start.metadata.get("graphics", ()))
    points = [graphics.without(start.operating_point(p), graphics_too) for p in range(len(start.betas))]
    ours = plan.architecture, settings.betas, settings.classes
    theirs = start.architecture, tuple(start.betas), tuple(point.single for point in points)
    if ours != theirs:
        raise FormatError(f"{start.name}: a prior of another architecture, of other operating points or classes")
    return points


def on_training(plan: Plan, state: State, p: int, shared: dict) -> Measured:
    """How the first crops of point p do, with these weights of shared layers."""
    return measured(plan, state.points[p], state.points[p].crops, plan.shards, shared, (OF_TRAINING, p))


def on_held(plan: Plan, state: State, p: int, shared: dict) -> Measured:
    """How the validation crops do at point p."""
    return measured(plan, state.points[p], state.held[p], plan.held, shared, (OF_HELD, p))


def go_on(plan: Plan, state: State, path: Path, report: Report) -> None:
    """Steps until they or the time are over, with lines of the log and checkpoints in between."""
    progress = state.progress
    clock, first, logged, saved, shown = time.monotonic(), progress.step, progress.seconds, progress.seconds, 0
    while plan.settings.share(progress.step, progress.seconds) < 1:
        take_step(plan, state)
        clock = tick(plan, progress, clock)
        if progress.seconds - logged >= LOG_EVERY:
            report_on(plan, state, range(shown, shown + min(SHOWN, len(state.points))), report)
            logged, shown = progress.seconds, shown + SHOWN
        if progress.seconds - saved >= checkpoint.SAVE_EVERY:
            checkpoint.save(path, plan, state)
            saved = progress.seconds
    if progress.step > first:
        report_on(plan, state, range(len(state.points)), report)
        checkpoint.save(path, plan, state)


def tick(plan: Plan, progress: Progress, clock: float) -> float:
    """Counts the time since the last tick, the same in all processes, so that they agree on what comes next."""
    now = time.monotonic()
    progress.seconds += plan.shards.agreed(now - clock)
    return now


@torch.no_grad()
def average_weights(state: State, p: int) -> dict[str, torch.Tensor]:
    """Weights of point p's shared layers, averages over the last steps."""
    return state.average.shared(p)


def report_on(plan: Plan, state: State, shown: range, report: Report) -> None:
    """Lines about training J of all operating points, and about validation of some (their numbers wrap around)."""
    progress, betas = state.progress, plan.settings.betas
    costs = ", ".join(change(*pair) for pair in zip(progress.costs.cpu().tolist(), progress.before, strict=True))
    report(f"step {progress.step}, {progress.seconds:.0f} s: training J {costs}")
    for p in [k % len(betas) for k in shown] if plan.held.count else []:
        found = on_held(plan, state, p, average_weights(state, p))
        cost = change(found.cost, progress.before_held[p])
        report(f"  validation, beta {betas[p]:g}: J {cost}, {found.bpp:.4f} bpp, {found.psnr:.2f} dB")


def change(now: float, before: float) -> str:
    """A cost, and how it differs from that of the closed form."""
    return f"{now:.4f} ({100 * (now / before - 1):+.1f} %)"


def operating_point(plan: Plan, state: State, p: int) -> OperatingPoint:
    """As the prior file holds it, with a class map learned from all crops."""
    maps, point, settings = plan.shards.whole(state.points[p].crops.assigned).cpu(), state.points[p], plan.settings
    tables = contexts.learn(list(maps.numpy()), len(point.frequency), point.tables.single)
    return point.tables.frozen(average_weights(state, p), tables, settings.group_bits, settings.index_bits)
