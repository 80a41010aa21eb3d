"""Streams of a section's blocks, coded group by group and segment by segment. Needs torch.

All blocks of all pictures share the candidates of a group number. Blocks of about the same length are coded together,
as a bundle. Shapes: B blocks of D latents each; n blocks of a bundle, M latents of the longest, G groups of the
longest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch.nn import functional

from ...format import candidates
from ...format.streams import to_bits
from ...synthesis.latents import latent
from ..fit.latents import Latents
from ..fit.posterior import Posterior, as_tensor
from ..threads import Threads
from .device_candidates import DrawnAhead
from .layout import Layout
from .trellis import Candidates, Chain, Independent, Ratio, StreamCoder

AHEAD = 3  # index widths that the coder looks beyond a segment
AT_ONCE = 2**22  # normals of candidates, about, that are drawn together
KEPT = 2**25  # normals of candidates, at most, that are kept from one segment to the next
BLOCKS = (
    24  # coded together on a processor: more share candidates that come from memory, fewer keep scores in the cache
)
CUDA_SCORES = 2**25  # of one Viterbi step on a GPU, at most
ALIKE = 0.8  # lengths of streams over the longest one's, for which a GPU codes them together


@dataclass(frozen=True)
class CoderSettings:
    """How groups are coded."""

    seed: int  # of the candidate stream
    index_bits: int  # L
    segments: int  # parts of every stream, between which the rest is refined


class Bundle:
    """The streams of a few blocks of about the same length, on their way."""

    def __init__(self, latents: Latents, settings: CoderSettings, blocks: np.ndarray):
        """Of some blocks, longest first."""
        self.latents = latents
        self.settings = settings
        self.layout = Layout.of(latents.partition, blocks)
        self.coder: StreamCoder = Independent(len(blocks))
        if latents.chained:
            self.coder = Chain(settings.index_bits, latents.group_bits, len(blocks), latents.device)
        self.indices = np.zeros((len(blocks), self.layout.longest), np.int64)  # (n, G), of settled segments

    @cached_property
    def where(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Row and latent of every place in (B, D) tensors."""
        device = self.latents.device
        return as_tensor(self.layout.blocks[:, None], device), as_tensor(self.layout.latents, device)

    @cached_property
    def signs(self) -> torch.Tensor:
        """Sign of every place: (n, M) float64."""
        numbers = self.latents.numbers[self.layout.blocks]
        count = self.latents.kl_index.shape[1]
        of_latents = candidates.signs(self.settings.seed, numbers, count)
        of_places = np.take_along_axis(of_latents, self.layout.latents, 1)
        return as_tensor(of_places, self.latents.device).double()

    @cached_property
    def scale(self) -> torch.Tensor:
        """Prior scale of every place: (n, M) float64."""
        return self.latents.prior.scale[self.where].double()

    @cached_property
    def mean(self) -> torch.Tensor:
        """Prior mean of every place: (n, M) float64."""
        return self.latents.prior.mean[self.where[1]].double()

    def segment(self, number: int) -> range:
        """Groups of a segment."""
        return self.layout.segment(number, self.settings.segments)

    def span(self, segment: int) -> range:
        """Groups that coding a segment looks at: its own, and some of look-ahead where indices overlap."""
        groups = self.segment(segment)
        ahead = 0
        if self.latents.chained and groups:
            ahead = AHEAD * self.settings.index_bits // self.latents.group_bits
        return range(groups.start, min(groups.stop + ahead, self.layout.longest))

    def ratio(self, posterior: Posterior, columns: dict[int, slice]) -> Ratio:
        """log q - log p of these groups' columns. A latent that does not count fills short groups; coded latents are
        not looked at again.
        """
        sigma = posterior.scale[self.where].double()
        mean = posterior.mean[self.where].double()
        shift = self.signs * (mean - self.mean)
        used = as_tensor(self.layout.used, self.latents.device)
        live = used & (sigma > 0)
        safe_sigma = torch.where(live, sigma, 1.0)
        safe_scale = torch.where(live, self.scale, 1.0)
        ratio = torch.where(live, self.scale / safe_sigma, 1.0)
        centre = torch.where(live, shift / safe_scale, 0.0)
        filled_ratio = functional.pad(ratio, (0, 1), value=1.0)
        filled_centre = functional.pad(centre, (0, 1))
        places = as_tensor(self.layout.places(columns), self.latents.device)
        return Ratio.of(filled_ratio.gather(1, places), filled_centre.gather(1, places))

    def settle(self, segment: int) -> tuple[tuple, torch.Tensor]:
        """Settle the indices of a segment: its latents' rows and numbers, and the values that they have from now on."""
        groups = self.segment(segment)
        found = self.coder.finish(len(groups)).cpu().numpy()
        self.indices[:, groups.start : groups.stop] = found
        starts = self.layout.starts
        there = np.array(groups) < self.layout.counts[:, None]
        row, within = np.nonzero(there)
        group = within + groups.start
        dims = starts[row, group + 1] - starts[row, group]
        index = self.indices[row, group]
        eps = candidates.candidates_at(self.settings.seed, group, index, dims)
        place = np.arange(self.layout.used.shape[1])
        begun = place >= starts[:, groups.start, None]
        ended = place >= starts[:, groups.stop, None]
        device = self.latents.device
        row, place = (as_tensor(numbers, device) for numbers in np.nonzero(begun & ~ended))
        at = row, place
        value = latent(self.mean[at], self.scale[at], self.signs[at], as_tensor(eps, device))
        blocks, latents = self.where
        return (blocks[row, 0], latents[at]), value.float()


