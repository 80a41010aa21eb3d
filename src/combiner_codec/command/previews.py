"""What `combiner preview` and `encode --data-url` print: a line for every input."""

import base64
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from ..picture import scaling
from ..picture.data_url import data_url
from .files import label
from .inputs import Input

if TYPE_CHECKING:
    from ..encoder.encoded import Encoded

INLINE_SIDE = 32  # pixels of the square that the PNG of --inline fits
STOPS = 4  # of a gradient


class Printer(Protocol):
    """Makes lines of inputs."""

    def line(self, entry: Input, result: "Encoded") -> str:
        """Of an input that was encoded."""

    def failed(self, source: str, problem: str) -> str:
        """Of one that was not."""


class DataUrls:
    """The file alone; nothing for an input that failed."""

    def line(self, entry: Input, result: "Encoded") -> str:
        return data_url(result.data)

    def failed(self, source: str, problem: str) -> str:
        return ""


@dataclass(frozen=True)
class JsonLines:
    """An object with all that a page may want."""

    inline: bool = False  # the decoded picture as a PNG
    css: bool = False  # a gradient

    def line(self, entry: Input, result: "Encoded") -> str:
        height, width = entry.shape
        pixels = np.asarray(Image.fromarray(result.pixels).convert("RGBA"))
        colour = hexadecimal(mean_colour(pixels))
        found = {
            "file": entry.source,
            "width": width,
            "height": height,
            "cmb": data_url(result.data, colour),
            "color": colour,
        }
        if self.css:
            found["css"] = gradient(pixels)
        if self.inline:
            found["png"] = png_url(pixels)
        return json.dumps(found, separators=(",", ":"))

    def failed(self, source: str, problem: str) -> str:
        return json.dumps({"file": label(source), "error": problem}, separators=(",", ":"))


def mean_colour(pixels: np.ndarray) -> np.ndarray:
    """Of uint8 (..., 4), each weighted by its opacity: (3,) in 0 to 255."""
    flat = pixels.reshape(-1, 4).astype(np.float64)
    colours, opacity = flat[:, :3], flat[:, 3:]
    if not opacity.any():
        opacity = np.ones_like(opacity)
    return (colours * opacity).sum(0) / opacity.sum()


def hexadecimal(colour: np.ndarray) -> str:
    """As CSS has it: (3,) -> "#rrggbb"."""
    red, green, blue = np.rint(colour).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def gradient(pixels: np.ndarray) -> str:
    """A linear-gradient of CSS along the axis that shows more: (H, W, 4) uint8."""
    down = _stops(pixels)
    across = _stops(pixels.swapaxes(0, 1))
    if np.ptp(down, axis=0).sum() >= np.ptp(across, axis=0).sum():
        direction, stops = "180deg", down
    else:
        direction, stops = "90deg", across
    return f"linear-gradient({direction},{','.join(map(hexadecimal, stops))})"


def _stops(pixels):
    """Mean colours of bands of rows: (H, W, 4) -> (n, 3)."""
    bands = np.array_split(pixels, min(STOPS, len(pixels)))
    return np.array([mean_colour(band) for band in bands])


def png_url(pixels: np.ndarray) -> str:
    """A picture (H, W, 4), scaled down, as a PNG's data: URL."""
    if pixels[..., 3].min() == 255:
        pixels = pixels[..., :3]
    file = io.BytesIO()
    Image.fromarray(scaling.fitted(np.ascontiguousarray(pixels), INLINE_SIDE)).save(file, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
