"""The `combiner` command. Heavy modules are imported where they are needed."""

from functools import partial
from pathlib import Path

import click

from .. import __version__
from ..format import header
from ..picture import heif
from ..picture.scaling import PREVIEW_BYTES, PREVIEW_SIDE
from .files import label, read, read_coded, special, write
from .jobs import Kind, Plan, beside
from .options import (
    PATIENCE,
    betas_of,
    choose_prior,
    colour,
    common,
    custom_prior,
    numbers,
    pixel_limit,
    positive,
    preview_options,
    size_of,
)
from .outputs import Outputs
from .process import run
from .ranks import Ranks
from .team import Team
from .terminal import named, say

EXISTING = click.Path(exists=True, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
EFFORTS = click.Choice(["fast", "normal", "best"])
TUNES = click.Choice(["psnr", "iq"])
DEVICES = click.Choice(["auto", "cpu", "cuda"])
EFFORT = "More work for better files: fast takes 0.4 of the time of normal, best 16 times it."
TUNE = "What counts: the squared error (psnr), or what people see of it (iq), which costs some PSNR."
DEVICE = "Where to fit: auto takes a GPU where torch sees one."
PICTURES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff", ".jp2", ".j2k",
            ".ppm", ".pgm", ".pbm", ".pnm", ".qoi", ".tga")  # fmt: skip


class Encode(click.Command):
    """`encode`, whose help ends with what every family reaches at every beta."""

    def format_epilog(self, ctx, formatter):
        from ..format.prior import MANIFEST, load

        for name in MANIFEST:
            metadata = load(name).metadata
            measured = metadata.get("measured")
            if not measured:
                continue
            rows = [("beta", "file size, quality")]
            for point in measured["points"]:
                rows.append((f"{point['beta']:g}", f"{point['bpp']:.2f} bpp   {point['psnr']:.2f} dB"))
            with formatter.section(f"Prior {name}, mean of {measured['images']} (normal shows more at the same size)"):
                formatter.write_dl(rows)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="combiner")
def cli():
    """Pictures as samples of Bayesian implicit neural representations (.cmb files)."""


