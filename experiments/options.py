"""Options that several commands have."""

from pathlib import Path

import click


class Numbers(click.ParamType):
    """Numbers with commas between them, as a tuple."""

    name = "B,B,..."

    def convert(self, value, param, ctx):
        try:
            return tuple(map(float, value.split(","))) if isinstance(value, str) else tuple(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Names(click.ParamType):
    """Words with commas between them, as a tuple."""

    name = "A,B,..."

    def convert(self, value, param, ctx):
        return tuple(value.split(",")) if isinstance(value, str) else tuple(value)


NUMBERS = Numbers()
NAMES = Names()
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
EFFORTS = click.Choice(["fast", "normal", "best"])

folder = click.argument("folder", type=FOLDER)
sources = click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
photos = click.option("--photos", type=FOLDER, required=True, help="Photographs beside those that are measured.")
threads = click.option("--threads", type=click.IntRange(0), default=0, help="Processor threads [all].")
note = click.option("--note", default="", help="A sentence about the circumstances, for the page.")
limit = click.option("--limit", type=click.IntRange(1), help="First photographs of every source.")
device = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)


def out(path: str = "docs/results"):
    """--out with its default."""
    return click.option("--out", type=click.Path(path_type=Path), default=path, show_default=True)


def work(path: str):
    """--work with its default."""
    where = click.Path(path_type=Path)
    return click.option("--work", type=where, default=path, show_default=True, help="Folder for the priors it learns.")


def effort(name: str):
    """--effort with its default."""
    return click.option("--effort", type=EFFORTS, default=name, show_default=True)


def together(*options):
    """Several options as one decorator, in the order of --help."""

    def decorate(command):
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
