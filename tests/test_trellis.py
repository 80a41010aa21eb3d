import numpy as np
import pytest
import torch

from combiner_codec.encoder.code.streams import CoderSettings, Draws
from combiner_codec.encoder.code.trellis import Candidates, Chain, Independent, Ratio, choose
from combiner_codec.format import candidates
from combiner_codec.format.streams import read_indices, to_bits


def gumbel_sequence(seed, count):
    """The decreasing Gumbel sequence of A* coding, one value per candidate in the order of arrival: (N,) float64.

    G_i = -log of the i-th arrival of a unit Poisson process (Maddison, 2016): G_1 is standard Gumbel and G_i falls.
    """
    return -np.log(np.cumsum(np.random.default_rng(seed).exponential(size=count)))


def ratio(mu, sigma):
    """log q - log p against a standard normal prior: (B, d) twice."""
    return Ratio.of(1 / sigma, mu)


@pytest.mark.parametrize("dims", [1, 4, 30])
def test_samples_follow_the_posterior(dims):
    """tau = 1: over many seeds the chosen candidates have q's mean and variance, KL (4 bits) being far below the
    budget (12).
    """
    runs, sigma = 2000, 1 / (1 + 3.0 / dims) ** 0.5
    mu = np.linspace(-0.5, 0.5, dims) * 2 / dims**0.5 if dims > 1 else np.array([0.7])
    q = ratio(torch.from_numpy(mu)[None].double(), torch.full((1, dims), sigma, dtype=torch.float64))
    samples = []
    for seed in range(runs):
        eps = torch.from_numpy(candidates.candidates(seed, 0, 4096, dims))
        drawn = torch.from_numpy(gumbel_sequence(seed, 4096)).float()[None]
        samples.append(eps[:, choose(q, Candidates.of(eps), drawn)[0]].numpy())
    samples = np.array(samples)
    assert np.abs(samples.mean(0) - mu).max() < 4.5 * sigma / runs**0.5
    assert abs(samples.var(0).mean() / sigma**2 - 1) < 4.5 * (2 / (runs * dims)) ** 0.5


def test_gumbels_fall_and_begin_like_a_standard_gumbel():
    first = np.array([gumbel_sequence(seed, 64) for seed in range(3000)])
    assert (np.diff(first, axis=1) < 0).all()
    assert abs(first[:, 0].mean() - 0.5772) < 0.1 and abs(first[:, 0].var() - np.pi**2 / 6) < 0.25


def test_sampling_costs_distortion_against_the_best_candidate():
    """Gumbels make the choice a sample of the posterior; without them it is the nearest candidate."""
    rng = np.random.default_rng(0)
    mu, sigma = rng.normal(size=(64, 4)), np.full((64, 4), 0.3)
    q = ratio(torch.from_numpy(mu), torch.from_numpy(sigma))
    eps = torch.from_numpy(candidates.candidates(0, 0, 4096, 4))
    gumbels = torch.from_numpy(np.stack([gumbel_sequence(i, 4096) for i in range(64)])).float()
    sampled, best = (eps[:, choose(q, Candidates.of(eps), noise)].T.numpy() for noise in (gumbels, None))
    assert ((sampled - mu) ** 2).mean() > 1.5 * ((best - mu) ** 2).mean()


def test_independent_groups_are_chosen_one_by_one():
    """Also where streams end at different lengths."""
    groups = random_chain((3, 2), 8)
    coder = Independent(2)
    for group in groups:
        coder.push(*group)
    first, rest = coder.finish(3)[:, :3], [choose(*group).tolist() for group in groups]
    assert first.T.tolist() == [rest[0], rest[1], [*rest[2], 0]]


@pytest.mark.parametrize("dims", [1, 3])
def test_index_equals_a_float64_loop_at_narrow_posteriors(dims):
    rng = np.random.default_rng(dims)
    mu, sigma = rng.normal(size=(8, dims)), np.full((8, dims), 1e-3)
    eps = candidates.candidates(1, 0, 65536, dims)
    got = choose(ratio(torch.from_numpy(mu), torch.from_numpy(sigma)), Candidates.of(torch.from_numpy(eps)))
    wide = eps.T.astype(np.float64)
    for t in range(8):
        scores = (-0.5 * ((wide - mu[t]) / sigma[t]) ** 2 + 0.5 * wide**2).sum(1)
        assert got[t] == scores.argmax()


def random_chain(counts, index_bits, dims=2, seed=0):
    """Groups of streams with so many groups each, the longest first: [(ratio (n, dims), candidates)]."""
    rng = np.random.default_rng(seed)
    groups = []
    for g in range(counts[0]):
        n = sum(count > g for count in counts)
        mu, sigma = rng.normal(size=(n, dims)), rng.uniform(0.1, 0.5, (n, dims))
        eps = torch.from_numpy(candidates.candidates(seed, g, 1 << index_bits, dims))
        groups.append((ratio(torch.from_numpy(mu), torch.from_numpy(sigma)), Candidates.of(eps)))
    return groups


