"""The `combiner` command. Heavy modules are imported where they are needed."""

import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import click

from . import __version__
from .bitstream import MAX_PIXELS
from .errors import FormatError

STDIO = "-"
BATCH_PIXELS = 2**22  # pixels of inputs that are encoded together
MINUTE = 60.0


class Encode(click.Command):
    """`encode`, whose help ends with what every family reaches at every beta."""

    def format_epilog(self, ctx, formatter):
        from .prior import MANIFEST, load

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


def positive(ctx, param, value):
    if value is not None and not 0 < value < float("inf"):
        raise click.BadParameter("must be a positive number")
    return value


def numbers(kind):
    """Callback of an option that takes numbers with commas between them."""

    def parse(ctx, param, value):
        try:
            return tuple(kind(part) for part in value.split(",")) if value else None
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return parse


def betas_of(ctx, param, values):
    """Positive numbers of an option that may be given several times, each with commas."""
    found = [beta for value in values for beta in numbers(float)(ctx, param, value)]
    return tuple(positive(ctx, param, beta) for beta in found)


def colour(ctx, param, value):
    if value is not None:
        from . import image

        try:
            image.colour(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return value


def pixel_limit(command):
    return click.option(
        "--max-pixels", metavar="N", type=click.IntRange(0), default=MAX_PIXELS, show_default=True,
        help="Refuse larger pictures; 0: no limit.",
    )(command)  # fmt: skip


def common(command):
    options = [
        click.option("--prior", metavar="NAME|FILE", help="Prior to use [by size]."),
        click.option("--threads", type=click.IntRange(0), default=0, help="Processor threads [all]."),
        click.option("--output-dir", type=click.Path(file_okay=False, path_type=Path), help="Folder for the outputs."),
        click.option("-f", "--force", is_flag=True, help="Replace files whose name the command has chosen."),
        click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
        click.option("-o", "--output", metavar="FILE", help="Output; - is standard output."),
        click.argument("inputs", nargs=-1, required=True, metavar="IN..."),
    ]
    for option in options:
        command = option(command)
    return command


@cli.command(cls=Encode)
@common
@click.option("--beta", type=float, default=0.003, show_default=True, callback=positive,
              help="Squared error per nat: smaller is better and larger.")  # fmt: skip
@click.option("--effort", type=click.Choice(["fast", "normal", "best"]), default="normal", show_default=True)
@click.option("--seed", type=click.IntRange(0, (1 << 63) - 1), default=0, help="Seed of the candidate stream [0].")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--background", metavar="COLOR", callback=colour,
              help="Colour behind transparent pictures: a name or #rrggbb.")  # fmt: skip
