"""What becomes of every kind of picture: grey, palette, alpha, 16 bits, colour profiles, orientation."""

import io
import json
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, features

import combiner_codec
import warm
from combiner_codec.decoder import decode_array
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.settings import Settings
from combiner_codec.errors import FormatError, MissingError
from combiner_codec.format import header
from combiner_codec.format import prior as priors
from combiner_codec.picture import heif, image, reading

SAMPLES = Path(__file__).parents[1] / "assets" / "samples"
RAMP = np.add.outer(np.arange(0, 160, 5), np.arange(0, 96, 3)).astype(np.uint8)  # (32, 32)
COLOURS = np.stack([RAMP, RAMP[::-1], 255 - RAMP], -1)


def file(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def load(source, **options):
    """Pixels and notes."""
    notes = []
    return image.load(source, "in", note=notes.append, **options), notes


def png16(values, colour_type):
    """A PNG of 16 bits per channel: (H, W, channels) uint16."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def profile(swap=False):
    """An sRGB profile, or one whose red and green primaries are exchanged."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return data.replace(b"rXYZ", b"tXYZ").replace(b"gXYZ", b"rXYZ").replace(b"tXYZ", b"gXYZ") if swap else data


def grey_profile(gamma):
    """A grey profile of one gamma: three tags."""

    def fixed(*values):
        return b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    white = b"XYZ \0\0\0\0" + fixed(0.9642, 1.0, 0.8249)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79)
    tags, table, place = [(b"wtpt", white), (b"kTRC", curve), (b"desc", text)], b"", 128 + 4 + 36
    for name, data in tags:
        table += name + struct.pack(">II", place, len(data))
        place += len(data)
    head = struct.pack(">I4sI4s4s4s", place, b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ ") + bytes(12) + b"acsp"
    head = (head + bytes(28) + fixed(0.9642, 1.0, 0.8249)).ljust(128, b"\0")
    return head + struct.pack(">I", len(tags)) + table + b"".join(data for _, data in tags)


def test_grey_stays_grey():
    array, notes = load(file(Image.fromarray(RAMP)))
    np.testing.assert_array_equal(array, RAMP)
    assert notes == []


def test_one_bit_becomes_black_and_white():
    array, _ = load(file(Image.fromarray(RAMP > 100)))
    np.testing.assert_array_equal(array, np.where(RAMP > 100, 255, 0))


def test_opaque_alpha_is_dropped():
    for base in (RAMP, COLOURS):
        picture = Image.fromarray(base)
        picture.putalpha(255)
        array, notes = load(file(picture))
        np.testing.assert_array_equal(array, base)
        assert notes == []


def test_palettes_become_rgb_and_palettes_of_greys_grey():
    palette = Image.fromarray(COLOURS).quantize(16)
    np.testing.assert_array_equal(load(file(palette))[0], np.array(palette.convert("RGB")))
    greys = Image.fromarray(RAMP // 16)
    greys.putpalette([v for i in range(16) for v in (17 * i,) * 3])
    np.testing.assert_array_equal(load(file(greys))[0], RAMP // 16 * 17)


def test_real_alpha_is_kept_or_put_on_a_background():
    picture = Image.fromarray(COLOURS)
    picture.putalpha(Image.fromarray(RAMP))
    np.testing.assert_array_equal(load(file(picture))[0], np.dstack([COLOURS, RAMP]))
    share = RAMP[..., None] / 255
    for name, behind in (("white", (255, 255, 255)), ("#102030", (16, 32, 48))):
        array, _ = load(file(picture), background=name)
        np.testing.assert_allclose(array, share * COLOURS + (1 - share) * behind, atol=0.501)


def test_grey_with_alpha_stays_grey_on_grey_only():
    picture = Image.fromarray(RAMP)
    picture.putalpha(Image.fromarray(RAMP))
    assert load(file(picture))[0].shape == (32, 32, 2)
    assert load(file(picture), background="white")[0].shape == (32, 32)
    assert load(file(picture), background="red")[0].shape == (32, 32, 3)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_a_transparent_colour_is_alpha(mode):
    picture = Image.new(mode, (4, 4))
    source = file(picture, transparency=(0, 0, 0) if mode == "RGB" else 0)
    assert not load(source)[0][..., -1].any()
    assert (load(source, background="#fff")[0] == 255).all()


def test_a_background_is_an_opaque_colour():
    for name in ("#ffffff80", "no colour"):
        with pytest.raises(ValueError, match=name):
            image.colour(name)


DEEP = (257 * RAMP.astype(np.int64)[..., None] + np.arange(-100, 101, 50)[:4]).clip(0, 65535).astype(np.uint16)


@pytest.mark.parametrize(("channels", "colour_type"), [(1, 0), (3, 2), (2, 4), (4, 6)])
def test_16_bit_pngs_are_rounded_on_demand(channels, colour_type):
    values = DEEP[..., :channels].copy()
    if channels in (2, 4):
        values[..., -1] = 65535
    source = png16(values, colour_type)
    with pytest.raises(FormatError, match="to_8bit="):
        load(source)
    expected = np.rint(values / 257)[..., : 3 if channels > 2 else 1].squeeze()
    np.testing.assert_array_equal(load(source, to_8bit=True)[0], expected)


def tiff(values, end="<", deflate=False):
    """An RGB TIFF of 16 bits: (H, W, 3) uint16."""
    height, width = values.shape[:2]
    data = values.astype(f"{end}u2").tobytes()
    data = zlib.compress(data) if deflate else data
    bits, start = 8 + 2 + 9 * 12 + 4, 8 + 2 + 9 * 12 + 4 + 6
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 3, bits),
        (259, 3, 1, 8 if deflate else 1),
        (262, 3, 1, 2),
    ]
    tags += [(273, 4, 1, start), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(data))]

    def entry(tag, kind, count, value):
        last = "HH" if kind == 3 and count == 1 else "I"
        return struct.pack(f"{end}HHI{last}", tag, kind, count, value, *([0] if last == "HH" else []))

    head = struct.pack(f"{end}2sHIH", b"II" if end == "<" else b"MM", 42, 8, len(tags))
    table = b"".join(entry(*tag) for tag in tags) + bytes(4) + struct.pack(f"{end}3H", 16, 16, 16)
    return head + table + data


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("end", ["<", ">"])
def test_16_bit_tiffs_are_rounded_on_demand(end, deflate):
    if deflate and not features.check("libtiff"):
        pytest.skip("this Pillow reads no compressed TIFF")
    source = tiff(DEEP[..., :3], end, deflate)
    with pytest.raises(FormatError, match="to_8bit="):
        load(source)
    np.testing.assert_array_equal(load(source, to_8bit=True)[0], np.rint(DEEP[..., :3] / 257))


