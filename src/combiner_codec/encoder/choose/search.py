"""Operating point and classes of one picture for a file size or a predicted quality, without a fit.

The length of a file follows from its classes alone (FORMAT.md, sections 3 and 5), so a size is met exactly. Quality is
predicted by the linear part (`Classes.errors`). Along one operating point beta alone decides: classes minimise
distortion + beta nats. Pictures of few tiles have few such points; there single tiles are changed until the goal is
met. Which tiles are merged follows from the operating point. Shapes: Rt x Ct tiles, T of them that name a class (the
first of each four that are merged), K classes.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from ...errors import TargetError
from ...format.prior import OperatingPoint
from ...root import next_guess
from .chooser import Chooser
from .class_costs import tile_nats
from .class_maps import cheapest
from .tiling import begins

Kind = Literal["size", "error"]

# Set on validation photographs of 32x32 to 96x96 pixels, `fast`, 27, 31 and 35 dB, by how many files came within 0.2 dB
# and how many encodings that took; sizes by how much of the goal was used.
FEW = 16  # tiles up to which classes are changed one by one, and several operating points are looked at
POINTS = 3  # operating points for a few tiles; for one tile all
SERVED = np.log(1.6)  # an operating point serves betas up to this far from its own
STEADY_SIZE, STEADY_REACH = 1.06, 1.6  # how much larger a file, and a reach, may be where the operating point stays
USED = 0.9  # share of a size that a file should use
CLOSE = {"size": 0.02, "error": 0.004}  # what may be left of a goal, as a share of it; 0.004 are 0.02 dB
SLOPE = {"size": -0.5, "error": 0.6}  # d log goal / d log beta where nothing is known yet

TRIES = 12  # betas per operating point
RANGE = np.log([1e-8, 1e3])  # of betas
GRID = 2**20  # betas in this range that are told apart before classes have contexts
STEP = np.log(10)  # largest step of log beta while one side of the goal is unknown
HASTE = 1.3  # times the step that the slope asks for, so that the other side is met soon
LEAST = 1e-9  # squared error that counts as none
FREE, DEAR = 1e-9, 1e9  # betas at which nothing but the error and nothing but the size counts


@dataclass(frozen=True)
class Choice:
    """What decides a file's length, and what is known without a fit."""

    point: int  # number of the operating point
    classes: np.ndarray  # (Rt, Ct)
    size: int  # bytes of the file
    error: float  # predicted squared error, summed over pixels, averaged over channels

    @property
    def key(self) -> tuple[int, bytes]:
        """Equal for equal files."""
        return self.point, self.classes.tobytes()


@dataclass(frozen=True)
class Tiles:
    """A picture's tiles at one operating point."""

    point: OperatingPoint
    merged: np.ndarray  # (Rt, Ct) bool
    errors: np.ndarray  # (Rt, Ct, K) distortion by class

    @cached_property
    def nats(self) -> np.ndarray:
        """Nats of a tile by class: (K,)."""
        return tile_nats(self.point)

    @cached_property
    def places(self) -> np.ndarray:
        """Where the tiles are that name a class: (T, 2)."""
        return np.argwhere(begins(self.merged))

    @property
    def named(self) -> np.ndarray:
        """Errors of these: (T, K)."""
        return self.errors[tuple(self.places.T)]

    def cheapest(self, beta: float) -> np.ndarray:
        """Classes that minimise distortion + beta nats: (Rt, Ct)."""
        costs = self.errors + (beta * self.nats).astype(np.float32) * begins(self.merged)[..., None]
        return cheapest(self.point, costs[None], beta)[0]

    def error_of(self, classes: np.ndarray) -> float:
        """Distortion of classes (Rt, Ct)."""
        error = np.take_along_axis(self.errors, classes[..., None], -1).sum(dtype=np.float64)
        return max(float(error), LEAST)

    def nats_of(self, classes: np.ndarray) -> float:
        """What the tiles of classes (Rt, Ct) cost."""
        return float(self.nats[classes[begins(self.merged)]].sum())