@click.option("--to-8bit", is_flag=True, help="Round pictures of 16 bits per channel.")
@click.option("--save-posterior", metavar="FILE", help="Keep the fitted posterior, for combiner inspect (.npz).")
@click.option("--verify/--no-verify", default=True, help="Decode each file before it is written [yes].")
@click.option("--target-size", type=click.IntRange(1), metavar="BYTES", help="Largest file, instead of --beta.")
@click.option("--target-psnr", type=float, callback=positive, metavar="DB", help="Quality, instead of --beta.")
@click.pass_context
def encode(
    ctx, inputs, output, output_dir, force, quiet, threads, prior, beta, effort, seed, device, background, to_8bit,
    save_posterior, verify, target_size, target_psnr,
):  # fmt: skip
    """Encode pictures into .cmb files."""
    from . import image

    given = [
        name for name in ("beta", "target_size", "target_psnr") if ctx.get_parameter_source(name).name != "DEFAULT"
    ]
    if len(given) > 1:
        raise click.UsageError(f"--{given[0]} and --{given[1]} exclude each other".replace("_", "-"))
    jobs = Jobs(inputs, output, output_dir, force, ".cmb")
    if save_posterior:
        jobs.beside(save_posterior, "--save-posterior")
    pictures, failures = [], []
    for source, target in jobs:
        with collected(failures):
            data, note = read(source), lambda line: say(quiet, line)
            pictures.append((source, target, image.load(data, label(source), background, to_8bit, note)))
    for chosen, members in by_prior(pictures, prior):
        from . import codec

        for batch in batches(members):
            started, results = time.perf_counter(), []
            names = " … ".join(dict.fromkeys(label(batch[i][0]) for i in (0, -1)))
            options = {"effort": effort, "device": device, "keep_posterior": bool(save_posterior)}
            arrays, goal = [p for _, _, p in batch], codec.Goal.of(target_size, target_psnr)
            with collected(failures), named(names), progress(batch, effort, quiet) as report:
                results = codec.encode_arrays(arrays, beta, chosen, seed, threads, report, verify, goal, **options)
            seconds = (time.perf_counter() - started) / len(batch)
            for (source, target, picture), result in zip(batch, results, strict=False):
                with collected(failures):
                    if isinstance(result, FormatError):
                        raise FormatError(f"{label(source)}: {result}")
                    write(target, result.data)
                    if save_posterior:
                        write(save_posterior, result.fitted.to_bytes(result.data))
                    if goal and goal.missed(result):
                        say(quiet, f"{label(source)}: {target_psnr:g} dB were not met")
                    size = f"{len(result.data)} bytes, {result.bpp:.3f} bpp"
                    say(quiet, f"{label(target)}: {size}, {result.psnr:.2f} dB, {seconds:.2f} s")
                    wanted = chosen.betas[result.point] if goal else beta
                    for line in result.warnings(picture, wanted, chosen):
                        say(quiet, f"{label(target)}: warning: {line}")
    finish(failures, len(jobs))


@cli.command()
@common
@click.option("--format", "kind", metavar="NAME", help="Format of the picture [by the output's name, else PNG].")
@pixel_limit
def decode(inputs, output, output_dir, force, quiet, threads, prior, kind, max_pixels):
    """Decode .cmb files into pictures."""
    from . import codec, image

    kind = kind and picture_format(kind)
    suffix = f".{(kind or 'png').lower()}"
    jobs, failures = Jobs(inputs, output, output_dir, force, suffix), []
    given = choose_prior(prior) if prior else None
    for source, target in jobs:
        with collected(failures):
            wanted = kind or image.format_of(Path(target))
            data, started = read(source), time.perf_counter()
            with named(source):
                array = codec.decode_array(data, given, threads, max_pixels)
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

    from . import codec

    data = read(file)
    with named(file):
        contents = codec.parse(data, choose_prior(prior) if prior else None, max_pixels)
    header, level = contents.header, contents.level
    facts = {
        "file": label(file),
        "width": header.width,
        "height": header.height,
        "colour": "grey" if header.grey else "RGB",
        "bytes": len(data),
        "bpp": round(8 * len(data) / (header.width * header.height), 4),
        "prior": contents.prior.name,
        "operating_point": header.point,
        "beta": level.beta,
        "seed": header.seed,
        "index_bits": header.index_bits,
        "tiles": contents.classes.size,
        "blocks": len(contents.lengths),
        "groups": int(contents.lengths.sum()) // level.group_bits,
        "header_bytes": contents.header_bytes,
        "multiplies_per_pixel": contents.prior.architecture.multiplies,
    }
    if as_json:
        click.echo(json.dumps(facts))
    else:
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

    from . import codec, image, inspection
    from .fitted import Fitted

    if plot:
        from . import drawing

        drawing.check(plot)  # before the work
    data = read(file)
    with named(file):
        contents = codec.parse(data, choose_prior(prior) if prior else None)
    pixels = image.load(read(original), label(original), background, to_8bit) if original else None
    archive = read(posterior) if posterior else None
    with named(posterior):
        fitted = Fitted.parse(archive, data) if posterior else None
    with named(original):
        found = inspection.Inspection(data, contents, fitted, pixels)
    click.echo(json.dumps({"file": label(file)} | found.facts()) if as_json else f"{label(file)}: {found.text()}")
    if plot:
        write(plot, drawing.sheet(found, Path(plot).suffix))


@cli.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Prior file.")
@click.option("--checkpoints", required=True, type=click.Path(file_okay=False, path_type=Path),
              help="Folder of checkpoints; a second run goes on from them.")  # fmt: skip
