"""Large pictures, encoded band by band."""

import io

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from combiner_codec import decoder
from combiner_codec.command import cli
from combiner_codec.decoder import decode_array
from combiner_codec.encoder import batch, sample
from combiner_codec.encoder.batch import Batch
from combiner_codec.encoder.choose.aim import MOST_FILES
from combiner_codec.encoder.choose.target import SAMPLE_FILES
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.goal import MET, Goal
from combiner_codec.encoder.settings import Effort, Settings
from combiner_codec.format import prior as priors
from combiner_codec.synthesis import bands
from combiner_codec.synthesis.architecture import counts
from combiner_codec.synthesis.bands import Band
from combiner_codec.synthesis.rectangle import Rectangle
from conftest import busy_pictures, smooth_pictures

EMPTY = np.empty
QUICK = Effort(steps=0.2, segments=2, refine=0.1, wider=-2, trials=1)


@pytest.fixture
def several(monkeypatch):
    """Pictures of more than so many pixels have several bands."""

    def limit(pixels):
        for module in (batch, decoder):
            monkeypatch.setattr(module, "bands", lambda *picture: bands.bands(*picture, pixels))

    return limit


SHAPES = [(700, 90), (641, 333), (64, 5000), (1, 9000), (1000, 1), (4000, 3000), (300, 4000)]


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_bands_cover_a_picture_once(each_prior, height, width):
    architecture = each_prior.architecture
    found = bands.bands(architecture, height, width, 2**16)
    coded = np.zeros(counts(width, height, architecture.block), int)
    settled = np.zeros((height, width), int)
    for band in found:
        coded[band.blocks.slices] += 1
        settled[band.settled.slices] += 1
        assert band.blocks.cropped(band.around) == band.blocks
        assert band.settled.cropped(band.pixels) == band.settled
        assert [number for run in band.runs() for number in run] == band.numbers.reshape(-1).tolist()
    assert (coded == 1).all() and (settled == 1).all()


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_a_band_has_all_that_its_pixels_need(each_prior, height, width):
    """A border of tiles mixes a tile's width on either side at most; the shared layers look further by their margin."""
    architecture = each_prior.architecture
    reach = architecture.tile + architecture.margin
    for band in bands.bands(architecture, height, width, 2**16):
        needed = band.settled.grown(reach, 1, (height, width))
        assert needed.cropped(band.pixels) == needed


