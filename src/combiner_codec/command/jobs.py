"""What a command has to do: pairs of input and output, settled before the work begins."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import click

from ..errors import CombinerError, FileError
from ..picture.folders import files_below
from .files import STANDARD_OUTPUT, STDIO, check, label, nameless, special
from .terminal import collected, say


class Job(NamedTuple):
    """An input, and where its output goes."""

    source: str
    target: str
    replace: bool = True  # whether the output may take the place of a file


@dataclass(frozen=True)
class Kind:
    """What a command makes of what."""

    suffix: str  # of outputs
    inputs: tuple[str, ...]  # suffixes of files in folders that it takes
    is_output: Callable[[str], bool]  # whether the last of two names is that of the output
    check: Callable[[str], object] = str  # raises CombinerError for an output's name that will not do
    packages: Mapping[str, str] = field(default_factory=dict)  # by suffix: what would have to be installed for more


@dataclass(frozen=True)
class Plan:
    """What a user asks for. Raises UsageError where that is contradictory."""

    inputs: Sequence[str]
    output: str | None = None
    folder: Path | None = None
    force: bool = False
    skip: bool = False
    quiet: bool = False
    printed: bool = False  # outputs are lines on standard output, one for every input
    append: bool | None = None  # whether the suffix is added to the whole name; None: a command that cannot

    def __post_init__(self):
        if self.output and (self.folder or len(self.inputs) > 1):
            raise click.UsageError("-o takes one input and no --output-dir")
        if self.force and self.skip:
            raise click.UsageError("--force and --skip-existing exclude each other")
        if list(self.inputs).count(STDIO) > 1:
            raise click.UsageError("standard input can be named once")

    def names(self, kind: Kind) -> tuple[Sequence[str], str | None]:
        """Inputs, and the output where it is named. Raises UsageError."""
        inputs = self.inputs
        output = self.output
        if len(inputs) == 2 and not output and not self.folder and kind.is_output(inputs[1]):
            output = inputs[1]
            inputs = inputs[:1]
        if self.printed and (self.folder or output not in (None, STDIO, *STANDARD_OUTPUT)):
            raise click.UsageError("--data-url takes neither -o FILE nor --output-dir")
        return inputs, output

    def shared(self, kind: Kind) -> bool:
        """Whether several processes may share the inputs out: not one input, and not one output."""
        inputs, output = self.names(kind)
        several = len(inputs) > 1 or os.path.isdir(inputs[0])
        return several and output is None and not self.printed

    def jobs(self, kind: Kind, failures: list[CombinerError] | None) -> list[Job]:
        """All jobs, not yet checked; inputs that are none are added to the failures. Raises UsageError.

        failures: None where another process tells of them.
        """
        inputs, output = self.names(kind)
        replace = self.force or (self.output is not None and not self.skip)
        if self.printed:
            return [Job(source, STDIO) for source, _ in self._sources(inputs, kind, failures)]
        jobs: dict[str, Job] = {}  # by output
        for source, below in self._sources(inputs, kind, failures):
            target = output or self._target(source, below, kind)
            if target in STANDARD_OUTPUT:
                target = STDIO
            place = STDIO if target == STDIO else os.path.realpath(target)
            other = jobs.setdefault(place, Job(source, target, replace))
            if os.path.realpath(other.source) != os.path.realpath(source):
                raise click.UsageError(self._collision(other.source, source, target))
        return list(jobs.values())

    def checked(self, jobs: Sequence[Job], kind: Kind, failures: list[CombinerError]) -> list[Job]:
        """Jobs that can be done, as far as that can be told; the others are added to the failures."""
        found = []
        for job in jobs:
            with collected(failures):
                exists = job.target != STDIO and os.path.exists(job.target)
                if exists and self.skip:
                    say(self.quiet, f"{job.target} exists, skipped")
                    continue
                self._check(job, exists)
                kind.check(job.target)
                found.append(job)
        return found

    def _sources(self, inputs, kind, failures) -> Iterator[tuple[str, str | None]]:
        """Files, and the path below --output-dir of those in folders; each name once, unless all are printed."""
        seen = set()
        for name in inputs:
            with collected(failures):
                for source, below in self._files(name, kind, failures):
                    entry = _entry(source)
                    if self.printed or entry not in seen:
                        seen.add(entry)
                        yield source, below

    def _files(self, name, kind, failures):
        if not name and not self.printed:
            raise FileError("'' is no file name")
        if nameless(name) or not os.path.isdir(name):
            return [(name, None)]
        if not self.folder and not self.printed:
            raise click.UsageError(f"{name} is a folder: name an --output-dir")

        def unreadable(error):
            with collected(failures):
                raise FileError(f"{error.filename}: {error.strerror}") from error

        found = []
        others = Counter()
        for path in files_below(name, unreadable):
            if path.lower().endswith(kind.inputs):
                found.append((path, os.path.relpath(path, name)))
            elif not path.lower().endswith(kind.suffix):  # outputs may be there already
                others[os.path.splitext(path)[1].lower()] += 1
        if others and failures is not None:
            say(self.quiet, f"{name}: left out {_counted(others, kind.packages)}")
        if not found:
            raise FileError(f"{name}: no files in it that end with {', '.join(kind.inputs)}")
        return found

    def _target(self, source, below, kind):
        """The output's name for an input."""
        if nameless(source):
            if self.folder:
                raise click.UsageError(f"{label(source)} has no name: use -o")
            return STDIO
        path = Path(below or source)
        if self.folder and not below:
            path = Path(path.name)
        if self.append:
            path = path.with_name(path.name + kind.suffix)
        else:
            path = path.with_suffix(kind.suffix)
        return str((self.folder or Path()) / path)

    def _collision(self, first, second, target):
        """What is said of two inputs with one output."""
        line = f"{first} and {second} would both be written to {target}"
        if self.append is False and os.path.basename(first) != os.path.basename(second):
            line += " (--append-extension keeps both)"
        return line

    def _check(self, job, exists):
        source, target, _ = job
        if exists and not (self.force or self.output or special(target)):
            raise FileError(f"{target} exists: use -f to replace it, or name the output with -o")
        named = not nameless(source) and target != STDIO
        if named and os.path.realpath(source) == os.path.realpath(target) and not special(target):
            raise FileError(f"{target} is both input and output")
        if not self.printed:
            check(target, self.folder and str(self.folder))


def _entry(source: str) -> str:
    """A name in its folder: other names of it are the same input, a link to it is another one."""
    if nameless(source):
        return source
    folder, name = os.path.split(source)
    return os.path.join(os.path.realpath(folder), name)


def _counted(others: Counter, packages: Mapping[str, str]) -> str:
    """Numbers of files by suffix, the most frequent first, with the packages that would read them."""
    parts = []
    for suffix, count in others.most_common():
        hint = f" ({packages[suffix]} reads them)" if suffix in packages else ""
        parts.append(f"{count} {suffix or 'without suffix'}{hint}")
    return ", ".join(parts)


def beside(jobs: Sequence[Job], name: str, option: str) -> None:
    """Check one more output, of an only input, that an option names. Raises UsageError or FileError."""
    if len(jobs) > 1 or name == STDIO:
        raise click.UsageError(f"{option} takes a file name and one input")
    for job in jobs:
        if os.path.realpath(name) in (os.path.realpath(job.source), os.path.realpath(job.target)):
            raise FileError(f"{label(name)} is named twice")
    check(name)
