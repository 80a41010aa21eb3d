"""The encoder: choose operating points and classes, fit all tiles' posteriors, code them group by group and refine.

Needs torch. Everything is batched: tiles of many pictures are fitted together, and tiles of one class share their
candidates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from . import candidates
from .bitstream import INDEX_BITS
from .coder import Block, Chain, Ratio, choose, gumbels, stream_bits
from .errors import FormatError
from .image import to_uint8
from .inr import forward
from .posterior import (
    Gaussians,
    TorchOps,
    analyse,
    as_tensor,
    closed_form,
    distortion,
    kl,
    shared_weights,
)
from .prior import Level, Prior

BATCH = 256  # tiles fitted at once
REACH = 3.5  # prior scales that candidates reach
AHEAD = 3  # index widths that the coder looks beyond a segment
CACHE = 2**19  # scores of one Viterbi step that stay in the cache, in elements


@dataclass(frozen=True)
class Effort:
    """What `--effort` buys."""

    steps: float  # posterior steps, as a share of the prior's own number
    segments: int  # parts of the stream between which the rest is refined
    refine: float  # refinement steps after each segment, as a share of the prior's own number
    index_bits: int  # more or less than the prior's own index width: candidates per group
    trials: int  # operating points coded to the end for a picture, of which the best is kept


EFFORTS = {
    "fast": Effort(steps=0.5, segments=1, refine=0.0, index_bits=-4, trials=1),
    "normal": Effort(steps=1.0, segments=4, refine=1.0, index_bits=0, trials=1),
    "best": Effort(steps=3.0, segments=6, refine=2.0, index_bits=2, trials=3),
}


@dataclass
class Coded:
    """All tiles of a batch of pictures."""

    points: np.ndarray  # (pictures,) operating point
    points_of_tiles: np.ndarray  # (T,)
    classes: np.ndarray  # (T,)
    bits: list[np.ndarray]  # T arrays of 0 and 1
    ideal_bits: np.ndarray  # (T,) KL of the fitted posterior, in bits
    sampled: np.ndarray  # (T, H, W, 3) uint8, one posterior sample
    index_bits: int


def resolve_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda`; CUDA that is asked for and absent is an error."""
    if name == "cuda" and not torch.cuda.is_available():
        raise FormatError("--device cuda: this torch sees no CUDA device; use --device cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def use_threads(count: int) -> None:
    """Limit torch to some processor threads; 0 leaves its choice."""
    if count:
        torch.set_num_threads(count)


@dataclass
class Fit:
    """One encoding run with one prior: `beta` is squared error per nat, `temperature` the weight of the Gumbels (1 is
    A*).
    """

    prior: Prior
    beta: float
    seed: int = 0
    effort: str | Effort = "normal"
    device: str = "auto"
    temperature: float = 0.0
    point: int | None = None  # operating point, instead of choosing by beta
    progress: Callable[[float], None] = lambda share: None

    def __post_init__(self):
        self.plan = EFFORTS[self.effort] if isinstance(self.effort, str) else self.effort
        self.on = resolve_device(self.device)
        self.architecture = self.prior.architecture
        self.steps = self.prior.metadata["steps"]
        own = self.prior.level(0).index_bits
        wanted = own + self.plan.index_bits if self.prior.level(0).chained else own
        self.index_bits = min(max(wanted, INDEX_BITS[0]), INDEX_BITS[-1])
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    @property
    def trials(self) -> int:
        """How many operating points of the ranking are coded to the end."""
        return min(self.plan.trials, len(self.candidate_points))

    @property
    def candidate_points(self) -> list[int]:
        return list(range(len(self.prior.betas))) if self.point is None else [self.point]

    def run(self, tiles, owner, number, points, classes, trial=0) -> Coded:
        """Code (T, H, W, 3) uint8 tiles of pictures `owner` (T,), each tile `number` (T,) of its picture.

        points: (pictures,) operating point; classes: (T, all points) from `rank_points`; trial: for progress alone.
        """
        coded = Coded(
            points,
            points[owner],
            classes[np.arange(len(tiles)), points[owner]],
            [None] * len(tiles),
            np.zeros(len(tiles)),
            np.zeros_like(tiles),
            self.index_bits,
        )
        done = 0
        for point in np.unique(coded.points_of_tiles):
            members = np.flatnonzero(coded.points_of_tiles == point)
            members = members[np.argsort(coded.classes[members], kind="stable")]
            for part in np.split(members, range(BATCH, len(members), BATCH)):
                batch = Batch(self, self.prior.level(int(point)), tiles[part], coded.classes[part], number[part])
                batch.code(coded, part, partial(self._report, trial, done / len(tiles), len(part) / len(tiles)))
                done += len(part)
        return coded

    def _report(self, trial, before, share, part):
        self.progress((trial + before + share * part) / self.trials)

    def rank_points(self, tiles, owner):
        """Operating points of every picture, best first, and class of every tile at every point.

        (T, H, W, 3), (T,) -> (pictures, candidate points), (T, all points). See `class_costs`.
        """
        count = len(self.prior.betas)
        classes = np.zeros((len(tiles), count), np.int64)
        costs = np.full((len(tiles), count), np.inf)
        for point in self.candidate_points:
            level = self.prior.level(point)
            for start in range(0, len(tiles), 1024):
                part = slice(start, start + 1024)
                each = self.class_costs(level, tiles[part])
                best = each.argmin(1)
                classes[part, point], costs[part, point] = best, each[np.arange(len(best)), best]
        totals = np.zeros((int(owner.max()) + 1, count))
        np.add.at(totals, owner, costs)
        return totals.argsort(1)[:, : len(self.candidate_points)], classes

    def class_costs(self, level: Level, tiles: np.ndarray) -> np.ndarray:
        """Lagrangian J = distortion + beta ln 2 bits of coding each tile with each class: (T, K), predicted for the
        linear part.

        With the level's own beta and a code that spends what the posterior wants, J / beta is -log of the marginal
        likelihood. Ours
        spends a fixed number of bits: where the KL exceeds it by y n / (2 ln 2) bits, the distortion of the n coded
        latents (n / 2 nats)
        grows by e^y. And no candidate lies much further out than REACH prior scales: what is beyond stays as error.
        """
        if len(level.kl) == 1 and len(self.prior.betas) == 1:
            return np.zeros((len(tiles), 1))
        pixels = as_tensor(tiles, "cpu").float() / 255
        deviation = analyse(self.architecture, shared_weights(level, "cpu"), pixels) - torch.from_numpy(level.mean)
        energy, noise2 = deviation.double() ** 2, torch.from_numpy(level.noise).double() ** 2
        scale2 = torch.from_numpy(level.scale).double() ** 2
        marginal = scale2 + noise2
        nats = 0.5 * torch.log(marginal / noise2).sum(1) + 0.5 * energy @ (1 / marginal).T
        spent = (
            0.5 * (torch.log(marginal / noise2) - scale2 / marginal).sum(1) + 0.5 * energy @ (scale2 / marginal**2).T
        )
        payload = np.log(2) * torch.from_numpy(level.bits)
        coded = (scale2 > 0.4 * noise2).sum(1).clamp(min=1)
        surplus = (2 * (spent - payload) / coded).clamp(-3, 20)
        nats = nats + 0.5 * coded * (torch.exp(surplus) - 1 - surplus)
        wide = torch.topk(
            (scale2 / noise2).amax(0), min(64, len(noise2))
        ).indices  # outliers matter where the prior is wide
        beyond = (deviation[:, None, wide].abs() - REACH * scale2[None, :, wide].sqrt()).clamp(min=0) ** 2
        nats = nats + (torch.where(scale2[:, wide] > noise2[wide], beyond, 0.0) / (2 * noise2[wide])).sum(2)
        return (level.beta * (nats - payload) + self.beta * (payload + np.log(2) * level.class_bits)).numpy()


class Batch:
    """Some tiles of one operating point, sorted by class."""

    def __init__(self, fit: Fit, level: Level, tiles: np.ndarray, classes: np.ndarray, numbers: np.ndarray):
        self.fit, self.level, self.numbers = fit, level, numbers
        self.architecture = fit.architecture
        self.classes = as_tensor(classes, fit.on)
        self.target = as_tensor(tiles, fit.on).float() / 255
        self.shared = shared_weights(level, fit.on)
        self.prior = Gaussians.of(level, self.classes)
        self.generator = torch.Generator().manual_seed(fit.seed)

    def code(self, coded, part, progress):
        """Fit, then code and refine segment by segment; results go to positions `part` of `coded`."""
        fit, plan = self.fit, self.fit.plan
        self.start()
        self.optimise(round(fit.steps * plan.steps))
        progress(0.2)
        self.record(coded, part)
        runs = [ClassRun(self, c) for c in np.unique(self.classes.cpu())]
        for segment in range(plan.segments):
            self.code_segment(runs, segment)
            progress(0.2 + 0.8 * (segment + 1) / plan.segments)
            if segment + 1 < plan.segments:
                self.optimise(round(fit.steps * plan.refine))
        for run in runs:
            for position, bits in zip(run.tiles, run.bits(), strict=True):
                coded.bits[part[position]] = bits

    def code_segment(self, runs, segment):
        """Code one part of every tile's stream, group by group: classes share the candidates of a group number."""
        spans = [run.begin(segment, self.fit.plan.segments) for run in runs]
        for g in range(min(s.start for s in spans), max(s.stop for s in spans)):
            blocks = {}
            for run, span in zip(runs, spans, strict=True):
                if g in span:
                    per = candidates.words_per_candidate(int(run.dims[g]))
                    if per not in blocks:
                        eps = candidates.candidates(self.fit.seed, g, 1 << self.fit.index_bits, 4 * per)
                        blocks[per] = Block.of(as_tensor(eps, self.fit.on))
                    run.push(g, blocks[per].first(int(run.dims[g])))
        for run in runs:
            run.end()

    def start(self):
        """Initial posterior: closed form of the linear part where there is one, else the prior's mean and typical
        scale.
        """
        if self.architecture.features == "cosine":
            pulled = analyse(self.architecture, self.shared, self.target)
            self.mu, self.sigma = closed_form(pulled, self.prior)
        else:
            self.mu = self.prior.mean.expand(len(self.target), -1).clone()
            self.sigma = torch.where(self.prior.coded, self.prior.noise, 0.0)
        self.free = self.prior.coded.clone()
        self.budget = Budget(self) if self.fit.prior.metadata["budget_groups"] else None

    def optimise(self, steps: int):
        """Move the posteriors of latents that are not yet coded down the free energy."""
        if self.fit.prior.metadata["fit_scale"]:
            self._adam(steps)
        else:
            self._natural(steps)

    def free_energy(self, mu, sigma):
        """Distortion / beta of one sample + KL weighted by beta_g / beta, in nats; and KL per latent (T, D)."""
        eps = torch.randn(mu.shape, generator=self.generator).to(mu.device)
        sample = mu + torch.where(self.free, sigma * eps, 0.0)
        pixels = forward(self.architecture, sample, self.shared, self.classes, TorchOps)
        nats = torch.where(self.free, kl(mu, torch.where(self.free, sigma, 1.0), self.prior), 0.0)
        weighted = nats * self.budget.weights() if self.budget else nats
        return distortion(pixels, self.target).sum() / self.level.beta + weighted.sum(), nats.detach()

    def _natural(self, steps):
        """Natural-gradient steps on the means: the closed-form sigma^2 is the inverse of the curvature. Scales stay."""
        rate = self.fit.prior.metadata["rate"]
        for step in range(steps):
            mu = self.mu.detach().requires_grad_()
            loss, nats = self.free_energy(mu, self.sigma)
            (gradient,) = torch.autograd.grad(loss, mu)
            share = rate * (1 - step / steps) + 0.02
            self.mu = self.mu - torch.where(self.free, share * self.sigma**2 * gradient, 0.0)
            self.control(step, nats)

    def _adam(self, steps):
        """Adam on means and log scales, in units of the prior's `noise`."""
        unit, rate = self.prior.noise, self.fit.prior.metadata["rate"]
        offset = torch.zeros_like(self.mu).requires_grad_()
        widen = torch.zeros_like(self.mu).requires_grad_()
        optimizer = torch.optim.Adam([offset, widen], rate, betas=(0.9, 0.98))
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 - step / steps) + 0.02 * rate
            mu = self.mu + torch.where(self.free, offset * unit, 0.0)
            loss, nats = self.free_energy(mu, self.sigma * torch.exp(widen))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            self.control(step, nats)
        with torch.no_grad():
            self.mu = self.mu + torch.where(self.free, offset * unit, 0.0)
            self.sigma = torch.where(self.free, self.sigma * torch.exp(widen), self.sigma)

    def control(self, step, nats):
        """Move the groups' betas every few steps, where the prior asks for budgets."""
        if self.budget and step % 5 == 4:
            self.budget.control(nats)

    @torch.no_grad()
    def record(self, coded, part):
        safe = torch.where(self.free, self.sigma, 1.0)
        coded.ideal_bits[part] = (kl(self.mu, safe, self.prior).sum(1) / np.log(2)).cpu() + self.level.class_bits
        eps = torch.randn(self.mu.shape, generator=self.generator).to(self.mu.device)
        pixels = forward(self.architecture, self.mu + self.sigma * eps, self.shared, self.classes, TorchOps)
        coded.sampled[part] = to_uint8(pixels.cpu().numpy())


