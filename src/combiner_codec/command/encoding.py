"""What `combiner encode` does: pictures in batches, each file written as soon as it is there."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..encoder.settings import Settings
from ..encoder.torch_loading import load_under_a_limit
from ..errors import CombinerError, TargetError
from ..format.plane import InrPlane
from ..format.prior import Prior
from ..picture import image, scaling, webp
from ..picture.reading import read_picture
from .estimate import Estimate
from .files import label, read, write
from .inputs import Input, batches, name_of
from .jobs import Job
from .outputs import Lines, Outputs
from .previews import Printer
from .ranks import Ranks
from .terminal import Bar, collected, named, progress, say

if TYPE_CHECKING:
    from ..encoder.encoded import Encoded


@dataclass(frozen=True)
class Request:
    """How a user wants pictures encoded."""

    settings: Settings
    target_size: int | None  # bytes
    target_psnr: float | None  # dB
    prior: Prior | None  # None: by size
    loading: dict  # options of `image.load`
    strict: bool  # a missed PSNR is an error
    save_posterior: str | None  # a file
    quiet: bool
    side: int | None = None  # of the square that pictures are scaled to fit
    printer: Printer | None = None  # of lines on standard output instead of files

    @cached_property
    def goal(self):
        """The Goal, if there is one."""
        from ..encoder.goal import Goal

        return Goal.of(self.target_size, self.target_psnr)

    def name(self, entry: Input) -> str:
        """What messages call an output."""
        return label(entry.source if self.printer else entry.job.target)

    def say(self, line: str) -> None:
        """A line on standard error, unless nothing is to be said."""
        say(self.quiet, line)


class Encoding:
    """The pictures of one command on their way to files."""

    def __init__(self, request: Request, outputs: Outputs, failures: list[CombinerError]):
        self.request = request
        self.outputs = outputs
        self.failures = failures  # what goes wrong is added
        self.lines = Lines()  # of the printer
        self.problems: dict[int, str] = {}  # what failed, by number of the job

    def run(self, jobs: Sequence[Job], ranks: Ranks) -> None:
        """Encode and write, a batch after the other."""
        if self.request.settings.kind != "lossless":
            load_under_a_limit()
        with progress(len(jobs), self.request.quiet, ranks.beside == 1) as bar:
            for prior, batch in batches(self._inputs(jobs, bar), self.request.prior):
                ranks.take_gpu()
                self._encode_batch(prior, batch, bar)
                for entry in batch:
                    self._leave(entry.number, entry.job)
                bar.end(len(batch))

    def _inputs(self, jobs: Sequence[Job], bar: Bar) -> Iterator[Input]:
        """The inputs of jobs that are still to be done, each read when it is asked for."""
        for number, job in enumerate(jobs):
            picture = None
            if self.outputs.wanted(job):
                with self._collected(number), named(job.source):
                    picture = self._picture(job, number)
            if picture is None:
                self._leave(number, job)
                bar.end(1)
            else:
                yield picture

    @contextmanager
    def _collected(self, number: int) -> Iterator[None]:
        """What fails is added to the failures, as a job's."""
        before = len(self.failures)
        with collected(self.failures):
            yield
        for error in self.failures[before:]:
            self.problems[number] = error.message

    def _picture(self, job: Job, number: int) -> Input:
        """An input as it is encoded."""
        request = self.request
        source = read(job.source, read_picture)
        picture = image.load(source, label(job.source), note=request.say, **request.loading)
        height, width = picture.shape[:2]
        if request.side:
            picture = scaling.fitted(picture, request.side)
        return Input(job, number, picture, (height, width))

    def _leave(self, number: int, job: Job) -> None:
        """A job is done or has failed; one that has printed nothing leaves a line that says so."""
        self.outputs.done(job)
        if self.request.printer:
            problem = self.problems.get(number, "")
            self.lines.put(number, self.request.printer.failed(job.source, problem))

    def _encode_batch(self, prior: Prior, batch: list[Input], bar: Bar) -> None:
        """Encode pictures together, or one by one where that fails, and write their files."""
        request = self.request
        started = time.perf_counter()
        report = bar.begin(name_of(batch), len(batch))
        pictures = [entry.picture for entry in batch]
        estimate = Estimate(name_of(batch), pictures, request.settings.effort, request.say, report)
        for entry, result in self._encoded(prior, batch, estimate):
            seconds = (time.perf_counter() - started) / len(batch)
            with self._collected(entry.number):
                if not self._keep(entry, result):
                    continue
                size = f"{len(result.data)} bytes, {result.bpp:.3f} bpp"
                request.say(f"{request.name(entry)}: {size}, {result.psnr:.2f} dB, {seconds:.2f} s")
                tell(entry, result, prior, request)

    def _encoded(self, prior, batch, report) -> Iterator[tuple[Input, "Encoded | TargetError"]]:
        """Every input of a batch with what it became. Pictures whose batch fails are encoded alone."""
        from ..encoder.kinds import encode_pictures

        try:
            with named(name_of(batch)):
                pictures = [entry.picture for entry in batch]
                results = encode_pictures(pictures, prior, self.request.settings, self.request.goal, report)
        except CombinerError:
            if len(batch) == 1:
                with self._collected(batch[0].number):
                    raise
                return
        else:
            yield from zip(batch, results, strict=True)
            return
        for entry in batch:
            yield from self._encoded(prior, [entry], report)

    def _keep(self, entry: Input, result: "Encoded | TargetError") -> bool:
        """Write the file of an input, or its URL, and its posterior where that is asked for. Raises CombinerError.

        False where an output has appeared meanwhile, which is left alone.
        """
        if isinstance(result, CombinerError):
            raise result.about(label(entry.source))
        if self.request.printer:
            self.lines.put(entry.number, self.request.printer.line(entry, result))
        elif not self.outputs.write(entry.job, result.data):
            return False
        if self.request.save_posterior:
            if result.saved is None:
                raise CombinerError(f"{label(entry.source)}: this picture has no posterior to keep")
            write(self.request.save_posterior, result.saved.to_bytes(result.data), sync=self.outputs.sync)
        return True


def tell(entry: Input, result: "Encoded", prior: Prior, request: Request) -> None:
    """What speaks against a file, a line each. Raises TargetError for a PSNR that was to be met strictly."""
    name = request.name(entry)
    goal = request.goal
    if not request.quiet:
        wanted = None if goal else request.settings.beta
        lines = result.warnings(entry.picture, wanted, prior)
        if isinstance(result.plane, InrPlane):
            lines += webp.warning(entry.picture, len(result.data), result.psnr)
        for line in lines:
            request.say(f"{name}: warning: {line}")
    unused = goal and goal.unused(result, prior)
    if unused:
        request.say(f"{name}: {unused}")
    if goal and goal.missed(result):
        missed = f"{goal.psnr:g} dB were not met"
        if request.strict:
            raise TargetError(f"{name}: {missed}: {result.psnr:.2f} dB")
        request.say(f"{name}: warning: {missed}")
