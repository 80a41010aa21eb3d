"""Tables of the class map, learned from maps, and maps chosen with them."""

from itertools import pairwise

import numpy as np
import pytest

from combiner_codec.encoder.choose.class_maps import choose_map
from combiner_codec.format import classmap
from combiner_codec.training.finish import contexts


def smooth_maps(count, K, rows=12, cols=16):
    """Maps whose classes drift from left to right and from row to row."""
    random = np.random.default_rng(1)
    walks = random.integers(-1, 2, (count, rows, cols)).cumsum(2) + random.integers(K, size=(count, 1, 1))
    return list((walks % K).astype(np.uint8))


@pytest.fixture(scope="module")
def learned():
    """Tables for 12 classes and 20 maps that they were not learned from."""
    maps = smooth_maps(60, 12)
    return contexts.learn(maps[:40], 12, 12), maps[40:]


def test_learned_tables_predict_maps_they_have_not_seen(learned):
    tables, maps = learned
    assert tables.shape == (3, 13, 12) and tables.dtype == np.int8
    assert np.mean([classmap.bits(m, tables, 12).mean() for m in maps]) < 2.0  # log2(3) = 1.58, log2(12) = 3.58


def test_learning_is_deterministic():
    maps = smooth_maps(3, 5)
    assert np.array_equal(contexts.learn(maps, 5, 5), contexts.learn(maps, 5, 5))


def test_merged_tiles_are_learned_where_they_may_begin():
    """Half of the squares are merged, and nothing says which: their first tiles name that and the size, no more."""
    random = np.random.default_rng(4)
    merged = random.integers(2, size=(60, 6, 8)).repeat(2, 1).repeat(2, 2).astype(bool)
    classes = random.integers(2, size=(60, 6, 8)).repeat(2, 1).repeat(2, 2)  # of each size
    maps = list(np.where(merged, 2 + classes, random.integers(2, size=merged.shape)).astype(np.uint8))
    tables = contexts.learn(maps[:40], 4, 2)
    bits = np.stack([classmap.bits(m, tables, 2) for m in maps[40:]])
    first = np.zeros(bits.shape[1:], bool)
    first[::2, ::2] = True
    assert (bits[:, ~first][merged[40:, ~first]] == 0).all()
    for own, expected in ((first & merged[40:], 2), (first & ~merged[40:], 2), (~first & ~merged[40:], 1)):
        assert bits[own].mean() == pytest.approx(expected, abs=0.1)


def test_sweeps_make_picture_and_map_cheaper(learned):
    tables, maps = learned
    tile_bits = np.random.default_rng(2).gamma(2, 3, (*maps[0].shape, 12)).astype(np.float32)

    def total(classes):
        of_tiles = np.take_along_axis(tile_bits, classes[..., None].astype(int), -1)
        return of_tiles.sum() + classmap.bits(classes, tables, 12).sum()

    without_map = total(tile_bits.argmin(-1).astype(np.uint8))
    totals = [total(choose_map(tile_bits, tables, 12, sweeps)) for sweeps in range(4)]
    assert totals[0] < without_map and all(b <= a + 0.05 for a, b in pairwise(totals))
