"""Trainings that were cut off go on: every command of docs/training.md and Makefile, with few crops and steps."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from combiner_codec.command.cli import cli
from combiner_codec.training import checkpoint
from combiner_codec.training.finish import drawn, graphics
from combiner_codec.training.together import measure
from conftest import busy_pictures

ROOT = Path(__file__).parents[1]
TWO_POINTS = ["--betas", "0.02,0.004", "--classes", "3,3"]
FEW = ["--batch", "2", "--crops", "3", "--holdout", "0", "--device", "cpu"]


def of_page() -> dict[str, list[str]]:
    """Its commands that train, by the prior that they make."""
    found = re.findall(r"^\$ combiner (train .*)", (ROOT / "docs" / "training.md").read_text(encoding="utf-8"), re.M)
    commands = [shlex.split(line, comments=True) for line in found]
    return {command[command.index("-o") + 1]: command for command in commands}


def of_makefile() -> dict[str, list[str]]:
    """What its targets run."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^TRAININGS := (.*)", makefile, re.M)[1].split()
    commands = {}
    for target in targets:
        make = ["make", "-n", target, "CIFAR=.", "PHOTOS=."]
        done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True)
        line = re.search(r"/combiner (train .*)", done.stdout)[1]
        commands[target] = shlex.split(line)
    return commands


COMMANDS = of_page() | of_makefile()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with all that the commands read; little is measured, and few pictures teach classes of graphics."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(drawn, "EACH", 1)
    monkeypatch.setattr(graphics, "ROUNDS", 1)
    monkeypatch.setattr(measure, "MEASURED_PIXELS", 2 * 128**2)
    for name in ("images.npy", "train.npy"):
        np.save(name, busy_pictures(4, 32))
    for seed, name in enumerate(("photos", "more", "train", "train2", "val", "val2")):
        Path(name).mkdir()
        for number, picture in enumerate(busy_pictures(2, 136, seed)):
            Image.fromarray(picture).save(Path(name, f"{number}.png"))
    return tmp_path


def run(command: list[str], *more: str):
    return CliRunner().invoke(cli, [*command, *more])


def cut_off(monkeypatch, command: list[str], *more: str) -> None:
    """The command, which is interrupted once it has saved its second checkpoint."""
    saved = []
    write = checkpoint.write

    def interrupted(path, members):
        write(path, members)
        saved.append(path)
        if len(saved) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "SAVE_EVERY", 0)
        patch.setattr(checkpoint, "write", interrupted)
        assert run(command, *more).exit_code
    assert len(saved) == 2


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_command_goes_on_where_it_was_cut_off(command, folder, monkeypatch):
    """And writes the very file that it would have written."""
    few = [*FEW, "--steps", "4"]
    if "combiner-cifar" not in command and "--start" not in command:
        few += TWO_POINTS
    output = Path(command[command.index("-o") + 1])
    checkpoints = Path(command[command.index("--checkpoints") + 1])
    done = run(command, *few)
    assert done.exit_code == 0, done.output
    whole = output.read_bytes()
    output.unlink()
    shutil.rmtree(checkpoints)
    cut_off(monkeypatch, command, *few)
    assert not output.exists()
    done = run(command, *few)
    assert done.exit_code == 0, done.output
    assert output.read_bytes() == whole


@pytest.mark.parametrize("family", ["small", "combiner-cifar"])
def test_no_more_minutes_write_what_has_been_learned(family, folder, monkeypatch):
    command = ["train", "images.npy", "--family", family, "--checkpoints", "ck", "-o", "my.npz", *FEW]
    if family == "small":
        command += TWO_POINTS
    cut_off(monkeypatch, command, "--steps", "4")
    done = run(command, "--minutes", "0")
    assert done.exit_code == 0, done.output
    assert Path("my.npz").exists()


def damages(whole: bytes) -> dict[str, bytes]:
    """Files that are no checkpoints."""
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    foreign = Path("foreign.pt")
    torch.save({"weights": torch.zeros(3)}, foreign)
    return {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "flipped": bytes(flipped),
        "text": b"not a checkpoint",
        "foreign": foreign.read_bytes(),
        "prior": (ROOT / "assets/priors/small.npz").read_bytes(),
    }


@pytest.mark.parametrize(("family", "name"), [("small", "joint.pt"), ("combiner-cifar", "siren.pt")])
def test_a_damaged_checkpoint_is_named(family, name, folder):
    command = ["train", "images.npy", "--family", family, "--checkpoints", "ck", "-o", "my.npz", *FEW, "--steps", "1"]
    if family == "small":
        command += TWO_POINTS
    assert run(command).exit_code == 0
    path = Path("ck", name)
    whole = path.read_bytes()
    for damage, data in damages(whole).items():
        path.write_bytes(data)
        error = run(command).exception
        assert type(error).__name__ == "FormatError", damage
        assert str(path) in str(error) and "\n" not in str(error), damage
    path.write_bytes(whole)
    assert run(command).exit_code == 0


@pytest.mark.parametrize(("family", "other"), [("small", ["--seed", "1"]), ("combiner-cifar", ["--betas", "0.004"])])
def test_a_checkpoint_of_other_settings_is_refused(family, other, folder):
    command = ["train", "images.npy", "--family", family, "--checkpoints", "ck", "-o", "my.npz", *FEW, "--steps", "1"]
    if family == "small":
        command += TWO_POINTS
    assert run(command).exit_code == 0
    error = run(command, *other).exception
    assert "made with other settings" in str(error)
