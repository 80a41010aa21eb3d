"""PNG: colours without a profile, transparent samples of every depth, files that end too early, long texts."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from combiner_codec.errors import FormatError
from combiner_codec.picture import image, png, profiles

DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8)}  # by colour type, of those that tRNS may follow
LINEAR = struct.pack(">I", 100000)
SRGB = struct.pack(">8I", *(round(100000 * v) for v in png.SRGB))
WIDE = struct.pack(">8I", *(round(100000 * v) for v in png.PRIMARIES[9]))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def make(pixels, depth=8, colour=2, extra=(), rows=None):
    """A PNG of samples (H, W) or (H, W, channels), with further chunks before its first `rows` rows."""
    height, width = pixels.shape[:2]
    flat = pixels.reshape(height, -1).astype(np.int64)
    bits = (flat[..., None] >> np.arange(depth - 1, -1, -1) & 1).astype(np.uint8).reshape(height, -1)
    packed = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits[:rows])
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", head), *extra, (b"IDAT", zlib.compress(packed)), (b"IEND", b"")]
    return png.SIGNATURE + b"".join(chunk(*part) for part in parts)


def load(source, **options):
    notes = []
    return image.load(source, "in", note=notes.append, **options), notes


def flat(*values):
    """16 x 16 pixels of one colour."""
    return np.tile(np.array(values), (16, 16, 1))


@pytest.mark.parametrize(("colour", "depth"), [(c, d) for c, depths in DEPTHS.items() for d in depths])
def test_the_transparent_sample_is_found_at_every_depth(colour, depth):
    """In the upper half; where no pixel has it, the picture is opaque."""
    top, channels = 2**depth - 1, 3 if colour == 2 else 1
    value, other = max(top - 1, 1), 0
    samples = np.full((16, 16, channels), other)
    samples[:8] = value
    palette = [(b"PLTE", bytes(range(3 * min(top + 1, 80))))] if colour == 3 else []
    if colour == 3:
        value = samples[:8] = 1
    clear = (b"tRNS", b"\xff\0" if colour == 3 else struct.pack(">H", value) * channels)
    source = make(samples, depth, colour, [*palette, clear])
    if depth == 16:
        with pytest.raises(FormatError, match="8 bits"):
            load(source)
        return
    alpha = load(source)[0][..., -1]
    assert load(source)[0].shape[2] in (2, 4) and not alpha[:8].any() and (alpha[8:] == 255).all()
    shown, _ = load(source, background="#ffffff")
    assert (shown[:8] == 255).all() and (shown[8:] < 255).all()
    samples[:8] = other
    assert (load(make(samples, depth, colour, [*palette, clear]))[0] < 255).all()


def test_linear_light_becomes_srgb_with_a_note():
    """Sample 55 is 0.2157 of the light, which is sample 128 in sRGB."""
    array, (note,) = load(make(flat(55, 55, 55), extra=[(b"gAMA", LINEAR)]))
    assert np.abs(array.astype(int) - 128).max() <= 1 and "gAMA 1 to sRGB" in note
    array, (note,) = load(make(flat(55), colour=0, extra=[(b"gAMA", LINEAR)]))
    assert array.shape == (16, 16) and np.abs(array.astype(int) - 128).max() <= 1


def test_wider_primaries_become_srgb():
    """A colour of sRGB in the primaries of BT.2020, by the matrices of the standards."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    to_2020 = np.array([[1.7167, -0.3557, -0.2534], [-0.6667, 1.6165, 0.0158], [0.0176, -0.0428, 0.9421]])
    wanted = np.array([200, 90, 40])
    light = ((wanted / 255 + 0.055) / 1.055) ** 2.4
    sample = np.rint(255 * np.clip(to_2020 @ to_xyz @ light, 0, 1))
    array, (note,) = load(make(flat(*sample), extra=[(b"gAMA", LINEAR), (b"cHRM", WIDE)]))
    assert np.abs(array[0, 0].astype(int) - wanted).max() <= 3 and "gAMA 1 and cHRM" in note


@pytest.mark.parametrize(
    "extra",
    [
        [(b"gAMA", struct.pack(">I", 45455)), (b"cHRM", SRGB)],
        [(b"gAMA", struct.pack(">I", 45455))],
        [(b"cHRM", SRGB)],
        [(b"gAMA", LINEAR), (b"sRGB", b"\0")],
        [(b"cICP", bytes([1, 13, 0, 1])), (b"gAMA", LINEAR)],
        [(b"gAMA", struct.pack(">I", 0))],
    ],
)
def test_what_is_srgb_or_counts_as_it_stays_as_it_is(extra):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    array, notes = load(make(pixels, extra=extra))
    np.testing.assert_array_equal(array, pixels)
    assert notes == []


