"""How posteriors move: natural-gradient steps, or Adam where a prior asks for it. Needs torch.

Shapes: P pictures, B blocks with D latents each, M modulations of a picture.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch

from ...errors import TargetError
from .budget import Budget
from .gradients import pull_back
from .modulation import ModulationFit, opening
from .natural import NaturalSteps
from .noise import Noise
from .posterior import Posterior, kl_nats
from .subject import Subject

CAUTION = (1, 1 / 4, 1 / 16)  # step sizes of a fit and of its repetitions, should it diverge
FASTEST = 0.5  # share of a whole step that the first steps of a fit are, at most
DISTANCE = 4.5  # sum of such shares if none were smaller than the first, of a short fit
LAST = 0.02  # share of the step size, or of a whole step, that is left at the end of a fit
CONTROLS = 5  # steps between two looks at the groups' bits
SCALE_DECAYS = (0.9, 0.98)  # of Adam's means of gradients and of their squares, where scales move too


@dataclass(frozen=True)
class Moved:
    """Where some steps lead, and the free energies that tell whether they went well."""

    posterior: Posterior
    modulations: Posterior | None  # (1, M), where they were fitted along
    first: torch.Tensor  # (P,) nats before
    last: torch.Tensor  # (P,) nats after


@dataclass(frozen=True)
class Descent:
    """Moves posteriors down the free energy distortion / beta + KL, in nats."""

    subject: Subject
    rate: float  # of a step; falls to LAST of it, or by LAST
    fit_scale: bool  # whether scales move too
    steps: int  # of a usual fit
    budget: Budget | None = None  # per-group beta control

    @staticmethod
    def of(subject: Subject, metadata: dict) -> "Descent":
        """As a prior's metadata ask for it."""
        budget = None
        latents = subject.latents
        if groups := metadata["budget_groups"]:
            count = latents.kl_index.shape[1]
            budget = Budget.of(latents.partition, count, groups, latents.group_bits, subject.device)
        return Descent(subject, metadata["rate"], metadata["fit_scale"], metadata["steps"], budget)

    def with_weights(self, shared: dict) -> "Descent":
        """The same with other weights of the shared layers."""
        return replace(self, subject=self.subject.with_weights(shared))

    @property
    def noisy(self) -> bool:
        """Whether gradients keep all of their noise, and a fit takes more and smaller steps."""
        return self.fit_scale or not self.subject.linear_noise

    def linear_steps(self, steps: int) -> int:
        """First steps of a fit from the closed form that take the network's output for fixed: they lead as far. A GPU
        plays one step many times, so there it has none.
        """
        if self.noisy or self.subject.device.type != "cpu":
            return 0
        return opening(steps)

    def run(
        self,
        posterior: Posterior,
        steps: int,
        noise: Noise,
        modulations: ModulationFit | None = None,
        linear: int = 0,
    ) -> tuple[Posterior, Posterior | None]:
        """The posterior after some steps. Pictures whose fit diverges are fitted again with smaller steps.

        modulations: how they begin, if they are fitted along, of a picture on its own; their posterior comes back.
        linear: first steps that take the network's output for fixed.
        noise: goes on, whatever pictures are repeated. Raises TargetError if smaller steps do not help.
        """
        if not steps:
            return posterior, None
        result = posterior
        todo = torch.ones(len(posterior.mean), 1, dtype=torch.bool, device=posterior.mean.device)
        after = None
        for caution in CAUTION:
            noise.begin()
            if self.fit_scale:
                moved = self._adam(posterior, steps, caution, noise)
            else:
                moved = self._natural(posterior, steps, caution, noise, modulations, linear)
            after = noise.state() if after is None else after
            mean = torch.where(todo, moved.posterior.mean, result.mean)
            scale = torch.where(todo, moved.posterior.scale, result.scale)
            result = posterior.moved(mean, scale)
            diverged = self.diverged(posterior, moved.first, moved.last)
            todo = todo & diverged.repeat_interleave(len(todo) // len(diverged))[:, None]
            if not todo.any():
                noise.go_on(after)
                return result, moved.modulations
        raise TargetError("the fit diverged: the prior does not suit the picture or is damaged; try another beta")

    def diverged(self, posterior: Posterior, first: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Which pictures' free energies are not finite or grew, noise aside, from first to last: (P,) nats -> (P,)."""
        spread = self.subject.by_picture(posterior.free.sum(1))  # about one nat of each latent
        return ~(last <= 2 * first + spread)

    def sample(self, posterior: Posterior, noise: Noise) -> torch.Tensor:
        """A sample of the posterior: (B, D)."""
        noise.begin()
        noise.turn()
        return posterior.mean + self._deviation(posterior.scale, self._normals(posterior.mean, noise))

    def backward(self, posterior: Posterior, mean: torch.Tensor, scale: torch.Tensor, noise: Noise) -> torch.Tensor:
        """Gradients of distortion / point.beta of one sample, in nats, into the leaves among mean and scale. Returns
        that distortion: (P,).
        """
        noise.turn()
        here = posterior.moved(mean, scale)
        sample = mean + self._free_deviation(here, self._normals(mean, noise))
        return self._pull(self.subject.half(sample), None)

    def _normals(self, mean: torch.Tensor, noise: Noise) -> torch.Tensor:
        """Standard normals, the same for every picture, so that none depends on its company: (B / P, D)."""
        pictures = len(self.subject.target)
        return noise.normal((len(mean) // pictures, mean.shape[1]), mean.device)

    def _deviation(self, scale: torch.Tensor, normals: torch.Tensor) -> torch.Tensor:
        """Of a sample from the means: (B, D)."""
        pictures = len(self.subject.target)
        return (scale.unflatten(0, (pictures, -1)) * normals).flatten(0, 1)

    def _free_deviation(self, here: Posterior, normals: torch.Tensor) -> torch.Tensor:
        """The same, 0 where a latent is not free."""
        return torch.where(here.free, self._deviation(here.scale, normals), 0.0)

    def _pull(self, half: torch.Tensor, values: torch.Tensor | None, through: bool = True) -> torch.Tensor:
        """Distortion / point.beta of a sample that has come to half a field and to modulations (1, M), if these are
        fitted too: (P,) nats. Its gradients go into the leaves of both. through: see `Shortcuts`.
        """
        subject = self.subject
        parts = subject.parts()
        pulls = subject.threads.map(lambda part: subject.pull(half, values, part, through), parts)
        if len(parts) == 1:
            total, gradients = pulls[0]
        else:
            total, gradients = subject.together(half, values, zip(parts, pulls, strict=True))
        pull_back(half, gradients[0])
        if values is not None:
            pull_back(values, gradients[1])
        return total

    def nats(self, posterior: Posterior) -> torch.Tensor:
        """KL of every picture's free latents: (P,)."""
        return self.subject.by_picture(posterior.block_nats(self.subject.prior))

    def _natural(
        self,
        start: Posterior,
        steps: int,
        caution: float,
        noise: Noise,
        modulations: ModulationFit | None,
        linear: int,
    ) -> Moved:
        """Natural-gradient steps on the means. Scales stay."""
        first = self.nats(start)
        moving = modulations.anew(steps) if modulations else None
        rate = self.rate if self.noisy else max(self.rate, min(FASTEST, DISTANCE / steps))
        shares = [caution * (rate * (1 - step / steps) + LAST) for step in range(steps)]
        on_processor = self.subject.device.type == "cpu"
        walk = self._steps() if on_processor else self._kept_steps
        walk.begin(start, shares, moving, linear)
        for step in range(steps):
            error = walk.take(step, noise)
            if step == 0:
                first = first + error
            self._control(step, walk.posterior)
        posterior = start.moved(walk.posterior.mean.clone(), start.scale)
        return Moved(posterior, moving.posterior if moving else None, first, error + self.nats(posterior))

    def _steps(self) -> NaturalSteps:
        other = replace(self)  # does not hold them, so that both go at once, and a GPU's memory with them
        return NaturalSteps(self.subject, self.budget, other._free_deviation, other._pull)

    @cached_property
    def _kept_steps(self) -> NaturalSteps:
        """Those of all runs on a GPU, so that it plays again in one what it has captured in another."""
        return self._steps()

    def _adam(self, start: Posterior, steps: int, caution: float, noise: Noise) -> Moved:
        """Adam on means and log scales, in units of the prior's `posterior_scale`."""
        prior = self.subject.prior
        rate = caution * self.rate
        first = self.nats(start)
        offset = torch.zeros_like(start.mean).requires_grad_()
        widen = torch.zeros_like(start.mean).requires_grad_()
        optimizer = torch.optim.Adam([offset, widen], rate, betas=SCALE_DECAYS)

        def here():
            mean = start.mean + torch.where(start.free, offset * prior.posterior_scale, 0.0)
            scale = torch.where(start.free, start.scale * torch.exp(widen), start.scale)
            return mean, scale

        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 - step / steps) + LAST * rate
            optimizer.zero_grad()
            mean, scale = here()
            nats = torch.where(start.free, kl_nats(mean, torch.where(start.free, scale, 1.0), prior), 0.0)
            (self._weight() * nats).sum().backward(retain_graph=True)
            error = self.backward(start, mean, scale, noise)
            if step == 0:
                first = first + error
            optimizer.step()
            self._control(step, start.moved(mean.detach(), scale.detach()))
        with torch.no_grad():
            posterior = start.moved(*here())
        return Moved(posterior, None, first, error + self.nats(posterior))

    def _weight(self) -> torch.Tensor | float:
        """beta_g / beta of every latent."""
        return self.budget.weights() if self.budget else 1.0

    @torch.no_grad()
    def _control(self, step: int, posterior: Posterior) -> None:
        """Move the groups' betas every few steps, where the prior asks for budgets."""
        if self.budget and step % CONTROLS == CONTROLS - 1:
            self.budget.control(posterior.nats(self.subject.prior))