@pytest.mark.parametrize("pixels", [2**24, 2**26])
@pytest.mark.parametrize("shape", [(1, 1), (16, 1), (1, 16), (2**16, 1), (1, 2**16), (2**20, 1), (1, 2**20), (9, 5)])
def test_a_band_is_as_large_whatever_a_picture_s_shape(each_prior, pixels, shape):
    down, across = shape
    height = max(each_prior.architecture.block, round((pixels * down / across) ** 0.5))
    found = bands.bands(each_prior.architecture, height, pixels // height)
    assert len(found) > 1
    assert all(band.around.times(each_prior.architecture.block).size <= bands.BAND_PIXELS for band in found)


def test_most_pictures_are_one_band(each_prior):
    blocks = Rectangle.of(512, 768).over(each_prior.architecture.block)
    pixels = Rectangle.of(512, 768)
    (band,) = bands.bands(each_prior.architecture, 512, 768)
    assert band == Band(blocks, blocks, pixels, pixels, row=len(blocks.columns))


@pytest.mark.parametrize(("channels", "wide"), [(1, False), (3, True)])
def test_files_are_as_good_as_those_of_one_band(each_prior, several, channels, wide):
    parts = busy_pictures(1, 128)[0], smooth_pictures(1, 128)[0]
    picture = np.concatenate(parts)[:250, :75, :channels].squeeze()
    if wide:
        picture = np.ascontiguousarray(picture.swapaxes(0, 1))
    settings = Settings(0.004, QUICK, device="cpu", point=1, sampled=True)
    (alone,) = encode_arrays([picture], each_prior, settings)
    several(2**13)
    (result,) = encode_arrays([picture], each_prior, settings)  # verified
    assert len(bands.bands(each_prior.architecture, *picture.shape[:2], 2**13)) > 1
    assert result.lagrangian(picture, 0.004) < 1.02 * alone.lagrangian(picture, 0.004)
    assert result.ideal_bits == pytest.approx(alone.ideal_bits, rel=0.03)
    assert result.sampled_psnr == pytest.approx(alone.sampled_psnr, abs=0.6)
    several(2**20)
    np.testing.assert_array_equal(decode_array(result.data, each_prior), result.pixels)


def test_bands_of_columns_share_modulations_and_meet_sizes(several):
    photo = priors.load("photo")
    picture = np.concatenate([busy_pictures(1, 128)[0], busy_pictures(2, 128)[1]], 1)[:66]
    settings = Settings(0.002, QUICK, device="cpu", point=8, keep_posterior=True)
    (alone,) = encode_arrays([picture], photo, settings)
    several(2**14)
    (result,) = encode_arrays([picture], photo, settings)
    assert result.lagrangian(picture, 0.002) < 1.02 * alone.lagrangian(picture, 0.002)
    np.testing.assert_array_equal(result.saved.scale, alone.saved.scale)  # in the order of the file
    (small,) = encode_arrays([picture], photo, settings, Goal(size=2000))
    assert 1800 < len(small.data) <= 2000


@pytest.mark.parametrize("goal", [Goal(size=1200), Goal(psnr=25.0)])
def test_a_goal_looks_at_one_band_after_the_other_and_at_a_sample(goal, several, tiny_photo_prior, monkeypatch):
    """No more of a picture is ever there as numbers than its largest band, and a size takes one fit."""
    picture = np.concatenate([busy_pictures(1, 128)[0], busy_pictures(1, 128, seed=1)[0]])[:, 64:]
    several(2**13)
    monkeypatch.setattr(sample, "SIDE", 16)
    looked_at = []
    encoded = []
    area_of = Batch.area
    encode = Batch.encode

    def area(self, members, area):
        looked_at.append(area.size)
        return area_of(self, members, area)

    def counted(self, jobs, progress):
        encoded.append(self.pixels)
        return encode(self, jobs, progress)

    monkeypatch.setattr(Batch, "area", area)
    monkeypatch.setattr(Batch, "encode", counted)
    (result,) = encode_arrays([picture], tiny_photo_prior, Settings(0.004, QUICK, device="cpu", threads=1), goal)
    parts = batch.bands(tiny_photo_prior.architecture, *picture.shape[:2])
    assert len(parts) > 1
    assert max(looked_at) == max(band.pixels.size for band in parts)
    if goal.size:
        assert 0.85 * goal.size < len(result.data) <= goal.size
        assert encoded == [256 * 64]
    else:
        assert abs(result.psnr - goal.psnr) < MET
        samples = encoded.count(64 * 64)
        assert 1 <= samples <= SAMPLE_FILES and len(encoded) <= samples + MOST_FILES
        assert encoded == samples * [64 * 64] + (len(encoded) - samples) * [256 * 64]


@pytest.fixture(scope="module")
def large_files(tiny_photo_prior):
    """Pictures of 250 x 75 pixels: RGB, grey as RGB, and with alpha."""
    colours = np.concatenate([busy_pictures(1, 128)[0], smooth_pictures(1, 128)[0]])[:250, :75]
    grey = np.repeat(colours[..., :1], 3, 2)
    transparent = np.dstack([colours, colours[..., 0]])
    settings = Settings(0.01, QUICK, device="cpu", threads=1, kind="inr")
    files = encode_arrays([colours, grey, transparent], tiny_photo_prior, settings)
    return [file.data for file in files]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_large_picture_is_decoded_in_strips(number, large_files, several, tiny_photo_prior):
    contents = decoder.parse(large_files[number], tiny_photo_prior)
    assert decoder.decode_strips(contents, 1) is None  # of one band
    several(2**13)
    strips = list(decoder.decode_strips(contents, 1))
    parts = decoder.bands(tiny_photo_prior.architecture, 250, 75)
    assert [len(strip) for strip in strips] == [len(band.settled.rows) for band in parts]
    np.testing.assert_array_equal(np.concatenate(strips), decode_array(large_files[number], tiny_photo_prior))


@pytest.mark.parametrize("target", ["out.png", "out.ppm", "out.bmp", "-"])
def test_the_command_writes_rows_as_they_are_decoded(target, large_files, several, tiny_photo_prior, tmp_path):
    """Where the format has one row after the other, no more than a band is there at once."""
    several(2**13)
    (tmp_path / "in.cmb").write_bytes(large_files[0])
    (tmp_path / "tiny.npz").write_bytes(tiny_photo_prior.data)
    out = tmp_path / target
    line = ["decode", str(tmp_path / "in.cmb"), "--prior", str(tmp_path / "tiny.npz"), "--threads", "1"]
    largest = []

    def allocated(shape, *others, **options):
        found = EMPTY(shape, *others, **options)
        if found.dtype == np.uint8:
            largest.append(found.size)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "empty", allocated)
        done = CliRunner().invoke(cli.cli, [*line, "-o", "-" if target == "-" else str(out)])
    assert done.exit_code == 0, done.output
    data = done.stdout_bytes if target == "-" else out.read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(np.asarray(image), decode_array(large_files[0], tiny_photo_prior))
    in_rows = target != "out.bmp"
    assert (max(largest) < 250 * 75 * 3) == in_rows


def test_a_large_picture_is_there_twice_as_it_is_and_as_it_is_shown(several, tiny_photo_prior, monkeypatch):
    """Neither a sample of the posterior nor what verification decodes is ever there as a whole."""
    picture = np.concatenate([busy_pictures(1, 128)[0], smooth_pictures(1, 128)[0]])[:, :64]
    several(2**13)
    whole = []

    def allocated(shape, *others, **options):
        found = EMPTY(shape, *others, **options)
        if found.size >= picture.size and found.dtype == np.uint8:
            whole.append(found)
        return found

    monkeypatch.setattr(np, "empty", allocated)
    settings = Settings(0.004, QUICK, device="cpu", threads=1, point=1)
    (result,) = encode_arrays([picture], tiny_photo_prior, settings)
    assert len(whole) == 1 and result.pixels is whole[0]
    np.testing.assert_array_equal(decode_array(result.data, tiny_photo_prior), result.pixels)