class Budget:
    """Per-group beta control (COMBINER, section 3.3): each block of groups has its own beta_g, moved until its KL
    ends just below its bits.
    """

    FACTOR = 1.05

    def __init__(self, batch: Batch):
        size = batch.fit.prior.metadata["budget_groups"]
        tiles, latents = batch.mu.shape
        self.block = torch.zeros(tiles, latents, dtype=torch.int64)  # block 0: latents that are not coded
        partitions = {int(c): batch.level.partition(int(c)) for c in batch.classes.unique()}
        blocks = 2 + max(len(bits) for _, _, bits in partitions.values()) // size
        allowed = torch.zeros(tiles, blocks)
        for c, (coded, dims, bits) in partitions.items():
            rows = torch.nonzero(batch.classes.cpu() == c)
            block_of_group = torch.arange(len(bits)) // size + 1
            self.block[rows, torch.from_numpy(coded)[None]] = block_of_group.repeat_interleave(torch.from_numpy(dims))
            allowed[rows[:, 0]] = torch.zeros(blocks).index_add(0, block_of_group, torch.from_numpy(bits).float())
        self.block, self.allowed = self.block.to(batch.mu.device), (allowed * np.log(2)).to(batch.mu.device)
        self.factor = torch.ones_like(self.allowed)  # beta_g / beta

    def weights(self):
        """beta_g / beta of every latent: (T, D)."""
        return self.factor.gather(1, self.block)

    def control(self, nats):
        spent = torch.zeros_like(self.factor).scatter_add(1, self.block, nats)
        self.factor.mul_(torch.where(spent > self.allowed, self.FACTOR, 1 / self.FACTOR)).clamp_(0.05, 20)


