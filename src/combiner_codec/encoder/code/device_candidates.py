"""The candidate stream of format/candidates.py, made where it is needed: on a GPU. Needs torch.

Words of 64 bits are int64 tensors, whose sums and products wrap around as those of unsigned words do; a shift to the
right brings copies of the sign, which a mask takes away. Many groups are drawn together, since each of some 240
operations costs as much for few numbers as for many.

Shapes: N candidates of groups of d latents each, R rows of NORMALS latents in all of them.
"""

from functools import cache

import torch

from ...format.candidates import CANDIDATES, MULTIPLIERS, NORMALS, STREAM_VERSION, WEYL, WORD, WORDS, normal_table
from ..fit.posterior import as_tensor

AT_ONCE = 2**22  # words of NORMALS latents: some 200 MB for a moment
ROUNDS = 10
PIECE = 16  # bits
LOW_PIECE = 0xFFFF
HALF = 32  # bits
LOW_HALF = 0xFFFFFFFF


class DrawnAhead:
    """Candidates of groups that are asked for one after another, drawn several groups at a time."""

    def __init__(self, seed: int, count: int, device: torch.device):
        """count: candidates of a group."""
        self.seed = seed
        self.count = count
        self.device = device
        self.expected: dict[int, int] = {}
        self.drawn: dict[int, torch.Tensor] = {}

    def expect(self, dims: dict[int, int]) -> None:
        """Groups of so many latents each are asked for next, in this order."""
        self.expected = dict(dims)
        self.drawn = {}

    def of(self, group: int) -> torch.Tensor:
        """Those of a group that is expected: (d, N)."""
        if group not in self.drawn:
            self.drawn = candidates(self.seed, self._next(), self.count, self.device)
        return self.drawn.pop(group)

    def _next(self) -> dict[int, int]:
        """Groups that are drawn at once, expected no longer."""
        some: dict[int, int] = {}
        rows = 0
        while self.expected:
            group = next(iter(self.expected))
            rows += len(_rows(self.expected[group]))
            if some and rows * self.count > AT_ONCE:
                break
            some[group] = self.expected.pop(group)
        return some


def candidates(seed: int, dims: dict[int, int], count: int, device: torch.device) -> dict[int, torch.Tensor]:
    """Candidates 0 … count - 1 of groups of so many latents, those of format/candidates.py: (d, count) float32 each."""
    lanes = [(group, row) for group in dims for row in _rows(dims[group])]
    draws = -(-count // WORDS)
    drawn = _philox(_counters(lanes, draws, device), seed)  # (WORDS, R, draws)
    words = drawn.permute(1, 2, 0).reshape(len(lanes), 1, -1)[:, :, :count]  # (R, 1, N)
    shifts = torch.arange(0, 64, PIECE, device=device)[:, None]  # low bits first
    pieces = (words >> shifts) & LOW_PIECE  # (R, NORMALS, N)
    normals = _normals(device).take(pieces).reshape(-1, count)
    found = {}
    first = 0
    for group, latents in dims.items():
        found[group] = normals[first : first + latents]
        first += NORMALS * len(_rows(latents))
    return found


def _rows(dims: int) -> range:
    """Rows of NORMALS latents each, which have streams of their own."""
    return range(-(-dims // NORMALS))


def _counters(lanes: list[tuple[int, int]], draws: int, device: torch.device) -> torch.Tensor:
    """Counters of so many draws of streams, each of a group and a row: (4, R, draws)."""
    of_lanes = torch.tensor(lanes).to(device, non_blocking=True)
    counters = torch.empty(4, len(lanes), draws, dtype=torch.int64, device=device)
    counters[0] = torch.arange(1, draws + 1, device=device)  # numpy counts up before it draws
    counters[1] = of_lanes[:, :1]
    counters[2].fill_(CANDIDATES)
    counters[3] = of_lanes[:, 1:]
    return counters


def _philox(counters: torch.Tensor, seed: int) -> torch.Tensor:
    """Philox4x64-10, as `format.candidates._philox` has it: four words of each draw, (4, ...) int64 twice."""
    device = counters.device
    multiplied = counters[0::2]  # (2, ...) words 0 and 2
    others = counters[1::2]  # words 1 and 3
    multipliers = _constants(MULTIPLIERS, device, multiplied.ndim)
    low_factors = multipliers & LOW_HALF
    high_factors = _high_half(multipliers)
    for keys in _keys(seed, device, multiplied.ndim):
        high = _high_product(multiplied, low_factors, high_factors).flip(0)
        low = (multiplied * multipliers).flip(0)
        multiplied = high ^ others ^ keys
        others = low
    return torch.stack([multiplied, others], 1).flatten(0, 1)


def _high_product(a: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """High 64 bits of products, from four of 32 x 32 bits each; low, high: halves of the other factors."""
    a_low = a & LOW_HALF
    a_high = _high_half(a)
    middle = a_high * low + _high_half(a_low * low)
    cross = a_low * high + (middle & LOW_HALF)
    return a_high * high + _high_half(middle) + _high_half(cross)


def _high_half(word: torch.Tensor) -> torch.Tensor:
    return (word >> HALF) & LOW_HALF


@cache
def _constants(words: tuple[int, ...], device: torch.device, ndim: int) -> torch.Tensor:
    """Unsigned words as int64, (n, 1, …) with `ndim` axes."""
    signed = [word - (1 << 64) if word >> 63 else word for word in words]
    return torch.tensor(signed).to(device).reshape(-1, *[1] * (ndim - 1))


@cache
def _keys(seed: int, device: torch.device, ndim: int) -> torch.Tensor:
    """The two words of every round's key: (ROUNDS, 2, 1, …), `ndim` axes without the first."""
    words = []
    for number in range(ROUNDS):
        for key, step in zip((seed, STREAM_VERSION), WEYL, strict=True):
            words.append((key + number * step) & WORD)
    return _constants(tuple(words), device, ndim).unflatten(0, (ROUNDS, 2))


@cache
def _normals(device: torch.device) -> torch.Tensor:
    """The table of quantiles: (65536,) float32."""
    return as_tensor(normal_table(), device)
