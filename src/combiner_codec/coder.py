"""A* coding: which candidate of a group stands for the posterior. Needs torch; the decoder does without this module.

A candidate i of a group is a vector of standard normals from the shared stream; the latents it stands for are m + s *
sign * eps.
A* coding (COMBINER, section 3.2) takes the index argmax_i { log q(w_i) - log p(w_i) + tau * G_i }, with G_1 > G_2 > …
a decreasing
Gumbel sequence that only the encoder needs. tau = 1 samples from q, tau = 0 takes the candidate of least distortion.

Chained groups. Independent groups of b bits pay for their short blocks: about a sixth of the rate at 16 bits. Here
consecutive indices
overlap: a group adds b bits to the tile's stream, and its index is the last L >= b bits of the stream so far, so that
every bit takes part
in choosing about L / b groups. The best stream is then a path through a trellis of 2^L states and is found exactly by
the Viterbi algorithm
on the same scores. With b = L groups are independent again, and this is the paper's coder. Shapes: T tiles, N = 2^L
candidates, d latents of a group.
"""

from dataclasses import dataclass

import numpy as np
import torch

from . import candidates

SHARP = 256.0  # prior over posterior scale from which float32 products lose the score
RIDING = 8  # dropped bits that fit into the lowest bits of a float32 score
RESCORED = 256  # best candidates that independent groups score again in float64


@dataclass(frozen=True)
class Block:
    """All candidates of a group, one row per latent."""

    eps: torch.Tensor  # (d, N) float32
    square: torch.Tensor  # (d, N) eps^2

    @staticmethod
    def of(eps: torch.Tensor) -> "Block":
        """From candidates (N, d)."""
        rows = eps.T.contiguous()
        return Block(rows, rows * rows)

    def first(self, dims: int) -> "Block":
        return Block(self.eps[:dims], self.square[:dims])


@dataclass(frozen=True)
class Ratio:
    """log q - log p of a batch of tiles as a quadratic in the candidate, in float64.

    With r = s / sigma and e = sign * (mu - m) / s: log q(w) - log p(w) = log r - r^2 (eps - e)^2 / 2 + eps^2 / 2.
    """

    ratio: torch.Tensor  # (T, d) r
    centre: torch.Tensor  # (T, d) e

    def exact(self, eps):
        """Scores in float64 of candidates (T, ..., d), or of (..., d) for all tiles."""
        eps = eps.double()
        r, e = (x.reshape(len(x), *[1] * (eps.ndim - 2), -1) for x in (self.ratio, self.centre))
        return (torch.log(r) - 0.5 * (r * (eps - e)) ** 2 + 0.5 * eps**2).sum(-1)

    def scores(self, block: Block) -> torch.Tensor:
        """All candidates of a group: (T, N) float32, up to a constant per tile."""
        sharp = (self.ratio.amax(0) > SHARP).tolist()
        blunt = [k for k, is_sharp in enumerate(sharp) if not is_sharp]
        total = None
        if blunt:
            r, e, eps, squares = self.ratio, self.centre, block.eps, block.square
            if len(blunt) < len(sharp):
                r, e, eps, squares = r[:, blunt], e[:, blunt], eps[blunt], squares[blunt]
            square, linear = (0.5 - 0.5 * r**2).float(), (r**2 * e).float()
            square = (
                square[:1] if bool((square == square[:1]).all()) else square
            )  # one row serves tiles with like scales
            total = torch.addmm(square @ squares, linear, eps)  # (T, N) + (T, d) (d, N)
        for k in np.flatnonzero(sharp):
            x, r, e = block.eps[k].double(), self.ratio[:, k : k + 1], self.centre[:, k : k + 1]
            term = (0.5 * x * x - 0.5 * (r * (x - e)) ** 2).float()
            total = term if total is None else total.add_(term)
        return total


def gumbels(seed: int, tile: int, group: int, count: int) -> np.ndarray:
    """The decreasing Gumbel sequence of A* coding, one value per candidate in the order of arrival: (N,) float64.

    G_i = -log of the i-th arrival of a unit Poisson process (Maddison, 2016): G_1 is standard Gumbel and G_i falls.
    """
    raw = candidates.words(seed, candidates.GUMBELS, (tile << 32) + group, count)
    uniform = ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return -np.log(np.cumsum(-np.log(uniform)))


