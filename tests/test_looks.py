"""Weights of squared error as people see it, and files made with them."""

import dataclasses

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import combiner_codec
from combiner_codec.command import cli
from combiner_codec.encoder import looks
from combiner_codec.encoder.batch import Batch
from combiner_codec.encoder.choose.class_costs import silent_classes
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.fit.subject import Subject
from combiner_codec.encoder.goal import Goal
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior as priors
from combiner_codec.synthesis.rectangle import Rectangle
from conftest import smooth_pictures
from experiments import flat
from experiments import looks as page

SIDE = 64


def half_busy(side=SIDE, seed=0):
    """A picture that is plain on the left and noisy on the right."""
    picture = np.full((side, side, 3), 120, np.uint8)
    noise = np.random.default_rng(seed).integers(0, 256, (side, side // 2, 3))
    picture[:, side // 2 :] = noise
    return picture


def errors_by_half(picture, shown):
    squares = ((picture.astype(float) - shown) ** 2).mean((0, 2))
    return squares[: SIDE // 2].mean(), squares[SIDE // 2 :].mean()


def test_plain_squares_weigh_more_than_busy_ones_and_the_geometric_mean_is_one():
    weights = looks.tile_weights(half_busy(), 16)
    assert weights.shape == (4, 4) and weights.dtype == np.float32
    assert np.log(weights).mean() == pytest.approx(0, abs=1e-6)
    assert weights[0, 0] / weights[0, 2] == pytest.approx(1 / looks.PLAIN, rel=0.01)
    assert (weights[:2, :2] == weights[0, 0]).all()  # the four of a square have one weight


@pytest.mark.parametrize("shape", [(1, 1), (33, 70), (40, 31, 3)])
def test_every_tile_of_any_picture_has_a_finite_weight(shape):
    picture = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    weights = looks.tile_weights(picture, 16)
    assert weights.shape == (-(-shape[0] // 16), -(-shape[1] // 16))
    assert (weights > 0).all() and np.isfinite(weights).all()


def test_a_plain_picture_is_weighed_as_for_psnr():
    assert looks.tile_weights(np.full((64, 96), 9, np.uint8), 16) == pytest.approx(1)


def test_smooth_errors_weigh_more_and_colour_less():
    weights = looks.latent_weights(16, (1.0, 0.5, 0.5)).reshape(16, 16, 3)
    lightness = weights[..., 0]
    assert (np.diff(lightness, axis=0) < 0).all() and lightness == pytest.approx(lightness.T)
    assert looks.FINE < lightness[-1, -1] < lightness[0, 0] < looks.SMOOTH
    assert weights[..., 1] == pytest.approx(lightness / 2)


def test_components_weigh_by_the_lightness_in_them(tiny_photo_prior):
    architecture = tiny_photo_prior.architecture
    shared = {f"w{architecture.colour}": np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]], np.float32)[None, None]}
    point = dataclasses.replace(tiny_photo_prior.operating_point(0), shared=shared)
    assert looks.component_weights(architecture, point) == pytest.approx((1, looks.COLOUR, looks.COLOUR), abs=1e-3)
    turned = looks.component_weights(architecture, point, (0, 0, 40))
    assert turned[0] < 1 and turned[1] > looks.COLOUR


def test_seen_error_is_the_squared_error_where_all_weighs_one():
    a, b = smooth_pictures(2, 40)
    plain = ((a.astype(float) - b) ** 2).mean(2).sum() / 255**2
    assert looks.seen_error(a, b, np.ones((3, 3), np.float32), 16) == pytest.approx(plain, rel=1e-5)
    assert looks.seen_error(a, b, np.full((3, 3), 2, np.float32), 16) == pytest.approx(2 * plain, rel=1e-5)


def test_tune_psnr_has_no_weights(tiny_photo_prior):
    batch = Batch(tiny_photo_prior, Settings(), [half_busy()])
    assert batch.tile_weights is None and batch.weights([0], Rectangle.of(SIDE, SIDE)) is None


def test_weights_of_an_area_are_those_of_its_tiles(tiny_photo_prior):
    batch = Batch(tiny_photo_prior, Settings(tune="iq"), [half_busy(), half_busy(seed=1)])
    area = Rectangle(range(32, 64), range(0, 40))
    assert (batch.weights([1], area) == batch.tile_weights[1:, 2:4, :3]).all()


def test_tune_iq_moves_error_from_plain_to_busy_parts(tiny_photo_prior):
    picture = half_busy()
    picture[:, : SIDE // 2] += smooth_pictures(1, SIDE)[0][:, : SIDE // 2] // 8  # something to get wrong
    files = {}
    for tune in ("psnr", "iq"):
        settings = Settings(0.01, "fast", tune=tune)
        (files[tune],) = encode_arrays([picture], tiny_photo_prior, settings, Goal(size=600))
    plain, busy = zip(*(errors_by_half(picture, files[tune].pixels) for tune in ("psnr", "iq")), strict=True)
    assert plain[1] < plain[0] and busy[1] > busy[0] * 0.98
    assert all(len(file.data) <= 600 for file in files.values())


def fence(side, width):
    """Pickets of 4 pixels in the first columns of a smooth picture."""
    (picture,) = smooth_pictures(1, side)
    pickets = np.where(np.arange(width) % 4 < 2, 250, 30)
    picture[:, :width] = pickets[:, None]
    return picture


@pytest.mark.parametrize(("tune", "width", "kept"), [("psnr", 32, True), ("iq", 32, False), ("iq", 128, True)])
def test_tune_iq_has_no_patterns_among_other_tiles(tune, width, kept):
    """Dots in colour stand between them and the rest; a drawing of patterns has no rest."""
    prior = priors.load("photo")
    point = prior.operating_point(3)
    batch = Batch(prior, Settings(point.beta, tune=tune), [fence(128, width)])
    classes = batch.classes(3, [0])
    assert silent_classes(point)[classes].any() == kept


def test_weights_scale_the_pull_of_pixels_and_sharpen_posteriors(tiny_photo_prior):
    batch = Batch(tiny_photo_prior, Settings(tune="iq"), [half_busy()])
    point = batch.point(0)
    classes = np.zeros((1, 4, 4), np.int64)
    plain = Subject.of(tiny_photo_prior, point, batch.stack, (SIDE, SIDE, 3), classes)
    components = (1.0, 0.6, 0.6)
    weighted = plain.with_tile_weights(np.full((1, 4, 4), 4, np.float32), components)
    half = plain.half(plain.start().mean)
    part = plain.parts()[0]
    (nats, _), (more, _) = (subject.pull(half, None, part) for subject in (plain, weighted))
    assert more == pytest.approx(4 * nats)
    ratio = (plain.prior.posterior_scale / weighted.prior.posterior_scale) ** 2
    of_tile = torch.from_numpy(4 * looks.latent_weights(16, components)).float()
    assert torch.allclose(ratio[0, : len(of_tile)], of_tile, rtol=1e-4)


def test_command_and_function_take_a_tune(tmp_path, tiny_prior, tiny_prior_file):
    path = tmp_path / "a.png"
    Image.fromarray(half_busy()).save(path)
    options = ["--prior", str(tiny_prior_file), "--effort", "fast", "--beta", "0.02", "--tune", "iq"]
    done = CliRunner().invoke(cli.cli, ["encode", str(path), "-o", str(tmp_path / "a.cmb"), *options])
    assert done.exit_code == 0, done.output
    same = combiner_codec.encode(path, 0.02, effort="fast", prior=tiny_prior, tune="iq")
    assert (tmp_path / "a.cmb").read_bytes() == same
    assert same != combiner_codec.encode(path, 0.02, effort="fast", prior=tiny_prior)
    with pytest.raises(ValueError, match="tune"):
        combiner_codec.encode(path, tune="vmaf")


def test_a_curve_is_read_off_at_a_size_and_not_far_beyond_its_ends():
    records = [{"bytes": [size], "psnr": [value]} for size, value in ((100, 20.0), (400, 30.0))]
    assert page.at_size(records, "psnr", 200) == pytest.approx(25)
    assert page.at_size(records, "psnr", 440) == pytest.approx(30 + 5 * np.log2(1.1))
    assert np.isnan(page.at_size(records, "psnr", 600)) and np.isnan(page.at_size(records, "psnr", 60))


def test_errors_in_flat_parts_are_told_apart_by_smoothness_and_colour():
    pytest.importorskip("scipy")
    original = np.full((96, 96, 3), 100, np.uint8)
    where = flat.flat_pixels(original)
    assert where.all()
    noise = np.random.default_rng(0).integers(-4, 5, (96, 96, 1))
    fine = flat.spectrum(original, (original + noise).astype(np.uint8), where)
    assert fine[0, 0] > 5 * fine[0, 1] > 0 and fine[1] == pytest.approx(0, abs=0.01)
    slow = np.rint(8 * np.sin(np.arange(96) / 15))[:, None, None] * np.array([1, 0, -1])
    broad = flat.spectrum(original, (original + slow).astype(np.uint8), where)
    assert broad[1, 2] > 3 * broad[1, 0] and broad[1, 2] > broad[0, 2]


def test_a_crop_is_taken_where_it_is_flat():
    variance = np.full((128, 200), 9.0)
    variance[30 : 30 + page.FLAT, 120 : 120 + page.FLAT] = 0
    assert page.flattest(variance) == (30, 120)
