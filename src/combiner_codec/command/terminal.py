"""What the command says: lines on standard error, errors with the option that would help, progress."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click

from ..errors import CombinerError, MissingError
from .files import label
from .ranks import Ranks

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
PACE = {"fast": 40, "normal": 250, "best": 4000}  # seconds a megapixel on two processor cores: docs/results/speed.md


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
    except (MemoryError, RuntimeError) as error:  # torch raises RuntimeErrors, of which no class says so everywhere
        if not isinstance(error, MemoryError) and not any(word in str(error) for word in NO_MEMORY):
            raise
        raise MissingError(f"{label(source)}: not enough memory") from error


@contextmanager
def collected(failures: list[CombinerError]) -> Iterator[None]:
    """One bad file does not stop the others."""
    try:
        yield
    except CombinerError as error:
        explain(error)
        failures.append(error)


def finish(failures: Sequence[CombinerError], total: int, ranks: Ranks) -> None:
    """Exit with code 1 where something failed, in this process or in another that shares the inputs."""
    failed, everything = ranks.sums(len(failures), total)
    if failed and everything > 1 and ranks.rank == 0:
        click.echo(f"combiner: {failed} of {everything} inputs failed", err=True)
    elif ranks.world > 1 and ranks.rank == 0:
        click.echo(f"combiner: {everything} inputs done by {ranks.world} processes", err=True)
    if failed:
        raise click.exceptions.Exit(1)


class Bar:
    """How far a job of several files is; nothing is shown without a bar of rich's."""

    def __init__(self, total: int, quiet: bool, bar=None):
        self.total, self.quiet, self.bar, self.done = total, quiet, bar, 0  # done: files
        self.task = bar.add_task("", total=total) if bar else None

    def begin(self, name: str, files: int, megapixels: float, effort: str) -> Callable[[float], None]:
        """The next files, encoded together. Returns a callback for the share of their work that is done."""
        minutes = megapixels * PACE[effort] / 60
        if minutes > 1:
            say(self.quiet, f"{name}: {megapixels:.1f} MP, about {minutes:.0f} min on two processor cores")
        if not self.bar:
            return lambda share: None
        start, last = self.done + 1, self.done + files
        which = f"file {start}" if files == 1 else f"files {start} to {last}"
        shown = os.path.basename(name)
        self.bar.update(self.task, description=f"{which} of {self.total}: {shown}" if self.total > 1 else shown)
        return lambda share: self.bar.update(self.task, completed=start - 1 + share * files)

    def end(self, files: int) -> None:
        """So many files more are done, or have failed."""
        self.done += files
        if self.bar:
            self.bar.update(self.task, completed=self.done)


@contextmanager
def progress(total: int, quiet: bool, alone: bool = True) -> Iterator[Bar]:
    """A bar for so many files, on a terminal that belongs to this process alone."""
    if quiet or not alone or not sys.stderr.isatty():
        yield Bar(total, quiet)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    names = Column(max_width=NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    columns = (TextColumn("{task.description}", markup=False, table_column=names), BarColumn(bar_width=24),
               TextColumn("{task.percentage:3.0f} %"), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Bar(total, quiet, bar)
