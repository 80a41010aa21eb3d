"""A* coding: which candidate of a group stands for the posterior. Needs torch; the decoder does without this module.

A candidate i of a group is a vector of standard normals from the shared stream; the latents it stands for are
m + s * sign * eps. A* coding (COMBINER, section 3.2) takes the index argmax_i { log q(w_i) - log p(w_i) + tau * G_i },
with G_1 > G_2 > … a decreasing Gumbel sequence that only the encoder needs. tau = 1 samples from q; tau = 0, which the
encoder takes, gives the candidate of least distortion.

Chained groups (a bitshift trellis: format/streams.py). Independent groups of b bits pay for being short: about a sixth
of the rate at 16 bits. Here consecutive indices overlap: a group adds b bits to its block's stream, and its index is
the last L >= b bits of the stream so far, so that every bit takes part in choosing about L / b groups. The best stream
is then a path through a trellis of 2^L states, which the Viterbi algorithm finds exactly on the same scores. With b = L
groups are independent again, and this is the paper's coder. Shapes: B blocks, N = 2^L candidates, d latents of a group.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

SHARP = 256.0  # prior over posterior scale from which float32 products lose the score
RIDING = 8  # dropped bits that fit into the lowest bits of a float32 score
IMPOSSIBLE = -1e30  # score of a window that cannot be reached
RESCORED = 256  # best candidates that independent groups score again in float64


@dataclass(frozen=True)
class Candidates:
    """All candidates of a group, one row per latent."""

    eps: torch.Tensor  # (d, N) float32
    square: torch.Tensor  # (d, N) eps^2

    @staticmethod
    def of(eps: torch.Tensor) -> "Candidates":
        return Candidates(eps, eps * eps)

    def first(self, dims: int) -> "Candidates":
        return Candidates(self.eps[:dims], self.square[:dims])


@dataclass(frozen=True)
class Ratio:
    """log q - log p of a batch of blocks as a quadratic in the candidate, in float64.

    With r = s / sigma and e = sign * (mu - m) / s: log q(w) - log p(w) = log r - r^2 (eps - e)^2 / 2 + eps^2 / 2.
    A latent with r = 1 and e = 0 does not count: so blocks whose groups have fewer latents than others are filled up.
    """

    ratio: torch.Tensor  # (B, d) r
    centre: torch.Tensor  # (B, d) e
    of_squares: torch.Tensor  # (B, d) float32, what eps^2 counts
    of_eps: torch.Tensor  # (B, d) float32, what eps counts
    sharp: np.ndarray  # (B, d) bool, where r is too large for float32 products; on the processor, which asks for it

    @staticmethod
    def of(ratio: torch.Tensor, centre: torch.Tensor) -> "Ratio":
        squared = ratio**2
        of_squares = 0.5 - 0.5 * squared
        of_eps = squared * centre
        sharp = (ratio > SHARP).cpu().numpy()
        return Ratio(ratio, centre, of_squares.float(), of_eps.float(), sharp)

    def at(self, rows: int, columns: slice) -> "Ratio":
        """Some columns of the first rows."""
        place = slice(rows), columns
        return Ratio(
            self.ratio[place], self.centre[place], self.of_squares[place], self.of_eps[place], self.sharp[place]
        )

    def exact(self, eps):
        """Scores in float64 of candidates (B, ..., d), or of (..., d) for all blocks."""
        eps = eps.double()
        between = [1] * (eps.ndim - 2)
        r = self.ratio.reshape(len(self.ratio), *between, -1)
        e = self.centre.reshape(len(self.centre), *between, -1)
        log_q = torch.log(r) - 0.5 * (r * (eps - e)) ** 2
        return (log_q + 0.5 * eps**2).sum(-1)

    def scores(self, drawn: Candidates) -> torch.Tensor:
        """All candidates of a group: (B, N) float32, up to a constant per drawn."""
        sharp = np.flatnonzero(self.sharp.any(0))
        of_squares, of_eps = self.of_squares, self.of_eps
        eps, squares = drawn.eps, drawn.square
        if len(sharp):
            blunt = np.flatnonzero(~self.sharp.any(0)).tolist()
            of_squares = chosen(of_squares, 1, blunt)
            of_eps = chosen(of_eps, 1, blunt)
            eps = chosen(eps, 0, blunt)
            squares = chosen(squares, 0, blunt)
        total = of_squares @ squares
        total.addmm_(of_eps, eps)
        for latent in sharp:
            x = drawn.eps[latent].double()
            r = self.ratio[:, latent : latent + 1]
            e = self.centre[:, latent : latent + 1]
            score = 0.5 * x * x - 0.5 * (r * (x - e)) ** 2
            total.add_(score.float())
        return total


def chosen(x: torch.Tensor, axis: int, numbers: list[int]) -> torch.Tensor:
    """Some rows or columns, or none: by no list of indices, which a GPU would have to be sent."""
    some = [x.narrow(axis, number, 1) for number in numbers]
    return torch.cat([x.narrow(axis, 0, 0), *some], axis)


def choose(ratio: Ratio, drawn: Candidates, noise: torch.Tensor | None = None) -> torch.Tensor:
    """The A* index of one independent group: candidates -> (B,) int64.

    All candidates are scored in float32, the best few hundred again in float64. noise: tau * Gumbels, (B, N), if the
    choice is to be a sample.
    """
    total = ratio.scores(drawn)
    if noise is not None:
        total = total + noise
    count = min(RESCORED, total.shape[1])
    best = total.topk(count, dim=1).indices
    best = best.sort(1).values  # (B, R)
    exact = ratio.exact(drawn.eps.T[best])
    if noise is not None:
        exact = exact + noise.gather(1, best)
    return best.gather(1, exact.argmax(1, keepdim=True))[:, 0]


class StreamCoder(Protocol):
    """Coder of some blocks' streams: groups are pushed in order, `finish` settles their indices.

    Blocks stand in order of falling length: a push concerns the first of them.
    """

    def push(self, ratio: Ratio, drawn: Candidates) -> None:
        """Add a group to the first n streams: (n, d)."""

    def finish(self, keep: int | None = None) -> torch.Tensor:
        """Indices of the first `keep` groups that were pushed (all if None): (B, G) int64, 0 after a stream's end."""


