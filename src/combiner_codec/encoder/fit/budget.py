"""Per-group beta control (COMBINER, section 3.3). Needs torch."""

import numpy as np
import torch

from ...format.candidates import within
from ...format.streams import Partition
from .posterior import as_tensor

FACTOR = 1.05  # of a group's beta, up or down, every few steps
RANGE = (0.05, 20)  # of beta_g / beta


class Budget:
    """Runs of groups have their own beta_g, moved until their KL ends just below their bits."""

    def __init__(self, run: torch.Tensor, allowed: torch.Tensor):
        self.run = run  # (B, D) number of each latent's run of groups; 0 where it is not coded
        self.allowed = allowed  # (B, runs) nats
        self.factor = torch.ones_like(allowed)  # beta_g / beta

    @staticmethod
    def of(parts: Partition, latents: int, size: int, group_bits: int, device) -> "Budget":
        """Runs of `size` groups, of blocks with so many latents."""
        runs = 2 + int(parts.counts.max(initial=0)) // size
        owner = np.repeat(np.arange(len(parts.counts)), parts.counts)
        run = within(parts.counts) // size + 1
        table = np.zeros((len(parts.counts), latents), np.int64)
        table[np.repeat(owner, parts.dims), parts.latents] = np.repeat(run, parts.dims)
        allowed = np.zeros((len(parts.counts), runs), np.float32)
        np.add.at(allowed, (owner, run), np.log(2) * group_bits)
        return Budget(as_tensor(table, device), as_tensor(allowed, device))

    def weights(self) -> torch.Tensor:
        """beta_g / beta of every latent: (B, D)."""
        return self.factor.gather(1, self.run)

    def control(self, nats: torch.Tensor) -> None:
        """Move every beta_g by what its latents spend: (B, D)."""
        spent = torch.zeros_like(self.factor).scatter_add(1, self.run, nats)
        self.factor.mul_(torch.where(spent > self.allowed, FACTOR, 1 / FACTOR)).clamp_(*RANGE)
