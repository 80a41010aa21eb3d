"""Large pictures, encoded band by band."""

import numpy as np
import pytest

from combiner_codec import decoder
from combiner_codec.decoder import decode_array
from combiner_codec.encoder import batch
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.goal import Goal
from combiner_codec.encoder.settings import Effort, Settings
from combiner_codec.format import prior as priors
from combiner_codec.synthesis import bands
from combiner_codec.synthesis.bands import Band
from conftest import busy_pictures, smooth_pictures

QUICK = Effort(steps=0.2, segments=2, refine=0.1, wider=-2, trials=1)


@pytest.fixture
def several(monkeypatch):
    """Pictures of more than so many pixels have several bands."""

    def limit(pixels):
        for module in (batch, decoder):
            monkeypatch.setattr(module, "bands", lambda *picture: bands.bands(*picture, pixels))

    return limit


@pytest.mark.parametrize(("height", "width"), [(700, 90), (641, 333), (64, 5000), (1000, 1), (4000, 3000)])
def test_bands_cover_a_picture_once(each_prior, height, width):
    architecture = each_prior.architecture
    found = bands.bands(architecture, height, width, 2**16)
    own, shown = ([getattr(band, name) for band in found] for name in ("own", "shown"))
    assert [i for blocks in own for i in blocks] == list(range(-(-height // architecture.block)))
    assert [i for rows in shown for i in rows] == list(range(height))
    for band in found:
        assert set(band.own) <= set(band.around) and set(band.shown) <= set(band.rows)
        assert band.shown.start in (0, band.own.start * architecture.block - bands.REACH // 2)


def test_most_pictures_are_one_band(each_prior):
    blocks, rows = range(512 // each_prior.architecture.block), range(512)
    assert bands.bands(each_prior.architecture, 512, 768) == [Band(blocks, blocks, rows, rows)]


@pytest.mark.parametrize("channels", [1, 3])
def test_files_are_as_good_as_those_of_one_band(each_prior, several, channels):
    parts = busy_pictures(1, 128)[0], smooth_pictures(1, 128)[0]
    picture = np.concatenate(parts)[:250, :75, :channels].squeeze()
    settings = Settings(0.004, QUICK, device="cpu", point=1)
    (alone,) = encode_arrays([picture], each_prior, settings)
    several(2**13)
    (result,) = encode_arrays([picture], each_prior, settings)  # verified
    assert len(bands.bands(each_prior.architecture, *picture.shape[:2], 2**13)) > 1
    assert result.lagrangian(picture, 0.004) < 1.02 * alone.lagrangian(picture, 0.004)
    assert result.ideal_bits == pytest.approx(alone.ideal_bits, rel=0.03)
    assert result.sampled_psnr == pytest.approx(alone.sampled_psnr, abs=0.6)
    several(2**20)
    np.testing.assert_array_equal(decode_array(result.data, each_prior), result.pixels)


def test_bands_share_modulations_and_meet_sizes(several):
    photo = priors.load("photo")
    picture = np.concatenate([busy_pictures(1, 128)[0], busy_pictures(2, 128)[1]])[:, :66]
    settings = Settings(0.002, QUICK, device="cpu", point=8, keep_posterior=True)
    (alone,) = encode_arrays([picture], photo, settings)
    several(2**14)
    (result,) = encode_arrays([picture], photo, settings)
    assert result.lagrangian(picture, 0.002) < 1.02 * alone.lagrangian(picture, 0.002)
    assert result.saved.mu.shape == alone.saved.mu.shape
    (small,) = encode_arrays([picture], photo, settings, Goal(size=2000))
    assert 1800 < len(small.data) <= 2000
