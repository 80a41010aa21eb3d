"""The `combiner` command. Heavy modules are imported where they are needed."""

import os
import signal
import sys
import time
from pathlib import Path

import click

from . import __version__
from .errors import CombinerError
from .files import Jobs, label, read, write
from .format.header import MAX_SEED
from .inputs import Input, batches, by_prior, name_of
from .options import (
    betas_of,
    choose_prior,
    colour,
    common,
    numbers,
    picture_format,
    pixel_limit,
    positive,
    preview_options,
    size_of,
)
from .terminal import collected, explain, finish, named, progress, say


class Encode(click.Command):
    """`encode`, whose help ends with what every family reaches at every beta."""

    def format_epilog(self, ctx, formatter):
        from .format.prior import MANIFEST, load

        for name in MANIFEST:
            metadata = load(name).metadata
            measured = metadata.get("measured")
            if not measured:
                continue
            with formatter.section(f"Prior {name}, mean of {measured['images']}"):
                rows = [(f"{r['beta']:g}", f"{r['bpp']:.2f} bpp   {r['psnr']:.2f} dB") for r in measured["points"]]
                formatter.write_dl([("beta", "file size, quality"), *rows])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="combiner")
def cli():
    """Pictures as samples of Bayesian implicit neural representations (.cmb files)."""


@cli.command(cls=Encode)
@common
@click.option("--beta", type=float, default=0.003, show_default=True, callback=positive,
              help="Squared error per nat: smaller is better and larger.")  # fmt: skip
@click.option("--effort", type=click.Choice(["fast", "normal", "best"]), default="normal", show_default=True)
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, help="Seed of the candidate stream [0].")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--background", metavar="COLOR", callback=colour,
              help="Colour behind transparent pictures: a name or #rrggbb.")  # fmt: skip
@click.option("--to-8bit", is_flag=True, help="Round pictures of 16 bits per channel.")
@click.option("--save-posterior", metavar="FILE", help="Keep the fitted posterior, for combiner inspect (.npz).")
@click.option("--verify/--no-verify", default=True, help="Decode each file before it is written [yes].")
@click.option("--target-size", type=click.IntRange(1), metavar="BYTES", help="Largest file, instead of --beta.")
@click.option("--target-psnr", type=float, callback=positive, metavar="DB", help="Quality, instead of --beta.")
@preview_options
@click.pass_context
def encode(
    ctx, inputs, output, output_dir, force, quiet, prior, background, to_8bit, save_posterior, target_size,
    target_psnr, preview, side, data_url, **how,
):  # fmt: skip
    """Encode pictures into .cmb files."""
    from . import image, scaling

    one_of(ctx, "beta", "target_size", "target_psnr")
    if preview:
        one_of(ctx, "beta", "preview", "target_psnr")
        target_size = target_size or scaling.PREVIEW_BYTES
    named_by = (inputs, output, output_dir)
    jobs = Jobs.printed(*named_by) if data_url else Jobs.of(*named_by, force, ".cmb")
    if save_posterior:
        jobs.beside(save_posterior, "--save-posterior")
    pictures, failures = [], []
    for source, target in jobs:
        with collected(failures):
            data, note = read(source), lambda line: say(quiet, line)
            picture = image.load(data, label(source), background, to_8bit, note)
            pictures.append(Input(source, target, scaling.fitted(picture, side) if preview else picture))
    for chosen, members in by_prior(pictures, prior):
        from .encoder.settings import Settings
        from .encoder.target import Goal

        goal = Goal.of(target_size, target_psnr)
        settings = Settings(keep_posterior=bool(save_posterior), **how)
        for batch in batches(members):
            started, results = time.perf_counter(), []
            with collected(failures):
                results = encode_batch(batch, chosen, settings, goal, quiet)
            seconds = (time.perf_counter() - started) / len(batch)
            for entry, result in zip(batch, results, strict=False):
                with collected(failures):
                    keep(entry, result, save_posterior, data_url)
                    size = f"{len(result.data)} bytes, {result.bpp:.3f} bpp"
                    measured = f"{size}, {result.psnr:.2f} dB, {seconds:.2f} s"
                    for line in (measured, *warnings_of(entry, result, chosen, settings, goal)):
                        say(quiet, f"{label(entry.target)}: {line}")
    finish(failures, len(jobs))


def one_of(ctx: click.Context, *names: str) -> None:
    """Raises UsageError where more than one of some options is given."""
    given = [name for name in names if ctx.get_parameter_source(name).name != "DEFAULT"]
    if len(given) > 1:
        raise click.UsageError(f"--{given[0]} and --{given[1]} exclude each other".replace("_", "-"))


def encode_batch(batch, prior, settings, goal, quiet) -> list:
    """Inputs encoded together: for each an Encoded, or the error that stands in its place. Raises CombinerError."""
    from .encoder.encode import encode_arrays

    pixels = sum(entry.pixels for entry in batch)
    with named(name_of(batch)), progress(pixels, settings.effort, quiet) as report:
        return encode_arrays([entry.picture for entry in batch], prior, settings, goal, report)


