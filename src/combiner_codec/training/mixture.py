"""Classes of tiles, learned by hard EM over all processes of a training run. Needs torch.

Shapes: T tiles of this process, D latents each, K classes of which the last F stay as they are.
"""

from dataclasses import dataclass

import torch

from ..encoder.fit.posterior import out_of_reach
from .shards import Shards, random

MAP_SHARE = 0.6  # of a class number's own information, which its place in a class map costs about
SMOOTHING = 8.0  # tiles' worth of an average or earlier table in every class table
AT_ONCE = 2**12  # tiles whose class costs are computed together
SPREAD = 0.3  # random part of the first classes, in standard deviations of the log energies they are cut by
LEAST_ENERGY = 1e-3  # in logarithms of energies
FARTHEST, LEAST_NATS = 64, 0.1  # latents of a tile that may lie beyond reach; what counts of them
TINY = 1e-30  # energy of no tiles at all
GAIN = (1e-3, 50.0)  # energy of a class against that of all tiles, as far as its smoothing follows it


@dataclass(frozen=True)
class Mixture:
    """Classes of tiles as a mixture of zero-mean Gaussians with diagonal covariance."""

    energy: torch.Tensor  # (T, D) squared deviations from the prior's mean
    posterior_variance: torch.Tensor  # (D,) below which no marginal variance falls
    fixed: torch.Tensor  # (F, D) marginal variances of the last classes
    classes: int  # K
    shards: Shards
    smoothing: float  # tiles' worth of the average table in every class table
    map_share: float = 0.0  # of a class number's own information that a choice counts

    def learn(self, start: torch.Tensor, rounds: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
        """Hard EM from classes (T,) int64: classes (T,) and the marginal variances (K, D) that they were chosen by."""
        assigned = start
        for _ in range(rounds):
            variance = self.variances(assigned)
            assigned = self.likeliest(variance, self.frequencies(assigned))[1]
        return assigned, variance

    def likeliest(
        self, variance: torch.Tensor, frequency: torch.Tensor, reach: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Costs in nats and classes of tiles from marginal variances (K, D) and frequencies (K,): (T,) each.

        reach: count what no candidate reaches, too.
        """
        map_nats, parts = -self.map_share * frequency.log(), []
        for energy in self.energy.split(AT_ONCE):
            nats = class_nats(energy, variance, self.posterior_variance) + map_nats
            parts.append(within_reach(energy, variance, self.posterior_variance, nats) if reach else nats.min(1))
        costs, chosen = zip(*parts, strict=True)
        return torch.cat(costs), torch.cat(chosen)

    def frequencies(self, assigned: torch.Tensor) -> torch.Tensor:
        """Share of every class, as if it had one more tile: (T,) -> (K,)."""
        (n,) = self.shards.sum(torch.bincount(assigned, minlength=self.classes).float() + 1 / self.shards.world)
        return n / n.sum()

    def variances(self, assigned: torch.Tensor) -> torch.Tensor:
        """Marginal variances of every class, drawn to the average's shape: (T,) -> (K, D)."""
        n = torch.bincount(assigned, minlength=self.classes).float()
        sums = self.energy.new_zeros(self.classes, self.energy.shape[1]).index_add(0, assigned, self.energy)
        n, sums = self.shards.sum(n, sums)
        average = sums.sum(0) / n.sum().clamp(min=1)
        gain = (sums.sum(1) / (n.clamp(min=1) * average.sum().clamp(min=TINY))).clamp(*GAIN)[:, None]
        variance = (sums + self.smoothing * gain * average) / (n + self.smoothing)[:, None]
        variance[self.classes - len(self.fixed) :] = self.fixed
        return variance.clamp(min=self.posterior_variance)


def classes_by_energy(mixture: Mixture, tiles: int) -> torch.Tensor:
    """As many tiles in each class, by rank of log energy, `tiles` of them in a picture: (T,)."""
    K, shards = mixture.classes - len(mixture.fixed), mixture.shards
    scores = torch.log(mixture.energy.clamp(min=LEAST_ENERGY)).sum(1).reshape(-1, tiles)
    scores = shards.gather(scores).reshape(-1)
    jitter = torch.randn(scores.numel(), generator=random(1)).to(scores.device)
    scores = scores + SPREAD * scores.std() * jitter
    ranks = torch.argsort(torch.argsort(scores)) * K // len(scores)
    return ranks.reshape(-1, tiles)[shards.mine].reshape(-1)


def class_nats(energy: torch.Tensor, marginal: torch.Tensor, posterior_variance: torch.Tensor) -> torch.Tensor:
    """-log of each tile's likelihood under each class, up to a constant: (T, D), (K, D), (D,) -> (T, K) nats."""
    return 0.5 * torch.log(marginal / posterior_variance).sum(1) + 0.5 * energy @ (1 / marginal).T


def within_reach(energy, marginal, posterior_variance, nats) -> tuple[torch.Tensor, torch.Tensor]:
    """Least nats and their classes, anew where these leave latents out of reach: (T, D), (K, D), (D,), (T, K) -> (T,)
    each.
    """
    least, chosen = nats.min(1)
    deviation = (energy / posterior_variance).sqrt()
    scale = (marginal / posterior_variance - 1).clamp(min=0).sqrt()  # (K, D)
    far = torch.nonzero(beyond(deviation, scale[chosen]) > LEAST_NATS)[:, 0]
    if len(far):
        values, places = deviation[far].topk(min(FARTHEST, energy.shape[1]))
        least[far], chosen[far] = (nats[far] + beyond(values[..., None], scale.T[places])).min(1)
    return least, chosen


def beyond(deviation: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Error of latents out of reach, in posterior scales, over the second axis: nats."""
    return 0.5 * out_of_reach(deviation, scale, 1.0).sum(1)
