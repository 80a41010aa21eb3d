"""Groups of latents, and their indices <-> bits (FORMAT.md, sections 5 and 6). Integers only.

The prior's tables say what every latent costs. A walk over a block's latents adds these costs up; a group ends where
they have filled its bits. So lengths of streams, number and members of groups follow from the classes. A group adds
`group_bits` bits to its block's stream, and its index is the last `index_bits` of the stream so far: a bitshift trellis
(Mao and Gray, 2010; QTIP, arXiv 2406.11235). Shapes: B blocks, D latents each, G groups in all; n coded latents.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from .candidates import order, within

COST_PER_BIT = 256  # costs count 1/256 bit
BLOCKS_AT_ONCE = 64  # blocks whose costs are added up together


@cache
def kl_table() -> np.ndarray:
    """KL that index 0 … 255 stands for, in 1/256 bit: (256,) int64, fine near 0 and up to 15.9 bits."""
    i = np.arange(256)
    return i * i // 16


def index_of(kl_bits: np.ndarray) -> np.ndarray:
    """Nearest index for a KL in bits; below 0.003 bit a latent is not coded: (...) -> uint8."""
    cost = np.maximum(kl_bits, 0) * COST_PER_BIT
    index = np.rint(np.sqrt(cost * 16))
    return np.clip(index, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Partition:
    """How the latents of some blocks form groups."""

    latents: np.ndarray  # (n,) coded latents in coding order, one block after another
    blocks: np.ndarray  # (B + 1,) where each block begins in `latents`
    dims: np.ndarray  # (G,) latents of every group, one block after another
    groups: np.ndarray  # (B + 1,) where each block begins in `dims`

    @property
    def counts(self) -> np.ndarray:
        """Groups of each block: (B,)."""
        return np.diff(self.groups)

    @property
    def owners(self) -> np.ndarray:
        """Block of every coded latent: (n,)."""
        sizes = np.diff(self.blocks)
        return np.repeat(np.arange(len(sizes)), sizes)

    @staticmethod
    def join(parts: "list[Partition]") -> "Partition":
        """One after another."""
        return Partition(
            latents=np.concatenate([part.latents for part in parts]),
            blocks=_joined([part.blocks for part in parts]),
            dims=np.concatenate([part.dims for part in parts]),
            groups=_joined([part.groups for part in parts]),
        )


def _joined(beginnings: list[np.ndarray]) -> np.ndarray:
    """Where blocks begin in one long list, from where they begin in each part of it: [(B + 1,)] -> (sum of B + 1,)."""
    sizes = [np.diff(own) for own in beginnings]
    return _starts(np.concatenate(sizes))


def _starts(sizes: np.ndarray) -> np.ndarray:
    """Where each of some runs begins, and where the last ends: (n,) -> (n + 1,)."""
    return np.concatenate([[0], sizes.cumsum()])


def partition(kl_index: np.ndarray, group_bits: int, chained: bool) -> Partition:
    """Cut the latents of blocks into groups: (B, D) uint8 indices of `kl_table`."""
    walk = order(kl_index.shape[1])
    parts = []
    for some in np.split(kl_index, range(BLOCKS_AT_ONCE, len(kl_index), BLOCKS_AT_ONCE)):
        parts.append(_partition(some, walk, group_bits, chained))
    return Partition.join(parts)


def _partition(kl_index: np.ndarray, walk: np.ndarray, group_bits: int, chained: bool) -> Partition:
    costs = kl_table()
    row, place = np.nonzero((costs > 0)[kl_index[:, walk]])
    latents = walk[place]
    cost = costs[kl_index[row, latents]]
    blocks = np.searchsorted(row, np.arange(len(kl_index) + 1))
    if chained:
        group, counts = _chained(cost, row, blocks, group_bits)
        coded = counts[row] > 0
        row = row[coded]
        latents = latents[coded]
        group = group[coded]
        blocks = _starts(np.where(counts > 0, np.diff(blocks), 0))
    else:
        group = _independent(cost, row, group_bits * COST_PER_BIT)
        counts = np.array([group[start:end].max(initial=-1) + 1 for start, end in pairwise(blocks)])
    groups = _starts(counts)
    dims = np.bincount(groups[row] + group, minlength=groups[-1])
    return Partition(latents, blocks, dims, groups)


def _chained(cost: np.ndarray, row: np.ndarray, blocks: np.ndarray, group_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Group of each coded latent, (n,), and groups of each block, (B,): a group ends at the nearest threshold.

    cost, row: KL and block of each latent with KL, (n,); blocks: where each block begins in them. Latents of a block
    that has no group are in group -1.
    """
    capacity = group_bits * COST_PER_BIT
    ends = _starts(cost)  # of all latents so far
    before = ends[blocks]
    counts = group_count(np.diff(before), group_bits)
    total = ends[1:] - before[row]  # of the block's latents so far
    group = (total - 1 + capacity // 2) // capacity
    return np.minimum(group, counts[row] - 1), counts


def _independent(cost: np.ndarray, row: np.ndarray, capacity: int) -> np.ndarray:
    """A group takes latents as long as their KL stays within its bits, and one at least: group of each, (n,)."""
    group = np.empty(len(cost), np.int64)
    block = -1
    current = 0
    spent = 0
    for i, (block_of_latent, bits) in enumerate(zip(row.tolist(), cost.tolist(), strict=True)):
        if block_of_latent != block:
            block = block_of_latent
            current = 0
            spent = 0
        elif spent + bits > capacity:
            current += 1
            spent = 0
        group[i] = current
        spent += bits
    return group


def group_count(total: np.ndarray, group_bits: int) -> np.ndarray:
    """Groups of a chained stream for its KL in 1/256 bit, to the nearest."""
    capacity = group_bits * COST_PER_BIT
    return (total + capacity // 2) // capacity


def to_bits(values: np.ndarray, width: int) -> np.ndarray:
    """The lowest bits of every number, highest of them first: (n,) -> (n * width,) uint8."""
    places = np.arange(width)[::-1]
    bits = (values.reshape(-1, 1) >> places) & 1
    return bits.astype(np.uint8).reshape(-1)


def from_bits(bits: np.ndarray, width: int) -> np.ndarray:
    """The inverse of `to_bits`: (n * width,) -> (n,) int64."""
    weights = 1 << np.arange(width)[::-1]
    return bits.reshape(-1, width).astype(np.int64) @ weights


def read_indices(stream: np.ndarray, groups: np.ndarray, group_bits: int, index_bits: int) -> np.ndarray:
    """Index of every group, the last L bits of its block's stream so far: streams one after another, (B,) -> (G,)."""
    new = from_bits(stream, group_bits)
    number = within(groups)  # of the group in its block
    value = new.copy()
    reach = -(-index_bits // group_bits)  # groups whose bits an index has
    for back in range(1, reach):
        earlier = new[:-back] << (back * group_bits)
        value[back:] += np.where(number[back:] >= back, earlier, 0)
    mask = (1 << index_bits) - 1
    return value & mask
