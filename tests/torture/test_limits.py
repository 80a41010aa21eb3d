"""Full disks and the limits of a shell: a command does its work, or says in one line that it cannot."""

import os
import resource
import subprocess
import sys
from contextlib import contextmanager

import pytest

from commands import OLD, Done, furnish, is_whole, left, run

TORTURE = pytest.mark.torture
PAGE = os.sysconf("SC_PAGE_SIZE")
DECODE = ("decode", "in.cmb", "-o", "out/out.bmp", "-q")
ENCODE = ("encode", "in.png", "-o", "out/out.cmb", "--effort", "fast", "--threads", "1", "-q")


@contextmanager
def small_disk(place, pages):
    """A file system in memory with so many pages."""
    place.mkdir(exist_ok=True)
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={pages * PAGE}", "tmpfs", place],
                       check=True, capture_output=True)  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a file system cannot be mounted here: only root may")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("pages", [1, 2, 3, pytest.param(4, marks=TORTURE), pytest.param(8, marks=TORTURE)])
@pytest.mark.parametrize("command", [DECODE, pytest.param(ENCODE, marks=TORTURE)])
def test_a_full_disk_leaves_the_old_output(command, pages, tmp_path):
    """The old output takes one page, a new BMP two."""
    folder = furnish(tmp_path)
    name = command[3].removeprefix("out/")
    with small_disk(folder / "out", pages) as out:
        (out / name).write_bytes(OLD)
        done = run(*command, cwd=folder)
        needs = 2 if name == "out.bmp" else 1
        if pages <= needs:
            assert done.failed_in_a_line()
            assert "No space left on device" in done.said
            assert (out / name).read_bytes() == OLD
        else:
            assert done.code == 0, done.said
        assert left(out) == [name]


def limited(command, folder, kind, value) -> Done:
    """A command under one of the shell's limits."""

    def limit():
        resource.setrlimit(kind, (value, value))

    return run(*command, cwd=folder, preexec_fn=limit)


def python_starts(kind, value) -> bool:
    """Whether Python comes as far as the command under a limit, which is not the command's doing."""

    def limit():
        resource.setrlimit(kind, (value, value))

    command = [
        sys.executable,
        "-c",
        "import numpy, click, rich, json, zipfile; numpy.ones((64, 64)) @ numpy.ones((64, 64))",
    ]
    return subprocess.run(command, capture_output=True, preexec_fn=limit).returncode == 0


def check_outcome(done, folder, name):
    """Done, or nothing but a line."""
    if done.code == 0:
        assert left(folder / "out") == [name]
        if name.endswith(".cmb"):
            assert is_whole(folder / "out" / name)
        (folder / "out" / name).unlink()
    else:
        assert done.failed_in_a_line(), done
        assert left(folder / "out") == []
    return done.code == 0


@pytest.mark.parametrize(
    ("command", "values"),
    [
        (DECODE, (0, 1, 1000, 4096, 10**6)),
        pytest.param(ENCODE, (0, 1, 10, 100, 10**6), marks=TORTURE),
    ],
)
def test_a_limit_of_file_sizes(command, values, tmp_path):
    folder = furnish(tmp_path)
    name = command[3].removeprefix("out/")
    for value in values:
        done = limited(command, folder, resource.RLIMIT_FSIZE, value)
        assert check_outcome(done, folder, name) == (value == values[-1])
        assert done.code == 0 or "File too large" in done.said


@pytest.mark.parametrize(
    ("command", "values"),
    [
        (DECODE, (6, 12)),
        pytest.param(DECODE, range(4, 40), marks=TORTURE),
        pytest.param(ENCODE, range(4, 40, 3), marks=TORTURE),
    ],
)
def test_a_limit_of_open_files(command, values, tmp_path):
    folder = furnish(tmp_path)
    name = command[3].removeprefix("out/")
    for value in values:
        if python_starts(resource.RLIMIT_NOFILE, value):
            check_outcome(limited(command, folder, resource.RLIMIT_NOFILE, value), folder, name)


@pytest.mark.parametrize(
    ("command", "megabytes"),
    [
        (DECODE, (200, 800)),
        pytest.param(DECODE, range(100, 1000, 50), marks=TORTURE),
        pytest.param(ENCODE, range(200, 2000, 100), marks=TORTURE),
    ],
)
def test_a_limit_of_memory(command, megabytes, tmp_path):
    folder = furnish(tmp_path)
    name = command[3].removeprefix("out/")
    for value in megabytes:
        if python_starts(resource.RLIMIT_AS, value * 10**6):
            check_outcome(limited(command, folder, resource.RLIMIT_AS, value * 10**6), folder, name)
