"""How long pictures take: told by their pixels before the work, and by its own speed once that is known."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..reports import Report

if TYPE_CHECKING:
    import numpy as np

# seconds a megapixel of a plane on two processor cores: `make bench-speed` measures them (docs/results/speed.md)
PACE = {"fast": 9, "normal": 24, "best": 380}
LONG = 60  # seconds from which a line is worth it
SETTLED = 10  # seconds after which the work's own speed counts
OFF = 1.5  # times that an estimate may be wrong before it is corrected


class Estimate:
    """Takes shares of the work that is done, and hands them on."""

    def __init__(self, name: str, seconds: float, say: Report, report: Callable[[float], None]):
        self.name = name
        self.seconds = seconds  # that all of it takes, as far as has been said
        self.say = say
        self.report = report
        self.started = time.monotonic()
        self.corrected = False

    @staticmethod
    def of(
        name: str, pictures: Sequence["np.ndarray"], effort: str, say: Report, report: Callable[[float], None]
    ) -> "Estimate":
        """Of pictures that are encoded together; says how long they take where that is long."""
        seconds = megapixels_of(pictures) * PACE[effort]
        if seconds > LONG:  # most pictures are small, and need no closer look
            fitted = [picture for picture in pictures if not is_plain(picture)]
            seconds = megapixels_of(fitted) * PACE[effort]
        if seconds > LONG:
            say(f"{name}: {megapixels_of(fitted):.1f} MP, {in_words(seconds)} on two processor cores")
        return Estimate(name, seconds, say, report)

    def __call__(self, share: float) -> None:
        """So much of the work is done."""
        self.report(share)
        spent = time.monotonic() - self.started
        if self.corrected or not share or spent < SETTLED:
            return
        whole = spent / share
        left = whole - spent
        wrong = not self.seconds / OFF < whole < self.seconds * OFF
        if wrong and max(left, self.seconds - spent) > LONG:
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
