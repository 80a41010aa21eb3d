"""The command's files: pairs of inputs and outputs, reading, writing whole or not at all."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from .errors import FileError

STDIO = "-"


def label(name: str | Path) -> str:
    """A name as messages have it."""
    return "stdio" if str(name) == STDIO else str(name)


def read(source: str) -> bytes:
    """A file or standard input. Raises FileError."""
    if source == STDIO:
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise FileError(f"{source}: {error.strerror}") from error


def write(target: str, data: bytes) -> None:
    """Write a file whole or not at all; devices, pipes and standard output are written through, links followed.

    Raises FileError, and BrokenPipeError where nobody reads.
    """
    try:
        if target == STDIO:
            _write_through(data)
            return
        path = Path(os.path.realpath(target))
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        _replace(path, data)
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
    temporary = path.with_name(f".combiner-{os.urandom(8).hex()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class Jobs:
    """Pairs of input and output."""

    pairs: tuple[tuple[str, str], ...]

    @staticmethod
    def of(inputs: Sequence[str], output: str | None, folder: Path | None, force: bool, suffix: str) -> "Jobs":
        """Names of all outputs. Raises UsageError or FileError before any work is done."""
        if output and (folder or len(inputs) > 1):
            raise click.UsageError("-o takes one input and no --output-dir")
        if list(inputs).count(STDIO) > 1:
            raise click.UsageError("standard input can be named once")
        if folder and not folder.is_dir():
            _make(folder)
        pairs = tuple((source, output or _name(source, folder, suffix)) for source in inputs)
        for source, target in pairs:
            _check(source, target, force or output is not None)
        targets = [target for _, target in pairs]
        if len(set(targets)) < len(targets):
            raise click.UsageError("two inputs would be written to the same output")
        if STDIO in targets and sys.stdout.isatty():
            raise click.UsageError("refusing to write binary data to a terminal: use -o FILE")
        return Jobs(pairs)

    @staticmethod
    def printed(inputs: Sequence[str], output: str | None, folder: Path | None) -> "Jobs":
        """Inputs whose outputs are lines on standard output. Raises UsageError where another output is named."""
        if folder or output not in (None, STDIO):
            raise click.UsageError("--data-url takes neither -o FILE nor --output-dir")
        return Jobs(tuple((source, STDIO) for source in inputs))

    def beside(self, name: str, option: str) -> None:
        """Check one more output, of an only input, that an option names. Raises UsageError or FileError."""
        if len(self) > 1 or name == STDIO:
            raise click.UsageError(f"{option} takes a file name and one input")
        if os.path.realpath(name) in {os.path.realpath(other) for other in self.pairs[0]}:
            raise FileError(f"{name} is named twice")
        _has_folder(name)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)


def _make(folder):
    try:
        folder.mkdir()
    except OSError as error:
        raise FileError(f"{folder}: {error.strerror}") from error


def _name(source, folder, suffix):
    """The output's name for an input."""
    if source == STDIO:
        if folder:
            raise click.UsageError("standard input has no name: use -o")
        return STDIO
    path = Path(source).with_suffix(suffix)
    return str(folder / path.name if folder else path)


def _check(source, target, may_replace):
    if target == STDIO:
        return
    if os.path.exists(target) and not may_replace:
        raise FileError(f"{target} exists: use -f to replace it, or name the output with -o")
    if source != STDIO and os.path.realpath(source) == os.path.realpath(target):
        raise FileError(f"{target} is both input and output")
    _has_folder(target)


def _has_folder(target):
    parent = os.path.dirname(target) or "."
    if not os.path.isdir(parent):
        raise FileError(f"{parent}: no such folder")
