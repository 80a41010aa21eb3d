"""Layers: writing without loss over a network's sample."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import plain_decoder as plain
from combiner_codec import FormatError, decoder
from combiner_codec.command.cli import cli
from combiner_codec.encoder import exact, kinds, layers
from combiner_codec.encoder import mixed as mixed_files
from combiner_codec.encoder.goal import Goal
from combiner_codec.encoder.settings import Settings
from combiner_codec.encoder.unfitted import Unfitted
from combiner_codec.format import header, plane
from combiner_codec.format.plane import PNG, VP8L, ExactPlane, InrPlane, OneColour
from combiner_codec.picture import exact as contents
from experiments.reliability import golden

BETA = 0.005
SAMPLES = Path(__file__).parents[1] / "assets" / "samples"


def mixed():
    """A photograph, and print right of it: (64, 96, 3)."""
    with Image.open(SAMPLES / "hippos.png") as image:
        photograph = np.asarray(image.convert("RGB"))[200:264, 200:248]
    return golden.beside_writing(photograph)


def choose(picture, prior, goal=None, **how):
    settings = Settings(**{"beta": BETA, "effort": "fast", "threads": 1} | how)
    (found,) = kinds.encode_pictures([picture], prior, settings, goal)
    return found


@pytest.fixture(scope="module", autouse=True)
def small_ones_may_have_layers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "SMALLEST", 0)
        yield


@pytest.fixture(scope="module")
def found(tiny_photo_prior):
    return choose(mixed(), tiny_photo_prior)


def test_print_beside_a_photograph_is_stored_over_it(found, tiny_photo_prior):
    """Better by J than either kind alone, and as it was where the layer is, but for its few colours."""
    picture = mixed()
    parsed = decoder.parse(found.data, tiny_photo_prior)
    assert isinstance(parsed.colour, InrPlane) and parsed.layer and parsed.alpha is None
    alone = choose(picture, tiny_photo_prior, kind="inr")
    without = Unfitted(picture).cheapest(BETA)
    best = min(file.lagrangian(picture, BETA) for file in (alone, without))
    assert found.lagrangian(picture, BETA) < 0.9 * best
    decoded = decoder.decode_array(found.data, tiny_photo_prior)
    np.testing.assert_array_equal(decoded, found.pixels)
    assert np.abs(decoded[:, 64:].astype(int) - picture[:, 64:]).max() <= 4


def test_grey_pictures_have_layers_too(tiny_photo_prior):
    picture = mixed()[..., 1].copy()
    found = choose(picture, tiny_photo_prior)
    assert decoder.parse(found.data, tiny_photo_prior).layer
    np.testing.assert_array_equal(decoder.decode_array(found.data, tiny_photo_prior), found.pixels)


def test_a_coloured_layer_lies_over_a_grey_network(tiny_photo_prior):
    picture = mixed()
    picture[..., :] = picture[..., 1:2]
    picture[:, 48:][picture[:, 48:, 0] < 128] = (200, 20, 20)
    found = choose(picture, tiny_photo_prior)
    parsed = decoder.parse(found.data, tiny_photo_prior)
    assert parsed.layer and parsed.header.channels == header.GREY_AS_RGB
    decoded = decoder.decode_array(found.data, tiny_photo_prior)
    np.testing.assert_array_equal(decoded, found.pixels)
    np.testing.assert_array_equal(decoded[:, 64:], picture[:, 64:])


@pytest.mark.parametrize("goal", [Goal(size=500), pytest.param(Goal(psnr=32.0), marks=pytest.mark.torture)], ids=repr)
def test_goals_are_met_with_layers(tiny_photo_prior, goal):
    picture = mixed()
    found, network = (choose(picture, tiny_photo_prior, goal, kind=kind) for kind in ("auto", "inr"))
    assert decoder.parse(found.data, tiny_photo_prior).layer
    if goal.size:
        assert len(found.data) <= goal.size and found.psnr > network.psnr + 1
    else:
        assert found.psnr > 31.8 and len(found.data) < 0.9 * len(network.data)


def test_the_next_beta_lies_between_files_of_both_sides():
    known = [(-7.0, 2.7), (-6.0, -0.5), (-6.1, -0.6)]
    assert -7.0 < mixed_files._next_log_beta(known, -2.6) < -6.1
    assert mixed_files._next_log_beta(known[:1], -2.6) > -7.0


def test_drawings_and_photographs_have_none(tiny_photo_prior, monkeypatch):
    monkeypatch.setattr(layers, "planned", lambda *_: pytest.fail("a network was predicted"))
    monkeypatch.setattr(kinds, "_inrs", lambda *_: pytest.fail("fitted"))
    assert isinstance(choose(mixed()[:, 48:].repeat(2, 1), tiny_photo_prior).plane, ExactPlane)
    for name in ("hippos", "lighthouse"):
        with Image.open(SAMPLES / f"{name}.png") as image:
            picture = np.asarray(image.convert("RGB"))
        for beta in (0.02, 0.003, 0.00025):
            assert layers.saved_of_network(picture, beta) < layers.WORTH


def test_the_picture_goes_on_smoothly_below(found):
    layer = layers.planned(mixed(), BETA, lambda below: 1.5 * exact.bounds(below, BETA)).layer
    np.testing.assert_array_equal(layer.below[~layer.seen], mixed()[~layer.seen])
    inside = np.abs(np.diff(layer.below.astype(int), axis=1))[:, 64:]
    assert inside.max() <= 8 < np.abs(np.diff(mixed().astype(int), axis=1))[:, 64:].max()


def test_pixels_are_estimated_cheap_where_their_neighbours_tell():
    numbers = np.zeros((64, 64), np.int64)
    numbers[:, 32:] = np.random.default_rng(0).integers(0, 256, (64, 32))
    bits = layers._pixel_bits(numbers)
    assert bits[1:, 1:32].max() < 1
    assert 7 < bits[:, 34:].mean() < 11


def test_borders_of_a_layer_are_few():
    gains = np.ones((8, 8))
    gains[3, 3] = -0.5
    gains[6:, 6:] = -9
    chosen = layers._coherent(gains, 0.5)
    assert chosen[3, 3] and not chosen[6:, 6:].any() and chosen[:6].all()


def rewritten(file, picture, codec=VP8L, colour=None, more=b"", **changes):
    """A file with another layer, (H, W, 2 or 4) or bytes, its checksum put right."""
    below = colour or file.plane
    head = replace(below.header, layer=True, **changes)
    content = picture if isinstance(picture, bytes) else contents._vp8l(picture, contents.USUAL)
    over = ExactPlane(head.of_layer, below.prior, codec, content)
    payload = plane.write(below, over) + more
    return header.write(head, below.prior.architecture.block, payload, below.prior.digest)


def test_hostile_layers_are_refused_before_anything_is_computed(found, tiny_photo_prior, monkeypatch):
    monkeypatch.setattr(decoder, "decode_plane", lambda *_: pytest.fail("computed"))
    shown = np.zeros((64, 96, 4), np.uint8)
    half = shown.copy()
    half[5, 5, 3] = 254
    whole = contents._vp8l(shown, contents.USUAL)
    bomb = b"\x2f" + (16382 | 16382 << 14).to_bytes(4, "little") + bytes(90)
    hostile = {
        "half transparent": rewritten(found, half),
        "smaller": rewritten(found, shown[:, :-1]),
        "a bomb": rewritten(found, bomb),
        "another format": rewritten(found, whole, codec=PNG),
        "truncated": rewritten(found, whole[:6]),
        "empty": rewritten(found, b""),
        "more bytes": rewritten(found, shown, more=b"\0"),
    }
    for name, data in hostile.items():
        with pytest.raises(FormatError):
            decoder.decode_array(data, tiny_photo_prior)
            pytest.fail(name)
    assert decoder.parse(rewritten(found, shown), tiny_photo_prior).layer


def test_a_layer_may_lie_over_one_colour(found, tiny_photo_prior):
    """FORMAT.md allows it, so decoders take it."""
    head = replace(found.plane.header, point=header.ONE_COLOUR, axes=None)
    shown = np.zeros((64, 96, 4), np.uint8)
    shown[9:30, 7:50] = (1, 2, 3, 255)
    data = rewritten(found, shown, colour=OneColour(head, tiny_photo_prior, bytes([9, 8, 7])))
    expected = np.where(shown[..., 3:] > 0, shown[..., :3], np.uint8([9, 8, 7]))
    np.testing.assert_array_equal(decoder.decode_array(data, tiny_photo_prior), expected)


def test_the_page_reads_layers_alike(found, tiny_photo_prior):
    ours = plain.pixels(plain.read(found.data, {tiny_photo_prior.number: tiny_photo_prior.data}))
    steps = np.abs(ours.astype(int) - found.pixels)
    assert steps.max() <= 1 and np.count_nonzero(steps) < 1e-3 * steps.size


def test_info_and_inspect_tell_of_a_layer():
    path = str(golden.FOLDER / "layer.cmb")
    told = CliRunner().invoke(cli, ["info", path])
    assert "INR under lossless WebP" in told.output
    looked = CliRunner().invoke(cli, ["inspect", path])
    assert looked.exit_code == 0 and "\nlayer  " in looked.output
