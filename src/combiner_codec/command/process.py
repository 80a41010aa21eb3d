"""The command as a process: standard streams, signals, exit codes."""

import os
import signal
import sys

import click

from ..errors import CombinerError
from .terminal import explain, lacks_memory

MMAP_THRESHOLD = -3  # parameters of mallopt
TRIM_THRESHOLD = -1
ARENA_MAX = -8
LARGE_BLOCK = 2**25  # bytes from which a block goes back to the system at once
KEPT_FREE = 2**28  # bytes of smaller ones, free and together, that are kept
ENDING = {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}  # signals that end the command, Ctrl-C apart


def run(command: click.Command) -> None:
    """Run and exit: code 0, 1 for bad data, 2 for bad usage, 130 for Ctrl-C, 128 + N for another signal N."""
    open_streams()
    ending = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]  # nohup ignores one
    for number in ending:
        signal.signal(number, lambda number, frame: sys.exit(128 + number))  # temporary files are removed
    name = sys.argv[1] if len(sys.argv) > 1 else None
    if name in ("encode", "preview", "decode", "train", "bench"):
        keep_memory()
    if name in ("encode", "preview", "decode", "info", "inspect"):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's; work is on threads already, idle ones cost 50 ms
    try:
        code = command.main(standalone_mode=False)
    except CombinerError as error:
        explain(error)
        code = 1
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("combiner: interrupted", err=True)
        code = 130
    except ModuleNotFoundError as error:
        if error.name.startswith(__package__.partition(".")[0]):
            raise
        click.echo(f"combiner: this needs the package {error.name}, which is not installed (README, Install)", err=True)
        code = 1
    except ImportError as error:
        click.echo(f"combiner: a package cannot be loaded: {error}", err=True)
        code = 1
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            click.echo(f"combiner: {error.strerror or error}", err=True)
        code = 1
    except (MemoryError, RuntimeError) as error:
        interrupted = isinstance(error.__cause__, KeyboardInterrupt)  # while a class was made, in Python 3.11
        if not interrupted and not lacks_memory(error):
            raise
        click.echo("combiner: interrupted" if interrupted else "combiner: not enough memory", err=True)
        code = 130 if interrupted else 1
    code = flushed(code)
    for number in ending:  # nothing is left to remove, and what runs while Python exits would report an exception
        signal.signal(number, signal.SIG_DFL)
    sys.exit(code)


def keep_memory() -> None:
    """Have the C library keep what is freed for the next step, where it can be told (glibc): handing megabytes back to
    the system and getting them again took a quarter of a fit and a sixth of decoding.
    """
    import ctypes

    library = ctypes.CDLL(None) if os.name == "posix" else None
    if hasattr(library, "mallopt"):
        library.mallopt(MMAP_THRESHOLD, LARGE_BLOCK)
        library.mallopt(TRIM_THRESHOLD, KEPT_FREE)
        library.mallopt(ARENA_MAX, 1)  # other arenas keep less


def open_streams() -> None:
    """Standard streams that the caller has closed are opened on nothing, so that no other file gets their numbers.

    Reading the input or writing the output fails then, as it should; what is said on standard error is lost. On
    standard output, file names that are no text are escaped.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDONLY if name == "stdout" else os.O_WRONLY)
            if opened != number:
                os.dup2(opened, number)
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", closefd=False))
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def flushed(code: int | None) -> int | None:
    """The exit code, or 1 where standard output cannot take what it still holds; Python would say 120."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or 1
    return code
