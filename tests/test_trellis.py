import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from combiner_codec.encoder.trellis import Candidates, Chain, Ratio, choose, gumbel_sequence
from combiner_codec.format import candidates
from combiner_codec.format.streams import read_indices, to_bits


def ratio(mu, sigma):
    """log q - log p against a standard normal prior: (B, d) twice."""
    return Ratio(1 / sigma, mu)


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
        drawn = torch.from_numpy(gumbel_sequence(seed, 0, 0, 4096)).float()[None]
        samples.append(eps[:, choose(q, Candidates.of(eps), drawn)[0]].numpy())
    samples = np.array(samples)
    assert np.abs(samples.mean(0) - mu).max() < 4.5 * sigma / runs**0.5
    assert abs(samples.var(0).mean() / sigma**2 - 1) < 4.5 * (2 / (runs * dims)) ** 0.5


def test_gumbels_fall_and_begin_like_a_standard_gumbel():
    first = np.array([gumbel_sequence(seed, 0, 0, 64) for seed in range(3000)])
    assert (np.diff(first, axis=1) < 0).all()
    assert abs(first[:, 0].mean() - 0.5772) < 0.1 and abs(first[:, 0].var() - np.pi**2 / 6) < 0.25


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


def tied(groups, counts, index_bits, group_bits):
    """A chain that knows the bits which the ends of its streams share."""
    chain = Chain(index_bits, group_bits, np.array(counts))
    for q, drawn in groups:
        chain.behind(slice(0, len(q.ratio)), q, drawn)
    for g, group in enumerate(groups):
        chain.push(g, *group)
    chain.tie()
    return chain


def code(groups, counts, index_bits, group_bits):
    """Indices of every group of tied streams, and the bits that their ends share."""
    chain = tied(groups, counts, index_bits, group_bits)
    for g, group in enumerate(groups):
        chain.push(g, *group)
    return chain.finish().numpy(), chain.shared.tolist()


def all_windows(count, group_bits, index_bits):
    """Indices of `count` groups for every stream, which is a circle: (2^(count * group_bits), count)."""
    length = count * group_bits
    bits = np.arange(1 << length)[:, None] >> np.arange(length)[::-1] & 1
    ends = np.arange(group_bits, length + 1, group_bits)
    windows = bits[:, (ends[:, None] - 1 - np.arange(index_bits)[::-1]) % length]  # (2^length, count, L)
    return windows @ (1 << np.arange(index_bits)[::-1])


def total_score(groups, block, windows):
    """Log of q over p of whole streams in float64: (streams, count) -> (streams,)."""
    total = np.zeros(len(windows))
    for (q, drawn), index in zip(groups, windows.T, strict=False):
        own = Ratio(q.ratio[block : block + 1], q.centre[block : block + 1])
        total += own.exact(drawn.eps.T[index]).numpy()
    return total


@pytest.mark.parametrize(("group_bits", "index_bits"), [(2, 5), (3, 4), (1, 4), (4, 4), (3, 8)])
@pytest.mark.parametrize("counts", [(4, 4, 4), (4, 3, 3, 1), (1,), (5, 1)])
def test_chain_finds_the_best_of_all_circles(counts, group_bits, index_bits):
    """Of those with the bits that were settled first; of streams shorter than a window, of all. Also where streams end
    at different lengths.
    """
    if counts[0] * group_bits > 12:
        counts = tuple(min(count, 4) for count in counts)
    groups, keep = random_chain(counts, index_bits), index_bits - group_bits
    indices, shared = code(groups, counts, index_bits, group_bits)
    for block, count in enumerate(counts):
        windows = all_windows(count, group_bits, index_bits)
        if count * group_bits >= keep:
            windows = windows[windows[:, -1] & ((1 << keep) - 1) == shared[block]]
        best = windows[total_score(groups, block, windows).argmax()]
        assert indices[block, :count].tolist() == best.tolist()
        assert not indices[block, count:].any()