def test_wide_integers_and_floats_have_to_be_in_range():
    fine = Image.fromarray(RAMP.astype(np.int32) * 257)
    np.testing.assert_array_equal(load(file(fine, "TIFF"), to_8bit=True)[0], RAMP)
    fine = Image.fromarray(RAMP.astype(np.float32) / 255)
    np.testing.assert_array_equal(load(file(fine, "TIFF"), to_8bit=True)[0], RAMP)
    for values in (RAMP.astype(np.int32) * 1000, RAMP.astype(np.float32), np.full((4, 4), np.nan, np.float32)):
        with pytest.raises(FormatError, match="must be 0 to"):
            load(file(Image.fromarray(values), "TIFF"), to_8bit=True)


def test_other_formats_of_many_bits():
    values = b"".join(struct.pack(">3H", v, v, v) for v in range(0, 65536, 257))
    source = b"P6 16 16 65535\n" + values
    with pytest.raises(FormatError, match="to_8bit="):
        load(source)
    assert (load(source, to_8bit=True)[0].reshape(-1, 3) == np.arange(256)[:, None]).all()
    source = b"P5 16 16 65535\n" + values[::6] + bytes(256)
    with pytest.raises(FormatError, match="to_8bit="):
        load(source)
    assert load(source, to_8bit=True)[0].shape == (16, 16)
    assert load(b"P1 2 1\n1 0\n")[0].tolist() == [[0, 255]]


def test_many_bits_in_jpeg_2000_and_avif_are_noticed():
    assert image._coded_bits(b"....pixi\0\0\0\0\3\x0a\x0a\x0a" + bytes(9)) == 10
    assert image._coded_bits(b"\xff\x4f\xff\x51" + bytes(38) + b"\x0f" + bytes(9)) == 16
    for kind in ("JPEG2000", "AVIF"):
        if features.check({"JPEG2000": "jpg_2000", "AVIF": "avif"}[kind]):
            assert load(file(Image.fromarray(COLOURS), kind))[0].shape == COLOURS.shape