@click.option("--family", type=click.Choice(["small", "photo", "combiner-cifar"]), default="small", show_default=True)
@click.option("--betas", callback=numbers(float), metavar="B,B,...", help="Operating points, in the order of training.")
@click.option("--classes", callback=numbers(int), metavar="K,K,...", help="Classes of each operating point.")
@click.option("--steps", type=click.IntRange(1), help="Steps per operating point.")
@click.option("--first-steps", type=click.IntRange(1), help="Steps of the first operating point.")
@click.option("--batch", type=click.IntRange(1), help="Pictures per step.")
@click.option("--crops", type=click.IntRange(0), default=0, help="Random crops from the folders of pictures.")
@click.option("--holdout", type=click.IntRange(0), default=0, help="Images at the end of each array to leave out.")
@click.option("--validation", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder of photographs to measure the finished prior on.")  # fmt: skip
@click.option("--minutes", type=float, default=40.0, show_default=True, help="Time of the combiner-cifar family.")
@click.option("--again", is_flag=True, help="Train finished operating points once more, from where they ended.")
@click.option("--seed", type=click.IntRange(0), default=0)
def train(sources, output, checkpoints, **options):
    """Learn a prior from arrays (.npy, uint8 N x 32 x 32 x 3) and folders of pictures.

    Runs under torchrun too: pictures are sharded over the processes.
    """
    from .train import Options, run

    run(list(sources), output, checkpoints, lambda line: click.echo(line, err=True), Options(**options))


@cli.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="PATH...")
@click.option("--beta", "betas", multiple=True, metavar="B,B,...", callback=betas_of,
              help="Betas [0.03,0.01,0.003,0.001,0.0003].")  # fmt: skip
@click.option("--codec", metavar="NAME,NAME,...", help="Other codecs, or none [jpeg,jpeg2000,webp,avif,jxl].")
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


class Jobs:
    """Pairs of input and output; raises usage errors before any work is done."""

    def __init__(self, inputs, output, folder, force, suffix):
        if output and (folder or len(inputs) > 1):
            raise click.UsageError("-o takes one input and no --output-dir")
        if list(inputs).count(STDIO) > 1:
            raise click.UsageError("standard input can be named once")
        if folder and not folder.is_dir():
            try:
                folder.mkdir()
            except OSError as error:
                raise FormatError(f"{folder}: {error.strerror}") from error
        self.pairs = []
        for source in inputs:
            target = output or self._name(source, folder, suffix)
            if target != STDIO and not output and os.path.exists(target) and not force:
                raise FormatError(f"{target} exists: use -f to replace it, or name the output with -o")
            if STDIO not in (source, target) and os.path.realpath(source) == os.path.realpath(target):
                raise FormatError(f"{target} is both input and output")
            self.pairs.append((source, target))
        targets = [t for _, t in self.pairs]
        if len(set(targets)) < len(targets):
            raise click.UsageError("two inputs would be written to the same output")
        if STDIO in targets and sys.stdout.isatty():
            raise click.UsageError("refusing to write binary data to a terminal: use -o FILE")
        for target in targets:
            self._has_folder(target)

    def beside(self, name, option):
        """Check one more output, of an only input, that an option names."""
        if len(self) > 1 or name == STDIO:
            raise click.UsageError(f"{option} takes a file name and one input")
        if os.path.realpath(name) in {os.path.realpath(other) for other in self.pairs[0]}:
            raise FormatError(f"{name} is named twice")
        self._has_folder(name)

    @staticmethod
    def _has_folder(target):
        parent = os.path.dirname(target) or "."
        if target != STDIO and not os.path.isdir(parent):
            raise FormatError(f"{parent}: no such folder")

    @staticmethod
    def _name(source, folder, suffix):
        if source == STDIO:
            if folder:
                raise click.UsageError("standard input has no name: use -o")
            return STDIO
        path = Path(source).with_suffix(suffix)
        return str(folder / path.name if folder else path)

    def __iter__(self):
        return iter(self.pairs)

    def __len__(self):
        return len(self.pairs)


