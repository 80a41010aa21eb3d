"""How crops do after some more E-steps: lines of the log. Needs torch. Shapes: see tables.py."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..plan import Plan
from ..points import Crops
from ..recipes import linear_part
from ..shards import Shards
from .state import State
from .visit import visit

MEASURED_PIXELS = 48 * 128**2  # of all crops that J is measured on, at most
PIXELS_AT_ONCE = 8 * 128**2
E_STEPS = 4  # of a measurement, from where the last one ended
FIRST_RATE = 0.25  # of these E-steps, less the next
LAST_RATE = 0.02
FIRST_SETTLING = 0.5  # of E-steps from the closed form on
OF_TRAINING, OF_HELD = 0, 1  # addresses of noise


@dataclass(frozen=True)
class Measured:
    """Means over crops."""

    cost: float  # J, nats a pixel
    bpp: float
    psnr: float


def on_training(plan: Plan, state: State, p: int) -> Measured:
    """How the first crops of point p do in closed form, without network."""
    return _measured(plan, state, p, state.points.crops, plan.shards, None, OF_TRAINING)


def on_held(
    plan: Plan,
    state: State,
    p: int,
    linear: bool = False,
) -> Measured:
    """How the validation crops do at point p with the average network, or in closed form without network."""
    shared = None if linear else average_weights(state, p)
    return _measured(plan, state, p, state.points.held, plan.held, shared, OF_HELD)


@torch.no_grad()
def average_weights(state: State, p: int) -> dict[str, Tensor]:
    """Weights of point p's shared layers, averages over the last steps."""
    return state.average.shared(p)


def _measured(
    plan: Plan,
    state: State,
    p: int,
    crops: Crops,
    shards: Shards,
    shared: dict | None,
    address: int,
) -> Measured:
    """With these weights of shared layers, or in closed form."""
    architecture = plan.architecture
    steps = E_STEPS
    first_rate, last_rate = FIRST_RATE, LAST_RATE
    if shared is None:
        architecture = linear_part(architecture)
        shared = state.points.colours.shared(architecture)
        steps = 1
        first_rate, last_rate = 0.0, 0.0
    pixels = plan.side**2
    count = min(MEASURED_PIXELS // pixels, shards.count)
    tables = state.points.tables(p)
    totals = torch.zeros(3, dtype=torch.float64, device=plan.device)
    for chosen in torch.arange(count).split(max(1, PIXELS_AT_ONCE // pixels)):
        for step in range(steps):
            batch = plan.part(shards, p, chosen, (address, p, int(chosen[0]), step))
            rate = first_rate * (1 - step / steps) + last_rate
            found = visit(architecture, state.points, crops, batch, shared, [], rate, counts=False)
        error = (found.error / pixels).double()
        cost = found.cost(tables).double()
        decibels = -10 * error.log10()
        sums = [values.sum() for values in (cost, found.nats.double(), decibels)]
        totals += torch.stack(sums)
    (totals,) = shards.sum(totals)
    cost, nats, psnr = (totals / count).cpu().tolist()
    return Measured(cost / pixels, nats / np.log(2) / pixels, psnr)


def settle(plan: Plan, state: State) -> None:
    """E-steps of all crops with the average network, from where their posteriors are."""
    at_once = max(1, PIXELS_AT_ONCE // plan.side**2)
    places = [(state.points.crops, plan.shards, OF_TRAINING)]
    if state.points.held:
        places.append((state.points.held, plan.held, OF_HELD))
    for p in range(plan.points):
        shared = average_weights(state, p)
        for crops, shards, address in places:
            for chosen in torch.arange(shards.count).split(at_once):
                for step in range(E_STEPS):
                    batch = plan.part(shards, p, chosen, (address, p, int(chosen[0]), step))
                    rate = FIRST_SETTLING * (1 - step / E_STEPS) + LAST_RATE
                    visit(plan.architecture, state.points, crops, batch, shared, [], rate, counts=False)