def test_cmyk_and_other_colour_modes_become_rgb_with_a_note():
    picture = Image.fromarray(COLOURS)
    for mode, kind in (("CMYK", "JPEG"), ("YCbCr", "TIFF"), ("LAB", "TIFF")):
        converted = picture.convert(mode) if mode != "LAB" else Image.merge("LAB", picture.split())
        array, (note,) = load(file(converted, kind))
        assert array.shape == (32, 32, 3) and f"in: converted from {mode} to RGB" in note
    assert image.pixels(picture.convert("HSV"), note=lambda line: None).shape == (32, 32, 3)


def test_other_colour_profiles_are_converted_with_a_note():
    source = file(Image.fromarray(COLOURS), icc_profile=profile(swap=True))
    array, (note,) = load(source)
    assert "to sRGB" in note and note.startswith("in: ")
    inverse = Image.fromarray(array), io.BytesIO(profile()), io.BytesIO(profile(swap=True))
    back = np.asarray(ImageCms.profileToProfile(*inverse, renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC))
    inside = ((array > 0) & (array < 255)).all(-1)
    assert np.abs(back.astype(int) - COLOURS)[inside].max() <= 6


def test_an_srgb_profile_changes_nothing():
    for base in (RAMP, COLOURS):
        array, notes = load(file(Image.fromarray(base), icc_profile=profile()))
        np.testing.assert_array_equal(array, base)
        assert notes == []


def test_grey_profiles_are_converted_too():
    array, (note,) = load(file(Image.fromarray(RAMP), icc_profile=grey_profile(1.0)))
    linear = RAMP / 255
    srgb = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert "profile test" in note and array.shape == RAMP.shape
    assert np.abs(array - 255 * srgb).max() < 1


def test_profiles_that_do_not_fit_are_ignored_with_a_note():
    for bad, text in ((b"rubbish", "cannot be used"), (grey_profile(1.0), "is for GRAY pictures")):
        array, (note,) = load(file(Image.fromarray(COLOURS), icc_profile=bad))
        np.testing.assert_array_equal(array, COLOURS)
        assert text in note


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_exif_orientation_is_applied(kind):
    picture, exif = Image.fromarray(RAMP[:16]), Image.Exif()
    exif[image.ORIENTATION] = 6
    array, (note,) = load(file(picture, kind, exif=exif, **({"quality": 100} if kind == "JPEG" else {})))
    assert "orientation" in note
    np.testing.assert_allclose(array.astype(int), np.rot90(RAMP[:16], -1), atol=2 if kind == "JPEG" else 0)


@pytest.mark.parametrize("kind", ["GIF", "TIFF"])
def test_animations_are_refused(kind):
    frames = [Image.new("L", (8, 8), v) for v in (0, 200)]
    with pytest.raises(FormatError, match="in: animated"):
        load(file(frames[0], kind, save_all=True, append_images=frames[1:]))


def test_of_a_camera_file_with_several_pictures_the_first_is_kept():
    first, second = Image.fromarray(COLOURS), Image.new("RGB", (8, 8))
    array, (note,) = load(file(first, "MPO", save_all=True, append_images=[second], quality=100))
    assert array.shape == COLOURS.shape and "first of its 2 pictures" in note


def test_broken_files_are_refused():
    for bad in (b"", b"just words", file(Image.fromarray(COLOURS))[:-60], file(Image.fromarray(COLOURS), "JPEG")[:300]):
        with pytest.raises(FormatError, match=r"^in: "):
            load(bad)


@pytest.fixture
def small():
    return priors.load("small")


def test_a_photograph_costs_less_in_grey(small):
    with Image.open(SAMPLES / "hippos-64x48.png") as picture:
        pictures = [np.array(picture.convert(mode)) for mode in ("L", "RGB")]
    settings = Settings(effort="fast")
    grey, colour = encode_arrays(pictures, small, settings)
    costs = [file.lagrangian(picture, settings.beta) for file, picture in zip((grey, colour), pictures, strict=True)]
    assert costs[0] < 0.9 * costs[1] and grey.psnr > colour.psnr
    decoded = decode_array(grey.data)
    assert decoded.shape == (48, 64)
    np.testing.assert_array_equal(decoded, grey.pixels)
    assert [header.read(one.data)[0].channels for one in (grey, colour)] == [header.GREY, header.RGB]


