"""The installed command, as a user runs it."""

import inspect
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import combiner_codec
from combiner_codec.command.cli import cli
from combiner_codec.command.terminal import OPTIONS
from combiner_codec.format import prior as priors
from conftest import smooth_pictures
from warm import run

COMBINER = str(Path(sys.executable).parent / "combiner")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "in.png"
    Image.fromarray(smooth_pictures(1, 40)[0]).save(path)
    return path


@pytest.fixture(scope="session")
def encoded_once(tmp_path_factory, tiny_prior_file):
    folder = tmp_path_factory.mktemp("encoded")
    Image.fromarray(smooth_pictures(1, 40)[0]).save(folder / "in.png")
    done = run("encode", folder / "in.png", "-o", folder / "kept.cmb", "--prior", tiny_prior_file, "--effort", "fast")
    assert done.returncode == 0, done.stderr
    return (folder / "kept.cmb").read_bytes()


@pytest.fixture
def encoded(picture, encoded_once):
    path = picture.with_name("kept.cmb")
    path.write_bytes(encoded_once)
    return path


def one_line(done, code, text):
    """The command failed with this code and one clear line."""
    lines = done.stderr.decode().strip().splitlines()
    assert done.returncode == code
    assert text in lines[-1] and "Traceback" not in done.stderr.decode()
    assert len(lines) == 1 or code == 2


def test_formats_without_alpha_refuse_it(tmp_path):
    alpha = Path(__file__).parent / "golden" / "alpha.cmb"
    one_line(run("decode", alpha, "-o", tmp_path / "out.jpg"), 1, "Pillow cannot write this picture as JPEG")
    assert run("decode", alpha, "-o", tmp_path / "out.webp").returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.webp"]


def test_encode_tells_size_rate_and_quality_that_the_decoder_confirms(picture, tiny_prior_file):
    out, back = picture.with_suffix(".cmb"), picture.with_name("back.png")
    done = run("encode", picture, "--prior", tiny_prior_file, "--effort", "fast", "--beta", "0.01")
    line = done.stderr.decode()
    assert done.returncode == 0 and done.stdout == b""
    assert f"{out.stat().st_size} bytes" in line and "bpp" in line and "dB" in line
    assert run("decode", out, "-o", back, "--prior", tiny_prior_file).returncode == 0
    a, b = (np.asarray(Image.open(p).convert("RGB")).astype(float) for p in (picture, back))
    psnr = 10 * np.log10(255**2 / np.mean((a - b) ** 2))
    assert f"{psnr:.2f} dB" in line
    assert stat.S_IMODE(out.stat().st_mode) == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_pipes(picture, encoded, tiny_prior_file):
    done = run("encode", "-", "-o", "-", "--prior", tiny_prior_file, "--effort", "fast", stdin=picture.read_bytes())
    assert done.stdout == encoded.read_bytes()
    back = run("decode", "-", "-o", "-", "--prior", tiny_prior_file, stdin=done.stdout)
    assert back.stdout.startswith(b"\x89PNG") and Image.open(picture).size == (40, 40)


def test_a_file_is_verified_unless_told_otherwise(picture, encoded, tiny_prior_file):
    """The same file; warnings go to standard error."""
    Image.fromarray((np.indices((40, 40)).sum(0) % 2 * 255).astype(np.uint8)).save(picture)
    arguments = ("encode", picture, "-o", "-", "--prior", tiny_prior_file, "--effort", "fast", "--beta", "1e-6")
    done, trusted = run(*arguments), run(*arguments, "--no-verify", "-q")
    assert done.returncode == trusted.returncode == 0 and done.stdout == trusted.stdout
    assert b"warning: only" in done.stderr and trusted.stderr == b""


def test_many_inputs_and_one_bad_file(picture, tiny_prior_file, tmp_path):
    (tmp_path / "bad.png").write_text("not a picture")
    Image.fromarray(smooth_pictures(1, 20)[0]).save(tmp_path / "b.png")
    inputs = [picture, tmp_path / "bad.png", tmp_path / "b.png"]
    done = run("encode", *inputs, "--output-dir", tmp_path / "out", "--effort", "fast", "--prior", tiny_prior_file)
    assert done.returncode == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["b.cmb", "in.cmb"]
    assert b"bad.png: not a picture" in done.stderr and b"1 of 3 inputs failed" in done.stderr


