"""Placeholders: a picture of any size in a few hundred bytes, and back at the size of the original."""

import base64

import numpy as np
import pytest
from PIL import Image

import combiner_codec
from combiner_codec import scaling
from combiner_codec.decoder import decode_array
from conftest import smooth_pictures
from test_cli import run

WIDE = smooth_pictures(1, 200)[0][:100]  # (100, 200, 3)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
@pytest.mark.parametrize(("size", "side"), [(200, 64), (90, 32)])
def test_a_preview_has_its_size_and_kind(mode, size, side):
    image = Image.fromarray(WIDE).convert(mode)
    if "A" in mode:
        image.putalpha(Image.fromarray(WIDE[..., 0]))
    data = combiner_codec.preview(image, size, side=side, effort="fast")
    assert len(data) <= size
    shown, large = combiner_codec.decode(data), combiner_codec.decode(data, size=(200, 100))
    assert (shown.mode, shown.size) == (mode, (side, side // 2))
    assert (large.mode, large.size) == (mode, (200, 100))
    error = np.asarray(large).astype(float) - np.asarray(image)
    assert np.mean(error**2) < np.var(np.asarray(image)) / 4


def test_small_pictures_are_not_scaled(tiny_prior):
    picture = smooth_pictures(1, 20)[0]
    data = combiner_codec.preview(picture, 150, prior=tiny_prior, effort="fast")
    assert data == combiner_codec.encode(picture, target_size=150, prior=tiny_prior, effort="fast")


@pytest.mark.parametrize(("height", "width", "shape"), [(1, 1000, (1, 64)), (640, 1280, (32, 64)), (65, 64, (64, 63))])
def test_the_longer_side_decides(height, width, shape):
    assert scaling.fitted(np.zeros((height, width, 3), np.uint8), 64).shape == (*shape, 3)


def test_what_is_transparent_does_not_bleed():
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[:, :32] = 255, 0, 0, 255
    picture[:, 32:] = 0, 255, 0, 0
    small = scaling.fitted(picture, 16)
    assert (small[small[..., 3] > 0][:, 1] == 0).all()


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(WIDE).save(tmp_path / "in.png")
    return tmp_path / "in.png"


def test_the_command_writes_prints_and_scales(picture, tmp_path):
    assert run("encode", picture, "--preview", "--effort", "fast", "-o", tmp_path / "out.cmb").returncode == 0
    data = (tmp_path / "out.cmb").read_bytes()
    assert len(data) <= 200 and decode_array(data).shape == (32, 64, 3)
    done = run("encode", picture, "--preview", "--effort", "fast", "--data-url", "-q")
    kind, _, text = done.stdout.decode().partition(",")
    assert kind == "data:image/x-combiner;base64" and base64.b64decode(text) == data
    assert run("decode", tmp_path / "out.cmb", "--size", "200x100", "-o", tmp_path / "out.png").returncode == 0
    assert Image.open(tmp_path / "out.png").size == (200, 100)


def test_the_command_takes_another_side_and_size(picture, tmp_path):
    options = ("--preview", "--target-size", "100", "--side", "32", "--effort", "fast")
    assert run("encode", picture, *options, "-o", tmp_path / "out.cmb").returncode == 0
    data = (tmp_path / "out.cmb").read_bytes()
    assert len(data) <= 100 and decode_array(data).shape == (16, 32, 3)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["encode", "in.png", "--preview", "--beta", "0.1"], "exclude each other"),
        (["encode", "in.png", "--preview", "--target-psnr", "30"], "exclude each other"),
        (["encode", "in.png", "--data-url", "-o", "out.cmb"], "--data-url takes neither"),
        (["decode", "in.cmb", "--size", "0x40"], "WIDTHxHEIGHT"),
        (["decode", "in.cmb", "--size", "40"], "WIDTHxHEIGHT"),
    ],
)
def test_wrong_usage_is_explained(arguments, text, picture):
    done = run(*arguments, cwd=picture.parent)
    assert done.returncode == 2 and text in done.stderr.decode()
