"""Planes without loss: exact, hostile, and chosen where they are better."""

import io
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import combiner_codec
from combiner_codec import FormatError, TargetError, decoder
from combiner_codec.command.cli import cli
from combiner_codec.encoder import exact, kinds, palettes, unfitted
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.exact import encoded
from combiner_codec.encoder.goal import Goal
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import header, plane
from combiner_codec.format import prior as priors
from combiner_codec.format.plane import PNG, VP8L, ExactPlane, OneColour
from combiner_codec.picture import exact as contents
from combiner_codec.picture import palette
from conftest import busy_pictures, smooth_pictures

SAMPLES = Path(__file__).parents[1] / "assets" / "samples"


def drawing(side=64):
    """A few flat shapes in colour."""
    picture = np.full((side, side, 3), 250, np.uint8)
    picture[8:24, 8:40] = (20, 60, 200)
    picture[30:50, 20:44] = (220, 40, 30)
    picture[40, :] = 0
    return picture


def with_alpha(colour):
    alpha = np.zeros(colour.shape[:2], np.uint8)
    alpha[10:50, 10:50] = 255
    alpha[20, 20] = 127
    return np.dstack([colour, alpha])


SHAPES = {
    "L": drawing()[..., 0],
    "LA": with_alpha(drawing()[..., 0]),
    "RGB": drawing(),
    "RGBA": with_alpha(drawing()),
    "noise": busy_pictures(1, 64)[0],
    "one pixel": drawing()[:1, :1],
    "narrow": drawing(300)[:, :1],
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("codec", [VP8L, PNG])
def test_every_pixel_comes_back(name, codec, monkeypatch):
    """Of both codecs; colours under transparent pixels too."""
    other = "_png" if codec == VP8L else "_vp8l"
    monkeypatch.setattr(contents, other, lambda *_: bytes(10**6))
    file = exact.encoded(SHAPES[name])
    assert file.plane.codec == codec
    np.testing.assert_array_equal(decoder.decode_array(file.data), SHAPES[name])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([0, 2, 3, 4]), st.integers(1, 256), st.integers(0, 99))
def test_any_picture_comes_back(height, width, channels, values, seed):
    shape = (height, width, channels) if channels else (height, width)
    picture = np.random.default_rng(seed).integers(0, values, shape).astype(np.uint8)
    decoded = decoder.decode_array(exact.encoded(picture).data)
    if channels in (2, 4) and picture[..., -1].min() == 255:
        picture = picture[..., :-1].squeeze(-1) if channels == 2 else picture[..., :-1]
    np.testing.assert_array_equal(decoded, picture)


def test_it_is_as_small_as_webp_and_png():
    for picture in (drawing(), drawing()[..., 0], with_alpha(drawing()), busy_pictures(1, 64)[0]):
        sizes = []
        for kind, options in (("WEBP", {"lossless": True, "exact": True}), ("PNG", {"optimize": True})):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, kind, **options)
            sizes.append(len(buffer.getvalue()))
        assert len(exact.encoded(picture).data) <= min(sizes)


def test_info_says_what_is_inside(tmp_path):
    path = tmp_path / "a.cmb"
    path.write_bytes(exact.encoded(drawing()).data)
    done = CliRunner().invoke(cli, ["info", str(path)])
    assert done.exit_code == 0
    assert "lossless WebP inside" in done.output or "lossless PNG inside" in done.output


def rewritten(file, codec=None, content=None, more=b"", **changes):
    """A file with other fields, its checksum put right."""
    head = replace(file.plane.header, **changes)
    codec = file.plane.codec if codec is None else codec
    content = file.plane.content if content is None else content
    payload = bytes([codec]) + header.write_varint(len(content)) + content + more
    return header.write(head, 0, payload, b"")


def png_of(picture, *more):
    """A PNG without signature, with more chunks before its end."""
    body = contents._png(picture)
    chunks = b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
                      for name, data in more)  # fmt: skip
    return body[:-12] + chunks + body[-12:]


@pytest.fixture(scope="module")
def file():
    return exact.encoded(drawing())


def test_the_helper_writes_what_the_encoder_writes(file):
    assert rewritten(file) == file.data


