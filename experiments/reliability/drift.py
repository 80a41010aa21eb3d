"""Golden files decoded in other ways: how many samples move, and by how much.

Other numpy versions run in environments of their own; `decode` is what is called there, and needs numpy alone.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from combiner_codec import decoder
from combiner_codec.format import prior as priors
from combiner_codec.synthesis.numpy_ops import NumpyOps

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "golden"
VARIANTS = {
    "as it is, all threads": {},
    "1 thread": {"threads": 1},
    "2 threads": {"threads": 2},
    "double precision throughout": {"double": True},
    "sines 1 ulp larger": {"ulp": np.inf},
    "sines 1 ulp smaller": {"ulp": -np.inf},
    "sines 1 ulp off, at random": {"ulp": 0},
}
BLAS_THREADS = (1, 2)


def decode(name: str, threads: int = 0, double: bool = False, ulp: float | None = None) -> np.ndarray:
    """Pixels of a golden file; `double` as small pictures are, `ulp` moves every sine up, down or (0) either way."""
    prior = priors.load_file(FOLDER / "custom.npz") if name == "custom" else None
    with moved_sines(ulp), all_in_double(double):
        return decoder.decode_array((FOLDER / f"{name}.cmb").read_bytes(), prior, 1 if ulp == 0 else threads)


@contextmanager
def moved_sines(ulp: float | None) -> Iterator[None]:
    """Sines towards `ulp` by one unit in the last place; 0: up or down at random, None: as they are."""
    sine, random = NumpyOps.sin, np.random.default_rng(0)

    def moved(x):
        x = sine(x)
        towards = np.asarray(ulp if ulp else random.choice((-np.inf, np.inf), x.shape), x.dtype)
        return np.nextafter(x, towards, out=x)

    try:
        NumpyOps.sin = staticmethod(sine if ulp is None else moved)
        yield
    finally:
        NumpyOps.sin = staticmethod(sine)


@contextmanager
def all_in_double(wanted: bool) -> Iterator[None]:
    """Pictures of any size decoded as small ones are."""
    exact = decoder.EXACT_PIXELS
    try:
        decoder.EXACT_PIXELS = 1 << 40 if wanted else exact
        yield
    finally:
        decoder.EXACT_PIXELS = exact


def version_of(python: str) -> str:
    """Version of numpy that a Python has."""
    command = [python, "-c", "import numpy; print(numpy.__version__)"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def elsewhere(python: str, blas: int) -> dict[str, np.ndarray]:
    """The golden files by another Python and with so many BLAS threads: pixels by name."""
    names = list(json.loads((FOLDER / "manifest.json").read_text())["files"])
    with tempfile.TemporaryDirectory() as folder:
        script = (
            "import sys, numpy as np\nfrom experiments.reliability.drift import decode\n"
            "np.savez(sys.argv[1], **{name: decode(name) for name in sys.argv[2:]})"
        )
        path = os.pathsep.join((str(ROOT), str(Path(decoder.__file__).parents[1])))
        limits = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(blas))
        command = [python, "-c", script, f"{folder}/out.npz", *names]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": path} | limits)
        return dict(np.load(f"{folder}/out.npz"))


def row(name: str, pictures: dict[str, np.ndarray]) -> str:
    """Samples of small and of large pictures that are not as the golden PNG has them."""
    from . import golden

    compared = []  # whether the picture is small, samples, moved, steps
    for picture, pixels in pictures.items():
        expected = golden.read(picture)[2]
        small = expected.shape[0] * expected.shape[1] <= decoder.EXACT_PIXELS
        compared.append((small, pixels.size, *golden.moved(pixels, expected)))
    return f"| {name} | {cell([c for c in compared if c[0]])} | {cell([c for c in compared if not c[0]])} |"


def cell(compared: Sequence[tuple[bool, int, int, int]]) -> str:
    """Samples of some pictures that moved, of how many, and by how many steps at most."""
    steps = max((own for *_, own in compared), default=0)
    text = f"{sum(moved for _, _, moved, _ in compared)} of {sum(samples for _, samples, _, _ in compared)}"
    return text + (f", {steps} {plural('step', steps)}" if steps else "")


def plural(noun: str, count: int) -> str:
    return noun + "s" * (count > 1)


def report(pythons: Sequence[str]) -> str:
    """All variants here, then this Python and each of those named with 1 and 2 BLAS threads, as a Markdown table.

    A version of numpy is measured once.
    """
    names = list(json.loads((FOLDER / "manifest.json").read_text())["files"])
    rows = ["| decoded | up to 128×128 | larger |", "| --- | ---: | ---: |"]
    for variant, options in VARIANTS.items():
        rows.append(row(variant, {name: decode(name, **options) for name in names}))
    versions, again = by_version([sys.executable, *pythons])
    for version, python in versions.items():
        for blas in BLAS_THREADS:
            rows.append(row(f"numpy {version}, {blas} BLAS {plural('thread', blas)}", elsewhere(python, blas)))
    note = [f"\nnumpy {', '.join(again)} was named more than once and is measured once."] if again else []
    return "\n".join([*rows, *note]) + "\n"


def by_version(pythons: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The first Python of each version of numpy, and the versions that others have too."""
    found: dict[str, str] = {}
    again = []
    for python in pythons:
        version = version_of(python)
        again += [version] if version in found else []
        found.setdefault(version, python)
    return found, list(dict.fromkeys(again))
