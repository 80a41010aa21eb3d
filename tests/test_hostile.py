"""Small versions of what `make reliability` runs in full."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from combiner_codec import FormatError, decoder
from combiner_codec.format import header
from combiner_codec.format import prior as priors
from experiments.reliability import golden, hostile

SMALL = ["1x1", "32x32", "64x48", "grey", "alpha", "icon", "siren", "custom"]


@pytest.fixture(scope="module", autouse=True)
def warm():
    hostile.warm()


@pytest.mark.parametrize("name", SMALL)
def test_damaged_files_are_refused(name):
    data, prior, _ = golden.read(name)
    for files in (hostile.prefixes(data), hostile.flips(data), hostile.edits(data, 200)):
        assert set(hostile.judge(files, prior).results) == {"refused"}


@pytest.mark.parametrize("name", SMALL)
def test_mutations_with_a_right_checksum_are_refused_or_decoded(name):
    data, prior, _ = golden.read(name)
    files = [hostile.repaired(file, prior) for file in hostile.edits(data, 100, seed=1)]
    outcome = hostile.judge(files, prior)
    assert outcome.results["refused"] and outcome.results["decoded"]
    assert sum(outcome.results.values()) == len(files)
    assert hostile.judge(files[:20], prior, trace=True).peak < 6e6


def test_header_bombs_are_refused_at_once_and_in_little_memory():
    files = dict(hostile.bombs())
    assert set(hostile.judge(files.values()).results) == {"refused"}
    outcome = hostile.judge(files.values(), trace=True)
    assert outcome.peak < 2e6  # the tables of an operating point


def test_refusing_a_damaged_file_takes_little_memory():
    data, prior, _ = golden.read("photograph")
    outcome = hostile.judge(hostile.edits(data, 100, seed=2), prior, trace=True)
    assert set(outcome.results) == {"refused"} and outcome.peak < 1e5


def test_checksums_are_verified_before_a_prior_is_unpacked():
    data, prior, _ = golden.read("custom")
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(FormatError, match="checksum"):
        decoder.parse(damaged, prior)
    assert not prior.points


def test_a_long_file_of_independent_groups_takes_memory_like_any_other():
    """Its streams are all alike: their partition is made once, not for every tile."""
    prior, rows = priors.load("combiner-cifar"), 2000
    bits = int(prior.operating_point(0).stream_lengths(np.zeros((1, 1, 1), np.int64))[0])
    head = header.Header(prior.number, 0, 16, 32, 32 * rows)
    data = header.write(head, 32, bytes(rows * bits // 8 - 1), prior.digest)
    tracemalloc.start()
    with pytest.raises(FormatError):
        decoder.parse(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * len(data)


@pytest.mark.parametrize("limit", [None, 0, 64 * 48])
def test_pictures_up_to_the_limit_are_decoded(limit):
    data, _, pixels = golden.read("64x48")
    np.testing.assert_array_equal(decoder.decode_array(data, max_pixels=limit), pixels)


def test_pictures_above_the_limit_are_refused():
    data, _, _ = golden.read("64x48")
    for call in (decoder.decode_array, decoder.parse):
        with pytest.raises(FormatError, match=r"64 x 48 pixels are more than 3071.*max_pixels"):
            call(data, max_pixels=64 * 48 - 1)


@pytest.mark.parametrize(
    ("point", "limit", "refusal"),
    [
        (0, 112 * 16 - 1, "112 x 16 pixels of whole tiles are more than 1791"),
        (0, 112 * 16, None),
        (header.ONE_COLOUR, 99, "100 x 1 pixels are more than 99"),
        (header.ONE_COLOUR, 100, None),
    ],
)
def test_pixels_count_as_whole_tiles_unless_all_are_alike(point, limit, refusal):
    """A picture of one row takes as much as one of a tile's height."""
    prior = priors.load("small")
    head = header.Header(prior.number, point, 14, 100, 1)
    data = header.write(head, prior.architecture.block, bytes([1, 2, 3]), prior.digest)
    try:
        decoder.decode_array(data, max_pixels=limit)
        told = ""
    except FormatError as error:
        told = error.message
    assert told == refusal if refusal else "are more than" not in told


@given(st.binary(max_size=300))
def test_any_bytes_behind_a_magic_are_refused_or_decoded(body):
    hostile.judge([hostile.repaired(b"\xcb\x4d" + body)], max_pixels=1 << 12)