def batches(pictures):
    """Cut a list of inputs into batches of at most BATCH_PIXELS pixels, or of one picture."""
    batch, pixels = [], 0
    for entry in pictures:
        count = entry[2].shape[0] * entry[2].shape[1]
        if batch and pixels + count > BATCH_PIXELS:
            yield batch
            batch, pixels = [], 0
        batch.append(entry)
        pixels += count
    if batch:
        yield batch


def by_prior(pictures, name):
    """Inputs in groups that share a prior: the named one, or the default for their size."""
    from . import prior as priors

    groups = {}
    named = pictures and name and choose_prior(name)
    for entry in pictures:
        height, width = entry[2].shape[:2]
        chosen = named or priors.default(width, height)
        groups.setdefault(chosen.digest, (chosen, []))[1].append(entry)
    return groups.values()


def choose_prior(name):
    from . import prior as priors

    if name in priors.MANIFEST:
        return priors.load(name)
    if not Path(name).is_file():
        raise FormatError(f"no prior named {name}, and no such file: shipped priors are {', '.join(priors.MANIFEST)}")
    return priors.load_file(Path(name))


def picture_format(name):
    from PIL import Image

    Image.init()
    wanted = {"JPG": "JPEG", "TIF": "TIFF"}.get(name.upper(), name.upper())
    if wanted not in Image.SAVE:
        raise click.BadParameter(f"Pillow cannot write {name}", param_hint="--format")
    return wanted


def label(name):
    return {STDIO: "stdio"}.get(str(name), str(name))


def read(source) -> bytes:
    if source == STDIO:
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise FormatError(f"{source}: {error.strerror}") from error


def write(target, data: bytes) -> None:
    """Write a file whole or not at all; devices, pipes and standard output are written through, links followed."""
    try:
        if target == STDIO:
            rest = memoryview(data)
            while rest:  # with PYTHONUNBUFFERED a pipe takes a part at a time
                rest = rest[sys.stdout.buffer.write(rest) :]
            sys.stdout.buffer.flush()
            return
        path = Path(os.path.realpath(target))
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        temporary = path.with_name(f".combiner-{os.urandom(8).hex()}")
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FormatError(f"{label(target)}: {error.strerror}") from error


def say(quiet, line):
    if not quiet:
        click.echo(line, err=True)


@contextmanager
def named(source):
    """Errors about a file begin with its name."""
    try:
        yield
    except FormatError as error:
        raise FormatError(f"{label(source)}: {error}") from error


@contextmanager
def collected(failures):
    """One bad file does not stop the others."""
    try:
        yield
    except FormatError as error:
        click.echo(f"combiner: {error}", err=True)
        failures.append(error)


def finish(failures, total):
    if failures:
        if total > 1:
            click.echo(f"combiner: {len(failures)} of {total} inputs failed", err=True)
        raise SystemExit(1)


@contextmanager
def progress(batch, effort, quiet):
    """A callback for the share of work done: a bar on a terminal, and a line first where it takes over a minute."""
    megapixels = sum(picture.shape[0] * picture.shape[1] for _, _, picture in batch) / 1e6
    seconds = megapixels * {"fast": 40, "normal": 250, "best": 4000}[effort]  # two processor cores
    if seconds > MINUTE and not quiet:
        click.echo(f"encoding {megapixels:.1f} MP: about {seconds / MINUTE:.0f} min on two processor cores", err=True)
    if quiet or not sys.stderr.isatty():
        yield lambda share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("encoding"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda share: bar.update(task, completed=share)


def main():
    """Entry point: exit codes 0, 1 for bad data, 2 for bad usage, 130 for Ctrl-C, 128 + N for another signal N."""
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores one
            signal.signal(number, lambda number, frame: sys.exit(128 + number))  # temporary files are removed
    if sys.argv[1:2] in (["decode"], ["info"], ["inspect"]):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # tiles are on threads already; idle ones cost 50 ms
    try:
        code = cli.main(standalone_mode=False)
    except FormatError as error:
        click.echo(f"combiner: {error}", err=True)
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
