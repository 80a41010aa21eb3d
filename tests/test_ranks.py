"""Processes that share a command's inputs, and variables of such a job that a command inherits by chance."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from combiner_codec.command.meeting import Meeting
from combiner_codec.command.ranks import Ranks
from conftest import smooth_pictures

COMBINER = str(Path(sys.executable).parent / "combiner")
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture
def folder(tmp_path, small_file, tiny_prior_file):
    Image.fromarray(smooth_pictures(1, 40)[0]).save(tmp_path / "in.png")
    (tmp_path / "in.cmb").write_bytes(small_file)
    (tmp_path / "tiny.npz").write_bytes(tiny_prior_file.read_bytes())
    (tmp_path / "tree").mkdir()
    for number in range(5):
        (tmp_path / "tree" / f"{number}.cmb").write_bytes(small_file)
    return tmp_path


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def start(folder, command, *arguments, **environment):
    """A command in a job of torch, as far as its variables go."""
    line = [COMBINER, command, *map(str, arguments), "--prior", "tiny.npz"]
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return subprocess.Popen(line, cwd=folder, env=clean | environment, stderr=subprocess.PIPE, text=True)


def ended(process):
    said = process.communicate(timeout=120)[1]
    return process.returncode, said


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("address", [{}, {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}])
@pytest.mark.parametrize("arguments", [["in.cmb"], ["in.cmb", "x.png"], ["in.cmb", "-o", "x.png"],
                                       ["in.cmb", "--output-dir", "out"], ["-", "-o", "x.png"]])  # fmt: skip
def test_one_input_is_never_shared(arguments, address, folder):
    """Whatever the rank, and whether anything answers at the address or not."""
    (folder / "in.png").unlink()
    if arguments[0] == "-":
        arguments = ["in.cmb", *arguments[1:]]
    process = start(folder, "decode", *arguments, RANK="1", WORLD_SIZE="8", **address)
    code, said = ended(process)
    assert code == 0 and len(said.splitlines()) == 1 and "rank" not in said
    assert len(list(folder.rglob("*.png"))) == 1


def test_lines_on_standard_output_are_never_shared(folder):
    line = [COMBINER, "encode", "in.png", "in.png", "--data-url", "--prior", "tiny.npz", "--effort", "fast", "-q"]
    environment = os.environ | {"RANK": "1", "WORLD_SIZE": "2"}
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"RANK": "abc", "WORLD_SIZE": "2"}, "RANK is 'abc'"),
        ({"RANK": "abc"}, "RANK is 'abc'"),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, "RANK is '-1'"),
        ({"RANK": "5", "WORLD_SIZE": "2"}, "RANK is 5, and WORLD_SIZE 2"),
        ({"RANK": "0", "WORLD_SIZE": "0"}, "WORLD_SIZE is '0'"),
        ({"WORLD_SIZE": "2"}, "RANK is not set"),
        ({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "x"}, "LOCAL_WORLD_SIZE is 'x'"),
    ],
)
def test_ranks_that_make_no_sense_are_bad_usage(environment, text, folder):
    code, said = ended(start(folder, "decode", "in.cmb", "-o", "x.png", **environment))
    assert code == 2 and text in said.splitlines()[-1] and not (folder / "x.png").exists()


@pytest.mark.parametrize(("environment", "expected"), [
    ({}, Ranks()), ({"RANK": "3"}, Ranks()), ({"RANK": "", "WORLD_SIZE": ""}, Ranks()),
    ({"RANK": "1", "WORLD_SIZE": "2"}, Ranks(1, 2)),
    ({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}, Ranks(5, 8, 1, 4)),
])  # fmt: skip
def test_ranks_are_those_of_torchrun(environment, expected, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Ranks.here() == expected


def test_shares_are_announced_unless_all_is_to_be_quiet(folder):
    code, said = ended(start(folder, "decode", "tree", "--output-dir", "out", RANK="1", WORLD_SIZE="2"))
    assert code == 0 and said.startswith("combiner: rank 1 of 2 takes 2 of 5 inputs, as RANK and WORLD_SIZE say\n")
    assert names(folder / "out") == ["1.png", "3.png"]
    code, said = ended(start(folder, "decode", "tree", "--output-dir", "quiet", "-q", RANK="0", WORLD_SIZE="2"))
    assert (code, said) == (0, "") and names(folder / "quiet") == ["0.png", "2.png", "4.png"]


def team(folder, port, *arguments, world=2, **environment):
    """A command in some processes that meet, without torchrun."""
    processes = [
        start(folder, *arguments, RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank),
              LOCAL_WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1", MASTER_PORT=port, **environment)
        for rank in range(world)
    ]  # fmt: skip
    return [ended(process) for process in processes]


def test_processes_without_an_address_share_the_inputs_and_end_alone(folder):
    processes = [start(folder, "decode", "tree", "--output-dir", "out", RANK=rank, WORLD_SIZE="2") for rank in "01"]
    found = [ended(process) for process in processes]
    assert [code for code, _ in found] == [0, 0] and names(folder / "out") == [f"{k}.png" for k in range(5)]
    assert [len(re.findall(r"out/\d.png: 40 x 40", said)) for _, said in found] == [3, 2]
    assert "inputs done" not in found[0][1]  # of the other nothing is known


def test_processes_that_meet_sum_up(folder, port):
    found = team(folder, port, "decode", "tree", "--output-dir", "out", world=3)
    assert [code for code, _ in found] == [0, 0, 0] and names(folder / "out") == [f"{k}.png" for k in range(5)]
    assert found[0][1].endswith("combiner: 5 inputs done by 3 processes\n")
    found = team(folder, port, "decode", "tree", "--output-dir", "again", "-q")
    assert found == [(0, ""), (0, "")]


def test_a_failure_of_one_is_the_code_of_all(folder, port):
    (folder / "tree" / "3.cmb").write_bytes(b"no such file")
    (folder / "empty").mkdir()
    found = team(folder, port, "decode", "tree", "empty", "--output-dir", "out")
    assert [code for code, _ in found] == [1, 1]
    assert "empty: no files in it" in found[0][1] and "empty" not in found[1][1]
    assert "3.cmb: not a combiner file" in found[1][1] and "2 of 6 inputs failed" in found[0][1]


def test_a_process_that_never_comes_is_named_with_what_is_missing(folder, port):
    """At an address where nothing answers, and at one that this process has opened itself."""
    for rank, other in (("1", 0), ("0", 1)):
        out = f"out{rank}"
        process = start(folder, "decode", "tree", "--output-dir", out, "--patience", "1", "-q",
                        RANK=rank, WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)  # fmt: skip
        code, said = ended(process)
        assert code == 1 and len(said.splitlines()) == 1
        assert f"no sign of life from rank {other} at 127.0.0.1:{port} for 1 s" in said
        assert f"of 5 outputs are missing: {out}/" in said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_wait_for_others(number, code, folder, port):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = start(folder, "decode", "tree", "--output-dir", "out", RANK="1", WORLD_SIZE="2",
                    MASTER_ADDR="127.0.0.1", MASTER_PORT=port)  # fmt: skip
    signal.signal(signal.SIGINT, before)
    until = time.time() + 60
    while time.time() < until and not (folder / "out" / "3.png").exists():
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    begun = time.time()
    found, said = ended(process)
    assert found == code and time.time() - begun < 20
    assert "ended by a signal; 3 of 5 outputs are missing: out/0.png, out/2.png, out/4.png" in said


def torchrun(folder, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
               "combiner_codec", *arguments, "--prior", "tiny.npz"]  # fmt: skip
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_torchrun_encodes_a_folder_and_sums_up(folder):
    """One bad input: both processes end with its code, and none is stopped by the other."""
    (folder / "pictures").mkdir()
    for k in range(4):
        Image.open(folder / "in.png").rotate(90 * k).save(folder / "pictures" / f"{k}.png")
    (folder / "pictures" / "0bad.png").write_text("not a picture")
    command = ["encode", "pictures", "--output-dir", "out", "--effort", "fast"]
    process = torchrun(folder, *command)
    said = process.communicate(timeout=200)[1]
    assert process.returncode == 1 and "0bad.png: not a picture" in said
    assert "1 of 5 inputs failed" in said and names(folder / "out") == [f"{k}.cmb" for k in range(4)]
    said = torchrun(folder, *command, "--skip-existing").communicate(timeout=200)[1]
    assert said.count("exists, skipped") == 4


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the process in /proc")
def test_a_rank_that_is_killed_under_torchrun_leaves_a_line_about_what_is_missing(folder):
    """Rank 1 waits for a pipe that never speaks."""
    os.mkfifo(folder / "tree" / "0a.cmb")  # the second of six
    process = torchrun(folder, "decode", "tree", "--output-dir", "out")
    until = time.time() + 120
    while not (folder / "out" / "3.png").exists() and time.time() < until:
        time.sleep(0.1)
    (victim,) = [pid for pid in children(process.pid) if is_rank_1(pid)]
    os.kill(victim, signal.SIGKILL)
    said = process.communicate(timeout=120)[1]
    assert process.returncode
    missing = "rank 0 of 2: ended by a signal; 3 of 6 outputs are missing: out/0a.png, out/2.png, out/4.png"
    assert missing in said, said[-2000:]
    (folder / "tree" / "0a.cmb").unlink()
    (folder / "tree" / "0a.cmb").write_bytes((folder / "in.cmb").read_bytes())
    code, said = ended(start(folder, "decode", "tree", "--output-dir", "out", "--skip-existing"))
    assert code == 0 and said.count("exists, skipped") == 3
    assert names(folder / "out") == ["0.png", "0a.png", *(f"{k}.png" for k in range(1, 5))]


def children(parent):
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True)
    return [int(pid) for pid in done.stdout.split()]


def is_rank_1(pid):
    try:
        return b"\0RANK=1\0" in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def test_a_meeting_is_of_one_work_and_of_one_turn(port, monkeypatch):
    """Two pairs of threads meet twice at one store: rank 0 opens it, and counts are told apart."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", port)
    monkeypatch.setattr("combiner_codec.command.meeting.BEAT", 0.1)
    from torch.distributed import TCPStore

    kept = TCPStore("127.0.0.1", int(port), is_master=True, wait_for_workers=False)  # as the starting program's
    for turn in range(2):
        meetings = [Meeting(Ranks(rank, 2), topic) for topic in "ab" for rank in range(2)]
        for number, meeting in enumerate(meetings):
            meeting.start()
            meeting.done(turn, number)
        for meeting in meetings:
            meeting.join(30)
        assert [meeting.found for meeting in meetings] == [
            {1: [turn, 1]},
            {0: [turn, 0]},
            {1: [turn, 3]},
            {0: [turn, 2]},
        ]
    del kept
