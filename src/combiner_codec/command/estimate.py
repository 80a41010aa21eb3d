"""How long pictures take: told by their pixels before the work, and by its own speed once that is known."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..reports import Report

if TYPE_CHECKING:
    import numpy as np

# seconds a megapixel of a plane on two processor cores: `make bench-speed` measures them (docs/results/speed.md)
PACE = {"fast": 7, "normal": 16, "best": 380}
LONG = 60  # seconds from which a line is worth it
SETTLED = 10  # seconds after which the work's own speed counts
OFF = 1.5  # times that an estimate may be wrong before it is corrected


class Estimate:
    """Takes shares of the work that is done, the first when a fit begins, and hands them on."""

    def __init__(
        self, name: str, pictures: Sequence["np.ndarray"], effort: str, say: Report, report: Callable[[float], None]
    ):
        self.name = name
        self.pictures = pictures  # encoded together
        self.pace = PACE[effort]
        self.say = say
        self.report = report
        self.seconds = 0.0  # that all of it takes, as far as has been said
        self.began: float | None = None  # time.monotonic()
        self.corrected = False

    def __call__(self, share: float) -> None:
        """So much of the work is done."""
        self.report(share)
        if self.began is None:
            self.began = time.monotonic()
            self._begin()
        elif share and not self.corrected:
            self._correct(share, time.monotonic() - self.began)

    def _begin(self) -> None:
        """Say how long it takes where that is long."""
        megapixels = megapixels_of(self.pictures)
        if megapixels * self.pace > LONG:  # most pictures are small, and need no closer look
            megapixels = megapixels_of([picture for picture in self.pictures if not is_plain(picture)])
        self.seconds = megapixels * self.pace
        if self.seconds > LONG:
            self.say(f"{self.name}: {megapixels:.1f} MP, {in_words(self.seconds)} on two processor cores")

    def _correct(self, share: float, spent: float) -> None:
        """Say how long it still takes where the work is much faster or slower."""
        whole = spent / share
        left = whole - spent
        wrong = not self.seconds / OFF < whole < self.seconds * OFF
        long = max(left, self.seconds - spent) > LONG
        if spent > SETTLED and wrong and long:
            self.say(f"{self.name}: {in_words(left)} more")
            self.corrected = True


def megapixels_of(pictures: Sequence["np.ndarray"]) -> float:
    """Of all pictures."""
    return sum(picture.shape[0] * picture.shape[1] for picture in pictures) / 1e6


def is_plain(picture: "np.ndarray") -> bool:
    """Whether all pixels are the same: nothing is fitted then."""
    return bool((picture == picture[:1, :1]).all())


def in_words(seconds: float) -> str:
    """A time, roughly."""
    if seconds < LONG:
        return "less than a minute"
    if seconds < 90 * LONG:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"
