"""Colour and alpha: what is not coded, what comes back exactly, and files of both."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from combiner_codec import FormatError, TargetError
from combiner_codec.decoder import decode_array, parse
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.goal import Goal
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior as priors
from combiner_codec.picture import planes
from combiner_codec.picture.image import psnr
from conftest import smooth_pictures
from experiments.reliability.golden import disc
from experiments.reliability.hostile import flips, prefixes

COLOUR = smooth_pictures(1, 32)[0]
DISC = disc(32, 32, 10)
HARD = np.where(DISC > 127, 255, 0).astype(np.uint8)


def encode(picture, prior, beta=0.01, goal=None, **settings):
    (result,) = encode_arrays([picture], prior, Settings(beta, "fast", **settings), goal)
    if isinstance(result, TargetError):
        raise result
    np.testing.assert_array_equal(decode_array(result.data, prior), result.pixels)
    return result


@pytest.mark.parametrize("family", ["small", "photo"])
@pytest.mark.parametrize("beta", [1.0, 0.003, 1e-5])
def test_one_colour_comes_back_exactly_from_the_smallest_files(family, beta):
    prior = priors.load(family)
    for colour in [(0, 0, 0), (255, 0, 0), (1, 2, 3), (0,), (254,)]:
        side = prior.architecture.block
        picture = np.full((side, side, len(colour)), colour, np.uint8).squeeze()
        result = encode(picture, prior, beta)
        np.testing.assert_array_equal(result.pixels, picture)
        grey = len(set(colour)) == 1
        assert len(result.data) == (5 if grey else 7)
    wide = encode(np.full((33, 300, 3), (9, 8, 7), np.uint8), prior, goal=Goal(size=10))
    assert len(wide.data) == 10 and not wide.warnings(wide.pixels, None, prior)
    with pytest.raises(TargetError, match="has 10"):
        encode(wide.pixels, prior, goal=Goal(size=9))
    assert not Goal(psnr=30).missed(wide)


def test_grey_stored_as_rgb_costs_what_grey_costs(each_prior):
    grey = COLOUR[..., 1]
    as_rgb, plain = (encode(picture, each_prior) for picture in (np.repeat(grey[..., None], 3, 2), grey))
    assert len(as_rgb.data) == len(plain.data) and as_rgb.psnr == plain.psnr
    np.testing.assert_array_equal(as_rgb.pixels, np.repeat(plain.pixels[..., None], 3, 2))
    assert parse(as_rgb.data, each_prior).header.mode == "RGB"


def test_opaque_alpha_is_not_stored(tiny_prior):
    opaque = np.full((32, 32), 255, np.uint8)
    assert encode(np.dstack([COLOUR, opaque]), tiny_prior).data == encode(COLOUR, tiny_prior).data


@pytest.mark.parametrize("colour", [COLOUR, COLOUR[..., 0]], ids=["RGB", "grey"])
@pytest.mark.parametrize("alpha", [DISC, HARD, DISC // 2], ids=["soft", "hard", "half"])
def test_alpha_comes_back(colour, alpha):
    result = encode(np.dstack([colour, alpha]), priors.load("small"), 0.002)
    assert result.pixels.shape == np.dstack([colour, alpha]).shape
    assert psnr(result.pixels[..., -1], alpha) > 25
    assert result.psnr == psnr(np.dstack([colour, alpha]), result.pixels) > 25


def test_colours_that_are_not_seen_are_free(tiny_prior):
    """Another colour below makes the same file, and it costs less than the colour of all pixels."""
    below = np.where(DISC[..., None] > 0, COLOUR, np.random.default_rng(0).integers(0, 256, COLOUR.shape, np.uint8))
    one, other = (encode(np.dstack([colour, DISC]), tiny_prior) for colour in (COLOUR, below))
    assert one.data == other.data and one.psnr == other.psnr


def test_masks_come_back_clean():
    result = encode(np.dstack([COLOUR, HARD]), priors.load("small"), 0.003, kind="inr")
    assert parse(result.data).header.sharpness > 0
    assert (result.pixels[..., -1] == HARD).mean() > 0.97


@pytest.mark.parametrize("flat", ["colour", "alpha", "both"])
def test_planes_of_one_value_cost_their_value(flat, tiny_prior):
    colour = COLOUR if flat == "alpha" else np.full_like(COLOUR, (7, 8, 9))
    alpha = DISC if flat == "colour" else np.full_like(DISC, 90)
    result = encode(np.dstack([colour, alpha]), tiny_prior)
    found = parse(result.data, tiny_prior)
    lengths = {"colour": found.colour.length, "alpha": found.alpha.length}
    if flat in ("colour", "both"):
        assert lengths["colour"] == 24 and (result.pixels[..., :3] == (7, 8, 9)).all()
    if flat in ("alpha", "both"):
        assert lengths["alpha"] == 8 and (result.pixels[..., 3] == 90).all()
    size = len(encode(np.dstack([colour, alpha]), tiny_prior, 0.05).data)
    assert len(encode(np.dstack([colour, alpha]), tiny_prior, goal=Goal(size=size)).data) <= size
    with pytest.raises(TargetError, match="too few"):
        encode(np.dstack([colour, alpha]), tiny_prior, goal=Goal(size=10))


def test_a_size_counts_both_planes():
    result = encode(np.dstack([COLOUR, DISC]), priors.load("small"), goal=Goal(size=120))
    assert 0.8 * 120 < len(result.data) <= 120


def test_a_psnr_counts_both_planes(tiny_photo_prior):
    picture = np.dstack([smooth_pictures(1, 64)[0], disc(64, 64, 28)])
    low, high = (encode(picture, tiny_photo_prior, beta, kind="inr").psnr for beta in (0.01, 0.002))
    assert high > low + 1
    for wanted in (low, high):  # what lies between them comes in steps of more than a decibel
        network = encode(picture, tiny_photo_prior, goal=Goal(psnr=wanted), kind="inr")
        assert abs(network.psnr - wanted) < 0.5
        any_kind = encode(picture, tiny_photo_prior, goal=Goal(psnr=wanted))
        assert any_kind.psnr > wanted - 0.5 and len(any_kind.data) <= len(network.data)


def test_pictures_of_all_kinds_keep_their_order(tiny_prior):
    pictures = [np.dstack([COLOUR, DISC]), COLOUR, COLOUR[..., 0], np.dstack([COLOUR[..., 0], HARD]), 0 * COLOUR]
    for goal in (None, Goal(size=200)):
        results = encode_arrays(pictures, tiny_prior, Settings(0.01, "fast"), goal)
        assert [r.pixels.shape for r in results] == [p.shape for p in pictures]
        assert all(psnr(p, r.pixels) == r.psnr > 12 for p, r in zip(pictures, results, strict=True))


@pytest.mark.parametrize("colour", [COLOUR, 0 * COLOUR], ids=["picture", "icon"])
def test_every_prefix_and_flipped_bit_of_an_alpha_file_is_refused(colour, tiny_prior):
    data = encode(np.dstack([colour, DISC]), tiny_prior, 0.05).data
    for damaged in (*prefixes(data), *flips(data)):
        with pytest.raises(FormatError):
            decode_array(damaged, tiny_prior)


@given(arrays(np.uint8, (4, 5)), st.integers(0, 7))
def test_sharpness_moves_alpha_away_from_the_middle(alpha, sharpness):
    sharp = planes.sharpened(alpha, sharpness)
    np.testing.assert_array_equal(planes.sharpened(alpha, 0), alpha)
    assert ((sharp >= alpha) == (alpha > 127)).all() or (sharp == alpha).any()
    assert (np.abs(sharp - 127.5) >= np.abs(alpha - 127.5) - 1).all()
    assert (np.diff(np.sort(sharp.reshape(-1)).astype(int)) >= 0).all()


@pytest.mark.parametrize("sharpness", range(8))
def test_a_step_of_the_plane_is_a_power_of_two_of_alpha(sharpness):
    """What machines that round differently may differ by (FORMAT.md, section 7)."""
    sharp = planes.sharpened(np.arange(256, dtype=np.uint8)[None], sharpness)
    assert np.diff(sharp.astype(int)).max() == 2**sharpness


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))), st.data())
def test_filled_colours_lie_between_those_that_are_seen(colour, data):
    seen = data.draw(arrays(bool, colour.shape[:2]))
    found = planes.filled(colour, seen)
    np.testing.assert_array_equal(found[seen], colour[seen])
    if seen.any():
        assert (found >= colour[seen].min(0)).all() and (found <= colour[seen].max(0)).all()


def test_psnr_does_not_see_what_is_transparent():
    hidden = np.dstack([COLOUR, DISC])
    other = hidden.copy()
    other[DISC == 0, :3] = 99
    assert psnr(hidden, other) == float("inf")
    other[..., 3] ^= 16
    assert psnr(hidden, other) == pytest.approx(10 * np.log10(255**2 / 256), abs=5)
