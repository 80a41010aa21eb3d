"""Files that are written whole or not at all: under another name first, which is changed when all of it is there."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".combiner-"  # what names begin with while a file is written
READABLE = 0o666  # mode of a new file, less the umask
PRIVATE = 0o600  # mode of what will replace a file, until it gets that file's
UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)  # by file systems that do not know fsync


@contextmanager
def whole_file(path: Path, replace: bool = True, sync: bool = True) -> Iterator[BinaryIO]:
    """A file to write, in the place of `path` once the block has ended well; after an error nothing has changed.

    A file that is replaced keeps its mode, and its owner as far as the system allows; other hard links to it keep the
    old content. replace: False raises FileExistsError where there is something of this name by then. sync: the system
    has everything on the disk before the name is changed, and the name before this returns. Raises OSError.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.urandom(8).hex()}")
    mode = PRIVATE if path.exists() else READABLE
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
            file.flush()
            _resemble(file.fileno(), path)
            if sync:
                sync_file(file.fileno())
        _place(temporary, path, replace)
        if sync:
            sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _resemble(descriptor: int, path: Path) -> None:
    """Give a file mode, group and owner of the one that it will replace, if there is one."""
    try:
        old = path.stat()
    except FileNotFoundError:
        return
    mode = stat.S_IMODE(old.st_mode)
    if not _given(descriptor, group=old.st_gid):
        mode &= ~stat.S_IRWXG  # what one group was allowed is not for another
    _given(descriptor, owner=old.st_uid)
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, mode)


def _given(descriptor: int, owner: int = -1, group: int = -1) -> bool:
    """Whether a file has this owner or group now; most users may not give files away."""
    state = os.fstat(descriptor)
    if owner in (-1, state.st_uid) and group in (-1, state.st_gid):
        return True
    try:
        os.fchown(descriptor, owner, group)
    except (OSError, AttributeError):  # Windows has no such thing
        return False
    return True


def _place(temporary: Path, path: Path, replace: bool) -> None:
    """Change the name. Raises FileExistsError where nothing may be replaced and something is there."""
    if replace:
        os.replace(temporary, path)
        return
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: FAT, some of the network
        _place_unlinked(temporary, path)
    else:
        temporary.unlink()


def _place_unlinked(temporary: Path, path: Path) -> None:
    """The same without hard links: an empty file takes the name first, which fails where there is one."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE))
    try:
        os.replace(temporary, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can do that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:  # one that may not be listed; Windows
        return
    try:
        sync_file(descriptor)
    finally:
        os.close(descriptor)


def sync_file(descriptor: int) -> None:
    """Have what was written on the disk, where the file system can do that. Raises OSError where the disk cannot."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
