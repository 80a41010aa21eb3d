"""The shipped default family on the shipped samples."""

from pathlib import Path

import numpy as np
import pytest

from combiner_codec import decode, encode
from combiner_codec.decoder import parse
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior
from combiner_codec.picture import image

SAMPLES = Path(__file__).parents[1] / "assets" / "samples"


@pytest.fixture(scope="module")
def small():
    return prior.load("small")


@pytest.fixture(scope="module")
def thumbnail():
    return image.load((SAMPLES / "architecture-32.png").read_bytes())


def test_a_thumbnail_costs_few_bytes_and_looks_right(small, thumbnail):
    result = encode_arrays([thumbnail], small, Settings())[0]
    assert len(result.data) < 200
    assert result.psnr > 24
    assert parse(result.data).header_bytes <= 12


def test_one_colour_costs_at_most_30_bytes(small):
    for colour in [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255), (12, 200, 99)]:
        picture = np.full((32, 32, 3), colour, np.uint8)
        for beta in (0.1, 0.003, 1e-4, 1e-6):
            result = encode_arrays([picture], small, Settings(beta, "fast"))[0]
            assert len(result.data) <= 30
            assert result.psnr > 25


def test_more_rate_is_more_quality(small, thumbnail):
    results = [
        encode_arrays([thumbnail], small, Settings(beta, "fast"))[0] for beta in (0.05, 0.01, 0.002, 0.0004, 5e-5)
    ]
    sizes, quality = [len(r.data) for r in results], [r.psnr for r in results]
    assert sizes == sorted(sizes) and quality == sorted(quality)


def test_at_least_eight_operating_points_from_a_tenth_to_four_bits(small):
    points = [small.operating_point(i) for i in range(len(small.betas))]
    means = [np.median(p.tile_bits / np.where(np.arange(p.classes) < p.single, 256, 1024)) for p in points]
    assert len(means) >= 8 and min(means) < 0.12 and max(means) > 3.5


def test_the_python_interface(thumbnail):
    from PIL import Image

    data = encode(Image.fromarray(thumbnail), beta=0.01, effort="fast")
    assert data == encode(thumbnail, beta=0.01, effort="fast")
    assert decode(data).size == (32, 32) and decode(data).mode == "RGB"
    with pytest.raises(ValueError, match="beta"):
        encode(thumbnail, beta=0)
    with pytest.raises(ValueError, match="uint8"):
        encode(thumbnail.astype(np.float32))
