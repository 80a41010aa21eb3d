"""Products of a layer's neighbourhoods and weights, and the way back. Needs torch.

Where a processor multiplies in bfloat16 many times as fast, a fit has its windows in that: J stays the same. Everything
else keeps single precision, and so do the pixels that an encoder expects of a decoder.

Shapes: P pictures, H x W positions, C inputs and O outputs; weights (size, size, C, O).
"""

import time
from dataclasses import dataclass
from functools import cache

import torch
from torch.nn import functional

from ...synthesis.torch_ops import TorchOps

FASTER = 3  # times as fast must bfloat16 be: casts take as long as two such products
TRIALS = 5  # of each, of which the quickest counts
SIDE = 64  # positions along the side of what is tried
CHANNELS = 32


@dataclass(frozen=True)
class Products:
    """In the precision of what comes in, or windows in bfloat16."""

    halved: bool = False

    def correlate(self, x: torch.Tensor, weights: torch.Tensor, shift: torch.Tensor | None = None) -> torch.Tensor:
        """Sums over windows, edges repeated, and a shift (O,): (P, H, W, C) -> (P, H, W, O)."""
        r = len(weights) // 2
        if r and self.halved:
            near = functional.pad(channels_first(x.bfloat16()), (r,) * 4, "replicate")
            return self._convolved(near, weights.permute(3, 2, 0, 1), shift)
        sums = TorchOps.window(x, weights, lambda sums, rows: sums)
        return sums if shift is None else sums.add_(shift)

    def spread(self, gradient: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Transpose of `correlate`: (P, H, W, O) -> (P, H, W, C)."""
        r = len(weights) // 2
        if not r:
            return gradient @ weights[0, 0].T
        turned = weights.flip(0, 1).permute(2, 3, 0, 1)
        x = self._convolved(channels_first(gradient), turned, padding=2 * r)
        for k in range(r):  # what looked beyond an edge has seen it
            for axis in (1, 2):
                if x.shape[axis] > 2 * r + 1:
                    ends(x, axis, r).add_(ends(x, axis, k))
                else:
                    x.select(axis, r).add_(x.select(axis, k)).add_(x.select(axis, 2 * r - k))
        return x[:, r:-r, r:-r]

    def _convolved(
        self,
        x: torch.Tensor,
        weights: torch.Tensor,
        shift: torch.Tensor | None = None,
        padding: int = 0,
    ) -> torch.Tensor:
        """Windows (P, C, H, W) (O, C, size, size) -> (P, H', W', O), in the precision of the weights."""
        if self.halved:
            x = x.bfloat16()
            shift = None if shift is None else shift.bfloat16()
        sums = functional.conv2d(x, weights.to(x.dtype), shift, padding=padding)
        return sums.to(weights.dtype).permute(0, 2, 3, 1)


SINGLE = Products()


@cache
def quickest() -> Products:
    """What a fit on this processor takes."""
    return Products(halved=_seconds(torch.bfloat16) * FASTER < _seconds(torch.float32))


@torch.no_grad()
def _seconds(dtype: torch.dtype) -> float:
    """Of one product, less than a millisecond."""
    x = channels_first(torch.zeros(1, SIDE, SIDE, CHANNELS, dtype=dtype))
    weights = torch.zeros(CHANNELS, CHANNELS, 3, 3, dtype=dtype)
    found = []
    for _ in range(TRIALS):
        started = time.perf_counter()
        functional.conv2d(x, weights)
        found.append(time.perf_counter() - started)
    return min(found)


def ends(x: torch.Tensor, axis: int, k: int) -> torch.Tensor:
    """Position k of an axis and the one as far from its end, which is another."""
    last = x.shape[axis] - 1
    place = [slice(None)] * axis
    return x[(*place, slice(k, last - k + 1, last - 2 * k))]


def channels_first(x: torch.Tensor) -> torch.Tensor:
    """(P, H, W, C) -> (P, C, H, W), as convolutions ask for it."""
    return x.permute(0, 3, 1, 2)
