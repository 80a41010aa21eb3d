"""Natural-gradient steps of posterior means: the closed-form sigma^2 is the inverse of the curvature. Needs torch.

With a linear decoder a sample that is off by d adds curvature * d to the gradient. This is taken away again: a control
variate of mean 0 (Miller, Foti, D'Amour and Adams, 2017, "Reducing reparameterization gradient variance"). What the
network adds stays. Structural error has other curvatures, and is fitted without it.

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

# posterior, normals (B / P, D) -> how far a sample is from the means (B, D)
Deviation = Callable[[Posterior, torch.Tensor], torch.Tensor]
# half a field, modulations, whether through all layers -> distortion in nats (P,), and gradients for the leaves that
# they came from
Pull = Callable[[torch.Tensor, torch.Tensor | None, bool], torch.Tensor]


class NaturalSteps:
    """Steps of one subject's posterior. Scales stay as they are."""

    def __init__(self, subject: Subject, budget: Budget | None, deviation: Deviation, pull: Pull):
        self.subject = subject
        self.budget = budget
        self.deviation = deviation
        self.pull = pull
        self.stays = subject.device.type != "cpu"
        self.kept: dict[str, torch.Tensor] = {}  # what steps read and write, by name
        self.numbers: Sequence = ()  # of the step
        self.plan: Sequence = ()  # numbers of all steps
        keeps = self.stays or subject.small  # a processor has no memory for these beside large pictures
        self.precision = subject.prior.precision if keeps else None
        self.curvature = subject.prior.curvature if keeps else None
        self.bounds = bounds(subject.prior) if keeps else None
        self.modulations: ModulationFit | None = None
        self.linear = 0  # first steps whose gradients go through the field alone
        self.plain = Replayed(subject.device)
        self.modulated = self.plain

    def begin(
        self,
        start: Posterior,
        shares: Sequence[float],
        modulations: ModulationFit | None,
        linear: int,
    ) -> None:
        """A run of steps of such shares of a whole one; modulations are fitted along. linear: how many of the first
        steps take the network's output for fixed.
        """
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
        self.linear = linear
        if modulations:
            self.modulated = Replayed(self.subject.device)

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
            self.modulated(partial(self._move, self.modulations))
        else:
            self.plain(partial(self._move, None, number >= self.linear))
        return self.kept["error"]

    @property
    def posterior(self) -> Posterior:
        """Where the means are; the next step may move them."""
        return Posterior(self.kept["mean"], self.kept["scale"], self.kept["free"])

    def _move(self, modulations: ModulationFit | None, through: bool = True) -> None:
        """The step itself."""
        prior = self.subject.prior
        before = self.posterior
        share, size, root = self.numbers
        here = before.moved(before.mean.detach().requires_grad_(), before.scale)
        values = modulations.sample(self.kept["modulation normals"]) if modulations else None
        deviation = self.deviation(before, self.kept["normals"])
        half = self.subject.half(here.mean + deviation)
        if not self.stays:
            del self.kept["normals"]  # before most memory is needed
        error = self.pull(half, values, through)
        if modulations:
            modulations.step(size, root)
        gradient = here.mean.grad
        if self.subject.linear_noise:
            curvature = prior.curvature if self.curvature is None else self.curvature
            gradient.addcmul_(deviation, curvature, value=-1)
        gradient.addcmul_(before.mean - prior.mean, self._weighted_precision())
        moved = torch.addcmul(before.mean, share * before.scale**2, gradient, value=-1)
        least, most = self.bounds or bounds(prior)
        reachable = torch.minimum(torch.maximum(moved, least), most)
        self._keep("error", error)
        self._keep("mean", torch.where(before.free, reachable, before.mean))

    def _weighted_precision(self) -> torch.Tensor:
        """1 / s^2 of every latent, times beta_g / beta."""
        precision = self.subject.prior.precision if self.precision is None else self.precision
        return self.budget.weights() * precision if self.budget else precision

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
