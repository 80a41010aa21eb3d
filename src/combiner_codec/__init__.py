"""combiner: pictures as samples of Bayesian implicit neural representations.

>>> data = combiner_codec.encode(image, beta=0.003)   # PIL.Image or uint8 (H, W, 3) or (H, W) -> bytes
>>> image = combiner_codec.decode(data)               # bytes -> PIL.Image
"""

from .bitstream import MAX_PIXELS
from .errors import FormatError

__version__ = "0.1.0"
__all__ = ["FormatError", "__version__", "decode", "encode", "register_pillow"]


def encode(
    image,
    beta: float = 0.003,
    *,
    target_size: int | None = None,
    target_psnr: float | None = None,
    background: str | None = None,
    to_8bit: bool = False,
    prior=None,
    seed: int = 0,
    threads: int = 0,
    verify: bool = True,
    **options,
) -> bytes:
    """Encode one picture.

    image: PIL.Image, or uint8 array (H, W, 3) or, grey, (H, W). beta: squared error per nat. target_size: most bytes
    of the file, target_psnr: wanted dB; beta then counts for nothing. background: colour behind a transparent picture,
    a name or #rrggbb. to_8bit: round 16 bits per channel. prior: a `prior.Prior`, chosen by size if None.
    verify: decode the file, and make sure that it shows what it should.
    options: effort ("fast", "normal", "best"), device ("auto", "cpu", "cuda") and the other fields of `fit.Fit`.
    Raises FormatError for pictures that cannot be encoded, or not that small, and ValueError for a beta that is not
    positive. Warns of every change of a picture's colours or orientation, such as by its colour profile, and of a file
    larger than the picture's PNG or of unusually low quality.
    """
    import warnings

    import numpy as np

    from . import codec
    from . import image as images
    from .prior import default

    if not 0 < beta < float("inf"):
        raise ValueError(f"beta must be positive, got {beta}")
    array = image
    if not isinstance(image, np.ndarray):
        array = images.pixels(image, "image", background, to_8bit, lambda line: warnings.warn(line, stacklevel=2))
    if array.dtype != np.uint8 or array.shape[2:] not in ((), (3,)) or array.ndim < 2 or not array.size:
        raise FormatError(f"expected uint8 (H, W, 3) or (H, W), got {array.dtype} {array.shape}")
    chosen = prior or default(array.shape[1], array.shape[0])
    goal = codec.Goal.of(target_size, target_psnr)
    (result,) = codec.encode_arrays([array], beta, chosen, seed, threads, verify=verify, goal=goal, **options)
    if isinstance(result, FormatError):
        raise result
    for line in result.warnings(array, chosen.betas[result.point] if goal else beta, chosen):
        warnings.warn(line, stacklevel=2)
    return result.data


def decode(data: bytes, *, prior=None, threads: int = 0, max_pixels: int | None = MAX_PIXELS):
    """Decode a file's bytes to a PIL.Image in mode RGB, or L if it is grey.

    max_pixels: larger pictures are refused; None is no limit. Raises FormatError.
    """
    from PIL import Image

    from .codec import decode_array

    return Image.fromarray(decode_array(data, prior, threads, max_pixels))


def register_pillow(prior=None) -> None:
    """Teach Pillow .cmb files: `Image.open("x.cmb")`, `image.save("x.cmb", beta=0.003)`.

    Opening reads only the header; `save` takes the options of `encode`. prior: the `prior.Prior` that files of a custom
    prior are decoded with.
    """
    from .pillow_plugin import register

    register(prior)
