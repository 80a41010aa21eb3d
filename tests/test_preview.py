"""Placeholders: a picture of any size in a few hundred bytes, and back at the size of the original."""

import base64

import numpy as np
import pytest
from PIL import Image

import combiner_codec
from combiner_codec.decoder import decode_array
from combiner_codec.picture import scaling
from conftest import smooth_pictures
from warm import run

WIDE = smooth_pictures(1, 200)[0][:100]  # (100, 200, 3)


@pytest.mark.parametrize(("mode", "size", "side"), [("RGB", 200, 64), ("L", 200, 64), ("RGBA", 90, 32), ("LA", 60, 20)])
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
        (["encode", "in.png", "--preview", "--quality", "30"], "exclude each other"),
        (["encode", "in.png", "--side", "30"], "--side is for --preview"),
        (["encode", "in.png", "--data-url", "-o", "out.cmb"], "--data-url takes neither"),
        (["encode", "in.png", "out.cmb", "--data-url"], "--data-url takes neither"),
        (["encode", "in.png", "--data-url", "--output-dir", "out"], "--data-url takes neither"),
        (["encode", ".", "--preview"], ". is a folder: name an --output-dir"),
        (["decode", "in.cmb", "--size", "1" * 5000 + "x1"], "WIDTHxHEIGHT"),
        (["decode", "in.cmb", "--size", "1048577x1"], "each up to 1048576"),
        (["decode", "in.cmb", "--size", "0x40"], "WIDTHxHEIGHT"),
        (["decode", "in.cmb", "--size", "40"], "WIDTHxHEIGHT"),
    ],
)
def test_wrong_usage_is_explained(arguments, text, picture):
    done = run(*arguments, cwd=picture.parent)
    assert done.returncode == 2 and text in done.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["encode", "words.cmb", "--preview", "-o", "nowhere/out.cmb"], "no such folder"),
        (["encode", "words.cmb", "--preview", "-o", "words.cmb"], "both input and output"),
        (["encode", "words.cmb", "--preview"], "words.cmb exists: use -f"),
        (["decode", "words.cmb", "out.png", "--size", "99999x99999"], "99999 x 99999 pixels are more than 178956970"),
        (["decode", "words.cmb", "out.jxl", "--size", "9x9"], "Pillow cannot write .jxl"),
    ],
)
def test_outputs_are_checked_before_an_input_is_read(arguments, text, tmp_path):
    (tmp_path / "words.cmb").write_text("just words")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 1 and text in done.stderr.decode() and len(done.stderr.splitlines()) == 1


def test_previews_of_a_folder_are_mirrored_or_printed(tmp_path, tiny_prior_file):
    """Transparent ones keep their alpha, one colour has a line like all others, and a bad file stops none."""
    tree, options = tmp_path / "tree", ("--preview", "--effort", "fast", "--prior", tiny_prior_file)
    (tree / "deep").mkdir(parents=True)
    Image.fromarray(WIDE).save(tree / "a.png")
    Image.fromarray(np.dstack([WIDE, WIDE[..., 0]])).save(tree / "deep" / "b.png")
    Image.new("RGB", (9, 9)).save(tree / "c.png")
    done = run("encode", tree, *options, "--output-dir", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    shown = {
        str(path.relative_to(tmp_path / "out")): (len(path.read_bytes()) <= 200, path.read_bytes())
        for path in (tmp_path / "out").rglob("*.cmb")
    }
    assert sorted(shown) == ["a.cmb", "c.cmb", "deep/b.cmb"] and all(fits for fits, _ in shown.values())
    assert combiner_codec.decode(shown["deep/b.cmb"][1], prior=str(tiny_prior_file)).mode == "RGBA"
    again = run("encode", tree, *options, "--output-dir", tmp_path / "out", "--skip-existing")
    assert again.returncode == 0 and again.stderr.count(b"exists, skipped") == 3
    (tree / "bad.png").write_text("just words")
    printed = run("encode", tree, *options, "--data-url")
    urls = printed.stdout.decode().splitlines()
    assert printed.returncode == 1 and b"bad.png: not a picture" in printed.stderr and b"deep/b.png: " in printed.stderr
    assert [base64.b64decode(url.partition(",")[2]) for url in urls] == [
        shown[name][1] if name else b"" for name in ("a.cmb", None, "c.cmb", "deep/b.cmb")
    ]