def keep(entry, result, save_posterior, as_url) -> None:
    """Write the file of an input, or its URL, and its posterior where that is asked for. Raises CombinerError."""
    from .scaling import data_url

    if isinstance(result, CombinerError):
        raise result.about(label(entry.source))
    write(entry.target, f"{data_url(result.data)}\n".encode() if as_url else result.data)
    if save_posterior:
        if result.fitted is None:
            raise CombinerError(f"{label(entry.source)}: a picture of one colour has no posterior to keep")
        write(save_posterior, result.fitted.to_bytes(result.data))


def warnings_of(entry, result, prior, settings, goal) -> list[str]:
    """What speaks against a file, a line each."""
    wanted = None if goal else settings.beta
    missed = [f"{goal.psnr:g} dB were not met"] if goal and goal.missed(result) else []
    return [f"warning: {line}" for line in missed + result.warnings(entry.picture, wanted, prior)]


@cli.command()
@common
@click.option("--format", "kind", metavar="NAME", help="Format of the picture [by the output's name, else PNG].")
@click.option("--size", metavar="WxH", callback=size_of, help="Scale the picture smoothly to this size.")
@pixel_limit
def decode(inputs, output, output_dir, force, quiet, threads, prior, kind, size, max_pixels):
    """Decode .cmb files into pictures."""
    from . import image, scaling
    from .decoder import decode_array

    kind = kind and picture_format(kind)
    suffix = f".{(kind or 'png').lower()}"
    jobs, failures = Jobs.of(inputs, output, output_dir, force, suffix), []
    given = choose_prior(prior) if prior else None
    for source, target in jobs:
        with collected(failures):
            wanted = kind or image.format_of(Path(target))
            data, started = read(source), time.perf_counter()
            with named(source):
                array = decode_array(data, given, threads, max_pixels)
                array = scaling.scaled(array, *size) if size else array
            write(target, image.save(array, wanted))
            height, width = array.shape[:2]
            say(quiet, f"{label(target)}: {width} x {height}, {time.perf_counter() - started:.3f} s")
    finish(failures, len(jobs))


@cli.command()
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--prior", metavar="NAME|FILE", help="The custom prior that the file was made with.")
@pixel_limit
def info(file, as_json, prior, max_pixels):
    """Tell what a .cmb file holds, without decoding it."""
    import json

    from .decoder import parse

    data = read(file)
    with named(file):
        contents = parse(data, choose_prior(prior) if prior else None, max_pixels)
    facts = {"file": label(file)} | contents.facts(len(data))
    if as_json:
        click.echo(json.dumps(facts))
        return
    for key, value in facts.items():
        click.echo(f"{key.replace('_', ' '):21} {value}")


@cli.command()
@click.argument("file")
@click.option("--posterior", metavar="FILE", help="What encode --save-posterior kept, for figures of KL.")
@click.option("--image", "original", metavar="FILE", help="The original, for PSNR and a map of errors.")
@click.option("--plot", metavar="FILE", help="Draw maps (.png, .svg).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, all maps included.")
@click.option("--prior", metavar="NAME|FILE", help="The custom prior that the file was made with.")
@click.option("--background", metavar="COLOR", callback=colour, help="Colour behind a transparent original.")
@click.option("--to-8bit", is_flag=True, help="Round an original of 16 bits per channel.")
def inspect(file, posterior, original, plot, as_json, prior, background, to_8bit):
    """Tell where the bits of a .cmb file went: layers, levels, groups, tiles and hidden units.

    A file holds indices only. KL, its maps and the active units of the posterior are known to the encoder alone: keep
    its posterior with encode --save-posterior. All other figures follow from the file and its prior.
    """
    import json

    from . import image
    from .decoder import parse
    from .encoder.fitted import Fitted
    from .inspect.facts import facts
    from .inspect.figures import Inspection
    from .inspect.text import report

    if plot:
        from .inspect import drawing

        drawing.check(plot)  # before the work
    data = read(file)
    with named(file):
        contents = parse(data, choose_prior(prior) if prior else None)
    pixels = image.load(read(original), label(original), background, to_8bit) if original else None
    archive = read(posterior) if posterior else None
    with named(posterior):
        fitted = Fitted.parse(archive, data) if posterior else None
    with named(original):
        found = Inspection(data, contents, fitted, pixels)
    click.echo(json.dumps({"file": label(file)} | facts(found)) if as_json else f"{label(file)}: {report(found)}")
    if plot:
        write(plot, drawing.sheet(found, Path(plot).suffix))


@cli.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Prior file.")
@click.option("--checkpoints", required=True, type=click.Path(file_okay=False, path_type=Path),
              help="Folder of checkpoints; a second run goes on from them.")  # fmt: skip
