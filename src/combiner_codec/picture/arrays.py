"""Arrays of pictures in .npy files, which `train` and `bench` read."""

from pathlib import Path

import numpy as np

from ..errors import FormatError


def pictures(path: Path, side: int | None = None) -> np.ndarray:
    """(N, H, W, 3) uint8, read where it is looked at; side: what H and W must be. Raises FormatError for another array
    or file.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise FormatError(f"{path}: not an array file (.npy)") from error
    wanted = f"uint8 (N, {side or 'H'}, {side or 'W'}, 3)"
    if not isinstance(array, np.ndarray):
        raise FormatError(f"{path}: expected {wanted}, got an archive")
    fits = array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] == 3 and array.size
    if not fits or (side and array.shape[1:3] != (side, side)):
        raise FormatError(f"{path}: expected {wanted}, got {array.dtype} {array.shape}")
    return array