def test_grey_levels_code_one_component_of_three(small):
    point, grey = (small.operating_point(5, grey=grey) for grey in (False, True))
    np.testing.assert_array_equal(grey.kl_index[:, ::3], point.kl_index[:, ::3])
    assert not grey.kl_index[:, 1::3].any() and not grey.kl_index[:, 2::3].any() and point.kl_index[:, 1::3].any()
    siren = priors.load("combiner-cifar")
    assert siren.operating_point(0, grey=True) is siren.operating_point(0)


def test_python_api_takes_any_mode():
    picture = Image.fromarray(RAMP)
    decoded = combiner_codec.decode(combiner_codec.encode(picture, 0.01, effort="fast"))
    assert (decoded.mode, decoded.size) == ("L", (32, 32))
    assert combiner_codec.encode(RAMP, 0.01, effort="fast") == combiner_codec.encode(picture, 0.01, effort="fast")
    picture.putalpha(Image.fromarray(RAMP))
    assert combiner_codec.decode(combiner_codec.encode(picture, 0.01, effort="fast")).mode == "LA"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = combiner_codec.encode(picture, 0.01, background="red", effort="fast")
    assert combiner_codec.decode(data).mode == "RGB"
    with pytest.warns(UserWarning, match="converted from CMYK"):
        combiner_codec.encode(Image.fromarray(COLOURS).convert("CMYK"), 0.01, effort="fast")
    opened = Image.open(io.BytesIO(png16(DEEP[..., :3], 2)))
    with pytest.raises(FormatError, match=r"\(to_8bit=\)"):
        combiner_codec.encode(opened)
    np.testing.assert_array_equal(image.pixels(opened, to_8bit=True), np.rint(DEEP[..., :3] / 257))
    with pytest.raises(FormatError, match="expected uint8"):
        combiner_codec.encode(np.zeros((4, 4, 5), np.uint8))


def test_a_background_goes_behind_arrays_too():
    clear = np.dstack([COLOURS, RAMP])
    picture = Image.fromarray(clear)
    np.testing.assert_array_equal(image.as_array(clear, "#102030"), image.as_array(picture, "#102030"))
    np.testing.assert_array_equal(image.as_array(COLOURS, "#102030"), COLOURS)
    with pytest.raises(ValueError, match="no colour"):
        image.as_array(COLOURS, "no colour")


