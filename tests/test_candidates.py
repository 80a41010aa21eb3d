import hashlib
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from combiner_codec.format import candidates as c


def test_words_are_these():
    """Literal words: whoever changes the stream breaks every file."""
    assert [hex(w) for w in c.words(0, c.CANDIDATES, 0, 3)] == GOLDEN_0
    assert [hex(w) for w in c.words(2**63 - 1, c.SIGNS, 7, 2, start=5)] == GOLDEN_1


GOLDEN_0 = ["0xd037f8c3f9a1d176", "0xc057419b4c210765", "0xabf13115117b0065"]
GOLDEN_1 = ["0x774b16861d176468", "0xe8d927f60da682f5"]


def test_quantile_table_is_this():
    table = c.normal_table()
    assert table.dtype == np.float32
    assert (
        hashlib.sha256(np.round(table.astype(np.float64), 5).astype("<f4").tobytes()).hexdigest()[:16] == GOLDEN_TABLE
    )
    exact = [statistics.NormalDist().inv_cdf((i + 0.5) / 65536) for i in range(0, 65536, 97)]
    np.testing.assert_allclose(table[::97], exact, atol=1e-6)
    assert (np.diff(table) > 0).all() and (table == -table[::-1]).all()


GOLDEN_TABLE = "492175612fd2853e"


def test_quantile_table_is_this_to_the_last_bit():
    """AS 241 in double precision, as every release computed it."""
    assert hashlib.sha256(c.normal_table().astype("<f4").tobytes()).hexdigest()[:16] == GOLDEN_EXACT


GOLDEN_EXACT = "1cfbba1e07e34386"


@pytest.mark.parametrize("latents", [1, 63, 256, 257, 1123])
def test_signs_and_order_are_words_of_numpys_philox(latents):
    """The decoder computes them without numpy.random."""
    words = c.words(2**62 + 5, c.SIGNS, 7, -(-latents // 64))
    bits = [int(words[k // 64]) >> k % 64 & 1 for k in range(latents)]
    assert c.signs(2**62 + 5, np.array([0, 7]), latents)[1].tolist() == [1 - 2 * bit for bit in bits]
    np.testing.assert_array_equal(c.order(latents), np.argsort(c.words(0, c.ORDER, 0, latents), kind="stable"))


def test_candidates_are_these():
    """The first and the last latent of the first row of four, and the first of the next."""
    eps = c.candidates(5, 2, 3, 5)
    raw = np.random.Philox(counter=[0, 2, c.CANDIDATES, 0], key=[5, c.STREAM_VERSION]).random_raw(3)
    table = c.normal_table()
    assert eps[0].tolist() == [table[int(w) & 0xFFFF] for w in raw]
    assert eps[3].tolist() == [table[int(w) >> 48] for w in raw]
    raw = np.random.Philox(counter=[0, 2, c.CANDIDATES, 1], key=[5, c.STREAM_VERSION]).random_raw(3)
    assert eps[4].tolist() == [table[int(w) & 0xFFFF] for w in raw]
    assert eps[0].tolist() == pytest.approx(GOLDEN_CANDIDATES, abs=1e-6)


GOLDEN_CANDIDATES = [0.5234484, 0.5534266, -1.0406900]


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.tuples(*[st.integers(0, 2**22)] * 2, st.integers(0, 300)), min_size=1, max_size=9),
)
def test_any_words_can_be_computed_alone(seed, places):
    lanes, fours, rows = (np.array(column) for column in zip(*places, strict=True))
    at = c.words_at(seed, c.CANDIDATES, lanes, fours, rows)
    for words, (lane, block, row) in zip(at.tolist(), places, strict=True):
        stream = np.random.Philox(counter=[block, lane, c.CANDIDATES, row], key=[seed, c.STREAM_VERSION])
        assert words == stream.random_raw(4).tolist()


@pytest.mark.parametrize("dims", [1, 3, 4, 5, 40])
def test_neither_count_nor_dims_changes_the_others(dims):
    whole = c.candidates(3, 9, 500, 60)
    np.testing.assert_array_equal(c.candidates(3, 9, 17, dims), whole[:dims, :17])


def test_decoder_computes_the_encoders_candidates():
    dims, indices, groups = np.array([1, 4, 5, 30]), np.array([65535, 0, 77, 1234]), np.array([0, 1, 7, 2])
    columns = [c.candidates(11, g, 65536, d)[:, i] for g, d, i in zip(groups, dims, indices, strict=True)]
    np.testing.assert_array_equal(c.candidates_at(11, groups, indices, dims), np.concatenate(columns))


def test_candidates_are_standard_normal():
    """Within a row of four latents, from row to row and from group to group."""
    eps = np.concatenate([c.candidates(0, 0, 65536, 20), c.candidates(0, 1, 65536, 4)])
    assert abs(eps.mean()) < 0.01 and abs(eps.var() - 1) < 0.01
    assert np.abs(np.corrcoef(eps) - np.eye(24)).max() < 0.02


def test_blocks_have_independent_signs():
    signs = c.signs(0, np.arange(200), 500)
    assert set(np.unique(signs)) == {-1, 1}
    assert np.abs(signs @ signs.T / 500 - np.eye(200)).max() < 0.3


@pytest.mark.parametrize(("latents", "first"), [(3072, [2226, 249, 1700]), (12336, [5842, 2226, 10961])])
def test_order_is_this_permutation(latents, first):
    assert sorted(c.order(latents)) == list(range(latents))
    assert c.order(latents)[:3].tolist() == first