@cli.command(cls=Encode, short_help="Pictures to .cmb files.")
@common
@click.option(
    "--append-extension", is_flag=True, help="Add .cmb to the whole name: a.png becomes a.png.cmb, not a.cmb."
)
@click.option(
    "--prior",
    metavar="NAME|FILE",
    help="Prior to use: a name or a file [small up to 32x32, else photo; nano for previews].",
)
@click.option("--target-size", type=click.IntRange(1), metavar="BYTES", help="Largest file.")
@click.option("--target-psnr", type=float, callback=positive, metavar="DB", help="Quality in dB, met to 0.2 dB.")
@click.option(
    "--quality",
    type=click.FloatRange(0, 100),
    metavar="0...100",
    help="Quality as a number: 75 is good for web pages. 50 is beta 0.0039, 75 is 0.00098, 100 is 0.00025.",
)
@click.option(
    "--beta",
    type=float,
    default=0.003,
    show_default=True,
    callback=positive,
    help="Squared error per nat, what all of these choose: smaller is better and larger.",
)
@click.option(
    "--strict", is_flag=True, help="Exit with 1 where --target-psnr is missed; the file is written all the same."
)
@click.option(
    "--kind",
    type=click.Choice(["auto", "inr", "lossless"]),
    default="auto",
    show_default=True,
    help="What pictures are stored as: a network's weights (inr), without loss, or what is better (auto).",
)
@click.option("--lossless", is_flag=True, help="The same as --kind lossless. Needs no torch.")
@click.option("--effort", type=EFFORTS, default="normal", show_default=True, help=EFFORT)
@click.option("--tune", type=TUNES, default="psnr", show_default=True, help=TUNE)
@click.option("--seed", type=click.IntRange(0, header.MAX_SEED), default=0, help="Seed of the candidate stream [0].")
@click.option("--device", type=DEVICES, default="auto", show_default=True, help=DEVICE)
@click.option(
    "--background", metavar="COLOR", callback=colour, help="Colour behind transparent pictures: a name or #rrggbb."
)
@click.option("--to-8bit", is_flag=True, help="Round pictures of 16 bits per channel.")
@click.option("--allow-truncated", is_flag=True, help="Encode what is there of pictures that end too early.")
@click.option("--save-posterior", metavar="FILE", help="Keep the fitted posterior, for combiner inspect (.npz).")
@click.option("--verify/--no-verify", default=True, help="Decode each file before it is written [yes].")
@pixel_limit
@preview_options
@click.pass_context
def encode(
    ctx, inputs, output, output_dir, force, skip_existing, quiet, threads, sync, patience, append_extension, prior,
    beta, quality, target_size, target_psnr, strict, background, to_8bit, allow_truncated, save_posterior, preview,
    side, data_url, kind, lossless, **how,
):  # fmt: skip
    """Encode pictures into .cmb files.

    IN are pictures, folders of them with --output-dir, or - for standard input. `encode in.png out.cmb` works too.
    Without a wish for size or quality, beta is 0.003. With --data-url, every input has a line, in their order; that of
    an input which fails is empty.
    """
    from ..encoder.settings import Settings, beta_of
    from ..format.prior import of_previews
    from ..picture import image
    from .encoding import Encoding, Request
    from .previews import DataUrls

    one_of(ctx, "target_size", "target_psnr", "quality", "beta")
    chosen = choose_prior(prior)
    if preview:
        one_of(ctx, "preview", "target_psnr", "quality", "beta")
        target_size = target_size or PREVIEW_BYTES
        chosen = chosen or of_previews(side, target_size)
    elif ctx.get_parameter_source("side").name != "DEFAULT":
        raise click.UsageError("--side is for --preview")
    ranks = Ranks.here()
    failures = []
    kinds = Kind(".cmb", pictures(), is_coded, packages=unread())
    plan = Plan(inputs, output, output_dir, force, skip_existing, quiet, data_url, append_extension)
    team = Team.of(plan, kinds, ranks, patience, failures)
    jobs = plan.checked(team.share, kinds, failures)
    if save_posterior:
        beside(jobs, save_posterior, "--save-posterior")
    image.take_up_to(how["max_pixels"])
    settings = Settings(
        beta=beta if quality is None else beta_of(quality),
        threads=ranks.threads(threads),
        keep_posterior=bool(save_posterior),
        kind=kind_of(kind, lossless, preview or prior or save_posterior),
        **how,
    )
    request = Request(
        settings=settings,
        target_size=target_size,
        target_psnr=target_psnr,
        prior=chosen,
        loading={"background": background, "to_8bit": to_8bit, "allow_truncated": allow_truncated},
        strict=strict,
        save_posterior=save_posterior,
        quiet=quiet,
        side=side if preview else None,
        printer=DataUrls() if data_url else None,
    )
    total = len(jobs) + len(failures)
    with team, Outputs(skip_existing, sync, quiet) as outputs:
        Encoding(request, outputs, failures).run(jobs, ranks)
        team.finish(failures, total)


@cli.command(short_help="Placeholders for pages, a line for each picture.")
@click.argument("inputs", nargs=-1, required=True, metavar="IN...")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print objects of file, width, height, cmb and color.")
@click.option(
    "--inline", is_flag=True, help="JSON, with png too: the decoded picture within 32x32, for pages without script."
)
@click.option("--css", is_flag=True, help="JSON, with css too: a gradient of four colours.")
@click.option("--target-size", type=click.IntRange(1), metavar="BYTES", default=PREVIEW_BYTES, show_default=True,
              help="Largest file.")  # fmt: skip
@click.option("--side", metavar="PIXELS", type=click.IntRange(1), default=PREVIEW_SIDE, show_default=True,
              help="Square that a preview fits.")  # fmt: skip
