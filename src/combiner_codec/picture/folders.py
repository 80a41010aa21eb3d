"""Folders of pictures."""

import os
from collections.abc import Callable, Iterator


def files_below(folder: str | os.PathLike[str], unreadable: Callable[[OSError], None]) -> Iterator[str]:
    """Paths of a folder's files and of those in all folders below it, in the order of their names; no hidden ones.

    unreadable: takes the error of a folder that cannot be listed.
    """
    for place, folders, names in os.walk(os.fspath(folder), onerror=unreadable):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for name in sorted(names):
            if name[0] != ".":
                yield os.path.join(place, name)
