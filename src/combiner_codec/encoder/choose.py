"""Which operating point and which classes suit a picture, before anything is fitted. Needs torch.

Everything is judged by the linear part, whose posterior has a closed form. Shapes: P pictures of H x W pixels (whole
tiles), Rt x Ct tiles, T of them in all, K classes; grey pictures have one channel, others three.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..format import classmap
from ..format.prior import OperatingPoint, Prior
from ..synthesis.architecture import counts
from .analysis import decompose, tiles_of
from .posterior import REACH, coarse_prior, shared_weights, undamped

ROWS = 1024  # tiles whose class costs are computed at once
OUTLIERS = 64  # latents of a tile that may lie further out than candidates reach; most tiles have none
CODED = 0.4  # prior variance, in posterior variances, from which a latent counts as coded
SURPLUS = (-3.0, 20.0)  # logarithms of the distortion's growth that are told apart


@dataclass(frozen=True)
class Chooser:
    """Choices for one prior and one beta."""

    prior: Prior
    beta: float  # squared error, summed over pixels, per nat
    points: tuple[int, ...]  # operating points to choose from
    trials: int  # of them wanted for a picture

    def point(self, number: int, pictures) -> OperatingPoint:
        """An operating point for (P, H, W, 1 or 3) pictures."""
        return self.prior.operating_point(number, grey=pictures.shape[-1] == 1)

    def rank(self, pictures) -> np.ndarray:
        """Operating points of every picture, best first: (P, H, W, 1 or 3) -> (P, trials). See `total_cost`.

        Downhill from the points learned for betas around this one, until a point's neighbours are no better.
        """
        beyond = max(1, self.trials - 1)
        totals = np.full((len(pictures), len(self.points)), np.inf)
        unknown = np.full(totals.shape, True)
        away = np.abs(np.log(self.prior.betas)[list(self.points)] - np.log(self.beta))
        centre = np.full(len(pictures), away.argmin())
        while len(self.points) > 1:
            near = np.abs(np.arange(len(self.points)) - centre[:, None]) <= beyond
            for i in np.flatnonzero((near & unknown).any(0)):
                some = np.flatnonzero(near[:, i] & unknown[:, i])
                totals[some, i] = self.total_cost(self.point(self.points[i], pictures), pictures[some])
            unknown &= ~near
            best = totals.argmin(1)
            if (best == centre).all():
                break
            centre = best
        return np.array(self.points)[totals.argsort(1)[:, : self.trials]]

    def total_cost(self, point: OperatingPoint, pictures) -> np.ndarray:
        """Lagrangian of (P, H, W, 1 or 3) pictures: (P,). A latent above the tiles leaves an error of half a nat."""
        architecture = self.prior.architecture
        above = np.count_nonzero(point.block_kl(architecture, architecture.no_tiles))
        above = point.beta * above / 2 + self.beta * np.log(2) * point.least_bits(architecture)
        blocks = np.prod(counts(pictures.shape[2], pictures.shape[1], architecture.block))
        return self.tile_costs(point, pictures).min(-1).sum((1, 2)) + blocks * above

    def classes(self, point: OperatingPoint, pictures) -> np.ndarray:
        """Classes of the tiles of (P, H, W, 1 or 3) pictures: (P, Rt, Ct)."""
        return cheapest(point, self.tile_costs(point, pictures), self.beta)

    def tile_costs(self, point: OperatingPoint, pictures) -> np.ndarray:
        """Lagrangian distortion + beta ln 2 bits of all tiles of (P, H, W, 1 or 3) pictures: (P, Rt, Ct, K)."""
        return self.tile_errors(point, pictures) + (self.beta * tile_nats(point)).astype(np.float32)

    def tile_errors(self, point: OperatingPoint, pictures) -> np.ndarray:
        """`class_errors` of all tiles of (P, H, W, 1 or 3) pictures: (P, Rt, Ct, K)."""
        architecture = self.prior.architecture
        shape = (len(pictures), *(size // architecture.tile for size in pictures.shape[1:3]))
        if point.classes == 1:
            return np.zeros((*shape, 1), np.float32)
        mean, above = torch.from_numpy(point.mean[: point.own]), coarse_prior(point)
        shared, parts = shared_weights(point), []
        for some in pictures.split(max(1, ROWS // (shape[1] * shape[2]))):
            latents = decompose(architecture, shared, some, above)
            tiles = tiles_of(architecture, latents)[:, : shape[1], : shape[2]].reshape(-1, point.own)
            parts += [class_errors(point, part - mean) for part in tiles.split(ROWS)]
        return np.concatenate(parts).reshape(*shape, -1)


def class_errors(point: OperatingPoint, deviation) -> np.ndarray:
    """Distortion of coding each tile with each class, for the linear part, as far as classes differ in it.

    (T, latents of a tile) less the prior's mean -> (T, K). With the point's own beta and a code that spends what the
    posterior wants, distortion / beta + nats is -log of the marginal likelihood. Ours spends a fixed number of bits:
    where the KL exceeds it by y n / (2 ln 2) bits, the distortion of the n coded latents (n / 2 nats) grows by e^y.
    And no candidate lies much further out than REACH prior scales: what is beyond stays as error.
    """
    noise2 = torch.from_numpy(point.posterior_scale[: point.own]).double() ** 2
    deviation = undamped(deviation, noise2, point.beta)
    scale2 = torch.from_numpy(point.scale).double() ** 2
    energy, marginal = deviation**2, scale2 + noise2
    log_ratio = torch.log(marginal / noise2)
    nats = 0.5 * log_ratio.sum(1) + 0.5 * energy @ (1 / marginal).T
    spent = 0.5 * (log_ratio - scale2 / marginal).sum(1) + 0.5 * energy @ (scale2 / marginal**2).T
    payload = np.log(2) * torch.from_numpy(point.tile_bits)
    coded = (scale2 > CODED * noise2).sum(1).clamp(min=1)
    surplus = (2 * (spent - payload) / coded).clamp(*SURPLUS)
    nats = nats + 0.5 * coded * (torch.exp(surplus) - 1 - surplus) + 0.5 * _beyond(point, deviation, noise2.sqrt())
    return (point.beta * (nats - payload)).float().numpy()


def _beyond(point, deviation, noise):
    """Squares of what lies out of reach of each class's candidates, in posterior variances: (T, own) -> (T, K)."""
    far = torch.topk(deviation.abs() / noise, min(OUTLIERS, len(noise))).indices  # (T, n)
    scale, noise = torch.from_numpy(point.scale).T[far], noise.float()[far]  # (T, n, K), (T, n)
    beyond = (deviation.gather(1, far).abs().float()[..., None] - REACH * scale).clamp(min=0)
    return (torch.where(scale > noise[..., None], beyond / noise[..., None], 0.0) ** 2).sum(1)


