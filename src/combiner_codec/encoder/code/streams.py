"""Streams of a picture's blocks, coded group by group and segment by segment. Needs torch.

All blocks of all pictures share the candidates of a group number. Blocks of about the same length are coded together,
as a bundle, so that the scores of a Viterbi step stay in the processor's cache. Shapes: n blocks of a bundle, M latents
of the longest, G groups of the longest; D latents of every block.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional

from ...format import candidates
from ...format.prior import OperatingPoint
from ...format.streams import Partition, to_bits
from ...synthesis.latents import latent
from ..fit.posterior import Gaussians, Posterior, as_tensor
from ..fit.workers import ahead, each
from .trellis import Candidates, Chain, Ratio, choose, gumbel_sequence

AHEAD = 3  # index widths that the coder looks beyond a segment
KEPT = 2**25  # normals of candidates, at most, that are kept from one segment to the next
CACHE = 2**19  # scores of one Viterbi step that stay in a processor's cache, in elements
MOST, ALIKE = 64 * CACHE, 0.8  # the same on a GPU, and lengths of streams there over the longest one's


class Latents(Protocol):
    """What is coded: latents of blocks, or a picture's modulations."""

    point: OperatingPoint
    kl_index: np.ndarray  # (B, D) uint8
    partition: Partition  # of the same blocks
    prior: Gaussians  # (B, D), means (D,)
    numbers: np.ndarray  # (B,) of each block in its picture
    coded: np.ndarray  # (B,) bool, whether a block has a stream here
    device: torch.device


@dataclass(frozen=True)
class Code:
    """How groups are coded."""

    seed: int  # of the candidate stream
    index_bits: int  # L
    temperature: float  # weight of the Gumbels
    segments: int  # parts of every stream


