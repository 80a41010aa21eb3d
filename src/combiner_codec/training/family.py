"""A family whose operating points are learned at once, end to end. Needs torch. Shapes: see tables.py.

data      folders, arrays -> crops
begin     crops or a prior -> classes, tables, posteriors, network without effect
together  steps, with a log and checkpoints
finish    -> operating points, as a prior file holds them
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..format.prior import OperatingPoint, Prior
from ..reports import Report
from . import checkpoint
from .begin.state import begun
from .data.crops import Picture, held_of, pictures_of, random_crops
from .finish.points import operating_point
from .plan import Plan
from .recipes import Recipe
from .shards import Shards
from .together import measure, saved
from .together.played import Played
from .together.state import Progress, State
from .together.steps import take_step

LOG_EVERY = 300  # seconds
SHOWN = 3  # operating points of a line about validation, which take turns


@dataclass(frozen=True)
class Sources:
    """Pictures to learn from and to measure on."""

    training: list[Picture]
    validation: list[Picture]

    @staticmethod
    def of(
        training: list[Path],
        validation: Sequence[Path] = (),
        holdout: int = 0,
    ) -> "Sources":
        """From folders and arrays; validation on folders, else on the ends of arrays. Raises FormatError where there is
        nothing to learn from.
        """
        held = pictures_of(validation) if validation else held_of(training, holdout)
        return Sources(pictures_of(training, holdout), held)


def learn(
    sources: Sources,
    recipe: Recipe,
    folder: Path,
    report: Report,
    device: torch.device | str = "cpu",
    start: Prior | None = None,
) -> list[OperatingPoint]:
    """Go on from the folder's checkpoint, if there is one, until steps or time are over; all operating points.

    start: a prior to begin with, of the same betas and classes, where there is no checkpoint yet. Its architecture is
    the recipe's or one that this grew from.
    """
    settings = recipe.settings
    measured = measure.MEASURED_PIXELS // recipe.side**2 if sources.validation else 0
    plan = Plan(
        recipe.architecture, settings, recipe.side, Shards(settings.crops), Shards(measured), torch.device(device)
    )
    if plan.shards.rank > 0:
        report = _silent
    pixels, held = read_crops(plan, sources, recipe)
    path = folder / "joint.pt"
    if path.exists():
        state = saved.load(path, plan, pixels, held)
    else:
        state = begun(plan, pixels, held, start)
    crops = f"{plan.points} x {settings.crops} crops of {len(sources.training)} pictures"
    report(f"{crops}, {state.progress.step} steps")
    go_on(plan, state, path, report)
    return [operating_point(plan, state, p) for p in range(plan.points)]


def _silent(line: str) -> None:
    """What all processes but the first say."""


def read_crops(
    plan: Plan,
    sources: Sources,
    recipe: Recipe,
) -> tuple[Tensor, Tensor | None]:
    """This process's training crops of every operating point, (P, N, side, side, 3) uint8, and validation crops
    (n, side, side, 3), if there are any: at their own scale where most training crops are.
    """
    seed = plan.settings.seed
    scales = recipe.octaves, recipe.least_octaves
    numbers = plan.shards.count * torch.arange(plan.points)[:, None] + plan.shards.mine  # (P, N)
    pixels = random_crops(sources.training, plan.side, numbers.reshape(-1).numpy(), seed, *scales)
    pixels = torch.from_numpy(pixels).to(plan.device).unflatten(0, numbers.shape)
    if not plan.held.count:
        return pixels, None
    if recipe.least_octaves is None:
        scales = 0.0, None
    held = random_crops(sources.validation, plan.side, plan.held.mine.numpy(), seed, *scales)
    return pixels, torch.from_numpy(held).to(plan.device)


def go_on(plan: Plan, state: State, path: Path, report: Report) -> None:
    """Steps until they or the time are over, with lines of the log and checkpoints in between."""
    progress = state.progress
    first = progress.step
    logged = progress.seconds
    saved_at = progress.seconds
    shown = 0
    clock = time.monotonic()
    alone_on_a_gpu = plan.device.type != "cpu" and plan.shards.world == 1
    act = Played() if alone_on_a_gpu else None
    while plan.settings.share(progress.step, progress.seconds) < 1:
        take_step(plan, state, act)
        clock = tick(plan, progress, clock)
        if progress.seconds - logged >= LOG_EVERY:
            report_on(plan, state, range(shown, shown + min(SHOWN, plan.points)), report)
            logged = progress.seconds
            shown += SHOWN
        if progress.seconds - saved_at >= checkpoint.SAVE_EVERY:
            saved.save(path, plan, state)
            saved_at = progress.seconds
    if progress.step > first:
        report_on(plan, state, range(plan.points), report)
        saved.save(path, plan, state)


def tick(plan: Plan, progress: Progress, clock: float) -> float:
    """Counts the time since the last tick, the same in all processes; the time now."""
    now = time.monotonic()
    progress.seconds += plan.shards.agreed(now - clock)
    return now


def report_on(plan: Plan, state: State, shown: range, report: Report) -> None:
    """Lines about training J of all operating points, and about validation of some (their numbers wrap around)."""
    progress = state.progress
    betas = plan.settings.betas
    costs = []
    for cost, before in zip(progress.costs.cpu().tolist(), progress.before, strict=True):
        costs.append(change(cost, before))
    report(f"step {progress.step}, {progress.seconds:.0f} s: training J {', '.join(costs)}")
    if not plan.held.count:
        return
    for number in shown:
        p = number % plan.points
        found = measure.on_held(plan, state, p)
        cost = change(found.cost, progress.before_held[p])
        report(f"  validation, beta {betas[p]:g}: J {cost}, {found.bpp:.4f} bpp, {found.psnr:.2f} dB")


def change(now: float, before: float) -> str:
    """A cost, and how it differs from that of the closed form."""
    return f"{now:.4f} ({100 * (now / before - 1):+.1f} %)"