def test_info_counts_and_speaks_json(encoded, tiny_prior_file):
    done = run("info", encoded, "--json", "--prior", tiny_prior_file)
    facts = json.loads(done.stdout)
    assert [facts[name] for name in ("width", "height", "tiles", "blocks")] == [40, 40, 4, 4]
    assert facts["bytes"] == encoded.stat().st_size
    payload = facts["bytes"] - facts["header_bytes"]
    assert payload == -(-(4 * 3 + 6 * facts["groups"]) // 8)  # 3 bits for one of 5 classes, 6 for a group
    assert b"operating point" in run("info", encoded, "--prior", tiny_prior_file).stdout


@pytest.mark.parametrize("command", [["--help"], ["encode", "--help"], ["info", "x.cmb"]])
def test_commands_that_never_import_torch(command):
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from combiner_codec.command.cli import main\n"
        f"sys.argv = ['combiner', *{command}]; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "torch" not in done.stderr and done.returncode in (0, 1)


@pytest.mark.parametrize("command", [[], ["decode"], ["info"]])
def test_help_does_not_even_import_numpy(command):
    """It would cost 150 ms."""
    script = (
        "import sys\n"
        "from combiner_codec.command.cli import main\n"
        f"sys.argv = ['combiner', *{command}, '--help']\n"
        "try: main()\n"
        "finally: print({'numpy', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "set()", done.stderr


def test_decode_imports_no_more_than_it_needs(encoded, tiny_prior_file, tmp_path):
    """Each of these would cost 10 to 60 ms."""
    script = (
        "import sys\n"
        "from combiner_codec.command.cli import main\n"
        f"sys.argv = ['combiner', 'decode', {str(encoded)!r}, '-o', 'o.png', '--prior', {str(tiny_prior_file)!r}]\n"
        "try: main()\n"
        "finally: print({'torch', 'numpy.random', 'rich', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr
    assert Image.open(tmp_path / "o.png").size == (40, 40)


def test_a_make_rule_runs_once(picture, tiny_prior_file, tmp_path):
    (tmp_path / "Makefile").write_text(
        f"%.cmb: %.png\n\t{COMBINER} encode $< -o $@ --effort fast --prior {tiny_prior_file}\n"
    )
    first, second = (subprocess.run(["make", "in.cmb"], cwd=tmp_path, capture_output=True, text=True) for _ in range(2))
    assert first.returncode == second.returncode == 0
    assert "up to date" in second.stdout


@pytest.mark.parametrize("beta", ["0", "-1", "nan", "inf", "x"])
def test_bad_beta_is_bad_usage(beta, picture):
    done = run("encode", picture, "-o", "x.cmb", "--beta", beta)
    assert done.returncode == 2 and b"--beta" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["encode", "missing.png", "-o", "out.bin"], "No such file"),
        (["encode", "missing.png", "-o", "in.png"], "No such file"),
        (["encode", "notes.txt", "-o", "out.bin"], "not a picture"),
        (["decode", "kept.cmb", "-o", "out.psd"], "cannot write"),
        (["encode", "in.png", "-o", "nowhere/out.bin"], "no such folder"),
        (["encode", "in.png", "-o", "in.png"], "both input and output"),
        (["encode", "in.png", "-o", "out.bin", "--prior", "nothing"], "no prior named nothing"),
        (["decode", "in.png", "-o", "out.png"], "not a combiner file"),
        (["decode", "cut.cmb", "-o", "out.png"], "cut.cmb: "),
        (["decode", "empty", "-o", "out.png"], "truncated"),
        (["decode", "kept.cmb", "-o", "out.png", "--max-pixels", "1599"], "40 x 40 pixels are more than 1599"),
        (["info", "notes.txt"], "not a combiner file"),
        (["inspect", "kept.cmb", "--max-pixels", "1599"], "40 x 40 pixels are more than 1599"),
        (["decode", "data:image/png;base64,AAAA", "-o", "out.png"], "one of ours begins with data:image/x-combiner"),
        (["decode", "data:image/x-combiner;base64,y01!", "-o", "out.png"], "its data: URL is damaged"),
    ],
)
def test_bad_input_ends_in_one_line_and_no_file(arguments, text, picture, encoded):
    folder = picture.parent
    (folder / "notes.txt").write_text("just words")
    (folder / "empty").write_bytes(b"")
    (folder / "cut.cmb").write_bytes(encoded.read_bytes()[:-3])
    done = run(*arguments, cwd=folder)
    one_line(done, 1, text)
    assert not (folder / "out.bin").exists() and not (folder / "out.png").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["encode", "deep.tif", "-o", "out.bin"], "deep.tif: more than 8 bits per channel are not supported: round them"
         " (--to-8bit)"),
        (["decode", "kept.cmb", "-o", "out.png", "--max-pixels", "9"], "kept.cmb: 40 x 40 pixels are more than 9"
         " (--max-pixels N)"),
        (["info", "kept.cmb"], "name its file (--prior FILE)"),
    ],
)  # fmt: skip
def test_errors_end_with_the_option_that_helps(arguments, text, encoded):
    Image.new("I;16", (8, 8)).save(encoded.with_name("deep.tif"))
    done = run(*arguments, cwd=encoded.parent)
    one_line(done, 1, text)
    assert done.stderr.decode().endswith(f"{text}\n")


