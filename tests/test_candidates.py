import hashlib
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from combiner_codec import candidates as c


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


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**40), st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_any_word_can_be_computed_alone(seed, lane, positions):
    at = c.words_at(seed, c.CANDIDATES, np.full(len(positions), lane), np.array(positions))
    assert [int(w) for w in at] == [int(c.words(seed, c.CANDIDATES, lane, 1, p)[0]) for p in positions]


@pytest.mark.parametrize("dims", [1, 4, 5, 30])
def test_a_longer_run_begins_with_the_shorter(dims):
    np.testing.assert_array_equal(c.candidates(3, 9, 500, dims)[:17], c.candidates(3, 9, 17, dims))
    np.testing.assert_array_equal(c.candidates(3, 9, 500, dims)[40:50], c.candidates(3, 9, 10, dims, start=40))


def test_decoder_computes_the_encoders_rows():
    dims, indices = np.array([1, 4, 5, 30]), np.array([65535, 0, 77, 1234])
    rows = [c.candidates(11, g, 65536, d)[i] for g, (d, i) in enumerate(zip(dims, indices, strict=True))]
    np.testing.assert_array_equal(c.candidates_at(11, np.arange(4), indices, dims), np.concatenate(rows))


def test_candidates_are_standard_normal():
    eps = c.candidates(0, 0, 65536, 4)
    assert abs(eps.mean()) < 0.01 and abs(eps.var() - 1) < 0.01
    assert np.abs(np.corrcoef(eps.T) - np.eye(4)).max() < 0.02


def test_tiles_have_independent_signs():
    signs = c.signs(0, np.arange(200), 500)
    assert set(np.unique(signs)) == {-1, 1}
    assert np.abs(signs @ signs.T / 500 - np.eye(200)).max() < 0.3


def test_order_is_a_permutation():
    assert sorted(c.order(3072)) == list(range(3072))
    assert c.order(3072)[:3].tolist() == GOLDEN_ORDER


GOLDEN_ORDER = [2226, 249, 1700]
