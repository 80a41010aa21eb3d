"""What a command has to do: pairs of input and output, settled before the work begins."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click

from ..errors import CombinerError, FileError
from .files import STANDARD_OUTPUT, STDIO, check, label, special
from .ranks import Ranks
from .terminal import collected, say


class Job(NamedTuple):
    source: str
    target: str


@dataclass(frozen=True)
class Kind:
    """What a command makes of what."""

    suffix: str  # of outputs
    inputs: tuple[str, ...]  # suffixes of files in folders that it takes
    is_output: Callable[[str], bool]  # whether the last of two names is that of the output
    check: Callable[[str], object] = str  # raises CombinerError for an output's name that will not do


@dataclass(frozen=True)
class Plan:
    """What a user asks for. Raises UsageError where that is contradictory."""

    inputs: Sequence[str]
    output: str | None = None
    folder: Path | None = None
    force: bool = False
    skip: bool = False
    quiet: bool = False
    printed: bool = False  # outputs are lines on standard output

    def __post_init__(self):
        if self.output and (self.folder or len(self.inputs) > 1):
            raise click.UsageError("-o takes one input and no --output-dir")
        if self.force and self.skip:
            raise click.UsageError("--force and --skip-existing exclude each other")
        if list(self.inputs).count(STDIO) > 1:
            raise click.UsageError("standard input can be named once")

    def jobs(self, kind: Kind, ranks: Ranks, failures: list[CombinerError]) -> list[Job]:
        """This process's jobs; what cannot be done is added to the failures. Raises UsageError."""
        inputs, output = self.inputs, self.output
        if len(inputs) == 2 and not output and not self.folder and kind.is_output(inputs[1]):
            inputs, output = inputs[:1], inputs[1]  # of a name that was not given with -o, which may replace files
        if self.printed and (self.folder or output not in (None, STDIO, *STANDARD_OUTPUT)):
            raise click.UsageError("--data-url takes neither -o FILE nor --output-dir")
        named = {}  # job by output
        for source, below in self._sources(inputs, kind, failures if ranks.rank == 0 else []):
            printed = self.printed or output in STANDARD_OUTPUT
            target = STDIO if printed else output or self._target(source, below, kind)
            job = Job(source, target)
            place = source if self.printed else STDIO if target == STDIO else os.path.realpath(target)
            other = named.setdefault(place, job)
            if other is not job:
                raise click.UsageError(f"{other.source} and {source} would both be written to {target}")
        return list(self._checked(ranks.share(list(named.values())), kind, failures))

    def _sources(self, inputs, kind, failures) -> Iterator[tuple[str, str | None]]:
        """Files, each once, and the path below --output-dir of those in folders."""
        seen = set()
        for name in inputs:
            with collected(failures):
                for source, below in self._files(name, kind, failures):
                    real = os.path.realpath(source) if source != STDIO else STDIO
                    if real not in seen:
                        seen.add(real)
                        yield source, below

    def _files(self, name, kind, failures):
        if not name:
            raise FileError("'' is no file name")
        if name == STDIO or not os.path.isdir(name):
            return [(name, None)]
        if not self.folder and not self.printed:
            raise click.UsageError(f"{name} is a folder: name an --output-dir")
        found = list(_walk(name, kind.inputs, failures))
        if not found:
            raise FileError(f"{name}: no files in it that end with {', '.join(kind.inputs)}")
        return found

    def _target(self, source, below, kind):
        """The output's name for an input."""
        if source == STDIO:
            if self.folder:
                raise click.UsageError("standard input has no name: use -o")
            return STDIO
        path = Path(below or source)
        path = Path(below or path.name) if self.folder else path
        return str((self.folder or Path()) / path.with_suffix(kind.suffix))

    def _checked(self, jobs, kind, failures) -> Iterator[Job]:
        for job in jobs:
            with collected(failures):
                exists = job.target != STDIO and os.path.exists(job.target)
                if exists and self.skip:
                    say(self.quiet, f"{job.target} exists, skipped")
                    continue
                self._check(job, exists)
                kind.check(job.target)
                yield job

    def _check(self, job, exists):
        source, target = job
        if exists and not (self.force or self.output or special(target)):
            raise FileError(f"{target} exists: use -f to replace it, or name the output with -o")
        if STDIO not in job and os.path.realpath(source) == os.path.realpath(target) and not special(target):
            raise FileError(f"{target} is both input and output")
        if not self.printed:
            check(target, self.folder and str(self.folder))


def _walk(folder, suffixes, failures) -> Iterator[tuple[str, str]]:
    """Files of a folder and of all folders in it, without hidden ones, and their paths from there."""

    def unreadable(error):
        with collected(failures):
            raise FileError(f"{error.filename}: {error.strerror}") from error

    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for name in sorted(names):
            if name[0] != "." and name.lower().endswith(suffixes):
                path = os.path.join(place, name)
                yield path, os.path.relpath(path, folder)


def beside(jobs: Sequence[Job], name: str, option: str) -> None:
    """Check one more output, of an only input, that an option names. Raises UsageError or FileError."""
    if len(jobs) > 1 or name == STDIO:
        raise click.UsageError(f"{option} takes a file name and one input")
    if jobs and os.path.realpath(name) in {os.path.realpath(other) for other in jobs[0]}:
        raise FileError(f"{label(name)} is named twice")
    check(name)
