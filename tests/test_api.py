"""What the API takes: names and paths as the command does, other values refused before any work, forked processes."""

import inspect
import itertools
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import combiner_codec
from combiner_codec.encoder.settings import FINEST, WORST, Settings, beta_of
from combiner_codec.errors import FormatError
from conftest import smooth_pictures

COMBINER = str(Path(sys.executable).parent / "combiner")


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"effort": "turbo"}, ValueError, "effort must be one of fast, normal, best, not 'turbo'"),
        ({"effort": 3}, ValueError, "effort must be one of"),
        ({"device": "gpu"}, ValueError, "device must be one of auto, cpu, cuda, not 'gpu'"),
        ({"seed": -1}, ValueError, "seed must be from 0 to .*, not -1"),
        ({"seed": 1.5}, TypeError, "seed must be an integer"),
        ({"threads": -1}, ValueError, "threads must be from 0"),
        ({"threads": "2"}, TypeError, "threads must be an integer, not str"),
        ({"beta": 0}, ValueError, "beta must be positive"),
        ({"beta": float("nan")}, ValueError, "beta must be"),
        ({"beta": "0.1"}, TypeError, "beta must be a number"),
        ({"quality": 101}, ValueError, "quality must be from 0 to 100, not 101"),
        ({"quality": True}, TypeError, "quality must be a number"),
        ({"target_size": 0}, ValueError, "target_size must be from 1"),
        ({"target_size": 99.5}, TypeError, "target_size must be an integer"),
        ({"target_psnr": float("nan")}, ValueError, "target_psnr must be"),
        ({"target_psnr": -3}, ValueError, "target_psnr must be positive"),
        ({"target_psnr": 30, "target_size": 900}, ValueError, "exclude each other"),
        ({"quality": 30, "target_size": 900}, ValueError, "exclude each other"),
        ({"prior": 3}, TypeError, "prior must be a name, a path or a Prior, not int"),
        ({"prior": "none"}, FormatError, "no prior named none.*small, combiner-cifar, photo"),
        ({"background": "no colour"}, ValueError, "no colour"),
    ],
)
def test_values_that_are_not_allowed_are_refused_before_any_work(arguments, error, text, monkeypatch):
    monkeypatch.setattr("combiner_codec.encoder.encode.encode_arrays", lambda *a, **k: pytest.fail("worked"))
    with pytest.raises(error, match=text):
        combiner_codec.encode(Image.new("RGB", (8, 8)), **arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"size": 0}, ValueError, "size must be from 1"),
        ({"size": 99.5}, TypeError, "size must be an integer"),
        ({"side": 0}, ValueError, "side must be from 1"),
        ({"side": "64"}, TypeError, "side must be an integer, not str"),
        ({"effort": "turbo"}, ValueError, "effort must be one of"),
        ({"seed": -1}, ValueError, "seed must be from 0"),
        ({"prior": "none"}, FormatError, "no prior named none"),
        ({"background": "no colour"}, ValueError, "no colour"),
        ({"beta": 0.1}, TypeError, "beta"),
        ({"quality": 50}, TypeError, "quality"),
        ({"target_psnr": 30}, TypeError, "target_psnr"),
    ],
)
def test_previews_are_checked_like_other_files(arguments, error, text, monkeypatch):
    monkeypatch.setattr("combiner_codec.encoder.encode.encode_arrays", lambda *a, **k: pytest.fail("worked"))
    with pytest.raises(error, match=text):
        combiner_codec.preview(Image.new("RGB", (8, 8)), **arguments)


@pytest.mark.parametrize(
    ("size", "error", "text"),
    [
        (40, TypeError, "size must be width and height, not 40"),
        ((40, 30, 3), TypeError, "size must be width and height"),
        ((40, 0), ValueError, "width and height of size must be from 1"),
        ((40.5, 3), TypeError, "width and height of size must be an integer"),
        ((1 << 40, 1), ValueError, "must be from 1"),
        ((1 << 20, 1 << 20), FormatError, r"are more than 178956970 \(max_pixels=\)"),
    ],
)
def test_the_size_to_scale_to_is_checked_before_the_file(size, error, text):
    with pytest.raises(error, match=text):
        combiner_codec.decode(b"no file", size=size)


@pytest.mark.parametrize("image", [None, 3, [[1, 2]], b"\x89PNG"])
def test_what_is_no_picture_is_refused_with_what_is_wanted(image):
    with pytest.raises(TypeError, match=r"a PIL\.Image, a uint8 array or a path is wanted, not"):
        combiner_codec.encode(image)


def test_the_decoder_takes_bytes_and_paths_alone():
    for data in (None, 3, Image.new("L", (1, 1))):
        with pytest.raises(TypeError, match="data must be bytes or a path"):
            combiner_codec.decode(data)
    with pytest.raises(ValueError, match="threads must be"):
        combiner_codec.decode(b"", threads=-1)


def test_paths_and_names_work_as_in_the_command(tmp_path, tiny_prior, tiny_prior_file):
    picture = Image.fromarray(smooth_pictures(1, 20)[0])
    picture.save(tmp_path / "in.png")
    expected = combiner_codec.encode(picture, effort="fast", prior=tiny_prior)
    for image in (tmp_path / "in.png", str(tmp_path / "in.png")):
        assert combiner_codec.encode(image, effort="fast", prior=tiny_prior_file) == expected
    (tmp_path / "out.cmb").write_bytes(expected)
    shown = combiner_codec.decode(tmp_path / "out.cmb", prior=str(tiny_prior_file))
    assert np.array_equal(shown, combiner_codec.decode(bytearray(expected), prior=tiny_prior))
    small = combiner_codec.preview(tmp_path / "in.png", 90, effort="fast", prior=tiny_prior_file)
    assert small == combiner_codec.preview(picture, 90, effort="fast", prior=tiny_prior)
    by_name = combiner_codec.encode(picture, effort="fast", prior="small")
    assert by_name == combiner_codec.encode(picture, effort="fast")
    with pytest.raises(OSError, match="No such file"):
        combiner_codec.encode(tmp_path / "missing.png")


