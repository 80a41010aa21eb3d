"""What a file shows, by the real decoder, against what it should show. Without torch."""

import numpy as np

from .. import decoder
from ..format.prior import Prior
from ..picture.image import largest_difference


def shown_over(expected: np.ndarray, data: bytes, prior: Prior, threads: int) -> int:
    """Decode a file, over the pixels that it is expected to show; returns the largest difference.

    A large picture is never there twice: it is decoded and compared band by band.
    """
    contents = decoder.parse(data, prior, max_pixels=None)
    strips = decoder.decode_strips(contents, threads)
    if strips is None:
        strips = [decoder.decode_contents(contents, threads)]
    largest = 0
    row = 0
    for strip in strips:
        rows = expected[row : row + len(strip)]
        largest = max(largest, largest_difference(strip, rows))
        rows[:] = strip
        row += len(strip)
    return largest
