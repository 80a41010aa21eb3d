"""The posterior of pictures of one size at one operating point: where it starts, and how it moves. Needs torch.

Everything is batched: pictures of one size are fitted together. Shapes: P pictures of H x W pixels (whole tiles),
Rt x Ct tiles, B blocks with D latents each. Grey pictures have one channel: their target in all three of the network's
channels, of which the decoder shows the mean.
"""

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch

from ...errors import TargetError
from ...format.prior import OperatingPoint, Prior
from ...format.streams import Partition
from ...picture.rounding import to_uint8
from ...synthesis.architecture import blocks_of, counts
from ...synthesis.bands import Band, whole
from ...synthesis.fields import blocks_from
from ...synthesis.lapped import Borders
from ...synthesis.network import Network
from ...synthesis.rectangle import Rectangle
from ...synthesis.torch_ops import TorchOps
from .analysis import decompose
from .budget import Budget
from .gradients import LappedColumns, LappedRows, layers, modulated_layers, pull_back
from .modulation import Fit
from .noise import Noise
from .posterior import Gaussians, Posterior, as_tensor, closed_form, distortion, kl_nats, reachable, shared_weights
from .workers import each, threads

PIXELS = 2**18  # pixels of pictures fitted together, and the most that the layers compute at once
FEWEST = 2**14  # the least, where threads share the work
CAUTION = (1, 1 / 4, 1 / 16)  # step sizes of a fit and of its repetitions, should it diverge


