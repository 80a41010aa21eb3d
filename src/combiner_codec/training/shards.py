"""Pictures dealt out to the processes of a training run (torchrun), and sums over all of them. Needs torch."""

from dataclasses import dataclass

import torch
import torch.distributed as dist

SPREAD = 1_000_003  # a prime between seeds, so that the steps of one do not repeat another's


def random(seed: int, device="cpu") -> torch.Generator:
    """Random numbers on a device."""
    return torch.Generator(device).manual_seed(seed)


@dataclass(frozen=True)
class Draw:
    """One step's random batch, as far as it is this process's: n of B pictures."""

    own: torch.Tensor  # (n,) int64 positions among this process's pictures
    eps: torch.Tensor  # (n, *latents) standard normals, those of the posteriors' samples
    batch: int  # B
    members: torch.Tensor | slice  # which pictures of the batch these are: (B,) bool, or all


class Shards:
    """This process's share of `count` pictures: every world-th, from the rank-th on."""

    def __init__(self, count: int):
        on = dist.is_available() and dist.is_initialized()
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if on else (0, 1)
        self.mine = torch.arange(count)[self.rank :: self.world]  # numbers of this process's pictures
        self.count = count

    def sum(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Sums over all processes by one all-reduce, shapes as they are. All tensors are of one dtype."""
        if self.world > 1:
            flat = torch.cat([t.reshape(-1) for t in tensors])
            dist.all_reduce(flat)
            parts = flat.split([t.numel() for t in tensors])
            tensors = tuple(p.reshape(t.shape) for p, t in zip(parts, tensors, strict=True))
        return tensors

    def agreed(self, seconds: float) -> float:
        """The mean of what the processes' clocks say, so that all of them agree on what comes next."""
        (total,) = self.sum(torch.tensor([seconds], dtype=torch.float64))
        return float(total) / self.world

    def mean(self, sums: torch.Tensor) -> torch.Tensor:
        """Mean over all pictures, from each process's sum over its own: any shape, the same."""
        return self.sum(sums)[0] / self.count

    def gather(self, own: torch.Tensor) -> torch.Tensor:
        """What all processes hold, in the pictures' order: (n, ...) of this one's -> (N, ...) float32."""
        every = torch.zeros(self.count, *own.shape[1:], device=own.device)
        every[self.mine] = own.float()
        return self.sum(every)[0]

    def whole(self, own: torch.Tensor) -> torch.Tensor:
        """The same in its own type, which float32 can hold."""
        return own if self.world == 1 else self.gather(own).to(own.dtype)

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier()

    def batch(self, size: int, seed: int, step: int, latents: tuple[int, ...]) -> Draw:
        """This process's part of a batch of `size` pictures, a function of (seed, step) whatever the processes."""
        g = random(seed * SPREAD + step)
        return self.part(torch.randint(self.count, (size,), generator=g), latents, g)

    def part(self, chosen: torch.Tensor, latents: tuple[int, ...], g: torch.Generator, device="cpu") -> Draw:
        """This process's part of the pictures with these numbers, (B,) int64, with noise for all of them."""
        eps = torch.randn(len(chosen), *latents, generator=g, device=device)
        own = chosen % self.world == self.rank if self.world > 1 else slice(None)
        return Draw((chosen[own] // self.world).to(device, non_blocking=True), eps[own], len(chosen), own)
