"""Pillow <-> arrays: modes, depth, transparency, orientation, colour profiles, the one rounding rule."""

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FormatError
from ..format.header import MAX_PIXELS
from ..reports import Report, unheard
from . import heif, png, profiles
from .formats import load_formats
from .planes import join, premultiplied, split
from .reading import read_picture
from .rounding import to_uint8

if TYPE_CHECKING:
    from PIL import Image, ImageFile

Colour = tuple[int, int, int]  # red, green, blue
ORIENTATION = 0x0112  # EXIF tag
COMPARED_ROWS = 256  # of two pictures at once
EQUAL = 100.0  # dB that stand for equal pictures, where means are to stay finite
CUT_DOWN = ("AVIF", "JPEG2000")  # formats that Pillow cuts down to 8 bits without a word
ROUNDED = ("ppm", "AVIF", "HEIF")  # kinds of more than 8 bits that are loaded as 8
OTHERS = ("YCbCr", "LAB", "HSV")  # modes that become RGB


def _low_bytes() -> dict[str, str]:
    """What a raw mode of 16 bits is taken for to get the low bytes instead of the high ones."""
    native = {"little": "16B", "big": "16L"}[sys.byteorder]
    orders = {"16B": "16L", "16L": "16B", "16N": native}
    found = {"LA;16B": "RGBA"}  # both bytes of both channels
    for mode in ("RGB", "RGBA", "RGBX", "CMYK"):
        for order, other in orders.items():
            found[f"{mode};{order}"] = f"{mode};{other}"
    return found


LOW = _low_bytes()


def load(
    source: bytes,
    name: str = "input",
    background: str | None = None,
    to_8bit: bool = False,
    note: Report = unheard,
    allow_truncated: bool = False,
) -> np.ndarray:
    """Picture file to uint8, (H, W) or (H, W, 2 to 4) sRGB. Options: see `pixels`."""
    from PIL import Image

    if heif.is_heif(source):
        heif.register(name)
    load_formats()
    with _readable(name, note):
        picture = Image.open(io.BytesIO(png.without_text(source)))
    with picture:
        return pixels(picture, name, background, to_8bit, note, allow_truncated)


def pixels(
    picture: "Image.Image",
    name: str = "image",
    background: str | None = None,
    to_8bit: bool = False,
    note: Report = unheard,
    allow_truncated: bool = False,
) -> np.ndarray:
    """Pillow image to uint8, (H, W) where it is grey, else (H, W, 3) sRGB; what would lose data is refused.

    With alpha that is not opaque everywhere: (H, W, 2) or (H, W, 4).

    background: colour that a transparent picture is put on, a name or #rrggbb. to_8bit: round more than 8 bits per
    channel. note: takes a line about each change of colours or orientation that nobody has asked for. allow_truncated:
    a file that ends too early is a picture whose rest Pillow fills up.
    """
    behind = colour(background) if background else None
    try:
        return _pixels(picture, name, behind, to_8bit, note)
    except FormatError as error:
        if error.parameter != "allow_truncated" or not allow_truncated:
            raise
    note(f"{name}: is not complete, the rest is filled up")
    with _filled_up():
        return _pixels(picture, name, behind, to_8bit, note)


def _pixels(picture: "Image.Image", name: str, behind: Colour | None, to_8bit: bool, note: Report) -> np.ndarray:
    with _readable(name, note) as about:
        count = getattr(picture, "n_frames", 1)
        if picture.format == "MPO":
            about(f"only the first of its {count} pictures is kept")
        elif count > 1:
            raise FormatError(f"{name}: animated pictures and files of several pages are not supported")
        profile = _prepared(picture, name, about)
        picture = _eight_bits(picture, name, to_8bit, about)
        picture, alpha = _split(picture)
        array = _colours(picture, profile, name, about)
        if alpha is None:
            return array
        if behind is None:
            return join(array, np.asarray(alpha))
        return _over(array, np.asarray(alpha), behind)


