"""README's commands and its Python run from top to bottom in a fresh folder, as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SAMPLES = Path("assets/samples")
SIZE = 40, 24  # pixels, so that the goals take seconds
WORDS = 1400  # that a reader has patience for


def blocks(language: str) -> list[str]:
    """What stands between fences of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder with a small picture in the place of the large sample, in which the commands have run."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / SAMPLES).mkdir(parents=True)
    with Image.open(ROOT / SAMPLES / "hippos-64x48.png") as picture:
        picture.crop((0, 0, *SIZE)).save(folder / SAMPLES / "hippos.png")
    (commands,) = blocks("sh")
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": programs, "OMP_NUM_THREADS": "1"}
    script = ["bash", "-euo", "pipefail", "-c", commands]
    done = subprocess.run(script, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "build" / "try"


def test_every_output_of_the_commands_is_there(checkout):
    named = re.findall(r"(?:-o|>) (\w[\w.]+)", blocks("sh")[0])
    assert len(named) > 7 and all((checkout / name).stat().st_size for name in named)
    assert (checkout / "small.cmb").stat().st_size <= 4000
    assert (checkout / "preview.cmb").stat().st_size <= 200
    assert (checkout / "coded" / "in.cmb").read_bytes() == (checkout / "out.cmb").read_bytes()


def test_the_python_runs_too(checkout):
    (program,) = blocks("python")
    done = subprocess.run([sys.executable, "-c", program], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{SIZE}\n"


def test_it_can_be_read_in_one_sitting():
    assert len(README.split()) <= WORDS
