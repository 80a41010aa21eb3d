"""Checkpoints of a family that is learned at once: one torch file, whole or not at all. Needs torch.

Crops are not kept, since they are functions of the seed. A checkpoint is the same for any number of processes.
"""

import zipfile
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

SAVE_EVERY = 900  # seconds between checkpoints
SAME = ("betas", "classes", "merged", "crops", "batch", "seed")  # settings that a resumed run cannot change
MODULES = ("network", "average", "muon", "adam")  # parts of a State that torch knows how to keep


def write(path: Path, members: dict) -> None:
    """A file of tensors and plain values, whole or not at all."""
    with whole_file(path) as file:
        torch.save(members, file)


def read(path: Path, plan: dict, names: set[str], device: torch.device | str = "cpu") -> dict:
    """The members of a checkpoint. Raises FormatError where it is damaged, of another program or of another plan.

    plan: what has to be among them as "plan", so that a run goes on with what it began with; names: of the others.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load looks at no checksum
        if damaged is not None:
            raise ValueError(f"wrong checksum of {damaged}")
        members = torch.load(path, device, weights_only=True, mmap=True)
        kept = members.pop("plan")
        if members.keys() != names:
            raise ValueError("other members")
    except Exception as error:  # zipfile, pickle and torch raise many kinds on damaged files
        raise FormatError(
            f"{path}: damaged, or not a checkpoint of this command: remove it, or name another folder of checkpoints"
        ) from error
    if kept != plan:
        raise FormatError(f"{path}: made with other settings: use these, or another folder of checkpoints")
    return members


def save(path: Path, plan: Plan, state: State) -> None:
    """Every process takes part; the first one writes."""
    points = [_of_point(plan.shards, point) for point in state.points]
    held = [_of_crops(plan.held, crops) for crops in state.held]
    if plan.shards.rank == 0:
        modules = {name: getattr(state, name).state_dict() for name in MODULES}
        kept = {"plan": fingerprint(plan), "colour": state.network.colour, "points": points, "held": held}
        write(path, {**kept, **modules, "progress": asdict(state.progress)})
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
    kept = read(path, fingerprint(plan), {"colour", "points", "held", "progress", *MODULES}, plan.device)
    points = [_point(plan, p, *pair) for p, pair in enumerate(zip(kept["points"], pixels, strict=True))]
    features = [point.features(plan.architecture.tile) for point in points]
    state = first_state(plan, kept["colour"], features)  # those of the beginning are in the network's state
    for name in MODULES:
        getattr(state, name).load_state_dict(kept[name])
    tables = [point.tables for point in points]
    crops = []
    if plan.held.count:
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
