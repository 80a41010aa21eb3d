"""Claims: processes that fill the same folders leave each other's outputs alone, on one machine or on many.

A claim is a lock on one byte of a hidden file in the output's folder, which byte follows from the output's name. The
system keeps these locks, over NFS its server does, and they go when their process does, however it ends: there is
nothing to expire. Byte 0 is locked, in common, by all who use the file; the last of them removes it.

Where locks cannot be had, there are no claims: work is done twice then, and the first to finish keeps the name.
"""

import os

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCKS = ".combiner-locks"  # the hidden file
USE = 0  # byte that tells that a process uses the file
BYTES = 2**62  # that a name may stand for
FOLDERS = 64  # most whose files are open at once; outputs in others are not claimed


class Claims:
    """The outputs that this process has claimed."""

    def __init__(self):
        self._files: dict[str, int] = {}  # descriptor of the hidden file, by folder
        self._held: dict[str, set[int]] = {}  # bytes that are locked, by folder

    def take(self, target: str) -> bool:
        """Whether an output is this process's now; False where another one has claimed it."""
        folder, byte = _place(target)
        if folder not in self._files and not self._opened(folder):
            return True
        try:
            fcntl.lockf(self._files[folder], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):  # what systems say of a byte that another one has locked
            if not self._held[folder]:
                self._close(folder)
            return False
        except OSError:
            pass
        self._held[folder].add(byte)
        return True

    def release(self, target: str) -> None:
        """An output is done, or will not be."""
        folder, byte = _place(target)
        if byte not in self._held.get(folder, ()):
            return
        self._held[folder].remove(byte)
        if self._held[folder]:
            _unlock(self._files[folder], byte)
        else:
            self._close(folder)

    def release_all(self) -> None:
        """All that is still claimed."""
        for folder in list(self._files):
            self._close(folder)

    def _opened(self, folder: str) -> bool:
        """Use the hidden file of a folder, which is made where it is missing, if that can be done."""
        if fcntl is None or len(self._files) >= FOLDERS:
            return False
        try:
            os.makedirs(folder, exist_ok=True)
            self._files[folder] = _use(os.path.join(folder, LOCKS))
        except OSError:
            return False
        self._held[folder] = set()
        return True

    def _close(self, folder: str) -> None:
        """Leave a hidden file, and remove it where nobody else uses it."""
        descriptor = self._files.pop(folder)
        del self._held[folder]
        try:
            _unlock(descriptor, USE)  # else two that leave at once would each wait for the other
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, USE)
            path = os.path.join(folder, LOCKS)
            if _is_at(descriptor, path):
                os.unlink(path)
        except OSError:
            pass
        finally:
            os.close(descriptor)


def _place(target: str) -> tuple[str, int]:
    """Folder of an output, and the byte that its name stands for."""
    import hashlib

    folder, name = os.path.split(os.path.realpath(target))
    digest = hashlib.sha256(os.fsencode(name)).digest()
    return folder, 1 + int.from_bytes(digest[:8], "big") % BYTES


def _use(path: str) -> int:
    """Descriptor of the hidden file, which nobody removes now. Raises OSError."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_SH, 1, USE)
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # of a file that its last user has removed meanwhile


def _is_at(descriptor: int, path: str) -> bool:
    """Whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _unlock(descriptor: int, byte: int) -> None:
    fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, byte)
