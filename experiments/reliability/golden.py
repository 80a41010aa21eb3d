"""Golden files: what later versions must decode to the same indices, weights and pixels.

`write` makes them anew, which only versions before 1.0 may do, and says why in the folder's README; `check` compares.
"""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
from PIL import Image

import combiner_codec
from combiner_codec import decoder
from combiner_codec.errors import FormatError
from combiner_codec.format import prior as priors
from combiner_codec.format.plane import InrPlane
from combiner_codec.format.prior import Prior
from combiner_codec.format.streams import read_indices
from combiner_codec.picture.exact import VP8L_SIDE

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "golden"
LOG = FOLDER / "README.md"
MARK = "<!-- golden: `make golden` adds a line below -->\n"
SAMPLES = ROOT / "assets" / "samples"
CUSTOM = "custom.npz"  # a prior that no release contains
LOOSE = 1e-4  # share of the samples of a picture above EXACT_PIXELS that may be one step off


@dataclass(frozen=True)
class Golden:
    """How a golden file is made."""

    name: str
    picture: np.ndarray
    beta: float
    prior: str = ""  # by size
    seed: int = 0
    effort: str = "fast"
    point: int | None = None
    kind: str = "inr"


def plans() -> list[Golden]:
    """How all of them are made."""
    hippos, small, tiny = (
        np.array(Image.open(SAMPLES / f"{name}.png").convert("RGB"))
        for name in ("hippos", "hippos-64x48", "architecture-32")
    )
    largest = max((priors.load(name) for name in priors.MANIFEST), key=lambda prior: len(prior.data))
    finest = int(np.argmin(largest.betas))
    return [
        Golden("1x1", tiny[16:17, 16:17], 0.003),
        Golden("7x5", tiny[8:13, 8:15], 0.001),
        Golden("32x32", tiny, 0.003, effort="normal"),
        Golden("64x48", small, 0.002, effort="normal"),
        Golden("grey", np.array(Image.fromarray(small).convert("L")), 0.002, seed=7),
        Golden("331x17", hippos[200:217, 100:431], 0.004, seed=2**40),
        Golden("colourful", of_strong_colour(hippos[100:228, 200:360]), 0.01),
        Golden("photograph", hippos[200:456, 200:584], 0.005),
        Golden("largest-prior", tiny, 1e-5, largest.name, effort="best", point=finest),
        Golden("grey-as-rgb", np.repeat(tiny[..., 1:2], 3, 2), 0.002),
        Golden("one-colour", np.full((40, 64, 3), (12, 200, 99), np.uint8), 0.003),
        Golden("alpha", np.dstack([small, disc(48, 64, 20)]), 0.004, seed=3),
        Golden("icon", np.dstack([0 * tiny, disc(32, 32, 12)]), 0.003),
        Golden("siren", tiny, 0.002, "combiner-cifar"),
        Golden("custom", tiny[:20, :40], 0.002, CUSTOM, seed=1),
        Golden("lossless", np.dstack([small // 64 * 64, disc(48, 64, 20)]), 0.003, kind="lossless"),
        Golden("png-inside", np.arange(VP8L_SIDE + 1).astype(np.uint8)[None] // 64 * 64, 0.003, kind="lossless"),
        Golden(
            "mask", np.dstack([small, np.where(disc(48, 64, 20) > 127, 255, 0).astype(np.uint8)]), 0.02, kind="auto"
        ),
        Golden("layer", beside_writing(hippos[200:328, 200:296]), 0.005, kind="auto"),
    ]


def beside_writing(picture: np.ndarray) -> np.ndarray:
    """A picture, (H, W, 3) uint8, and right of it as much again of what looks like lines of print."""
    height, width = picture.shape[:2]
    rng = np.random.default_rng(0)
    marks = rng.random((height // 2, width // 2)) < 0.4
    marks[::4] = False
    ink = marks.repeat(2, 0).repeat(2, 1)[..., None]
    page = np.where(ink, np.uint8(30), np.uint8(250)).repeat(3, 2)
    return np.concatenate([picture, page], 1)


def of_strong_colour(picture: np.ndarray) -> np.ndarray:
    """A picture with its contrast in red for the most part, so that it has colour axes of its own: (H, W, 3) uint8."""
    shares = np.array([1.0, 0.3, 0.1])
    return np.rint(picture[..., 1:2] * shares + 20).clip(0, 255).astype(np.uint8)


def disc(height: int, width: int, radius: float) -> np.ndarray:
    """Alpha of a disc with a soft edge: (H, W) uint8."""
    y, x = np.mgrid[:height, :width]
    away = np.hypot(y - height / 2 + 0.5, x - width / 2 + 0.5)
    return np.rint(255 * np.clip(radius + 0.5 - away, 0, 1)).astype(np.uint8)


def prior_of(name: str) -> Prior | None:
    """The prior that a plan names; None where its size decides."""
    return priors.load_file(FOLDER / CUSTOM) if name == CUSTOM else priors.load(name) if name else None


def digests(data: bytes, prior: Prior | None) -> dict[str, str]:
    """SHA-256 of a file, of its indices (int64) and weights (float64) and of its pixels (uint8)."""
    contents = decoder.parse(data, prior)
    planes = [plane for plane in (contents.colour, contents.alpha) if isinstance(plane, InrPlane)]
    indices = np.concatenate([[], *map(indices_of, planes)])
    weights = np.concatenate([[], *map(weights_of, planes)])
    parts = data, indices.astype("<i8"), weights.astype("<f8"), decoder.decode_array(data, prior)
    return dict(zip(("file", "indices", "weights", "pixels"), map(sha, parts), strict=True))


def indices_of(plane: InrPlane) -> np.ndarray:
    """Indices of all groups of blocks."""
    group_bits = plane.point.group_bits
    return read_indices(plane.streams[-1], plane.blocks.lengths // group_bits, group_bits, plane.header.index_bits)


def weights_of(plane: InrPlane) -> np.ndarray:
    """The coded sample of all blocks' latents, in a row."""
    return decoder.sample(plane.header, plane.blocks, plane.streams[-1], np.float64, slice(None)).reshape(-1)


def sha(part: bytes | np.ndarray) -> str:
    """SHA-256 of bytes or of an array's."""
    return hashlib.sha256(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes()).hexdigest()


def manifest() -> dict:
    """Digests of every file, and the version that made them."""
    return json.loads((FOLDER / "manifest.json").read_text())


def identity(files: dict) -> str:
    """Short name of a set of golden files."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:12]


def read(name: str) -> tuple[bytes, Prior | None, np.ndarray]:
    """A golden file, the custom prior it needs, and the pixels it is to show."""
    prior = prior_of(CUSTOM) if name == "custom" else None
    return (FOLDER / f"{name}.cmb").read_bytes(), prior, np.array(Image.open(FOLDER / f"{name}.png"))


def moved(pixels: np.ndarray, expected: np.ndarray) -> tuple[int, int]:
    """How many samples differ, and by how many steps at most."""
    steps = np.abs(pixels.astype(np.int16) - expected)
    return np.count_nonzero(steps), int(steps.max())


def check(name: str, expected: dict) -> list[str]:
    """What of a golden file is no longer as it was."""
    data, prior, pixels = read(name)
    try:
        found, decoded = digests(data, prior), decoder.decode_array(data, prior)
    except FormatError as error:
        return [f"refused: {error}"]
    faults = [f"other {part}" for part in ("file", "indices", "weights") if found[part] != expected[part]]
    count, steps = moved(decoded, pixels)
    exact = pixels.shape[0] * pixels.shape[1] <= decoder.EXACT_PIXELS
    if (exact and found["pixels"] != expected["pixels"]) or steps > 1 or count > LOOSE * pixels.size:
        faults.append(f"{count} of {pixels.size} samples moved, by up to {steps}")
    return faults


def make_custom() -> None:
    """A prior of its own: the released SIREN with another mean, and groups and indices of 8 bits."""
    prior = priors.load("combiner-cifar")
    point = prior.operating_point(0)
    changed = replace(point, mean=point.mean / 2, group_bits=8, index_bits=8)
    priors.save(FOLDER / CUSTOM, prior.metadata, prior.architecture, [changed])


def write(why: str, new: bool = False) -> str:
    """Make all golden files anew, or the new ones alone; the line for the log, which the caller sees to."""
    if int(combiner_codec.__version__.split(".")[0]) >= 1:
        raise SystemExit(
            "golden files are frozen since 1.0: a change of what they decode to needs a new format version"
        )
    if not why.strip():
        raise SystemExit('say why: make golden WHY="new prior for photographs"')
    FOLDER.mkdir(exist_ok=True)
    files = manifest()["files"] if new else {}
    if not new:
        for old in FOLDER.iterdir():
            if old != LOG:
                old.unlink()
        make_custom()
    files |= {plan.name: make(plan) for plan in plans() if plan.name not in files}
    text = json.dumps({"version": combiner_codec.__version__, "files": files}, indent=1)
    (FOLDER / "manifest.json").write_text(text + "\n")
    return f"- `{identity(files)}`, {date.today()}: {why.strip()}"


def make(plan: Golden) -> dict[str, str]:
    """Write one golden file and the picture it is to show; its digests."""
    from combiner_codec.encoder.kinds import encode_pictures
    from combiner_codec.encoder.settings import Settings

    prior = prior_of(plan.prior)
    chosen = prior or priors.default(*plan.picture.shape[1::-1])
    settings = Settings(plan.beta, plan.effort, plan.seed, "cpu", point=plan.point, kind=plan.kind)
    (result,) = encode_pictures([plan.picture], chosen, settings)
    (FOLDER / f"{plan.name}.cmb").write_bytes(result.data)
    Image.fromarray(result.pixels).save(FOLDER / f"{plan.name}.png", optimize=True)
    return digests(result.data, prior)


def log(line: str) -> None:
    """Put a line first in the log."""
    head, tail = LOG.read_text(encoding="utf-8").split(MARK)
    LOG.write_text(f"{head}{MARK}{line}\n{tail}", encoding="utf-8")


def logged() -> list[str]:
    """Short names of all sets of golden files that the log tells of, the newest first."""
    _, tail = LOG.read_text(encoding="utf-8").split(MARK)
    return re.findall(r"^- `(\w+)`, [\d-]{10}: .", tail, re.M)
