"""Size and quality on demand."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import combiner_codec
from combiner_codec import TargetError
from combiner_codec.command import cli
from combiner_codec.decoder import decode_array
from combiner_codec.encoder import batch
from combiner_codec.encoder.batch import Batch, Job
from combiner_codec.encoder.choose import aim
from combiner_codec.encoder.code import streams
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.goal import Goal
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior as priors
from conftest import busy_pictures, smooth_pictures

ROOT = Path(__file__).parents[1]


def encode(pictures, prior, effort="fast", **goal):
    return encode_arrays(pictures, prior, Settings(effort=effort, threads=1), Goal(**goal))


@pytest.fixture(scope="module")
def busy():
    return busy_pictures(1, 128)[0]


def test_a_size_is_used_and_never_exceeded(busy, plain, tiny_photo_prior):
    wanted = np.linspace(0.8 * len(plain[0].data), 1.2 * len(plain[1].data), 3).astype(int)
    found = [encode([busy], tiny_photo_prior, size=int(size))[0] for size in wanted]
    for size, result in zip(wanted, found, strict=True):
        assert 0.9 * size <= len(result.data) <= size
        assert (decode_array(result.data, tiny_photo_prior) == result.pixels).all()
    assert found[0].psnr < found[1].psnr < found[2].psnr


@pytest.mark.parametrize("name", ["nano", "web"])
def test_no_larger_size_buys_a_worse_picture(name):
    """Beyond the finest operating point the file stays the same."""
    with Image.open(ROOT / "assets" / "samples" / "hippos.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    pictures = []
    for left in (0, 384):
        crop = Image.fromarray(pixels[64:320, left : left + 256])
        pictures.append(np.asarray(crop.resize((48, 48))))
    prior = priors.load(name)
    for picture in pictures:
        ladder = [encode([picture], prior, size=size)[0] for size in (50, 120, 1500, 2000)]
        for before, after in pairwise(ladder):
            assert after.psnr >= before.psnr
        assert ladder[-1].data == ladder[-2].data
        told = Goal(size=2000).unused(ladder[-1], prior)
        assert told == f"more than {len(ladder[-1].data)} bytes would not make it better with the prior {name}"


def test_pictures_encoded_together_each_get_their_own_operating_point(tiny_photo_prior):
    pictures = [busy_pictures(1, 128)[0], smooth_pictures(1, 128)[0], busy_pictures(2, 128)[1][:, :, 0]]
    pictures[2] = np.ascontiguousarray(pictures[2])  # grey
    size = 600
    results = encode(pictures, tiny_photo_prior, size=size)
    assert all(len(result.data) <= size for result in results)
    assert len(results[0].data) > 0.9 * size
    alone = encode(pictures[:1], tiny_photo_prior, size=size)[0]
    assert abs(len(alone.data) - len(results[0].data)) <= 2


@pytest.mark.parametrize("effort", ["fast", "normal"])
def test_operating_points_that_are_coded_at_once_give_the_files_of_each_alone(effort, tiny_photo_prior, monkeypatch):
    """They share candidates, of which a segment keeps those that the next one looks at again; threads, too."""
    (picture,) = busy_pictures(1, 32)
    goal = Goal(size=120)
    results = {}
    for name, pixels, kept, threads in (("at once", batch.MOST_PIXELS, 2**25, 3), ("alone", 32 * 32, 0, 1)):
        monkeypatch.setattr(batch, "MOST_PIXELS", pixels)
        monkeypatch.setattr(streams, "KEPT", kept)
        # two operating points where the effort is normal
        (result,) = encode_arrays([picture], tiny_photo_prior, Settings(effort=effort, threads=threads), goal)
        results[name] = result.data
    assert results["at once"] == results["alone"]


def test_pictures_of_a_canvas_share_a_point_and_canvases_a_number_of_pixels():
    points = [2, 0, 2, 2, 0, 1]
    for rounds, expected in ((1, [[[1, 4], [5]], [[0, 2], [3]]]), (2, [[[1], [0, 2]], [[4], [5], [3]]])):
        jobs = [Job(i, point, round=i * rounds // len(points)) for i, point in enumerate(points)]
        assert list(batch.together(jobs, lambda number: 2, batch.MOST_PIXELS // 3)) == expected
    assert list(batch.together([], lambda number: 1, 64)) == []


def test_a_size_that_is_too_small_is_an_error_for_that_picture_alone(tiny_photo_prior):
    small, large = smooth_pictures(1, 64)[0], busy_pictures(1, 128)[0]
    least = [len(encode([p], tiny_photo_prior, psnr=1.0)[0].data) for p in (small, large)]
    assert least[0] < least[1]
    results = encode([small, large], tiny_photo_prior, size=least[1] - 1)
    assert len(results[0].data) < least[1] and isinstance(results[1], TargetError)
    with pytest.raises(TargetError, match=f"the smallest file of this picture has {least[1]}"):
        combiner_codec.encode(large, target_size=5, prior=tiny_photo_prior)


@pytest.fixture(scope="module")
def plain(busy, tiny_photo_prior):
    """Files of two betas."""
    return [encode_arrays([busy], tiny_photo_prior, Settings(beta, "fast"))[0] for beta in (0.008, 0.0025)]


def test_a_psnr_is_met_within_half_a_decibel(busy, plain, tiny_photo_prior):
    """Between files 5 dB apart, with eight classes to choose from: shipped priors have finer steps."""
    wanted = (plain[0].psnr + plain[1].psnr) / 2
    assert abs(encode([busy], tiny_photo_prior, "normal", psnr=wanted)[0].psnr - wanted) < 0.5


def test_a_psnr_out_of_reach_gives_the_nearest(tiny_prior):
    picture = smooth_pictures(1, 64)[0]
    best, worst = (encode([picture], tiny_prior, psnr=psnr)[0] for psnr in (90.0, 1.0))
    assert len(worst.data) < len(best.data) and worst.psnr < best.psnr


def test_search_takes_at_most_about_one_more_encoding(busy, tiny_photo_prior, monkeypatch):
    """Encodings are counted, which no slow minute disturbs."""
    encoded = []
    encode_jobs = Batch.encode

    def counted(self, jobs, progress):
        encoded.append((self.settings.effort, len(jobs)))
        return encode_jobs(self, jobs, progress)

    monkeypatch.setattr(Batch, "encode", counted)
    encode([busy], tiny_photo_prior, size=400)
    assert encoded == [("fast", 1)]
    encoded.clear()
    encode([busy], tiny_photo_prior, "normal", psnr=27.0)
    assert encoded[0] == ("fast", 1) and encoded[1:] in ([("normal", 1)], [("normal", 1)] * 2)


def test_a_single_tile_tries_different_files_and_keeps_the_nearest(tiny_prior, monkeypatch):
    tried = []
    encode_jobs = Batch.encode

    def recorded(self, jobs, progress):
        results = encode_jobs(self, jobs, progress)
        files = zip(jobs, results, strict=True)
        tried.extend((job.point, int(job.classes[0, 0]), result.psnr) for job, result in files)
        return results

    monkeypatch.setattr(Batch, "encode", recorded)
    wanted = encode(busy_pictures(1, 32), tiny_prior, size=150)[0].psnr - 0.7
    tried.clear()
    found = encode(busy_pictures(1, 32), tiny_prior, psnr=wanted)[0]
    assert len(tried) <= aim.MOST_FILES_ALONE and len({file[:2] for file in tried}) == len(tried)
    assert abs(found.psnr - wanted) == min(abs(psnr - wanted) for _, _, psnr in tried)
    tried.clear()
    encode(busy_pictures(1, 32), tiny_prior, psnr=90.0)
    assert len(tried) == 1  # out of reach: no better file to try


def test_goals_exclude_each_other(tmp_path):
    from click.testing import CliRunner

    Image.fromarray(smooth_pictures(1, 40)[0]).save(tmp_path / "in.png")
    for pair in (["--beta", "0.01", "--target-size", "99"], ["--target-psnr", "30", "--target-size", "99"]):
        done = CliRunner().invoke(cli.cli, ["encode", str(tmp_path / "in.png"), *pair])
        assert done.exit_code == 2 and "exclude each other" in done.output
    with pytest.raises(ValueError, match="exclude"):
        combiner_codec.encode(smooth_pictures(1)[0], target_size=99, target_psnr=30)


def test_the_command_meets_a_size_and_names_what_cannot(tmp_path, tiny_prior_file):
    from click.testing import CliRunner

    Image.fromarray(smooth_pictures(1, 40)[0]).save(tmp_path / "small.png")
    Image.fromarray(smooth_pictures(1, 256)[0]).save(tmp_path / "large.png")
    arguments = ["encode", str(tmp_path / "small.png"), str(tmp_path / "large.png"), "--effort", "fast", "--prior"]
    done = CliRunner().invoke(cli.cli, [*arguments, str(tiny_prior_file), "--target-size", "100"])
    assert done.exit_code == 1 and "large.png: 100 bytes are too few" in done.output
    assert (tmp_path / "small.cmb").stat().st_size <= 100 and not (tmp_path / "large.cmb").exists()
