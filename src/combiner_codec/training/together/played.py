"""Steps as a GPU plays them again: one CUDA graph with a probe of the curvature, one without. Needs torch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from ...encoder.fit.replay import Replayed
from ..plan import Batch, Plan
from .state import State
from .steps import move


@dataclass(frozen=True)
class Way:
    """A step of one kind, and the tensors from which it takes what differs from step to step."""

    batch: Batch
    numbers: Tensor
    work: Callable[[], None]  # the step with these
    step: Replayed

    def take(self, batch: Batch, numbers: Tensor) -> None:
        """Do it with others."""
        for ours, now in zip(tensors(self.batch, self.numbers), tensors(batch, numbers), strict=True):
            ours.copy_(now)
        self.step(self.work)


class Played:
    """Does what `steps.move` does, with the same arguments, of one plan and state."""

    def __init__(self) -> None:
        self.ways: dict[tuple[bool, bool], Way] = {}

    def __call__(
        self,
        plan: Plan,
        state: State,
        batch: Batch,
        numbers: Tensor,
        separate: bool,
    ) -> None:
        kind = batch.signs is not None, separate
        if kind not in self.ways:
            work = partial(move, plan, state, batch, numbers, separate)
            self.ways[kind] = Way(batch, numbers, work, Replayed(plan.device))
        self.ways[kind].take(batch, numbers)


def tensors(batch: Batch, numbers: Tensor) -> list[Tensor]:
    """All that a step is given."""
    found = [batch.point, batch.places, batch.eps, numbers]
    if batch.signs is not None:
        found.append(batch.signs)
    return found