def test_what_the_ends_share_is_chosen_well():
    """On average a circle is worth more than a stream which zeros precede, and not much less than the best circle."""
    found = best = line = 0.0
    for seed in range(20):
        groups = random_chain((4,), 8, seed=seed)
        indices, _ = code(groups, (4,), 8, 3)
        found += total_score(groups, 0, indices)[0]
        best += total_score(groups, 0, all_windows(4, 3, 8)).max()
        line += total_score(groups, 0, np.arange(1 << 12)[:, None] >> 9 - 3 * np.arange(4) & 255).max()
    assert line < found <= best and best - found < 0.5 * (best - line)


@pytest.mark.parametrize(("group_bits", "index_bits"), [(6, 8), (3, 8), (8, 8), (10, 12), (5, 14)])
def test_indices_are_read_back_from_their_streams(group_bits, index_bits):
    """Streams of different lengths, one after another; groups of 10 bits take the path without riding bits."""
    counts = np.array([6, 6, 2, 1])
    indices, _ = code(random_chain(counts, index_bits), counts, index_bits, group_bits)
    rows = [row[:count] for row, count in zip(indices, counts, strict=True)]
    stream = np.concatenate([to_bits(row, group_bits) for row in rows])
    assert len(stream) == group_bits * counts.sum()
    np.testing.assert_array_equal(read_indices(stream, counts, group_bits, index_bits), np.concatenate(rows))


@given(st.data())
def test_any_stream_is_read_as_a_circle(data):
    group_bits, index_bits = data.draw(st.sampled_from([(2, 5), (6, 8), (1, 12), (6, 16), (8, 8)]))
    counts = np.array(data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=5)))
    stream = np.array(
        data.draw(st.lists(st.integers(0, 1), min_size=(n := group_bits * int(counts.sum())), max_size=n))
    )
    expected = []
    for count, end in zip(counts, np.cumsum(counts), strict=True):
        circle = stream[group_bits * (end - count) : group_bits * end].tolist() * (index_bits + 1)
        stops = range(len(circle) - group_bits * count + group_bits, len(circle) + 1, group_bits) if count else ()
        expected += [int("".join(map(str, circle[stop - index_bits : stop])), 2) for stop in stops]
    assert read_indices(stream, counts, group_bits, index_bits).tolist() == expected


def test_a_chain_goes_on_where_it_was_cut():
    """Look-ahead groups are pushed again; one stream ends before the cut, one in the look-ahead, one at the end."""
    counts = np.array([12, 8, 4])
    groups = random_chain(counts, 8)
    chain = tied(groups, counts, 8, 4)
    for g, group in enumerate(groups[:9]):
        chain.push(g, *group)
    first = chain.finish(6)
    for g, group in enumerate(groups[6:], 6):
        chain.push(g, *group)
    rest = chain.finish()
    assert first.shape == (3, 6)
    padded = torch.zeros(3, 6, dtype=torch.int64)
    padded[: len(rest)] = rest
    indices = torch.cat([first, padded], 1).numpy()
    rows = [row[:count] for row, count in zip(indices, counts, strict=True)]
    stream = np.concatenate([to_bits(row, 4) for row in rows])
    np.testing.assert_array_equal(read_indices(stream, counts, 4, 8), np.concatenate(rows))
    whole, _ = code(groups, counts, 8, 4)
    assert indices[2, :4].tolist() == whole[2, :4].tolist()  # what had ended is not touched by the cut


def test_overlapping_indices_beat_independent_ones():
    """White Gaussian data, 1 bit a dimension: chained 12-bit windows against independent 12-bit groups, distortion."""
    rng = np.random.default_rng(0)
    target = rng.normal(size=(4, 240))
    scale = np.sqrt(0.75)  # backward channel: source variance 1, distortion 1/4

    def run(bits):
        chain, eps = Chain(12, bits, np.full(4, 240 // bits)), []
        ratio_of = torch.full((4, bits), (2 * scale) ** 2 + 1, dtype=torch.float64) ** 0.5
        for g, start in enumerate(range(0, 240, bits)):
            eps.append(torch.from_numpy(candidates.candidates(0, g, 4096, bits)))
            chain.push(
                g, Ratio(ratio_of, torch.from_numpy(target[:, start : start + bits]) / scale), Candidates.of(eps[-1])
            )
        chosen = [scale * e.numpy()[:, index].T for e, index in zip(eps, chain.finish().T, strict=True)]
        return ((np.concatenate(chosen, 1) - target) ** 2).mean()

    assert run(4) < 0.93 * run(12)
