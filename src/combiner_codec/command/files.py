"""The command's files: reading, writing whole or not at all, and what can be said of an output before the work."""

import os
import shutil
import stat
import sys
from pathlib import Path

import click

from ..errors import FileError

STDIO = "-"
STANDARD_OUTPUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")  # other names of it


def label(name: str | Path) -> str:
    """A name as messages have it."""
    return "stdio" if str(name) == STDIO else str(name) or "''"


def read(source: str) -> bytes:
    """A file or standard input. Raises FileError."""
    try:
        if source == STDIO:
            return sys.stdin.buffer.read()
        with open(source, "rb") as file:
            return file.read()
    except OSError as error:
        raise FileError(f"{label(source)}: {error.strerror}") from error


def write(target: str, data: bytes) -> None:
    """Write a file whole or not at all; devices, pipes and standard output are written through, links followed.

    A file that is replaced keeps its mode; other hard links to it keep the old content. Raises FileError, and
    BrokenPipeError where nobody reads.
    """
    try:
        if target == STDIO:
            _write_through(data)
        elif special(target):
            Path(target).write_bytes(data)
        else:
            _replace(Path(os.path.realpath(target)), data)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FileError(f"{label(target)}: {error.strerror}") from error


def _write_through(data):
    rest = memoryview(data)
    while rest:  # with PYTHONUNBUFFERED a pipe takes a part at a time
        rest = rest[sys.stdout.buffer.write(rest) :]
    sys.stdout.buffer.flush()


def _replace(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)  # below --output-dir
    temporary = path.with_name(f".combiner-{os.urandom(8).hex()}")
    try:
        temporary.write_bytes(data)
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def special(name: str) -> bool:
    """Whether there is something of this name that is neither file nor folder: a pipe, a device, a terminal."""
    return os.path.exists(name) and not os.path.isfile(name) and not os.path.isdir(name)


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
    if not os.access(target if special(target) else parent, os.W_OK):
        raise FileError(f"{target}: Permission denied")


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
