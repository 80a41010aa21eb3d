"""combiner: pictures as samples of Bayesian implicit neural representations.

>>> data = combiner_codec.encode(image, beta=0.003)   # PIL.Image or uint8 (H, W, 3) -> bytes
>>> image = combiner_codec.decode(data)               # bytes -> PIL.Image
"""

from .errors import FormatError

__version__ = "0.1.0"
__all__ = ["FormatError", "__version__", "decode", "encode"]


def encode(image, beta: float = 0.003, *, prior=None, seed: int = 0, threads: int = 0, **options) -> bytes:
    """Encode one picture.

    image: PIL.Image, or uint8 array (H, W, 3). beta: squared error per nat. prior: a `prior.Prior`, chosen by size if
    None.
    options: effort ("fast", "normal", "best"), device ("auto", "cpu", "cuda") and the other fields of `fit.Fit`.
    Raises FormatError for pictures that cannot be encoded and ValueError for a beta that is not positive.
    """
    import numpy as np

    from . import codec
    from . import image as images
    from .prior import default

    if not 0 < beta < float("inf"):
        raise ValueError(f"beta must be positive, got {beta}")
    array = image if isinstance(image, np.ndarray) else images.pixels(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise FormatError(f"expected uint8 (H, W, 3), got {array.dtype} {array.shape}")
    return codec.encode_arrays([array], beta, prior or default(), seed, threads, **options)[0].data


def decode(data: bytes, *, prior=None, threads: int = 0):
    """Decode a file's bytes to a PIL.Image in mode RGB. Raises FormatError."""
    from PIL import Image

    from .codec import decode_array

    return Image.fromarray(decode_array(data, prior, threads))
