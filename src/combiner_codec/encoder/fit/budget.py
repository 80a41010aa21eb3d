"""Per-group beta control (COMBINER, section 3.3). Needs torch.

Shapes: B blocks with D latents each, R runs of groups in each.
"""

import numpy as np
import torch

from ...format.candidates import within
from ...format.streams import Partition
from .posterior import as_tensor

FACTOR = 1.05  # of a run's beta, up or down, every few steps
FACTORS = (0.05, 20)  # within which beta_g / beta stays


class Budget:
    """Runs of groups have their own beta_g, moved until their KL ends just below their bits."""

    def __init__(self, run: torch.Tensor, allowed: torch.Tensor):
        self.run = run  # (B, D) number of each latent's run of groups; 0 where it is not coded
        self.allowed = allowed  # (B, R) nats
        self.factor = torch.ones_like(allowed)  # beta_g / beta

    @staticmethod
    def of(parts: Partition, latents: int, size: int, group_bits: int, device: torch.device) -> "Budget":
        """Runs of `size` groups, of blocks with so many latents."""
        blocks = len(parts.counts)
        runs = 2 + int(parts.counts.max(initial=0)) // size
        block_of_group = np.repeat(np.arange(blocks), parts.counts)
        run_of_group = within(parts.counts) // size + 1
        block_of_latent = np.repeat(block_of_group, parts.dims)
        run = np.zeros((blocks, latents), np.int64)
        run[block_of_latent, parts.latents] = np.repeat(run_of_group, parts.dims)
        nats = np.log(2) * group_bits
        allowed = np.zeros((blocks, runs), np.float32)
        np.add.at(allowed, (block_of_group, run_of_group), nats)
        return Budget(as_tensor(run, device), as_tensor(allowed, device))

    def weights(self) -> torch.Tensor:
        """beta_g / beta of every latent: (B, D)."""
        return self.factor.gather(1, self.run)

    def control(self, nats: torch.Tensor) -> None:
        """Move every beta_g by what its latents spend: (B, D)."""
        nothing = torch.zeros_like(self.factor)
        spent = nothing.scatter_add(1, self.run, nats)
        factor = torch.where(spent > self.allowed, FACTOR, 1 / FACTOR)
        self.factor.mul_(factor).clamp_(*FACTORS)
