"""What the command says: lines on standard error, errors with the option that would help, progress."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click

from .errors import CombinerError
from .files import label

# options of the command by the argument of the API that an error names
OPTIONS = {
    "to_8bit": "--to-8bit",
    "prior": "--prior FILE",
    "max_pixels": "--max-pixels N",
    "device": "--device auto",
    "beta": "--beta B",
}
MINUTE = 60.0
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
    """Errors about a file begin with its name."""
    try:
        yield
    except CombinerError as error:
        raise error.about(label(source)) from error


@contextmanager
def collected(failures: list[CombinerError]) -> Iterator[None]:
    """One bad file does not stop the others."""
    try:
        yield
    except CombinerError as error:
        explain(error)
        failures.append(error)


def finish(failures: Sequence[CombinerError], total: int) -> None:
    """Exit with code 1 where something failed."""
    if failures:
        if total > 1:
            click.echo(f"combiner: {len(failures)} of {total} inputs failed", err=True)
        raise SystemExit(1)


@contextmanager
def progress(pixels: int, effort: str, quiet: bool) -> Iterator[Callable[[float], None]]:
    """A callback for the share of work done: a bar on a terminal, and a line first where it takes over a minute."""
    megapixels = pixels / 1e6
    seconds = megapixels * PACE[effort]
    if seconds > MINUTE:
        say(quiet, f"encoding {megapixels:.1f} MP: about {seconds / MINUTE:.0f} min on two processor cores")
    if quiet or not sys.stderr.isatty():
        yield lambda share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("encoding"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda share: bar.update(task, completed=share)