class ClassRun:
    """The tiles of one class in a batch: one partition, one set of candidates."""

    def __init__(self, batch: Batch, c: int):
        self.batch, fit = batch, batch.fit
        self.tiles = np.flatnonzero(batch.classes.cpu() == c)
        self.rows = as_tensor(self.tiles, fit.on)
        self.latents, self.dims, self.widths = batch.level.partition(int(c))
        self.starts = np.cumsum(self.dims) - self.dims
        signs = candidates.signs(fit.seed, batch.numbers[self.tiles], fit.architecture.latents)
        self.signs = as_tensor(signs[:, self.latents], fit.on).double()
        self.columns = as_tensor(self.latents, fit.on)
        self.scale = as_tensor(batch.level.scale[c, self.latents], fit.on).double()
        self.mean = batch.prior.mean[self.columns].double()
        per = max(1, CACHE >> fit.index_bits)
        self.parts = torch.arange(len(self.tiles), device=fit.on).split(per)
        self.chains = [Chain(fit.index_bits, torch.zeros(len(p), dtype=torch.int64, device=fit.on)) for p in self.parts]
        self.indices = np.zeros((len(self.tiles), len(self.dims)), np.int64)

    def begin(self, segment: int, segments: int) -> range:
        """Groups to push for one of `segments` equal parts of the stream, some groups of look-ahead included."""
        ends = np.searchsorted(np.cumsum(self.widths), self.widths.sum() * np.arange(1, segments) / segments) + 1
        self.first, self.last = (int(e) for e in np.array([0, *ends, len(self.widths)])[[segment, segment + 1]])
        if self.first >= self.last:
            return range(0)
        batch, beyond = self.batch, self.last
        if batch.level.chained:
            beyond = min(self.last + AHEAD * batch.fit.index_bits // batch.level.group_bits, len(self.widths))
        sigma = batch.sigma[self.rows][:, self.columns].double()
        mu = batch.mu[self.rows][:, self.columns].double()
        self.ratio = Ratio(self.scale / sigma, self.signs * (mu - self.mean) / self.scale)
        return range(self.first, beyond)

    def push(self, g: int, block: Block) -> None:
        """Code group g, or take it into the trellis."""
        own = slice(self.starts[g], self.starts[g] + self.dims[g])
        for part, chain in zip(self.parts, self.chains, strict=True):
            scores = Ratio(self.ratio.ratio[part, own], self.ratio.centre[part, own])
            noise = self._noise(g, part, block.eps.shape[1])
            if self.batch.level.chained:
                chain.push(int(self.widths[g]), scores, block, noise)
            else:
                self.indices[part.cpu(), g] = choose(scores, block, noise).cpu()

    def end(self):
        """Fix the indices of the segment, and with them its latents."""
        if self.first >= self.last:
            return
        for part, chain in zip(self.parts, self.chains, strict=True):
            if chain.stages:  # independent groups have none
                self.indices[part.cpu(), self.first : self.last] = chain.finish(self.last - self.first).cpu().numpy()
        self._fix(range(self.first, self.last))

    def _noise(self, g, part, count):
        fit = self.batch.fit
        if not fit.temperature:
            return None
        tiles = self.batch.numbers[self.tiles[part.cpu().numpy()]]
        noise = np.stack([gumbels(fit.seed, int(t), g, count) for t in tiles])
        return as_tensor(fit.temperature * noise.astype(np.float32), fit.on)

    def _fix(self, groups):
        """Latents of coded groups are their candidates from now on."""
        own = np.arange(self.starts[groups[0]], self.starts[groups[-1]] + self.dims[groups[-1]])
        which = np.array(groups)
        n = len(self.tiles)
        eps = candidates.candidates_at(
            self.batch.fit.seed,
            np.tile(which, n),
            self.indices[:, which].reshape(-1),
            np.tile(self.dims[which], n),
        ).reshape(n, -1)
        value = self.mean[own] + self.scale[own] * self.signs[:, own] * as_tensor(eps, self.batch.fit.on)
        where = (self.rows[:, None], self.columns[own][None])
        self.batch.mu[where] = value.float()
        self.batch.sigma[where] = 0.0
        self.batch.free[where] = False

    def bits(self) -> list[np.ndarray]:
        return [stream_bits(row, self.widths) for row in self.indices]