def bundles(latents: Latents, settings: CoderSettings) -> list[Bundle]:
    """All blocks whose streams are wanted, in order of falling length, a few at a time.

    A GPU takes more at a time, as far as they are ALIKE: segments are parts of the longest stream, and what a short one
    has in the first of them is not refined.
    """
    counts = latents.partition.counts * latents.in_file
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    found = []
    start = 0
    while start < len(order):
        count = BLOCKS
        if latents.device.type != "cpu":
            left = counts[order[start:]]
            alike = int(np.count_nonzero(left >= ALIKE * left[0]))
            most = CUDA_SCORES >> settings.index_bits
            count = max(count, min(alike, most))
        found.append(Bundle(latents, settings, order[start : start + count]))
        start += count
    return found


class Draws:
    """Candidates by group number, the same for all blocks."""

    def __init__(self, settings: CoderSettings, device: torch.device):
        self.settings = settings
        self.device = device
        self.count = 1 << settings.index_bits
        self.kept: dict[int, torch.Tensor] = {}  # of groups that a segment has looked ahead at
        self.ahead = None
        if device.type != "cpu":  # on a processor numpy is many times faster
            self.ahead = DrawnAhead(settings.seed, self.count, device)

    def expect(self, dims: dict[int, int]) -> None:
        """Groups of so many latents each are asked for next, in this order."""
        for group, latents in dims.items():
            if group in self.kept and len(self.kept[group]) < latents:
                del self.kept[group]
        if self.ahead:
            missing = {group: latents for group, latents in dims.items() if group not in self.kept}
            self.ahead.expect(missing)

    def of(self, group: int, dims: int, keep: bool) -> Candidates:
        """Those of a group that is expected; keep: it will be asked for again."""
        eps = self.kept.pop(group, None)
        if eps is None:
            eps = self._drawn(group, dims)
        if keep:
            self.kept[group] = eps
        return Candidates.of(eps[:dims])

    def _drawn(self, group: int, dims: int) -> torch.Tensor:
        if self.ahead:
            return self.ahead.of(group)
        return as_tensor(candidates.candidates(self.settings.seed, group, self.count, dims))

    def at_once(self, dims: dict[int, int], threads: int) -> list[list[int]]:
        """Groups of so many latents each, in runs whose candidates are drawn before any of them is coded: threads that
        share out the bundles meet after a run.
        """
        runs: list[list[int]] = []
        room = 0
        for group, latents in dims.items():
            size = latents << self.settings.index_bits
            if not runs or threads == 1 or size > room:
                runs.append([])
                room = AT_ONCE
            runs[-1].append(group)
            room -= size
        return runs

    def again(self, dims: dict[int, int], start: int) -> set[int]:
        """Of groups of so many latents each, those to keep for a segment that begins at `start`."""
        later = [group for group in dims if group >= start]
        size = np.cumsum([dims[group] << self.settings.index_bits for group in later])
        return set(later[: np.searchsorted(size, KEPT, "right")])


