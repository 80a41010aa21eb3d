"""Pictures that the command encodes together: those of one prior, up to a number of pixels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .files import label
from .jobs import Job

if TYPE_CHECKING:
    import numpy as np

    from ..format.prior import Prior

BATCH_PIXELS = 2**18  # of pictures that are encoded together: no more are fitted at once
LEAST_PIXELS = 2**10  # that a picture counts as: a smaller one has as many latents, those of a block


@dataclass(frozen=True, eq=False)
class Input:
    """A picture, where it comes from and where its file goes."""

    job: Job
    number: int  # of the job among all
    picture: "np.ndarray"  # uint8, (H, W) or (H, W, 2 to 4)
    shape: tuple[int, int]  # height and width of the picture before it was scaled down

    @property
    def source(self) -> str:
        """Where it comes from."""
        return self.job.source

    @property
    def pixels(self) -> int:
        """Of the picture, as they count."""
        height, width = self.picture.shape[:2]
        return max(height * width, LEAST_PIXELS)


def batches(inputs: Iterable[Input], prior: "Prior | None") -> Iterator[tuple["Prior", list[Input]]]:
    """Inputs that share a prior, the given one or the default for their size, in batches.

    A batch has at most BATCH_PIXELS, or one picture, and is there as soon as it is full: few inputs are held at a time.
    """
    from ..format import prior as priors

    waiting: dict[bytes, tuple[Prior, list[Input]]] = {}
    for entry in inputs:
        height, width = entry.picture.shape[:2]
        chosen = prior or priors.default(width, height)
        _, batch = waiting.get(chosen.digest, (chosen, []))
        if batch and pixels_of(batch) + entry.pixels > BATCH_PIXELS:
            yield chosen, batch
            batch = []
        batch = [*batch, entry]
        if pixels_of(batch) >= BATCH_PIXELS:
            yield chosen, batch
            batch = []
        waiting[chosen.digest] = (chosen, batch)
    for chosen, batch in waiting.values():
        if batch:
            yield chosen, batch


def pixels_of(batch: list[Input]) -> int:
    """Of all pictures of a batch, as they count."""
    return sum(entry.pixels for entry in batch)


def name_of(batch: list[Input]) -> str:
    """The first and the last input of a batch, for messages about all of it."""
    first = label(batch[0].source)
    last = label(batch[-1].source)
    return first if first == last else f"{first} … {last}"
