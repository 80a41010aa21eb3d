"""All operating points of a family at once: one network, whose steps take turns among the points. Needs torch.

Batches are functions of (seed, step) and sums are over all processes, so neither the number of processes nor an
interruption changes the result where a number of steps is given; where a time is, rates follow the clock.
Shapes: see persistent.py.
"""

import copy
from dataclasses import dataclass, field

import numpy as np
import torch

from ..synthesis.architecture import Architecture
from .joint import JointNetwork, Muon
from .persistent import Crops, Point, Turn, Visited, m_step, visit
from .recipes import TrainSettings, linear_part
from .shards import Draw, Shards, random

WARM_UP = 300  # steps in which rates rise
RATE, LEAST_RATE = 2e-3, 1e-5  # of AdamW, for biases; falls
TURN = 3e-3  # rate of Muon, for weights; falls alike
E_RATE, LEAST_E_RATE = 0.3, 0.03  # share of a Newton step that E-steps take: falls from their sum to the second
DECAY, MOMENTS = 1e-4, (0.9, 0.99)  # of AdamW
PROBE_EVERY = 8  # steps; a probe is another backward pass
NORM_MEMORY, MOST_NORM = 0.95, 3.0  # running norms of gradients: memory, most that an outlier counts for
COST_MEMORY = 0.97  # of the running training J
MEMORY, AVERAGE_EVERY = 0.995, 4  # of the average of the weights, a step; steps between its updates
HELD_PIXELS = 48 * 128**2  # of all crops that J is measured on, at most
HELD_STEPS, HELD_RATE = 4, (0.25, 0.02)  # E-steps of a measurement, from where the last one ended; their rates
PIXELS_AT_ONCE = 8 * 128**2  # of a measurement


@dataclass(frozen=True)
class Plan:
    """What does not change while a family is learned."""

    architecture: Architecture
    settings: TrainSettings
    side: int  # pixels along the side of a crop
    shards: Shards  # of the crops of each operating point
    held: Shards  # of the validation crops
    device: torch.device

    def rate(self, step: int, share: float) -> float:
        """Of AdamW: rises, then falls to about 0."""
        return RATE * min(1, (step + 1) / WARM_UP) * (1 - share) + LEAST_RATE

    def point(self, step: int) -> int:
        """The operating point whose turn it is."""
        visits = np.array(self.settings.visits or [1.0] * len(self.settings.betas))
        rng = np.random.default_rng([self.settings.seed, 2, step])
        return int(rng.choice(len(visits), p=visits / visits.sum()))

    @property
    def batch(self) -> int:
        """Crops of a step."""
        return min(self.settings.batch, self.shards.count)

    @property
    def epoch(self) -> int:
        """Steps in which an operating point's crops have a turn each, but for a rest."""
        return self.shards.count // self.batch

    def draw(self, p: int, visits: int, step: int) -> Draw:
        """Crops and noise of a step at point p, which has had so many."""
        epoch, number = divmod(visits, self.epoch)
        order = torch.randperm(self.shards.count, generator=random(self.seed(3, p, epoch)))
        chosen = order[number * self.batch :][: self.batch]
        return self.part(self.shards, chosen, 4, step)

    def part(self, shards: Shards, chosen: torch.Tensor, *address: int) -> Draw:
        """This process's part of the crops with these numbers, with noise of its own for every address."""
        return shards.part(chosen, self.latents, random(self.seed(*address), self.device), self.device)

    def seed(self, *address: int) -> int:
        """Of random numbers of their own for every address."""
        seed = np.random.SeedSequence([self.settings.seed, *address]).generate_state(1, np.uint64)[0]
        return int(seed >> np.uint64(1))

    @property
    def latents(self) -> tuple[int, int, int]:
        """(Rt, Ct, U)."""
        tiles = self.side // self.architecture.tile
        return tiles, tiles, self.architecture.tile_latents


@dataclass
class Progress:
    """How far learning is, and running averages of every operating point: 0 before its first visit."""

    visits: list[int]
    norms: torch.Tensor  # (P,) of gradients, on the device, which nobody waits for
    costs: torch.Tensor  # (P,) training J, nats a pixel
    before: list[float] = field(default_factory=list)  # J of each point's first crops in closed form, without network
    before_held: list[float] = field(default_factory=list)  # the same of validation crops
    step: int = 0
    seconds: float = 0.0  # over all runs


@dataclass
class State:
    """What learning changes, and what a checkpoint holds."""

    network: JointNetwork
    average: JointNetwork  # of the network over the last steps
    muon: Muon  # of the weights
    adam: torch.optim.AdamW  # of the biases
    points: list[Point]
    held: list[Crops]  # validation crops of each operating point
    progress: Progress


