"""Processes that share one command's inputs, as torchrun starts them on one machine or on many."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import click


@dataclass(frozen=True)
class Ranks:
    """This process among all."""

    rank: int = 0
    world: int = 1  # processes in all
    local: int = 0  # number of this one on its machine
    beside: int = 1  # processes on this machine

    @staticmethod
    def here() -> "Ranks":
        """By the environment variables of torchrun; alone without them. Raises UsageError where they make no sense.

        Many programs inherit these variables from a job that they have no part in.
        """
        world = _number("WORLD_SIZE", 1, usual=1)
        rank = _number("RANK", 0, usual=0)
        beside = _number("LOCAL_WORLD_SIZE", 1, usual=1)
        local = _number("LOCAL_RANK", 0, usual=0)
        if not os.environ.get("WORLD_SIZE"):
            return Ranks(local=local, beside=beside)  # a RANK alone is that of something else
        if world > 1 and not os.environ.get("RANK"):
            raise click.UsageError(f"WORLD_SIZE is {world}, and RANK is not set")
        if rank >= world:
            raise click.UsageError(f"RANK is {rank}, and WORLD_SIZE {world}: ranks count from 0")
        return Ranks(rank, world, local, beside)

    def apart(self) -> "Ranks":
        """The same process with all inputs to itself; the machine is still shared."""
        return replace(self, rank=0, world=1)

    def share(self, everything: Sequence, rank: int | None = None) -> Sequence:
        """The part of this process, or of that of a rank: every world-th, from the rank-th on."""
        first = self.rank if rank is None else rank
        return everything[first :: self.world]

    def threads(self, wanted: int) -> int:
        """Processor threads of this process: as wanted, else its part of the machine; 0 for all."""
        if wanted or self.beside == 1:
            return wanted
        return max(1, (os.cpu_count() or 1) // self.beside)

    def take_gpu(self) -> None:
        """One GPU for each process of a machine. Needs torch."""
        if self.beside == 1:
            return
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_device(self.local % torch.cuda.device_count())


def _number(name: str, least: int, usual: int) -> int:
    """The value of an environment variable. Raises UsageError for anything but a number from `least` on."""
    text = os.environ.get(name)
    if not text:
        return usual
    if not text.isdecimal() or int(text) < least:
        raise click.UsageError(f"{name} is {text!r}, and must be a number from {least} on: unset it to work alone")
    return int(text)