HOSTILE = {
    "another codec": {"codec": 2},
    "empty": {"content": b""},
    "not VP8L": {"codec": VP8L, "content": b"\x2e" + bytes(40)},
    "not PNG": {"codec": PNG, "content": bytes(40)},
    "a JPEG": {"codec": VP8L, "content": b"\xff\xd8\xff\xe0" + bytes(40)},
    "trailing bytes": {"more": b"\0"},
    "wider": {"width": 65},
    "huge": {"width": 16383, "height": 16383},
    "bomb": {"codec": VP8L, "content": b"\x2f" + struct.pack("<I", 16382 | 16382 << 14) + bytes(90)},
    "VP8L of version 1": {"codec": VP8L, "content": b"\x2f" + struct.pack("<I", 63 | 63 << 14 | 1 << 29) + bytes(90)},
    "a chunk of text": {"codec": PNG, "content": png_of(drawing(), (b"tEXt", b"a\0b"))},
    "a colour profile": {"codec": PNG, "content": png_of(drawing(), (b"gAMA", struct.pack(">I", 10000)))},
    "bytes behind its end": {"codec": PNG, "content": png_of(drawing()) + b"abc"},
    "another PNG behind it": {"codec": PNG, "content": png_of(drawing()) * 2},
    "16 bits": {"codec": PNG, "content": png_of(drawing())[:16] + b"\x10" + png_of(drawing())[17:]},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_contents_are_refused(file, name):
    with pytest.raises(FormatError):
        decoder.decode_array(rewritten(file, **HOSTILE[name]))


def test_truncated_contents_are_refused(file):
    for length in range(len(file.plane.content)):
        short = rewritten(file, content=file.plane.content[:length])
        try:
            decoded = decoder.decode_array(short)
        except FormatError:
            continue
        assert length > 0.9 * len(file.plane.content)  # zlib's last bytes, say, hold no pixels
        assert decoded.shape == (64, 64, 3)
    with pytest.raises(FormatError):
        decoder.decode_array(file.data[:-1])


def test_a_mutated_file_is_a_picture_or_a_format_error(file):
    rng = np.random.default_rng(0)
    verdicts = set()
    for _ in range(400):
        size = header.checksum_size(len(file.data))
        data = bytearray(file.data[:-size])
        data[rng.integers(1, len(data))] ^= 1 << rng.integers(8)
        data = bytes(data) + header.checksum(bytes(data), b"", short=size == 1)
        try:
            decoder.decode_array(data, max_pixels=2**20)
            verdicts.add("picture")
        except FormatError:
            verdicts.add("refused")
    assert "refused" in verdicts


def test_only_an_exact_file_does_without_a_prior(file, tiny_prior):
    for changes in (
        {"prior": 1},
        {"point": 3},
        {"seed": 1},
        {"index_bits": 16},
        {"alpha": 3},
        {"sharpness": 1, "alpha": 30},
    ):
        with pytest.raises(FormatError):
            decoder.decode_array(rewritten(file, **changes), tiny_prior)


def test_a_mask_may_be_exact_beside_a_network(tiny_prior):
    """FORMAT.md allows it, so a decoder takes it: alpha's plane is a content of its own."""
    colour = encode_arrays([smooth_pictures(1, 64)[0]], tiny_prior, Settings(0.01, "fast"))[0]
    alpha = with_alpha(drawing())[..., 3]
    head = replace(colour.plane.header, alpha=header.EXACT)
    mask = ExactPlane(head.of_alpha, tiny_prior, *contents.encoded(alpha))
    data = header.write(head, tiny_prior.architecture.block, plane.write(colour.plane, mask), tiny_prior.digest)
    decoded = decoder.decode_array(data, tiny_prior)
    np.testing.assert_array_equal(decoded[..., 3], alpha)
    np.testing.assert_array_equal(decoded[..., :3], colour.pixels)


def choose(picture, prior, goal=None, **how):
    (found,) = kinds.encode_pictures([picture], prior, Settings(effort="fast", threads=1, **how), goal)
    return found


def test_drawings_need_no_network(tiny_photo_prior, monkeypatch):
    monkeypatch.setattr(kinds, "_inrs", lambda *_: pytest.fail("fitted"))
    found = choose(drawing(96), tiny_photo_prior, beta=0.003)
    assert isinstance(found.plane, ExactPlane)
    assert found.psnr > 40


@pytest.mark.parametrize("beta", [0.01, 0.00025])
def test_photographs_take_the_network(tiny_photo_prior, beta):
    picture = busy_pictures(1, 96)[0]
    found = choose(picture, tiny_photo_prior, beta=beta)
    without = choose(picture, tiny_photo_prior, beta=beta, kind="lossless")
    assert found.lagrangian(picture, beta) <= without.lagrangian(picture, beta)


@pytest.mark.parametrize(("name", "beta"), [("hippos", 0.00025), ("lighthouse", 0.00025), ("hippos", 0.02)])
def test_photographs_never_become_graphics(name, beta):
    """With the shipped prior; all 46 validation photographs were checked once (docs/lab.md)."""
    with Image.open(SAMPLES / f"{name}.png") as image:
        picture = np.asarray(image.convert("RGB"))[150:230, 200:296]
    found = choose(picture, priors.load("photo"), beta=beta)
    assert isinstance(found.plane, plane.InrPlane)


def test_what_is_chosen_is_never_worse_by_j(tiny_photo_prior):
    for picture in (drawing(64), smooth_pictures(1, 64)[0]):
        for beta in (0.03, 0.001):
            auto, inr = (choose(picture, tiny_photo_prior, beta=beta, kind=kind) for kind in ("auto", "inr"))
            assert auto.lagrangian(picture, beta) <= inr.lagrangian(picture, beta) * (1 + 1e-9)


def mosaic(side=96):
    """Squares of twelve colours."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (12, 3)).astype(np.uint8)
    return colours[rng.integers(0, 12, (side // 4, side // 4))].repeat(4, 0).repeat(4, 1)


def test_goals_choose_over_all_kinds(tiny_photo_prior):
    picture = mosaic()
    whole = exact.encoded(picture)
    assert choose(picture, tiny_photo_prior, Goal(size=10**5)).data == whole.data
    assert np.isinf(choose(picture, tiny_photo_prior, Goal(psnr=float("inf"))).psnr)
    less = choose(picture, tiny_photo_prior, Goal(size=len(whole.data) - 1))
    assert len(less.data) < len(whole.data)
    good = choose(picture, tiny_photo_prior, Goal(psnr=35.0))
    assert good.psnr >= 34.8
    assert len(good.data) <= len(whole.data)
    refused = choose(picture, tiny_photo_prior, Goal(size=20), kind="lossless")
    assert isinstance(refused, TargetError)


def test_more_bytes_never_buy_a_worse_drawing(tiny_photo_prior):
    picture = mosaic()
    found = [choose(picture, tiny_photo_prior, Goal(size=size)) for size in (200, 300, 450, 700, 1400)]
    quality = [file.psnr for file in found]
    assert quality == sorted(quality)


def test_one_colour_stays_one_colour(tiny_prior):
    found = choose(np.full((40, 40, 3), 7, np.uint8), tiny_prior)
    assert isinstance(found.plane, OneColour)


def test_lossless_needs_no_torch(tmp_path):
    Image.fromarray(drawing()).save(tmp_path / "a.png")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from combiner_codec.command.cli import main\n"
        f"sys.argv = ['combiner', 'encode', {str(tmp_path / 'a.png')!r}, {str(tmp_path / 'a.cmb')!r}, *sys.argv[1:]]\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code, "--lossless"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.asarray(combiner_codec.decode(tmp_path / "a.cmb")), drawing())
    Image.fromarray(busy_pictures(1, 64)[0]).save(tmp_path / "a.png")
    done = subprocess.run([sys.executable, "-c", code, "-f", "--beta", "0.01"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "torch" in done.stderr and "--kind" in done.stderr


def test_the_command_and_python_say_lossless(tmp_path):
    Image.fromarray(drawing()).save(tmp_path / "a.png")
    run = CliRunner().invoke(cli, ["encode", str(tmp_path / "a.png"), "-o", str(tmp_path / "a.cmb"), "--lossless"])
    assert run.exit_code == 0, run.output
    assert (tmp_path / "a.cmb").read_bytes() == combiner_codec.encode(drawing(), kind="lossless")
    for wrong in (["--kind", "inr"], ["--preview"], ["--prior", "small"]):
        run = CliRunner().invoke(cli, ["encode", str(tmp_path / "a.png"), "-o", "x.cmb", "--lossless", *wrong])
        assert run.exit_code == 2
    with pytest.raises(ValueError, match="kind must be one of"):
        combiner_codec.encode(drawing(), kind="png")


def behind_a_mask():
    picture = np.dstack([busy_pictures(1, 96)[0], np.zeros((96, 96), np.uint8)])
    picture[20:70, 30:80, 3] = 255
    picture[picture[..., 3] == 0, :3] = 0
    return picture


def test_a_mask_is_exact_beside_a_network_where_that_is_better(tiny_photo_prior):
    """A photograph behind a hard mask; with the network alone asked for, the mask is its too."""
    picture = behind_a_mask()
    found = choose(picture, tiny_photo_prior, beta=0.01)
    network = choose(picture, tiny_photo_prior, beta=0.01, kind="inr")
    contents_of = decoder.parse(found.data, tiny_photo_prior)
    assert isinstance(contents_of.colour, plane.InrPlane) and isinstance(contents_of.alpha, ExactPlane)
    assert isinstance(decoder.parse(network.data, tiny_photo_prior).alpha, plane.InrPlane)
    decoded = decoder.decode_array(found.data, tiny_photo_prior)
    np.testing.assert_array_equal(decoded[..., 3], picture[..., 3])
    assert found.lagrangian(picture, 0.01) < network.lagrangian(picture, 0.01)


@pytest.mark.parametrize("goal", [Goal(size=150), Goal(psnr=25.0)], ids=["size", "psnr"])
def test_goals_take_an_exact_mask_too(tiny_prior, goal):
    """A hard mask of 50 bytes, which a network shows with errors in more."""
    picture = behind_a_mask()[12:44, 20:52]
    found, network = (choose(picture, tiny_prior, goal, kind=kind) for kind in ("auto", "inr"))
    decoded = decoder.decode_array(found.data, tiny_prior)
    assert isinstance(decoder.parse(found.data, tiny_prior).alpha, ExactPlane)
    np.testing.assert_array_equal(decoded[..., 3], picture[..., 3])
    if goal.size:
        assert len(found.data) <= goal.size
        assert found.psnr > network.psnr
    else:
        assert abs(found.psnr - goal.psnr) < 1
        assert len(found.data) < len(network.data)


def test_one_colour_and_an_exact_mask_of_a_size(tiny_photo_prior):
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[..., :3] = (200, 30, 60)
    picture[9:50, 13:40, 3] = 255
    exact_one = choose(picture, tiny_photo_prior, beta=0.003)
    found = choose(picture, tiny_photo_prior, Goal(size=len(exact_one.data)))
    np.testing.assert_array_equal(decoder.decode_array(found.data, tiny_photo_prior), picture)


def test_one_colour_behind_an_exact_mask(tiny_photo_prior):
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[..., :3] = (200, 30, 60)
    picture[9:50, 13:40, 3] = 255
    found = choose(picture, tiny_photo_prior, beta=0.003)
    np.testing.assert_array_equal(decoder.decode_array(found.data, tiny_photo_prior), picture)


def shades():
    """Squares whose colours differ a little everywhere: more colours than a palette has."""
    steps = np.random.default_rng(3).integers(-3, 4, (96, 96, 3))
    return np.clip(mosaic().astype(int) + steps, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("picture", [shades(), shades()[..., 0]], ids=["colour", "grey"])
def test_a_drawing_of_many_colours_takes_a_palette(tiny_photo_prior, picture):
    found = choose(picture, tiny_photo_prior, beta=0.003)
    whole = exact.encoded(picture)
    assert isinstance(found.plane, ExactPlane)
    assert len(found.data) < len(whole.data) / 2
    assert found.lagrangian(picture, 0.003) < whole.lagrangian(picture, 0.003) / 2
    decoded = decoder.decode_array(found.data)
    np.testing.assert_array_equal(decoded, found.pixels)
    assert len(np.unique(decoded.reshape(96 * 96, -1), axis=0)) <= 256


def test_palettes_count_their_error_before_a_file_is_made():
    picture = shades()
    fewer = palettes.Palettes(picture)
    for size in (8, 64):
        file = fewer.file(size)
        assert fewer.error(size) == pytest.approx(file.lagrangian(picture, 0))
        assert len(np.unique(file.pixels.reshape(-1, 3), axis=0)) <= size
    assert fewer.error(64) < fewer.error(8)
    assert palettes.Palettes(mosaic()).sizes == (2, 4, 8)


def test_every_colour_takes_the_nearest_of_a_palette(monkeypatch):
    histogram = palette.Histogram.of(shades())
    colours = histogram.palette(16)
    distances = ((histogram.colours[:, None].astype(int) - colours[None]) ** 2).sum(2)
    nearest = histogram.nearest(colours)
    np.testing.assert_array_equal(distances[np.arange(len(nearest)), nearest], distances.min(1))
    monkeypatch.setattr(palette, "DISTANCES", 100)
    np.testing.assert_array_equal(histogram.nearest(colours), nearest)
    np.testing.assert_array_equal(histogram.colours[histogram.number], shades())


def test_colours_are_counted_alike_in_large_pictures(monkeypatch):
    for picture in (shades(), shades()[..., 0]):
        sorted_ones = palette.Histogram.of(picture)
        monkeypatch.setattr(palette, "LARGE", 0)
        by_table = palette.Histogram.of(picture)
        monkeypatch.undo()
        for name in ("colours", "counts", "number"):
            np.testing.assert_array_equal(getattr(by_table, name), getattr(sorted_ones, name))


def test_a_large_drawing_is_decided_by_a_sample(monkeypatch):
    """As well as by all of it, and with one or two files."""
    picture = np.tile(shades(), (4, 4, 1))
    picture[:60, :200] = 250
    beta = 0.003
    every = unfitted.Unfitted(picture)
    best = every.fewer.cheapest(beta, every.whole.lagrangian(picture, beta))
    made = []
    monkeypatch.setattr(exact, "encoded", lambda *what: made.append(what) or encoded(*what))
    found = unfitted.Unfitted(picture).cheapest(beta)
    assert found.lagrangian(picture, beta) <= 1.02 * best.lagrangian(picture, beta)
    assert len([what for what in made if what[0] is picture]) <= 2


def test_a_sample_comes_from_all_over_a_picture():
    rows, columns = np.indices((1080, 1920))
    pieces = unfitted.some_pieces(np.stack([rows // 270, columns // 480], -1), unfitted.SAMPLE)
    assert pieces.shape[0] * pieces.shape[1] <= unfitted.SAMPLE
    assert {0, 1, 2, 3} == {*np.unique(pieces[..., 0]).tolist()} == {*np.unique(pieces[..., 1]).tolist()}
    for shape in ((3, 5), (1, 2**16), (2**16, 1), (256, 256)):
        picture = np.zeros(shape, np.uint8)
        assert unfitted.some_pieces(picture, unfitted.SAMPLE) is picture


def test_a_small_drawing_is_coded_without_loss_once(tiny_photo_prior, monkeypatch):
    made = []
    monkeypatch.setattr(exact, "encoded", lambda *what: made.append(what) or encoded(*what))
    choose(drawing(96), tiny_photo_prior, beta=0.003)
    assert len([what for what in made if len(what) == 1]) == 1


def test_an_opaque_alpha_is_no_alpha(tiny_photo_prior):
    for colour in (drawing(), drawing()[..., 0]):
        picture = np.dstack([colour, np.full((64, 64), 255, np.uint8)])
        for kind in ("auto", "lossless"):
            with_it, without = (choose(each, tiny_photo_prior, beta=0.003, kind=kind) for each in (picture, colour))
            assert with_it.data == without.data
