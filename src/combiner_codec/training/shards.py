"""Pictures dealt out to the processes of a training run (torchrun), and sums over all of them. Needs torch."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


def random(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Random numbers on a device."""
    return torch.Generator(device).manual_seed(seed)


@dataclass(frozen=True)
class Here:
    """What of a batch of B pictures is this process's: n of them."""

    places: Tensor  # (n,) int64 positions among this process's pictures
    members: Tensor | slice  # which pictures of the batch these are: (B,) bool, or all


class Shards:
    """This process's share of `count` pictures: every world-th, from the rank-th on."""

    def __init__(self, count: int):
        self.rank = 0
        self.world = 1
        if dist.is_available() and dist.is_initialized():
            self.rank = dist.get_rank()
            self.world = dist.get_world_size()
        self.mine = torch.arange(count)[self.rank :: self.world]  # numbers of this process's pictures
        self.count = count

    def sum(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Sums over all processes by one all-reduce, shapes as they are. All tensors are of one dtype."""
        if self.world == 1:
            return tensors
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return tuple(part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True))

    def agreed(self, seconds: float) -> float:
        """The mean of what the processes' clocks say, so that all of them agree on what comes next."""
        (total,) = self.sum(torch.tensor([seconds], dtype=torch.float64))
        return float(total) / self.world

    def mean(self, sums: Tensor) -> Tensor:
        """Mean over all pictures, from each process's sum over its own: any shape, the same."""
        (total,) = self.sum(sums)
        return total / self.count

    def gather(self, here: Tensor) -> Tensor:
        """What all processes hold, in the pictures' order: (n, ...) of this one's -> (N, ...) float32."""
        every = torch.zeros(self.count, *here.shape[1:], device=here.device)
        every[self.mine] = here.float()
        (every,) = self.sum(every)
        return every

    def whole(self, here: Tensor) -> Tensor:
        """The same in its own type, which float32 can hold."""
        if self.world == 1:
            return here
        return self.gather(here).to(here.dtype)

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier()

    def here(self, chosen: Tensor) -> Here:
        """This process's part of the pictures with these numbers: (B,) int64."""
        if self.world == 1:
            return Here(chosen, slice(None))
        members = chosen % self.world == self.rank
        return Here(chosen[members] // self.world, members)
