"""What the command says: lines on standard error, errors with the option that would help, progress."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from ..errors import CombinerError, MissingError
from .files import label

# options of the command by the argument of the API that an error names
OPTIONS = {
    "kind": "--kind",
    "to_8bit": "--to-8bit",
    "prior": "--prior FILE",
    "max_pixels": "--max-pixels N",
    "device": "--device auto",
    "beta": "--beta B",
    "allow_truncated": "--allow-truncated",
}
NO_MEMORY = ("out of memory", "can't allocate memory", "bad_alloc", "bad allocation")
NAME_WIDTH = 32  # most that the bar shows of a file's name


def say(quiet: bool, line: str) -> None:
    """A line on standard error."""
    if not quiet:
        click.echo(line, err=True)


def explain(error: CombinerError) -> None:
    """An error's line, with the command's own option where one would help."""
    hint = f" ({OPTIONS.get(error.parameter, error.parameter)})" if error.parameter else ""
    click.echo(f"combiner: {error.message}{hint}", err=True)


@contextmanager
def named(source: str) -> Iterator[None]:
    """Errors about a file begin with its name; too little memory is one."""
    try:
        yield
    except CombinerError as error:
        raise error.about(label(source)) from error
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        raise MissingError(f"{label(source)}: not enough memory") from error


def lacks_memory(error: Exception) -> bool:
    """Whether an error is about memory: torch raises RuntimeErrors, of which no class says so everywhere."""
    return isinstance(error, MemoryError) or any(word in str(error) for word in NO_MEMORY)


@contextmanager
def collected(failures: list[CombinerError] | None) -> Iterator[None]:
    """One bad file does not stop the others. failures: None where another process tells of them."""
    try:
        yield
    except CombinerError as error:
        if failures is not None:
            explain(error)
            failures.append(error)


class Bar:
    """How far a job of several files is; nothing is shown without a bar of rich's."""

    def __init__(self, total: int, bar=None):
        self.total = total
        self.bar = bar
        self.done = 0  # files
        self.task = bar.add_task("", total=total) if bar else None

    def begin(self, name: str, files: int) -> Callable[[float], None]:
        """The next files, encoded together. Returns a callback for the share of their work that is done."""
        if not self.bar:
            return lambda share: None
        done = self.done
        which = f"file {done + 1}" if files == 1 else f"files {done + 1} to {done + files}"
        shown = os.path.basename(name)
        if self.total > 1:
            shown = f"{which} of {self.total}: {shown}"
        self.bar.update(self.task, description=shown)
        return lambda share: self.bar.update(self.task, completed=done + share * files)

    def end(self, files: int) -> None:
        """So many files more are done, or have failed."""
        self.done += files
        if self.bar:
            self.bar.update(self.task, completed=self.done)


@contextmanager
def progress(total: int, quiet: bool, alone: bool = True) -> Iterator[Bar]:
    """A bar for so many files, on a terminal that belongs to this process alone."""
    if quiet or not alone or not sys.stderr.isatty():
        yield Bar(total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    names = Column(max_width=NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    columns = [
        TextColumn("{task.description}", markup=False, table_column=names),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Bar(total, bar)
