"""What `combiner decode` does: files to pictures, one after the other."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import CombinerError
from ..format import header
from ..format.prior import Prior
from .files import label, read_coded
from .jobs import Job
from .outputs import Outputs
from .terminal import collected, named, say

if TYPE_CHECKING:
    from ..decoder import Contents


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
        from ..decoder import parse
        from ..picture import saving, writing

        kind = self.format_of(job.target)
        started = time.perf_counter()
        with named(job.source):
            data = read_coded(job.source)
            mode = header.read(data)[0].mode
            if not writing.writer(kind, mode):
                saving.check_mode(kind, mode)  # before the work
            contents = parse(data, self.prior, self.max_pixels)
            picture = self._in_rows(contents, kind) or [self._at_once(contents, kind)]
        if outputs.write(job, _named_parts(picture, job.source)):
            width, height = self.size or (contents.header.width, contents.header.height)
            seconds = time.perf_counter() - started
            say(self.quiet, f"{label(job.target)}: {width} x {height}, {seconds:.3f} s")

    def _at_once(self, contents: "Contents", kind: str) -> bytes:
        """The picture file."""
        from ..decoder import decode_contents
        from ..picture import saving, scaling

        array = decode_contents(contents, self.threads)
        if self.size:
            array = scaling.scaled(array, *self.size)
        return saving.save(array, kind, self.quality)

    def _in_rows(self, contents: "Contents", kind: str) -> Iterator[bytes] | None:
        """The same in parts, of a large picture: as rows are decoded. None where Pillow has to write it: pixels of an
        exact plane are a drawing's, for which it chooses filters.
        """
        from ..decoder import decode_contents, decode_strips
        from ..picture import writing

        head = contents.header
        write = writing.writer(kind, head.mode)
        if not write or self.size or contents.exact:
            return None
        strips = decode_strips(contents, self.threads) or [decode_contents(contents, self.threads)]
        return write(head.width, head.height, head.mode, strips)


def _named_parts(parts: Iterable[bytes], source: str) -> Iterator[bytes]:
    """Parts of an output; what goes wrong while one is made is said of the input."""
    with named(source):
        yield from parts
