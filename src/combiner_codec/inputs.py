"""Pictures that the command encodes together: those of one prior, up to a number of pixels."""

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from .files import label
from .options import choose_prior

if TYPE_CHECKING:
    import numpy as np

    from .format.prior import Prior

BATCH_PIXELS = 2**22  # of pictures that are encoded together


class Input(NamedTuple):
    """A picture, where it comes from and where its file goes."""

    source: str
    target: str
    picture: "np.ndarray"  # (H, W) or (H, W, 3) uint8

    @property
    def pixels(self) -> int:
        """Of the picture."""
        return self.picture.shape[0] * self.picture.shape[1]


def by_prior(inputs: Iterable[Input], name: str | None) -> Collection[tuple["Prior", list[Input]]]:
    """Inputs in groups that share a prior: the named one, or the default for their size. Raises FormatError."""
    from .format import prior as priors

    groups: dict[bytes, tuple[Prior, list[Input]]] = {}
    named = choose_prior(name) if inputs and name else None
    for entry in inputs:
        height, width = entry.picture.shape[:2]
        chosen = named or priors.default(width, height)
        groups.setdefault(chosen.digest, (chosen, []))[1].append(entry)
    return groups.values()


def batches(inputs: Iterable[Input]) -> Iterator[list[Input]]:
    """Inputs in batches of at most BATCH_PIXELS pixels, or of one picture."""
    batch, pixels = [], 0
    for entry in inputs:
        if batch and pixels + entry.pixels > BATCH_PIXELS:
            yield batch
            batch, pixels = [], 0
        batch.append(entry)
        pixels += entry.pixels
    if batch:
        yield batch


def name_of(batch: list[Input]) -> str:
    """The first and the last input of a batch, for messages about all of it."""
    return " … ".join(dict.fromkeys(label(entry.source) for entry in (batch[0], batch[-1])))