@click.option("--effort", type=EFFORTS, default="fast", show_default=True, help=EFFORT)
@click.option("--prior", metavar="NAME|FILE", help="Prior to use [nano up to 64x64 and 250 bytes].")
@click.option("--device", type=DEVICES, default="auto", show_default=True, help=DEVICE)
@click.option("--threads", type=click.IntRange(0), default=0, help="Processor threads [all].")
@click.option(
    "--background", metavar="COLOR", callback=colour, help="Colour behind transparent pictures: a name or #rrggbb."
)
@click.option("--to-8bit", is_flag=True, help="Round pictures of 16 bits per channel.")
@click.option("--allow-truncated", is_flag=True, help="Take what is there of pictures that end too early.")
def preview(
    inputs, quiet, as_json, inline, css, target_size, side, effort, prior, device, threads, background, to_8bit,
    allow_truncated,
):  # fmt: skip
    """Print a placeholder of every picture: a data: URL, or JSON.

    IN are pictures, folders of them, or - for standard input. Every input has a line, in their order; that of an input
    which fails is empty, or in JSON an object of file and error. Width and height are the picture's own.
    """
    from ..encoder.settings import Settings
    from ..format.prior import of_previews
    from .encoding import Encoding, Request
    from .previews import DataUrls, JsonLines

    failures = []
    kinds = Kind(".cmb", pictures(), is_coded, packages=unread())
    ranks = Ranks.here()
    team = Team.of(Plan(inputs, quiet=quiet, printed=True), kinds, ranks, PATIENCE, failures)
    request = Request(
        settings=Settings(effort=effort, device=device, threads=ranks.threads(threads), kind="inr"),
        target_size=target_size,
        target_psnr=None,
        prior=choose_prior(prior) or of_previews(side, target_size),
        loading={"background": background, "to_8bit": to_8bit, "allow_truncated": allow_truncated},
        strict=False,
        save_posterior=None,
        quiet=quiet,
        side=side,
        printer=JsonLines(inline, css) if as_json or inline or css else DataUrls(),
    )
    jobs = team.share
    total = len(jobs) + len(failures)
    with team, Outputs(skip=False, sync=False, quiet=quiet) as outputs:
        Encoding(request, outputs, failures).run(jobs, ranks)
        team.finish(failures, total)


def pictures() -> tuple[str, ...]:
    """What names of pictures in folders end with."""
    return PICTURES + heif.SUFFIXES if heif.installed() else PICTURES


def unread() -> dict[str, str]:
    """Packages that would read more pictures, by suffix."""
    return {} if heif.installed() else dict.fromkeys(heif.SUFFIXES, heif.PACKAGE)


def is_coded(name: str) -> bool:
    """Whether a name is that of a .cmb file."""
    return name.lower().endswith(".cmb")


def kind_of(kind: str, lossless: bool, of_network: object) -> str:
    """What pictures are stored as. A preview, a named prior and a kept posterior ask for a network.

    Raises UsageError for what is not without loss either.
    """
    if lossless and kind == "inr":
        raise click.UsageError("--lossless and --kind inr exclude each other")
    if lossless or kind == "lossless":
        if of_network:
            raise click.UsageError("--lossless takes no prior, keeps no posterior and makes no preview")
        return "lossless"
    return "inr" if of_network else kind


def one_of(ctx: click.Context, *names: str) -> None:
    """Raises UsageError where more than one of some options is given."""
    given = [name for name in names if ctx.get_parameter_source(name).name != "DEFAULT"]
    if len(given) > 1:
        raise click.UsageError(f"--{given[0]} and --{given[1]} exclude each other".replace("_", "-"))


@cli.command(short_help=".cmb files to pictures.")
@common
@custom_prior
@click.option(
    "--format",
    "kind",
    metavar="NAME",
    help="Format of the picture, by name or suffix [by the output's name, else PNG].",
)
@click.option("--quality", type=click.IntRange(1, 100), help="Of JPEG, WebP and AVIF [95].")
@click.option("--size", metavar="WxH", callback=size_of, help="Scale the picture smoothly to this size.")
@pixel_limit
def decode(
    inputs, output, output_dir, force, skip_existing, quiet, threads, sync, patience, prior, kind, quality, size,
    max_pixels,
):  # fmt: skip
    """Decode .cmb files into pictures.

    IN are .cmb files, folders of them with --output-dir, - for standard input, or data: URLs as encode --data-url
    prints them. `decode in.cmb out.png` works too.
    """
    from ..picture import saving
    from .decoding import Decoding

    wanted = saving.format_named(kind) if kind else None

    def format_of(target):
        return wanted or ("PNG" if special(target) else saving.format_of(target))

    def is_picture(name):
        return not is_coded(name) and "." in name

    ranks = Ranks.here()
    failures = []
    kinds = Kind(saving.suffix_of(kind) if kind else ".png", (".cmb",), is_picture, format_of)
    plan = Plan(inputs, output, output_dir, force, skip_existing, quiet)
    team = Team.of(plan, kinds, ranks, patience, failures)
    jobs = plan.checked(team.share, kinds, failures)
    if quality and any(format_of(job.target) not in saving.LOSSY for job in jobs):
        raise click.UsageError(f"--quality is for {', '.join(saving.LOSSY)}: name a --format")
    if size:
        header.check_pixels(*size, max_pixels)
    total = len(jobs) + len(failures)
    decoding = Decoding(choose_prior(prior), ranks.threads(threads), max_pixels, size, quality, format_of, quiet)
    with team, Outputs(skip_existing, sync, quiet) as outputs:
        decoding.run(jobs, outputs, failures)
        team.finish(failures, total)