def test_quality_is_a_falling_beta():
    betas = [beta_of(quality) for quality in range(101)]
    assert betas[0] == pytest.approx(WORST) and betas[100] == pytest.approx(FINEST)
    steps = [a / b for a, b in itertools.pairwise(betas)]
    assert steps == pytest.approx([steps[0]] * 100) and steps[0] > 1
    text = " ".join(inspect.getdoc(beta_of).split())
    assert f"50 is {betas[50]:.2g}" in text and f"75 is {betas[75]:.2g}" in text


def test_quality_is_beta_under_another_name(tiny_prior):
    picture = Image.fromarray(smooth_pictures(1, 20)[0])
    one = combiner_codec.encode(picture, quality=40, effort="fast", prior=tiny_prior)
    assert one == combiner_codec.encode(picture, beta_of(40), effort="fast", prior=tiny_prior)


def test_settings_are_sound_wherever_they_come_from():
    with pytest.raises(ValueError, match="beta must be positive, not -1"):
        Settings(beta=-1)


def test_warnings_point_to_the_caller():
    with pytest.warns(UserWarning, match="converted from CMYK") as caught:
        combiner_codec.encode(Image.new("CMYK", (8, 8)), effort="fast")
        combiner_codec.preview(Image.new("CMYK", (8, 8)), effort="fast")
    assert {Path(one.filename).name for one in caught} == {"test_api.py"} and len(caught) == 2


FORK = """
import multiprocessing, sys, warnings
import numpy as np, torch, combiner_codec
warnings.simplefilter("ignore")
picture = np.stack([np.add.outer(np.arange(96), k * np.arange(96) // 2) for k in range(3)], -1).astype(np.uint8)
encode = lambda threads: combiner_codec.encode(picture, 0.05, effort="fast", threads=threads)
def work(threads): return encode(threads)
first = encode(2)
with multiprocessing.get_context("fork").Pool(2) as pool:
    try: print([data == first for data in pool.map_async(work, [0, 2]).get(100)])
    finally: pool.terminate()
"""


def test_encoding_works_in_forked_processes_after_an_encoding():
    """The parent has started torch's threads, which its children lack."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=180)
    assert done.stdout == "[True, True]\n", done.stderr[-500:]


@pytest.mark.skipif(sys.platform != "linux", reason="limits address space")
def test_a_picture_too_large_for_the_memory_does_not_stop_the_others(tmp_path, tiny_prior_file):
    picture = Image.fromarray(smooth_pictures(1, 40)[0])
    for name, size in (("1.png", 40), ("2.png", 4000), ("3.png", 40)):
        picture.resize((size, size)).save(tmp_path / name)
    command = [COMBINER, "encode", "1.png", "2.png", "3.png", "--output-dir", "out", "--effort", "fast"]
    done = subprocess.run([*command, "--threads", "1", "--prior", tiny_prior_file], cwd=tmp_path, capture_output=True,
                          text=True, timeout=180,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2**30,) * 2))  # fmt: skip
    assert done.returncode == 1 and "2.png: not enough memory" in done.stderr and "1 of 3" in done.stderr, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.cmb", "3.cmb"]


def test_memory_that_a_batch_lacks_is_enough_for_one_picture_of_it(tmp_path, tiny_prior_file, monkeypatch):
    """Two pictures together are too much, each alone is not."""
    from click.testing import CliRunner

    from combiner_codec.command.cli import cli
    from combiner_codec.encoder import encode as module

    encode_arrays = module.encode_arrays

    def narrow(pictures, *others):
        if len(pictures) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return encode_arrays(pictures, *others)

    monkeypatch.setattr(module, "encode_arrays", narrow)
    for name in ("a", "b"):
        Image.fromarray(smooth_pictures(1, 20)[0]).save(tmp_path / f"{name}.png")
    arguments = ["encode", *(str(tmp_path / f"{name}.png") for name in "ab"), "--output-dir", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, [*arguments, "--effort", "fast", "--prior", str(tiny_prior_file)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "a.cmb").read_bytes() == (tmp_path / "out" / "b.cmb").read_bytes()


@pytest.mark.parametrize(("extra", "code"), [([], 0), (["-q"], 0), (["--strict"], 1), (["-q", "--strict"], 1)])
def test_a_missed_psnr_is_an_error_where_that_is_asked_for(extra, code, tmp_path, tiny_prior_file):
    """The file is written in any case."""
    Image.fromarray(smooth_pictures(1, 20)[0]).save(tmp_path / "in.png")
    command = [COMBINER, "encode", "in.png", "-o", "out.cmb", "--effort", "fast", "--target-psnr", "80", *extra]
    done = subprocess.run(
        [*command, "--prior", tiny_prior_file], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code and (tmp_path / "out.cmb").stat().st_size
    assert ("80 dB were not met" in done.stderr) == (extra != ["-q"])
    assert done.stderr.startswith("combiner: ") == ("-q" in extra and code == 1)
