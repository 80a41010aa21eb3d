"""Previews: pictures scaled down before they are encoded, and up again after they are decoded."""

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

PREVIEW_BYTES, PREVIEW_SIDE = 200, 64  # of a preview, unless another number is asked for
MIME = "image/x-combiner"


def scaled(picture: "np.ndarray", width: int, height: int) -> "np.ndarray":
    """A uint8 picture at another size: bicubic, antialiased; transparent colours do not bleed."""
    import numpy as np
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def fitted(picture: "np.ndarray", side: int) -> "np.ndarray":
    """A uint8 picture scaled to fit side x side pixels; smaller ones stay as they are."""
    height, width = picture.shape[:2]
    share = side / max(width, height)
    return picture if share >= 1 else scaled(picture, max(1, round(share * width)), max(1, round(share * height)))


def data_url(data: bytes) -> str:
    """A file as a `data:` URL."""
    return f"data:{MIME};base64,{base64.b64encode(data).decode()}"
