"""Where the latents of some blocks' groups lie. numpy only.

Shapes: n blocks, M latents and G groups of the longest; W columns of some groups, one after another.
"""

from dataclasses import dataclass

import numpy as np

from ...format.streams import Partition


@dataclass(frozen=True)
class Layout:
    """Latents of some blocks in coding order. A *place* is a number in this order."""

    blocks: np.ndarray  # (n,) numbers of the blocks, longest first
    counts: np.ndarray  # (n,) groups of each
    latents: np.ndarray  # (n, M) latents in coding order
    used: np.ndarray  # (n, M) whether a place holds one
    starts: np.ndarray  # (n, G + 1) place of the first latent of every group

    @staticmethod
    def of(partition: Partition, blocks: np.ndarray) -> "Layout":
        """Of some blocks, longest first."""
        counts = partition.counts[blocks]
        lengths = np.diff(partition.blocks)[blocks]
        used = np.arange(lengths.max()) < lengths[:, None]
        latents = np.zeros(used.shape, np.int64)
        starts = np.zeros((len(blocks), counts[0] + 1), np.int64)
        for row, block in enumerate(blocks):
            begin, end = partition.blocks[block : block + 2]
            length = end - begin
            latents[row, :length] = partition.latents[begin:end]
            first, last = partition.groups[block : block + 2]
            ends = np.cumsum(partition.dims[first:last])
            count = len(ends)
            starts[row, 1 : count + 1] = ends
            starts[row, count + 1 :] = length
        return Layout(blocks, counts, latents, used, starts)

    @property
    def longest(self) -> int:
        """G, groups of the longest stream."""
        return int(self.counts[0])

    def active(self, group: int) -> int:
        """Blocks that have a group of this number: the first ones."""
        return int(np.count_nonzero(self.counts > group))

    def dims(self, group: int) -> int:
        """Latents of the largest group of this number."""
        dims = self.starts[:, group + 1] - self.starts[:, group]
        return int(dims.max())

    def columns(self, groups: range) -> dict[int, slice]:
        """Columns of groups that stand one after another, as many for each as its largest has latents."""
        found = {}
        start = 0
        for group in groups:
            end = start + self.dims(group)
            found[group] = slice(start, end)
            start = end
        return found

    def places(self, columns: dict[int, slice]) -> np.ndarray:
        """Places of the latents of these groups' columns; M where a block has fewer than others: (n, W)."""
        none = self.used.shape[1]
        width = max(some.stop for some in columns.values())
        found = np.full((len(self.blocks), width), none)
        for group, some in columns.items():
            n = self.active(group)
            starts = self.starts[:n, group]
            ends = self.starts[:n, group + 1]
            places = starts[:, None] + np.arange(some.stop - some.start)
            found[:n, some] = np.where(places < ends[:, None], places, none)
        return found

    def segment(self, number: int, segments: int) -> range:
        """Groups of one of `segments` equal parts of the longest stream."""
        first = -(-self.longest * number // segments)
        end = -(-self.longest * (number + 1) // segments)
        return range(first, end)
