"""Pillow plugin: `Image.open("x.cmb")` and `image.save("x.cmb", beta=...)`, after `combiner_codec.register_pillow()`.

Opening reads the header alone. Faults in it make Pillow say that it cannot identify the file; faults behind it are an
OSError when the pixels are loaded.
"""

from PIL import Image, ImageFile

from . import bitstream, encode
from . import prior as priors
from .errors import FormatError
from .prior import Prior

FORMAT = "COMBINER"
HEADER_BYTES = 32  # more than any header has
OPTIONS = (
    "beta",
    "target_size",
    "target_psnr",
    "effort",
    "seed",
    "device",
    "threads",
    "prior",
    "background",
    "to_8bit",
    "verify",
)


class CombinerImageFile(ImageFile.ImageFile):
    format = FORMAT
    format_description = "combiner, a Bayesian implicit neural representation"
    custom: Prior | None = None  # what files of a custom prior are decoded with

    def _open(self) -> None:
        def tile_of(number, prior_hash):
            return priors.by_number(number, prior_hash, self.custom).architecture.tile

        try:
            header, _ = bitstream.read(self.fp.read(HEADER_BYTES), tile_of)
        except FormatError as error:
            raise SyntaxError(str(error)) from error
        self._size = header.width, header.height
        self._mode = "L" if header.grey else "RGB"
        self.tile = [("combiner", (0, 0, *self.size), 0, ())]


class CombinerDecoder(ImageFile.PyDecoder):
    _pulls_fd = True

    def decode(self, buffer) -> tuple[int, int]:
        from .codec import decode_array

        try:
            array = decode_array(self.fd.read(), CombinerImageFile.custom)
        except FormatError as error:
            raise OSError(str(error)) from error
        self.set_as_raw(array.tobytes())
        return -1, 0


def accept(prefix: bytes) -> bool:
    """Whether a file begins like ours."""
    return prefix.startswith(bitstream.MAGIC)


def save(image: Image.Image, file, filename) -> None:
    """Write an image; options are those of `combiner_codec.encode`."""
    options = {name: value for name, value in image.encoderinfo.items() if name in OPTIONS}
    file.write(encode(image, **options))


def register(prior: Prior | None = None) -> None:
    CombinerImageFile.custom = prior
    Image.register_open(FORMAT, CombinerImageFile, accept)
    Image.register_decoder("combiner", CombinerDecoder)
    Image.register_save(FORMAT, save)
    Image.register_extension(FORMAT, ".cmb")
    Image.register_mime(FORMAT, "image/x-combiner")
