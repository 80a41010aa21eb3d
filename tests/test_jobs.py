"""Inputs and outputs as a shell gives them: pipes and devices, names that will not do, batches, folders, processes."""

import os
import pty
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import warm
from combiner_codec.command.inputs import Input, batches
from combiner_codec.command.jobs import Job
from combiner_codec.format import prior as priors
from conftest import smooth_pictures

COMBINER = str(Path(sys.executable).parent / "combiner")
OLD = b"what was there before"


@pytest.fixture
def folder(tmp_path, small_file):
    Image.fromarray(smooth_pictures(1, 40)[0]).save(tmp_path / "in.png")
    (tmp_path / "in.cmb").write_bytes(small_file)
    return tmp_path


@pytest.fixture
def run(folder, tiny_prior_file):
    """Runs a command with the tiny prior in the folder; a list of arguments, or a line of bash with $C and $P."""

    def call(command, *arguments, **options):
        environment = os.environ | {"C": COMBINER, "P": f"--prior {tiny_prior_file}"} | options.pop("env", {})
        if arguments:
            effort = ["--effort", "fast"] if command == "encode" else []
            line = [command, *arguments, "--prior", tiny_prior_file, *effort]
            done = warm.run(*line, cwd=folder, env=environment, **options)
        else:
            shell = ["bash", "-c", command]
            done = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, timeout=120, **options)
        return done.returncode, done.stdout, done.stderr.decode()

    return call


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "line",
    [
        "$C decode in.cmb -o /dev/stdout $P | cat",
        "$C decode in.cmb -o >(cat) $P; sleep 0.5",
        "mkfifo f; cat f & $C decode in.cmb -o f $P; wait; test -p f",
        "$C decode in.cmb -o /dev/fd/1 $P > x.png; cat x.png",
        "printf %s '' > x.png; $C decode in.cmb -o /dev/stdout $P >> x.png; cat x.png",
        "ln -s /dev/stdout link; $C decode in.cmb -o link $P | cat",
    ],
)
def test_what_is_no_file_is_written_through(line, run):
    code, out, err = run(line)
    assert code == 0 and out.startswith(b"\x89PNG") and len(err.splitlines()) == 1, err


def test_appending_to_standard_output_keeps_what_is_there(run, folder):
    assert run("echo first > x; $C decode in.cmb -o /dev/stdout $P >> x")[0] == 0
    assert (folder / "x").read_bytes().startswith(b"first\n\x89PNG")


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/tty", None])
def test_a_terminal_is_refused_under_any_name(name, run, folder, tiny_prior_file):
    ours, theirs = pty.openpty()
    name = name or os.ttyname(theirs)
    command = [COMBINER, "decode", "in.cmb", "-o", name, "--prior", str(tiny_prior_file)]
    script = f"import fcntl, os, sys, termios; fcntl.ioctl(1, termios.TIOCSCTTY, 0); os.execv({COMBINER!r}, {command})"
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, stdin=subprocess.DEVNULL, stdout=theirs,
                          stderr=subprocess.PIPE, start_new_session=True, timeout=60)  # fmt: skip
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2 and b"refusing to write binary data to a terminal" in done.stderr


LONG = "x" * 300 + ".png"
BAD_NAMES = [("out", "Is a directory"), ("new/", "Is a directory"), (LONG, "File name too long"),
             ("in.png/x.png", "Not a directory"), ("nowhere/x.png", "nowhere: no such folder")]  # fmt: skip
BAD_KINDS = [(f"x{suffix}", f"Pillow cannot write {suffix}") for suffix in (".heic", ".jxl", ".npy", ".cmb", ".xbm")]


@pytest.mark.parametrize(("name", "text"), BAD_NAMES + BAD_KINDS)
def test_names_that_will_not_do_are_found_before_a_file_is_decoded(name, text, run, folder):
    """The input is no .cmb file, which nobody has noticed."""
    (folder / "out").mkdir()
    code, _, err = run("decode", "in.png", "-o", name)
    assert code == 1 and text in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(("name", "text"), BAD_NAMES)
def test_names_that_will_not_do_are_found_before_a_picture_is_read(name, text, run, folder):
    (folder / "out").mkdir()
    code, _, err = run("encode", "in.cmb", "-o", name)
    assert code == 1 and text in err and len(err.splitlines()) == 1


def test_a_replaced_file_keeps_its_mode_and_other_links_their_content(run, folder):
    (folder / "x.png").write_bytes(OLD)
    (folder / "x.png").chmod(0o640)
    os.link(folder / "x.png", folder / "other")
    os.utime(folder / "x.png", (0, 0))
    assert run("decode", "in.cmb", "-o", "x.png")[0] == 0
    state = (folder / "x.png").stat()
    assert stat.S_IMODE(state.st_mode) == 0o640 and state.st_mtime > time.time() - 600
    assert (folder / "other").read_bytes() == OLD


