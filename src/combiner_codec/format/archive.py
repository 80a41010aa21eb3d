"""An .npz file of which nothing is trusted: sizes are known from its directory before anything is unpacked.

A zip archive of .npy members (FORMAT.md, section 8). numpy's own reader believes what the members claim of themselves.
"""

import io
import math
import zipfile

import numpy as np

from ..errors import FormatError

SIGNATURE = b"PK\3\4"  # what an archive begins with
SUFFIX = ".npy"
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 1  # flag of a member


def read_arrays(data: bytes, most: int) -> dict[str, np.ndarray]:
    """All arrays of an archive, by name. Raises FormatError for damage, and for more than `most` bytes unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check_directory(infos, most)
            return {info.filename.removesuffix(SUFFIX): _array(archive, info) for info in infos}
    except FormatError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds on damaged files
        raise FormatError(f"a damaged archive: {error}") from error


def _check_directory(infos, most):
    """Names, methods and sizes, as the archive's directory has them; a member that is longer is not read further."""
    names = {info.filename for info in infos}
    if len(names) < len(infos):
        raise FormatError("two members of one name")
    for info in infos:
        if not info.filename.endswith(SUFFIX) or info.compress_type not in METHODS or info.flag_bits & ENCRYPTED:
            raise FormatError(f"{info.filename!r:.60} is not a stored or deflated .npy member")
    total = sum(info.file_size for info in infos)
    if total > most:
        raise FormatError(f"{total} bytes unpacked are more than {most}")


def _array(archive, info):
    """One member, which has exactly the bytes that its own header asks for."""
    raw = archive.read(info)
    file = io.BytesIO(raw)
    if np.lib.format.read_magic(file) != (1, 0):
        raise FormatError(f"{info.filename} is not of version 1.0")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind not in "iuf":
        raise FormatError(f"{info.filename} holds no plain numbers")
    begin = file.tell()
    count = math.prod(shape)
    if len(raw) != begin + count * dtype.itemsize:
        raise FormatError(f"{info.filename} is not as long as its header says")
    numbers = np.frombuffer(raw, dtype, count, begin)
    return numbers.reshape(shape, order="F" if fortran_order else "C")
