"""Classes of tiles, learned by hard EM over all processes of a training run. Needs torch.

Shapes: T tiles of this process, D latents each, K classes of which the last F stay as they are.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...encoder.fit.posterior import out_of_reach
from ..shards import Shards, random

TILES_AT_ONCE = 2**12  # whose class costs are computed together
JITTER = 0.3  # random part of the first classes, in standard deviations of the log energies they are cut by
LEAST_ENERGY = 1e-3  # in logarithms of energies
FARTHEST = 64  # latents of a tile that may lie beyond reach
LEAST_NATS = 0.1  # of what lies beyond reach, that counts
TINY = 1e-30  # energy of no tiles at all
GAIN = (1e-3, 50.0)  # energy of a class against that of all tiles, as far as its smoothing follows it


@dataclass(frozen=True)
class Mixture:
    """Classes of tiles as a mixture of zero-mean Gaussians with diagonal covariance."""

    energy: Tensor  # (T, D) squared deviations from the prior's mean
    posterior_variance: Tensor  # (D,) below which no marginal variance falls
    fixed: Tensor  # (F, D) marginal variances of the last classes
    classes: int  # K
    shards: Shards
    smoothing: float  # tiles' worth of the average table in every class table
    map_share: float = 0.0  # of a class number's own information that a choice counts

    def learn(
        self,
        start: Tensor,
        rounds: int = 20,
    ) -> tuple[Tensor, Tensor]:
        """Hard EM from classes (T,) int64: classes (T,) and the marginal variances (K, D) that they were chosen by."""
        assigned = start
        for _ in range(rounds):
            variance = self.variances(assigned)
            frequency = self.frequencies(assigned)
            assigned = self.likeliest(variance, frequency)[1]
        return assigned, variance

    def likeliest(
        self,
        variance: Tensor,
        frequency: Tensor,
        reach: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Costs in nats and classes of tiles from marginal variances (K, D) and frequencies (K,): (T,) each.

        reach: count what no candidate reaches, too.
        """
        map_nats = -self.map_share * frequency.log()
        costs, chosen = [], []
        for energy in self.energy.split(TILES_AT_ONCE):
            nats = class_nats(energy, variance, self.posterior_variance) + map_nats
            if reach:
                least, classes = within_reach(energy, variance, self.posterior_variance, nats)
            else:
                least, classes = nats.min(1)
            costs.append(least)
            chosen.append(classes)
        return torch.cat(costs), torch.cat(chosen)

    def frequencies(self, assigned: Tensor) -> Tensor:
        """Share of every class, as if it had one more tile: (T,) -> (K,)."""
        tiles = torch.bincount(assigned, minlength=self.classes).float()
        (tiles,) = self.shards.sum(tiles + 1 / self.shards.world)
        return tiles / tiles.sum()

    def variances(self, assigned: Tensor) -> Tensor:
        """Marginal variances of every class, drawn to the average's shape: (T,) -> (K, D)."""
        tiles = torch.bincount(assigned, minlength=self.classes).float()
        sums = self.energy.new_zeros(self.classes, self.energy.shape[1])
        sums.index_add_(0, assigned, self.energy)
        tiles, sums = self.shards.sum(tiles, sums)
        average = sums.sum(0) / tiles.sum().clamp(min=1)
        expected = tiles.clamp(min=1) * average.sum().clamp(min=TINY)
        gain = (sums.sum(1) / expected).clamp(*GAIN)
        drawn = self.smoothing * gain[:, None] * average
        variance = (sums + drawn) / (tiles + self.smoothing)[:, None]
        variance[self.classes - len(self.fixed) :] = self.fixed
        return variance.clamp(min=self.posterior_variance)


def classes_by_energy(mixture: Mixture, tiles: int) -> Tensor:
    """As many tiles in each class, by rank of log energy, `tiles` of them in a picture: (T,)."""
    shards = mixture.shards
    learned = mixture.classes - len(mixture.fixed)
    scores = torch.log(mixture.energy.clamp(min=LEAST_ENERGY)).sum(1)
    scores = shards.gather(scores.reshape(-1, tiles)).reshape(-1)
    jitter = torch.randn(scores.numel(), generator=random(1)).to(scores.device)
    scores = scores + JITTER * scores.std() * jitter
    order = torch.argsort(scores)
    ranks = torch.argsort(order)
    classes = ranks * learned // len(scores)
    return classes.reshape(-1, tiles)[shards.mine].reshape(-1)


def class_nats(
    energy: Tensor,
    marginal: Tensor,
    posterior_variance: Tensor,
) -> Tensor:
    """-log of each tile's likelihood under each class, up to a constant: (T, D), (K, D), (D,) -> (T, K) nats."""
    widths = torch.log(marginal / posterior_variance).sum(1)
    return 0.5 * widths + 0.5 * energy @ (1 / marginal).T


def within_reach(
    energy: Tensor,
    marginal: Tensor,
    posterior_variance: Tensor,
    nats: Tensor,
) -> tuple[Tensor, Tensor]:
    """Least nats and their classes, anew where these leave latents out of reach: (T, D), (K, D), (D,), (T, K) -> (T,)
    each.
    """
    deviation = (energy / posterior_variance).sqrt()  # in posterior scales, as is the next
    scale = (marginal / posterior_variance - 1).clamp(min=0).sqrt()  # (K, D)
    least, chosen = nats.min(1)
    beyond = 0.5 * out_of_reach(deviation, scale[chosen], 1.0).sum(1)
    far = torch.nonzero(beyond > LEAST_NATS)[:, 0]
    if len(far):
        values, places = deviation[far].topk(min(FARTHEST, energy.shape[1]))  # (t, farthest) each
        beyond = 0.5 * out_of_reach(values[..., None], scale.T[places], 1.0).sum(1)  # (t, K)
        least[far], chosen[far] = (nats[far] + beyond).min(1)
    return least, chosen
