"""Pictures encoded to a size or a PSNR: a size is known before the fit, a PSNR is met by one file after another."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf

import numpy as np

from ...errors import TargetError
from ...root import next_guess
from ..batch import Batch, Encoded
from ..settings import EFFORTS, Effort, Progress, between, one_of, positive
from .search import FEW, LEAST, Choice, Search

MET = 0.2  # dB from a wanted PSNR that are good enough
# For a wanted size of at most SMALL pixels: 0.07 dB more at 64x64 and 100 bytes, in twice the time.
SMALL, THOROUGH = 2**14, {"normal": replace(EFFORTS["normal"], trials=2, wider=2)}

# Set on the same photographs as the constants of search.py.
NEAR = 0.15  # dB from a wanted PSNR that are good enough for a first encoding
ENCODINGS, ENCODINGS_FEW, ENCODINGS_ALONE = 4, 8, 6  # at most, for a wanted PSNR: usually, of few tiles, of one
NUDGES = 0.05 * np.array([0, 1, -1, 2, -2, 4, -4, 8, -8])  # dB by which a goal moves whose file is known already
GAIN = {"fast": -0.3, "normal": 0.0, "best": 0.15}  # dB above the prediction, on photographs
GAIN_ALONE = 0.9  # dB more of a single tile
UNSURE = 0.5  # dB by which predictions of a single tile are off
GROWTH = 0.13  # of log nats per dB
SLOPES = 2.0  # how much faster or slower than the prediction a PSNR may rise


@dataclass(frozen=True)
class Goal:
    """What a file should be: at most `size` bytes, or of `psnr` dB. Raises ValueError or TypeError for no such goal."""

    size: int | None = None
    psnr: float | None = None

    def __post_init__(self):
        if self.size is not None:
            one_of("target_size", self.size, number=(1, inf), whole=True)
        if self.psnr is not None:
            positive("target_psnr", self.psnr)

    @staticmethod
    def of(size: int | None, psnr: float | None) -> "Goal | None":
        """A goal, or None without a wish. Raises ValueError for two."""
        if size is not None and psnr is not None:
            raise ValueError("a target size and a target PSNR exclude each other")
        return None if size is None and psnr is None else Goal(size, psnr)

    def missed(self, result: Encoded) -> bool:
        """Whether a file is further from the wanted PSNR than it should be."""
        return self.psnr is not None and MET < abs(result.psnr - self.psnr) < float("inf")


def meet(goal: Goal, batch: Batch, progress: Progress) -> list[Encoded | TargetError]:
    """Pictures of one shape encoded to a goal, each at its own operating point.

    A TargetError stands for a picture that cannot be brought to the size.
    """
    if goal.size is not None and batch.pixels <= SMALL:
        batch = batch.with_effort(THOROUGH.get(batch.settings.effort, batch.settings.effort))
    searches = [Search(batch.chooser, picture[None], batch.pixels, batch.file_size) for picture in batch.stack]
    if goal.size is None:
        return _meet_psnr([Aim(search, goal.psnr) for search in searches], batch, progress)
    return _meet_size(goal.size, searches, batch, progress)


def _meet_size(size, searches, batch, progress):
    """The best of the likeliest files of every picture."""
    results: list = [None] * len(searches)
    jobs = []
    for i, search in enumerate(searches):
        try:
            jobs += [(i, choice) for choice in search.within_size(size)[: search.trials]]
        except TargetError as error:
            results[i] = error
    for (i, _), result in zip(jobs, encode(batch, jobs, progress), strict=True):
        if results[i] is None or result.psnr > results[i].psnr:
            results[i] = result
    return results


def encode(batch: Batch, jobs: Sequence[tuple[int, Choice]], progress: Progress) -> list[Encoded]:
    """Some pictures of a batch at given points and classes."""
    if not jobs:
        return []
    members, choices = zip(*jobs, strict=True)
    points = np.array([choice.point for choice in choices])
    coded = batch.code(members, points, progress, [choice.classes for choice in choices])
    return [batch.finish(i, one, one.seconds) for i, one in zip(members, coded, strict=True)]


@dataclass
class Aim:
    """One picture on its way to a PSNR, and what its files have shown."""

    search: Search
    psnr: float  # dB, wanted
    known: list[tuple[float, float]] = field(default_factory=list)  # predicted and real PSNR of what was encoded
    tried: set = field(default_factory=set)  # efforts and choices
    usual: int | None = None  # operating point that later files prefer
    result: Encoded | None = None  # the nearest file so far

    @property
    def alone(self) -> bool:
        """Whether the picture is a single tile."""
        return self.search.count == 1

    def off(self, near: float) -> bool:
        """Whether the nearest file is not near enough."""
        return self.result is None or abs(self.result.psnr - self.psnr) > near

    @property
    def encodings(self) -> int:
        """Files that are made at most: those of few tiles differ in larger steps."""
        return ENCODINGS_ALONE if self.alone else ENCODINGS_FEW if self.search.count <= FEW else ENCODINGS

    def choice(self, gain: float, effort: str | Effort) -> Choice:
        """The next file: by what the last ones showed, or by the usual gain over the prediction; if it can be, one that
        was not encoded with this effort.
        """
        aim = self.psnr - gain
        if self.known:
            aim = next_guess([(own, real - self.psnr) for own, real in self.known], 1.0, SLOPES)
        if self.alone:
            return self._alone(aim)
        for nudge in NUDGES:
            choice = self.search.of_psnr(aim + nudge, self.usual)
            if (effort, choice.key) not in self.tried:
                break
        self.usual = choice.point
        return choice

    def _alone(self, psnr: float) -> Choice:
        """Of all files of a single tile a cheap one near the PSNR, and a new one each time while it is in reach."""
        point, own, error, nats = self.files
        off = 10 * np.log10(self.search.pixels / np.maximum(error, LEAST)) - psnr
        cost = np.log(nats) - GROWTH * off + (off / UNSURE) ** 2
        asked = [i for i, (number, c) in enumerate(zip(point, own, strict=True)) if (number, c) in self.asked]
        if np.abs(off).min() < UNSURE and len(asked) < len(off):
            cost[asked] = np.inf
        best = int(cost.argmin())
        return self.search.choice(int(point[best]), own[best].reshape(1, 1))

    @property
    def asked(self) -> set[tuple[int, int]]:
        """Point and class of the files of a single tile that were encoded."""
        return {(number, int(np.frombuffer(classes, np.int64)[0])) for _, (number, classes) in self.tried}

    @cached_property
    def files(self) -> tuple[np.ndarray, ...]:
        """Every file of a single tile: operating points, classes, errors, nats."""
        tiles = [self.search.tiles(number) for number in self.search.points]
        errors, nats = [own.errors.reshape(-1) for own in tiles], [own.nats for own in tiles]
        points = np.repeat(self.search.points, [len(one) for one in errors])
        return points, np.concatenate([np.arange(len(one)) for one in errors]), *map(np.concatenate, (errors, nats))

    def seen(self, effort, choice: Choice, result: Encoded) -> None:
        """Learn from a file."""
        self.tried.add((effort, choice.key))
        self.known.append((self.search.predicted(choice), result.psnr))
        if self.result is None or abs(result.psnr - self.psnr) < abs(self.result.psnr - self.psnr):
            self.result = result

    def recalibrate(self, gain: float) -> None:
        """What was encoded so far was for measuring only: another effort shows so many dB more."""
        self.known = [(own, real + gain) for own, real in self.known]
        self.result = None


def _meet_psnr(aims: Sequence[Aim], batch: Batch, progress: Progress) -> list[Encoded]:
    """Encode, see how far the prediction was off, encode again; the first time `fast` where that is faster."""
    effort, alone = batch.settings.effort, aims[0].alone
    gains = {name: gain + (GAIN_ALONE if alone else 0.0) for name, gain in GAIN.items()}
    gain = gains.get(effort, gains["normal"])
    probe = "fast" if effort in GAIN and not alone else effort
    for attempt in range(aims[0].encodings):
        near = MET if attempt or alone else NEAR
        jobs = [(i, aim.choice(gains.get(probe, gain), probe)) for i, aim in enumerate(aims) if aim.off(near)]
        jobs = [(i, choice) for i, choice in jobs if (probe, choice.key) not in aims[i].tried]
        if not jobs:
            break
        share = between(progress, 1 - 0.5**attempt, 1 - 0.5 ** (attempt + 1))
        for (i, choice), result in zip(jobs, encode(batch.with_effort(probe), jobs, share), strict=True):
            aims[i].seen(probe, choice, result)
        if probe != effort:
            for aim in aims:
                aim.recalibrate(gain - gains[probe])
            probe = effort
    return [aim.result for aim in aims]
