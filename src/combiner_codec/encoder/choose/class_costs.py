"""What a tile costs in each class, by the linear part, whose posterior has a closed form. Needs torch.

Shapes: T tiles of one size with n latents each, K classes of tiles of that size.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch

from ...format.operating_point import OperatingPoint
from ...format.streams import COST_PER_BIT, kl_table
from ...synthesis.pyramid import PLAIN
from ..fit.posterior import out_of_reach, undamped
from ..looks import ComponentWeights, latent_weights
from ..threads import Threads

TILES_AT_ONCE = 1024  # whose costs are computed together
OUTLIERS = 64  # latents of a tile that may lie further out than candidates reach; most tiles have none
POINTS_KEPT = 4  # operating points whose tables are remembered, some megabytes each
KINDS = 7  # of lowest frequencies, for each of which there are tables
# Prior variance, in posterior variances, from which a latent counts as coded. It came with the first prior, and no
# measurement of it is on record. J of files, `fast`, against this: 0.1 and 0.2 -0.04 to -0.06 %, 1 and 2.5 +0.07 to
# +0.39 % (10 validation crops of 256x256, photo, beta 0.011 and 0.0028; 60 training thumbnails, small, beta 0.003).
CODED = 0.4
# Logarithms of the distortion's growth that are told apart, as old. With -1 for -3 the same J of these files.
SURPLUS = (-3.0, 20.0)


# Times the distortion of classes that no network was trained with, against others, of whose distortion and samples'
# noise a network takes a share away. Against 1, J of crops with grids -7 to -12 %, of other photographs 0 to -2 %, of
# writing and drawings that are stored as networks -5 to +15 % (docs/lab.md).
UNREFINED = 2.0
SILENT = -30.0  # biases below which a SiLU layer says nothing


@dataclass(frozen=True)
class ClassSums:
    """What of a class's costs does not depend on the tile."""

    evidence: torch.Tensor  # (K,) nats of a tile of no energy: half the logs of marginal over posterior variances
    least_kl: torch.Tensor  # (K,) nats of KL of such a tile
    coded: torch.Tensor  # (K,) number of latents that count as coded, 1 at least
    precision: torch.Tensor  # (n, K) of the marginal: twice the nats of a unit of energy
    kl_slope: torch.Tensor  # (n, K) twice the nats of KL of a unit of energy

    @staticmethod
    def of(scale: torch.Tensor, posterior_variance: torch.Tensor) -> "ClassSums":
        """From prior scales (K, n) and posterior variances (n,) float64."""
        variance = scale.double() ** 2
        marginal = variance + posterior_variance
        log_ratio = torch.log(marginal / posterior_variance)
        evidence = 0.5 * log_ratio.sum(1)
        least_kl = 0.5 * (log_ratio - variance / marginal).sum(1)
        is_coded = variance > CODED * posterior_variance
        coded = is_coded.sum(1).clamp(min=1)
        precision = (1 / marginal).T
        kl_slope = (variance / marginal**2).T
        return ClassSums(evidence, least_kl, coded, precision, kl_slope)

    def in_single_precision(self) -> "ClassSums":
        """The same in float32: nats are thousands at most."""
        return ClassSums(*(table.float() for table in vars(self).values()))


@dataclass(frozen=True)
class Outliers:
    """The latents of each of T tiles that lie furthest out, in posterior scales: (T, outliers) each."""

    place: torch.Tensor  # number of the latent in its tile
    size: torch.Tensor  # absolute deviation, float32
    posterior_scale: torch.Tensor  # float32

    def beyond(self, scale: torch.Tensor) -> torch.Tensor:
        """Error of what candidates do not reach, in posterior variances: scales (T, outliers, K) -> (T, K)."""
        size = self.size[..., None]
        posterior_scale = self.posterior_scale[..., None]
        return out_of_reach(size, scale, posterior_scale).sum(1)

    def of(self, tiles: torch.Tensor) -> "Outliers":
        """Those of some tiles, by number."""
        return Outliers(self.place[tiles], self.size[tiles], self.posterior_scale[tiles])