def first_state(plan: Plan, colour: dict, classes: list[torch.Tensor]) -> State:
    """A network without effect, from (K, F) features of each operating point's classes; no operating points yet."""
    settings, P = plan.settings, len(classes)
    network = JointNetwork(plan.architecture, colour, settings.betas, classes, settings.seed).to(plan.device)
    matrices = network.matrices()
    taken = {id(w) for w in matrices}
    others = [w for w in network.parameters() if id(w) not in taken]
    adam = torch.optim.AdamW(others, RATE, MOMENTS, weight_decay=DECAY)
    average = copy.deepcopy(network).requires_grad_(False)
    norms, costs = torch.zeros(2, P, dtype=torch.float64, device=plan.device)
    return State(network, average, Muon(matrices, TURN), adam, [], [], Progress([0] * P, norms, costs))


def take_step(plan: Plan, state: State) -> None:
    """One batch of one operating point moves its posteriors and the network; at the end of an epoch an M-step."""
    progress, settings = state.progress, plan.settings
    step, share = progress.step, settings.share(progress.step, progress.seconds)
    p = plan.point(step)
    point, learned = state.points[p], state.network.learned(p, share >= settings.own)
    e_rate = LEAST_E_RATE + E_RATE * (1 - share)
    turn = Turn(plan.draw(p, progress.visits[p], step), e_rate, None if step % PROBE_EVERY else step)
    found = visit(plan.architecture, point, point.crops, state.network.shared(p), learned, turn)
    *gradients, cost = plan.shards.sum(*found.gradients, cost_of(point, found).sum()[None])
    remember(progress, p, cost[0].double() / plan.batch / plan.side**2)
    move(state, learned, scaled(progress, p, gradients), plan.rate(step, share))
    if progress.visits[p] % plan.epoch == 0:
        state.points[p] = m_step(plan.architecture, plan.shards, point)


def cost_of(point: Point, found: Visited) -> torch.Tensor:
    """Lagrangian of crops in nats: (n,)."""
    return found.error / point.tables.beta + found.nats


def remember(progress: Progress, p: int, cost: torch.Tensor) -> None:
    """A visit to point p that cost so many nats a pixel."""
    progress.costs[p] = averaged(progress.costs[p], cost, COST_MEMORY)
    progress.visits[p] += 1
    progress.step += 1


def averaged(before: torch.Tensor, now: torch.Tensor, memory: float) -> torch.Tensor:
    """A running average, which begins with its first value."""
    return torch.where(before > 0, memory * before + (1 - memory) * now, now)


def scaled(progress: Progress, p: int, gradients: list[torch.Tensor]) -> list[torch.Tensor]:
    """Gradients of point p over their usual norm, so that all points count alike; outliers are cut to twice that."""
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))).double()
    usual = progress.norms[p]
    most = torch.where(usual > 0, MOST_NORM * usual, norm)
    usual = progress.norms[p] = averaged(usual, norm.minimum(most), NORM_MEMORY)
    return torch._foreach_mul(gradients, (1 / torch.maximum(usual, norm / 2).clamp(min=1e-12)).float())


def move(state: State, learned: list, gradients: list[torch.Tensor], rate: float) -> None:
    """One step of both optimizers, and of the average."""
    state.network.zero_grad(set_to_none=True)
    for parameter, gradient in zip(learned, gradients, strict=True):
        parameter.grad = gradient
    for optimizer, lr in ((state.muon, rate * TURN / RATE), (state.adam, rate)):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
    step = state.progress.step
    if step % AVERAGE_EVERY == 0:
        memory = min(MEMORY, 1 - 1 / (1 + step / AVERAGE_EVERY)) ** AVERAGE_EVERY
        with torch.no_grad():
            torch._foreach_lerp_(list(state.average.parameters()), list(state.network.parameters()), 1 - memory)


@dataclass(frozen=True)
class Measured:
    """Means over crops."""

    cost: float  # J, nats a pixel
    bpp: float
    psnr: float


def measured(plan: Plan, point: Point, crops: Crops, shards: Shards, shared: dict, address: tuple) -> Measured:
    """How crops do after some more E-steps; with the colour map for all shared layers, in closed form as they are."""
    closed = len(shared) == 2
    architecture = linear_part(plan.architecture) if closed else plan.architecture
    count = min(HELD_PIXELS // plan.side**2, shards.count)
    totals = torch.zeros(3, dtype=torch.float64, device=plan.device)
    for chosen in torch.arange(count).split(max(1, PIXELS_AT_ONCE // plan.side**2)):
        for step in range(1 if closed else HELD_STEPS):
            draw = plan.part(shards, chosen, *address, int(chosen[0]), step)
            rate = 0.0 if closed else HELD_RATE[0] * (1 - step / HELD_STEPS) + HELD_RATE[1]
            found = visit(architecture, point, crops, shared, [], Turn(draw, rate, counts=False))
        error = (found.error / plan.side**2).double()
        totals += torch.stack(
            [cost_of(point, found).double().sum(), found.nats.double().sum(), -10 * error.log10().sum()]
        )
    cost, nats, psnr = (shards.sum(totals)[0] / count).cpu().tolist()
    return Measured(cost / plan.side**2, nats / np.log(2) / plan.side**2, psnr)