def choose(ratio: Ratio, block: Block, noise: torch.Tensor | None = None) -> torch.Tensor:
    """The A* index of one independent group: candidates, (T, N) tau * Gumbels or None -> (T,) int64.

    All candidates are scored in float32, the best few hundred again in float64.
    """
    total = ratio.scores(block)
    if noise is not None:
        total = total + noise
    best = total.topk(min(RESCORED, total.shape[1]), dim=1).indices.sort(1).values  # (T, R)
    exact = ratio.exact(block.eps.T[best])
    if noise is not None:
        exact = exact + noise.gather(1, best)
    return best.gather(1, exact.argmax(1, keepdim=True))[:, 0]


class Chain:
    """Viterbi coder of some tiles of one class: groups are pushed in order, `finish` gives the indices of the best
    stream.

    state: (T,) int64, the last L bits of every tile's stream so far, 0 at its start.
    """

    def __init__(self, index_bits: int, state: torch.Tensor):
        self.index_bits, self.state = index_bits, state
        self.score, self.stages = None, []

    def push(self, bits: int, ratio: Ratio, block: Block, noise: torch.Tensor | None = None) -> None:
        """Add a group of `bits` new bits; noise is (T, N) tau * Gumbels or None."""
        bits = min(bits, self.index_bits)
        tiles, keep = len(self.state), self.index_bits - bits  # `keep` bits of the last index stay in the window
        total = ratio.scores(block)
        total = total if noise is None else total + noise
        entry, choice = self._enter(keep, total) if self.score is None else self._best(bits, keep)
        total.view(tiles, 1 << keep, 1 << bits).add_(entry[:, :, None])
        self.score = total
        if len(self.stages) % 8 == 7:
            self.score -= self.score.amax(1, keepdim=True)
        self.stages.append((bits, choice.to(torch.uint8 if bits <= 8 else torch.int32)))

    def _best(self, bits, keep):
        """Best predecessor of every window over the bits that drop out: score and those bits, (T, 2^keep) each.

        The bits ride in the lowest bits of the float32 scores (an error below 1e-3 nats): a maximum without indices
        is many times faster.
        """
        scores = self.score.view(len(self.state), 1 << bits, 1 << keep)
        if bits > RIDING:
            return scores.max(1)
        mask = (1 << bits) - 1
        tags = torch.arange(1 << bits, dtype=torch.int32, device=scores.device)
        scores.view(torch.int32).bitwise_and_(~mask).bitwise_or_(tags[:, None])
        best = scores.amax(1)
        return best, best.view(torch.int32) & mask

    def finish(self, keep: int | None = None) -> torch.Tensor:
        """Indices of the best path's first `keep` groups (all if None): (T, G) int64. The chain then goes on from the
        last of them.

        Groups pushed beyond `keep` are a look ahead: without it, the next groups would start from a state chosen
        without regard to them.
        """
        state = self.score.argmax(1)
        indices = []
        for bits, choice in reversed(self.stages):
            indices.append(state)
            low = state >> bits
            state = (choice.gather(1, low[:, None])[:, 0].long() << (self.index_bits - bits)) | low
        kept = torch.stack(indices[::-1][:keep], 1)
        self.state, self.score, self.stages = kept[:, -1], None, []
        return kept

    def _enter(self, keep, total):
        """First stage: only windows that follow the known state."""
        entry = torch.full((len(total), 1 << keep), -1e30, device=total.device)
        entry.scatter_(1, (self.state & ((1 << keep) - 1))[:, None], 0.0)
        return entry, (self.state >> keep)[:, None].expand(-1, 1 << keep)


def stream_bits(indices: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The new bits of every index, most significant first: (G,), (G,) -> (sum(bits),) uint8."""
    position = np.arange(bits.sum()) - np.repeat(np.cumsum(bits) - bits, bits)
    shift = np.repeat(bits, bits) - 1 - position
    return ((np.repeat(indices, bits) >> shift) & 1).astype(np.uint8)
