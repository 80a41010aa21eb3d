"""Natural-gradient steps of posterior means: the closed-form sigma^2 is the inverse of the curvature. Needs torch.

On a GPU all that a step reads and writes stays where it is, so that steps can be played again:

    numbers and noise of the step -> sample -> pull of the distortion, of the prior -> means, modulations

Shapes: P pictures, B blocks with D latents each, M modulations of a picture.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from .budget import Budget
from .modulation import ModulationFit
from .noise import Noise
from .posterior import Posterior, bounds
from .replay import Replayed
from .subject import Subject

Sample = Callable[[Posterior, torch.Tensor], torch.Tensor]  # posterior, normals (B / P, D) -> latents (B, D)
# half a field, modulations -> distortion in nats (P,), and gradients for the leaves that they came from
Pull = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]


class NaturalSteps:
    """Steps of one subject's posterior. Scales stay as they are."""

    def __init__(self, subject: Subject, budget: Budget | None, sample: Sample, pull: Pull):
        self.subject = subject
        self.budget = budget
        self.sample = sample
        self.pull = pull
        self.stays = subject.device.type != "cpu"
        self.kept: dict[str, torch.Tensor] = {}  # what steps read and write, by name
        self.numbers: Sequence = ()  # of the step
        self.plan: Sequence = ()  # numbers of all steps
        prior = subject.prior
        self.precision = torch.where(prior.coded, prior.scale, torch.inf) ** -2
        self.bounds = bounds(prior) if self.stays else None  # a processor has no memory for them beside large pictures
        self.modulations: ModulationFit | None = None
        self.plain = Replayed(partial(self._move, None), subject.device)
        self.modulated = self.plain

    def begin(self, start: Posterior, shares: Sequence[float], modulations: ModulationFit | None) -> None:
        """A run of steps of such shares of a whole one; modulations are fitted along."""
        self._keep("mean", start.mean)
        self._keep("scale", start.scale)
        self._keep("free", start.free)
        plan = []
        for number, share in enumerate(shares):
            of_modulations = (0.0, 1.0)
            if modulations and number >= modulations.begin:
                of_modulations = modulations.numbers(number)
            plan.append((share, *of_modulations))
        self.plan = torch.tensor(plan).to(self.subject.device) if self.stays else plan
        self.modulations = modulations
        if modulations:
            self.modulated = Replayed(partial(self._move, modulations), self.subject.device)

    def take(self, number: int, noise: Noise) -> torch.Tensor:
        """One step; the distortion before it: (P,) nats."""
        noise.turn()
        modulated = self.modulations is not None and number >= self.modulations.begin
        if modulated:
            self._keep("modulation normals", self.modulations.normals(noise))
        mean = self.kept["mean"]
        blocks = len(mean) // len(self.subject.target)
        self._keep("normals", noise.normal((blocks, mean.shape[1]), mean.device))
        self._set_numbers(self.plan[number])
        if modulated:
            self.modulated()
        else:
            self.plain()
        return self.kept["error"]

    @property
    def posterior(self) -> Posterior:
        """Where the means are; the next step may move them."""
        return Posterior(self.kept["mean"], self.kept["scale"], self.kept["free"])

    def _move(self, modulations: ModulationFit | None) -> None:
        """The step itself."""
        before = self.posterior
        share, size, root = self.numbers
        here = before.moved(before.mean.detach().requires_grad_(), before.scale)
        values = modulations.sample(self.kept["modulation normals"]) if modulations else None
        half = self.subject.half(self.sample(here, self.kept["normals"]))
        if not self.stays:
            del self.kept["normals"]  # before most memory is needed
        error = self.pull(half, values)
        if modulations:
            modulations.step(size, root)
        away = before.mean - self.subject.prior.mean
        gradient = here.mean.grad.addcmul_(away, self._weighted_precision())
        moved = torch.addcmul(before.mean, share * before.scale**2, gradient, value=-1)
        least, most = self.bounds or bounds(self.subject.prior)
        reachable = torch.minimum(torch.maximum(moved, least), most)
        self._keep("error", error)
        self._keep("mean", torch.where(before.free, reachable, before.mean))

    def _weighted_precision(self) -> torch.Tensor:
        """1 / s^2 of every latent, times beta_g / beta."""
        return self.budget.weights() * self.precision if self.budget else self.precision

    def _set_numbers(self, values) -> None:
        if self.stays:
            self._keep("numbers", values)
            values = self.kept["numbers"]
        self.numbers = values

    def _keep(self, name: str, value: torch.Tensor) -> None:
        """Remember a tensor; on a GPU in the place of the one before."""
        if not self.stays:
            self.kept[name] = value
        elif name in self.kept:
            self.kept[name].copy_(value)
        else:
            self.kept[name] = value.clone()
