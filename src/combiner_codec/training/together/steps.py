"""Steps: all operating points take turns, and one network learns from all of them. Needs torch. Shapes: see tables.py.

Plan -> batch, noise, rates -> visit (E-step, gradients) -> Muon, Adam -> average; at the end of an epoch an M-step
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..m_step import m_step
from ..plan import Batch, Plan, Rates
from ..points import row
from .state import Progress, State
from .visit import Visited, visit

NORM_MEMORY = 0.95  # of the running norms of gradients
MOST_NORM = 3.0  # running norms that an outlier counts for, at most
COST_MEMORY = 0.97  # of the running training J
MEMORY = 0.995  # of the average of the weights, a step
AVERAGE_EVERY = 4  # steps between updates of the average


def take_step(plan: Plan, state: State, act: Callable[..., None] | None = None) -> None:
    """One batch of one operating point moves its posteriors and the network; at the end of an epoch an M-step.

    act: does what `move` does.
    """
    progress = state.progress
    step = progress.step
    share = plan.settings.share(step, progress.seconds)
    p = plan.point(step)
    visits = progress.visits[p]
    batch = plan.turn(p, visits, step)
    rates = plan.rates(step, visits, share)
    act = act or move
    act(plan, state, batch, rates, separate=share >= plan.settings.separate)
    progress.visits[p] += 1
    progress.step += 1
    if progress.step % AVERAGE_EVERY == 0:
        follow(state)
    if progress.visits[p] % plan.epoch == 0:
        m_step(plan.architecture.tile, plan.shards, state.points, p)


def move(
    plan: Plan,
    state: State,
    batch: Batch,
    numbers: Tensor,
    separate: bool,
) -> None:
    """What a step does on the device, by a batch and by numbers that `Rates` are made of.

    separate: the weights of the batch's operating point move too, beside those of all points.
    """
    p = batch.point
    rates = Rates.of(numbers)
    network = state.network
    chosen = network.chosen(p)
    matrices = [*network.weights, *chosen.weights] if separate else list(network.weights)
    vectors = [network.biases, *network.hyper.parameters(), chosen.classes, *chosen.plain]
    shared = network.shared(p, chosen)
    learned = [*matrices, *vectors]
    found = visit(plan.architecture, state.points, state.points.crops, batch, shared, learned, rates.e_step)
    gradients = summed(plan, state, p, found)
    gradients = scaled(state.progress, p, gradients)
    state.muon.step(p, gradients[: len(matrices)], rates.muon, separate)
    state.adam.step(p, gradients[len(matrices) :], rates.adam, rates.bias)


def summed(
    plan: Plan,
    state: State,
    p: Tensor,
    found: Visited,
) -> list[Tensor]:
    """Gradients of all processes; their cost is remembered."""
    cost = found.cost(state.points.tables(p)).sum()[None]
    *gradients, cost = plan.shards.sum(*found.gradients, cost)
    pixels = plan.batch * plan.side**2
    remember(state.progress.costs, p, cost.double() / pixels, COST_MEMORY)
    return gradients


def remember(
    averages: Tensor,
    p: Tensor,
    now: Tensor,
    memory: float,
) -> Tensor:
    """Running averages (P,), of which that of point p goes on, or begins, with its value now (1,): what it is then."""
    before = averages.index_select(0, p)
    average = torch.where(before > 0, memory * before + (1 - memory) * now, now)
    averages.index_copy_(0, p, average)
    return average


def scaled(
    progress: Progress,
    p: Tensor,
    gradients: list[Tensor],
) -> list[Tensor]:
    """Gradients of point p over their usual norm, so that all points count alike; outliers are cut to twice that."""
    norms = torch.stack(torch._foreach_norm(gradients))
    norm = torch.linalg.vector_norm(norms).double()[None]
    usual = progress.norms.index_select(0, p)
    most = torch.where(usual > 0, MOST_NORM * usual, norm)
    usual = remember(progress.norms, p, norm.minimum(most), NORM_MEMORY)
    factor = 1 / torch.maximum(usual, norm / 2).clamp(min=1e-12)
    return torch._foreach_mul(gradients, row(factor.float(), 0))


@torch.no_grad()
def follow(state: State) -> None:
    """Draw the average towards the network."""
    step = state.progress.step
    memory = min(MEMORY, 1 - 1 / (1 + step / AVERAGE_EVERY)) ** AVERAGE_EVERY
    average = list(state.average.parameters())
    network = list(state.network.parameters())
    torch._foreach_lerp_(average, network, 1 - memory)
