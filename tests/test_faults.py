"""What goes wrong on real machines: the old output stays, or the new one is complete, and nothing else is left."""

import ctypes
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from combiner_codec.decoder import decode_array, parse
from combiner_codec.encoder.batch import Batch
from combiner_codec.encoder.code.pictures import plane_of
from combiner_codec.encoder.settings import Settings
from combiner_codec.format.plane import write
from conftest import smooth_pictures

COMBINER = str(Path(sys.executable).parent / "combiner")
OLD = b"what was there before"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="uses Linux's devices and capabilities")


def start(*arguments, **options):
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it, children too
    try:
        return subprocess.Popen([COMBINER, *map(str, arguments)], **pipes)
    finally:
        signal.signal(signal.SIGINT, before)


def run(*arguments, **options):
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, (err or b"").decode()


def clean(folder, *expected):
    """Nothing but the expected files: no temporary ones."""
    assert sorted(p.name for p in folder.iterdir()) == sorted(expected)


@pytest.fixture(scope="session")
def large_file(tiny_prior):
    """512 x 512 pixels of any indices: most of a megabyte as BMP. Every bit string is some picture."""
    rng = np.random.default_rng(1)
    black = np.zeros((512, 512, 3), np.uint8)
    classes = np.full((16, 16), tiny_prior.operating_point(0).tile_bits.argmax())
    plane = plane_of(tiny_prior, 0, black.shape, classes, Settings())
    plane = replace(plane, streams=(rng.integers(0, 2, plane.blocks.length).astype(np.uint8),))
    return Batch(tiny_prior, Settings(), [black]).file(plane.header, write(plane))


@pytest.fixture
def folder(tmp_path, small_file, large_file):
    """Inputs in one folder, a folder for the output in it."""
    Image.fromarray(smooth_pictures(1, 40)[0]).save(tmp_path / "in.png")
    (tmp_path / "in.cmb").write_bytes(small_file)
    (tmp_path / "large.cmb").write_bytes(large_file)
    (tmp_path / "out").mkdir()
    return tmp_path


@pytest.fixture
def prior(tiny_prior_file):
    return ("--prior", tiny_prior_file)


@pytest.fixture
def fitting(folder, prior):
    """An encoder in the middle of its work, as its progress bar on a terminal says."""
    (folder / "out" / "out.cmb").write_bytes(OLD)
    Image.fromarray(smooth_pictures(1, 384)[0]).save(folder / "large.png")
    ours, theirs = pty.openpty()
    arguments = (
        "encode",
        folder / "large.png",
        "-o",
        folder / "out" / "out.cmb",
        *prior,
        "--threads",
        "1",
        "--effort",
        "normal",
    )
    process = start(*arguments, stderr=theirs)
    os.close(theirs)
    shown = b""
    while not re.search(rb" [1-9]\d %", shown):
        shown += os.read(ours, 4096)
    threading.Thread(target=drain, args=(ours,), daemon=True).start()
    yield process
    process.kill()
    process.communicate()


def drain(terminal):
    """Read what a process writes until it is gone."""
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:
        pass


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_signal_in_a_fit_leaves_the_old_output(number, code, fitting, folder):
    fitting.send_signal(number)
    assert fitting.wait(60) == code
    assert (folder / "out" / "out.cmb").read_bytes() == OLD
    clean(folder / "out", "out.cmb")


def test_an_input_removed_in_a_fit_does_no_harm(fitting, folder, tiny_prior):
    (folder / "large.png").unlink()
    assert fitting.wait(300) == 0
    assert decode_array((folder / "out" / "out.cmb").read_bytes(), tiny_prior).shape == (384, 384, 3)
    clean(folder / "out", "out.cmb")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_while_the_output_is_written_leaves_it_whole(number, folder, prior):
    """The signal is sent when the temporary file appears, so that it falls into the writing."""
    out = folder / "out"
    done = run("decode", folder / "large.cmb", "-o", out / "out.bmp", *prior)
    assert done[0] == 0, done[2]
    new = (out / "out.bmp").read_bytes()
    for _ in range(3):
        (out / "out.bmp").write_bytes(OLD)
        process = start("decode", folder / "large.cmb", "-o", out / "out.bmp", *prior)
        while process.poll() is None and len(os.listdir(out)) == 1 and (out / "out.bmp").stat().st_size == len(OLD):
            pass
        process.send_signal(number)
        process.communicate(timeout=60)
        assert (out / "out.bmp").read_bytes() in (OLD, new)
        if number == signal.SIGKILL:
            for left in out.glob(".combiner-*"):
                left.unlink()
        clean(out, "out.bmp")


def test_a_full_disk_leaves_the_old_output_and_the_others_of_a_batch(folder, prior):
    for name in ("large.png", "in.png"):
        (folder / "out" / name).write_bytes(OLD)
    inputs = (folder / "large.cmb", folder / "in.cmb")
    arguments = ("decode", *inputs, "--output-dir", folder / "out", "-f", "--format", "png", *prior)
    code, _, err = run(*arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)))
    assert code == 1 and "large.png: File too large" in err and "1 of 2 inputs failed" in err
    assert (folder / "out" / "large.png").read_bytes() == OLD
    assert Image.open(folder / "out" / "in.png").size == (40, 40)
    clean(folder / "out", "large.png", "in.png")