@dataclass(frozen=True)
class ClassCosts:
    """Costs of the classes of tiles of one size at one operating point.

    With the point's own beta and a code that spends what the posterior wants, distortion / beta + nats is -log of the
    marginal likelihood. Ours spends a fixed number of bits: where the KL exceeds it by y m / (2 ln 2) bits, the
    distortion of the m coded latents (m / 2 nats) grows by e^y, unless other tiles of the block leave bits over. And no
    candidate lies much further out than REACH prior scales: what is beyond stays as error.
    """

    beta: float  # that the point was learned for
    scale: torch.Tensor  # (K, n) float32 prior scales
    posterior_scale: torch.Tensor  # (n,) float32
    bits: torch.Tensor  # (K,) float64, average KL of a tile
    share: float  # of what a tile's KL exceeds these bits by that no other tile makes up for
    weights: torch.Tensor | None = None  # (n,) float64 of the latents' squared error; None where all are 1
    weighted_bits: torch.Tensor | None = None  # (K,) float64, `bits` with these weights
    shares: torch.Tensor | None = None  # (K,) float32, what the distortion of each class is multiplied with; None: 1

    @staticmethod
    def of(
        point: OperatingPoint,
        kl_index: np.ndarray,
        side: int,
        weights: np.ndarray | None = None,
        untrained: np.ndarray | None = None,
    ) -> "ClassCosts":
        """From KL indices of the cells of a tile (K, cells, U); a block, and so a stream, has side * side tiles.

        weights: of the latents' squared error, (U,). untrained: which are `untrained_classes`, (K,) bool.
        """
        count, cells, size = kl_index.shape
        scale = point.scale_of(kl_index, slice(None))
        scale = scale.reshape(count, cells * size)
        posterior_scale = np.tile(point.posterior_scale, cells)
        bits = kl_table()[kl_index].sum((1, 2)) / COST_PER_BIT
        share = cells**0.5 / side  # one over the root of the tiles in a stream, which make up for each other
        tables = [torch.from_numpy(table) for table in (scale, posterior_scale, bits)]
        shares = None
        if untrained is not None and untrained.any():
            shares = torch.from_numpy(np.where(untrained, UNREFINED, 1.0)).float()
        if weights is None:
            return ClassCosts(point.beta, *tables, share, shares=shares)
        of_latents = np.tile(weights, cells)
        weighted_bits = kl_table()[kl_index].reshape(count, cells * size) @ of_latents / COST_PER_BIT
        weighted = torch.from_numpy(of_latents), torch.from_numpy(weighted_bits)
        return ClassCosts(point.beta, *tables, share, *weighted, shares)

    def errors(self, deviation: torch.Tensor, threads: Threads) -> np.ndarray:
        """Distortion of coding each tile with each class, as far as classes differ in it.

        Latents less the prior's mean (T, n) -> (T, K) float32.
        """
        parts = deviation.split(TILES_AT_ONCE)
        return np.concatenate(threads.map(self._errors, parts))

    def least(
        self, deviation: torch.Tensor, rates: np.ndarray, threads: Threads, weights: np.ndarray | None = None
    ) -> np.ndarray:
        """Errors and rates of the best classes: (T, n), rates (K,) float32 -> (T,) float32.

        weights: of the tiles' errors, (T,) float32.
        What candidates do not reach only adds to a class, so it is asked for where a class might be the best alone.
        """
        if not len(deviation):
            return np.zeros(0, np.float32)
        of_tiles = torch.ones(len(deviation)) if weights is None else torch.from_numpy(weights)
        parts = zip(deviation.split(TILES_AT_ONCE), of_tiles.split(TILES_AT_ONCE), strict=True)
        every_rate = torch.from_numpy(rates)

        def work(part):
            return self._least(*part, every_rate)

        return np.concatenate(threads.map(work, parts))

    @cached_property
    def _posterior_variance(self):
        return self.posterior_scale.double() ** 2

    @cached_property
    def _sums(self):
        return ClassSums.of(self.scale, self._posterior_variance).in_single_precision()

    @cached_property
    def _weighted(self):
        """Evidence (K,) and precision (n, K) of `ClassSums`, nats of each latent weighted, bits for bits."""
        variance = self.scale.double() ** 2
        marginal = variance + self._posterior_variance
        log_ratio = torch.log(marginal / self._posterior_variance)
        evidence = 0.5 * log_ratio @ self.weights + np.log(2) * (self.bits - self.weighted_bits)
        return evidence.float(), (self.weights / marginal).T.float()

    @cached_property
    def _undamping(self):
        """Factors of the latents' deviations, (n,) float32: see `undamped`."""
        return undamped(torch.ones(1), self._posterior_variance, self.beta).float()

    @cached_property
    def _bit_nats(self):
        """`bits` in nats, float32."""
        return (np.log(2) * self.bits).float()

    def _errors(self, deviation):
        deviation = deviation * self._undamping
        nats = self._nats(deviation)
        outliers = self._outliers(deviation)
        beyond = outliers.beyond(self.scale.T[outliers.place])
        return self._error(nats, beyond, slice(None)).numpy()

    def _least(self, deviation, weights, rates):
        deviation = deviation * self._undamping
        outliers = self._outliers(deviation)
        nats = self._nats(deviation)

        def costs(tile, chosen):
            """Of one class for each of some tiles: (m,)."""
            far = outliers.of(tile)
            scale = self.scale[chosen[:, None], far.place]
            beyond = far.beyond(scale[..., None])[:, 0]
            errors = self._error(nats[tile, chosen], beyond, chosen)
            return weights[tile] * errors + rates[chosen]

        bounds = weights[:, None] * self._error(nats, 0, slice(None)) + rates  # (T, K)
        every = torch.arange(len(deviation))
        best = costs(every, bounds.argmin(1))
        tile, chosen = torch.nonzero(bounds < best[:, None], as_tuple=True)
        others = costs(tile, chosen)
        return best.scatter_reduce(0, tile, others, "amin").numpy()

    def _error(self, nats, beyond, classes):
        """Distortion of some classes: nats less the bits that are paid for apart."""
        lost = nats + 0.5 * beyond - self._bit_nats[classes]
        if self.shares is not None:
            lost = lost * self.shares[classes]
        return self.beta * lost

    def _nats(self, deviation):
        """Distortion / beta + nats of each tile in each class, as if candidates reached all: (T, n) -> (T, K)."""
        sums = self._sums
        energy = 0.5 * deviation**2
        evidence, precision = sums.evidence, sums.precision
        if self.weights is not None:
            evidence, precision = self._weighted
        nats = evidence + energy @ precision
        kl = sums.least_kl + energy @ sums.kl_slope
        excess = kl - self._bit_nats
        surplus = 2 * excess / sums.coded  # y
        surplus = surplus.clamp(*SURPLUS)
        growth = torch.exp(surplus) - 1 - surplus
        return nats + 0.5 * self.share * sums.coded * growth

    def _outliers(self, deviation):
        posterior_scale = self.posterior_scale
        if self.weights is not None:
            posterior_scale = posterior_scale / self.weights.float().sqrt()
        size = deviation.abs()
        place = torch.topk(size / posterior_scale, min(OUTLIERS, len(posterior_scale)), sorted=False).indices
        return Outliers(place, size.gather(1, place), posterior_scale[place])


