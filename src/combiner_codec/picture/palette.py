"""Pictures of few colours: the colours, and the picture that takes the nearest one everywhere. numpy and Pillow."""

from dataclasses import dataclass

import numpy as np

SAMPLES = 2**13  # pixels that a palette is learned from
DISTANCES = 2**20  # between colours and a palette's, that are computed at once
RED, GREEN = 1 << 16, 1 << 8  # of a colour as one number
ALL_COLOURS = 1 << 24
LARGE = 2**18  # pixels from which a table of all colours is faster than to sort them


@dataclass(frozen=True)
class Histogram:
    """The different colours of a picture, and where they are."""

    colours: np.ndarray  # (U, 3) uint8
    counts: np.ndarray  # (U,) pixels of each
    number: np.ndarray  # (H, W) of each pixel's colour

    @staticmethod
    def of(picture: np.ndarray) -> "Histogram":
        """Of (H, W, 3) or (H, W) uint8."""
        height, width = picture.shape[:2]
        if picture.ndim == 2:
            packed = picture.astype(np.uint32) * (RED + GREEN + 1)
        else:
            packed = picture.astype(np.uint32) @ np.array([RED, GREEN, 1], np.uint32)
        found, number, counts = _different(packed.reshape(-1))
        colours = np.stack([found >> 16, found >> 8 & 255, found & 255], 1).astype(np.uint8)
        return Histogram(colours, counts, number.reshape(height, width))

    def palette(self, size: int) -> np.ndarray:
        """At most so many colours that are near to all: (K, 3) uint8.

        Median cut, then k-means, of a sample that has every colour in proportion, but at least once.
        """
        from PIL import Image

        share = SAMPLES / self.counts.sum()
        times = np.maximum(np.rint(self.counts * share), 1).astype(np.int64)
        sample = np.repeat(self.colours, times, 0)
        step = -(-len(sample) // (2 * SAMPLES))  # colours of photographs are as many as pixels
        sample = np.ascontiguousarray(sample[::step])
        quantised = Image.fromarray(sample[None]).quantize(size, Image.Quantize.MEDIANCUT, kmeans=1)
        colours = np.array(quantised.getpalette(), np.uint8)[: 3 * size]
        return np.unique(colours.reshape(-1, 3), axis=0)

    def nearest(self, palette: np.ndarray) -> np.ndarray:
        """The number in a palette (K, 3) of the nearest to each colour: (U,)."""
        centres = palette.astype(np.float32)
        lengths = (centres**2).sum(1)
        found = np.empty(len(self.colours), np.int64)
        step = max(1, DISTANCES // len(centres))
        for start in range(0, len(found), step):
            part = slice(start, start + step)
            products = self.colours[part].astype(np.float32) @ centres.T
            found[part] = (lengths - 2 * products).argmin(1)
        return found

    def error(self, palette: np.ndarray, nearest: np.ndarray) -> float:
        """Squared error of that, summed over pixels and channels, in squares of steps."""
        difference = self.colours.astype(np.int64) - palette[nearest]
        return float((difference**2).sum(1) @ self.counts)


def _different(packed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The different ones of packed colours (n,), in order; the place of each there; and how often they are."""
    if len(packed) < LARGE:
        return np.unique(packed, return_inverse=True, return_counts=True)
    seen = np.zeros(ALL_COLOURS, bool)
    seen[packed] = True
    found = np.flatnonzero(seen)
    place = np.empty(ALL_COLOURS, np.int32)  # of which only those are touched that are seen
    place[found] = np.arange(len(found))
    number = place[packed]
    return found, number, np.bincount(number)
