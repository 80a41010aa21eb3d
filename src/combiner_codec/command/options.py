"""Options that several commands share, and how their values are read."""

import sys
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..format.header import MAX_PIXELS, MAX_SIDE
from ..picture.scaling import PREVIEW_BYTES, PREVIEW_SIDE

if TYPE_CHECKING:
    from ..format.prior import Prior

LARGEST = sys.float_info.max


PATIENCE = 600.0  # seconds


def positive(ctx, param, value: float | None) -> float | None:
    """Callback of an option that takes a positive number; a wanted PSNR may be infinite."""
    most = inf if param.name == "target_psnr" else LARGEST
    if value is not None and not 0 < value <= most:
        raise click.BadParameter("must be a positive number")
    return value


def numbers(kind: Callable) -> Callable:
    """Callback of an option that takes numbers with commas between them."""

    def parse(ctx, param, value):
        if not value:
            return None
        try:
            return tuple(kind(part) for part in value.split(","))
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return parse


def betas_of(ctx, param, values: tuple[str, ...]) -> tuple[float, ...]:
    """Positive numbers of an option that may be given several times, each with commas."""
    parse = numbers(float)
    found = []
    for value in values:
        for beta in parse(ctx, param, value) or ():
            found.append(positive(ctx, param, beta))
    return tuple(found)


def colour(ctx, param, value: str | None) -> str | None:
    """Callback of an option that takes a colour."""
    if value is not None:
        from ..picture import image

        try:
            image.colour(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return value


def size_of(ctx, param, value: str | None) -> tuple[int, int] | None:
    """Callback of an option that takes WxH."""
    if value is None:
        return None
    parts = value.lower().split("x")
    if len(parts) != 2 or not all(map(_is_side, parts)):
        raise click.BadParameter(f"must be WIDTHxHEIGHT, such as 640x480, each up to {MAX_SIDE}")
    width, height = parts
    return int(width), int(height)


def _is_side(text: str) -> bool:
    """Whether a text is the width or height of a picture."""
    if not text.isdecimal() or len(text) > len(str(MAX_SIDE)):
        return False
    return 0 < int(text) <= MAX_SIDE


def preview_options(command: Callable) -> Callable:
    """The options --preview, --side and --data-url."""
    options = [
        click.option("--data-url", is_flag=True, help="Print data: URLs instead of writing files."),
        click.option("--side", metavar="PIXELS", type=click.IntRange(1), default=PREVIEW_SIDE, show_default=True,
                     help="Square that a preview fits."),
        click.option("--preview", is_flag=True,
                     help=f"Scale down, and make the best file of at most {PREVIEW_BYTES} bytes or --target-size."),
    ]  # fmt: skip
    for option in options:
        command = option(command)
    return command


def pixel_limit(command: Callable) -> Callable:
    """The option --max-pixels."""
    return click.option(
        "--max-pixels", metavar="N", type=click.IntRange(0), default=MAX_PIXELS, show_default=True,
        help="Refuse files of more pixels, which take memory and time; 0: no limit.",
    )(command)  # fmt: skip


def common(command: Callable) -> Callable:
    """Options of commands that turn inputs into outputs."""
    options = [
        click.option("--patience", type=click.FloatRange(0), default=PATIENCE, show_default=True, metavar="SECONDS",
                     help="Under torchrun: how long another process may give no sign of life."),
        click.option("--sync/--no-sync", default=True,
                     help="Have each output on the disk before it is reported, which takes some milliseconds [yes]."),
        click.option("--threads", type=click.IntRange(0), default=0, help="Processor threads [all]."),
        click.option("--output-dir", type=click.Path(file_okay=False, path_type=Path),
                     help="Folder for the outputs; folders among the inputs are mirrored into it."),
        click.option("--skip-existing", is_flag=True, help="Leave out inputs whose output is there already."),
        click.option("-f", "--force", is_flag=True, help="Replace files whose name the command has chosen."),
        click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
        click.option("-o", "--output", metavar="FILE", help="Output; - is standard output."),
        click.argument("inputs", nargs=-1, required=True, metavar="IN..."),
    ]  # fmt: skip
    for option in options:
        command = option(command)
    return command


def custom_prior(command: Callable) -> Callable:
    """The option --prior of commands that read files."""
    return click.option("--prior", metavar="NAME|FILE", help="The custom prior that a file was made with.")(command)


def choose_prior(name: str | None) -> "Prior | None":
    """A prior by the name of a shipped one or of a file; None without a name. Raises FormatError."""
    from ..format import prior as priors

    return priors.find(name) if name else None