def code(groups, index_bits, group_bits):
    chain = Chain(index_bits, group_bits, len(groups[0][0].ratio))
    for group in groups:
        chain.push(*group)
    return chain.finish().numpy()


def all_windows(count, group_bits, index_bits):
    """Indices of `count` groups for every stream: (2^(count * group_bits), count)."""
    bits = count * group_bits
    every = np.arange(1 << bits)[:, None]
    return (every >> (bits - group_bits * np.arange(1, count + 1))) & ((1 << index_bits) - 1)


def best_stream(groups, block, windows):
    """Indices of the stream of the largest total score, in float64."""
    total = 0
    for (q, candidates_), index in zip(groups, windows.T, strict=False):
        own = Ratio.of(q.ratio[block : block + 1], q.centre[block : block + 1])
        total = total + own.exact(candidates_.eps.T[index])
    return windows[int(total.argmax())].tolist()


@pytest.mark.parametrize(("group_bits", "index_bits"), [(2, 5), (3, 4), (1, 4), (4, 4), (3, 8)])
@pytest.mark.parametrize("counts", [(4, 4, 4), (4, 3, 3, 1), (1,), (5, 1)])
def test_chain_finds_the_best_of_all_streams(counts, group_bits, index_bits):
    """Also where streams end at different lengths: each has its own best end."""
    if counts[0] * group_bits > 16:
        counts = tuple(min(count, 4) for count in counts)
    groups = random_chain(counts, index_bits)
    indices = code(groups, index_bits, group_bits)
    for block, count in enumerate(counts):
        windows = all_windows(count, group_bits, index_bits)
        assert indices[block, :count].tolist() == best_stream(groups, block, windows)
        assert not indices[block, count:].any()


@pytest.mark.parametrize(("group_bits", "index_bits"), [(6, 8), (3, 8), (8, 8), (10, 12), (5, 14)])
def test_indices_are_read_back_from_their_streams(group_bits, index_bits):
    """Streams of different lengths, one after another; groups of 10 bits take the path without riding bits."""
    counts = np.array([6, 6, 2, 1])
    indices = code(random_chain(counts, index_bits), index_bits, group_bits)
    rows = [row[:count] for row, count in zip(indices, counts, strict=True)]
    stream = np.concatenate([to_bits(row, group_bits) for row in rows])
    assert len(stream) == group_bits * counts.sum()
    np.testing.assert_array_equal(read_indices(stream, counts, group_bits, index_bits), np.concatenate(rows))


def test_a_chain_goes_on_where_it_was_cut():
    """Look-ahead groups are pushed again; one stream ends before the cut, one in the look-ahead, one at the end."""
    counts = np.array([12, 8, 4])
    groups = random_chain(counts, 8)
    chain = Chain(8, 4, 3)
    for group in groups[:9]:
        chain.push(*group)
    first = chain.finish(6)
    for group in groups[6:]:
        chain.push(*group)
    rest = chain.finish()
    assert first.shape == (3, 6)
    padded = torch.zeros(3, 6, dtype=torch.int64)
    padded[: len(rest)] = rest
    indices = torch.cat([first, padded], 1).numpy()
    rows = [row[:count] for row, count in zip(indices, counts, strict=True)]
    stream = np.concatenate([to_bits(row, 4) for row in rows])
    np.testing.assert_array_equal(read_indices(stream, counts, 4, 8), np.concatenate(rows))
    whole = code(groups, 8, 4)
    assert indices[2, :4].tolist() == whole[2, :4].tolist()  # what had ended is not touched by the cut


def test_overlapping_indices_beat_independent_ones():
    """White Gaussian data, 1 bit a dimension: chained 12-bit windows against independent 12-bit groups, distortion."""
    rng = np.random.default_rng(0)
    target = rng.normal(size=(4, 240))
    scale = np.sqrt(0.75)  # backward channel: source variance 1, distortion 1/4

    def run(bits):
        chain, eps = Chain(12, bits, 4), []
        ratio_of = torch.full((4, bits), (2 * scale) ** 2 + 1, dtype=torch.float64) ** 0.5
        for g, start in enumerate(range(0, 240, bits)):
            eps.append(torch.from_numpy(candidates.candidates(0, g, 4096, bits)))
            chain.push(
                Ratio.of(ratio_of, torch.from_numpy(target[:, start : start + bits]) / scale), Candidates.of(eps[-1])
            )
        chosen = [scale * e.numpy()[:, index].T for e, index in zip(eps, chain.finish().T, strict=True)]
        return ((np.concatenate(chosen, 1) - target) ** 2).mean()

    assert run(4) < 0.93 * run(12)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dims", [{}, {3: 0}, {0: 0, 1: 50, 2: 400}, dict.fromkeys(range(40), 90)])
def test_runs_of_groups_have_all_in_order(dims, threads):
    """Also groups without latents; on one thread each group is a run."""
    runs = Draws(CoderSettings(0, 14, 1), torch.device("cpu")).at_once(dims, threads)
    assert [group for run in runs for group in run] == list(dims)
    if threads == 1:
        assert all(len(run) == 1 for run in runs)
