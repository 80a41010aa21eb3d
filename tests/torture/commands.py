"""Commands as a shell starts them, what they say, and what they leave behind."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

import combiner_codec
from combiner_codec import FormatError, decoder
from conftest import smooth_pictures

LINUX = sys.platform == "linux"
COMBINER = (sys.executable, "-m", "combiner_codec")
OLD = b"what was there before"
TEMPORARY = ".combiner-"  # what files begin with that are not whole yet
SIDE = 40  # pixels of the picture
PATIENCE = 240  # seconds: of the processor, where it can be told, since the machine may be busy with other tests
IDLE = 60  # seconds in which a command that goes on has used some of the processor, however busy the machine


@dataclass
class Done:
    """A command that has ended."""

    code: int
    said: str  # on standard error
    out: bytes

    @property
    def lines(self) -> list[str]:
        return self.said.splitlines()

    def failed_in_a_line(self) -> bool:
        """As a command fails that knows why."""
        return self.code == 1 and len(self.lines) == 1 and self.said.startswith("combiner: ")


def start(*arguments, **options) -> subprocess.Popen:
    """A command in the background."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    # what tests in the background ignore, their children would too
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen([*COMBINER, *map(str, arguments)], env=environment, **pipes | options)
    finally:
        signal.signal(signal.SIGINT, before)


def end(process: subprocess.Popen, data: bytes | None = None) -> Done:
    """Waits for a command. Raises TimeoutExpired for one that hangs or does not come to an end."""
    used = 0.0
    while True:
        try:
            out, said = process.communicate(data, timeout=IDLE if LINUX else PATIENCE)
            return Done(process.returncode, said.decode(errors="replace"), out or b"")
        except subprocess.TimeoutExpired:
            before = used
            used = processor_seconds(process) if LINUX else before
            if used == before or used > PATIENCE:
                process.kill()
                raise
            data = None  # it has been handed over


def run(*arguments, **options) -> Done:
    return end(start(*arguments, **options))


def left(folder: Path) -> list[str]:
    """Names in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


def is_whole(path: Path) -> bool:
    """Whether there is a file of the picture that can be decoded."""
    try:
        pixels = decoder.decode_array(path.read_bytes(), threads=1)
    except FormatError:
        return False
    return pixels.shape == picture().shape


@cache
def picture() -> np.ndarray:
    return smooth_pictures(1, SIDE)[0]


@cache
def small_file() -> bytes:
    """A file of the picture."""
    return combiner_codec.encode(picture(), effort="fast", threads=1)


def furnish(folder: Path) -> Path:
    """`in.png`, `in.cmb` of the same picture, and a folder `out`."""
    Image.fromarray(picture()).save(folder / "in.png")
    (folder / "in.cmb").write_bytes(small_file())
    (folder / "out").mkdir()
    return folder


def processor_seconds(process: subprocess.Popen) -> float:
    """What a running command has used so far (proc(5): user and system time, in ticks)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