@pytest.mark.parametrize(
    ("arguments", "name", "kind"),
    [
        (["-o", "x.jp2"], "x.jp2", "JPEG2000"),
        (["--format", "jp2"], "in.jp2", "JPEG2000"),
        (["--format", "jpg"], "in.jpg", "JPEG"),
        (["--format", "JPEG2000"], "in.jp2", "JPEG2000"),
        (["--format", ".webp", "--quality", "50"], "in.webp", "WEBP"),
        (["--format", "webp", "-o", "x.png"], "x.png", "WEBP"),
    ],
)
def test_formats_go_by_name_or_suffix(arguments, name, kind, run, folder):
    assert run("decode", "in.cmb", *arguments)[0] == 0
    assert Image.open(folder / name).format == kind


def test_jpeg_loses_little_unless_told_otherwise(run, folder):
    assert run("decode", "in.cmb", "-o", "x.png")[0] == 0
    exact, sizes = np.asarray(Image.open(folder / "x.png")).astype(float), []
    for quality in ([], ["--quality", "95"], ["--quality", "20"]):
        assert run("decode", "in.cmb", "-o", "x.jpg", *quality)[0] == 0
        sizes.append((folder / "x.jpg").stat().st_size)
        if not quality:
            error = np.mean((np.asarray(Image.open(folder / "x.jpg")) - exact) ** 2)
            assert 10 * np.log10(255**2 / error) > 40
    assert sizes[0] == sizes[1] > sizes[2]
    code, _, err = run("decode", "in.cmb", "-o", "x.png", "--quality", "50")
    assert code == 2 and "--quality is for JPEG, WEBP, AVIF" in err


def test_two_inputs_of_one_output_are_named_and_leave_no_folder(run, folder):
    (folder / "in.jpg").write_bytes(b"")
    code, _, err = run("encode", "in.png", "in.jpg", "--output-dir", "new")
    assert code == 2 and "in.png and in.jpg would both be written to new/in.cmb" in err
    assert not (folder / "new").exists()


def test_a_file_that_is_named_twice_is_one_job(run, folder):
    code, _, err = run("decode", "in.cmb", "./in.cmb", "../" + folder.name + "/in.cmb", "--output-dir", "out")
    assert code == 0 and len(err.splitlines()) == 1 and names(folder / "out") == ["in.png"]


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_link_has_an_output_of_its_own(command, run, folder):
    given, made = (".png", ".cmb") if command == "encode" else (".cmb", ".png")
    (folder / "tree").mkdir()
    (folder / "tree" / f"v1{given}").write_bytes((folder / f"in{given}").read_bytes())
    (folder / "tree" / f"latest{given}").symlink_to(f"v1{given}")
    code, _, err = run(command, "tree", "--output-dir", "out")
    assert code == 0 and names(folder / "out") == [f"latest{made}", f"v1{made}"], err
    first, second = (path.read_bytes() for path in (folder / "out").iterdir())
    assert first == second
    code, _, err = run(command, "tree", "tree", f"tree/v1{given}", "--output-dir", "again")
    assert code == 0 and names(folder / "again") == [f"latest{made}", f"v1{made}"], err


def test_what_a_folder_holds_besides_is_counted_in_one_line(run, folder, monkeypatch):
    (folder / "tree" / "deep").mkdir(parents=True)
    Image.open(folder / "in.png").save(folder / "tree" / "a.png")
    for name in ("1.txt", "deep/2.TXT", "deep/3.txt", "b.xcf", "Makefile", ".hidden", "old.cmb"):
        (folder / "tree" / name).write_bytes(b"")
    code, _, err = run("encode", "tree", "--output-dir", "out")
    assert code == 0
    assert err.splitlines()[0] == "tree: left out 3 .txt, 1 without suffix, 1 .xcf" and len(err.splitlines()) == 2
    assert run("encode", "tree", "--output-dir", "out", "-f", "-q") == (0, b"", "")


def test_pictures_of_the_same_stem_are_kept_apart_where_that_is_asked_for(run, folder):
    (folder / "tree").mkdir()
    for name in ("a.png", "a.jpg"):
        Image.open(folder / "in.png").save(folder / "tree" / name)
    code, _, err = run("encode", "tree", "--output-dir", "out")
    assert code == 2 and "would both be written to out/a.cmb (--append-extension keeps both)" in err
    assert run("encode", "tree", "--output-dir", "out", "--append-extension")[0] == 0
    assert names(folder / "out") == ["a.jpg.cmb", "a.png.cmb"]
    assert run("encode", "in.png", "--append-extension")[0] == 0 and (folder / "in.png.cmb").exists()
    (folder / "other").mkdir()
    (folder / "other" / "a.png").write_bytes(b"")
    code, _, err = run("encode", "tree/a.png", "other/a.png", "--output-dir", "out")
    assert code == 2 and "out/a.cmb\n" in err


