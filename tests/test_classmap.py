import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from combiner_codec.encoder.choose.class_maps import map_costs
from combiner_codec.errors import FormatError
from combiner_codec.format import classmap


def random_tables(K, seed):
    return np.random.default_rng(seed).integers(-128, 128, (3, K + 1, K), np.int8)


@st.composite
def maps(draw):
    """A map, tables that need not suit it, and how many classes are of single tiles."""
    K = draw(st.sampled_from((1, 2, 3, 17, 128, 256)))
    rows, cols, seed = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(0, 99))
    random = np.random.default_rng(seed)
    tables = random_tables(K, seed) >> draw(st.sampled_from((0, 3, 7)))
    single = draw(st.integers(1 + (K > 2), K))
    classes = random.integers(draw(st.integers(1, single)), size=(rows, cols)).astype(np.uint8)
    squares = random.integers(draw(st.integers(single, K)), size=(-(-rows // 2), -(-cols // 2))).astype(np.uint8)
    large = squares.repeat(2, 0).repeat(2, 1)[:rows, :cols]
    large[rows // 2 * 2 :], large[:, cols // 2 * 2 :] = 0, 0
    return np.where(large >= single, large, classes), tables, single


@settings(deadline=None)
@given(maps(), st.lists(st.integers(0, 1), max_size=80))
def test_a_map_comes_back_whatever_follows_its_bits(case, rest):
    classes, tables, single = case
    code = classmap.encode(classes, tables, single)
    back, used = classmap.decode(np.append(code, np.array(rest, np.uint8)), *classes.shape, tables, single)
    assert used == len(code) and back.dtype == np.uint8 and np.array_equal(back, classes)


@settings(deadline=None)
@given(maps())
def test_size_is_what_the_probabilities_say(case):
    classes, tables, single = case
    assert -1e-3 < len(classmap.encode(classes, tables, single)) - classmap.bits(classes, tables, single).sum() < 2.01


@settings(deadline=None)
@given(maps(), st.lists(st.integers(0, 1), max_size=400))
def test_any_bits_are_a_map_or_a_format_error(case, bits):
    classes, tables, single = case
    try:
        back, used = classmap.decode(np.array(bits, np.uint8), *classes.shape, tables, single)
    except FormatError:
        return
    assert used <= len(bits) and back.shape == classes.shape and back.max() < tables.shape[2]
    assert len(classmap.encode(back, tables, single)) == used


@settings(deadline=None)
@given(maps(), st.data())
def test_a_truncated_map_is_another_map_or_a_format_error(case, data):
    classes, tables, single = case
    code = classmap.encode(classes, tables, single)
    length = data.draw(st.integers(0, max(0, len(code) - 1)))
    try:
        _, used = classmap.decode(code[:length], *classes.shape, tables, single)
    except FormatError as error:
        assert "truncated" in str(error)
    else:
        assert used <= length


def test_a_huge_picture_in_few_bits_is_refused_at_once():
    with pytest.raises(FormatError, match="too few"):
        classmap.decode(np.zeros(1000, np.uint8), 1 << 16, 1 << 16, random_tables(64, 0), 64)


def test_the_surest_map_is_far_below_a_bit_for_each_tile():
    classes = np.zeros((64, 64), np.uint8)
    tables = np.where(np.arange(128) == 0, 127, -128) * np.ones((3, 129, 1), int)
    code = classmap.encode(classes, tables.astype(np.int8), 128)
    assert len(code) == 13  # 4,096 log2(1 + 127 / 2^16) = 11.4
    back, used = classmap.decode(code, 64, 64, tables.astype(np.int8), 128)
    assert used == len(code) and np.array_equal(back, classes)


def test_the_code_stays_what_it_is():
    classes = np.array([[0, 1, 1, 2], [0, 0, 1, 2], [2, 0, 1, 1]], np.uint8)
    code = classmap.encode(classes, (np.arange(36).reshape(3, 4, 3) * 37 % 61 - 30).astype(np.int8), 3)
    assert "".join(map(str, code)) == "00010010000101100111000111011001"


@settings(deadline=None, max_examples=60)
@given(maps(), st.data())
def test_costs_are_differences_of_the_whole_map(case, data):
    """Of a tile, or of the four of a merged one together."""
    classes, tables, single = case
    tables = tables // 8  # no frequency is rounded up to 1
    r, j = data.draw(st.integers(0, classes.shape[0] - 1)), data.draw(st.integers(0, classes.shape[1] - 1))
    large = classes[r, j] >= single
    side = 2 if large else 1
    own = tuple(slice(i - i % side, i - i % side + side) for i in (r, j))
    c = data.draw(st.integers(single, tables.shape[2] - 1) if large else st.integers(0, single - 1))
    changed = classes.copy()
    changed[own] = c
    cost = map_costs(classes, tables, single)[own].astype(float).sum((0, 1))
    expected = classmap.bits(changed, tables, single).sum() - classmap.bits(classes, tables, single).sum()
    assert cost[c] - cost[classes[r, j]] == pytest.approx(expected, abs=0.02)


def test_a_merged_tile_is_named_once():
    classes = np.zeros((4, 5), np.uint8)
    classes[:2, :2] = classes[2:, 2:4] = 2
    tables = np.zeros((3, 4, 3), np.int8)
    named = classmap.bits(classes, tables, 2)
    assert named[0, 0] == named[2, 2] == named[0, 2] == pytest.approx(np.log2(3))  # where one may begin: three classes
    assert (named[[0, 1, 1], [1, 0, 1]] == 0).all() and (named[:, 4] == 1).all() and named[1, 2] == named[0, 3] == 1