@lru_cache(POINTS_KEPT * KINDS)
def costs_by_size(
    point: OperatingPoint, side: int, seen: tuple[int, ComponentWeights] | None = None, kind: int = PLAIN
) -> tuple[ClassCosts, ClassCosts]:
    """Of tiles on their own and of merged ones, of which a block has side * side and a fourth of them.

    seen: what `latent_weights` takes, where squared error is weighted. kind: of lowest frequencies (pyramid.py).
    """
    weights = None if seen is None else latent_weights(*seen)
    untrained = untrained_classes(point)[: point.single]
    of_single, of_merged = point.of_kind(kind)
    single = ClassCosts.of(point, of_single[:, None], side, weights, untrained)
    merged = ClassCosts.of(point, of_merged, side, weights)
    return single, merged


def untrained_classes(point: OperatingPoint) -> np.ndarray:
    """Classes that no network was trained with, but whose layers speak: those of writing and drawings, which share the
    average biases (training/finish/graphics.py). (K,) bool.
    """
    table = _first_biases(point)
    if table is None:
        return np.zeros(point.classes, bool)
    speaking = np.flatnonzero(~silent_classes(point)[: point.single])
    alike = np.zeros(point.classes, bool)
    if len(speaking):
        alike[: point.single] = (table[: point.single] == table[speaking[-1]]).all(1)
    some = 1 < alike.sum() < point.single  # all are alike where no network was trained
    return alike if some else np.zeros_like(alike)


def silent_classes(point: OperatingPoint) -> np.ndarray:
    """Classes whose first layer says nothing, so that a tile shows its cosines as they are: those of patterns, which a
    network would blur (training/finish/graphics.py). (K,) bool.
    """
    table = _first_biases(point)
    if table is None:
        return np.zeros(point.classes, bool)
    return table.max(1) <= SILENT


def _first_biases(point: OperatingPoint) -> np.ndarray | None:
    """Biases of the first layer that has them by class: (K, O)."""
    biases = [table for name, table in sorted(point.shared.items()) if name[0] == "b" and table.ndim == 2]
    return biases[0] if biases else None


def tile_nats(point: OperatingPoint) -> np.ndarray:
    """What a tile of each class costs, its class apart, by the kind of its lowest frequency: (kinds, K) nats."""
    return np.log(2) * point.tile_cost / COST_PER_BIT