@cli.command(short_help="What a .cmb file holds.")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@custom_prior
@pixel_limit
def info(file, as_json, prior, max_pixels):
    """Tell what a .cmb file holds, without decoding it."""
    import json

    from ..decoder import parse

    with named(file):
        data = read_coded(file)
        contents = parse(data, choose_prior(prior), max_pixels)
    facts = {"file": label(file)} | contents.facts(len(data))
    if as_json:
        click.echo(json.dumps(facts))
        return
    for key, value in facts.items():
        click.echo(f"{key.replace('_', ' '):21} {value}")


@cli.command(short_help="Where the bits of a .cmb file went.")
@click.argument("file")
@click.option("--posterior", metavar="FILE", help="What encode --save-posterior kept, for figures of KL.")
@click.option("--image", "original", metavar="FILE", help="The original, for PSNR and a map of errors.")
@click.option("--plot", metavar="FILE", help="Draw maps (.png, .svg).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, all maps included.")
@custom_prior
@click.option("--background", metavar="COLOR", callback=colour, help="Colour behind a transparent original.")
@click.option("--to-8bit", is_flag=True, help="Round an original of 16 bits per channel.")
@pixel_limit
def inspect(file, posterior, original, plot, as_json, prior, background, to_8bit, max_pixels):
    """Tell where the bits of a .cmb file went: layers, sizes of tiles, groups, tiles and hidden units.

    A file holds indices only. KL, its maps and the active units of the posterior are known to the encoder alone: keep
    its posterior with encode --save-posterior. All other figures follow from the file and its prior.
    """
    import json
    from dataclasses import replace

    from ..decoder import parse
    from ..encoder.fit.saved import SavedPosterior
    from ..inspect.facts import facts
    from ..inspect.figures import Inspection
    from ..inspect.text import report
    from ..picture import image
    from ..picture.reading import read_picture

    if plot:
        from ..inspect import drawing

        drawing.check(plot)  # before the work
    with named(file):
        data = read_coded(file)
        contents = parse(data, choose_prior(prior), max_pixels)
    pixels = image.load(read(original, read_picture), label(original), background, to_8bit) if original else None
    archive = read(posterior) if posterior else None
    with named(posterior):
        fitted = SavedPosterior.parse(archive, data) if posterior else None
    with named(file):
        found = Inspection(data, contents, fitted)
    with named(original):
        found = replace(found, original=pixels)
    if as_json:
        click.echo(json.dumps({"file": label(file)} | facts(found)))
    else:
        click.echo(f"{label(file)}: {report(found)}")
    if plot:
        write(plot, drawing.sheet(found, Path(plot).suffix))


@cli.command(short_help="Learn a prior from pictures.")
@click.argument("sources", nargs=-1, required=True, type=EXISTING)
@click.option("-o", "--output", required=True, type=FILE, help="Prior file.")
@click.option("--checkpoints", required=True, type=FOLDER,
              help="Folder of checkpoints; a second run goes on from them.")  # fmt: skip
@click.option("--family", type=click.Choice(["small", "photo", "nano", "combiner-cifar"]), default="small",
              show_default=True)  # fmt: skip
@click.option("--betas", callback=numbers(float), metavar="B,B,...", help="Operating points, the largest first.")
@click.option("--classes", callback=numbers(int), metavar="K,K,...",
              help="Classes of each operating point, those of merged tiles aside.")  # fmt: skip
@click.option("--steps", type=click.IntRange(1), help="Steps of all operating points together, instead of a time.")
@click.option("--batch", type=click.IntRange(1), help="Pictures per step [small 128, photo 8, nano 32].")
@click.option("--crops", type=click.IntRange(1),
              help="Random crops of each operating point [small 6000, photo 2000, nano 2600].")  # fmt: skip
