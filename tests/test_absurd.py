"""Every command with absurd arguments and streams: one line or a word on usage, never a traceback."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from combiner_codec.command.cli import cli
from conftest import smooth_pictures

NAMES = ["", ".", "..", "/", "//", "missing", "missing/", "missing/..", "empty", "empty/", "in.png", "in.png/",
         "in.cmb", "cut.cmb", "words.txt", "nothing", "float.npy", "object.npy", "tiny.npz", "loop", "dangling",
         b"\xff\xfe.cmb", b"\xff.png", "a\nb.cmb", "-", "/dev/null", "/proc/self/mem", "x" * 300, "--", "--nothing",
         "-o", "-f"]  # fmt: skip
UPWARDS = ("..", "/", "//")  # folders that would all be looked through
FOLDERS = {"--output-dir", "--data-url", "preview"}  # with which a folder is one
BRIEF = ["--steps", "1", "--betas", "0.01", "--classes", "2", "--crops", "2"]
COMMANDS = {
    "encode": [["@"], ["@", "-o", "out.cmb"], ["in.png", "-o", "@"], ["@", "--output-dir", "out"], ["@", "@"],
               ["words.txt", "-o", "out.cmb", "--prior", "@"], ["words.txt", "-o", "o.cmb", "--save-posterior", "@"],
               ["words.txt", "--preview", "-o", "@"], ["@", "--data-url"], ["words.txt", "--side", "@"]],
    "decode": [["@"], ["@", "-o", "out.png"], ["words.txt", "-o", "@"], ["@", "--output-dir", "out"], ["@", "@"],
               ["in.cmb", "-o", "out.png", "--prior", "@"], ["words.txt", "--format", "@"],
               ["words.txt", "--size", "@"]],
    "info": [["@"], ["@", "--json"], ["in.cmb", "--prior", "@"]],
    "inspect": [["@"], ["in.cmb", "--image", "@"], ["in.cmb", "--posterior", "@"], ["words.txt", "--plot", "@"]],
    "train": [["@", "--checkpoints", "ck", "-o", "o.npz", *BRIEF], ["empty", "--checkpoints", "@", "-o", "o.npz"]],
    "bench": [["@", "--codec", "none", "--limit", "1", "--beta", "0"], ["empty", "--prior", "@"],
              ["empty", "--json", "@"]],
    "preview": [["@"], ["@", "--json"], ["words.txt", "--prior", "@"], ["words.txt", "--side", "@"]],
}  # fmt: skip
RUNNER = """
import json, os, sys, traceback
import numpy, PIL.Image  # once for all
import combiner_codec.command.cli, combiner_codec.picture.image, combiner_codec.format.prior
import combiner_codec.decoder, combiner_codec.encoder.settings
if sys.argv[1] == "inspect":
    import combiner_codec.inspect.figures, combiner_codec.inspect.text, matplotlib.pyplot
if sys.argv[1] in ("train", "bench"):
    import torch, combiner_codec.training.run, combiner_codec.bench.command
for number, arguments in enumerate(json.load(open("cases.json"))):
    if not os.fork():
        null = os.open(os.devnull, os.O_RDWR)
        said = os.open(f"said-{number}", os.O_WRONLY | os.O_CREAT)
        for stream, target in ((0, null), (1, null), (2, said)):
            os.dup2(target, stream)
        sys.argv = ["combiner", *map(os.fsdecode, map(bytes.fromhex, arguments))]
        try:
            combiner_codec.command.cli.main()
        except SystemExit as end:
            os._exit(end.code or 0)  # without torch's own slow end
        except BaseException:
            traceback.print_exc()
            os._exit(9)
    _, status = os.wait()
    print(os.waitstatus_to_exitcode(status))
