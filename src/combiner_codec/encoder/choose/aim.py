"""One picture on its way to a PSNR: which file to make next, by what its files have shown. numpy only.

The PSNR of a file is known when it is made; before, the linear part predicts it. A picture of a single tile has few
files, which are looked at all together.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ...root import next_guess
from ..encoded import Encoded
from ..settings import Effort
from .choices import Choice, Choices
from .search import FEW_TILES, of_psnr

# Set on the same photographs as the constants of search.py.
MOST_FILES = 4  # that are made for a wanted PSNR: usually
MOST_FILES_FEW = 8  # of few tiles, whose files differ in larger steps
MOST_FILES_ALONE = 6  # of one tile
NUDGES = 0.05 * np.array([0, 1, -1, 2, -2, 4, -4, 8, -8])  # dB by which a goal moves whose file is known already
STEEPEST = 2.0  # times faster or slower than the prediction a PSNR may rise
# Of files of a single tile the one is tried next that costs least: log nats - GROWTH dB + (dB / UNSURE)^2
UNSURE = 0.5  # dB by which predictions of a single tile are off
GROWTH = 0.13  # of log nats per dB


@dataclass(frozen=True)
class TileFiles:
    """Every file of a picture of a single tile: (n,) each."""

    points: np.ndarray  # operating points
    classes: np.ndarray
    errors: np.ndarray  # predicted, squared
    nats: np.ndarray

    @staticmethod
    def of(choices: Choices) -> "TileFiles":
        """All points' all classes."""
        points = []
        classes = []
        errors = []
        nats = []
        for number in choices.points:
            tiles = choices.tiles(number)
            (nats_of_classes,) = tiles.nats
            count = len(nats_of_classes)
            points.append(np.full(count, number))
            classes.append(np.arange(count))
            errors.append(tiles.errors.reshape(-1))
            nats.append(nats_of_classes)
        tables = [np.concatenate(parts) for parts in (points, classes, errors, nats)]
        return TileFiles(*tables)


@dataclass
class Aim:
    """A picture, the PSNR that is wanted of it, and what its files have shown."""

    choices: Choices
    psnr: float  # dB, wanted
    known: list[tuple[float, float]] = field(default_factory=list)  # predicted and real PSNR of what was encoded
    tried: set = field(default_factory=set)  # efforts and choices
    usual: int | None = None  # operating point that later files prefer
    gain: float | None = None  # dB of files above the prediction, as a sample of the picture has shown
    result: Encoded | None = None  # the nearest file so far

    @property
    def alone(self) -> bool:
        """Whether the picture is a single tile."""
        return self.choices.tile_count == 1

    @property
    def most_files(self) -> int:
        """That are made."""
        if self.alone:
            return MOST_FILES_ALONE
        return MOST_FILES_FEW if self.choices.tile_count <= FEW_TILES else MOST_FILES

    @property
    def off(self) -> float:
        """dB that the nearest file is off; infinite before the first."""
        return np.inf if self.result is None else abs(self.result.psnr - self.psnr)

    def next_choice(self, gain: float, effort: str | Effort) -> Choice:
        """The next file: by what the last ones showed, or by the gain over the prediction, that of a sample or the
        usual one; if it can be, one that was not encoded with this effort.
        """
        predicted = self.psnr - (gain if self.gain is None else self.gain)
        if self.known:
            points = [(prediction, real - self.psnr) for prediction, real in self.known]
            predicted = next_guess(points, 1.0, STEEPEST)
        if self.alone:
            return self._file_of_one_tile(predicted)
        for nudge in NUDGES:
            choice = of_psnr(self.choices, predicted + nudge, self.usual)
            if (effort, choice.key) not in self.tried:
                break
        self.usual = choice.point
        return choice

    def _file_of_one_tile(self, psnr: float) -> Choice:
        """Of all files a cheap one near the PSNR, and a new one each time while it is in reach."""
        files = self.files
        off = self.choices.psnr_of(files.errors) - psnr
        cost = np.log(files.nats) - GROWTH * off + (off / UNSURE) ** 2
        in_reach = np.abs(off).min() < UNSURE
        if in_reach and not self.encoded.all():
            cost[self.encoded] = np.inf
        best = cost.argmin()
        point = int(files.points[best])
        classes = files.classes[best].reshape(1, 1)
        return self.choices.choice(point, classes)

    @property
    def encoded(self) -> np.ndarray:
        """Which files of a single tile were: (n,) bool."""
        keys = {key for _, key in self.tried}
        pairs = zip(self.files.points.tolist(), self.files.classes, strict=True)
        return np.array([(number, chosen.tobytes()) in keys for number, chosen in pairs])

    @cached_property
    def files(self) -> TileFiles:
        """Every file of a single tile."""
        return TileFiles.of(self.choices)

    def seen(self, effort: str | Effort, choice: Choice, result: Encoded) -> None:
        """Learn from a file."""
        self.tried.add((effort, choice.key))
        prediction = float(self.choices.psnr_of(choice.error))
        self.known.append((prediction, result.psnr))
        if self.result is None or abs(result.psnr - self.psnr) < self.off:
            self.result = result

    def recalibrate(self, gain: float) -> None:
        """What was encoded so far was for measuring only: another effort shows so many dB more."""
        self.known = [(prediction, real + gain) for prediction, real in self.known]
        self.result = None
