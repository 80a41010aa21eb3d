"""The question what a WebP of the same size shows."""

import io

import numpy as np
import pytest
from PIL import Image, features

from combiner_codec.picture import webp
from combiner_codec.picture.image import psnr
from conftest import busy_pictures, smooth_pictures

pytestmark = pytest.mark.skipif(not features.check("webp"), reason="this Pillow has no WebP")


def by_hand(picture, size):
    """The best of all qualities that fit."""
    found = []
    for quality in range(101):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "WEBP", quality=quality, method=webp.FAST_METHOD)
        if buffer.tell() <= size:
            found.append(psnr(picture, np.asarray(Image.open(buffer).convert(Image.fromarray(picture).mode))))
    return max(found, default=None)


@pytest.mark.parametrize("size", [40, 900, 1500, 4000])
@pytest.mark.parametrize("grey", [False, True])
def test_the_search_finds_about_the_best_that_fits(grey, size):
    picture = busy_pictures(1, 96)[0]
    picture = picture[..., 1] if grey else picture
    found, best = webp.psnr_at(picture, size), by_hand(picture, size)
    assert (found is None) == (best is None)
    assert best is None or best - 0.3 <= found <= best


def test_a_lossless_file_that_fits_is_infinitely_good():
    picture = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    assert webp.psnr_at(picture, 300) == float("inf")
    (line,) = webp.warning(picture, 300, 40.0)
    assert "without loss" in line


def test_only_a_large_margin_is_told():
    picture = smooth_pictures(1, 96)[0]
    found = webp.psnr_at(picture, 1000)
    assert webp.warning(picture, 1000, found - webp.MUCH_BETTER + 0.01) == []
    (line,) = webp.warning(picture, 1000, found - webp.MUCH_BETTER - 0.01)
    assert f"shows {found:.1f} dB" in line
