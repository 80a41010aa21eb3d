"""Checkpoints of a family that is learned at once: one torch file, whole or not at all. Needs torch.

Crops are not kept, since they are functions of the seed. A checkpoint is the same for any number of processes.
"""

from dataclasses import asdict, replace
from pathlib import Path

import torch

from ..errors import FormatError
from ..whole import whole_file
from .lapping import Lapping
from .persistent import Crops, Evidence, Point
from .shards import Shards
from .tables import Tables
from .together import Plan, Progress, State, first_state

SAME = ("betas", "classes", "merged", "crops", "batch", "seed")  # settings that a resumed run cannot change


def save(path: Path, plan: Plan, state: State) -> None:
    """Every process takes part; the first one writes."""
    points = [_of_point(plan.shards, point) for point in state.points]
    held = [_of_crops(plan.held, crops) for crops in state.held]
    if plan.shards.rank == 0:
        modules = {name: getattr(state, name).state_dict() for name in ("network", "average", "muon", "adam")}
        kept = {"plan": fingerprint(plan), "colour": state.network.colour, "points": points, "held": held}
        with whole_file(path) as file:
            torch.save({**kept, **modules, "progress": asdict(state.progress)}, file)
    plan.shards.wait()


def fingerprint(plan: Plan) -> dict:
    """What a checkpoint is of."""
    same = {name: getattr(plan.settings, name) for name in SAME}
    return {**same, "side": plan.side, "held": plan.held.count, "architecture": repr(plan.architecture)}


def _of_point(shards: Shards, point: Point) -> dict:
    """An operating point of all processes."""
    sums = shards.sum(*point.evidence.sums)
    tables = {name: getattr(point.tables, name) for name in ("variance", "curvature", "mean")}
    return {**tables, "frequency": point.frequency, "evidence": sums, **_of_crops(shards, point.crops)}


def _of_crops(shards: Shards, crops: Crops) -> dict:
    """Classes and posteriors of all processes' crops."""
    return {name: shards.whole(getattr(crops, name)) for name in ("assigned", "difference")}


def load(path: Path, plan: Plan, pixels: list[torch.Tensor], held: torch.Tensor) -> State:
    """The state of a checkpoint. Raises FormatError for one of another family.

    pixels: (N, side, side, 3) uint8 of each operating point's crops, held: the same of validation; this process's each.
    """
    kept = torch.load(path, plan.device, weights_only=True, mmap=True)
    if kept["plan"] != fingerprint(plan):
        raise FormatError(f"{path}: made with other settings: use these, or another folder of checkpoints")
    points = [_point(plan, p, *pair) for p, pair in enumerate(zip(kept["points"], pixels, strict=True))]
    features = [point.features(plan.architecture.tile) for point in points]
    state = first_state(plan, kept["colour"], features)  # those of the beginning are in the network's state
    for name in ("network", "average", "muon", "adam"):
        getattr(state, name).load_state_dict(kept[name])
    tables = [point.tables for point in points]
    crops = [_crops(plan, plan.held, *pair, held) for pair in zip(tables, kept["held"], strict=True)]
    return replace(state, points=points, held=crops, progress=Progress(**kept["progress"]))


def _point(plan: Plan, p: int, kept: dict, pixels: torch.Tensor) -> Point:
    """What is a sum over processes goes to the first."""
    variance, curvature, mean = (kept[name].clone() for name in ("variance", "curvature", "mean"))
    tables = Tables(plan.settings.betas[p], mean, curvature, variance, plan.settings.classes[p])
    evidence = Evidence(*(s.clone() * (plan.shards.rank == 0) for s in kept["evidence"]))
    return Point(tables, kept["frequency"].clone(), _crops(plan, plan.shards, tables, kept, pixels), evidence)


def _crops(plan: Plan, shards: Shards, tables: Tables, kept: dict, pixels: torch.Tensor) -> Crops:
    assigned, difference = (kept[name][shards.mine] for name in ("assigned", "difference"))
    lapping = Lapping.of(plan.architecture.tile, tables.merged(assigned), plan.device)
    return Crops(pixels, assigned, difference, lapping)
