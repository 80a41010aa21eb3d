"""Pillow plugin: `Image.open("x.cmb")` and `image.save("x.cmb", beta=...)`, after `combiner_codec.register_pillow()`.

Opening reads the header alone. Faults in it make Pillow say that it cannot identify the file; faults behind it are an
OSError when the pixels are loaded.
"""

import inspect
from typing import IO

from PIL import Image, ImageFile

from .. import encode
from ..errors import FormatError
from ..format import header
from ..format import prior as priors
from ..format.prior import Prior
from .data_url import MIME

FORMAT = "COMBINER"
HEADER_BYTES = 32  # more than any header has
OPTIONS = set(inspect.signature(encode).parameters) - {"image"}


class CombinerImageFile(ImageFile.ImageFile):
    """A .cmb file that Pillow has opened."""

    format = FORMAT
    format_description = "combiner, a Bayesian implicit neural representation"
    custom: Prior | None = None  # what files of a custom prior are decoded with

    def _open(self) -> None:
        assert self.fp is not None
        try:
            head, _ = header.read(self.fp.read(HEADER_BYTES))
            if not (head.width and head.height):
                found = priors.by_number(head.prior, head.prior_hash, self.custom)
                head = head.sized(found.architecture.block)
        except FormatError as error:
            raise SyntaxError(str(error)) from error
        self._size = head.width, head.height
        self._mode = head.mode
        self.tile = [("combiner", (0, 0, *self.size), 0, ())]  # type: ignore[list-item]  # a named tuple in newer ones

    def verify(self) -> None:
        """Raises OSError unless the file is whole and undamaged, by checksum and lengths; no pixel is computed."""
        from ..decoder import parse

        assert self.fp is not None
        self.fp.seek(0)
        try:
            parse(self.fp.read(), self.custom, max_pixels=None)
        except FormatError as error:
            raise OSError(str(error)) from error
        super().verify()


class CombinerDecoder(ImageFile.PyDecoder):
    """Its pixels, once they are asked for."""

    _pulls_fd = True

    def decode(self, buffer: object) -> tuple[int, int]:
        from ..decoder import decode_array

        assert self.fd is not None
        try:
            array = decode_array(self.fd.read(), CombinerImageFile.custom)
        except FormatError as error:
            raise OSError(str(error)) from error
        self.set_as_raw(array.tobytes())
        return -1, 0


def accept(prefix: bytes) -> bool:
    """Whether a file begins like ours."""
    return prefix.startswith(header.MAGIC)


def save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """Write an image; options are those of `combiner_codec.encode`."""
    options = {}
    for name, value in image.encoderinfo.items():
        if name in OPTIONS:
            options[name] = value
    file.write(encode(image, **options))


def register(prior: Prior | None = None) -> None:
    """Make the format known to Pillow; prior: what files of a custom prior are decoded with."""
    CombinerImageFile.custom = prior
    Image.register_open(FORMAT, CombinerImageFile, accept)
    Image.register_decoder("combiner", CombinerDecoder)
    Image.register_save(FORMAT, save)
    Image.register_extension(FORMAT, ".cmb")
    Image.register_mime(FORMAT, MIME)
