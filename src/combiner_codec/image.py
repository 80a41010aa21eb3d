"""Pillow <-> arrays: modes, orientation, the one rounding rule."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import FormatError

if TYPE_CHECKING:
    from PIL import Image


def load(source: bytes, name: str = "input") -> np.ndarray:
    """Picture file to (H, W, 3) uint8. Grey and palette pictures become RGB; what would lose data is refused."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(source)) as picture:
            picture.load()
            return pixels(picture, name)
    except FormatError:
        raise
    except Exception as error:  # Pillow raises many kinds on damaged files
        reason = "not a picture that Pillow can read" if "cannot identify" in str(error) else str(error)
        raise FormatError(f"{name}: {reason}") from error


def pixels(picture: "Image.Image", name: str = "image") -> np.ndarray:
    """Pillow image to (H, W, 3) uint8."""
    from PIL import ImageOps

    if getattr(picture, "n_frames", 1) > 1:
        raise FormatError(f"{name}: animated pictures are not supported")
    if picture.mode.startswith(("I", "F")):
        raise FormatError(f"{name}: only 8 bits per channel are supported, this picture has mode {picture.mode}")
    picture = ImageOps.exif_transpose(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if picture.getextrema()[3][0] < 255:
            raise FormatError(f"{name}: transparency is not supported: flatten the picture first")
    if picture.mode not in ("1", "L", "P", "RGB", "RGBA", "LA", "PA"):
        raise FormatError(f"{name}: colour mode {picture.mode} is not supported: convert the picture to RGB first")
    return np.array(picture.convert("RGB"))


def to_uint8(values: np.ndarray) -> np.ndarray:
    """The one rounding rule: [0, 1] to the nearest of 256 steps, halves to even."""
    return np.rint(np.clip(values * 255, 0, 255)).astype(np.uint8)


def save(array: np.ndarray, format: str) -> bytes:
    """Picture file from (H, W, 3) uint8; PNG with light compression, which is several times faster."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format=format, **({"compress_level": 2} if format == "PNG" else {}))
    return buffer.getvalue()


def format_of(path: Path) -> str:
    """Pillow's format for a file name; PNG where the name says nothing."""
    suffix = path.suffix.lower()
    if suffix in ("", ".png"):
        return "PNG"
    from PIL import Image

    Image.init()  # imports every format: slow
    kind = Image.EXTENSION.get(suffix, "PNG")
    if kind not in Image.SAVE:
        raise FormatError(f"{path}: Pillow cannot write {kind}")
    return kind


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 arrays in dB; infinite when equal."""
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
