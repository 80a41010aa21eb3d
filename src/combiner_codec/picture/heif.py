"""HEIF, the format of many telephones, which Pillow reads with the package pillow-heif."""

from importlib.util import find_spec

from ..errors import MissingError

PACKAGE = "pillow-heif"
SUFFIXES = (".heic", ".heif", ".hif")
BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")  # of HEIF that holds HEVC: ISO/IEC 23008-12
LONGEST_BOX = 1024  # bytes of that box that are looked at


def installed() -> bool:
    """Whether such pictures can be read."""
    return find_spec("pillow_heif") is not None


def is_heif(source: bytes) -> bool:
    """Whether a file is one, by the brands of its first box; AVIF is not, though it is HEIF too."""
    if source[4:8] != b"ftyp":
        return False
    length = int.from_bytes(source[:4], "big")
    brands = [source[place : place + 4] for place in range(8, min(length, LONGEST_BOX), 4)]
    return any(brand in BRANDS for brand in brands)


def register(name: str) -> None:
    """Teach Pillow to read them, as a picture of this name is one. Raises MissingError without the package."""
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingError(f"{name}: HEIF pictures need the package {PACKAGE}") from error
    pillow_heif.register_heif_opener()
