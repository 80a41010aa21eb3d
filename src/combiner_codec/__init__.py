"""combiner: pictures as samples of Bayesian implicit neural representations.

>>> data = combiner_codec.encode(image, beta=0.003)   # PIL.Image or uint8 array -> bytes
>>> image = combiner_codec.decode(data)               # bytes -> PIL.Image
"""

from typing import TYPE_CHECKING

from .errors import CombinerError, FileError, FormatError, MissingError, TargetError
from .format.header import MAX_PIXELS, MAX_SIDE, check_pixels
from .picture.scaling import PREVIEW_BYTES, PREVIEW_SIDE

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

if TYPE_CHECKING:
    import os
    from typing import TypeAlias

    import numpy as np
    from PIL import Image

    from .encoder.settings import Settings
    from .format.prior import Prior

    PathName: TypeAlias = str | os.PathLike[str]
    Picture: TypeAlias = Image.Image | PathName | np.ndarray


def encode(
    image: "Picture",
    beta: float = 0.003,
    *,
    quality: float | None = None,
    target_size: int | None = None,
    target_psnr: float | None = None,
    effort: str = "normal",
    prior: "PathName | Prior | None" = None,
    seed: int = 0,
    device: str = "auto",
    threads: int = 0,
    verify: bool = True,
    background: str | None = None,
    to_8bit: bool = False,
    allow_truncated: bool = False,
    kind: str = "auto",
    tune: str = "psnr",
    max_pixels: int | None = MAX_PIXELS,
) -> bytes:
    """Encode one picture.

    image: PIL.Image, path of a picture, or uint8 array (H, W, 3) or, grey, (H, W), or with alpha (H, W, 4) or (H, W,
    2). beta: squared error per nat: smaller is better and larger. quality: 0 to 100, from which beta follows: 75 is
    good for web pages. target_size: most bytes of the file, target_psnr: wanted dB. Of these three one at most may be
    given, and beta then counts for nothing. effort: "fast", "normal" or "best". prior: a `format.prior.Prior`, the name
    of a shipped one or a path; chosen by size if None. seed: of the candidate stream. device: "auto", "cpu" or "cuda".
    threads: of the processor, 0 takes all. verify: decode the file, and make sure that it shows what it should.
    background: colour that a transparent picture is put on, a name or #rrggbb; None keeps alpha. to_8bit: round 16 bits
    per channel. allow_truncated: take what is there of a picture file that ends too early. kind: "inr", "lossless", or
    "auto" for what is better by beta or the wish; a prior that is named asks for "inr". tune: "psnr" for the least
    squared error, "iq" for the least that people see. max_pixels: larger pictures
    are refused, as `decode` refuses them, with tiles counted as a whole; None is no limit.

    Raises FormatError for pictures that cannot be encoded, TargetError where a size or a quality is out of reach,
    MissingError without the device that is asked for, OSError for a file that cannot be read, and ValueError or
    TypeError for arguments that are not allowed, before any work. Warns of every change of a picture's colours or
    orientation, such as by its colour profile, and of a file larger than the picture's PNG or of unusually low quality.
    """
    from .encoder.settings import Settings, beta_of

    if sum(wish is not None for wish in (quality, target_size, target_psnr)) > 1:
        raise ValueError("quality, target_size and target_psnr exclude each other")
    if kind == "auto" and prior is not None:
        kind = "inr"
    chosen = beta if quality is None else beta_of(quality)
    settings = Settings(chosen, effort, seed, device, threads, verify, kind=kind, tune=tune, max_pixels=max_pixels)
    return _encoded(image, None, settings, (target_size, target_psnr), prior, (background, to_8bit, allow_truncated))


def _encoded(
    image: "Picture",
    side: int | None,
    settings: "Settings",
    wishes: tuple[int | None, float | None],
    prior: "PathName | Prior | None",
    loading: tuple[str | None, bool, bool],
) -> bytes:
    """A picture, or what of it fits a square, as a file; warnings go to the caller's caller."""
    import warnings

    from .encoder.goal import Goal
    from .encoder.kinds import encode_pictures
    from .format.prior import default, find
    from .picture.image import as_array
    from .picture.scaling import fitted

    goal = Goal.of(*wishes)
    named = None if prior is None else find(prior)
    background, to_8bit, allow_truncated = loading
    notes: list[str] = []
    array = as_array(image, background, to_8bit, notes.append, allow_truncated)
    if side:
        array = fitted(array, side)
    height, width = array.shape[:2]
    chosen = named or default(width, height)
    (result,) = encode_pictures([array], chosen, settings, goal)
    if isinstance(result, CombinerError):
        raise result
    wanted = None if goal else settings.beta
    unused = goal and goal.unused(result, chosen)
    if unused:
        notes.append(unused)
    for line in notes + result.warnings(array, wanted, chosen):
        warnings.warn(line, stacklevel=3)
    return result.data


