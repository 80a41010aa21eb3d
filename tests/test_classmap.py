import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from combiner_codec.encoder.choose import map_costs
from combiner_codec.errors import FormatError
from combiner_codec.format import classmap


def random_tables(K, seed):
    return np.random.default_rng(seed).integers(-128, 128, (3, K + 1, K), np.int8)


@st.composite
def maps(draw):
    """A map, and tables that need not suit it."""
    K = draw(st.sampled_from((1, 2, 3, 17, 128, 256)))
    rows, cols, seed = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(0, 99))
    random = np.random.default_rng(seed)
    tables = random_tables(K, seed) >> draw(st.sampled_from((0, 3, 7)))
    return random.integers(draw(st.integers(1, K)), size=(rows, cols)).astype(np.uint8), tables


@settings(deadline=None)
@given(maps(), st.lists(st.integers(0, 1), max_size=80))
def test_a_map_comes_back_whatever_follows_its_bits(case, rest):
    classes, tables = case
    code = classmap.encode(classes, tables)
    back, used = classmap.decode(np.append(code, np.array(rest, np.uint8)), *classes.shape, tables)
    assert used == len(code) and back.dtype == np.uint8 and np.array_equal(back, classes)


@settings(deadline=None)
@given(maps())
def test_size_is_what_the_probabilities_say(case):
    classes, tables = case
    assert -1e-3 < len(classmap.encode(classes, tables)) - classmap.bits(classes, tables).sum() < 2.01


@settings(deadline=None)
@given(maps(), st.lists(st.integers(0, 1), max_size=400))
def test_any_bits_are_a_map_or_a_format_error(case, bits):
    classes, tables = case
    try:
        back, used = classmap.decode(np.array(bits, np.uint8), *classes.shape, tables)
    except FormatError:
        return
    assert used <= len(bits) and back.shape == classes.shape and back.max() < tables.shape[2]
    assert len(classmap.encode(back, tables)) == used


@settings(deadline=None)
@given(maps(), st.data())
def test_a_truncated_map_is_another_map_or_a_format_error(case, data):
    classes, tables = case
    code = classmap.encode(classes, tables)
    length = data.draw(st.integers(0, max(0, len(code) - 1)))
    try:
        _, used = classmap.decode(code[:length], *classes.shape, tables)
    except FormatError as error:
        assert "truncated" in str(error)
    else:
        assert used <= length


def test_a_huge_picture_in_few_bits_is_refused_at_once():
    with pytest.raises(FormatError, match="too few"):
        classmap.decode(np.zeros(1000, np.uint8), 1 << 16, 1 << 16, random_tables(64, 0))


def test_the_surest_map_is_far_below_a_bit_for_each_tile():
    classes = np.zeros((64, 64), np.uint8)
    tables = np.where(np.arange(128) == 0, 127, -128) * np.ones((3, 129, 1), int)
    code = classmap.encode(classes, tables.astype(np.int8))
    assert len(code) == 13  # 4,096 log2(1 + 127 / 2^16) = 11.4
    back, used = classmap.decode(code, 64, 64, tables.astype(np.int8))
    assert used == len(code) and np.array_equal(back, classes)


def test_the_code_stays_what_it_is():
    classes = np.array([[0, 1, 1, 2], [0, 0, 1, 2], [2, 0, 1, 1]], np.uint8)
    code = classmap.encode(classes, (np.arange(36).reshape(3, 4, 3) * 37 % 61 - 30).astype(np.int8))
    assert "".join(map(str, code)) == "00010010000101100111000111011001"


@settings(deadline=None, max_examples=30)
@given(maps(), st.data())
def test_costs_are_differences_of_the_whole_map(case, data):
    classes, tables = case
    tables = tables // 8  # no frequency is rounded up to 1
    r, j = data.draw(st.integers(0, classes.shape[0] - 1)), data.draw(st.integers(0, classes.shape[1] - 1))
    c = data.draw(st.integers(0, tables.shape[2] - 1))
    changed = classes.copy()
    changed[r, j] = c
    cost = map_costs(classes, tables)[r, j].astype(float)
    expected = classmap.bits(changed, tables).sum() - classmap.bits(classes, tables).sum()
    assert cost[c] - cost[classes[r, j]] == pytest.approx(expected, abs=0.02)