def test_every_parameter_that_an_error_names_is_an_option():
    """Those of the API, and each spelt as some command spells it."""
    sources = [path.read_text(encoding="utf-8") for path in Path(combiner_codec.__file__).parent.rglob("*.py")]
    named = set(re.findall(r'Error\(f?"[^\n]*", "(\w+)"\)', "\n".join(sources)))
    api = {
        name for call in (combiner_codec.encode, combiner_codec.decode) for name in inspect.signature(call).parameters
    }
    assert {"to_8bit", "max_pixels", "prior"} <= named <= set(OPTIONS) <= api
    spelt = {name for command in cli.commands.values() for option in command.params for name in option.opts}
    assert {option.split()[0] for option in OPTIONS.values()} <= spelt


def test_a_file_that_cannot_be_written_is_named_once(picture, tiny_prior_file, tmp_path):
    (tmp_path / "out").mkdir()
    done = run("encode", picture, "-o", tmp_path / "out", "--prior", tiny_prior_file, "--effort", "fast")
    one_line(done, 1, "Is a directory")
    assert done.stderr.decode().startswith(f"combiner: {tmp_path / 'out'}: ")


def test_a_name_the_command_chose_is_not_overwritten(picture, tiny_prior_file):
    picture.with_suffix(".cmb").write_bytes(b"precious")
    arguments = ("encode", picture, "--prior", tiny_prior_file, "--effort", "fast")
    one_line(run(*arguments), 1, "use -f")
    assert picture.with_suffix(".cmb").read_bytes() == b"precious"
    assert run(*arguments, "-f").returncode == 0


@pytest.mark.parametrize(("mode", "text"), [("I;16", "8 bits"), ("gif", "animated")])
def test_pictures_that_would_lose_data_are_refused(mode, text, tmp_path):
    path = tmp_path / ("a.gif" if mode == "gif" else "a.tif")
    if mode == "gif":
        frames = [Image.new("L", (8, 8), v) for v in (0, 200)]
        frames[0].save(path, save_all=True, append_images=frames[1:])
    else:
        Image.new(mode, (8, 8)).save(path)
    one_line(run("encode", path, "-o", tmp_path / "o.cmb"), 1, text)


def test_pictures_of_other_modes_are_encoded(tmp_path, tiny_prior_file):
    names = []
    for mode in ("L", "P", "1", "RGBA", "LA", "CMYK"):
        names.append(tmp_path / f"{mode}.tif")
        Image.fromarray(smooth_pictures(1, 20)[0]).convert(mode).save(names[-1])
    done = run("encode", *names, "--output-dir", tmp_path / "out", "--prior", tiny_prior_file, "--effort", "fast")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("*.cmb"))) == 6


def test_ctrl_c_ends_with_130(tmp_path):
    script = (
        "import combiner_codec.command.cli as c\n"
        "def stop(*a, **k): raise KeyboardInterrupt\n"
        "c.read_coded = stop\n"
        "import sys; sys.argv = ['combiner', 'info', 'x']\n"
        "c.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 130 and "interrupted" in done.stderr


def test_a_fit_that_fails_is_named_and_leaves_no_file(picture, tiny_prior, tmp_path):
    """A prior whose advice is steps that no fit survives."""
    points = [tiny_prior.operating_point(i) for i in range(2)]
    priors.save(tmp_path / "rash.npz", tiny_prior.metadata | {"rate": 1e30}, tiny_prior.architecture, points)
    done = run("encode", picture, "-o", tmp_path / "out.cmb", "--prior", tmp_path / "rash.npz", "--effort", "fast")
    one_line(done, 1, "in.png: the fit diverged")
    assert not (tmp_path / "out.cmb").exists()