"""


@pytest.fixture
def folder(tmp_path, small_file, tiny_prior_file):
    Image.fromarray(smooth_pictures(1, 40)[0]).save(tmp_path / "in.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.txt").write_text("just words")
    (tmp_path / "nothing").write_bytes(b"")
    np.save(tmp_path / "float.npy", np.zeros((2, 32, 32, 3), np.float32))
    np.save(tmp_path / "object.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "tiny.npz").write_bytes(tiny_prior_file.read_bytes())
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere/at/all")
    for name in (b"in.cmb", b"\xff\xfe.cmb", b"a\nb.cmb"):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(small_file)
    (tmp_path / "cut.cmb").write_bytes(small_file[:-3])
    return tmp_path


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_absurd_arguments_never_end_in_a_traceback(command, folder):
    """What is a picture meets no prior, so that nothing is fitted."""
    cases = [[command, *(name if part == "@" else part for part in line)] for line in COMMANDS[command]
             for name in NAMES if name not in UPWARDS or not FOLDERS & {command, *line}] + [[command]]  # fmt: skip
    if command in ("encode", "preview"):
        cases = [case if "--prior" in case else [*case, "--prior", "words.txt"] for case in cases]
    (folder / "cases.json").write_text(json.dumps([[os.fsencode(part).hex() for part in case] for case in cases]))
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, command], cwd=folder, capture_output=True, text=True, timeout=300
    )
    codes = [int(code) for code in done.stdout.split()]
    assert len(codes) == len(cases), done.stderr
    for number, (case, code) in enumerate(zip(cases, codes, strict=True)):
        said = (folder / f"said-{number}").read_text(errors="replace")
        assert code in (0, 1, 2) and "Traceback" not in said and "Warning" not in said, (case, code, said)
        assert (code == 0) or said.strip(), case
        assert code == 2 or "." in case or len(said.splitlines()) <= len(case), (case, said)


VALID = {
    "encode": ["in.png", "-o", "out.cmb", "--prior", "tiny.npz", "--effort", "fast"],
    "decode": ["in.cmb", "-o", "out.png", "--prior", "tiny.npz"],
    "info": ["in.cmb", "--prior", "tiny.npz"],
    "inspect": ["in.cmb", "--prior", "tiny.npz"],
    "bench": ["in.png", "--codec", "none", "--beta", "0.01", "--prior", "tiny.npz", "--effort", "fast"],
    "preview": ["in.png", "--prior", "tiny.npz"],
    "train": ["in.png", "--checkpoints", "ck", "-o", "o.npz"],
}
USUAL = dict.fromkeys(VALID, 0) | {"train": 1}  # nothing to learn from


@pytest.mark.parametrize("command", sorted(cli.commands))
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(closed, command, folder):
    """What writes to standard output fails without it."""
    line = " ".join([sys.executable, "-m", "combiner_codec", command, *VALID[command], "2> said", closed])
    done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, timeout=120)
    speaks = ">&-" in closed.replace("2>&-", "") and command in ("info", "inspect", "bench", "preview")
    assert done.returncode == (1 if speaks else USUAL[command]), (folder / "said").read_text()
    assert "Traceback" not in (folder / "said").read_text()
    if command in ("encode", "decode"):
        assert (folder / VALID[command][2]).stat().st_size > 50


NEEDED = ["encode - -o out.cmb <&-", "decode - -o out.png <&-", "info - <&-", "decode in.cmb -o - --prior tiny.npz >&-"]


@pytest.mark.parametrize("line", NEEDED)
def test_a_closed_stream_that_is_needed_is_one_line(line, folder):
    done = subprocess.run(["bash", "-c", f"{sys.executable} -m combiner_codec {line}"], cwd=folder,
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 1 and done.stderr == "combiner: stdio: Bad file descriptor\n"


@pytest.mark.parametrize(("command", "package"), [("encode", "torch"), ("train", "torch"), ("bench", "torch"),
                                                  ("inspect", "matplotlib"), ("bench", "matplotlib")])  # fmt: skip
def test_a_missing_package_is_one_line(command, package, folder):
    arguments = VALID[command] + (["--plot", "x.png"] if package == "matplotlib" else [])
    script = f"import sys; sys.modules[{package!r}] = None; sys.argv = ['combiner', {command!r}, *{arguments}]\n"
    script += "from combiner_codec.command.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and package in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
