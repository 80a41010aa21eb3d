"""Pictures written a few rows at a time."""

import io

import numpy as np
import pytest
from PIL import Image

from combiner_codec.picture import saving, writing
from conftest import busy_pictures

HEIGHT, WIDTH = 70, 40


@pytest.fixture(scope="module")
def picture():
    """Smooth and busy places, lines, and a channel of noise."""
    colours = busy_pictures(1, 128)[0][:HEIGHT, 50 : 50 + WIDTH]
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 1), dtype=np.uint8)
    found = np.dstack([colours, noise])
    found[10:20] = found[10]
    found[30:40] = 255 * (found[30:40] > 127)
    return found


def of_mode(picture, mode):
    channels = {"L": [0], "LA": [0, 3], "RGB": [0, 1, 2], "RGBA": [0, 1, 2, 3]}[mode]
    return picture[..., channels].squeeze()


def in_parts(kind, pixels, mode, rows):
    parts = (pixels[start : start + rows] for start in range(0, len(pixels), rows))
    return b"".join(writing.writer(kind, mode)(WIDTH, HEIGHT, mode, parts))


@pytest.mark.parametrize("rows", [1, 33, HEIGHT])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_png_in_parts_is_read_as_it_was(mode, rows, picture):
    pixels = of_mode(picture, mode)
    data = in_parts("PNG", pixels, mode, rows)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == mode
        np.testing.assert_array_equal(np.asarray(image), pixels)
    assert len(data) < 1.1 * len(saving.save(pixels, "PNG")) + 12 * HEIGHT  # of a chunk: length, kind, checksum


@pytest.mark.parametrize("rows", [1, 33, HEIGHT])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_ppm_in_parts_is_what_pillow_writes(mode, rows, picture):
    pixels = of_mode(picture, mode)
    assert in_parts("PPM", pixels, mode, rows) == saving.save(pixels, "PPM")


@pytest.mark.parametrize(("kind", "mode"), [("PPM", "RGBA"), ("PPM", "LA"), ("JPEG", "RGB"), ("TIFF", "RGB")])
def test_other_formats_take_all_rows_at_once(kind, mode):
    assert writing.writer(kind, mode) is None
