"""The encoder: choose operating points and classes, fit all posteriors, code them group by group and refine.

Needs torch. Everything is batched: pictures of one size are fitted together, and all blocks of all of them share their
candidates. Shapes: P pictures of H x W pixels (whole tiles), Rt x Ct tiles, B blocks with D latents each. Grey pictures
have one channel: their target in all three of the network's channels, of which the decoder shows the mean.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from . import candidates, classmap
from .bitstream import INDEX_BITS
from .coder import Block, Chain, Ratio, choose, gumbels, stream_bits
from .errors import FormatError
from .fitted import Fitted
from .image import to_uint8
from .inr import blocks_of, counts, field, network, support
from .posterior import (
    REACH,
    Gaussians,
    TorchOps,
    as_tensor,
    closed_form,
    coarse_prior,
    decompose,
    distortion,
    kl,
    reachable,
    shared_weights,
    tiles_of,
)
from .prior import Level, Prior, scale_of

PIXELS = 2**18  # pixels of pictures fitted together, and of a strip that the network computes at once
AHEAD = 3  # index widths that the coder looks beyond a segment
CACHE = 2**19  # scores of one Viterbi step that stay in a processor's cache, in elements
ROWS = 1024  # tiles whose class costs are computed at once
OUTLIERS = 64  # latents of a tile that may lie further out than candidates reach
CAUTION = (1, 1 / 4, 1 / 16)  # step sizes of a fit and of its repetitions, should it diverge


@dataclass(frozen=True)
class Effort:
    """What `--effort` buys."""

    steps: float  # posterior steps, as a share of the prior's own number
    segments: int  # parts of the stream between which the rest is refined
    refine: float  # refinement steps after each segment, as a share of the prior's own number
    index_bits: int  # more or less than the prior's own index width: candidates per group
    trials: int  # operating points coded to the end for a picture, of which the best is kept


EFFORTS = {
    "fast": Effort(steps=0.5, segments=1, refine=0.0, index_bits=-2, trials=1),
    "normal": Effort(steps=1.0, segments=4, refine=0.5, index_bits=0, trials=1),
    "best": Effort(steps=3.0, segments=6, refine=2.0, index_bits=2, trials=3),
}


@dataclass(frozen=True)
class Coded:
    """The parts of one picture's file, and what they cost and show."""

    point: int
    classes: np.ndarray  # (Rt, Ct)
    streams: list[np.ndarray]  # B arrays of 0 and 1
    ideal_bits: float  # KL of the fitted posterior, in bits
    sampled: np.ndarray  # (H, W) or (H, W, 3) uint8, one posterior sample
    pixels: np.ndarray  # (H, W) or (H, W, 3) uint8, what the decoder should show
    index_bits: int
    fit_seconds: float  # its share of the time until the posterior was fitted
    fitted: Fitted | None  # that posterior, where it was asked for


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
    A*), `keep_posterior` returns the fitted posteriors too.
    """

    prior: Prior
    beta: float
    seed: int = 0
    effort: str | Effort = "normal"
    device: str = "auto"
    temperature: float = 0.0
    point: int | None = None  # operating point, instead of choosing by beta
    keep_posterior: bool = False

    def __post_init__(self):
        self.plan = EFFORTS[self.effort] if isinstance(self.effort, str) else self.effort
        self.on = resolve_device(self.device)
        self.architecture = self.prior.architecture
        self.steps = self.prior.metadata["steps"]
        level = self.prior.level(0)
        wanted = level.index_bits + self.plan.index_bits if level.chained else level.index_bits
        fitting = [bits for bits in INDEX_BITS if bits >= level.group_bits]
        self.index_bits = max((bits for bits in fitting if bits <= wanted), default=fitting[0])
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    @property
    def trials(self) -> int:
        """How many operating points of the ranking are coded to the end."""
        return min(self.plan.trials, len(self.candidate_points))

    @property
    def candidate_points(self) -> list[int]:
        return list(range(len(self.prior.betas))) if self.point is None else [self.point]

    def run(self, pictures, shape, points, progress, classes=None) -> list[Coded]:
        """Code (P, H, W, 1 or 3) float pictures at points (P,); `shape` counts their first rows and columns.

        classes: (Rt, Ct) of every picture, chosen by beta if None.
        """
        coded = [None] * len(pictures)
        together = max(1, PIXELS // pictures[0, :, :, 0].numel())
        done = 0
        for point in np.unique(points):
            members = np.flatnonzero(points == point)
            for part in np.split(members, range(together, len(members), together)):
                given = None if classes is None else np.stack([classes[i] for i in part])
                batch = Batch(self, int(point), pictures[part], shape, given)
                share = between(progress, done / len(pictures), (done + len(part)) / len(pictures))
                for i, result in zip(part, batch.code(share), strict=True):
                    coded[i] = result
                done += len(part)
        return coded

    def rank_points(self, pictures) -> np.ndarray:
        """Operating points of every picture, best first: (P, H, W, 1 or 3) -> (P, trials). See `total_cost`.

        Downhill from the points learned for betas around this one, until a point's neighbours are no better.
        """
        points, beyond = self.candidate_points, max(1, self.trials - 1)
        totals = np.full((len(pictures), len(points)), np.inf)
        unknown = np.full(totals.shape, True)
        away = np.abs(np.log(self.prior.betas)[points] - np.log(self.beta))
        centre = np.full(len(pictures), away.argmin())
        while len(points) > 1:
            near = np.abs(np.arange(len(points)) - centre[:, None]) <= beyond
            for i in np.flatnonzero((near & unknown).any(0)):
                some = np.flatnonzero(near[:, i] & unknown[:, i])
                totals[some, i] = self.total_cost(self.level(points[i], pictures), pictures[some])
            unknown &= ~near
            best = totals.argmin(1)
            if (best == centre).all():
                break
            centre = best
        return np.array(points)[totals.argsort(1)[:, : self.trials]]

    def total_cost(self, level: Level, pictures) -> np.ndarray:
        """Lagrangian of (P, H, W, 1 or 3) pictures: (P,). A latent above the tiles leaves an error of half a nat."""
        architecture = self.architecture
        above = np.count_nonzero(level.block_kl(architecture, architecture.no_tiles))
        above = level.beta * above / 2 + self.beta * np.log(2) * level.least_bits(architecture)
        blocks = np.prod(counts(pictures.shape[2], pictures.shape[1], architecture.block))
        return self.tile_costs(level, pictures).min(-1).sum((1, 2)) + blocks * above

    def level(self, point: int, pictures) -> Level:
        """An operating point for (P, H, W, 1 or 3) pictures."""
        return self.prior.level(point, grey=pictures.shape[-1] == 1)

    def choose_classes(self, level: Level, pictures) -> np.ndarray:
        """Classes of the tiles of (P, H, W, 1 or 3) pictures: (P, Rt, Ct)."""
        costs = self.tile_costs(level, pictures)
        if level.contexts is None:
            return costs.argmin(-1)
        bits = costs / (self.beta * np.log(2))
        return np.stack([classmap.choose(one, level.contexts) for one in bits]).astype(np.int64)

    def tile_costs(self, level: Level, pictures) -> np.ndarray:
        """Lagrangian distortion + beta ln 2 bits of all tiles of (P, H, W, 1 or 3) pictures: (P, Rt, Ct, K)."""
        return self.tile_errors(level, pictures) + (self.beta * tile_nats(level)).astype(np.float32)

    def tile_errors(self, level: Level, pictures) -> np.ndarray:
        """`class_errors` of all tiles of (P, H, W, 1 or 3) pictures: (P, Rt, Ct, K)."""
        shape = (len(pictures), *(size // self.architecture.tile for size in pictures.shape[1:3]))
        if level.classes == 1:
            return np.zeros((*shape, 1), np.float32)
        own, above = level.kl.shape[1], coarse_prior(level, "cpu")
        mean = torch.from_numpy(level.mean[:own])
        shared, parts = shared_weights(level, "cpu"), []
        for some in pictures.split(max(1, ROWS // (shape[1] * shape[2]))):
            latents = decompose(self.architecture, shared, some, above)
            tiles = tiles_of(self.architecture, latents)[:, : shape[1], : shape[2]].reshape(-1, own)
            parts += [self.class_errors(level, part - mean) for part in tiles.split(ROWS)]
        return np.concatenate(parts).reshape(*shape, -1)

    def class_errors(self, level: Level, deviation) -> np.ndarray:
        """Distortion D of coding each tile with each class, for the linear part, as far as classes differ in it.

        (T, latents of a tile) less the prior's mean -> (T, K). With the level's own beta and a code that spends what
        the posterior wants, D / beta + nats is -log of the marginal likelihood. Ours spends a fixed number of bits:
        where the KL exceeds it by y n / (2 ln 2) bits, the distortion of the n coded latents (n / 2 nats) grows by e^y.
        And no candidate lies much further out than REACH prior scales: what is beyond stays as error.
        """
        noise2 = torch.from_numpy(level.noise[: level.kl.shape[1]]).double() ** 2
        deviation = deviation * (noise2 / (1.5 * level.beta)).sqrt()  # what the network damps has to be larger
        scale2 = torch.from_numpy(level.scale).double() ** 2
        energy, marginal = deviation**2, scale2 + noise2
        log_ratio = torch.log(marginal / noise2)
        nats = 0.5 * log_ratio.sum(1) + 0.5 * energy @ (1 / marginal).T
        spent = 0.5 * (log_ratio - scale2 / marginal).sum(1) + 0.5 * energy @ (scale2 / marginal**2).T
        payload = np.log(2) * torch.from_numpy(level.tile_bits)
        coded = (scale2 > 0.4 * noise2).sum(1).clamp(min=1)
        surplus = (2 * (spent - payload) / coded).clamp(-3, 20)
        nats = nats + 0.5 * coded * (torch.exp(surplus) - 1 - surplus)
        far = torch.topk(deviation.abs() / noise2.sqrt(), min(OUTLIERS, len(noise2))).indices  # (T, n)
        scale, noise = torch.from_numpy(level.scale).T[far], noise2.sqrt().float()[far]  # (T, n, K), (T, n)
        beyond = (deviation.gather(1, far).abs().float()[..., None] - REACH * scale).clamp(min=0)
        beyond = torch.where(scale > noise[..., None], beyond / noise[..., None], 0.0) ** 2
        nats = nats + 0.5 * beyond.sum(1)
        return (level.beta * (nats - payload)).float().numpy()


def tile_nats(level: Level) -> np.ndarray:
    """What a tile of each class costs, class number included where it has no context: (K,) nats."""
    return np.log(2) * (level.tile_bits + (level.class_bits if level.contexts is None else 0))


def between(progress: Callable[[float], None], low: float, high: float) -> Callable[[float], None]:
    """Progress of a part of the work, that from share `low` to share `high` of the whole."""
    return lambda share: progress(low + (high - low) * share)


def as_pixels(pictures: np.ndarray) -> torch.Tensor:
    """uint8 (P, H, W) or (P, H, W, 3) to float32 in [0, 1], (P, H, W, 1 or 3)."""
    return torch.from_numpy(pictures.reshape(*pictures.shape[:3], -1)).float() / 255


class Batch:
    """Pictures of one size and operating point."""

    def __init__(self, fit: Fit, point: int, pictures, shape, classes=None):
        self.started = time.perf_counter()
        self.fit, self.point, self.shape = fit, point, shape
        self.level, self.architecture = fit.level(point, pictures), fit.architecture
        self.classes = classes = fit.choose_classes(self.level, pictures) if classes is None else classes
        self.target = pictures.to(fit.on)
        self.inside = torch.zeros(self.target.shape[1:3], device=fit.on)
        self.inside[: shape[0], : shape[1]] = 1
        self.class_map = as_tensor(classes, fit.on)
        self.shared = shared_weights(self.level, fit.on)
        blocks = blocks_of(classes, self.architecture)
        self.grid, columns = blocks.shape[:3], self.architecture.columns
        self.kl = self.level.block_kl(self.architecture, blocks.reshape(-1, *blocks.shape[3:]))  # (B, D)
        self.partition = self.level.partition(self.kl)
        scale = scale_of(self.kl, self.level.noise[columns])
        scale[self.partition.counts == 0] = 0
        tables = (self.level.mean[columns], scale, self.level.noise[columns])
        self.prior = Gaussians(*(as_tensor(table, fit.on) for table in tables))
        self.generator = torch.Generator().manual_seed(fit.seed)

    def code(self, progress) -> list[Coded]:
        """Fit, then code and refine segment by segment."""
        fit, plan = self.fit, self.fit.plan
        self.start()
        self.optimise(round(fit.steps * plan.steps))
        progress(0.2)
        bits, sampled = self.ideal_bits(), self.sample()
        fit_seconds = (time.perf_counter() - self.started) / len(sampled)
        fitted = self.fitted() if fit.keep_posterior else [None] * len(sampled)
        runs = self.runs()
        for segment in range(plan.segments):
            self.code_segment(runs, segment)
            progress(0.2 + 0.8 * (segment + 1) / plan.segments)
            if segment + 1 < plan.segments:
                self.optimise(round(fit.steps * plan.refine))
        streams = [np.zeros(0, np.uint8)] * len(self.kl)
        for run in runs:
            for block, stream in run.streams():
                streams[block] = stream
        each = self.grid[1] * self.grid[2]
        own = [streams[each * i : each * (i + 1)] for i in range(len(sampled))]
        parts = zip(self.classes, own, bits.tolist(), sampled, self.pixels(self.mu), fitted, strict=True)
        return [Coded(self.point, *part, fit.index_bits, fit_seconds, posterior) for *part, posterior in parts]

    def fitted(self) -> list[Fitted]:
        """The posterior of every picture."""
        tables = (self.mu, self.sigma, self.prior.mean.expand_as(self.mu), self.prior.scale)
        arrays = [np.split(table.cpu().numpy().copy(), self.grid[0]) for table in tables]
        return [Fitted(*parts) for parts in zip(*arrays, strict=True)]

    def runs(self) -> list["Run"]:
        """Blocks in order of falling length, a few at a time."""
        order = np.argsort(-self.partition.counts, kind="stable")
        order = order[: np.count_nonzero(self.partition.counts)]
        most = max(1, (CACHE if self.fit.on.type == "cpu" else 64 * CACHE) >> self.fit.index_bits)
        return [Run(self, part) for part in np.split(order, range(most, len(order), most))] if len(order) else []

    def code_segment(self, runs, segment):
        """Code one part of every stream, group by group: all blocks share the candidates of a group number."""
        spans = [run.begin(segment, self.fit.plan.segments) for run in runs]
        for g in range(min((s.start for s in spans), default=0), max((s.stop for s in spans), default=0)):
            active = [run for run, span in zip(runs, spans, strict=True) if g in span]
            if active:
                dims = max(run.dims(g) for run in active)
                eps = candidates.candidates(self.fit.seed, g, 1 << self.fit.index_bits, dims)
                block = Block.of(as_tensor(eps, self.fit.on))
                for run in active:
                    run.push(g, block)
        for run in runs:
            run.end()

    def start(self):
        """Initial posterior: closed form of the linear part where there is one, else the prior's mean and scale."""
        if self.architecture.features == "cosine":
            above = coarse_prior(self.level, self.fit.on)
            pulled = decompose(self.architecture, self.shared, self.target, above)
            mu, self.sigma = closed_form(pulled.reshape(len(self.kl), -1), self.prior)
            self.mu = reachable(mu, self.prior)
        else:
            self.mu = self.prior.mean.expand(len(self.kl), -1).clone()
            self.sigma = torch.where(self.prior.coded, self.prior.noise, 0.0)
        self.free = self.prior.coded.clone()
        self.budget = Budget(self) if self.fit.prior.metadata["budget_groups"] else None

    def optimise(self, steps: int):
        """Move the posteriors of latents that are not yet coded down the free energy.

        Pictures whose fit diverges are fitted again with smaller steps. Raises FormatError if that does not help.
        """
        if not steps:
            return
        move = self._adam if self.fit.prior.metadata["fit_scale"] else self._natural
        start = result = self.mu, self.sigma
        todo = torch.ones(len(self.mu), 1, dtype=torch.bool, device=self.mu.device)  # blocks
        for caution in CAUTION:
            self.mu, self.sigma = start
            diverged = self.diverged(*move(steps, caution))
            result = tuple(torch.where(todo, *pair) for pair in zip((self.mu, self.sigma), result, strict=True))
            todo = todo & diverged.repeat_interleave(len(todo) // len(diverged))[:, None]
            if not todo.any():
                self.mu, self.sigma = result
                return
        raise FormatError(
            f"the fit diverged: prior {self.fit.prior.name} does not suit the picture or is damaged; try another --beta"
        )

    def diverged(self, first, last) -> torch.Tensor:
        """Which pictures' free energies are not finite or grew, noise aside, from first to last: (P,) nats -> (P,)."""
        noise = self.free.sum(1).reshape(len(first), -1).sum(1)  # about one nat of each latent
        return ~(last <= 2 * first + noise)

    def render(self, latents) -> torch.Tensor:
        """Field of (B, D) latents: (P, H, W, C)."""
        return field(self.architecture, latents.reshape(*self.grid, -1), self.classes.shape[1:], TorchOps)

    def strips(self):
        """Rows that the network computes at once."""
        height = self.target.shape[1]
        rows = max(self.architecture.tile, PIXELS * height // self.target[..., 0].numel())
        return [(first, min(first + rows, height)) for first in range(0, height, rows)]

    def network(self, x, rows):
        """The network's output like the decoder's before rounding: (P, H, W, C) -> (P, H, W, 1 or 3)."""
        x = x[:, slice(*support(self.architecture, rows, x.shape[1]))]
        out = network(self.architecture, x, self.shared, self.class_map, TorchOps, rows)
        return out.mean(-1, keepdim=True) if self.target.shape[-1] == 1 else out

    def backward(self, mu, sigma) -> torch.Tensor:
        """Gradients of distortion / level.beta of one sample, in nats, into the leaves among mu and sigma.

        Returns that distortion: (P,).
        """
        eps = torch.randn(mu.shape, generator=self.generator).to(mu.device)
        x = self.render(mu + torch.where(self.free, sigma * eps, 0.0))
        leaf, total = x.detach().requires_grad_(), torch.zeros(len(x), device=x.device)
        for first, end in self.strips():
            error = distortion(self.network(leaf, (first, end)), self.target[:, first:end]) * self.inside[first:end]
            nats = error.sum((1, 2)) / self.level.beta
            nats.sum().backward()
            total += nats.detach()
        x.backward(leaf.grad)
        return total

    def _natural(self, steps, caution):
        """Natural-gradient steps on the means: the closed-form sigma^2 is the inverse of the curvature. Scales stay.

        Returns the free energies before and after: (P,) nats each.
        """
        rate, before = self.fit.prior.metadata["rate"], self.picture_nats()
        safe = torch.where(self.prior.coded, self.prior.scale, 1.0)
        for step in range(steps):
            mu = self.mu.detach().requires_grad_()
            error = self.backward(mu, self.sigma)
            before = before if step else before + error
            weight = self.budget.weights() if self.budget else 1.0
            share = caution * (rate * (1 - step / steps) + 0.02)
            gradient = mu.grad + weight * (self.mu - self.prior.mean) / safe**2
            moved = reachable(self.mu - share * self.sigma**2 * gradient, self.prior)
            self.mu = torch.where(self.free, moved, self.mu)
            self.control(step)
        return before, error + self.picture_nats()

    def _adam(self, steps, caution):
        """Adam on means and log scales, in units of the prior's `noise`. Returns what `_natural` does."""
        unit, rate = self.prior.noise, caution * self.fit.prior.metadata["rate"]
        before = self.picture_nats()
        offset = torch.zeros_like(self.mu).requires_grad_()
        widen = torch.zeros_like(self.mu).requires_grad_()
        optimizer = torch.optim.Adam([offset, widen], rate, betas=(0.9, 0.98))
        start = self.mu, self.sigma
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 - step / steps) + 0.02 * rate
            optimizer.zero_grad()
            mu = start[0] + torch.where(self.free, offset * unit, 0.0)
            sigma = torch.where(self.free, start[1] * torch.exp(widen), start[1])
            weight = self.budget.weights() if self.budget else 1.0
            nats = torch.where(self.free, kl(mu, torch.where(self.free, sigma, 1.0), self.prior), 0.0)
            (weight * nats).sum().backward(retain_graph=True)
            error = self.backward(mu, sigma)
            before = before if step else before + error
            optimizer.step()
            self.mu, self.sigma = mu.detach(), sigma.detach()
            self.control(step)
        with torch.no_grad():
            self.mu = start[0] + torch.where(self.free, offset * unit, 0.0)
            self.sigma = torch.where(self.free, start[1] * torch.exp(widen), start[1])
        return before, error + self.picture_nats()

    @torch.no_grad()
    def control(self, step):
        """Move the groups' betas every few steps, where the prior asks for budgets."""
        if self.budget and step % 5 == 4:
            self.budget.control(self.nats())

    def nats(self):
        """KL of every latent that is not yet coded: (B, D)."""
        return torch.where(self.free, kl(self.mu, torch.where(self.free, self.sigma, 1.0), self.prior), 0.0)

    def picture_nats(self):
        """The same of every picture: (P,)."""
        return self.nats().sum(1).reshape(self.grid[0], -1).sum(1)

    @torch.no_grad()
    def ideal_bits(self):
        """KL of the fitted posterior and bits of the classes, of each picture: (P,)."""
        return (self.picture_nats() / np.log(2)).cpu().numpy() + [class_bits(one, self.level) for one in self.classes]

    @torch.no_grad()
    def sample(self) -> np.ndarray:
        """A sample of the posterior as pictures."""
        eps = torch.randn(self.mu.shape, generator=self.generator).to(self.mu.device)
        return self.pixels(self.mu + self.sigma * eps)

    @torch.no_grad()
    def pixels(self, latents) -> np.ndarray:
        """Pictures of (B, D) latents: (P, H, W) or (P, H, W, 3) uint8."""
        x = self.render(latents)
        strips = [to_uint8(self.network(x, rows).cpu().numpy()) for rows in self.strips()]
        pictures = np.concatenate(strips, 1)[:, : self.shape[0], : self.shape[1]]
        return pictures[..., 0] if pictures.shape[-1] == 1 else pictures


def class_bits(classes: np.ndarray, level: Level) -> float:
    """What a class map costs: (Rt, Ct)."""
    if level.contexts is None:
        return float(level.class_bits * classes.size)
    return float(classmap.bits(classes.astype(np.uint8), level.contexts).sum())


class Budget:
    """Per-group beta control (COMBINER, section 3.3): runs of groups have their own beta_g, moved until their KL ends
    just below their bits.
    """

    FACTOR = 1.05

    def __init__(self, batch: Batch):
        size, parts = batch.fit.prior.metadata["budget_groups"], batch.partition
        runs = 2 + int(parts.counts.max(initial=0)) // size
        number = np.arange(len(parts.dims)) - np.repeat(parts.groups[:-1], parts.counts)  # of a group in its block
        owner = np.repeat(np.arange(len(parts.counts)), parts.counts)
        run = number // size + 1  # run 0: latents that are not coded
        table = np.zeros(batch.kl.shape, np.int64)
        table[np.repeat(owner, parts.dims), parts.latents] = np.repeat(run, parts.dims)
        allowed = np.zeros((len(parts.counts), runs), np.float32)
        np.add.at(allowed, (owner, run), np.log(2) * batch.level.group_bits)
        self.run, self.allowed = as_tensor(table, batch.mu.device), as_tensor(allowed, batch.mu.device)
        self.factor = torch.ones_like(self.allowed)  # beta_g / beta

    def weights(self):
        """beta_g / beta of every latent: (B, D)."""
        return self.factor.gather(1, self.run)

    def control(self, nats):
        spent = torch.zeros_like(self.factor).scatter_add(1, self.run, nats)
        self.factor.mul_(torch.where(spent > self.allowed, self.FACTOR, 1 / self.FACTOR)).clamp_(0.05, 20)


class Run:
    """The streams of a few blocks of about the same length, coded together."""

    def __init__(self, batch: Batch, blocks: np.ndarray):
        self.batch, self.blocks, fit, parts = batch, blocks, batch.fit, batch.partition
        self.counts = parts.counts[blocks]
        lengths = np.diff(parts.blocks)[blocks]
        self.used = np.arange(lengths.max()) < lengths[:, None]  # (n, M)
        self.latents = np.zeros(self.used.shape, np.int64)
        self.starts = np.zeros((len(blocks), self.counts[0] + 1), np.int64)  # first latent of every group
        self.starts[:] = lengths[:, None]
        for row, block in enumerate(blocks):
            self.latents[row, : lengths[row]] = parts.latents[parts.blocks[block] : parts.blocks[block + 1]]
            dims = parts.dims[parts.groups[block] : parts.groups[block + 1]]
            self.starts[row, : len(dims) + 1] = np.cumsum(np.concatenate([[0], dims]))
        number = blocks % (batch.grid[1] * batch.grid[2])  # of a block in its picture
        signs = np.take_along_axis(candidates.signs(fit.seed, number, batch.kl.shape[1]), self.latents, 1)
        self.number, self.signs = number, as_tensor(signs, fit.on).double()
        self.where = as_tensor(blocks[:, None], fit.on), as_tensor(self.latents, fit.on)
        self.scale = batch.prior.scale[self.where].double()
        self.mean = batch.prior.mean[self.where[1]].double()
        self.chain = Chain(fit.index_bits, batch.level.group_bits, len(blocks), fit.on)
        self.indices = np.zeros((len(blocks), self.counts[0]), np.int64)

    def active(self, g: int) -> int:
        """Blocks that have a group g: the first ones."""
        return int(np.count_nonzero(self.counts > g))

    def dims(self, g: int) -> int:
        """Latents of the largest group g."""
        return int((self.starts[:, g + 1] - self.starts[:, g]).max())

    def begin(self, segment: int, segments: int) -> range:
        """Groups to push for one of `segments` equal parts of the stream, some groups of look-ahead included."""
        batch, longest = self.batch, int(self.counts[0])
        self.first, self.last = (-(-longest * s // segments) for s in (segment, segment + 1))
        if self.first >= self.last:
            return range(0)
        sigma, used = batch.sigma[self.where].double(), as_tensor(self.used, batch.fit.on)
        shift = self.signs * (batch.mu[self.where].double() - self.mean)
        # a column of latents that do not count fills short groups; coded latents are not looked at again
        live = used & (sigma > 0)
        ratio = torch.where(live, self.scale / torch.where(live, sigma, 1.0), 1.0)
        centre = torch.where(live, shift / torch.where(live, self.scale, 1.0), 0.0)
        pad = torch.nn.functional.pad
        self.ratio = Ratio(pad(ratio, (0, 1), value=1.0), pad(centre, (0, 1)))
        ahead = AHEAD * batch.fit.index_bits // batch.level.group_bits if batch.level.chained else 0
        return range(self.first, min(self.last + ahead, longest))

    def push(self, g: int, block: Block) -> None:
        """Code group g, or take it into the trellis."""
        n, dims = self.active(g), self.dims(g)
        first, end = self.starts[:n, g, None], self.starts[:n, g + 1, None]
        places = first + np.arange(dims)
        places = as_tensor(np.where(places < end, places, self.used.shape[1]), self.batch.fit.on)
        scores = Ratio(self.ratio.ratio[:n].gather(1, places), self.ratio.centre[:n].gather(1, places))
        noise = self._noise(g, n, block.eps.shape[1])
        if self.batch.level.chained:
            self.chain.push(scores, block.first(dims), noise)
        else:
            self.indices[:n, g] = choose(scores, block.first(dims), noise).cpu()

    def end(self):
        """Fix the indices of the segment, and with them its latents."""
        if self.first < self.last:
            if self.batch.level.chained:
                self.indices[:, self.first : self.last] = self.chain.finish(self.last - self.first).cpu().numpy()
            self._fix()

    def _noise(self, g, n, count):
        fit = self.batch.fit
        if not fit.temperature:
            return None
        noise = np.stack([gumbels(fit.seed, int(number), g, count) for number in self.number[:n]])
        return as_tensor(fit.temperature * noise.astype(np.float32), fit.on)

    def _fix(self):
        """Latents of coded groups are their candidates from now on."""
        batch, groups = self.batch, np.arange(self.first, self.last)
        row, group = np.nonzero(groups < self.counts[:, None])
        group = group + self.first
        dims = self.starts[row, group + 1] - self.starts[row, group]
        eps = candidates.candidates_at(batch.fit.seed, group, self.indices[row, group], dims)
        place = np.arange(self.used.shape[1])
        coded = (place >= self.starts[:, self.first, None]) & (place < self.starts[:, self.last, None])
        row, place = (as_tensor(a, batch.fit.on) for a in np.nonzero(coded))
        scale, signs, mean = (x[row, place] for x in (self.scale, self.signs, self.mean))
        where = self.where[0][row, 0], self.where[1][row, place]
        batch.mu[where] = (mean + scale * signs * as_tensor(eps, batch.fit.on)).float()
        batch.sigma[where] = 0.0
        batch.free[where] = False

    def streams(self):
        """Bits of every block's stream."""
        for block, row, count in zip(self.blocks, self.indices, self.counts, strict=True):
            yield block, stream_bits(row[:count], self.batch.level.group_bits)