def test_cicp_goes_over_a_profile_and_a_profile_over_gama():
    swapped = profiles.rgb_profile("swapped", (1.0,), (*png.SRGB[:2], *png.SRGB[4:6], *png.SRGB[2:4], *png.SRGB[6:]))
    iccp = (b"iCCP", b"x\0\0" + zlib.compress(swapped))
    pixels = flat(200, 20, 20)
    np.testing.assert_array_equal(load(make(pixels, extra=[(b"cICP", bytes([1, 13, 0, 1])), iccp]))[0], pixels)
    array, (note,) = load(make(pixels, extra=[iccp, (b"gAMA", struct.pack(">I", 45455))]))
    assert array[0, 0].argmax() == 1 and "profile swapped" in note


@pytest.mark.parametrize(("curve", "name"), [(16, "PQ"), (18, "HLG")])
def test_bright_pictures_are_refused_with_a_hint(curve, name):
    with pytest.raises(FormatError, match=f"^in: {name} pictures are not supported: .*tone mapping"):
        load(make(flat(9, 9, 9), extra=[(b"cICP", bytes([9, curve, 0, 1]))]))


def test_colours_that_make_no_sense_are_ignored_with_a_note():
    for extra in ((b"cICP", bytes([77, 13, 0, 1])), (b"cHRM", bytes(32)), (b"cHRM", SRGB[:8] * 4)):
        array, (note,) = load(make(flat(9, 99, 199), extra=[extra]))
        np.testing.assert_array_equal(array, flat(9, 99, 199))
        assert "ignored" in note


def test_a_display_p3_picture_is_converted():
    array, (note,) = load(make(flat(255, 0, 0), extra=[(b"cICP", bytes([12, 13, 0, 1]))]))
    assert array[0, 0].tolist() == [255, 0, 0] and "cICP 12/13" in note
    array, _ = load(make(flat(128, 100, 80), extra=[(b"cICP", bytes([12, 13, 0, 1]))]))
    assert np.abs(array[0, 0].astype(int) - (134, 99, 78)).max() <= 1  # CSS: color(display-p3 0.502 0.392 0.314)


@pytest.mark.parametrize("interlaced", [False, True])
def test_rows_that_are_missing_are_refused(interlaced):
    source = make(flat(200, 200, 200), rows=8)
    if interlaced:  # rows of one pass too few
        head = struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 1)
        parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(600))), (b"IEND", b"")]
        source = png.SIGNATURE + b"".join(chunk(*part) for part in parts)
    with pytest.raises(FormatError, match=r"in: .*truncated.*\(allow_truncated=\)"):
        load(source)
    array, (note,) = load(source, allow_truncated=True)
    assert array.shape == (16, 16, 3) and "not complete" in note


@pytest.mark.parametrize("size", [(16, 16), (1, 1), (5, 3), (300, 200)])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_whole_files_are_whole(mode, size):
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, "PNG")
    assert png.whole(buffer.getvalue())


def test_interlaced_files_are_whole():
    """Seven passes of an RGB picture of 5 x 3: 1 + 1 + 1 + 1 + 2 * 1 + ... by hand."""
    passes = [(1, 1), (1, 1), (0, 2), (1, 1), (3, 1), (2, 2), (5, 1)]  # columns and rows of each
    rows = sum(r * (1 + 3 * c) for c, r in passes if c)
    head = struct.pack(">IIBBBBB", 5, 3, 8, 2, 0, 0, 1)
    for missing, whole in ((0, True), (1, False)):
        parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(rows - missing))), (b"IEND", b"")]
        assert png.whole(png.SIGNATURE + b"".join(chunk(*part) for part in parts)) == whole


@pytest.mark.parametrize("cut", [2, 40])
def test_a_cut_jpeg_is_taken_on_demand(cut):
    """Two bytes are the end marker alone."""
    buffer, pixels = io.BytesIO(), np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    with pytest.raises(FormatError, match=r"truncated.*\(allow_truncated=\)"):
        load(buffer.getvalue()[:-cut])
    array, (note,) = load(buffer.getvalue()[:-cut], allow_truncated=True)
    whole, _ = load(buffer.getvalue())
    np.testing.assert_array_equal(array[:32], whole[:32])
    assert "in: is not complete" in note


def test_long_texts_do_no_harm():
    info, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_text("Comment", "x" * 3_000_000, zip=True)
    Image.new("RGB", (4, 4), (1, 2, 3)).save(buffer, "PNG", pnginfo=info)
    assert load(buffer.getvalue())[0][0, 0].tolist() == [1, 2, 3]


def test_warnings_of_pillow_are_notes_without_paths(recwarn, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    _, (note,) = load(make(flat(9, 9, 9)))
    assert note.startswith("in: Image size (256 pixels) exceeds") and not recwarn
