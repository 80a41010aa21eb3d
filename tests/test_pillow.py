"""The Pillow plugin, tested like Pillow's own."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

import combiner_codec
from combiner_codec import decoder, register_pillow
from combiner_codec.decoder import decode_array, parse
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import header as file
from combiner_codec.picture import pillow_plugin
from conftest import smooth_pictures


@pytest.fixture(autouse=True)
def registered(tiny_prior):
    register_pillow(tiny_prior)
    yield
    register_pillow()


@pytest.fixture(scope="module")
def pixels():
    return smooth_pictures(1, 40)[0]


@pytest.fixture(scope="module")
def data(pixels, tiny_prior):
    return encode_arrays([pixels], tiny_prior, Settings(0.01, "fast"))[0].data


def save(image, prior, **options):
    buffer = io.BytesIO()
    image.save(buffer, "COMBINER", prior=prior, effort="fast", **options)
    return buffer.getvalue()


def test_sanity(data, tmp_path, tiny_prior):
    path = tmp_path / "x.cmb"
    path.write_bytes(data)
    with Image.open(path) as image:
        assert (image.mode, image.size, image.format) == ("RGB", (40, 40), "COMBINER")
        assert image.get_format_mimetype() == "image/x-combiner"
        assert (np.asarray(image) == decode_array(data, tiny_prior)).all()


def test_open_reads_only_the_header(data, monkeypatch):
    """Neither the rest of the file nor the decoder is touched before the pixels are asked for."""
    monkeypatch.setattr(decoder, "decode_array", lambda *_: pytest.fail("decoded"))
    with Image.open(io.BytesIO(data[:13])) as image:
        assert image.size == (40, 40) and image.mode == "RGB"


def test_a_huge_picture_is_opened_at_no_cost(tiny_prior):
    header = file.Header(file.CUSTOM, 0, 16, 9000, 9000, prior_hash=tiny_prior.digest[:4])
    data = file.write(header, 32, b"", tiny_prior.digest)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == (9000, 9000)
            with pytest.raises(OSError, match="truncated"):
                image.load()


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
def test_save_and_open(mode, pixels, tmp_path, tiny_prior):
    original = Image.fromarray(pixels).convert(mode)
    if "A" in mode:
        original.putalpha(Image.fromarray(pixels[..., 0]))
    original.save(tmp_path / "x.cmb", beta=0.01, prior=tiny_prior, effort="fast")
    with Image.open(tmp_path / "x.cmb") as image:
        assert image.mode == mode
        error = np.asarray(image).astype(float) - np.asarray(original)
    assert np.mean(error**2) < np.var(original) / 2


def test_options_of_encode_reach_it(pixels, tiny_prior):
    image = Image.fromarray(pixels)
    kept = [save(image, tiny_prior, beta=beta) for beta in (0.05, 0.001)]
    assert kept[0] == combiner_codec.encode(image, 0.05, prior=tiny_prior, effort="fast") and len(kept[0]) < len(
        kept[1]
    )
    assert len(save(image, tiny_prior, target_size=150)) <= 150
    assert parse(save(image, tiny_prior, seed=7, unknown=1), tiny_prior).header.seed == 7


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_images_that_cannot_be_saved_are_refused_and_leave_no_file(mode, tmp_path, tiny_prior):
    path = tmp_path / "x.cmb"
    with pytest.raises(combiner_codec.FormatError):
        Image.new(mode, (8, 8)).save(path, prior=tiny_prior)
    assert not path.exists()


def test_invalid_file():
    with pytest.raises(SyntaxError):
        pillow_plugin.CombinerImageFile(io.BytesIO(b"\x89PNG\r\n\x1a\n" + bytes(40)))


@pytest.mark.parametrize("length", [0, 1, 2, 5, 8])
def test_a_truncated_header_is_not_identified(length, data):
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(data[:length]))


def test_an_unknown_version_is_not_identified(data):
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(b"\xf6" + data[1:]))


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_truncated_file_is_an_oserror(cut, data):
    with Image.open(io.BytesIO(data[:-cut])) as image, pytest.raises(OSError):
        image.load()


def test_a_damaged_file_is_an_oserror(data):
    with Image.open(io.BytesIO(data[:-1] + bytes([data[-1] ^ 1]))) as image, pytest.raises(OSError, match="checksum"):
        image.load()


def test_a_file_of_an_unknown_prior_is_an_oserror(data):
    register_pillow()
    with Image.open(io.BytesIO(data)) as image, pytest.raises(OSError, match="custom prior of hash"):
        image.load()


def test_other_formats_are_still_opened(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    assert Image.open(buffer).format == "PNG"


def test_opening_imports_no_torch(data, tmp_path):
    import subprocess
    import sys

    (tmp_path / "x.cmb").write_bytes(data)
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "import combiner_codec; from PIL import Image\n"
        "combiner_codec.register_pillow()\n"
        "print('.cmb' in Image.registered_extensions())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_verify_refuses_streams_that_are_too_short_or_too_long(data, tiny_prior):
    size = file.checksum_size(len(data))
    body = data[:-size]
    for changed in (body[:-1], body + b"\0"):
        bad = changed + file.checksum(changed, tiny_prior.digest, short=size == 1)
        with pytest.raises(OSError, match=r"payload of|truncated"):
            Image.open(io.BytesIO(bad)).verify()


def test_verify_checks_the_checksum_and_decodes_nothing(data, monkeypatch):
    monkeypatch.setattr(decoder, "decode_array", lambda *a: pytest.fail("decoded"))
    Image.open(io.BytesIO(data)).verify()
    for bad in (data[:-1] + bytes([data[-1] ^ 1]), data[:-3]):
        with pytest.raises(OSError, match="checksum mismatch"):
            Image.open(io.BytesIO(bad)).verify()