@dataclass(frozen=True)
class Search:
    """Choices for one picture."""

    chooser: Chooser
    picture: torch.Tensor  # (1, H, W, 1 or 3)
    pixels: int  # of the picture that are kept
    size_of: Callable[[int, np.ndarray], int]  # bytes of a file from point and classes
    known: dict[int, Tiles] = field(default_factory=dict, repr=False)  # what was asked for
    overheads: dict[int, float] = field(default_factory=dict, repr=False)  # the same

    @property
    def points(self) -> tuple[int, ...]:
        """Numbers of the operating points to choose from."""
        return self.chooser.points

    @property
    def trials(self) -> int:
        """Choices wanted for a size."""
        return self.chooser.trials

    @property
    def count(self) -> int:
        """Tiles of the picture, merged or not."""
        return np.prod(self.picture.shape[1:3]) // self.chooser.prior.architecture.tile**2

    def tiles(self, number: int) -> Tiles:
        """The tiles at an operating point."""
        if number not in self.known:
            point = self.chooser.point(number, self.picture)
            merged = self.chooser.tiling(point, self.picture)
            errors = self.chooser.tile_errors(point, self.picture, merged)
            self.known[number] = Tiles(point, merged[0], errors[0])
        return self.known[number]

    def overhead(self, number: int) -> float:
        """Nats of header and class map at an operating point's own beta."""
        if number not in self.overheads:
            usual = self.at(number, self.tiles(number).point.beta)
            self.overheads[number] = 8 * np.log(2) * usual.size - self.tiles(number).nats_of(usual.classes)
        return self.overheads[number]

    @cached_property
    def smallest(self) -> Choice:
        """The smallest file."""
        return min((self.at(number, DEAR) for number in self.points), key=lambda choice: choice.size)

    @cached_property
    def richest(self) -> Choice:
        """The file of least error."""
        return min((self.at(number, FREE) for number in self.points), key=lambda choice: choice.error)

    def within_size(self, size: int) -> list[Choice]:
        """Files of at most `size` bytes, the best first. Raises TargetError where there is none."""
        found = list(self.constrained("size", size))
        if not found:
            raise TargetError(f"{size} bytes are too few: the smallest file of this picture has {self.smallest.size}")
        return sorted(found, key=lambda choice: (choice.size < USED * size, choice.error))

    def of_psnr(self, psnr: float, usual: int | None) -> Choice:
        """The smallest file that is predicted to reach a PSNR, else the best one; at the `usual` operating point where
        that costs little: what the last file showed holds for its point.
        """
        own = list(self.constrained("error", self.pixels * 10 ** (-psnr / 10), usual))
        best = min(own, key=lambda choice: choice.size, default=self.richest)
        same = (choice for choice in own if choice.point == usual and choice.size < STEADY_SIZE * best.size)
        return next(same, best)

    def predicted(self, choice: Choice) -> float:
        """PSNR by the linear part alone, dB."""
        return float(10 * np.log10(self.pixels / max(choice.error, LEAST)))

    def constrained(self, kind: Kind, limit: float, usual: int | None = None) -> Iterator[Choice]:
        """The best choice below the limit at each of the likeliest operating points."""
        guesses = {number: _guess(self, number, kind, limit) for number in self._likely(kind, limit)}
        several = len(guesses) if self.count == 1 else POINTS if self.count <= FEW else 1
        wanted = max(self.trials, several)
        for number in sorted(guesses, key=lambda number: self._rank(number, *guesses[number], usual)):
            choice = _solve(self, number, kind, limit, guesses[number][0])
            if choice:
                yield _fill(self, choice, kind, limit) if self.count <= FEW else choice
                wanted -= 1
            if not wanted:
                return

    def _likely(self, kind, limit):
        """Operating points for a limit: all where there are few tiles, else those around the beta that it takes."""
        if self.count <= FEW:
            return self.points
        betas = np.log([self.chooser.prior.betas[number] for number in self.points])
        seen, i = [], len(self.points) // 2
        while i not in seen:
            seen.append(i)
            i = int(np.abs(betas - _guess(self, self.points[i], kind, limit)[0]).argmin())
        near = {j for j in (i - 1, i, i + 1) if 0 <= j < len(self.points)}
        return [self.points[j] for j in sorted(near | set(seen[-1:]))]

    def _rank(self, number, x, cost, usual):
        """Order of operating points: first those that were learned for a beta near this one."""
        far = abs(x - np.log(self.tiles(number).point.beta)) > (STEADY_REACH if number == usual else 1) * SERVED
        return far, self.count > 1 and usual not in (None, number), cost

    def at(self, number: int, beta: float) -> Choice:
        """The classes that minimise distortion + beta nats."""
        return self.choice(number, self.tiles(number).cheapest(beta))

    def choice(self, number: int, classes: np.ndarray) -> Choice:
        """Given classes: (Rt, Ct)."""
        return Choice(number, classes, self.size_of(number, classes), self.tiles(number).error_of(classes))


