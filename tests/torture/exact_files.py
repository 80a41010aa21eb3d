"""Files with exact planes, put together from FORMAT.md: both codecs, every kind of picture, beside and over an INR."""

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

import plain_decoder as plain
from mutants import Parts, apart, varint

WIDTH, HEIGHT = 17, 12
VP8L, PNG = 0, 1


def drawing() -> np.ndarray:
    """A shape on a ground, red, green, blue and alpha: (HEIGHT, WIDTH, 4) uint8."""
    picture = np.full((HEIGHT, WIDTH, 4), 250, np.uint8)
    picture[3:9, 2:12] = (20, 60, 200, 255)
    picture[5, 5:] = (3, 2, 1, 0)
    return picture


def content(picture: np.ndarray, codec: int) -> bytes:
    """What an exact plane holds of a picture."""
    buffer = io.BytesIO()
    image = Image.fromarray(picture)
    if codec == PNG:
        image.save(buffer, "PNG")
        return buffer.getvalue().removeprefix(plain.SIGNATURE)
    image.save(buffer, "WEBP", lossless=True, exact=True)
    _, found, stream = buffer.getvalue().partition(b"VP8L")
    assert found
    return stream[4:][: int.from_bytes(stream[:4], "little")]


def plane(picture: np.ndarray, codec: int) -> bytes:
    """An exact plane as bytes."""
    data = content(picture, codec)
    return bytes([codec]) + varint(len(data)) + data


def parts(codec: int, channels: int, alpha: bool) -> Parts:
    """A file whose colour is exact."""
    picture = drawing() if alpha else drawing()[..., :3]
    return Parts(
        magic=b"\xf5",
        prior=0,
        channels=channels,
        usual=0,
        coder=0,
        alpha_flag=int(alpha),
        point=plain.EXACT,
        prior_hash=b"",
        width=varint(WIDTH - 1),
        height=varint(HEIGHT - 1),
        index_bits=b"",
        seed=b"",
        axes=b"",
        alpha=bytes([plain.EXACT]) if alpha else b"",
        payload=plane(picture, codec),
    )


def with_exact_alpha(data: bytes, priors: Mapping[int, bytes], codec: int) -> Parts:
    """A file of an INR, and behind it an exact plane with its alpha."""
    colour = apart(data, priors)
    header = plain.read_header(data, priors)
    mask = np.zeros((header.height, header.width, 3), np.uint8)
    mask[: header.height // 2] = 255
    payload = followed(colour, data, priors, plane(mask, codec))
    return Parts(**vars(colour) | {"alpha_flag": 1, "alpha": bytes([plain.EXACT]), "payload": payload})


def with_layer(data: bytes, priors: Mapping[int, bytes], codec: int) -> Parts:
    """A file of an INR, and an exact plane over its upper half."""
    colour = apart(data, priors)
    header = plain.read_header(data, priors)
    layer = np.full((header.height, header.width, 4), (9, 90, 200, 255), np.uint8)
    layer[header.height // 2 :] = 0
    alpha = bytes([1 << 5 | plain.EXACT])
    payload = followed(colour, data, priors, plane(layer, codec))
    return Parts(**vars(colour) | {"alpha_flag": 1, "alpha": alpha, "payload": payload})


def followed(colour: Parts, data: bytes, priors: Mapping[int, bytes], behind: bytes) -> bytes:
    """A payload and a plane behind it, wherever its bits end."""
    header = plain.read_header(data, priors)
    bits = np.unpackbits(np.frombuffer(colour.payload, np.uint8))
    _, used = plain.read_planes(header, priors, bits.tolist())
    more = np.unpackbits(np.frombuffer(behind, np.uint8))
    return np.packbits(np.concatenate([bits[:used], more])).tobytes()


def all_kinds(data: bytes, priors: Mapping[int, bytes]) -> list[Parts]:
    """data: a file of an INR without alpha."""
    found = [with_exact_alpha(data, priors, codec) for codec in (VP8L, PNG)]
    found += [with_layer(data, priors, codec) for codec in (VP8L, PNG)]
    for channels in (0, 1, 2):
        for alpha in (False, True):
            found += [parts(codec, channels, alpha) for codec in (VP8L, PNG)]
    return found