@click.option("--family", type=click.Choice(["small", "photo", "combiner-cifar"]), default="small", show_default=True)
@click.option("--betas", callback=numbers(float), metavar="B,B,...", help="Operating points, in the order of training.")
@click.option("--classes", callback=numbers(int), metavar="K,K,...",
              help="Classes of each operating point, those of merged tiles aside.")  # fmt: skip
@click.option("--steps", type=click.IntRange(1),
              help="Steps per operating point; of the photo family all steps together, instead of a time.")  # fmt: skip
@click.option("--first-steps", type=click.IntRange(1), help="Steps of the first operating point.")
@click.option("--batch", type=click.IntRange(1), help="Pictures per step.")
@click.option("--crops", type=click.IntRange(1),
              help="Random crops of the pictures in folders; of the photo family per point [2000].")  # fmt: skip
@click.option("--holdout", type=click.IntRange(0), default=0, help="Images at the end of each array to leave out.")
@click.option("--validation", multiple=True, type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder of photographs to measure the prior on; may be given more than once.")  # fmt: skip
@click.option("--minutes", type=click.FloatRange(0),
              help="Time over all runs, of the families photo [600] and combiner-cifar [40].")  # fmt: skip
@click.option("--again", is_flag=True, help="Train finished operating points once more, from where they ended.")
@click.option("--seed", type=click.IntRange(0), default=0)
def train(sources, output, checkpoints, **options):
    """Learn a prior from arrays (.npy, uint8 N x 32 x 32 x 3) and folders of pictures.

    The photo family learns all operating points at once, for --minutes over all runs or for --steps; with --minutes 0
    it writes what a run that was cut off has learned so far.

    Runs under torchrun too: pictures are sharded over the processes.
    """
    from .training.run import Options, run

    run(list(sources), output, checkpoints, lambda line: click.echo(line, err=True), Options(**options))


@cli.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="PATH...")
@click.option("--beta", "betas", multiple=True, metavar="B,B,...", callback=betas_of,
              help="Betas [0.03,0.01,0.003,0.001,0.0003].")  # fmt: skip
@click.option("--codec", metavar="NAME,NAME,...",
              help="Other codecs, or none [jpeg,jpeg2000,webp,heic,avif,avif-slow,jxl].")  # fmt: skip
@click.option("--prior", "priors", multiple=True, metavar="NAME|FILE", help="Prior, once for each [by size].")
@click.option("--effort", "efforts", multiple=True, type=click.Choice(["fast", "normal", "best"]), default=["normal"],
              show_default=True)  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="First pictures of every folder or array.")
@click.option("--json", type=click.Path(dir_okay=False, path_type=Path), help="Results; a second run goes on from it.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Rate-distortion plot (.svg, .png).")
@click.option("--markdown", type=click.Path(dir_okay=False, path_type=Path), help="The report as a file.")
@click.option("--anchor", metavar="CODEC", help="Curve that BD-rate compares with [jpeg].")
@click.option("--published", type=click.Choice(["kodak", "cifar10"]), help="Published curves to draw as well.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(0), default=0, help="Processor threads [all].")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def bench(betas, codec, priors, quiet, **options):
    """Measure this codec beside others on folders, pictures and arrays (.npy, uint8 N x H x W x 3).

    Rates, PSNR, SSIM, seconds and BD-rate go to standard output. With --json, every result is kept as soon as it is
    there, and only what is missing or has changed is measured by a second run.
    """
    from .bench import codecs, command

    names = [
        name for name in (",".join(codecs.OTHERS) if codec is None else codec).split(",") if name not in ("", "none")
    ]
    if unknown := [name for name in names if name not in codecs.OTHERS]:
        raise click.BadParameter(f"{unknown[0]}: known are {', '.join(codecs.OTHERS)}", param_hint="--codec")
    chosen = [choose_prior(name) for name in priors] or [None]
    plan = command.Plan(betas=betas or codecs.BETAS, others=names, priors=chosen, **options)
    click.echo(command.bench(plan, lambda line: say(quiet, line)), nl=False)


def main():
    """Entry point: exit codes 0, 1 for bad data, 2 for bad usage, 130 for Ctrl-C, 128 + N for another signal N."""
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores one
            signal.signal(number, lambda number, frame: sys.exit(128 + number))  # temporary files are removed
    if sys.argv[1:2] in (["decode"], ["info"], ["inspect"]):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # tiles are on threads already; idle ones cost 50 ms
    try:
        code = cli.main(standalone_mode=False)
    except CombinerError as error:
        explain(error)
        code = 1
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("combiner: interrupted", err=True)
        code = 130
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            click.echo(f"combiner: {error.strerror or error}", err=True)
        code = 1
    sys.exit(flushed(code))


def flushed(code):
    """The exit code, or 1 where standard output cannot take what it still holds; Python would say 120."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or 1
    return code
