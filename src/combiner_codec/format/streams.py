"""Groups of latents, and their indices <-> bits (FORMAT.md, sections 5 and 6). Integers only.

The prior's tables say what every latent costs. A walk over a block's latents adds these costs up; a group ends where
they have filled its bits. So lengths of streams, number and members of groups follow from the classes. A group adds
`group_bits` bits to its block's stream, and its index is the last `index_bits` of the stream so far: a bitshift trellis
(Mao and Gray, 2010; QTIP, arXiv 2406.11235). Shapes: B blocks, D latents each, G groups in all.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from .candidates import order, within

UNIT = 256  # costs count 1/256 bit
AT_ONCE = 64  # blocks whose costs are added up together


@cache
def kl_table() -> np.ndarray:
    """KL that index 0 … 255 stands for, in 1/256 bit: (256,) int64, fine near 0 and up to 15.9 bits."""
    i = np.arange(256)
    return i * i // 16


def index_of(kl_bits: np.ndarray) -> np.ndarray:
    """Nearest index for a KL in bits; below 0.003 bit a latent is not coded: (...) -> uint8."""
    return np.clip(np.rint(np.sqrt(np.maximum(kl_bits, 0) * UNIT * 16)), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Partition:
    """How the latents of some blocks form groups."""

    latents: np.ndarray  # coded latents in coding order, one block after another
    blocks: np.ndarray  # (B + 1,) where each block begins in `latents`
    dims: np.ndarray  # latents of every group, one block after another
    groups: np.ndarray  # (B + 1,) where each block begins in `dims`

    @property
    def counts(self) -> np.ndarray:
        """Groups of each block: (B,)."""
        return np.diff(self.groups)

    @property
    def owners(self) -> np.ndarray:
        """Block of every coded latent, as long as `latents`."""
        return np.repeat(np.arange(len(self.blocks) - 1), np.diff(self.blocks))

    @staticmethod
    def join(parts: "list[Partition]") -> "Partition":
        """One after another."""

        def ends(name):
            return np.concatenate([[0], *(np.diff(getattr(part, name)) for part in parts)]).cumsum()

        latents, dims = (np.concatenate([getattr(part, name) for part in parts]) for name in ("latents", "dims"))
        return Partition(latents, ends("blocks"), dims, ends("groups"))


def partition(kl_index: np.ndarray, group_bits: int, chained: bool) -> Partition:
    """Cut the latents of blocks into groups: (B, D) uint8 indices of `kl_table`."""
    walk = order(kl_index.shape[1])
    parts = np.split(kl_index, range(AT_ONCE, len(kl_index), AT_ONCE))
    return Partition.join([_partition(part, walk, group_bits, chained) for part in parts])


def _partition(kl_index, walk, group_bits, chained):
    row, place = np.nonzero((kl_table() > 0)[kl_index[:, walk]])
    cost, blocks = kl_table()[kl_index[row, walk[place]]], np.searchsorted(row, np.arange(len(kl_index) + 1))
    if chained:
        group, counts = _chained(cost, row, blocks, group_bits)
        some = counts > 0
        row, place = (x[some[row]] for x in (row, place))
        blocks = np.concatenate([[0], (np.diff(blocks) * some).cumsum()])
    else:
        group = _independent(cost, row, group_bits * UNIT)
        counts = np.array([group[start:end].max(initial=-1) + 1 for start, end in pairwise(blocks)])
    groups = np.concatenate([[0], counts.cumsum()])
    dims = np.bincount(groups[row] + group, minlength=groups[-1])
    return Partition(walk[place], blocks, dims, groups)


def _chained(cost, row, blocks, group_bits):
    """Group of each coded latent of blocks that have any, and groups of each block: a group ends at the nearest
    threshold. cost, row: KL and block of each latent with KL, (n,); blocks: where each block begins in them.
    """
    ends = np.concatenate([[0], cost.cumsum()])
    before, capacity = ends[blocks], group_bits * UNIT
    counts = group_count(np.diff(before), group_bits)
    group = np.minimum((ends[1:] - before[row] - 1 + capacity // 2) // capacity, counts[row] - 1)
    return group[group >= 0], counts


def _independent(cost, row, capacity):
    """A group takes latents as long as their KL stays within its bits, and one at least: group of each, (n,)."""
    group, block, current, spent = np.empty(len(cost), np.int64), -1, 0, 0
    for i, (own, bits) in enumerate(zip(row.tolist(), cost.tolist(), strict=True)):
        if own != block:
            block, current, spent = own, 0, 0
        if spent and spent + bits > capacity:
            current, spent = current + 1, 0
        group[i], spent = current, spent + bits
    return group


def group_count(total: np.ndarray, group_bits: int) -> np.ndarray:
    """Groups of a chained stream for its KL in 1/256 bit, to the nearest."""
    capacity = group_bits * UNIT
    return (total + capacity // 2) // capacity


def to_bits(values: np.ndarray, width: int) -> np.ndarray:
    """The lowest bits of every number, highest of them first: (n,) -> (n * width,) uint8."""
    return (values.reshape(-1, 1) >> np.arange(width)[::-1] & 1).astype(np.uint8).reshape(-1)


def from_bits(bits: np.ndarray, width: int) -> np.ndarray:
    """The inverse of `to_bits`: (n * width,) -> (n,) int64."""
    return bits.reshape(-1, width).astype(np.int64) @ (1 << np.arange(width)[::-1])


def read_indices(stream: np.ndarray, groups: np.ndarray, group_bits: int, index_bits: int) -> np.ndarray:
    """Index of every group, the last L bits of its block's stream so far: streams one after another, (B,) -> (G,)."""
    new, number = from_bits(stream, group_bits), within(groups)
    value = new.copy()
    for back in range(1, -(-index_bits // group_bits)):
        value[back:] += np.where(number[back:] >= back, new[:-back] << (back * group_bits), 0)
    return value & ((1 << index_bits) - 1)
