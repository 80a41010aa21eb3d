"""`python -m combiner_codec.bench NAME`: what `make bench-NAME` runs."""

from pathlib import Path

import click

from ..errors import FormatError
from . import ablation as ablations
from . import border as borders
from . import cifar as cifar10
from . import crop as crops
from . import figures as drawn
from . import kodak as photographs
from . import paper
from . import speed as speeds
from . import thumbnails as small

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
OUT = click.option("--out", type=click.Path(path_type=Path), default=Path("docs/results"), show_default=True)
THREADS = click.option("--threads", type=click.IntRange(0), default=0, help="Processor threads [all].")
NOTE = click.option("--note", default="", help="A sentence about the circumstances, for the page.")


@click.group()
def main():
    """The project's own tables."""


@main.command()
@click.argument("folder", type=FOLDER)
@OUT
@click.option("--work", type=click.Path(path_type=Path), default=Path("checkpoints/bench"), show_default=True,
              help="Folder for the linear priors, learned by the first run.")  # fmt: skip
@click.option("--images", type=click.IntRange(1), default=500, show_default=True)
@click.option(
    "--only", multiple=True, type=click.Choice(cifar10.SECTIONS), help="These sections alone, for trying out."
)
@THREADS
@NOTE
def cifar(folder, only, **options):
    """The CIFAR-10 tables from FOLDER with train.npy and test.npy."""
    cifar10.run(cifar10.Cifar(folder, say=click.echo, **options), only)


@main.command()
@click.argument("folder", type=FOLDER)
@OUT
@click.option("--photos", type=FOLDER, required=True, help="Photographs that betas are found on.")
@click.option("--fast-betas", metavar="B,B,...", help="Betas of `fast`, instead of finding them.")
@click.option("--normal-betas", metavar="B,B,...", help="Betas of `normal`, instead of finding them.")
@click.option("--everything", is_flag=True, help="`normal` on all pictures, not on five.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@THREADS
@NOTE
def kodak(folder, fast_betas, normal_betas, **options):
    """The Kodak tables from FOLDER with kodim01.png … kodim24.png."""
    betas = {"fast_betas": floats(fast_betas), "normal_betas": floats(normal_betas)}
    photographs.run(photographs.Settings(folder, **betas, **options), click.echo)


@main.command()
@click.argument("photos", type=FOLDER)
@OUT
@click.option("--work", type=click.Path(path_type=Path), default=Path("checkpoints/ablation"), show_default=True)
@click.option("--betas", metavar="B,B,...", default="0.0045,0.02", show_default=True)
@click.option("--seconds", type=float, default=240.0, show_default=True, help="Training of each prior.")
@THREADS
@NOTE
def ablation(photos, betas, **options):
    """What each part of the family for photographs is worth: PHOTOS holds train/ and val/."""
    ablations.run(ablations.Settings(photos, betas=floats(betas), **options), click.echo)


@main.command()
@click.argument("picture", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/results/crop.png"), show_default=True)
@click.option("--beta", type=float, required=True)
@click.option("--box", nargs=4, type=int, required=True, metavar="LEFT TOP RIGHT BOTTOM")
@click.option("--effort", default="normal", show_default=True)
@THREADS
def crop(picture, out, beta, box, effort, threads):
    """A crop of PICTURE beside WebP and JPEG at the same file size."""
    click.echo(crops.run(picture, out, beta, box, effort, threads))


def experiment(command):
    """Options of the paper's experiments."""
    options = [
        click.argument("folder", type=FOLDER),
        OUT,
        click.option("--count", type=click.IntRange(1), help="Pictures [the paper's; fewer of Kodak without a GPU]."),
        click.option("--betas", metavar="B,B,...", help="Betas, instead of finding them or the command's own."),
        click.option("--effort", type=click.Choice(["fast", "normal", "best"]), default="normal", show_default=True),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
        THREADS,
        NOTE,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def settings_of(betas, **options) -> paper.Settings:
    return paper.Settings(betas=floats(betas), **options)


@main.command()
@experiment
def table1(**options):
    """Seconds on CIFAR-10 beside the paper's, from FOLDER with train.npy and test.npy."""
    paper.table1(settings_of(**options), click.echo)


@main.command()
@experiment
@click.option("--photos", type=FOLDER, required=True, help="Photographs that betas are found on.")
def table2(photos, **options):
    """Seconds on Kodak beside the paper's, from FOLDER with kodim01.png … kodim24.png."""
    paper.table2(settings_of(**options), click.echo, photos)


@main.command()
@experiment
@click.option("--photos", type=FOLDER, required=True, help="Photographs for the photo family.")
@click.option("--family", "families", multiple=True, type=click.Choice(list(paper.BETAS)), default=list(paper.BETAS),
              show_default=True)  # fmt: skip
def finetune(photos, families, **options):
    """What refinement is worth, on FOLDER/test.npy and centres of photographs."""
    paper.finetune(settings_of(**options), click.echo, photos, families)


@main.command()
@click.argument("samples", type=FOLDER)
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/figures"), show_default=True)
@THREADS
def figures(samples, out, threads):
    """The drawings of docs/method.md and README, from the shipped SAMPLES."""
    drawn.run(samples, out, threads, click.echo)


def of_pictures(command):
    """Arguments of what takes pictures of the caller's choice."""
    sources = click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
    return main.command()(sources(OUT(THREADS(command))))


LIMIT = click.option("--limit", type=click.IntRange(1), help="First photographs of every source.")


@of_pictures
@click.option("--effort", default="fast", show_default=True)
@LIMIT
def border(**options):
    """Both default families on pictures of 32 to 128 pixels."""
    borders.run(**options, say=click.echo)


@of_pictures
@click.option("--effort", default="normal", show_default=True)
@LIMIT
def thumbnails(**options):
    """Thumbnails of photographs at 60 to 400 bytes."""
    small.run(**options, say=click.echo)


@of_pictures
@click.option("--effort", "efforts", multiple=True, default=["fast", "normal"], show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
def speed(**options):
    """Encode and decode times beside WebP and AVIF."""
    speeds.run(**options, say=click.echo)


def floats(text: str | None) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(",")) if text else ()


if __name__ == "__main__":
    try:
        main(prog_name="combiner_codec.bench")
    except FormatError as error:
        raise SystemExit(f"combiner: {error}") from error
