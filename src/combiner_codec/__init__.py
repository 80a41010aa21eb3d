"""combiner: pictures as samples of Bayesian implicit neural representations.

>>> data = combiner_codec.encode(image, beta=0.003)   # PIL.Image or uint8 array -> bytes
>>> image = combiner_codec.decode(data)               # bytes -> PIL.Image
"""

from .errors import CombinerError, FileError, FormatError, MissingError, TargetError
from .format.header import MAX_PIXELS
from .scaling import PREVIEW_BYTES, PREVIEW_SIDE

__version__ = "0.1.0"
__all__ = [
    "CombinerError",
    "FileError",
    "FormatError",
    "MissingError",
    "TargetError",
    "__version__",
    "decode",
    "encode",
    "preview",
    "register_pillow",
]


def encode(
    image,
    beta: float = 0.003,
    *,
    target_size: int | None = None,
    target_psnr: float | None = None,
    effort: str = "normal",
    prior=None,
    seed: int = 0,
    device: str = "auto",
    threads: int = 0,
    verify: bool = True,
    background: str | None = None,
    to_8bit: bool = False,
) -> bytes:
    """Encode one picture.

    image: PIL.Image, or uint8 array (H, W, 3) or, grey, (H, W), or with alpha (H, W, 4) or (H, W, 2). beta: squared
    error per nat: smaller is better and larger. target_size: most bytes of the file, target_psnr: wanted dB; beta then
    counts for nothing. effort: "fast", "normal" or "best". prior: a `format.prior.Prior`, chosen by size if None. seed:
    of the candidate stream. device: "auto", "cpu" or "cuda". threads: of the processor, 0 takes all. verify: decode the
    file, and make sure that it shows what it should. background: colour that a transparent picture is put on, a name or
    #rrggbb; None keeps alpha. to_8bit: round 16 bits per channel.

    Raises FormatError for pictures that cannot be encoded, TargetError where a size or a quality is out of reach,
    MissingError without the device that is asked for, and ValueError for a beta that is not positive. Warns of every
    change of a picture's colours or orientation, such as by its colour profile, and of a file larger than the picture's
    PNG or of unusually low quality.
    """
    import warnings

    from .encoder.encode import encode_arrays
    from .encoder.settings import Settings
    from .encoder.target import Goal
    from .format.prior import default
    from .image import as_array

    if not 0 < beta < float("inf"):
        raise ValueError(f"beta must be positive, got {beta}")
    array = as_array(image, background, to_8bit, lambda line: warnings.warn(line, stacklevel=3))
    chosen = prior or default(array.shape[1], array.shape[0])
    goal = Goal.of(target_size, target_psnr)
    settings = Settings(beta, effort, seed, device, threads, verify)
    (result,) = encode_arrays([array], chosen, settings, goal)
    if isinstance(result, CombinerError):
        raise result
    for line in result.warnings(array, None if goal else beta, chosen):
        warnings.warn(line, stacklevel=2)
    return result.data


def preview(image, size: int = PREVIEW_BYTES, *, side: int = PREVIEW_SIDE, **options) -> bytes:
    """A placeholder of at most `size` bytes, which `decode(data, size=...)` scales up again.

    image: as `encode` takes it, scaled to fit side x side pixels. options: others of `encode`. Raises what `encode`
    raises.
    """
    from .image import as_array
    from .scaling import fitted

    array = as_array(image, options.pop("background", None), options.pop("to_8bit", False))
    return encode(fitted(array, side), target_size=size, **options)


def decode(
    data: bytes,
    *,
    prior=None,
    threads: int = 0,
    max_pixels: int | None = MAX_PIXELS,
    size: tuple[int, int] | None = None,
):
    """Decode a file's bytes to a PIL.Image in mode RGB, L if it is grey, RGBA or LA with alpha.

    max_pixels: larger pictures are refused; None is no limit. size: width and height that the picture is scaled to.
    Raises FormatError.
    """
    from PIL import Image

    from .decoder import decode_array
    from .scaling import scaled

    array = decode_array(data, prior, threads, max_pixels)
    return Image.fromarray(scaled(array, *size) if size else array)


def register_pillow(prior=None) -> None:
    """Teach Pillow .cmb files: `Image.open("x.cmb")`, `image.save("x.cmb", beta=0.003)`.

    Opening reads only the header; `save` takes the options of `encode`. prior: the `prior.Prior` that files of a custom
    prior are decoded with.
    """
    from .pillow_plugin import register

    register(prior)
