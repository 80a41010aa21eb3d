"""`python scripts/manual.py docs/cli.md`: the manual page of every command, from the commands themselves."""

import inspect
import sys
from pathlib import Path

import click

from combiner_codec.command.cli import cli

INTRODUCTION = """\
# combiner: commands

Made from the commands by `make docs`. `combiner COMMAND --help` says the same on a terminal.

`-` is standard input or output. Progress and summaries go to standard error. Exit codes: 0; 1 for bad data and for
files that cannot be read or written; 2 for bad usage; 130 for Ctrl-C. An output is written whole or not at all, as soon
as it is done, and a bad file does not stop the others of a batch. Pipes and devices are written through; a replaced
file keeps its mode, and its other hard links keep the old content.

Under torchrun, `encode` and `decode` share their inputs out by rank:
`torchrun --nproc-per-node 2 -m combiner_codec encode photos/ --output-dir out/`.

Shell completion, for bash (zsh and fish likewise):

```console
$ eval "$(_COMBINER_COMPLETE=bash_source combiner)"      # in ~/.bashrc
```
"""


def manual() -> str:
    """All pages as Markdown."""
    context = click.Context(cli, info_name="combiner")
    names = cli.list_commands(context)
    return "\n".join([INTRODUCTION, *(page(cli.get_command(context, name), context) for name in names)])


def page(command: click.Command, parent: click.Context) -> str:
    """One command: usage, description, options."""
    context = click.Context(command, info_name=command.name, parent=parent)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = [f"## {context.command_path}", "", "```", usage, "```", "", inspect.cleandoc(command.help or ""), ""]
    lines += ["| Option | |", "| --- | --- |"]
    lines += [row(option) for option in command.params if isinstance(option, click.Option)]
    return "\n".join([*lines, ""])


def row(option: click.Option) -> str:
    """A row of the table of options."""
    if isinstance(option.type, click.Choice):
        value = "|".join(option.type.choices)
    else:
        value = option.metavar or option.type.name.split()[0].upper()
    names = ", ".join(option.opts) + ("" if option.is_flag else f" {value}")
    default = f" [{', '.join(option.default) if option.multiple else option.default}]" if option.show_default else ""
    cells = f"`{names}`", f"{option.help or ''}{default}".strip()
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(manual(), encoding="utf-8")