@click.option("--holdout", type=click.IntRange(0), default=0, help="Images at the end of each array to leave out.")
@click.option("--validation", multiple=True, type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder of photographs to measure the prior on; may be given more than once.")  # fmt: skip
@click.option("--minutes", type=click.FloatRange(0),
              help="Time over all runs [600, combiner-cifar 40].")  # fmt: skip
@click.option("--start", metavar="PRIOR", help="Begin with this prior of the family: its name or file.")
@click.option("--device", type=DEVICES, default="auto", show_default=True, help="Where to learn: auto takes a GPU.")
@click.option("--light", is_flag=True, help="Checkpoints of a tenth of the bytes, whose crops' posteriors begin anew.")
@click.option("--seed", type=click.IntRange(0), default=0)
def train(sources, output, checkpoints, **options):
    """Learn a prior from arrays (.npy, uint8 N x 32 x 32 x 3) and folders of pictures.

    All operating points are learned at once, for --minutes over all runs or for --steps; with --minutes 0 it writes
    what a run that was cut off has learned so far.

    Runs under torchrun too: pictures are sharded over the processes.
    """
    from ..training.run import Options, run

    Ranks.here().take_gpu()
    run(list(sources), output, checkpoints, partial(say, False), Options(**options))


@cli.command(short_help="Measure this codec beside others.")
@click.argument("sources", nargs=-1, required=True, type=EXISTING, metavar="PATH...")
@click.option("--beta", "betas", multiple=True, metavar="B,B,...", callback=betas_of,
              help="Betas [0.03,0.01,0.003,0.001,0.0003].")  # fmt: skip
@click.option("--codec", metavar="NAME,NAME,...",
              help="Other codecs, or none "
                   "[jpeg,jpeg2000,webp,heic,avif,avif-slow,avif-default,avif-default-slow,jxl].")  # fmt: skip
@click.option("--metrics", metavar="NAME,NAME,...",
              help="Of psnr, msssim, ssimulacra2 and butteraugli [psnr,msssim,butteraugli].")  # fmt: skip
@click.option("--prior", "priors", multiple=True, metavar="NAME|FILE", help="Prior, once for each [by size].")
@click.option("--effort", "efforts", multiple=True, type=EFFORTS, default=["normal"], show_default=True,
              help="Efforts to measure.")  # fmt: skip
@click.option("--tune", "tunes", multiple=True, type=TUNES, default=["psnr"], show_default=True,
              help="What encode --tune makes, once for each.")  # fmt: skip
@click.option("--kind", type=click.Choice(["auto", "inr", "lossless"]), default="inr", show_default=True,
              help="What ours stores pictures as: auto takes the better by squared error + beta nats.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="First pictures of every folder or array.")
@click.option("--json", type=FILE, help="Results; a second run goes on from it.")
@click.option("--plot", type=FILE, help="Rate-distortion plot (.svg, .png).")
@click.option("--markdown", type=FILE, help="The report as a file.")
@click.option("--anchor", metavar="CODEC", help="Curve that BD-rate compares with [jpeg].")
@click.option("--published", type=click.Choice(["kodak", "cifar10"]), help="Published curves to draw as well.")
@click.option("--device", type=DEVICES, default="auto", show_default=True, help=DEVICE)
@click.option("--threads", type=click.IntRange(0), default=0, help="Processor threads [all].")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def bench(betas, codec, metrics, priors, quiet, **options):
    """Measure this codec beside others on folders, pictures and arrays (.npy, uint8 N x H x W x 3).

    Rates, PSNR, SSIM, seconds and BD-rate go to standard output. With --json, every result is kept as soon as it is
    there, and only what is missing or has changed is measured by a second run.
    """
    from ..bench import codecs, command, quality

    names = list(codecs.OTHERS) if codec is None else codec.split(",")
    names = [name for name in names if name not in ("", "none")]
    for name in names:
        if name not in codecs.OTHERS:
            raise click.BadParameter(f"{name}: known are {', '.join(codecs.OTHERS)}", param_hint="--codec")
    measures = quality.USUAL if metrics is None else tuple(metrics.split(","))
    for name in measures:
        if name not in quality.METRICS:
            raise click.BadParameter(f"{name}: known are {', '.join(quality.METRICS)}", param_hint="--metrics")
    chosen = [choose_prior(name) for name in priors] or [None]
    plan = command.Plan(betas=betas or codecs.BETAS, others=names, priors=chosen, metrics=measures, **options)
    report = command.bench(plan, partial(say, quiet))
    click.echo(report, nl=False)


def main():
    """Entry point."""
    run(cli)
