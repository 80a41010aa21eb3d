"""Classes of tiles, learned by hard EM over all processes of a training run. Needs torch."""

from dataclasses import dataclass

import torch
import torch.distributed as dist


class Shards:
    """This process's share of the images, and sums over all of them."""

    def __init__(self, count: int):
        on = dist.is_available() and dist.is_initialized()
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if on else (0, 1)
        self.mine = torch.arange(self.rank, count, self.world)
        self.count = count

    def sum(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self.world > 1:
            flat = torch.cat([t.reshape(-1) for t in tensors])
            dist.all_reduce(flat)
            parts = flat.split([t.numel() for t in tensors])
            tensors = tuple(p.reshape(t.shape) for p, t in zip(parts, tensors, strict=True))
        return tensors

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier()

    def batch(self, size: int, seed: int, step: int, latents: tuple[int, ...]):
        """Local positions of this step's images, the noise that belongs to them, and which of the batch they are."""
        g = torch.Generator().manual_seed(seed * 1_000_003 + step)
        chosen = torch.randint(self.count, (size,), generator=g)
        eps = torch.randn(size, *latents, generator=g)
        own = chosen % self.world == self.rank
        return chosen[own] // self.world, eps[own], own


@dataclass(frozen=True)
class Mixture:
    """Classes of tiles as a mixture of zero-mean Gaussians with diagonal covariance."""

    energy: torch.Tensor  # (T, U) squared deviations of this process's tiles
    noise2: torch.Tensor  # (U,) posterior noise variance
    fixed: torch.Tensor  # (F, U) marginal variances of the last classes, which stay as they are
    classes: int  # K
    shards: Shards
    smoothing: float

    def learn(self, start, rounds: int = 20):
        """Hard EM from classes (T,): classes (T,) and marginal variances (K, U)."""
        assigned = start
        for _ in range(rounds):
            variance = self.variances(assigned)
            assigned = class_costs(self.energy, variance, self.noise2).argmin(1)
        return assigned, variance

    def variances(self, assigned):
        """Marginal variances of every class, drawn to the average's shape: (T,) -> (K, U)."""
        n = torch.bincount(assigned, minlength=self.classes).float()
        sums = torch.zeros(self.classes, self.energy.shape[1]).index_add(0, assigned, self.energy)
        n, sums = self.shards.sum(n, sums)
        average = sums.sum(0) / n.sum()
        gain = (sums.sum(1) / (n.clamp(min=1) * average.sum())).clamp(1e-3, 50)[:, None]
        variance = (sums + self.smoothing * gain * average) / (n + self.smoothing)[:, None]
        variance[self.classes - len(self.fixed) :] = self.fixed
        return variance.clamp(min=self.noise2)


def class_costs(energy, marginal, noise2):
    """Negative log-likelihood in nats under each class's marginal variance: (N, D) (K, D) -> (N, K)."""
    return 0.5 * torch.log(marginal / noise2).sum(1) + 0.5 * energy @ (1 / marginal).T