def tile_nats(point: OperatingPoint) -> np.ndarray:
    """What a tile of each class costs, class number included where it has no context: (K,) nats."""
    return np.log(2) * (point.tile_bits + (point.class_bits if point.contexts is None else 0))


def cheapest(point: OperatingPoint, costs: np.ndarray, beta: float) -> np.ndarray:
    """Classes that minimise costs and class maps together: (P, Rt, Ct, K) -> (P, Rt, Ct) int64."""
    if point.contexts is None:
        return costs.argmin(-1)
    bits = costs / (beta * np.log(2))
    return np.stack([choose_map(one, point.contexts) for one in bits]).astype(np.int64)


def map_costs(classes: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Bits of a map as a function of one tile's class, up to a constant for each tile: (rows, cols, K) float32.

    That is the class's own bits given its neighbours, and those of the three tiles that it predicts. Frequencies count
    as unrounded, so a cost above 16 bits may be too high.
    """
    (rows, cols), K = classes.shape, tables.shape[2]
    weights = tables.astype(np.float32) / classmap.UNIT
    neighbours = classmap.neighbours(classes, K)
    score = sum(w[c] for w, c in zip(weights, neighbours, strict=True))  # (rows, cols, K)
    out = -score
    for w, c, (dy, dx) in zip(weights, neighbours, classmap.NEIGHBOURS, strict=True):
        rest = score - w[c]
        top = rest.max(-1, keepdims=True)
        own = classes[..., None].astype(np.intp)
        # bits of each tile, by the class of the neighbour that w weighs: (rows, cols, K)
        later = np.log2(np.exp2(rest - top) @ np.exp2(w[:K]).T) + top
        later -= np.take_along_axis(rest, own, -1) + w[:K].T[classes]
        out[: rows + dy, max(0, dx) : cols - max(0, -dx)] += later[-dy:, max(0, -dx) : cols - max(0, dx)]
    return out


def choose_map(tile_bits: np.ndarray, tables: np.ndarray, sweeps: int = 2) -> np.ndarray:
    """Classes that make a picture cheap: bits of each tile in each class (rows, cols, K) -> (rows, cols) uint8.

    A first map tile after tile, then sweeps that change one tile in four at a time: none of those affects the cost of
    another. No step makes tiles and map together dearer, frequencies counted as unrounded.
    """
    rows, cols, K = tile_bits.shape
    left, up, up_right = tables.astype(np.float32) / classmap.UNIT
    classes, above = np.zeros((rows, cols), np.uint8), [K] * (cols + 1)
    for r in range(rows):
        c, row = K, tile_bits[r] - up[above[:-1]] - up_right[above[1:]]
        for j in range(cols):
            classes[r, j] = c = int((row[j] - left[c]).argmin())
        above = [*classes[r].tolist(), K]
    phase = (3 * np.arange(rows)[:, None] + np.arange(cols)) % 4
    for step in range(4 * sweeps):
        best = (tile_bits + map_costs(classes, tables)).argmin(-1).astype(np.uint8)
        classes = np.where(phase == step % 4, best, classes)
    return classes
