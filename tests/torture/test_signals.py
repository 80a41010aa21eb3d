"""Processes that are killed, stopped or kept waiting, at any moment."""

import os
import shutil
import signal
import time

import numpy as np
import pytest

from commands import OLD, PATIENCE, TEMPORARY, end, furnish, is_whole, left, processor_seconds, run, start

TORTURE = pytest.mark.torture
KILLS = 20
ENCODE = ("encode", "in.png", "-o", "out/out", "--effort", "fast", "-q")
DECODE = ("decode", "in.cmb", "-o", "out/out", "--format", "png", "-q")
# What Python says of a signal before the command's own code
PYTHON_STARTS = (
    "Fatal Python error: init_",
    "Error processing line ",
    "Error calling __set_name__ ",
    "Could not import runpy module",
)
CODES = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}


def seconds_of(command, folder) -> float:
    started = time.perf_counter()
    done = run(*command, cwd=folder)
    assert done.code == 0, done.said
    return time.perf_counter() - started


def interrupted(command, folder, number, count, seed):
    """Sends a signal at random moments, one in each of so many equal parts of a run; how often it came in time."""
    rng = np.random.default_rng(seed)
    seconds = seconds_of(command, folder)
    new = (folder / "out" / "out").read_bytes()
    in_time = 0
    for part in range(count):
        (folder / "out" / "out").write_bytes(OLD)
        process = start(*command, cwd=folder)
        time.sleep(seconds * (part + rng.random()) / count)
        process.send_signal(number)
        done = end(process)
        in_time += done.code != 0
        starting = done.code == -number or any(text in done.said for text in PYTHON_STARTS)
        assert starting or done.code in (0, CODES[number]), done
        assert (folder / "out" / "out").read_bytes() in (OLD, new)
        assert starting or "Traceback" not in done.said
        others = [name for name in left(folder / "out") if name != "out"]
        if number == signal.SIGKILL:  # nobody can clean up after this one
            assert all(name.startswith(TEMPORARY) for name in others)
            for name in others:
                (folder / "out" / name).unlink()
        else:
            assert others == []
    assert run(*command, cwd=folder).code == 0
    return in_time


@pytest.mark.parametrize(
    ("command", "count"),
    [
        (DECODE, 4),
        pytest.param(DECODE, KILLS, marks=TORTURE),
        pytest.param(ENCODE, KILLS, marks=TORTURE),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_output_is_the_old_one_or_the_new_one(number, command, count, tmp_path, record_property):
    in_time = interrupted(command, furnish(tmp_path), number, count, seed=int(number))
    assert in_time >= count // 2
    record_property(f"{signal.Signals(number).name} while a command ran", in_time)


@pytest.mark.parametrize("count", [1, pytest.param(KILLS, marks=TORTURE)])
def test_a_batch_that_is_killed_leaves_whole_files_and_can_go_on(count, tmp_path, record_property):
    folder = furnish(tmp_path)
    names = [f"{k}.png" for k in range(4)]
    for name in names:
        shutil.copy(folder / "in.png", folder / name)
    command = ("encode", *names, "--output-dir", "out", "--effort", "fast", "--skip-existing", "-q")
    seconds = seconds_of(command, folder)
    rng = np.random.default_rng(0)
    for part in range(count):
        for name in left(folder / "out"):
            (folder / "out" / name).unlink()
        process = start(*command, cwd=folder)
        time.sleep(seconds * (part + rng.random()) / count)
        process.kill()
        end(process)
        whole = list((folder / "out").glob("*.cmb"))
        assert all(is_whole(path) for path in whole)
        done = run(*command, cwd=folder)
        assert done.code == 0, done.said
        assert all(is_whole(folder / "out" / f"{k}.cmb") for k in range(4))
    record_property("batches killed and taken up again", count)


@pytest.mark.parametrize("count", [2, pytest.param(KILLS, marks=TORTURE)])
def test_a_process_that_is_stopped_goes_on_as_if_nothing_had_been(count, tmp_path, record_property):
    folder = furnish(tmp_path)
    command = ENCODE if count == KILLS else DECODE
    seconds = seconds_of(command, folder)
    new = (folder / "out" / "out").read_bytes()
    rng = np.random.default_rng(1)
    for part in range(count):
        (folder / "out" / "out").unlink()
        process = start(*command, cwd=folder)
        time.sleep(seconds * (part + rng.random()) / count)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        process.send_signal(signal.SIGCONT)
        done = end(process)
        assert (done.code, done.said) == (0, "")
        assert (folder / "out" / "out").read_bytes() == new
    record_property("processes stopped and continued", count)


def stalled(arguments, folder):
    """A command and the pipe that it reads from, of which half a file has come."""
    reads, writes = os.pipe()
    process = start(*arguments, cwd=folder, stdin=reads)
    os.close(reads)
    data = (folder / ("in.cmb" if arguments[0] == "decode" else "in.png")).read_bytes()
    half = len(data) // 2
    os.write(writes, data[:half])
    return process, writes, data[half:]


def until_it_waits(process):
    """Until a command has used no processor time for a while."""
    until = time.time() + PATIENCE
    used = -1.0
    while time.time() < until and process.poll() is None and used != processor_seconds(process):
        used = processor_seconds(process)
        time.sleep(0.5)
    assert process.poll() is None


@pytest.mark.parametrize("ending", ["goes on", "breaks off", signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["decode", pytest.param("encode", marks=TORTURE)])
def test_a_stalled_standard_input_costs_nothing_and_ends_well(command, ending, tmp_path):
    folder = furnish(tmp_path)
    suffix = ".png" if command == "decode" else ".cmb"
    process, pipe, rest = stalled((command, "-", "-o", f"out/out{suffix}", "-q"), folder)
    until_it_waits(process)
    assert left(folder / "out") == []
    if ending == "goes on":
        os.write(pipe, rest)
        os.close(pipe)
        assert end(process).code == 0
        assert left(folder / "out") == [f"out{suffix}"]
        return
    if ending == "breaks off":
        os.close(pipe)
        assert end(process).failed_in_a_line()
    else:
        process.send_signal(ending)
        done = end(process)
        os.close(pipe)
        assert done.code == CODES[ending]
        assert "Traceback" not in done.said
    assert left(folder / "out") == []
