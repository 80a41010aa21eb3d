"""Classes of tiles, learned by hard EM over all processes of a training run. Needs torch.

Shapes: T tiles of this process, D latents each, K classes of which the last F stay as they are.
"""

from dataclasses import dataclass

import torch

from .shards import Shards

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

    def learn(self, start: torch.Tensor, rounds: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
        """Hard EM from classes (T,) int64: classes (T,) and the marginal variances (K, D) that they were chosen by."""
        assigned = start
        for _ in range(rounds):
            variance = self.variances(assigned)
            assigned = class_nats(self.energy, variance, self.posterior_variance).argmin(1)
        return assigned, variance

    def variances(self, assigned: torch.Tensor) -> torch.Tensor:
        """Marginal variances of every class, drawn to the average's shape: (T,) -> (K, D)."""
        n = torch.bincount(assigned, minlength=self.classes).float()
        sums = torch.zeros(self.classes, self.energy.shape[1]).index_add(0, assigned, self.energy)
        n, sums = self.shards.sum(n, sums)
        average = sums.sum(0) / n.sum()
        gain = (sums.sum(1) / (n.clamp(min=1) * average.sum())).clamp(*GAIN)[:, None]
        variance = (sums + self.smoothing * gain * average) / (n + self.smoothing)[:, None]
        variance[self.classes - len(self.fixed) :] = self.fixed
        return variance.clamp(min=self.posterior_variance)


def class_nats(energy: torch.Tensor, marginal: torch.Tensor, posterior_variance: torch.Tensor) -> torch.Tensor:
    """-log of each tile's likelihood under each class, up to a constant: (T, D), (K, D), (D,) -> (T, K) nats."""
    return 0.5 * torch.log(marginal / posterior_variance).sum(1) + 0.5 * energy @ (1 / marginal).T