@dataclass(frozen=True)
class Subject:
    """What is fitted: pictures with their classes, and the prior that these make."""

    point: OperatingPoint
    classes: np.ndarray  # (P, Rt, Ct)
    shape: tuple[int, ...]  # of each picture: its first rows and columns, and 3 where it has colour
    target: torch.Tensor  # (P, H, W, 1 or 3) in [0, 1]
    network: Network
    kl_index: np.ndarray  # (B, D) uint8
    partition: Partition  # of the same blocks
    prior: Gaussians  # (B, D)
    band: Band  # of the pictures that these are

    @staticmethod
    def of(
        prior: Prior, point: OperatingPoint, target: torch.Tensor, shape, classes: np.ndarray, band: Band | None = None
    ) -> "Subject":
        """Pictures (P, H, W, 1 or 3), on the device where they will be fitted; whole ones, if of no band."""
        architecture, on = prior.architecture, target.device
        columns, shared = architecture.columns, shared_weights(point, on)
        network = Network(architecture, shared, as_tensor(classes, on), TorchOps, target.shape[-1] == 1, point.single)
        kl_index = point.block_kl(blocks_of(classes, architecture))
        partition = point.partition(kl_index)
        scale = point.scale_of(kl_index, columns)
        scale[partition.counts == 0] = 0
        tables = (point.mean[columns], scale, point.posterior_scale[columns])
        gaussians = Gaussians(*(as_tensor(table, on) for table in tables))
        band = band or whole(architecture, shape[0])
        return Subject(point, classes, shape, target, network, kl_index, partition, gaussians, band)

    @property
    def device(self) -> torch.device:
        return self.target.device

    @property
    def grid(self) -> tuple[int, int, int]:
        """Pictures, and rows and columns of blocks in each."""
        height, width = self.target.shape[1:3]
        return len(self.target), *counts(width, height, self.network.architecture.block)

    @cached_property
    def coded(self) -> np.ndarray:
        """Which blocks are: (B,) bool."""
        coded = np.zeros(self.grid, bool)
        coded[:, self.band.coded] = True
        return coded.reshape(-1)

    @cached_property
    def numbers(self) -> np.ndarray:
        """Number of every block in its picture: (B,)."""
        pictures, rows, columns = self.grid
        return np.tile(self.band.around.start * columns + np.arange(rows * columns), pictures)

    @cached_property
    def inside(self) -> torch.Tensor:
        """1 at the pixels of the pictures, 0 beyond: (H, W)."""
        inside = torch.zeros(self.target.shape[1:3], device=self.device)
        inside[: self.shape[0], : self.shape[1]] = 1
        return inside

    def by_picture(self, values: torch.Tensor) -> torch.Tensor:
        """Sums over each picture's blocks: (B,) -> (P,)."""
        return values.reshape(len(self.target), -1).sum(1)

    def rows(self, latents: torch.Tensor, blocks: slice) -> torch.Tensor:
        """Those of some rows of blocks: (B, D) -> (b, D)."""
        return latents.reshape(*self.grid, -1)[:, blocks].flatten(0, 2)

    def field(self, latents: torch.Tensor) -> torch.Tensor:
        """(B, D) -> (P, H, W, C)."""
        return self.network.field(latents.reshape(*self.grid, -1))

    def half(self, latents: torch.Tensor) -> torch.Tensor:
        """What of the field is computed for all rows: (B, D) -> (P, H, 3, W), or the whole of it where there are no
        cosines.
        """
        latents = latents.reshape(*self.grid, -1)
        return LappedRows.apply(latents, self.network) if self.borders else self.network.field(latents)

    @cached_property
    def borders(self) -> Borders | None:
        """Between columns of tiles of cosines."""
        architecture = self.network.architecture
        return Borders.of(self.network.merged, architecture.tile) if architecture.field.linear else None

    def parts(self, threads: int) -> list[tuple[slice, Rectangle]]:
        """What the layers do at once: some of the pictures, or a part of one, enough for every thread."""
        pictures, height, width, _ = self.target.shape
        pixels = min(PIXELS, max(FEWEST, -(-pictures * height * width // threads)))
        if pictures == 1:
            return [(slice(1), part) for part in self.network.parts(pixels)]
        some = max(1, pixels // (height * width))
        return [(slice(i, i + some), self.network.whole) for i in range(0, pictures, some)]

    def seen(self, part: tuple[slice, Rectangle]) -> tuple[slice, ...]:
        """Where half a field has what a part of the pictures needs."""
        pictures, area = part
        support = self.network.support(area)
        rows, columns = support.slices
        if not self.borders:
            return pictures, rows, columns
        reached = self.borders.reached(support.columns)
        return pictures, rows, slice(None), slice(reached.start, reached.stop)

    def pull(self, half: torch.Tensor, values: torch.Tensor | None, part: tuple[slice, Rectangle]):
        """How a part of the pictures pulls: distortion / point.beta in nats, (p,), and its gradients for what it has
        `seen` of half a field, and for modulations (1, M) where there are any.
        """
        pictures, area = part
        network = self.network.of(pictures)
        x = leaf = half[self.seen(part)].detach().requires_grad_()
        own = None if values is None else values.detach().requires_grad_()
        if self.borders:
            x = LappedColumns.apply(leaf, self.borders.of_pictures(pictures), network.support(area))
        shown = layers(x, network, area) if own is None else modulated_layers(x, own, network, area)
        shown = shown.mean(-1, keepdim=True) if network.grey else shown
        rows, columns = area.slices
        error = distortion(shown, self.target[pictures, rows, columns]) * self.inside[rows, columns]
        nats = error.sum((1, 2)) / self.point.beta
        return nats.detach(), torch.autograd.grad(nats.sum(), [leaf] if own is None else [leaf, own])

    @torch.no_grad()
    def pixels(self, latents: torch.Tensor) -> np.ndarray:
        """What the band shows of pictures of (B, D) latents: (P, h, w) or (P, h, w, 3) uint8."""
        x = self.field(latents)
        visible = Rectangle(self.band.visible, range(self.shape[1]))
        shown = np.empty((len(x), *visible.shape, self.target.shape[3]), np.uint8)

        def field_of(support):
            rows, columns = support.slices
            return x[:, rows, columns]

        for part in self.network.parts(PIXELS, visible):
            rows, columns = part.within(visible).slices
            shown[:, rows, columns] = to_uint8(self.network.show(field_of, part).cpu().numpy())
        return shown[..., 0] if shown.shape[-1] == 1 else shown

    def start(self, above: torch.Tensor | None = None) -> Posterior:
        """Closed form of the linear part where there is one, else the prior's mean and scale.

        above: latents that the first blocks, of a band before, have in the file.
        """
        architecture, prior = self.network.architecture, self.prior
        if architecture.field.linear:
            pulled = decompose(architecture, self.network.shared, self.target, self.network.merged)
            blocks = blocks_from(architecture, pulled, TorchOps)
            mean, scale = closed_form(blocks.reshape(len(self.kl_index), -1), prior)
            mean = reachable(mean, prior)
        else:
            mean = prior.mean.expand(len(self.kl_index), -1).clone()
            scale = torch.where(prior.coded, prior.posterior_scale, 0.0)
        posterior = Posterior(mean, scale, prior.coded.clone())
        return posterior if above is None else posterior.fixed([(slice(len(above)),)], [above])


@dataclass(frozen=True)
class Descent:
    """Moves posteriors down the free energy distortion / beta + KL, in nats."""

    subject: Subject
    rate: float  # of a step; falls to 0.02 of it, or by 0.02
    fit_scale: bool  # whether scales move too
    source: Noise  # of the posterior's samples
    steps: int  # of a usual fit
    budget: Budget | None = None  # per-group beta control

    @staticmethod
    def of(subject: Subject, metadata: dict, seed: int) -> "Descent":
        """As a prior's metadata ask for it."""
        budget, size = None, metadata["budget_groups"]
        if size:
            latents = subject.kl_index.shape[1]
            budget = Budget.of(subject.partition, latents, size, subject.point.group_bits, subject.device)
        return Descent(subject, metadata["rate"], metadata["fit_scale"], Noise(seed), metadata["steps"], budget)

    def with_weights(self, shared: dict) -> "Descent":
        """The same with other weights of the shared layers."""
        return replace(self, subject=replace(self.subject, network=replace(self.subject.network, shared=shared)))

    def run(self, posterior: Posterior, steps: int, own: Fit | None = None) -> Posterior:
        """The posterior after some steps. Pictures whose fit diverges are fitted again with smaller steps.

        own: modulations that are fitted along, of a picture on its own; they start anew. Raises TargetError if smaller
        steps do not help.
        """
        if not steps:
            return posterior
        move = self._adam if self.fit_scale else partial(self._natural, own=own)
        result, todo = posterior, torch.ones(len(posterior.mean), 1, dtype=torch.bool, device=posterior.mean.device)
        after = None  # the state of the noise, whatever pictures are repeated
        for caution in CAUTION:
            if own:
                own.start(steps)
            self.source.begin()
            moved, first, last = move(posterior, steps, caution)
            after = self.source.generator.get_state() if after is None else after
            diverged = self.diverged(posterior, first, last)
            mean = torch.where(todo, moved.mean, result.mean)
            result = posterior.moved(mean, torch.where(todo, moved.scale, result.scale))
            todo = todo & diverged.repeat_interleave(len(todo) // len(diverged))[:, None]
            if not todo.any():
                self.source.generator.set_state(after)
                return result
        raise TargetError("the fit diverged: the prior does not suit the picture or is damaged; try another beta")

    def diverged(self, posterior: Posterior, first, last) -> torch.Tensor:
        """Which pictures' free energies are not finite or grew, noise aside, from first to last: (P,) nats -> (P,)."""
        spread = self.subject.by_picture(posterior.free.sum(1))  # about one nat of each latent
        return ~(last <= 2 * first + spread)

    def sample(self, mean, scale) -> torch.Tensor:
        """A sample of the posterior: (B, D)."""
        self.source.begin()
        self.source.turn()
        return mean + scale * self.noise(mean)

    def noise(self, mean) -> torch.Tensor:
        """Standard normals, the same for every picture, so that none depends on its company: (B, D)."""
        pictures = len(self.subject.target)
        return self.source.normal((len(mean) // pictures, mean.shape[1]), mean.device).repeat(pictures, 1)

    def backward(self, posterior: Posterior, mean, scale, own: Fit | None = None) -> torch.Tensor:
        """Gradients of distortion / point.beta of one sample, in nats, into the leaves among mean and scale, and into
        modulations that are fitted too. Returns that distortion: (P,).
        """
        subject = self.subject
        self.source.turn()
        values = own.sample(self.source) if own else None
        half = subject.half(mean + torch.where(posterior.free, scale * self.noise(mean), 0.0))
        total, gradient = torch.zeros(len(half), device=half.device), torch.zeros_like(half)
        slopes = torch.zeros_like(values) if own else None
        parts = subject.parts(threads())
        pulls = each(partial(subject.pull, half, values), parts)
        for part, (nats, found) in zip(parts, pulls, strict=True):
            total[part[0]] += nats
            gradient[subject.seen(part)] += found[0]
            if own:
                slopes += found[1]
        pull_back(half, gradient)
        if own:
            pull_back(values, slopes)
        return total

    def nats(self, posterior: Posterior) -> torch.Tensor:
        """KL of every picture's free latents: (P,)."""
        return self.subject.by_picture(posterior.block_nats(self.subject.prior))

    def _natural(self, posterior, steps, caution, own: Fit | None = None):
        """Natural-gradient steps on the means: the closed-form sigma^2 is the inverse of the curvature. Scales stay.

        Returns the posterior, and the free energies before and after: (P,) nats each.
        """
        prior, before = self.subject.prior, self.nats(posterior)
        precision = torch.where(prior.coded, prior.scale, torch.inf) ** -2
        for step in range(steps):
            mean = posterior.mean.detach().requires_grad_()
            moving = own if own and step >= own.begin else None
            error = self.backward(posterior, mean, posterior.scale, moving)
            if moving:
                moving.step((step - own.begin) / (steps - own.begin))
            before = before if step else before + error
            share = caution * (self.rate * (1 - step / steps) + 0.02)
            gradient = mean.grad.addcmul_(posterior.mean - prior.mean, self._weight() * precision)
            moved = torch.addcmul(posterior.mean, posterior.scale**2, gradient, value=-share)
            moved = torch.where(posterior.free, reachable(moved, prior), posterior.mean)
            posterior = posterior.moved(moved, posterior.scale)
            self._control(step, posterior)
        return posterior, before, error + self.nats(posterior)

    def _adam(self, start, steps, caution):
        """Adam on means and log scales, in units of the prior's `posterior_scale`. Returns what `_natural` does."""
        prior, rate, posterior = self.subject.prior, caution * self.rate, start
        before = self.nats(start)
        offset = torch.zeros_like(start.mean).requires_grad_()
        widen = torch.zeros_like(start.mean).requires_grad_()
        optimizer = torch.optim.Adam([offset, widen], rate, betas=(0.9, 0.98))

        def here():
            mean = start.mean + torch.where(start.free, offset * prior.posterior_scale, 0.0)
            return mean, torch.where(start.free, start.scale * torch.exp(widen), start.scale)

        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 - step / steps) + 0.02 * rate
            optimizer.zero_grad()
            mean, scale = here()
            nats = torch.where(start.free, kl_nats(mean, torch.where(start.free, scale, 1.0), prior), 0.0)
            (self._weight() * nats).sum().backward(retain_graph=True)
            error = self.backward(start, mean, scale)
            before = before if step else before + error
            optimizer.step()
            self._control(step, start.moved(mean.detach(), scale.detach()))
        with torch.no_grad():
            posterior = start.moved(*here())
        return posterior, before, error + self.nats(posterior)

    def _weight(self):
        """beta_g / beta of every latent."""
        return self.budget.weights() if self.budget else 1.0

    @torch.no_grad()
    def _control(self, step, posterior):
        """Move the groups' betas every few steps, where the prior asks for budgets."""
        if self.budget and step % 5 == 4:
            self.budget.control(posterior.nats(self.subject.prior))
