"""What does not change while a family is learned, and what each step takes: turns, crops, noise, rates. Needs torch.

Everything is a function of (seed, step) for all processes together, so neither their number nor an interruption changes
a result where a number of steps is given; where a time is, rates follow the clock.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..synthesis.architecture import Architecture
from .recipes import TrainSettings
from .shards import Shards, random

WARM_UP = 300  # steps in which rates rise
ADAM_RATE = 2e-3  # for biases, at first
MUON_RATE = 3e-3  # for weights; falls alike
LEAST_RATE = 1e-5  # of Adam, at the end
E_RATE = 0.3  # share of a Newton step that E-steps take, less the next
LEAST_E_RATE = 0.03  # at the end
ADAM_MOMENTS = (0.9, 0.99)
PROBE_EVERY = 8  # steps; a probe is another backward pass
OF_POINTS, OF_STEPS, OF_EPOCHS = 2, 4, 3  # addresses of random numbers; crops have 0 and 1


@dataclass(frozen=True)
class Batch:
    """Crops of one operating point, with noise for a sample of their posteriors."""

    point: Tensor  # (1,) int64
    places: Tensor  # (n,) int64 positions among this process's crops
    eps: Tensor  # (n, Rt, Ct, U) standard normals
    signs: Tensor | None = None  # (n, side, side, 3) of a probe of the curvature, if there is one


@dataclass(frozen=True)
class Rates:
    """How far a step goes: tensors without axes, float64, on the device."""

    e_step: Tensor  # share of a Newton step
    muon: Tensor
    adam: Tensor
    bias: Tensor  # (2, 2) that Adam's two moments are divided by: of all points, and of this one

    @staticmethod
    def of(numbers: Tensor) -> "Rates":
        """From a tensor that holds all of them (7,), so that they are copied to the device at once."""
        e_step, muon, adam = numbers[:3]
        return Rates(e_step, muon, adam, numbers[3:].reshape(2, 2))


@dataclass(frozen=True)
class Plan:
    """What does not change while a family is learned."""

    architecture: Architecture
    settings: TrainSettings
    side: int  # pixels along the side of a crop
    shards: Shards  # of the crops of each operating point
    held: Shards  # of the validation crops
    device: torch.device

    @property
    def points(self) -> int:
        """P."""
        return len(self.settings.betas)

    @property
    def batch(self) -> int:
        """Crops of a step."""
        return min(self.settings.batch, self.shards.count)

    @property
    def epoch(self) -> int:
        """Steps in which an operating point's crops have a turn each, but for a rest."""
        return self.shards.count // self.batch

    @property
    def tiles(self) -> tuple[int, int]:
        """(Rt, Ct)."""
        tiles = self.side // self.architecture.tile
        return tiles, tiles

    def point(self, step: int) -> int:
        """The operating point whose turn it is."""
        visits = np.array(self.settings.visits or [1.0] * self.points)
        rng = np.random.default_rng([self.settings.seed, OF_POINTS, step])
        return int(rng.choice(self.points, p=visits / visits.sum()))

    def turn(self, p: int, visits: int, step: int) -> Batch:
        """What a step at point p takes, which has had so many."""
        epoch, number = divmod(visits, self.epoch)
        shuffled = random(self.seed(OF_EPOCHS, p, epoch))
        order = torch.randperm(self.shards.count, generator=shuffled)
        first = number * self.batch
        chosen = order[first : first + self.batch]
        probe = None if step % PROBE_EVERY else step
        return self.part(self.shards, p, chosen, (OF_STEPS, step), probe)

    def part(
        self,
        shards: Shards,
        p: int,
        chosen: Tensor,
        address: tuple[int, ...],
        probe: int | None = None,
    ) -> Batch:
        """This process's part of the crops with these numbers, with noise for every address.

        probe: seed of its signs, if there is one.
        """
        here = shards.here(chosen)
        normals = random(self.seed(*address), self.device)
        shape = len(chosen), *self.tiles, self.architecture.tile_latents
        eps = torch.randn(shape, generator=normals, device=self.device)[here.members]
        signs = None
        if probe is not None:
            bits = random(probe, self.device)
            shape = len(chosen), self.side, self.side, 3
            drawn = torch.randint(0, 2, shape, generator=bits, device=self.device)
            signs = drawn[here.members].float() * 2 - 1
        point = torch.tensor([p]).to(self.device, non_blocking=True)
        return Batch(point, here.places.to(self.device, non_blocking=True), eps, signs)

    def rates(self, step: int, visits: int, share: float) -> Tensor:
        """`Rates` of a step after so many of all points and of this one; share: of all steps or time, that is over."""
        adam = ADAM_RATE * min(1, (step + 1) / WARM_UP) * (1 - share) + LEAST_RATE
        muon = adam * MUON_RATE / ADAM_RATE
        e_step = LEAST_E_RATE + E_RATE * (1 - share)
        bias = []
        for count in (step + 1, visits + 1):
            bias += [1 - moment**count for moment in ADAM_MOMENTS]
        numbers = torch.tensor([e_step, muon, adam, *bias], dtype=torch.float64)
        return numbers.to(self.device, non_blocking=True)

    def seed(self, *address: int) -> int:
        """Of random numbers of their own for every address."""
        sequence = np.random.SeedSequence([self.settings.seed, *address])
        word = sequence.generate_state(1, np.uint64)[0]
        return int(word >> np.uint64(1))
