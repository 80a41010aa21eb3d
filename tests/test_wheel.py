"""A wheel built from the project contains the priors and works from an empty folder."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from combiner_codec.prior import MANIFEST

ROOT = Path(__file__).parents[1]


def test_the_wheel_works_from_an_empty_folder(tmp_path):
    source, dist, target = tmp_path / "source", tmp_path / "dist", tmp_path / "installed"
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".venv", ".git", "build", "*.egg-info", "docs", "checkpoints")
    )
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", dist, source], check=True)
    (wheel,) = dist.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"combiner_codec/priors/{name}.npz" for name in MANIFEST} <= set(names)
    subprocess.run([*pip, "install", "--no-deps", "--target", target, wheel], check=True)
    picture = ROOT / "assets" / "samples" / "architecture-32.png"
    script = (
        f"import sys; sys.path.insert(0, {str(target)!r})\n"
        "import combiner_codec, combiner_codec.prior as p\n"
        f"assert combiner_codec.__file__.startswith({str(target)!r}) and p.folder().name == 'priors'\n"
        "assert p.folder().parent.name == 'combiner_codec'\n"
        "from PIL import Image\n"
        f"data = combiner_codec.encode(Image.open({str(picture)!r}), beta=0.003, effort='fast')\n"
        "print(len(data), combiner_codec.decode(data).size)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=dist, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(" ", 1)[1].strip() == "(32, 32)"
