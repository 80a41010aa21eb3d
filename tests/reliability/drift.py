"""Golden files decoded in other ways: how many samples move, and by how much.

Other numpy versions run in environments of their own; `decode` is what is called there, and needs numpy alone.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from combiner_codec import codec
from combiner_codec import prior as priors
from combiner_codec.inr import NumpyOps

FOLDER = Path(__file__).parents[1] / "golden"
VARIANTS = {
    "as it is, all threads": {},
    "1 thread": {"threads": 1},
    "2 threads": {"threads": 2},
    "double precision throughout": {"double": True},
    "sines 1 ulp larger": {"ulp": np.inf},
    "sines 1 ulp smaller": {"ulp": -np.inf},
    "sines 1 ulp off, at random": {"ulp": 0},
}


def decode(name: str, threads: int = 0, double: bool = False, ulp: float | None = None) -> np.ndarray:
    """Pixels of a golden file; `double` as small pictures are, `ulp` moves every sine up, down or (0) either way."""
    prior = priors.load_file(FOLDER / "custom.npz") if name == "custom" else None
    data = (FOLDER / f"{name}.cmb").read_bytes()
    sine, exact, random = NumpyOps.sin, codec.EXACT_PIXELS, np.random.default_rng(0)

    def moved(x):
        x = sine(x)
        towards = np.asarray(ulp if ulp else random.choice((-np.inf, np.inf), x.shape), x.dtype)
        return np.nextafter(x, towards, out=x)

    try:
        if double:
            codec.EXACT_PIXELS = 1 << 40
        if ulp is not None:
            NumpyOps.sin = staticmethod(moved)
        return codec.decode_array(data, prior, 1 if ulp == 0 else threads)
    finally:
        codec.EXACT_PIXELS, NumpyOps.sin = exact, staticmethod(sine)


def elsewhere(python: str, blas: int) -> dict[str, np.ndarray]:
    """The same by another Python and with so many BLAS threads: pixels by name."""
    names = list(json.loads((FOLDER / "manifest.json").read_text())["files"])
    with tempfile.TemporaryDirectory() as folder:
        script = (
            "import sys, numpy as np\nfrom reliability.drift import decode\n"
            "np.savez(sys.argv[1], version=np.__version__, **{name: decode(name) for name in sys.argv[2:]})"
        )
        path = os.pathsep.join((str(FOLDER.parent), str(Path(codec.__file__).parents[1])))
        limits = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(blas))
        command = [python, "-c", script, f"{folder}/out.npz", *names]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": path} | limits)
        return dict(np.load(f"{folder}/out.npz"))


def row(name: str, pictures: dict[str, np.ndarray]) -> str:
    """Samples of small and of large pictures that are not as the golden PNG has them."""
    from . import golden

    counts = {True: [0, 0, 0], False: [0, 0, 0]}  # samples, moved, steps
    for picture, pixels in pictures.items():
        expected = golden.read(picture)[2]
        sizes = counts[expected.shape[0] * expected.shape[1] <= codec.EXACT_PIXELS]
        count, steps = golden.moved(pixels, expected)
        sizes[0], sizes[1], sizes[2] = sizes[0] + pixels.size, sizes[1] + count, max(sizes[2], steps)
    cells = (f"{moved} of {samples}" + f", {steps} step{'s' * (steps > 1)}" * (steps > 0)
             for samples, moved, steps in (counts[True], counts[False]))  # fmt: skip
    return f"| {name} | " + " | ".join(cells) + " |"


def report(pythons: list[str]) -> str:
    """All variants here, and each of the Pythons named with 1 and 2 BLAS threads, as a Markdown table."""
    from . import golden

    rows = ["| decoded | up to 128×128 | larger |", "| --- | ---: | ---: |"]
    for name, options in VARIANTS.items():
        rows.append(row(name, {picture: decode(picture, **options) for picture in golden.manifest()["files"]}))
    for python in (sys.executable, *pythons):
        for blas in (1, 2):
            pictures = elsewhere(python, blas)
            version = pictures.pop("version")
            rows.append(row(f"numpy {version}, {blas} BLAS thread{'s' * (blas > 1)}", pictures))
    return "\n".join(rows) + "\n"
