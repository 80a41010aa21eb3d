"""A sample of a large picture: squares from all over it, side by side. What is chosen for it suits the picture about.

numpy only.
"""

import numpy as np

SIDE = 256  # pixels along the side of a square
SQUARES = 4  # in a row of the sample, and rows: 2^20 pixels, a twelfth of a picture of 12 megapixels
GOLDEN = (5**0.5 - 1) / 2  # multiples of it spread evenly


def sample_of(picture: np.ndarray) -> np.ndarray | None:
    """Squares of a picture (H, W) or (H, W, 3), the same places for all of a shape; None where that is no smaller."""
    height = min(SIDE, picture.shape[0])
    width = min(SIDE, picture.shape[1])
    if height * width * SQUARES**2 >= picture.shape[0] * picture.shape[1]:
        return None
    found = np.empty((SQUARES * height, SQUARES * width, *picture.shape[2:]), np.uint8)
    for number in range(SQUARES**2):
        down = (number + 0.5) / SQUARES**2
        across = (number + 0.5) * GOLDEN % 1
        top = round(down * (picture.shape[0] - height))
        left = round(across * (picture.shape[1] - width))
        row = number // SQUARES * height
        column = number % SQUARES * width
        found[row : row + height, column : column + width] = picture[top : top + height, left : left + width]
    return found
