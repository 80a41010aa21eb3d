"""The command's files: reading, writing whole or not at all, and what can be said of an output before the work."""

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import click

from ..errors import FileError
from ..picture import data_url
from ..picture.data_url import from_data_url, is_data_url
from ..whole import sync_file, whole_file

STDIO = "-"
STANDARD_OUTPUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")  # other names of it
URL_SHOWN = 32  # characters of a data: URL in messages
MOUNTS = "/proc/self/mountinfo"  # Linux: a line for each mount, its fifth field the place (proc(5))
ESCAPED = {b"\\040": b" ", b"\\011": b"\t", b"\\012": b"\n", b"\\134": b"\\"}  # in these fields, the backslash last


def label(name: str | Path) -> str:
    """A name as messages have it."""
    name = str(name)
    if name == STDIO:
        return "stdio"
    if nameless(name):
        return f"{name[:URL_SHOWN]}…"
    return name or "''"


def nameless(source: str) -> bool:
    """Whether an input is no file: standard input, or a data: URL."""
    return source == STDIO or is_data_url(source)


def whole(file: BinaryIO) -> bytes:
    """All that a file holds."""
    return file.read()


def read(source: str, how: Callable[[BinaryIO], bytes] = whole) -> bytes:
    """A file or standard input; how: what reads it. Raises FileError."""
    try:
        if source == STDIO:
            return how(sys.stdin.buffer)
        with open(source, "rb") as file:
            return how(file)
    except OSError as error:
        raise FileError(f"{label(source)}: {error.strerror}") from error


def read_coded(source: str) -> bytes:
    """A .cmb file, or the one in a data: URL, which may be the name itself. Raises FileError and FormatError."""
    if is_data_url(source):
        return from_data_url(source)
    return read(source, data_url.read_coded)


def write(target: str, data: bytes | Iterable[bytes], replace: bool = True, sync: bool = True) -> None:
    """Write a file whole or not at all; devices, pipes and standard output are written through, links followed.

    data: all of it, or part after part. replace, sync: as `whole_file` has them. A file that something is mounted on
    cannot be replaced: it is written in place. Raises FileExistsError where nothing may be replaced, BrokenPipeError
    where nobody reads, else FileError.
    """
    parts = [data] if isinstance(data, bytes) else data
    try:
        if target == STDIO:
            for part in parts:
                _write_through(part)
        elif special(target):
            with open(target, "wb") as file:
                file.writelines(parts)
        elif replace and mounted(target):
            _write_in_place(target, parts, sync)
        else:
            path = Path(os.path.realpath(target))
            path.parent.mkdir(parents=True, exist_ok=True)  # below --output-dir
            with whole_file(path, replace, sync) as file:
                file.writelines(parts)
    except (BrokenPipeError, FileExistsError):
        raise
    except OSError as error:
        raise FileError(f"{label(target)}: {error.strerror}") from error


def _write_through(data):
    rest = memoryview(data)
    while rest:  # with PYTHONUNBUFFERED a pipe takes a part at a time
        written = sys.stdout.buffer.write(rest)
        rest = rest[written:]
    sys.stdout.buffer.flush()


def _write_in_place(target, parts, sync):
    with open(target, "wb") as file:
        file.writelines(parts)
        file.flush()
        if sync:
            sync_file(file.fileno())


def special(name: str) -> bool:
    """Whether there is something of this name that is neither file nor folder: a pipe, a device, a terminal."""
    if not os.path.exists(name):
        return False
    return not os.path.isfile(name) and not os.path.isdir(name)


def mounted(name: str) -> bool:
    """Whether a file is a mount of its own, as containers have them: no other can take its place."""
    if not os.path.isfile(name):
        return False
    try:
        lines = Path(MOUNTS).read_bytes().splitlines()
    except OSError:
        return False
    places = {line.split()[4] for line in lines}
    return _escaped(os.path.realpath(name)) in places


def _escaped(path: str) -> bytes:
    """A path as the system's list of mounts has it."""
    name = os.fsencode(path)
    for escape, character in reversed(ESCAPED.items()):
        name = name.replace(character, escape)
    return name


def check(target: str, below: str | None = None) -> None:
    """Whether an output can be written, as far as that can be told before the work.

    below: folder under which folders may be made for it. Raises FileError, and UsageError for a terminal.
    """
    if _terminal(target):
        raise click.UsageError("refusing to write binary data to a terminal: use -o FILE")
    if target == STDIO:
        return
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        mode = 0
    except OSError as error:
        raise FileError(f"{target}: {error.strerror}") from error
    if stat.S_ISDIR(mode) or target.endswith("/"):
        raise FileError(f"{target}: Is a directory: name a file, or use --output-dir")
    parent = os.path.dirname(os.path.realpath(target))
    while below is not None and not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if not os.path.isdir(parent):
        raise FileError(f"{os.path.dirname(target) or parent}: no such folder")
    changed = target if special(target) or mounted(target) else parent
    if not os.access(changed, os.W_OK):
        raise FileError(f"{target}: {_why_not(changed)}")


def _why_not(place: str) -> str:
    """What keeps a place from being written."""
    read_only = hasattr(os, "statvfs") and os.statvfs(place).f_flag & os.ST_RDONLY
    return os.strerror(errno.EROFS if read_only else errno.EACCES)


def _terminal(target):
    """Whether an output is a terminal under any name."""
    if target == STDIO:
        return sys.stdout.isatty()
    if not special(target) or not stat.S_ISCHR(os.stat(target).st_mode):
        return False
    try:
        opened = os.open(target, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
    except OSError:
        return False  # `check` says why
    try:
        return os.isatty(opened)
    finally:
        os.close(opened)