def _prepared(picture: "Image.Image", name: str, note: Report) -> bytes | None:
    """What has to be known before a picture is loaded: its colour profile, and for PNG what Pillow passes over."""
    from PIL import ImageFile

    if picture.format != "PNG" or not isinstance(picture, ImageFile.ImageFile):
        return picture.info.get("icc_profile")
    source = _file(picture) if picture.tile else b""
    if not png.whole(source) and not ImageFile.LOAD_TRUNCATED_IMAGES:
        raise FormatError(f"{name}: image file is truncated: rows are missing", "allow_truncated")
    png.transparent_sample(picture)
    return png.profile_of(picture, source, note)


def take_up_to(pixels: int) -> None:
    """Have Pillow take pictures of so many pixels, 0: of any number.

    The setting is Pillow's own, for the whole process. It refuses twice of what it warns of: by default MAX_PIXELS.
    """
    from PIL import Image

    if pixels == 0 or pixels > MAX_PIXELS:
        Image.MAX_IMAGE_PIXELS = -(-pixels // 2) or None


@contextmanager
def _filled_up() -> Iterator[None]:
    """Pillow loads what is there of a picture; the setting is Pillow's own, for the whole process."""
    from PIL import ImageFile

    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def as_array(
    image: "Image.Image | str | os.PathLike[str] | np.ndarray",
    background: str | None = None,
    to_8bit: bool = False,
    note: Report = unheard,
    allow_truncated: bool = False,
) -> np.ndarray:
    """A Pillow image, a path or an array as uint8 (H, W), (H, W, 2), (H, W, 3) or (H, W, 4).

    Options: those of `pixels`; an array is changed by a background alone. Raises FormatError for arrays of
    any other kind, OSError for a file that cannot be read, TypeError for anything else.
    """
    from PIL import Image

    if isinstance(image, str | os.PathLike):
        with open(image, "rb") as file:
            source = read_picture(file)
        return load(source, os.fspath(image), background, to_8bit, note, allow_truncated)
    if not isinstance(image, np.ndarray | Image.Image):
        raise TypeError(f"image: a PIL.Image, a uint8 array or a path is wanted, not {type(image).__name__}")
    if isinstance(image, Image.Image):
        return pixels(image, "image", background, to_8bit, note, allow_truncated)
    planes = image.shape[2:]
    fits = image.dtype == np.uint8 and image.ndim >= 2 and planes in ((), (2,), (3,), (4,))
    if not fits or not image.size:
        raise FormatError(f"expected uint8 (H, W) or (H, W, 2 to 4), got {image.dtype} {image.shape}")
    behind = colour(background) if background else None
    plain, alpha = split(image)
    if alpha is None or behind is None:
        return image
    return _over(plain, alpha, behind)


def colour(name: str) -> Colour:
    """An opaque colour by name or #rrggbb. Raises ValueError."""
    from PIL import ImageColor

    found = ImageColor.getrgb(name)
    if len(found) != 3:
        raise ValueError(f"{name} is not opaque")
    return found


@contextmanager
def _readable(name: str, note: Report) -> Iterator[Report]:
    """Errors of Pillow about a picture become a FormatError, and its warnings notes, as what is said within."""
    lines: list[str] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield lines.append
    except FormatError as error:
        raise error.about(name) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises many kinds on damaged files
        reason = str(error)
        if "cannot identify" in reason:
            reason = "not a picture that Pillow can read"
        remedy = "allow_truncated" if "truncated" in reason else None
        raise FormatError(f"{name}: {reason}", remedy) from error
    finally:
        lines += [str(warning.message) for warning in caught]
        for line in dict.fromkeys(lines):
            note(f"{name}: {line}")


def _eight_bits(picture: "Image.Image", name: str, to_8bit: bool, note: Report) -> "Image.Image":
    """The picture, loaded and upright, with 8 bits per channel."""
    raw = _deep(picture)
    if not raw:
        return _upright(picture, note)
    if not to_8bit:
        raise FormatError(f"{name}: more than 8 bits per channel are not supported: round them", "to_8bit")
    if raw in ROUNDED:
        return _upright(picture, note)
    known = raw in LOW or raw[0] in "IF"
    if "transparency" in picture.info or not known or raw == "I;12":
        raise FormatError(f"{name}: this kind of picture ({raw}) cannot be rounded to 8 bits: convert it first")
    from PIL import Image, ImageFile

    if raw in LOW and isinstance(picture, ImageFile.ImageFile):
        return _rounded(picture, raw, note)
    values = np.asarray(_upright(picture, note))
    floats = picture.mode == "F"
    top = 1.0 if floats else 65535
    low = values.min()
    high = values.max()
    if not 0 <= low <= high <= top:
        raise FormatError(f"{name}: values of mode {picture.mode} must be 0 to {top}, these are {low} to {high}")
    if floats:
        return Image.fromarray(to_uint8(values.astype(np.float64)))
    return Image.fromarray(_nearest(values))


def _deep(picture: "Image.Image") -> str:
    """How a picture that is not loaded yet holds more than 8 bits per channel; empty where it does not."""
    from PIL import ImageFile

    tiles = getattr(picture, "tile", ())
    if picture.format == "HEIF" and picture.info.get("bit_depth", 8) > 8:
        return "HEIF"
    for codec, _, _, arguments in tiles:
        words = arguments if isinstance(arguments, tuple) else (arguments,)
        if "I;12" in words:
            return "I;12"
        if picture.mode[0] in "IF":
            break
        if codec == "SGI16" or (codec == "sgi_rle" and words[-1] == 2):
            return "SGI"
        top = words[-1]
        if codec in ("ppm", "ppm_plain") and isinstance(top, int) and top > 255:
            return "ppm"
        for word in words:
            if isinstance(word, str) and ";16" in word:
                return word
    if picture.mode[0] in "IF":
        return picture.mode
    if tiles and isinstance(picture, ImageFile.ImageFile) and picture.format in CUT_DOWN:
        return picture.format if _coded_bits(_file(picture)) > 8 else ""
    return ""


def _coded_bits(source: bytes) -> int:
    """Bits per channel by an AVIF file's pixi box or a JPEG 2000 file's SIZ marker; 8 where there is none."""
    place = source.find(b"pixi") + 9
    if 9 <= place < len(source):
        return source[place]
    place = source.find(b"\xff\x4f\xff\x51") + 42
    if 42 <= place < len(source):
        return (source[place] & 127) + 1  # the first bit tells of a sign
    return 8


def _file(picture: "ImageFile.ImageFile") -> bytes:
    """The file behind a picture that is not loaded yet."""
    assert picture.fp is not None
    place = picture.fp.tell()
    picture.fp.seek(0)
    source = picture.fp.read()
    picture.fp.seek(place)
    return source


def _rounded(picture: "ImageFile.ImageFile", raw: str, note: Report) -> "Image.Image":
    """A picture of a 16-bit colour mode, of which Pillow reads one byte of two: read it twice."""
    from PIL import Image

    with Image.open(io.BytesIO(_file(picture))) as other:
        other.tile = [_reads(tile, LOW[raw]) for tile in other.tile]
        low = np.asarray(_upright(other, unheard)).astype(np.uint16)
    upright = _upright(picture, note)
    high = np.asarray(upright)
    mode = upright.mode
    if raw == "LA;16B":
        mode = "LA"
        high = low[..., 0::2]
        low = low[..., 1::2]
    values = _nearest(high.astype(np.int64) * 256 + low)
    return Image.frombytes(mode, upright.size, values.tobytes())


def _reads(tile: "ImageFile._Tile", raw: str) -> "ImageFile._Tile":
    """One of Pillow's tiles (codec, extents, offset, arguments) with another raw mode."""
    codec, extents, offset, arguments = tile
    arguments = (raw, *arguments[1:]) if isinstance(arguments, tuple) else raw
    make: Any = getattr(type(tile), "_make", tuple)  # a named tuple in newer versions
    return make((codec, extents, offset, arguments))


def _nearest(values: np.ndarray) -> np.ndarray:
    """16 bits to the nearest of 256 steps of 257; there are no halves."""
    steps = (values.astype(np.int64) + 128) // 257
    return steps.astype(np.uint8)


def _upright(picture: "Image.Image", note: Report) -> "Image.Image":
    """The picture, loaded and turned as its EXIF orientation says."""
    from PIL import ImageOps

    if picture.getexif().get(ORIENTATION, 1) in range(2, 9):  # asked before Pillow turns a TIFF while loading it
        note("turned as its EXIF orientation says")
    return ImageOps.exif_transpose(picture)


def _split(picture: "Image.Image") -> "tuple[Image.Image, Image.Image | None]":
    """A picture without its alpha channel, and the alpha channel unless that is opaque everywhere."""
    if not picture.has_transparency_data:
        return picture, None
    grey = picture.mode in ("1", "L", "LA", "La")
    full = picture.convert("LA" if grey else "RGBA")
    alpha = full.getchannel("A")
    base = full.convert("L" if grey else "RGB")
    lowest, _ = alpha.getextrema()
    if lowest == 255:
        return base, None
    return base, alpha


def _colours(picture: "Image.Image", profile: bytes | None, name: str, note: Report) -> np.ndarray:
    """Pixels of an opaque picture of 8 bits: (H, W) where it is grey, else (H, W, 3) sRGB."""
    mode = picture.mode
    if mode in OTHERS:
        note(f"converted from {mode} to RGB")
    elif mode not in ("1", "L", "P", "RGB", "RGBX", "CMYK"):
        raise FormatError(f"{name}: colour mode {mode} is not supported: convert the picture to RGB first")
    if mode != "CMYK":
        picture = picture.convert("L" if mode in ("1", "L") else "RGB")
    if profile:
        picture = profiles.to_srgb(picture, profile, note)
    if picture.mode == "CMYK":
        note("converted from CMYK to RGB without a colour profile: colours may differ")
        picture = picture.convert("RGB")
    array = np.array(picture)
    if mode == "P" and (array == array[..., :1]).all():
        array = np.ascontiguousarray(array[..., 0])
    return array


def _over(array: np.ndarray, alpha: np.ndarray, behind: Colour) -> np.ndarray:
    """Pixels on a background; grey on grey stays grey."""
    if array.ndim == 2 and len(set(behind)) > 1:
        array = np.repeat(array[..., None], 3, 2)
    opacity = alpha / 255
    below = np.array(behind[0])
    if array.ndim == 3:
        opacity = opacity[..., None]
        below = np.array(behind)
    shown = opacity * array + (1 - opacity) * below
    return to_uint8(shown / 255)


def png_bytes(array: np.ndarray) -> int:
    """Size of a picture's PNG, with Pillow's usual compression."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.tell()


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 arrays in dB, of premultiplied colour and alpha; infinite when equal."""
    return psnr_of(squared_error(a, b), a.size)


def psnr_of(error: float, samples: int) -> float:
    """The same of a squared error, summed over so many samples of 8 bits."""
    if error == 0:
        return float("inf")
    return float(10 * np.log10(255**2 / (error / samples)))


def squared_error(a: np.ndarray, b: np.ndarray) -> float:
    """Sum over all samples of two uint8 arrays, of premultiplied colour and alpha, some rows at a time."""
    total = 0.0
    for first, second in _parts(a, b):
        difference = premultiplied(first) - premultiplied(second)
        total += np.sum(difference**2)
    return float(total)


def largest_difference(a: np.ndarray, b: np.ndarray) -> int:
    """Of two uint8 arrays' samples, some rows at a time."""
    largest = 0
    for first, second in _parts(a, b):
        difference = np.maximum(first, second) - np.minimum(first, second)
        largest = max(largest, int(difference.max()))
    return largest


def _parts(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Both arrays, some rows at a time."""
    for start in range(0, len(a), COMPARED_ROWS):
        rows = slice(start, start + COMPARED_ROWS)
        yield a[rows], b[rows]
