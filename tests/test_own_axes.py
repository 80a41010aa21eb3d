"""Colour axes of a picture's own: which are found, what they change, and when there are none."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from combiner_codec import decoder
from combiner_codec.encoder.choose.own_axes import SampledTiles, axes_of, nearest, sample
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.fit.analysis import ColourMap
from combiner_codec.encoder.fit.posterior import shared_weights
from combiner_codec.encoder.goal import Goal
from combiner_codec.encoder.settings import EFFORTS, Settings
from combiner_codec.errors import FormatError
from combiner_codec.format import header
from combiner_codec.format import prior as priors
from combiner_codec.format.plane import InrPlane
from combiner_codec.synthesis.colour_axes import UNTURNED, rotation, turned
from experiments.reliability import golden

PHOTO = priors.load("photo")
HIPPOS = next(plan.picture for plan in golden.plans() if plan.name == "photograph")
STRONG = golden.of_strong_colour(HIPPOS[:144, :160])
SETTINGS = Settings(beta=0.01, effort="fast", threads=1)


@pytest.mark.parametrize("axes", [(0, 0, 0), (127, -128, 5), (-128, -128, -128), (3, 60, -9)])
def test_axes_are_rotations(axes):
    turn = rotation(axes)
    assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.isclose(np.linalg.det(turn), 1)
    assert (axes != UNTURNED) or (turn == np.eye(3)).all()


def test_every_rotation_is_near_some_axes_up_to_signs():
    rng = np.random.default_rng(0)
    for _ in range(200):
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        found = rotation(nearest(turn))
        cosines = np.abs((found * turn).sum(1))
        assert cosines.min() > np.cos(np.radians(1))


def test_pixels_turned_have_the_components_of_turned_weights():
    point = PHOTO.operating_point(3)
    shared = shared_weights(point)
    axes = (30, -7, 55)
    pixels = torch.rand(1, 4, 5, 3)
    own = {name: torch.from_numpy(value) for name, value in turned(point.shared, 1, axes).items()}
    expected = ColourMap.of(PHOTO.architecture, own).components(pixels)
    colours = ColourMap.of(PHOTO.architecture, shared)
    found = colours.components(colours.with_components_turned(pixels, axes))
    assert torch.allclose(found, expected, atol=2e-3)  # the prior's axes are orthonormal but for half precision


def test_a_picture_of_one_hue_has_its_contrast_on_the_first_axis():
    axes = axes_of(STRONG, PHOTO, SETTINGS, None)
    shared = turned(PHOTO.operating_point(3).shared, 1, axes)
    first, *others = np.abs(shared["w1"].reshape(3, 3) @ (1.0, 0.3, 0.1))
    assert first > 10 * max(others)


@pytest.mark.parametrize("goal", [Goal(size=700), Goal(psnr=30.0)])
def test_goals_have_them_too(goal):
    assert axes_of(STRONG, PHOTO, SETTINGS, goal) is not None


def test_none_where_they_save_nothing():
    assert axes_of(STRONG[..., 0], PHOTO, SETTINGS, None) is None
    assert axes_of(STRONG[:64, :64], PHOTO, SETTINGS, None) is None
    assert axes_of(np.repeat(STRONG[..., :1], 3, 2), PHOTO, SETTINGS, None) is None


def test_a_sample_holds_whole_tiles_of_large_pictures():
    picture = np.arange(1000 * 900 * 3, dtype=np.uint32).reshape(1000, 900, 3).astype(np.uint8)
    tiles = sample(picture, 16)
    assert tiles.shape == (512, 16, 16, 3)
    assert (tiles[0] == picture[:16, :16]).all()


def test_the_search_goes_downhill():
    found = SampledTiles(sample(STRONG, 16), PHOTO.operating_point(3), PHOTO.architecture)
    best = found.best()
    assert found.nats(best) <= min(found.nats(UNTURNED), found.nats(found.principal()))


def test_files_are_cheaper_by_them():
    (own,) = encode_arrays([STRONG], PHOTO, SETTINGS)
    without = replace(SETTINGS, effort=replace(EFFORTS["fast"], axes=False))
    (fixed,) = encode_arrays([STRONG], PHOTO, without)
    assert own.plane.header.axes and not fixed.plane.header.axes
    assert own.lagrangian(STRONG, SETTINGS.beta) < 0.99 * fixed.lagrangian(STRONG, SETTINGS.beta)
    assert (decoder.decode_array(own.data) == own.pixels).all()


def test_a_prior_without_colour_components_has_no_axes():
    siren = priors.load("combiner-cifar")
    head = header.Header(siren.number, 0, siren.operating_point(0).index_bits, 32, 32, axes=(1, 2, 3))
    with pytest.raises(FormatError, match="no colour axes"):
        InrPlane(head, siren, np.zeros((1, 1), np.int64)).check()
