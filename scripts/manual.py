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
files that cannot be read or written; 2 for bad usage; 130 for Ctrl-C; 128 and its number for another signal.

**Outputs.** An output is written whole or not at all, as soon as it is done, and a bad file does not stop the others of
a batch. Only `-f`, or a name given with `-o`, replaces a file; one that appears while the command works is left alone
too. Each output is on the disk before its line is printed, which takes some milliseconds: `--no-sync` leaves that to
the system, for batches of thousands. A replaced file keeps its mode and, where the system allows it, its owner; its
other hard links keep the old content. Pipes, devices and files that are mounts of their own, as containers have them,
are written in place.

**Folders.** `--output-dir` mirrors folders, hidden files left out. A line counts the files of other kinds. Every name
has its output, a link too. Where `a.png` and `a.jpg` are in one folder, `--append-extension` makes `a.png.cmb` and
`a.jpg.cmb`. HEIF pictures are read where the package pillow-heif is installed.

**Several commands in one folder.** With `--skip-existing` they share the work: each claims an output before it begins,
leaves alone what another has claimed, and says so. A claim is a lock in the hidden file `.combiner-locks`, on one
machine or, by NFS, on several; it ends with its process, however that ends, and the last to leave removes the file.
Where there are no locks, work may be done twice, and the first to finish keeps the name.

**torchrun.** `encode` and `decode` share several inputs out by rank, and say so:
`torchrun --nproc-per-node 2 -m combiner_codec encode photos/ --output-dir out/`. One input, `-o` and `--data-url` are
never shared, so that a program of such a job may call the command. The processes wait for each other at the end; one
that gives no sign of life for `--patience` seconds is named, with the outputs that are missing.

**data: URLs.** `encode --data-url` and `preview` print a line for every input, in their order; that of an input which
fails is empty or names the error, and standard error says why. `decode`, `info` and `inspect` take such a URL in the
place of a name, in a file or on standard input. `preview --json` writes the picture's mean colour into it
(`data:image/x-combiner;color=6f7a80;base64,…`), which decoders read over.

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
