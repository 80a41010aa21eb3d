"""Files of few colours: coarser points on the curve of a picture without loss. Without torch.

Dither makes error and file larger, so there is none. WebP's near-lossless levels are worse (docs/lab.md).
"""

from functools import cached_property

import numpy as np

from ..picture.palette import Histogram
from . import exact
from .encoded import Encoded

SIZES = (2, 4, 8, 16, 32, 64, 128, 256)  # colours that are tried
FEW_SIZES = (8, 32, 128)  # that tell whether any of them is worth it


class Palettes:
    """Files of one opaque picture, (H, W) or (H, W, 3) uint8, with fewer colours than it has."""

    def __init__(self, picture: np.ndarray):
        self.picture = picture
        self._palettes: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # by size: colours, and the nearest to each
        self._files: dict[int, Encoded] = {}  # by size, as they are asked for

    @cached_property
    def histogram(self) -> Histogram:
        """The picture's colours."""
        return Histogram.of(self.picture)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Those below the picture's number of colours."""
        return tuple(size for size in SIZES if size < len(self.histogram.colours))

    def error(self, size: int) -> float:
        """Squared error of a palette, summed over pixels and averaged over channels, without making its file."""
        return self.histogram.error(*self._palette(size)) / 255**2 / 3

    def file(self, size: int) -> Encoded:
        """With so many colours."""
        if size not in self._files:
            shown = self.shown(size, self.histogram.number)
            self._files[size] = exact.encoded(self.picture, shown)
        return self._files[size]

    def colours(self, size: int) -> np.ndarray:
        """The palette: (K, 3) uint8."""
        return self._palette(size)[0]

    def shown(self, size: int, numbers: np.ndarray) -> np.ndarray:
        """What a palette makes of some pixels, by the numbers of their colours: (h, w) -> (h, w) or (h, w, 3) uint8."""
        palette, nearest = self._palette(size)
        shown = palette[nearest][numbers]
        return shown if self.picture.ndim == 3 else np.ascontiguousarray(shown[..., 0])

    def any_below(self, most: float, beta: float) -> bool:
        """Whether a palette of FEW_SIZES has a smaller J, which falls and then rises with the number of colours."""
        last = np.inf
        for size in FEW_SIZES:
            if size not in self.sizes or self.error(size) >= most:
                continue
            cost = self.file(size).lagrangian(self.picture, beta)
            if cost < most:
                return True
            if cost > last:
                break
            last = cost
        return False

    def cheapest(self, beta: float, most: float) -> Encoded | None:
        """The least J, if one is below `most`: J falls and then rises with the number of colours."""
        best = None
        last = np.inf
        for size in self.sizes:
            if self.error(size) >= most:
                continue
            file = self.file(size)
            cost = file.lagrangian(self.picture, beta)
            if cost < most:
                best = file
                most = cost
            if cost > last:
                break
            last = cost
        return best

    def within(self, size: int) -> Encoded | None:
        """The most colours in so many bytes, if there are any."""
        for colours in reversed(self.sizes):
            file = self.file(colours)
            if len(file.data) <= size:
                return file
        return None

    def reaching(self, psnr: float) -> Encoded | None:
        """The fewest colours with so many dB, if a palette has them."""
        pixels = self.picture.shape[0] * self.picture.shape[1]
        allowed = pixels * 10 ** (-psnr / 10)
        for colours in self.sizes:
            if self.error(colours) <= allowed:
                return self.file(colours)
        return None

    def _palette(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        if size not in self._palettes:
            palette = self.histogram.palette(size)
            self._palettes[size] = palette, self.histogram.nearest(palette)
        return self._palettes[size]
