"""Previews: pictures scaled down before they are encoded, and up again after they are decoded."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

PREVIEW_BYTES = 200  # most of a preview, unless another number is asked for
PREVIEW_SIDE = 64  # pixels of the square that it fits, likewise


def scaled(picture: "np.ndarray", width: int, height: int) -> "np.ndarray":
    """A uint8 picture at another size: bicubic, antialiased; transparent colours do not bleed."""
    import numpy as np
    from PIL import Image

    resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def fitted(picture: "np.ndarray", side: int) -> "np.ndarray":
    """A uint8 picture scaled to fit side x side pixels; smaller ones stay as they are."""
    height, width = picture.shape[:2]
    share = side / max(width, height)
    if share >= 1:
        return picture
    new_width = max(1, round(share * width))
    new_height = max(1, round(share * height))
    return scaled(picture, new_width, new_height)