@dataclass(frozen=True)
class Span:
    """Groups of one bundle that coding a segment looks at; what it asks of each goes to a GPU at once."""

    bundle: Bundle
    columns: dict[int, slice]  # of each group
    ratio: Ratio

    @staticmethod
    def of(bundle: Bundle, groups: range, posterior: Posterior) -> "Span":
        columns = bundle.layout.columns(groups)
        return Span(bundle, columns, bundle.ratio(posterior, columns))

    def push(self, group: int, drawn: Candidates) -> None:
        """Code a group, or take it into the trellis."""
        columns = self.columns[group]
        active = self.bundle.layout.active(group)
        dims = columns.stop - columns.start
        self.bundle.coder.push(self.ratio.at(active, columns), drawn.first(dims))


@dataclass(frozen=True)
class Streams:
    """The streams of one section of some pictures, on their way, and the posterior that they stand for."""

    bundles: Sequence[Bundle]
    posterior: Posterior


def code_segment(sections: Sequence[Streams], segment: int, draws: Draws, threads: Threads) -> list[Streams]:
    """Code one part of every stream, group by group; its latents are fixed in the posteriors that come back."""
    spans = []
    for section in sections:
        for bundle in section.bundles:
            if groups := bundle.span(segment):
                spans.append(Span.of(bundle, groups, section.posterior))
    dims: dict[int, int] = {}
    for group in sorted({group for span in spans for group in span.columns}):
        dims[group] = max(span.bundle.layout.dims(group) for span in spans if group in span.columns)
    next_start = min((span.bundle.segment(segment).stop for span in spans), default=0)
    again = draws.again(dims, next_start)
    draws.expect(dims)

    def draw(groups):
        return {group: draws.of(group, dims[group], group in again) for group in groups}

    for drawn in threads.ahead(draw, draws.at_once(dims, threads.count)):
        push_all(spans, drawn, threads)
    return [settled(section, segment) for section in sections]


def push_all(spans: Sequence[Span], drawn: dict[int, Candidates], threads: Threads) -> None:
    """Code some groups, from the candidates of each, of all bundles that have them."""

    def push(span):
        for group, candidates_of_group in drawn.items():
            if group in span.columns:
                span.push(group, candidates_of_group)

    threads.map(push, spans)


def settled(section: Streams, segment: int) -> Streams:
    """The same with a segment's latents at what its bundles have chosen."""
    found = [bundle.settle(segment) for bundle in section.bundles if bundle.span(segment)]
    places = [place for place, _ in found]
    values = [value for _, value in found]
    return Streams(section.bundles, section.posterior.fixed(places, values))


def streams(latents: Latents, coded: Sequence[Bundle]) -> list[np.ndarray]:
    """Bits of the stream of every block that is wanted: an array of 0 and 1 each."""
    found = [np.zeros(0, np.uint8)] * len(latents.kl_index)
    for bundle in coded:
        layout = bundle.layout
        for row, block in enumerate(layout.blocks):
            indices = bundle.indices[row, : layout.counts[row]]
            found[block] = to_bits(indices, latents.group_bits)
    return [found[block] for block in np.flatnonzero(latents.in_file)]
