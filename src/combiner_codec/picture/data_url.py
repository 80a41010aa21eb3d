"""Files as `data:` URLs (RFC 2397), which stand in pages in the place of addresses. Standard library only."""

import base64
import binascii
from typing import BinaryIO

from ..errors import FormatError
from ..format.header import MAGIC

MIME = "image/x-combiner"
BEGIN = b"data:"
COLOUR = "color"  # a parameter of our URLs
OURS = f"data:{MIME};base64"


def data_url(data: bytes, colour: str | None = None) -> str:
    """A file as a URL; colour: #rrggbb, which a page may show before it has the prior."""
    parameter = f";{COLOUR}={colour.removeprefix('#')}" if colour else ""
    return f"{BEGIN.decode()}{MIME}{parameter};base64,{base64.b64encode(data).decode()}"


def is_data_url(name: "str | bytes") -> bool:
    """Whether a name, or what a file holds, is such a URL."""
    begin = name[: len(BEGIN)]
    return begin == (BEGIN.decode() if isinstance(begin, str) else BEGIN)


def read_coded(file: BinaryIO) -> bytes:
    """What a .cmb file holds, or one with its data: URL. Raises FormatError for another URL.

    Of what begins like neither only the beginning is read: it may never end.
    """
    data = file.read(len(BEGIN))
    if data.startswith((MAGIC, BEGIN)):
        data += file.read()
    return from_data_url(data) if is_data_url(data) else data


def from_data_url(url: "str | bytes") -> bytes:
    """The file in a URL. Raises FormatError for one of another kind or with anything but base64 in it."""
    from urllib.parse import unquote_to_bytes

    text = url.encode("utf-8", "replace") if isinstance(url, str) else url
    head, _, body = text.partition(b",")
    kind, *parameters = head.lower().split(b";")
    told = [part for part in parameters if not part.startswith(COLOUR.encode() + b"=")]
    if kind != BEGIN + MIME.encode() or told != [b"base64"]:
        raise FormatError(f"a data: URL of another kind: one of ours begins with {OURS},")
    body = b"".join(unquote_to_bytes(body).split())  # pages may break lines and escape + and /
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise FormatError(f"its data: URL is damaged: {error}") from error
