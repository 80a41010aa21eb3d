"""PSNR, (MS-)SSIM, SSIMULACRA 2 and Butteraugli of 8-bit RGB pictures."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ..errors import CombinerError
from ..picture.image import EQUAL
from ..picture.image import psnr as exact_psnr

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # weights of MS-SSIM (Wang, Simoncelli, Bovik 2003)
WINDOW = 11  # taps of a Gaussian window
DEVIATION = 1.5  # of it, in pixels
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2
BUTTERAUGLI = "butteraugli_main"  # of libjxl (Debian: libjxl-devtools); not a Python package
MULTISCALE = WINDOW * 2 ** (len(SCALES) - 1)  # shortest side that five scales of an 11-tap window need


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR over all three channels in dB, 100 for equal pictures."""
    return min(exact_psnr(a, b), EQUAL)


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """MS-SSIM of (H, W, 3) uint8 where the shorter side has 176 pixels, else SSIM; mean over RGB.

    Pictures below 11 pixels use a window of their shorter side.
    """
    x = a.astype(np.float32)
    y = b.astype(np.float32)
    if min(a.shape[:2]) < MULTISCALE:
        luminance, structure = _terms(x, y)
        return float((luminance * structure).mean())
    result = np.ones(3)
    for k, weight in enumerate(SCALES):
        luminance, structure = _terms(x, y)
        if k == len(SCALES) - 1:
            structure = luminance * structure
        value = structure.mean((0, 1))
        result *= np.maximum(value, 0) ** weight
        x = _half(x)
        y = _half(y)
    return float(result.mean())


def has_butteraugli() -> bool:
    """Whether its program is on PATH."""
    return shutil.which(BUTTERAUGLI) is not None


def butteraugli(a: np.ndarray, b: np.ndarray) -> float:
    """Butteraugli's 3-norm, a distance as the eye has it: 0 for equal pictures, less is better.

    (H, W, 3) uint8 as sRGB, at 80 nits (the program's default). Below 8 pixels it sees nothing. Raises CombinerError.
    """
    with tempfile.TemporaryDirectory() as folder:
        first = _png(Path(folder) / "a.png", a)
        second = _png(Path(folder) / "b.png", b)
        done = subprocess.run([BUTTERAUGLI, first, second], capture_output=True, text=True)
    _, found, norm = done.stdout.partition("3-norm: ")
    if done.returncode or not found:
        said = done.stderr.strip() or done.stdout.strip()
        raise CombinerError(f"{BUTTERAUGLI} failed: {said[-200:]}")
    return float(norm)


def has_ssimulacra2() -> bool:
    """Whether its package is installed."""
    return find_spec("ssimulacra2") is not None


def ssimulacra2(a: np.ndarray, b: np.ndarray) -> float:
    """SSIMULACRA 2 (Sneyers, 2022): 100 for equal pictures, 70 high quality, 30 low, below 0 very low.

    (H, W, 3) uint8 as sRGB. Needs the package of this name.
    """
    from ssimulacra2 import compute_ssimulacra2

    with tempfile.TemporaryDirectory() as folder:
        first = _png(Path(folder) / "a.png", a)
        second = _png(Path(folder) / "b.png", b)
        return float(compute_ssimulacra2(first, second))


@dataclass(frozen=True)
class EyeMetric:
    """A measure of what people see, of pictures whose shorter side has MULTISCALE pixels."""

    heading: str  # of its column
    digits: int  # after the point
    installed: Callable[[], bool]
    measure: Callable[[np.ndarray, np.ndarray], float]  # of an original and what was decoded
    about: str  # what the column holds
    missing: str  # why nothing new stands there


EYE = {  # by the name that --metrics takes; they take longer than PSNR and MS-SSIM, and are measured where asked for
    "ssimulacra2": EyeMetric(
        "SSIMULACRA 2",
        1,
        lambda: has_ssimulacra2(),
        lambda a, b: ssimulacra2(a, b),
        "SSIMULACRA 2: mean score, more is better, 100 at most; pictures from 176 pixels.",
        "SSIMULACRA 2: the package ssimulacra2 (in a checkout: pip install '.[bench]') is not installed, not measured.",
    ),
    "butteraugli": EyeMetric(
        "Butteraugli",
        3,
        lambda: has_butteraugli(),
        lambda a, b: butteraugli(a, b),
        "Butteraugli: mean 3-norm of libjxl's butteraugli_main, less is better; pictures from 176 pixels.",
        f"Butteraugli: {BUTTERAUGLI} (Debian: libjxl-devtools) is not on PATH, not measured.",
    ),
}
ALWAYS = ("psnr", "msssim")  # measured whatever is asked for
METRICS = (*ALWAYS, *EYE)
USUAL = (*ALWAYS, "butteraugli")  # where nothing else is asked for


def measurable(metrics: Sequence[str], shape: tuple[int, ...]) -> list[str]:
    """Names among EYE that can be measured here, of pictures of this shape or more."""
    if min(shape[:2]) < MULTISCALE:
        return []
    return [name for name in EYE if name in metrics and EYE[name].installed()]


def notes(metrics: Sequence[str]) -> list[str]:
    """A line about each of EYE that is asked for: what it is, or why it is not measured."""
    lines = []
    for name, metric in EYE.items():
        if name in metrics:
            lines.append(metric.about if metric.installed() else metric.missing)
    return lines


def missing(metrics: Sequence[str]) -> list[str]:
    """A line about each of EYE that is asked for and not installed."""
    return [EYE[name].missing for name in EYE if name in metrics and not EYE[name].installed()]


def _png(path: Path, pixels: np.ndarray) -> str:
    from PIL import Image

    Image.fromarray(pixels).save(path, compress_level=1)
    return str(path)


def _terms(x, y):
    """Luminance term and contrast-structure term of SSIM at every window position."""
    size = min(WINDOW, *x.shape[:2])
    away = np.arange(size) - (size - 1) / 2
    bell = np.exp(-((away / DEVIATION) ** 2) / 2)
    taps = (bell / bell.sum()).astype(np.float32)
    mean_x = _blur(x, taps)
    mean_y = _blur(y, taps)
    squares = mean_x**2 + mean_y**2
    product = mean_x * mean_y
    variances = _blur(x * x + y * y, taps) - squares
    covariance = _blur(x * y, taps) - product
    luminance = (2 * product + C1) / (squares + C1)
    structure = (2 * covariance + C2) / (variances + C2)
    return luminance, structure


def _blur(x, taps):
    """Separable window, valid positions only: (H, W, 3) -> (H - t + 1, W - t + 1, 3)."""
    height = x.shape[0] - len(taps) + 1
    width = x.shape[1] - len(taps) + 1
    rows = sum(tap * x[k : k + height] for k, tap in enumerate(taps))
    return sum(tap * rows[:, k : k + width] for k, tap in enumerate(taps))


def _half(x):
    """Mean of 2 by 2 blocks; an odd last row or column is dropped."""
    rows = x.shape[0] // 2
    columns = x.shape[1] // 2
    blocks = x[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, 3)
    return blocks.mean((1, 3))