@LINUX
@pytest.mark.parametrize(
    "arguments", [("decode", "in.cmb", "-o", "/dev/full"), ("decode", "in.cmb", "-o", "-"), ("info", "in.cmb")]
)
def test_a_full_device_is_one_line_and_code_1(arguments, folder, prior):
    with open("/dev/full", "wb") as full:
        code, _, err = run(*arguments, *prior, cwd=folder, stdout=full)
    assert code == 1 and err.splitlines()[-1].endswith("No space left on device") and len(err.splitlines()) == 1


def without_override():
    """Root may write everywhere; without this capability, not in a folder without the permission (capabilities(7))."""
    if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).prctl(
        24, 1, 0, 0, 0
    ):  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
        raise OSError(ctypes.get_errno(), "prctl")


@LINUX
def test_a_read_only_folder_is_one_line_and_code_1(folder, prior):
    (folder / "out" / "out.png").write_bytes(OLD)
    (folder / "out").chmod(0o555)
    try:
        process = start(
            "decode", folder / "in.cmb", "-o", folder / "out" / "out.png", *prior, preexec_fn=without_override
        )
    except subprocess.SubprocessError:
        pytest.skip("capabilities cannot be dropped here")
    err = process.communicate(timeout=60)[1].decode()
    (folder / "out").chmod(0o755)
    assert process.returncode == 1 and err.endswith("out.png: Permission denied\n") and len(err.splitlines()) == 1
    assert (folder / "out" / "out.png").read_bytes() == OLD
    clean(folder / "out", "out.png")


def test_an_input_that_vanishes_half_way_does_not_stop_the_others(folder, prior):
    """The command waits for its first input, a pipe, while the second is removed."""
    os.mkfifo(folder / "first.cmb")
    (folder / "second.cmb").write_bytes((folder / "in.cmb").read_bytes())
    inputs = (folder / name for name in ("first.cmb", "second.cmb", "in.cmb"))
    process = start("decode", *inputs, "--output-dir", folder / "out", *prior)
    with open(folder / "first.cmb", "wb") as pipe:  # opens when the command does
        (folder / "second.cmb").unlink()
        pipe.write((folder / "in.cmb").read_bytes())
    err = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 1
    assert "second.cmb: No such file" in err and "1 of 3 inputs failed" in err
    clean(folder / "out", "first.png", "in.png")


def test_a_bad_file_in_a_batch_does_not_stop_the_others(folder, prior):
    data = (folder / "in.cmb").read_bytes()
    (folder / "bad.cmb").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    code, _, err = run("decode", folder / "bad.cmb", folder / "in.cmb", "--output-dir", folder / "out", *prior)
    assert code == 1 and "bad.cmb: checksum mismatch" in err and "1 of 2 inputs failed" in err
    clean(folder / "out", "in.png")


@pytest.mark.parametrize("output", ["in.cmb", "link.cmb", "out/../in.cmb"])
def test_the_input_is_never_the_output(output, folder, prior):
    (folder / "link.cmb").symlink_to("in.cmb")
    before = (folder / "in.cmb").read_bytes()
    code, _, err = run("decode", "in.cmb", "-o", output, *prior, cwd=folder)
    assert code == 1 and "both input and output" in err
    assert (folder / "in.cmb").read_bytes() == before


def test_a_link_is_followed(folder, prior):
    (folder / "link.png").symlink_to("out/real.png")
    assert run("decode", "in.cmb", "-o", "link.png", *prior, cwd=folder)[0] == 0
    assert (folder / "link.png").is_symlink() and Image.open(folder / "out" / "real.png").size == (40, 40)
    clean(folder / "out", "real.png")


def test_devices_are_written_through(folder, prior):
    assert run("decode", folder / "in.cmb", "-o", "/dev/null", *prior)[0] == 0
    assert not Path("/dev/null").is_file() and Path("/dev/null").exists()


@pytest.mark.parametrize("name", ["large.cmb", "in.cmb"])
def test_a_closed_pipe_is_code_1_without_a_word(name, folder, prior):
    """A large output breaks off in the middle, a small one meets a pipe that is closed already."""
    process = start("decode", folder / name, "-o", "-", "--quiet", "--format", "bmp", *prior)
    if name == "large.cmb":
        assert process.stdout.read(2) == b"BM"
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(60) == 1


def test_two_encoders_of_one_output_leave_one_whole_file(folder, prior, tiny_prior):
    out = folder / "out" / "out.cmb"
    arguments = ("encode", folder / "in.png", "-o", out, "--effort", "fast", *prior)
    both = [start(*arguments, "--seed", seed) for seed in (1, 2)]
    while None in [process.poll() for process in both]:
        if out.exists():
            assert decode_array(out.read_bytes(), tiny_prior).shape == (40, 40, 3)
        time.sleep(0.01)
    assert [process.returncode for process in both] == [0, 0]
    assert parse(out.read_bytes(), tiny_prior).header.seed in (1, 2)
    clean(folder / "out", "out.cmb")
