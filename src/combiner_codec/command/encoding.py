"""What `combiner encode` does: pictures in batches, each file written as soon as it is there."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..encoder.settings import Settings
from ..errors import CombinerError, TargetError
from ..format.plane import InrPlane
from ..format.prior import Prior
from ..picture import image, scaling, webp
from .files import label, read, write
from .inputs import Input, batches, name_of
from .jobs import Job
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
    printed: bool = False  # data: URLs on standard output instead of files

    @cached_property
    def goal(self):
        """The Goal, if there is one."""
        from ..encoder.goal import Goal

        return Goal.of(self.target_size, self.target_psnr)

    def name(self, entry: Input) -> str:
        """What messages call an output."""
        return label(entry.source if self.printed else entry.target)

    def say(self, line: str) -> None:
        """A line on standard error, unless nothing is to be said."""
        say(self.quiet, line)


def encode_jobs(jobs: Sequence[Job], request: Request, ranks: Ranks, failures: list[CombinerError]) -> None:
    """Encode and write, a batch after the other; what fails is added to the failures."""
    with progress(len(jobs), request.quiet, ranks.world == 1) as bar:
        for prior, batch in batches(loaded(jobs, request, bar, failures), request.prior):
            ranks.take_gpu()
            encode_batch(prior, batch, request, bar, failures)
            bar.end(len(batch))


def loaded(jobs: Sequence[Job], request: Request, bar: Bar, failures: list[CombinerError]) -> Iterator[Input]:
    """The inputs of some jobs, each read when it is asked for."""
    for source, target in jobs:
        picture = None
        with collected(failures), named(source):
            picture = image.load(read(source), label(source), note=request.say, **request.loading)
            picture = scaling.fitted(picture, request.side) if request.side else picture
        if picture is None:
            bar.end(1)
        else:
            yield Input(source, target, picture)


def encode_batch(prior: Prior, batch: list[Input], request: Request, bar: Bar, failures: list[CombinerError]) -> None:
    """Encode pictures together, or one by one where that fails, and write their files."""
    started = time.perf_counter()
    megapixels = sum(entry.pixels for entry in batch) / 1e6
    report = bar.begin(name_of(batch), len(batch), megapixels, request.settings.effort)
    for entry, result in encoded(prior, batch, request, report, failures):
        seconds = (time.perf_counter() - started) / len(batch)
        with collected(failures):
            keep(entry, result, request)
            size = f"{len(result.data)} bytes, {result.bpp:.3f} bpp"
            request.say(f"{request.name(entry)}: {size}, {result.psnr:.2f} dB, {seconds:.2f} s")
            tell(entry, result, prior, request)


def encoded(prior, batch, request, report, failures) -> Iterator[tuple[Input, "Encoded | TargetError"]]:
    """Every input of a batch with what it became. Pictures whose batch fails are encoded alone."""
    from ..encoder.kinds import encode_pictures

    try:
        with named(name_of(batch)):
            pictures = [entry.picture for entry in batch]
            results = encode_pictures(pictures, prior, request.settings, request.goal, report)
    except CombinerError:
        if len(batch) == 1:
            with collected(failures):
                raise
            return
    else:
        yield from zip(batch, results, strict=True)
        return
    for entry in batch:
        yield from encoded(prior, [entry], request, report, failures)


def keep(entry: Input, result: "Encoded | TargetError", request: Request) -> None:
    """Write the file of an input, or its URL, and its posterior where that is asked for. Raises CombinerError."""
    if isinstance(result, CombinerError):
        raise result.about(label(entry.source))
    write(entry.target, f"{scaling.data_url(result.data)}\n".encode() if request.printed else result.data)
    if request.save_posterior:
        if result.saved is None:
            raise CombinerError(f"{label(entry.source)}: this picture has no posterior to keep")
        write(request.save_posterior, result.saved.to_bytes(result.data))


def tell(entry: Input, result: "Encoded", prior: Prior, request: Request) -> None:
    """What speaks against a file, a line each. Raises TargetError for a PSNR that was to be met strictly."""
    name, goal = request.name(entry), request.goal
    wanted = None if goal else request.settings.beta
    if not request.quiet:
        lines = result.warnings(entry.picture, wanted, prior)
        if isinstance(result.plane, InrPlane):
            lines += webp.warning(entry.picture, len(result.data), result.psnr)
        for line in lines:
            request.say(f"{name}: warning: {line}")
    if goal and goal.missed(result):
        missed = f"{goal.psnr:g} dB were not met"
        if request.strict:
            raise TargetError(f"{name}: {missed}: {result.psnr:.2f} dB")
        request.say(f"{name}: warning: {missed}")
