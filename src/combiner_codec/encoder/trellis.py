"""A* coding: which candidate of a group stands for the posterior. Needs torch; the decoder does without this module.

A candidate i of a group is a vector of standard normals from the shared stream; the latents it stands for are
m + s * sign * eps. A* coding (COMBINER, section 3.2) takes the index argmax_i { log q(w_i) - log p(w_i) + tau * G_i },
with G_1 > G_2 > … a decreasing Gumbel sequence that only the encoder needs. tau = 1 samples from q, tau = 0 takes the
candidate of least distortion.

Chained groups (a bitshift trellis: format/streams.py). Independent groups of b bits pay for being short: about a sixth
of the rate at 16 bits. Here consecutive indices overlap: a group adds b bits to its block's stream, and its index is
the L >= b bits that end with them, so that every bit takes part in choosing about L / b groups. The stream is a circle
(a tail-biting trellis). Once the bits that its ends share are settled, the best stream is a path through a trellis of
2^L states, which the Viterbi algorithm finds exactly on the same scores. With b = L groups are independent again, and
this is the paper's coder. Shapes: B blocks, N = 2^L candidates, d latents of a group.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from ..format import candidates

SHARP = 256.0  # prior over posterior scale from which float32 products lose the score
RIDING = 8  # dropped bits that fit into the lowest bits of a float32 score
BARRED = -1e30  # score of what cannot be
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

    def exact(self, eps):
        """Scores in float64 of candidates (B, ..., d), or of (..., d) for all blocks."""
        eps = eps.double()
        r, e = (x.reshape(len(x), *[1] * (eps.ndim - 2), -1) for x in (self.ratio, self.centre))
        return (torch.log(r) - 0.5 * (r * (eps - e)) ** 2 + 0.5 * eps**2).sum(-1)

    def scores(self, drawn: Candidates) -> torch.Tensor:
        """All candidates of a group: (B, N) float32, up to a constant per drawn."""
        sharp = (self.ratio.amax(0) > SHARP).tolist() if self.ratio.shape[1] else []
        r, e, eps, squares = self.ratio, self.centre, drawn.eps, drawn.square
        if any(sharp):
            blunt = [k for k, is_sharp in enumerate(sharp) if not is_sharp]
            r, e, eps, squares = r[:, blunt], e[:, blunt], eps[blunt], squares[blunt]
        total = (0.5 - 0.5 * r**2).float() @ squares
        total.addmm_((r**2 * e).float(), eps)
        for k in np.flatnonzero(sharp):
            x, r, e = drawn.eps[k].double(), self.ratio[:, k : k + 1], self.centre[:, k : k + 1]
            total.add_((0.5 * x * x - 0.5 * (r * (x - e)) ** 2).float())
        return total


def gumbel_sequence(seed: int, block: int, group: int, count: int) -> np.ndarray:
    """The decreasing Gumbel sequence of A* coding, one value per candidate in the order of arrival: (N,) float64.

    G_i = -log of the i-th arrival of a unit Poisson process (Maddison, 2016): G_1 is standard Gumbel and G_i falls.
    """
    raw = candidates.words(seed, candidates.GUMBELS, (block << 32) + group, count)
    uniform = ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return -np.log(np.cumsum(-np.log(uniform)))


def choose(ratio: Ratio, drawn: Candidates, gumbels: torch.Tensor | None = None) -> torch.Tensor:
    """The A* index of one independent group: candidates, (B, N) tau * Gumbels or None -> (B,) int64.

    All candidates are scored in float32, the best few hundred again in float64.
    """
    total = ratio.scores(drawn)
    if gumbels is not None:
        total = total + gumbels
    best = total.topk(min(RESCORED, total.shape[1]), dim=1).indices.sort(1).values  # (B, R)
    exact = ratio.exact(drawn.eps.T[best])
    if gumbels is not None:
        exact = exact + gumbels.gather(1, best)
    return best.gather(1, exact.argmax(1, keepdim=True))[:, 0]


class Chain:
    """Viterbi coder of some blocks, whose streams are circles: before the first group's bits stand the last ones.

    Blocks stand in order of falling length: `push` takes a group number and concerns the first blocks, those that have
    such a group. First the bits that both ends of a stream share are settled: the last groups go `behind`, the first
    ones are pushed, then `tie`. After that the groups are pushed in order, and `finish` gives the indices of the best
    streams from there to there. state: (B,) int64, the last L bits of every stream so far.
    """

    def __init__(self, index_bits: int, group_bits: int, counts: np.ndarray, device="cpu"):
        self.index_bits, self.bits = index_bits, group_bits
        self.keep = index_bits - group_bits  # bits of the last index that stay in the window
        self.counts = torch.as_tensor(counts, device=device)  # (B,) groups of each
        self.entry = torch.zeros(len(counts), 1 << self.keep, device=device)  # score of the bits before the first group
        self.state = torch.zeros(len(counts), dtype=torch.int64, device=device)
        self.shared = None  # (B,) the bits before the first group, once they are settled
        self.score, self.stages = None, []

    def behind(self, rows: slice, ratio: Ratio, drawn: Candidates, gumbels: torch.Tensor | None = None) -> None:
        """Let one of the last groups of some streams judge the bits that follow it. Groups come in order."""
        total = self._scores(rows, ratio, drawn, gumbels)
        total.view(len(total), 1 << self.keep, 1 << self.bits).add_(self.entry[rows, :, None])
        best = self._best(total)[0]
        self.entry[rows] = best - best.amax(1, keepdim=True)

    def push(self, g: int, ratio: Ratio, drawn: Candidates, gumbels: torch.Tensor | None = None) -> None:
        """Add group g to the first n streams: (n, d), gumbels (n, N) tau * Gumbels or None."""
        n = len(ratio.ratio)
        total = self._scores(slice(0, n), ratio, drawn, gumbels)
        if self.score is None:
            entry, choice = self._enter(n)
        else:
            if n < len(self.score):
                self.state[n : len(self.score)] = self._ends(g - 1)[n:]
            entry, choice = self._best(self.score[:n])
        total.view(n, 1 << self.keep, 1 << self.bits).add_(entry[:, :, None])
        self.score = total
        if len(self.stages) % 8 == 7:
            self.score -= self.score.amax(1, keepdim=True)
        self.stages.append((g, choice.to(torch.uint8 if self.bits <= 8 else torch.int32)))

    def tie(self) -> None:
        """Settle the bits that the streams' ends share, by all that was looked at, and begin."""
        _, before = self._trace()
        self.state = before & ((1 << self.keep) - 1)
        self.shared = self.state.clone()
        self.score, self.stages = None, []

    def finish(self, keep: int | None = None) -> torch.Tensor:
        """Indices of the best paths' first `keep` groups (all if None): (B, G) int64, 0 after the end of a stream.

        The chain then goes on from the last of them. Groups pushed beyond `keep` are a look ahead: without it, the
        next groups would start from a state chosen without regard to them.
        """
        kept = self._trace()[0][:, :keep]
        n = len(self.stages[kept.shape[1] - 1][1])
        self.state[:n], self.score, self.stages = kept[:n, -1], None, []
        return kept

    def _scores(self, rows, ratio, drawn, gumbels):
        """Of all windows; in a stream shorter than those only such as repeat it can be: (n, N)."""
        total = ratio.scores(drawn)
        total = total if gumbels is None else total + gumbels
        lengths = (self.bits * self.counts[rows]).tolist()
        for row, length in enumerate(lengths):
            if length < self.keep:
                total[row, ~repeating(length, self.index_bits).to(total.device)] = BARRED
        return total

    def _best(self, scores):
        """Best predecessor of every window over the bits that drop out: score and those bits, (n, 2^keep) each.

        The bits ride in the lowest bits of the float32 scores (an error below 1e-3 nats): a maximum without indices
        is many times faster.
        """
        scores = scores.view(len(scores), 1 << self.bits, 1 << self.keep)
        if self.bits > RIDING:
            return scores.max(1)
        mask = (1 << self.bits) - 1
        tags = torch.arange(1 << self.bits, dtype=torch.int32, device=scores.device)
        scores.view(torch.int32).bitwise_and_(~mask).bitwise_or_(tags[:, None])
        best = scores.amax(1)
        return best, best.view(torch.int32) & mask

    def _enter(self, n):
        """First stage: every window that follows the bits judged so far, or, once tied, the known state."""
        state = self.state[:n]
        entry = self.entry[:n]
        if self.shared is not None:
            entry = torch.full_like(entry, BARRED).scatter_(1, (state & ((1 << self.keep) - 1))[:, None], 0.0)
        return entry, (state >> self.keep)[:, None].expand(-1, 1 << self.keep)

    def _ends(self, g):
        """Last windows of the best paths that were pushed up to group g; of a tied stream's end, one that closes it."""
        score = self.score
        found = score.argmax(1)
        if self.shared is not None:
            n, shared = len(score), self.shared[: len(score), None]
            closing = score.view(n, 1 << self.bits, 1 << self.keep).gather(
                2, shared[:, None].expand(-1, 1 << self.bits, 1)
            )
            closing = (closing.argmax(1) << self.keep | shared)[:, 0]
            found = torch.where(self.counts[:n] == g + 1, closing, found)
        return found

    def _trace(self):
        """Indices of the best paths, and the windows before them: (B, G) int64, 0 after the end of a stream; (B,)."""
        state = self.state.clone()  # of streams that end here, the last
        state[: len(self.score)] = self._ends(self.stages[-1][0])
        indices = torch.zeros(len(state), len(self.stages), dtype=torch.int64, device=state.device)
        for stage, (_, choice) in reversed(list(enumerate(self.stages))):
            n = len(choice)
            indices[:n, stage] = state[:n]
            low = state[:n] >> self.bits
            state[:n] = (choice.gather(1, low[:, None])[:, 0].long() << self.keep) | low
        return indices, state


@cache
def repeating(length: int, index_bits: int) -> torch.Tensor:
    """Windows that repeat their last `length` bits: (N,) bool."""
    window = torch.arange(1 << index_bits)
    return (window >> length) == (window & ((1 << index_bits - length) - 1))
