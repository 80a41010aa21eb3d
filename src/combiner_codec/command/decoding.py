"""What `combiner decode` does: files to pictures, one after the other."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import CombinerError
from ..format import header
from ..format.prior import Prior
from .files import label, read_coded
from .jobs import Job
from .outputs import Outputs
from .terminal import collected, named, say


@dataclass(frozen=True)
class Decoding:
    """How a user wants files decoded."""

    prior: Prior | None  # the custom one that they were made with
    threads: int  # of the processor; 0 takes all
    max_pixels: int  # 0 is no limit
    size: tuple[int, int] | None  # width and height that pictures are scaled to
    quality: int | None  # of lossy formats
    format_of: Callable[[str], str]  # Pillow's format for an output's name
    quiet: bool

    def run(self, jobs: Sequence[Job], outputs: Outputs, failures: list[CombinerError]) -> None:
        """Decode and write; what fails is added to the failures."""
        for job in jobs:
            if outputs.wanted(job):
                with collected(failures):
                    self._decode(job, outputs)
                outputs.done(job)

    def _decode(self, job: Job, outputs: Outputs) -> None:
        """One file. Raises CombinerError."""
        from ..decoder import decode_array
        from ..picture import saving, scaling

        kind = self.format_of(job.target)
        started = time.perf_counter()
        with named(job.source):
            data = read_coded(job.source)
            saving.check_mode(kind, header.read(data)[0].mode)  # before the work
            array = decode_array(data, self.prior, self.threads, self.max_pixels)
            if self.size:
                array = scaling.scaled(array, *self.size)
            picture = saving.save(array, kind, self.quality)
        if outputs.write(job, picture):
            height, width = array.shape[:2]
            seconds = time.perf_counter() - started
            say(self.quiet, f"{label(job.target)}: {width} x {height}, {seconds:.3f} s")