def preview(
    image: "Picture",
    size: int = PREVIEW_BYTES,
    *,
    side: int = PREVIEW_SIDE,
    effort: str = "normal",
    prior: "PathName | Prior | None" = None,
    seed: int = 0,
    device: str = "auto",
    threads: int = 0,
    verify: bool = True,
    background: str | None = None,
    to_8bit: bool = False,
    allow_truncated: bool = False,
) -> bytes:
    """A placeholder of at most `size` bytes, which `decode(data, size=...)` scales up again.

    image: as `encode` takes it, scaled to fit side x side pixels. prior: if None, `nano` for at most 64 x 64 pixels and
    250 bytes, which the npm package has inside; beyond them by the picture's size. All others: those of `encode`.
    Raises what `encode` raises, arguments before any work, and warns like it.
    """
    from math import inf

    from .encoder.settings import Settings, one_of
    from .format.prior import of_previews

    one_of("size", size, number=(1, inf), whole=True)
    one_of("side", side, number=(1, inf), whole=True)
    settings = Settings(effort=effort, seed=seed, device=device, threads=threads, verify=verify, kind="inr")
    if prior is None:
        prior = of_previews(side, size)
    return _encoded(image, side, settings, (size, None), prior, (background, to_8bit, allow_truncated))


def decode(
    data: "bytes | bytearray | memoryview | PathName",
    *,
    prior: "PathName | Prior | None" = None,
    threads: int = 0,
    max_pixels: int | None = MAX_PIXELS,
    size: tuple[int, int] | None = None,
) -> "Image.Image":
    """Decode a file's bytes, or the file of a path, to a PIL.Image in mode RGB, L if it is grey, RGBA or LA with alpha.

    data: bytes, a path, or a data: URL, which a file may hold as well.
    prior: the custom prior that the file was made with, or its path. threads: of the processor, 0 takes all.
    max_pixels: larger pictures are refused; None is no limit. size: width and height that the picture is scaled to.
    Raises FormatError, OSError for a file that cannot be read, and ValueError or TypeError for arguments that are not
    allowed.
    """
    import os

    from PIL import Image

    from .decoder import decode_array
    from .encoder.settings import one_of
    from .format.prior import find
    from .picture import scaling
    from .picture.data_url import from_data_url, is_data_url, read_coded

    one_of("threads", threads, number=(0, float("inf")), whole=True)
    if size is not None:
        if not isinstance(size, tuple | list) or len(size) != 2:
            raise TypeError(f"size must be width and height, not {size!r}")
        for length in size:
            one_of("width and height of size", length, number=(1, MAX_SIDE), whole=True)
        check_pixels(*size, max_pixels)
    if isinstance(data, os.PathLike) or (isinstance(data, str) and not is_data_url(data)):
        with open(data, "rb") as file:
            data = read_coded(file)
    elif not isinstance(data, str | bytes | bytearray | memoryview):
        raise TypeError(f"data must be bytes or a path, not {type(data).__name__}")
    if isinstance(data, str):
        source = from_data_url(data)
    else:
        source = bytes(data)
    if is_data_url(source):
        source = from_data_url(source)
    named = None if prior is None else find(prior)
    array = decode_array(source, named, threads, max_pixels)
    if size:
        array = scaling.scaled(array, *size)
    return Image.fromarray(array)


def register_pillow(prior: "Prior | None" = None) -> None:
    """Teach Pillow .cmb files: `Image.open("x.cmb")`, `image.save("x.cmb", beta=0.003)`.

    Opening reads only the header; `save` takes the options of `encode`. prior: the `prior.Prior` that files of a custom
    prior are decoded with.
    """
    from .picture.pillow_plugin import register

    register(prior)
