"""Commands that do not wait for torch to be loaded: a server has loaded it, and forks for each of them.

Everything else is as in a process of its own: arguments, folder, environment, standard streams, exit code. Tests of
signals, limits and of what is loaded start real processes.
"""

import json
import os
import subprocess
import sys
import traceback
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory


def run(*arguments, stdin: bytes | None = None, cwd=None, env=None) -> subprocess.CompletedProcess:
    """`combiner ARGUMENTS`, with what it writes as bytes."""
    with TemporaryDirectory() as folder:
        streams = [str(Path(folder, name)) for name in ("stdin", "stdout", "stderr")]
        Path(streams[0]).write_bytes(stdin or b"")
        job = {
            "arguments": [
                os.fspath(argument) if isinstance(argument, Path) else str(argument) for argument in arguments
            ],
            "folder": os.fspath(cwd or os.getcwd()),
            "environment": dict(os.environ if env is None else env),
            "streams": streams,
        }
        server = _server()
        server.stdin.write(json.dumps(job).encode() + b"\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        out, err = (Path(stream).read_bytes() for stream in streams[1:])
    return subprocess.CompletedProcess(job["arguments"], code, out, err)


@cache
def _server() -> subprocess.Popen:
    """One for each process of tests; it ends with it, since its input ends."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def serve() -> None:
    """Fork for every job on standard input, and print exit codes."""
    import combiner_codec.command.cli
    import combiner_codec.encoder.encode  # noqa: F401

    while line := sys.stdin.buffer.readline():
        child = os.fork()
        if child == 0:
            os._exit(work(json.loads(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def work(job: dict) -> int:
    """The command, in a process that is its own from now on."""
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    for number, path in enumerate(job["streams"]):
        stream = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.argv = ["combiner", *job["arguments"]]
    try:
        sys.modules["combiner_codec.command.cli"].main()
    except SystemExit as end:
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    serve()
