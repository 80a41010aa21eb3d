"""The state of a family that is learned at once, as a checkpoint holds it. Needs torch.

Crops are not kept, since they are functions of the seed. A checkpoint is the same for any number of processes.
"""

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from ...encoder.fit.analysis import ColourMap
from .. import checkpoint
from ..plan import Plan
from ..points import Crops, Evidence, Points
from ..shards import Shards
from .measure import settle
from .optimizers import Slots
from .state import Progress, State, first_state

SAME = ("betas", "classes", "merged", "crops", "batch", "seed")  # settings that a resumed run cannot change
TABLES = ("mean", "curvature", "variance", "frequency")
OF_CROPS = ("assigned", "difference")
LIGHT = ("assigned",)  # posteriors can be found again
EVIDENCE = ("tiles", "energy", "squares", "probes")
NAMES = {"network", "average", "moments", "colours", "tables", "evidence", "crops", "held", "progress"}


def save(path: Path, plan: Plan, state: State) -> None:
    """Every process takes part; the first one writes."""
    points = state.points
    evidence = plan.shards.sum(*(getattr(points.evidence, name) for name in EVIDENCE))
    names = LIGHT if plan.settings.light else OF_CROPS
    crops = _of_crops(plan.shards, points.crops, names)
    held = _of_crops(plan.held, points.held, names) if points.held else {}
    if plan.shards.rank == 0:
        members = {
            "plan": fingerprint(plan),
            "network": state.network.state_dict(),
            "average": state.average.state_dict(),
            "moments": moments(state),
            "colours": asdict(points.colours),
            "tables": {name: getattr(points, name) for name in TABLES},
            "evidence": dict(zip(EVIDENCE, evidence, strict=True)),
            "crops": crops,
            "held": held,
            "progress": asdict(state.progress),
        }
        checkpoint.write(path, members)
    plan.shards.wait()


def fingerprint(plan: Plan) -> dict:
    """What a checkpoint is of."""
    same = {name: getattr(plan.settings, name) for name in SAME}
    return {**same, "side": plan.side, "held": plan.held.count, "architecture": repr(plan.architecture)}


def moments(state: State) -> list[Tensor]:
    """All running means of the optimizers."""
    slots: list[Slots] = [state.muon.momenta, state.adam.means, state.adam.squares]
    return [tensor for some in slots for tensor in some.tensors]


def _of_crops(
    shards: Shards,
    crops: Crops,
    names: tuple[str, ...],
) -> dict[str, Tensor]:
    """Classes, and posteriors if they are named, of all processes' crops."""
    found = {}
    for name in names:
        values = getattr(crops, name)
        if shards.world > 1:
            values = torch.stack([shards.whole(of_point) for of_point in values])
        found[name] = values
    return found


def load(
    path: Path,
    plan: Plan,
    pixels: Tensor,
    held: Tensor | None,
) -> State:
    """The state of a checkpoint; posteriors that it goes without are found again. Raises FormatError for one of
    another family.

    pixels: (P, N, side, side, 3) uint8 of training crops, held: (n, side, side, 3) of validation crops, if there are
    any; this process's each.
    """
    kept = checkpoint.read(path, fingerprint(plan), NAMES, plan.device)
    single = max(plan.settings.classes)
    tables = {name: values.clone() for name, values in kept["tables"].items()}
    evidence = Evidence.none(tables["variance"])
    if plan.shards.rank == 0:  # what is a sum over processes goes to the first
        evidence = Evidence(*(kept["evidence"][name].clone() for name in EVIDENCE))
    tile = plan.architecture.tile
    crops = _crops(plan.shards, kept["crops"], pixels, single, tile)
    held_crops = None
    if held is not None:
        of_points = held.expand(plan.points, *held.shape)
        held_crops = _crops(plan.held, kept["held"], of_points, single, tile)
    betas = torch.tensor(plan.settings.betas, dtype=torch.float64).to(plan.device)
    colours = {name: values.clone() for name, values in kept["colours"].items()}
    points = Points(
        betas=betas,
        **tables,
        single=single,
        colours=ColourMap(**colours),
        evidence=evidence,
        crops=crops,
        held=held_crops,
    )
    state = first_state(plan, points, kept["network"]["features"])
    state.network.load_state_dict(kept["network"])
    state.average.load_state_dict(kept["average"])
    for ours, theirs in zip(moments(state), kept["moments"], strict=True):
        ours.copy_(theirs)
    state.progress = Progress(**kept["progress"])
    if "difference" not in kept["crops"]:
        settle(plan, state)
    return state


def _crops(
    shards: Shards,
    kept: dict,
    pixels: Tensor,
    single: int,
    tile: int,
) -> Crops:
    assigned = kept["assigned"][:, shards.mine]
    if "difference" in kept:
        difference = kept["difference"][:, shards.mine]
    else:
        shape = *assigned.shape, tile * tile * 3
        difference = torch.zeros(shape, dtype=torch.float16, device=assigned.device)
    return Crops.of(pixels, assigned, difference, single, tile)