def _guess(search: Search, number: int, kind: Kind, limit: float) -> tuple[float, float]:
    """log beta that meets the limit when classes are chosen without contexts, and a bound on what it then costs:
    distortion below a size, nats below a distortion (the Lagrangian dual).
    """
    tiles, overhead = search.tiles(number), search.overhead(number)
    errors, nats = tiles.named, tiles.nats

    def spent(x):
        classes = (errors + (np.exp(x) * nats).astype(np.float32)).argmin(-1)
        distortion = errors[np.arange(len(errors)), classes].sum(dtype=np.float64)
        return distortion, nats[classes].sum() + overhead

    def beyond(x):
        """Whether beta is too small for a size, or too large for an error."""
        distortion, rate = spent(x)
        return 8 * np.log(2) * limit >= rate if kind == "size" else distortion > limit

    step = (RANGE[1] - RANGE[0]) / (GRID - 1)
    x = float(RANGE[0] + step * bisect_left(range(GRID - 1), True, key=lambda i: beyond(RANGE[0] + step * i)))
    (distortion, rate), beta = spent(x), np.exp(x)
    if kind == "size":
        return x, distortion + beta * (rate - 8 * np.log(2) * limit)
    return x, rate + (distortion - limit) / beta


def _solve(search: Search, number: int, kind: Kind, limit: float, x: float) -> Choice | None:
    """The choice of one operating point with the largest size or error that is not above the limit."""
    found: list[tuple[float, Choice]] = []  # within the limit
    known: list[tuple[float, float]] = []  # log beta, and log of what it gave over a little less than the limit
    for _ in range(TRIES):
        choice = search.at(number, np.exp(x))
        y = np.log(getattr(choice, kind) / limit)
        if y <= 0:
            found.append((y, choice))
        known.append((x, y + CLOSE[kind] / 2))
        inside, outside = ([p for p in known if (p[1] > CLOSE[kind] / 2) == out] for out in (False, True))
        if -CLOSE[kind] < y <= 0 or (inside and outside and abs(inside[-1][0] - outside[-1][0]) < 1e-3):
            break
        following = next_guess(known, SLOPE[kind] / HASTE)
        following = following if inside and outside else x + np.clip(following - x, -STEP, STEP)
        if not RANGE[0] < following < RANGE[1]:
            break
        x = following
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _fill(search: Search, choice: Choice, kind: Kind, limit: float) -> Choice:
    """Change one tile after another, as long as that lowers the other of size and error within the limit."""
    tiles = search.tiles(choice.point)
    place, rows, errors = tuple(tiles.places.T), np.arange(len(tiles.places)), tiles.named
    nats = tiles.nats + np.zeros((len(rows), 1))
    spent, wanted = (nats, errors) if kind == "size" else (errors, nats)
    unit = 8 * np.log(2) if kind == "size" else 1.0
    barred = np.zeros(errors.shape, bool)
    while search.count == 1 or getattr(choice, kind) < (1 - CLOSE[kind]) * limit:
        classes = choice.classes[place]
        room = unit * (limit - getattr(choice, kind))
        gain = wanted[rows, classes][:, None] - wanted
        gain[barred | (spent - spent[rows, classes][:, None] > room + 0.01 * unit * limit)] = 0
        tile, own = np.unravel_index(gain.argmax(), gain.shape)
        if gain[tile, own] <= 0:
            break
        changed, (r, c) = choice.classes.copy(), tiles.places[tile]
        side = 1 + tiles.merged[r, c]
        changed[r : r + side, c : c + side] = own
        other = search.choice(choice.point, changed)
        if getattr(other, kind) <= limit:
            choice = other
        barred[tile, own] = True
    return choice
