"""Pictures that the command encodes together: those of one prior, up to a number of pixels."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from .files import label

if TYPE_CHECKING:
    import numpy as np

    from ..format.prior import Prior

BATCH_PIXELS = 2**18  # of pictures that are encoded together: no more are fitted at once


class Input(NamedTuple):
    """A picture, where it comes from and where its file goes."""

    source: str
    target: str
    picture: "np.ndarray"  # uint8, (H, W) or (H, W, 2 to 4)

    @property
    def pixels(self) -> int:
        """Of the picture."""
        return self.picture.shape[0] * self.picture.shape[1]


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
        if batch and sum(other.pixels for other in batch) + entry.pixels > BATCH_PIXELS:
            yield chosen, batch
            batch = []
        batch = [*batch, entry]
        if sum(other.pixels for other in batch) >= BATCH_PIXELS:
            yield chosen, batch
            batch = []
        waiting[chosen.digest] = chosen, batch
    yield from (last for last in waiting.values() if last[1])


def name_of(batch: list[Input]) -> str:
    """The first and the last input of a batch, for messages about all of it."""
    return " … ".join(dict.fromkeys(label(entry.source) for entry in (batch[0], batch[-1])))
