"""A wheel built from the project contains the whole package with its priors, nothing else, and works elsewhere."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from combiner_codec.format.prior import MANIFEST

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "combiner_codec"
LEFT_OUT = (".venv", ".git", "build", "dist", "*.egg-info", "docs", "checkpoints", "__pycache__")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*LEFT_OUT))
    subprocess.run([*PIP, "wheel", "--no-deps", "-w", folder, folder / "source"], check=True)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_holds_every_module_and_prior(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("combiner_codec/")}
    modules = {f"combiner_codec/{path.relative_to(PACKAGE)}" for path in PACKAGE.rglob("*.py")}
    published = {f"combiner_codec/{path.relative_to(PACKAGE)}" for path in PACKAGE.rglob("*.json")}
    assert published and names == modules | published | {f"combiner_codec/priors/{name}.npz" for name in MANIFEST}


def test_the_wheel_holds_no_experiment_and_no_manual(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"combiner_codec"}
    ours = {"manual.py", "cifar.py", "kodak.py", "paper.py", "ablation.py", "thumbnails.py", "golden.py", "hostile.py"}
    assert not ours & {Path(name).name for name in names}


def test_the_wheel_works_from_an_empty_folder(wheel, tmp_path):
    target = tmp_path / "installed"
    subprocess.run([*PIP, "install", "--no-deps", "--target", target, wheel], check=True)
    picture = ROOT / "assets" / "samples" / "architecture-32.png"
    script = (
        f"import sys; sys.path.insert(0, {str(target)!r})\n"
        "import combiner_codec, combiner_codec.format.prior as p\n"
        f"assert combiner_codec.__file__.startswith({str(target)!r}) and p.folder().name == 'priors'\n"
        "assert p.folder().parent.name == 'combiner_codec'\n"
        "from PIL import Image\n"
        f"data = combiner_codec.encode(Image.open({str(picture)!r}), beta=0.003, effort='fast')\n"
        "print(len(data), combiner_codec.decode(data).size)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(" ", 1)[1].strip() == "(32, 32)"