@dataclass(frozen=True)
class Layout:
    """Where the latents of a bundle lie."""

    blocks: np.ndarray  # (n,) numbers of the blocks, longest first
    counts: np.ndarray  # (n,) groups of each
    latents: np.ndarray  # (n, M) latents in coding order
    used: np.ndarray  # (n, M) whether a place holds one
    starts: np.ndarray  # (n, G + 1) place of the first latent of every group

    @staticmethod
    def of(subject: Latents, blocks: np.ndarray) -> "Layout":
        """Of some blocks, longest first."""
        parts, counts = subject.partition, subject.partition.counts[blocks]
        lengths = np.diff(parts.blocks)[blocks]
        used = np.arange(lengths.max()) < lengths[:, None]
        latents = np.zeros(used.shape, np.int64)
        starts = np.repeat(lengths[:, None], counts[0] + 1, 1)
        for row, block in enumerate(blocks):
            latents[row, : lengths[row]] = parts.latents[parts.blocks[block] : parts.blocks[block + 1]]
            dims = parts.dims[parts.groups[block] : parts.groups[block + 1]]
            starts[row, : len(dims) + 1] = np.cumsum(np.concatenate([[0], dims]))
        return Layout(blocks, counts, latents, used, starts)

    def active(self, g: int) -> int:
        """Blocks that have a group g: the first ones."""
        return int(np.count_nonzero(self.counts > g))

    def dims(self, g: int) -> int:
        """Latents of the largest group g."""
        return int((self.starts[:, g + 1] - self.starts[:, g]).max())

    def places(self, g: int) -> np.ndarray:
        """Places of group g's latents; M, where a block has fewer than others: (active, dims)."""
        n = self.active(g)
        places = self.starts[:n, g, None] + np.arange(self.dims(g))
        return np.where(places < self.starts[:n, g + 1, None], places, self.used.shape[1])

    def segment(self, number: int, segments: int) -> range:
        """Groups of one of `segments` equal parts of the longest stream."""
        longest = int(self.counts[0])
        return range(*(-(-longest * s // segments) for s in (number, number + 1)))


@dataclass(frozen=True)
class Bundle:
    """The streams of a few blocks of about the same length, coded together."""

    subject: Latents
    code: Code
    layout: Layout
    chain: Chain  # what the coder has seen so far
    indices: np.ndarray = field(repr=False)  # (n, G) int64, filled in as segments are settled
    chosen: list = field(default_factory=list, repr=False)  # of a segment, where groups are independent

    @staticmethod
    def of(subject: Latents, code: Code, blocks: np.ndarray) -> "Bundle":
        """Of some blocks, longest first."""
        layout, group_bits = Layout.of(subject, blocks), subject.point.group_bits
        chain = Chain(code.index_bits, group_bits, len(blocks), subject.device)
        return Bundle(subject, code, layout, chain, np.zeros((len(blocks), layout.counts[0]), np.int64))

    @cached_property
    def numbers(self) -> np.ndarray:
        """Number of each block in its picture: (n,)."""
        return self.subject.numbers[self.layout.blocks]

    @cached_property
    def where(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Row and latent of every place in (B, D) tensors."""
        on = self.subject.device
        return as_tensor(self.layout.blocks[:, None], on), as_tensor(self.layout.latents, on)

    @cached_property
    def signs(self) -> torch.Tensor:
        """Sign of every place: (n, M) float64."""
        signs = candidates.signs(self.code.seed, self.numbers, self.subject.kl_index.shape[1])
        return as_tensor(np.take_along_axis(signs, self.layout.latents, 1), self.subject.device).double()

    @cached_property
    def scale(self) -> torch.Tensor:
        """Prior scale of every place: (n, M) float64."""
        return self.subject.prior.scale[self.where].double()

    @cached_property
    def mean(self) -> torch.Tensor:
        """Prior mean of every place: (n, M) float64."""
        return self.subject.prior.mean[self.where[1]].double()

    def pushed(self, segment: int) -> range:
        """Groups that coding a segment looks at: its own, and some of look-ahead where indices overlap."""
        own, point = self.layout.segment(segment, self.code.segments), self.subject.point
        ahead = AHEAD * self.code.index_bits // point.group_bits if point.chained and own else 0
        return range(own.start, min(own.stop + ahead, int(self.layout.counts[0])))

    def next_start(self, segment: int) -> int:
        """First group of the segment after this one."""
        return self.layout.segment(segment, self.code.segments).stop

    def ratio(self, posterior: Posterior) -> Ratio:
        """log q - log p of every place. A last column, of latents that do not count, fills short groups; coded latents
        are not looked at again.
        """
        sigma, used = posterior.scale[self.where].double(), as_tensor(self.layout.used, self.subject.device)
        shift = self.signs * (posterior.mean[self.where].double() - self.mean)
        live = used & (sigma > 0)
        ratio = torch.where(live, self.scale / torch.where(live, sigma, 1.0), 1.0)
        centre = torch.where(live, shift / torch.where(live, self.scale, 1.0), 0.0)
        return Ratio.of(functional.pad(ratio, (0, 1), value=1.0), functional.pad(centre, (0, 1)))

    def push(self, g: int, ratio: Ratio, drawn: Candidates) -> None:
        """Code group g, or take it into the trellis."""
        places = self.layout.places(g)
        n, dims = places.shape
        scores = ratio.at(places)
        gumbels = self._gumbels(g, n, drawn.eps.shape[1])
        if self.subject.point.chained:
            self.chain.push(scores, drawn.first(dims), gumbels)
        else:
            self.chosen.append(choose(scores, drawn.first(dims), gumbels))

    def settle(self, segment: int) -> tuple[tuple, torch.Tensor]:
        """Settle the indices of a segment: its latents' rows and numbers, and the values that they have from now on."""
        own = self.layout.segment(segment, self.code.segments)
        if self.subject.point.chained:
            self.indices[:, own.start : own.stop] = self.chain.finish(len(own)).cpu().numpy()
        elif own:
            found, lengths = torch.cat(self.chosen).cpu().numpy(), [len(one) for one in self.chosen]
            for g, column in zip(own, np.split(found, np.cumsum(lengths)[:-1]), strict=True):
                self.indices[: len(column), g] = column
            self.chosen.clear()
        row, group = np.nonzero(np.arange(own.start, own.stop) < self.layout.counts[:, None])
        group, starts = group + own.start, self.layout.starts
        dims = starts[row, group + 1] - starts[row, group]
        eps = candidates.candidates_at(self.code.seed, group, self.indices[row, group], dims)
        place = np.arange(self.layout.used.shape[1])
        coded = (place >= starts[:, own.start, None]) & (place < starts[:, own.stop, None])
        on = self.subject.device
        row, place = (as_tensor(a, on) for a in np.nonzero(coded))
        value = latent(*(x[row, place] for x in (self.mean, self.scale, self.signs)), as_tensor(eps, on))
        return (self.where[0][row, 0], self.where[1][row, place]), value.float()

    def _gumbels(self, g, n, count):
        if not self.code.temperature:
            return None
        drawn = np.stack([gumbel_sequence(self.code.seed, int(number), g, count) for number in self.numbers[:n]])
        return as_tensor(self.code.temperature * drawn.astype(np.float32), self.subject.device)


def bundles(subject: Latents, code: Code) -> list[Bundle]:
    """All blocks that are coded, in order of falling length, a few at a time; on a GPU more, as far as they are ALIKE:
    segments are parts of the longest stream, and what a short one has in the first of them is not refined.
    """
    counts = subject.partition.counts * subject.coded
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    few, many, found, start = max(1, CACHE >> code.index_bits), subject.device.type != "cpu", [], 0
    while start < len(order):
        alike = int(np.count_nonzero(counts[order[start:]] >= ALIKE * counts[order[start]])) if many else 0
        end = start + max(few, min(alike, MOST >> code.index_bits))
        found.append(Bundle.of(subject, code, order[start:end]))
        start = end
    return found


class Draws:
    """Candidates by group number, the same for all blocks."""

    def __init__(self, code: Code, device: torch.device):
        self.code, self.device = code, device
        self.kept: dict[int, torch.Tensor] = {}  # of groups that a segment has looked ahead at

    def of(self, g: int, dims: int, keep: bool) -> Candidates:
        """Those of a group; keep: it will be asked for again."""
        eps = self.kept.pop(g, None)
        if eps is None or len(eps) < dims:
            drawn = candidates.candidates(self.code.seed, g, 1 << self.code.index_bits, dims)
            eps = as_tensor(drawn, self.device)
        if keep:
            self.kept[g] = eps
        return Candidates.of(eps[:dims])

    def again(self, dims: dict[int, int], start: int) -> set[int]:
        """Of groups of so many latents each, those to keep for a segment that begins at `start`."""
        later = [g for g in dims if g >= start]
        size = np.cumsum([dims[g] << self.code.index_bits for g in later])
        return set(later[: np.searchsorted(size, KEPT, "right")])


def code_segment(works: Sequence[tuple[Sequence[Bundle], Posterior]], segment: int, draws: Draws) -> list[Posterior]:
    """Code one part of every stream of some subjects' bundles, group by group; its latents are fixed in the posteriors
    that come back.
    """
    spans = [
        (bundle, span, posterior) for own, posterior in works for bundle in own if (span := bundle.pushed(segment))
    ]
    spans = [(bundle, span, bundle.ratio(posterior)) for bundle, span, posterior in spans]
    groups = range(min((s.start for _, s, _ in spans), default=0), max((s.stop for _, s, _ in spans), default=0))
    active = {g: own for g in groups if (own := [(bundle, ratio) for bundle, span, ratio in spans if g in span])}
    dims = {g: max(bundle.layout.dims(g) for bundle, _ in own) for g, own in active.items()}
    again = draws.again(dims, min((bundle.next_start(segment) for bundle, _, _ in spans), default=0))

    for g, drawn in zip(active, ahead(lambda g: draws.of(g, dims[g], g in again), active), strict=True):
        each(lambda one, g=g, drawn=drawn: one[0].push(g, one[1], drawn), active[g])
    return [settled(own, segment, posterior) for own, posterior in works]


def settled(own: Iterable[Bundle], segment: int, posterior: Posterior) -> Posterior:
    """The posterior with a segment's latents at what the bundles have chosen."""
    found = [bundle.settle(segment) for bundle in own if bundle.pushed(segment)]
    return posterior.fixed([where for where, _ in found], [value for _, value in found])


def streams(subject: Latents, own: Iterable[Bundle]) -> list[np.ndarray]:
    """Bits of the stream of every block that is coded: an array of 0 and 1 each."""
    found = [np.zeros(0, np.uint8)] * len(subject.kl_index)
    for bundle in own:
        for block, row, count in zip(bundle.layout.blocks, bundle.indices, bundle.layout.counts, strict=True):
            found[block] = to_bits(row[:count], subject.point.group_bits)
    return [found[block] for block in np.flatnonzero(subject.coded)]
