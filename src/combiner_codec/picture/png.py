"""What Pillow passes over in a PNG: colours without a profile, the transparent sample, missing rows, long texts."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import FormatError
from ..reports import Report
from . import profiles

if TYPE_CHECKING:
    from PIL import ImageFile

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXT = (b"tEXt", b"zTXt", b"iTXt")
ORIENTING = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")  # keywords of text that may turn a picture
SHORT_TEXT = 2**16  # bytes of such a text, compressed
UNPACKED = 2**20  # bytes of pixels at a time
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
WHOLE = ((0, 0, 1, 1),)  # first column and row, steps across and down: of all pixels
PASSES = (  # of interlaced pictures
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
SRGB_GAMMA = (0.4318, 0.4773)  # gAMA of sRGB, which is written as 1 / 2.2, give or take the 5 % that libpng allows
# of cICP (ITU-T H.273); (x, y) of white, red, green and blue
SRGB = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
BT2020 = (0.3127, 0.329, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046)
DISPLAY_P3 = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
PRIMARIES = {1: SRGB, 9: BT2020, 12: DISPLAY_P3}
CURVES = {
    1: profiles.BT709_CURVE,
    4: (2.2,),
    5: (2.8,),
    6: profiles.BT709_CURVE,
    8: (1.0,),
    13: profiles.SRGB_CURVE,
    14: profiles.BT709_CURVE,
    15: profiles.BT709_CURVE,
}
BRIGHT = {16: "PQ", 18: "HLG"}


def chunks(source: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and data of every chunk, the last one cut where the file is; none of another kind of file."""
    place = len(SIGNATURE) if source.startswith(SIGNATURE) else len(source)
    while place + 8 <= len(source):
        length, kind = struct.unpack_from(">I4s", source, place)
        yield kind, source[place + 8 : place + 8 + length]
        place += 12 + length


def without_text(source: bytes) -> bytes:
    """A file as Pillow reads it: of a PNG without its texts, which Pillow limits, but for those that may turn it."""
    if not any(kind in TEXT for kind, _ in chunks(source)):
        return source
    kept = [SIGNATURE]
    for kind, data in chunks(source):
        may_turn = data.startswith(ORIENTING) and len(data) < SHORT_TEXT
        if kind not in TEXT or may_turn:
            kept += [struct.pack(">I4s", len(data), kind), data, struct.pack(">I", zlib.crc32(kind + data))]
    return b"".join(kept)


def whole(source: bytes) -> bool:
    """Whether the pixels of a PNG are as many bytes as its head says; True too where Pillow itself will complain."""
    unpacker = zlib.decompressobj()
    found = 0
    try:
        for kind, data in chunks(source):
            while kind == b"IDAT" and data:
                found += len(unpacker.decompress(data, UNPACKED))
                data = unpacker.unconsumed_tail
        return found + len(unpacker.flush()) >= _expected(source)
    except (zlib.error, struct.error, KeyError):
        return True


def _expected(source: bytes) -> int:
    """Bytes of all rows, with the one before each that names its filter."""
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", source, 16)
    bits = depth * CHANNELS[colour]
    total = 0
    for x, y, across, down in PASSES if interlaced else WHOLE:
        columns = -(-(width - x) // across)
        rows = -(-(height - y) // down)
        if columns > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total


def transparent_sample(picture: "ImageFile.ImageFile") -> None:
    """Make the transparent grey of a PNG that is not loaded yet what Pillow's 8 bits make of it, in place."""
    value = picture.info.get("transparency")
    for _, _, _, raw in picture.tile:
        if isinstance(value, int) and raw in ("L;2", "L;4"):
            top = 2 ** int(raw[-1]) - 1
            picture.info["transparency"] = (value & top) * 255 // top


def profile_of(picture: "ImageFile.ImageFile", source: bytes, note: Report) -> bytes | None:
    """ICC profile of a PNG, by the first that it has of cICP, iCCP, sRGB, gAMA with cHRM (PNG 3, section 4.3).

    source: the file, or nothing where it is not at hand. Raises FormatError for PQ and HLG.
    """
    info = picture.info
    grey = picture.mode in ("1", "L", "LA", "I;16", "I")
    for kind, data in chunks(source):
        if kind == b"cICP" and len(data) >= 4:
            return _coded(data, grey, note)
        if kind == b"IDAT":
            break
    if "icc_profile" in info or "srgb" in info or not {"gamma", "chromaticity"} & info.keys():
        return info.get("icc_profile")
    lowest, highest = SRGB_GAMMA
    gamma = info.get("gamma", lowest)
    usual = gamma <= 0 or lowest <= gamma <= highest
    curve = profiles.SRGB_CURVE if usual else (1 / gamma,)
    named = []
    if "gamma" in info:
        named.append(f"gAMA {gamma:g}")
    if "chromaticity" in info:
        named.append("cHRM")
    title = " and ".join(named)
    try:
        return _profile(title, curve, info.get("chromaticity", SRGB), grey)
    except (ValueError, ZeroDivisionError, struct.error) as error:
        note(f"its {title} are ignored, they make no sense ({error})")
        return None


def _coded(data: bytes, grey: bool, note: Report) -> bytes | None:
    """Of a cICP chunk."""
    primaries, curve, matrix, full = data[:4]
    if curve in BRIGHT:
        raise FormatError(f"{BRIGHT[curve]} pictures are not supported: convert it to sRGB first (tone mapping)")
    if primaries not in PRIMARIES or curve not in CURVES or matrix or not full:
        note(f"its cICP {primaries}/{curve}/{matrix}/{full} is ignored: it is not supported")
        return None
    return _profile(f"cICP {primaries}/{curve}", CURVES[curve], PRIMARIES[primaries], grey)


def _profile(title: str, curve: Sequence[float], chromaticities: Sequence[float], grey: bool) -> bytes:
    if grey:
        return profiles.grey_profile(title, curve)
    return profiles.rgb_profile(title, curve, chromaticities)
