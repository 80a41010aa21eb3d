"""What goes to a machine with a GPU and comes back: photographs in few bytes, checkpoints in parts."""

import subprocess
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

from conftest import busy_pictures
from scripts import pack_photos

SCRIPT = Path(__file__).parents[1] / "scripts" / "in_parts.sh"


def test_photographs_are_cut_to_a_size_and_hardly_change(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, picture in enumerate(busy_pictures(3, 512)):
        Image.fromarray(picture).save(folder / f"{number}.jpg", quality=90)
    done = CliRunner().invoke(pack_photos.main, [str(folder), "-o", str(tmp_path / "packed"), "--mib", "0.2"])
    assert done.exit_code == 0, done.output
    packed = sorted((tmp_path / "packed").iterdir())
    assert len(packed) == 3 and sum(path.stat().st_size for path in packed) <= 0.2 * 2**20
    rng = np.random.default_rng(0)
    path = folder / "0.jpg"
    box = pack_photos.cut((512, 512), 0.5, rng)
    assert all(edge % 16 == 0 for edge in box)
    pack_photos.pack([path], tmp_path / "one", 0.5)
    before = np.asarray(Image.open(path).crop(box), np.float64)
    after = np.asarray(Image.open(tmp_path / "one" / "photos-0.jpg"), np.float64)
    assert before.shape == after.shape and np.abs(before - after).mean() < 1


def test_a_training_goes_on_from_the_parts_of_its_checkpoints(tmp_path):
    """Also where a run was cut off while it put new parts in the place of old ones."""
    count = "cat ck/steps 2>/dev/null | wc -c; printf x >> ck/steps"
    for run in range(3):
        for old in tmp_path.glob("ck/*"):
            old.unlink()  # another machine
        line = ["bash", SCRIPT, "ck", "out", "bash", "-c", count]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert int(done.stdout) == run
        if run == 1:
            (tmp_path / "out/checkpoint").rename(tmp_path / "out/checkpoint.old")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint"]
