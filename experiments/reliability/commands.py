"""The parts of docs/reliability.md as commands. `hostile` measures its own process, which must not import torch."""

import click

from .. import pages
from . import drift, golden, hostile


def put(part: str, text: str) -> None:
    """Replace one part of docs/reliability.md."""
    pages.put(golden.ROOT / "docs" / "reliability.md", part, [text])
    click.echo(text)


@click.command("golden")
@click.argument("why")
@click.option("--new", is_flag=True, help="Only files that there are not yet: the others stay.")
def golden_command(why, new):
    """Golden files anew, before 1.0 only; WHY goes to the log in their folder."""
    line = golden.write(why, new)
    golden.log(line)
    click.echo(line)


@click.command("hostile")
@click.option("--edits", type=click.IntRange(1), default=2000, show_default=True, help="Of each golden file.")
@click.option("--mutations", type=click.IntRange(1), default=10_000, show_default=True, help="With a right checksum.")
def hostile_command(edits, mutations):
    """Damaged and malicious files."""
    put("hostile", hostile.report(edits, mutations))


@click.command("hard")
def hard_command():
    """Pictures that no prior expects."""
    from . import hard

    put("hard", hard.report())


@click.command("drift")
@click.argument("pythons", nargs=-1)
def drift_command(pythons):
    """Golden files decoded in other ways, by PYTHONS with other versions of numpy too."""
    put("drift", drift.report(pythons))
