"""Outputs: what appears while a command works, two commands in one folder, mounts, lines on standard output."""

import base64
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import combiner_codec
import warm
from combiner_codec.command.claims import LOCKS, Claims
from conftest import smooth_pictures

COMBINER = str(Path(sys.executable).parent / "combiner")
OLD = b"what was there before"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux's mounts")


@pytest.fixture
def folder(tmp_path, small_file, tiny_prior_file):
    Image.fromarray(smooth_pictures(1, 40)[0]).save(tmp_path / "in.png")
    (tmp_path / "in.cmb").write_bytes(small_file)
    (tmp_path / "tiny.npz").write_bytes(tiny_prior_file.read_bytes())
    return tmp_path


def start(folder, command, *arguments, **options):
    effort = ["--effort", "fast"] if command == "encode" else []
    line = [COMBINER, command, *map(str, arguments), "--prior", "tiny.npz", *effort]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(line, cwd=folder, text=True, **(pipes | options))


def run(folder, command, *arguments, **options):
    effort = ["--effort", "fast"] if command == "encode" else []
    done = warm.run(command, *arguments, "--prior", "tiny.npz", *effort, cwd=folder, **options)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


APPEARS = [
    (["--output-dir", "out"], 1, True, "exists since this began: use -f to replace it"),
    (["--output-dir", "out", "--skip-existing"], 0, True, "exists since this began, skipped"),
    (["--output-dir", "out", "-f"], 0, False, ""),
    (["-o", "out/pipe@"], 0, False, ""),
    (["-o", "out/pipe@", "--skip-existing"], 0, True, "exists since this began, skipped"),
    (["out/pipe@"], 1, True, "exists since this began"),
]


@pytest.mark.parametrize("command", ["encode", "decode"])
@pytest.mark.parametrize(("arguments", "code", "kept", "text"), APPEARS)
def test_what_appears_while_a_command_works_is_replaced_only_where_that_was_asked_for(
    arguments, code, kept, text, command, folder
):
    """The input is a pipe: when it is opened, the outputs have been looked at."""
    given, made = (".png", ".cmb") if command == "encode" else (".cmb", ".png")
    os.mkfifo(folder / f"pipe{given}")
    (folder / "out").mkdir()
    process = start(folder, command, f"pipe{given}", *(part.replace("@", made) for part in arguments))
    with open(folder / f"pipe{given}", "wb") as pipe:
        (folder / "out" / f"pipe{made}").write_bytes(OLD)
        pipe.write((folder / f"in{given}").read_bytes())
    err = process.communicate(timeout=120)[1]
    assert process.returncode == code and text in err, err
    assert ((folder / "out" / f"pipe{made}").read_bytes() == OLD) == kept
    assert names(folder / "out") == [f"pipe{made}"]


def pictures(folder, count):
    (folder / "tree").mkdir()
    for number in range(count):
        Image.fromarray(smooth_pictures(1, 520, number)[0]).save(folder / "tree" / f"{number}.png")  # a batch each


def made(err):
    """Outputs that a command says it has made."""
    return sorted(re.findall(r"out/(\d\.cmb): \d+ bytes", err))