def test_one_existing_output_does_not_stop_the_others(run, folder):
    (folder / "second.cmb").write_bytes((folder / "in.cmb").read_bytes())
    (folder / "in.png").write_bytes(OLD)
    code, _, err = run("decode", "in.cmb", "second.cmb")
    assert code == 1 and "in.png exists: use -f" in err and "1 of 2 inputs failed" in err
    assert (folder / "in.png").read_bytes() == OLD and Image.open(folder / "second.png").size == (40, 40)
    (folder / "second.png").write_bytes(OLD)
    code, _, err = run("decode", "in.cmb", "second.cmb", "--skip-existing")
    assert code == 0 and "in.png exists, skipped" in err and (folder / "second.png").read_bytes() == OLD
    assert run("decode", "in.cmb", "--skip-existing", "--force")[0] == 2


def test_the_output_may_be_the_second_name(run, folder):
    assert run("encode", "in.png", "x.cmb")[0] == run("decode", "x.cmb", "x.bmp")[0] == 0
    assert Image.open(folder / "x.bmp").format == "BMP"
    code, _, err = run("encode", "in.png", "in.cmb")
    assert code == 1 and "in.cmb exists: use -f" in err


def test_folders_are_mirrored(run, folder):
    tree = folder / "tree"
    for name in ("a.png", "deep/er/b.JPG", "deep/.hidden/c.png", ".d.png"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        Image.open(folder / "in.png").save(tree / name)
    (tree / "notes.txt").write_text("not a picture")
    code, _, err = run("encode", "tree", "in.png", "--output-dir", "new/out")
    assert code == 0, err
    assert names(folder / "new" / "out") == ["a.cmb", "deep/er/b.cmb", "in.cmb"]
    assert run("decode", "new/out", "--output-dir", "back", "--format", "bmp")[0] == 0
    assert names(folder / "back") == ["a.bmp", "deep/er/b.bmp", "in.bmp"]
    code, _, err = run("encode", "tree")
    assert code == 2 and "tree is a folder: name an --output-dir" in err
    (folder / "empty").mkdir()
    code, _, err = run("encode", "empty", "in.png", "--output-dir", "third")
    assert code == 1 and "empty: no files in it" in err and names(folder / "third") == ["in.cmb"]


def test_files_of_a_batch_are_written_as_they_are_done_and_ctrl_c_keeps_them(folder, tiny_prior_file):
    """The first pictures fill a batch; the last input is a pipe that never speaks."""
    large = Image.fromarray(smooth_pictures(1, 512)[0])
    for name in ("a", "b"):
        large.save(folder / f"{name}.png")
    os.mkfifo(folder / "silent.png")
    command = [COMBINER, "encode", "a.png", "b.png", "silent.png", "--output-dir", "out", "--effort", "fast"]
    process = subprocess.Popen([*command, "--prior", str(tiny_prior_file)], cwd=folder, stderr=subprocess.PIPE,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))  # fmt: skip
    until = time.time() + 120
    while time.time() < until and (not (folder / "out").exists() or names(folder / "out") != ["a.cmb", "b.cmb"]):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert b"interrupted" in process.communicate(timeout=60)[1] and process.returncode == 130
    assert names(folder / "out") == ["a.cmb", "b.cmb"]


def test_the_bar_names_the_file_and_counts(folder, tiny_prior_file):
    Image.open(folder / "in.png").resize((520, 520)).save(folder / "large.png")
    ours, theirs = pty.openpty()
    process = subprocess.Popen([COMBINER, "encode", "in.png", "large.png", "--output-dir", "out", "--effort", "fast",
                                "--prior", str(tiny_prior_file)], cwd=folder, stderr=theirs,
                               env=os.environ | {"COLUMNS": "120", "TERM": "xterm"})  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:
        pass
    assert process.wait(60) == 0
    assert b"file 2 of 2: large.png" in shown and b"in.cmb: " in shown


@pytest.mark.parametrize(("side", "most"), [(2, 256), (8, 256), (32, 256), (64, 64)])
def test_a_batch_has_as_many_latents_whatever_the_size_of_its_pictures(side, most):
    """A picture smaller than a block has all latents of one: 100,000 tiny pictures are no batch."""
    picture = np.zeros((side, side, 3), np.uint8)
    waiting = (Input(Job("in", "out"), number, picture, picture.shape[:2]) for number in range(600))
    sizes = [len(batch) for _, batch in batches(waiting, priors.load("small"))]
    assert max(sizes) == most and sum(sizes) == 600
