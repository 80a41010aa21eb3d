"""Coordinate descent on one operating point: E-steps, Adam on the shared layers, M-steps (COMBINER, section 3.1).

Sums over pictures are combined by one all-reduce, and batches are functions of (seed, step), so the number of processes
does not change the result. Needs torch. Shapes: see pictures.py.
"""

import time
from dataclasses import dataclass

import torch

from .draft import Draft
from .estep import Probe, Sample
from .log import Report, line
from .mstep import m_step
from .pictures import Pictures
from .recipes import TrainSettings
from .shards import Draw
from .weights import learned_weights

POINT_SEED = 7919  # a prime between the seeds of operating points
WARM_UP = 50  # steps in which Adam's rate rises
LEAST_RATE = 1e-5  # of Adam, at the end
LEAST_E_RATE = 0.03  # share of a Newton step that the last E-steps take
LOSS_UNIT = 1e-3  # squared error of a pixel at 30 dB: so that Adam's epsilon is small beside gradients of weights
PROBE_EVERY = 8  # steps; a probe is another backward pass, and 250 steps of 64 pictures have 31


@dataclass(frozen=True)
class Schedule:
    """What changes over the steps of an operating point."""

    settings: TrainSettings
    steps: int

    def rate(self, step: int) -> float:
        """Of Adam: rises, then falls to about 0."""
        rate = self.settings.rate * min(1, (step + 1) / WARM_UP)
        return rate * (1 - step / self.steps) + LEAST_RATE

    def e_rate(self, step: int) -> float:
        """Share of a Newton step that an E-step takes."""
        return LEAST_E_RATE + self.settings.e_rate * (1 - step / self.steps)

    def ends_round(self, step: int) -> bool:
        """Whether an M-step follows."""
        return (step + 1) % max(1, self.steps // self.settings.m_steps) == 0

    def draw(self, draft: Draft, pictures: Pictures, step: int) -> Draw:
        """This step's pictures and noise."""
        seed = self.settings.seed + POINT_SEED * draft.number
        return pictures.shards.batch(self.settings.batch, seed, step, draft.posterior_mean.shape[1:])


def descend(pictures: Pictures, schedule: Schedule, draft: Draft, report: Report) -> Draft:
    """All steps, with an M-step and a line of `report` at the end of every round.

    Takes the draft over: its posterior means and its shared weights change in place.
    """
    started, learned = time.time(), learned_weights(pictures.architecture, draft.shared)
    optimizer = torch.optim.Adam(learned) if learned else None
    probe = none = Probe(torch.zeros(pictures.architecture.own))
    for step in range(schedule.steps):
        draw = schedule.draw(draft, pictures, step)
        sample = Sample.of(pictures, draft, draw)
        probed = step % PROBE_EVERY == 0
        gradient, *of_weights = sample.gradients(pictures.pixels[draw.own], learned, keep=probed)
        probe = probe + sample.probe(step) if probed else probe
        draft.posterior_mean[draw.own] = sample.moved(gradient, draft.tables.beta, schedule.e_rate(step))
        if optimizer:
            unit = len(draw.members) * pictures.area * LOSS_UNIT
            move_weights(optimizer, [g / unit for g in pictures.shards.sum(*of_weights)], schedule.rate(step))
        if schedule.ends_round(step):
            draft, probe = m_step(pictures, schedule.settings.smoothing, draft, probe), none
            report(f"{line(pictures, draft, step)}, {time.time() - started:.0f} s")
    return draft


def move_weights(optimizer: torch.optim.Adam, gradients: list[torch.Tensor], rate: float) -> None:
    """One step of Adam."""
    (group,) = optimizer.param_groups
    group["lr"] = rate
    for parameter, gradient in zip(group["params"], gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