def run(*arguments):
    done = warm.run(*arguments)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_grey_and_colour_through_the_command(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    Image.fromarray(COLOURS).save(tmp_path / "rgb.png")
    Image.fromarray(COLOURS).convert("CMYK").save(tmp_path / "cmyk.jpg")
    out = tmp_path / "out"
    inputs = [tmp_path / name for name in ("grey.png", "rgb.png", "cmyk.jpg")]
    done = run("encode", *inputs, "--output-dir", out, "--effort", "fast")
    assert done.returncode == 0, done.stderr
    assert "cmyk.jpg: converted from CMYK" in done.stderr
    assert (out / "grey.cmb").stat().st_size < (out / "rgb.cmb").stat().st_size
    assert run("decode", out / "grey.cmb", out / "rgb.cmb").returncode == 0
    assert [Image.open(out / f"{name}.png").mode for name in ("grey", "rgb")] == ["L", "RGB"]
    assert json.loads(run("info", out / "grey.cmb", "--json").stdout)["colour"] == "grey"
    assert run("encode", tmp_path / "cmyk.jpg", "-q", "--effort", "fast").stderr == ""


def test_options_of_the_command(tmp_path):
    Image.new("RGBA", (8, 8), (255, 0, 0, 128)).save(tmp_path / "alpha.png")
    (tmp_path / "deep.png").write_bytes(png16(DEEP[..., :3], 2))
    inputs = tmp_path / "alpha.png", tmp_path / "deep.png"
    done = run("encode", *inputs, "--effort", "fast")
    assert done.returncode == 1 and "--to-8bit" in done.stderr
    assert json.loads(run("info", tmp_path / "alpha.cmb", "--json").stdout)["colour"] == "RGBA"
    done = run("encode", *inputs, "--effort", "fast", "--background", "#00ff00", "--to-8bit", "-f")
    assert done.returncode == 0, done.stderr
    assert run("encode", inputs[0], "--background", "nocolour").returncode == 2


def test_the_prior_is_chosen_by_size():
    names = [priors.default(*size).name for size in ((32, 32), (1, 1), (33, 32), (1, 3000))]
    assert names == ["small", "small", "photo", "photo"]


def heic(tmp_path, bits=8):
    pillow_heif = pytest.importorskip("pillow_heif")
    if not pillow_heif.libheif_info()["HEIF"]:
        pytest.skip("this libheif has no encoder")
    wide = (COLOURS.astype(np.uint16) * 257).tobytes()
    kind, data = ("RGB;16", wide) if bits > 8 else ("RGB", COLOURS.tobytes())
    pillow_heif.from_bytes(kind, (32, 32), data).save(tmp_path / "a.heic", bit_depth=bits, quality=95)
    return tmp_path / "a.heic"


def test_heif_is_read_where_its_package_is_installed(tmp_path):
    """In a process that has not registered it."""
    path = heic(tmp_path)
    array, notes = load(path.read_bytes())
    assert notes == [] and np.abs(array.astype(int) - COLOURS).mean() < 4
    assert combiner_codec.encode(path, effort="fast") == combiner_codec.encode(array, effort="fast")


def test_heif_of_ten_bits_is_rounded_where_that_is_asked_for(tmp_path):
    source = heic(tmp_path, 10).read_bytes()
    with pytest.raises(FormatError, match="more than 8 bits"):
        load(source)
    array, _ = load(source, to_8bit=True)
    assert np.abs(array.astype(int) - COLOURS).mean() < 4


def test_heif_without_its_package_names_it(tmp_path, monkeypatch):
    source = heic(tmp_path).read_bytes()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingError, match="in: HEIF pictures need the package pillow-heif"):
        load(source)


def test_a_folder_with_heif_says_what_would_read_it(tmp_path, monkeypatch):
    """As it does of other files that are no pictures."""
    from click.testing import CliRunner

    from combiner_codec.command.cli import cli

    (tmp_path / "tree").mkdir()
    heic(tmp_path).rename(tmp_path / "tree" / "a.HEIC")
    Image.fromarray(COLOURS).save(tmp_path / "tree" / "b.png")
    arguments = ["encode", str(tmp_path / "tree"), "--effort", "fast", "--output-dir"]
    done = CliRunner().invoke(cli, [*arguments, str(tmp_path / "both")])
    assert done.exit_code == 0 and len(list((tmp_path / "both").iterdir())) == 2, done.output
    monkeypatch.setattr("combiner_codec.picture.heif.find_spec", lambda name: None)
    done = CliRunner().invoke(cli, [*arguments, str(tmp_path / "one")])
    assert done.exit_code == 0 and len(list((tmp_path / "one").iterdir())) == 1
    assert done.output.startswith(f"{tmp_path / 'tree'}: left out 1 .heic (pillow-heif reads them)\n")


@pytest.mark.parametrize(("source", "found"), [
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", True), (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", True),
    (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", False), (b"\x89PNG\r\n\x1a\n", False), (b"", False),
    (b"\xff\xff\xff\xffftypmp42", False),
])  # fmt: skip
def test_heif_is_told_by_its_brands(source, found):
    assert heif.is_heif(source) == found


@pytest.mark.filterwarnings("ignore:IM image format")
def test_pictures_of_every_format_are_read_whole_and_other_files_not():
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.init()
    kinds = []
    for kind in Image.SAVE:
        buffer = io.BytesIO()
        try:
            Image.fromarray(pixels).save(buffer, kind)
            Image.open(io.BytesIO(buffer.getvalue())).close()
        except Exception:
            continue  # what Pillow cannot write, or not read back
        data = buffer.getvalue() + bytes(reading.BEGINNING)
        assert reading.read_picture(io.BytesIO(data)) == data, kind
        kinds.append(kind)
    assert {"PNG", "JPEG", "TIFF", "WEBP", "TGA", "PPM", "GIF", "BMP"} <= set(kinds)
    for other in (bytes(10**6), b"\n" * 10**6, bytes(range(256)) * 4000):
        assert reading.read_picture(io.BytesIO(other)) == other[: reading.BEGINNING]