class Independent:
    """Coder of groups that do not overlap."""

    def __init__(self, blocks: int):
        self.blocks = blocks
        self.chosen: list[torch.Tensor] = []

    def push(self, ratio: Ratio, drawn: Candidates) -> None:
        self.chosen.append(choose(ratio, drawn))

    def finish(self, keep: int | None = None) -> torch.Tensor:
        kept = self.chosen[:keep]
        device = kept[0].device if kept else None
        indices = torch.zeros(self.blocks, len(kept), dtype=torch.int64, device=device)
        for group, index in enumerate(kept):
            indices[: len(index), group] = index
        self.chosen = []
        return indices


class Chain:
    """Viterbi coder of groups whose indices overlap (a `StreamCoder`): finds the best streams.

    state: (B,) int64, the last L bits of every stream so far, 0 at its start.
    """

    def __init__(self, index_bits: int, group_bits: int, blocks: int, device="cpu"):
        self.index_bits = index_bits
        self.bits = group_bits
        self.keep = index_bits - group_bits  # bits of the last index that stay in the window
        self.state = torch.zeros(blocks, dtype=torch.int64, device=device)
        self.score: torch.Tensor | None = None
        self.stages: list[torch.Tensor] = []
        self.tags = torch.arange(1 << group_bits, dtype=torch.int32, device=device)[:, None]

    def push(self, ratio: Ratio, drawn: Candidates) -> None:
        """Add a group to the first n streams: (n, d)."""
        total = ratio.scores(drawn)
        n = len(total)
        if self.score is None:
            entry, choice = self._enter(total)
        else:
            if n < len(self.score):
                self.state[n : len(self.score)] = self.score[n:].argmax(1)
            entry, choice = self._best(self.score[:n])
        by_window = total.view(n, 1 << self.keep, 1 << self.bits)
        by_window.add_(entry[:, :, None])
        self.score = total
        if len(self.stages) % 8 == 7:
            self.score -= self.score.amax(1, keepdim=True)
        small = torch.uint8 if self.bits <= 8 else torch.int32
        self.stages.append(choice.to(small))

    def _best(self, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Best predecessor of every window over the bits that drop out: score and those bits, (n, 2^keep) each.

        The bits ride in the lowest bits of the float32 scores (an error below 1e-3 nats): a maximum without indices
        is many times faster.
        """
        scores = scores.view(len(scores), 1 << self.bits, 1 << self.keep)
        if self.bits > RIDING:
            return scores.max(1)
        mask = (1 << self.bits) - 1
        scores.view(torch.int32).bitwise_and_(~mask).bitwise_or_(self.tags)
        best = scores.amax(1)
        return best, best.view(torch.int32) & mask

    def finish(self, keep: int | None = None) -> torch.Tensor:
        """Indices of the best paths' first `keep` groups (all if None): (B, G) int64, 0 after the end of a stream.

        The chain then goes on from the last of them. Groups pushed beyond `keep` are a look ahead: without it, the
        next groups would start from a state chosen without regard to them.
        """
        state = self.state.clone()  # of streams that end here, the last
        state[: len(self.score)] = self.score.argmax(1)
        states = []  # after each stage, the last one first
        for choice in reversed(self.stages):
            states.append(state)
            n = len(choice)
            staying = state[:n] >> self.bits
            dropped = choice.gather(1, staying[:, None])[:, 0]
            before = staying.add(dropped, alpha=1 << self.keep)
            state = before if n == len(state) else torch.cat([before, state[n:]])
        indices = torch.stack(states[::-1], 1)
        going_on = len(indices)
        for stage, choice in enumerate(self.stages):
            if len(choice) < going_on:
                going_on = len(choice)
                indices[going_on:, stage:] = 0
        kept = indices[:, :keep]
        n = len(self.stages[kept.shape[1] - 1])
        self.state[:n] = kept[:n, -1]
        self.score = None
        self.stages = []
        return kept

    def _enter(self, total: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """First stage: only windows that follow the known state."""
        n = len(total)
        windows = 1 << self.keep
        state = self.state[:n, None]
        entry = torch.full((n, windows), IMPOSSIBLE, device=total.device)
        entry.scatter_(1, state & (windows - 1), 0.0)
        dropped = (state >> self.keep).expand(-1, windows)
        return entry, dropped