def test_two_encoders_of_one_folder_do_not_do_the_same(folder):
    pictures(folder, 3)
    both = [start(folder, "encode", "tree", "--output-dir", "out", "--skip-existing", "--threads", "1") for _ in "ab"]
    said = [process.communicate(timeout=200)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(made(said[0]) + made(said[1])) == [f"{number}.cmb" for number in range(3)] == names(folder / "out")
    assert made(said[0]) and made(said[1]), said
    assert "another process is making it, skipped" in said[0] + said[1]


def test_a_killed_encoder_leaves_no_claim(folder):
    pictures(folder, 2)
    process = start(folder, "encode", "tree", "--output-dir", "out", "--skip-existing", "--threads", "1")
    until = time.time() + 60
    while not (folder / "out" / LOCKS).exists() and time.time() < until:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert names(folder / "out") == [LOCKS]
    code, _, err = run(folder, "encode", "tree", "--output-dir", "out", "--skip-existing")
    assert code == 0 and made(err) == names(folder / "out") == ["0.cmb", "1.cmb"], err


CHILD = """
import sys
from combiner_codec.command.claims import Claims
claims = Claims()
for line in sys.stdin:
    what, target = line.split()
    if what == "take":
        print(claims.take(target), flush=True)
    else:
        claims.release(target)
        print("released", flush=True)
"""


@pytest.fixture
def other():
    """Asks a process of its own to take and to release."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", CHILD], text=True, **pipes)

    def ask(what, target):
        process.stdin.write(f"{what} {target}\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    ask.process = process
    yield ask
    process.kill()
    process.communicate()


def test_a_claim_is_of_one_output_and_ends_with_its_release_or_its_process(tmp_path, other):
    ours = Claims()
    assert ours.take(str(tmp_path / "a")) and ours.take(str(tmp_path / "b"))
    assert other("take", tmp_path / "a") == "False" and other("take", tmp_path / "c") == "True"
    assert other("take", tmp_path / "new" / "a") == "True"
    ours.release(str(tmp_path / "a"))
    assert other("take", tmp_path / "a") == "True" and not ours.take(str(tmp_path / "a"))
    ours.release_all()
    assert names(tmp_path) == [LOCKS, "new"]  # in use
    other.process.send_signal(signal.SIGKILL)
    other.process.wait()
    assert ours.take(str(tmp_path / "a")) and ours.take(str(tmp_path / "c"))
    ours.release(str(tmp_path / "a"))
    ours.release(str(tmp_path / "c"))
    assert names(tmp_path) == ["new"]


def test_the_hidden_file_may_vanish_at_any_moment(tmp_path):
    """Many processes take and release one name: never two at a time."""
    script = f"""
import os, random, sys, time
from combiner_codec.command.claims import Claims
claims, target, held = Claims(), {str(tmp_path / "x")!r}, {str(tmp_path / "held")!r}
until = time.time() + 2
while time.time() < until:
    if claims.take(target):
        os.close(os.open(held, os.O_CREAT | os.O_EXCL))  # fails where another has it
        os.unlink(held)
        claims.release(target)
"""
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert names(tmp_path) == []


def test_without_locks_there_are_no_claims(tmp_path, monkeypatch):
    import fcntl

    def none(*arguments):
        raise OSError(37, "No locks available")  # what NFS says without its server of locks

    monkeypatch.setattr(fcntl, "lockf", none)
    claims = Claims()
    assert claims.take(str(tmp_path / "a")) and claims.take(str(tmp_path / "b"))
    claims.release(str(tmp_path / "a"))
    claims.release_all()


def in_mounts(script, folder):
    """A shell script in a name space of mounts of its own."""
    environment = os.environ | {"C": COMBINER, "P": "--prior tiny.npz"}
    done = subprocess.run(["unshare", "-m", "sh", "-c", "mount --bind in.png in.png && exec true"], cwd=folder,
                          capture_output=True, check=False)  # fmt: skip
    if done.returncode:
        pytest.skip("mounts are not allowed here")
    return subprocess.run(["unshare", "-m", "sh", "-c", script], cwd=folder, env=environment, capture_output=True,
                          text=True, timeout=120)  # fmt: skip


@LINUX
def test_an_output_that_is_a_mount_is_written_in_place(folder):
    """As docker -v host.png:/out.png makes it."""
    for name in ("host.png", "out file.png"):
        (folder / name).write_bytes(b"")
    done = in_mounts('mount --bind host.png "out file.png" && $C decode in.cmb -o "out file.png" $P', folder)
    assert done.returncode == 0 and Image.open(folder / "host.png").size == (40, 40), done.stderr
    assert (folder / "out file.png").read_bytes() == b""


@LINUX
@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_read_only_file_system_is_called_so_before_the_work(place, folder):
    """The input is no .cmb file, which nobody has noticed."""
    (folder / "ro").mkdir()
    (folder / "ro" / "out.png").write_bytes(OLD)
    mounted = "ro" if place == "folder" else "ro/out.png"
    script = (
        f"mount --bind {mounted} {mounted} && mount -o remount,ro,bind {mounted} && $C decode in.png -o ro/out.png $P"
    )
    done = in_mounts(script, folder)
    assert done.returncode == 1 and done.stderr == "combiner: ro/out.png: Read-only file system\n"


def decoded(urls, folder):
    """Sizes of the pictures of data: URLs, None for an empty line."""
    prior = str(folder / "tiny.npz")
    return [combiner_codec.decode(url, prior=prior).size if url else None for url in urls.splitlines()]


def test_data_urls_have_the_order_of_their_inputs_and_one_line_each(folder):
    """Of two batches and two priors' sizes, one picture damaged, one missing, one a link and one twice."""
    for name, size in (("large.png", (520, 510)), ("icon.png", (16, 16)), ("grey.png", (40, 30))):
        Image.open(folder / "in.png").convert("L" if name == "grey.png" else "RGB").resize(size).save(folder / name)
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    (folder / "link.png").symlink_to("icon.png")
    inputs = ["in.png", "icon.png", "bad.png", "large.png", "missing.png", "link.png", "", "grey.png", "in.png"]
    code, out, err = run(folder, "encode", *inputs, "--data-url")
    assert code == 1 and "3 of 9 inputs failed" in err
    assert decoded(out, folder) == [(40, 40), (16, 16), None, (520, 510), None, (16, 16), None, (40, 30), (40, 40)]
    lines = out.splitlines()
    assert lines[0] == lines[8] and lines[1] == lines[5]


def test_each_line_is_there_as_soon_as_those_before_it_are(folder):
    Image.open(folder / "in.png").resize((520, 510)).save(folder / "large.png")
    os.mkfifo(folder / "silent.png")
    process = start(folder, "encode", "bad.png", "large.png", "silent.png", "--data-url", "-q")
    assert process.stdout.readline() == "\n"
    assert process.stdout.readline().startswith("data:image/x-combiner;base64,")
    process.kill()
    process.communicate()


def test_data_urls_are_read_back(folder, small_file, tiny_prior):
    url = f"data:image/x-combiner;base64,{base64.b64encode(small_file).decode()}"
    wanted = np.asarray(combiner_codec.decode(small_file, prior=tiny_prior))
    (folder / "url.txt").write_text(url)
    wrapped = url[:50] + "\r\n" + url[50:].replace("+", "%2B").replace("/", "%2F") + "\n"
    for source in (url, url.encode(), bytearray(url.encode()), folder / "url.txt", wrapped):
        assert np.array_equal(combiner_codec.decode(source, prior=tiny_prior), wanted)
    for arguments in ([url, "-o", "1.png"], ["url.txt", "2.png"], ["-", "-o", "3.png"]):
        assert run(folder, "decode", *arguments, stdin=url.encode())[0] == 0
    for number in "123":
        assert np.array_equal(np.asarray(Image.open(folder / f"{number}.png")), wanted)
    code, out, _ = run(folder, "info", url)
    assert code == 0 and "file                  data:image/x-combiner;base64,y00" in out.replace(url[29:32], "y00")
    code, _, err = run(folder, "decode", url, "--output-dir", "out")
    assert code == 2 and "… has no name: use -o" in err


@pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", "data:,x", "data:image/x-combiner;base64,y0?", "data:"])
def test_other_urls_are_refused(url):
    with pytest.raises(combiner_codec.FormatError, match="URL"):
        combiner_codec.decode(url)


def test_a_source_that_never_ends_is_refused_by_its_beginning(folder):
    for command in ("info", "inspect", "decode"):
        output = ["-o", "x.png"] if command == "decode" else []
        line = [COMBINER, command, "/dev/zero", *output]
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (1, "combiner: /dev/zero: not a combiner file\n")
    for command in ("encode", "preview"):
        done = subprocess.run([COMBINER, command, "/dev/zero"], cwd=folder, capture_output=True, text=True, timeout=60)
        problem = "combiner: /dev/zero: not a picture that Pillow can read\n"
        assert (done.returncode, done.stdout.strip(), done.stderr) == (1, "", problem)
    with pytest.raises(combiner_codec.FormatError, match="not a combiner file"):
        combiner_codec.decode("/dev/zero")
    with pytest.raises(combiner_codec.FormatError, match="not a picture"):
        combiner_codec.encode("/dev/zero")


@pytest.mark.parametrize(("option", "count"), [([], 2), (["--sync"], 2), (["--no-sync"], 0)])
def test_outputs_are_synced_unless_told_otherwise(option, count, folder, monkeypatch):
    from click.testing import CliRunner

    from combiner_codec.command.cli import cli

    synced, fsync = [], os.fsync

    def counted(descriptor):
        synced.append(descriptor)
        fsync(descriptor)

    monkeypatch.chdir(folder)
    monkeypatch.setattr(os, "fsync", counted)
    done = CliRunner().invoke(cli, ["decode", "in.cmb", "-o", "x.png", "--prior", "tiny.npz", *option])
    assert done.exit_code == 0 and len(synced) == count, done.output


@pytest.mark.skipif(sys.platform != "linux", reason="limits address space")
def test_too_little_memory_for_torch_is_a_line_for_each_picture(folder):
    for inputs, count in (["in.png", "-o", "x.cmb"], 1), (["in.png", "in.png", "--data-url"], 3):
        line = f"ulimit -v 600000; exec {COMBINER} encode {' '.join(inputs)} --prior tiny.npz"
        done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1 and done.stderr.startswith("combiner: in.png: torch cannot be loaded: "), (
            done.stderr
        )
        assert len(done.stderr.splitlines()) == count and not (folder / "x.cmb").exists(), done.stderr


def test_writers_and_readers_of_one_output_never_see_a_part(folder):
    """-f replaces a file that others read all the time."""
    target = folder / "out.png"
    assert run(folder, "decode", "in.cmb", "-o", "out.png")[0] == 0
    whole, seen, ended = target.read_bytes(), set(), threading.Event()

    def reader():
        while not ended.is_set():
            seen.add(target.read_bytes())

    thread = threading.Thread(target=reader)
    thread.start()
    codes = [run(folder, "decode", "in.cmb", "-o", "out.png")[0] for _ in range(3)]
    ended.set()
    thread.join()
    assert codes == [0, 0, 0] and seen == {whole}


def test_no_time_is_told_of_what_needs_no_fit(folder):
    """Eight megapixels of one colour, and of a drawing that is kept without loss."""
    Image.new("RGB", (4000, 2000), "teal").save(folder / "plain.png")
    drawing = np.zeros((2000, 4000), np.uint8)
    drawing[::7] = 255
    Image.fromarray(drawing).save(folder / "drawing.png")
    line = [COMBINER, "encode", "plain.png", "drawing.png", "--output-dir", "out"]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and " MP" not in done.stderr and " min" not in done.stderr, done.stderr
