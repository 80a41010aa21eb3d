"""Processes that share one command's inputs, as torchrun starts them on one machine or on many."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

PATIENCE = timedelta(days=30)  # with processes that have more to do


@dataclass(frozen=True)
class Ranks:
    """This process among all."""

    rank: int = 0
    world: int = 1  # processes in all
    local: int = 0  # number of this one on its machine
    beside: int = 1  # processes on this machine

    @staticmethod
    def here() -> "Ranks":
        """By the environment variables of torchrun; alone without them."""
        names = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
        return Ranks(*(int(os.environ.get(name) or usual) for name, usual in names.items()))

    def share(self, everything: Sequence) -> Sequence:
        """This process's part: every world-th, from the rank-th on."""
        return everything[self.rank :: self.world]

    def threads(self, wanted: int) -> int:
        """Processor threads of this process: as wanted, else its part of the machine; 0 for all."""
        return wanted or (max(1, (os.cpu_count() or 1) // self.beside) if self.world > 1 else 0)

    def take_gpu(self) -> None:
        """One GPU for each process of a machine. Needs torch."""
        if self.world == 1:
            return
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_device(self.local % torch.cuda.device_count())

    def sums(self, *counts: int) -> list[int]:
        """Sums over all processes, once each is done: torchrun stops all others as soon as one of them fails.

        This imports torch, which torchrun belongs to, and does nothing where no address says how the others are found.
        """
        if self.world == 1 or "MASTER_ADDR" not in os.environ:
            return list(counts)
        import torch.distributed as dist

        dist.init_process_group("gloo", timeout=PATIENCE)
        every: list = [None] * self.world
        dist.all_gather_object(every, counts)
        dist.destroy_process_group()
        return [sum(own) for own in zip(*every, strict=True)]
