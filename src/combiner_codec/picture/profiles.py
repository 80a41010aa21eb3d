"""Colour profiles: made from numbers, and applied. Everything becomes sRGB."""

import io
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..reports import Report

if TYPE_CHECKING:
    from PIL import Image, ImageCms

NOTICED = 2  # steps; a profile that moves no colour by more counts as sRGB
SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}  # colour space of the profiles that fit a mode
D50 = (0.9642, 1.0, 0.8249)  # white of the profiles' own space
BRIGHTEST = 100  # times the white that a primary may be
# XYZ to the responses of cones in which whites are matched (ICC.1:2010, annex E)
BRADFORD = np.array(
    [
        [0.8951, 0.2664, -0.1614],
        [-0.7502, 1.7135, 0.0367],
        [0.0389, -0.0685, 1.0296],
    ]
)
# exponent, factor and offset of the curve, slope of the line before it, where the line ends
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
BT709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)


def to_srgb(picture: "Image.Image", profile: bytes, note: Report) -> "Image.Image":
    """An L, RGB or CMYK picture converted to sRGB by its colour profile; as it is where that does not work."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        title = " ".join(ImageCms.getProfileDescription(source).split())
        mode = picture.mode
        if mode == "L" and space == "RGB":
            mode = "RGB"
        if space != SPACES[mode]:
            note(f"colour profile {title} is ignored: it is for {space} pictures")
            return picture
        transform = _transform(source, mode)
        if mode != "CMYK" and _moves_nothing(transform, mode):
            return picture
        converted = ImageCms.applyTransform(picture.convert(mode), transform)
        assert converted is not None  # as where it works in place
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, ImportError) as error:
        note(f"its colour profile is ignored, it cannot be used ({error})")
        return picture
    note(f"converted from colour profile {title} to sRGB")
    if picture.mode == "L":
        return converted.getchannel("G")
    return converted


def _transform(source: "ImageCms.ImageCmsProfile", mode: str) -> "ImageCms.ImageCmsTransform":
    """From a profile, of pictures of a mode, to sRGB."""
    from PIL import ImageCms

    # without NOOPTIMIZE, dark greys of a linear profile come out up to 10 steps off
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOOPTIMIZE
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", intent, flags)


def _moves_nothing(transform: "ImageCms.ImageCmsTransform", mode: str) -> bool:
    """Whether colours stay where they are, as far as anybody could notice."""
    from PIL import ImageCms

    sample = _sample(mode)
    moved = np.asarray(ImageCms.applyTransform(sample, transform)).astype(int)
    distance = np.abs(moved - np.asarray(sample.convert("RGB")))
    return bool(distance.max() <= NOTICED)


def _sample(mode: str) -> "Image.Image":
    """A picture of colours from all over the space."""
    from PIL import Image

    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.arange(0, 256, 51, dtype=np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), -1)
    return Image.fromarray(colours.reshape(1, -1, 3))


def rgb_profile(title: str, curve: Sequence[float], chromaticities: Sequence[float]) -> bytes:
    """ICC profile of a transfer curve and (x, y) of white, red, green and blue. Raises ValueError for no such colours.

    curve: an exponent, or five numbers like SRGB_CURVE.
    """
    x, y = np.array(chromaticities, float).reshape(4, 2).T
    if not y.all():
        raise ValueError("primaries without light")
    at_luminance_1 = np.stack([x / y, np.ones(4), (1 - x - y) / y])  # XYZ of white, red, green, blue: (3, 4)
    white = at_luminance_1[:, 0]
    primaries = at_luminance_1[:, 1:]
    try:
        matrix = primaries * np.linalg.solve(primaries, white)  # linear RGB to XYZ
    except np.linalg.LinAlgError as error:
        raise ValueError("primaries on one line") from error
    adapted = _at_d50(matrix, white)
    if np.abs(adapted).max() > BRIGHTEST:
        raise ValueError("primaries too near to each other")
    tags = {}
    for name, primary in zip((b"rXYZ", b"gXYZ", b"bXYZ"), adapted.T, strict=True):
        tags[name] = _xyz(primary)
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        tags[name] = _curve(curve)
    return _icc(b"RGB ", title, tags)


def _at_d50(matrix: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Colours, XYZ in columns, adapted from a white to that of the profiles: (3, 3)."""
    gains = BRADFORD @ np.array(D50) / (BRADFORD @ white)
    responses = gains[:, None] * (BRADFORD @ matrix)
    return np.linalg.inv(BRADFORD) @ responses


def grey_profile(title: str, curve: Sequence[float]) -> bytes:
    """ICC profile of grey with a transfer curve, as `rgb_profile` takes it."""
    return _icc(b"GRAY", title, {b"kTRC": _curve(curve)})


def _fixed(values: Sequence[float] | np.ndarray) -> bytes:
    """Numbers in units of 1 / 65536."""
    numbers = [round(65536 * value) for value in values]
    return struct.pack(f">{len(numbers)}i", *numbers)


def _xyz(values: Sequence[float] | np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(values)


def _curve(numbers: Sequence[float]) -> bytes:
    kind = 0 if len(numbers) == 1 else 3
    return struct.pack(">4s4xHH", b"para", kind, 0) + _fixed(numbers)


def _text(title: str) -> bytes:
    head = struct.pack(">4s4x2I4s2I", b"mluc", 1, 12, b"enUS", 2 * len(title), 28)
    return head + title.encode("utf-16-be")


def _icc(space: bytes, title: str, tags: dict[bytes, bytes]) -> bytes:
    """Header, table of tags and tags (ICC.1:2010, section 7)."""
    tags = {b"desc": _text(title), b"wtpt": _xyz(D50)} | tags
    place = 132 + 12 * len(tags)  # of the first tag
    table = struct.pack(">I", len(tags))
    body = b""
    for name, data in tags.items():
        table += struct.pack(">4s2I", name, place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = place + len(body)
    head = struct.pack(">I4sI4s4s4s12x4s28x", size, b"lcms", 0x04300000, b"mntr", space, b"XYZ ", b"acsp")
    head += _fixed(D50)
    return head.ljust(128, b"\0") + table + body
