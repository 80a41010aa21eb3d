"""Size and quality on demand: operating point and classes for a file size or a PSNR.

The length of a file follows from its classes alone (FORMAT.md, sections 3 and 5), so a size is met before anything is
fitted. Quality is predicted by the linear part (`Fit.class_errors`), and corrected by a first encoding. Along one
operating point beta alone decides: classes minimise distortion + beta nats. Pictures of few tiles have few such points;
there single tiles are changed until the goal is met.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from . import classmap, fit
from .codec import MET
from .errors import FormatError
from .fit import Fit, tile_nats

if TYPE_CHECKING:
    from .codec import Encoded, Goal, _Encode

FEW = 16  # tiles up to which classes are changed one by one, and several operating points are looked at
FAR = np.log(1.6)  # an operating point serves betas up to this far from its own
LOYAL = 1.06  # up to this many times the smallest file, later files of a picture keep the operating point
FAITH = 1.6  # and up to this many times FAR
POINTS = 3  # operating points for a few tiles; for one tile all
USED = 0.9  # share of a size that a file should use
TRIES = 12  # betas per operating point
RANGE = np.log([1e-8, 1e3])  # of betas
STEP = np.log(10)  # largest step of log beta while one side of the goal is unknown
CLOSE = {"size": 0.02, "error": 0.004}  # what may be left of a goal, as a share of it; 0.004 are 0.02 dB
SLOPE = {"size": -0.5, "error": 0.6}  # d log goal / d log beta where nothing is known yet
GAIN = {"fast": -0.3, "normal": 0.0, "best": 0.15}  # dB above the prediction, on photographs
GAIN_ALONE = 0.9  # dB more of a single tile
NEAR = 0.15  # dB from a wanted PSNR: good enough for a first encoding
ENCODINGS = 4  # most encodings for a wanted PSNR; two are the rule
ALONE = 6  # the same for a single tile, where predictions are rough and steps large
UNSURE = 0.5  # dB by which those predictions are off
WORTH = 0.13  # growth of log nats per dB


@dataclass(frozen=True)
class Choice:
    """What decides a file's length, and what is known without a fit."""

    point: int
    classes: np.ndarray  # (Rt, Ct)
    size: int  # bytes of the file
    error: float  # predicted squared error, summed over pixels, averaged over channels

    @property
    def key(self) -> tuple[int, bytes]:
        return self.point, self.classes.tobytes()


def meet(goal: "Goal", encode: "_Encode", progress: Callable[[float], None]) -> list["Encoded | FormatError"]:
    """Pictures of one shape encoded to a goal, each at its own operating point.

    A FormatError stands for a picture that cannot be brought to the size.
    """
    run = encode.run()
    pixels = encode.pictures[0].shape[0] * encode.pictures[0].shape[1]
    searches = [Search(run, picture[None], pixels, encode.file_size) for picture in encode.stack]
    if goal.size is None:
        return _meet_psnr(goal.psnr, encode, searches, progress)
    results: list = [None] * len(searches)
    jobs = []
    for i, search in enumerate(searches):
        try:
            jobs += [(i, c.point, c.classes) for c in search.within_size(goal.size)[: run.trials]]
        except FormatError as error:
            results[i] = error
    for (i, _, _), result in zip(jobs, encode(run, jobs, progress) if jobs else [], strict=True):
        if results[i] is None or result.psnr > results[i].psnr:
            results[i] = result
    return results


def _meet_psnr(psnr, encode, searches, progress):
    """Encode, see how far the prediction was off, encode again; the first time `fast` where that is faster."""
    effort = encode.options.get("effort", "normal")
    alone = searches[0].tiles == 1
    gains = {name: gain + (GAIN_ALONE if alone else 0.0) for name, gain in GAIN.items()}
    gain = gains.get(effort, gains["normal"])
    probe = "fast" if effort in GAIN and not alone else effort
    known: list[list[tuple[float, float]]] = [[] for _ in searches]  # predicted and real PSNR of what was encoded
    tried: list[set] = [set() for _ in searches]
    results: list = [None] * len(searches)
    for attempt in range(ALONE if alone else ENCODINGS):
        near = MET if attempt or alone else NEAR
        left = [i for i, result in enumerate(results) if result is None or abs(result.psnr - psnr) > near]
        if not left:
            break
        jobs = [(i, searches[i].of_psnr(_aim(psnr, known[i], gains.get(probe, gain)))) for i in left]
        jobs = [(i, choice) for i, choice in jobs if (probe, choice.key) not in tried[i]]
        if not jobs:
            break
        share = fit.between(progress, 1 - 0.5**attempt, 1 - 0.5 ** (attempt + 1))
        encoded = encode(encode.run(effort=probe), [(i, choice.point, choice.classes) for i, choice in jobs], share)
        for (i, choice), result in zip(jobs, encoded, strict=True):
            tried[i].add((probe, choice.key))
            known[i].append((searches[i].predicted(choice), result.psnr))
            if results[i] is None or abs(result.psnr - psnr) < abs(results[i].psnr - psnr):
                results[i] = result
        if probe != effort:  # its files were for measuring only
            known = [[(own, real + gain - gains[probe]) for own, real in one] for one in known]
            results, probe = [None] * len(searches), effort
    return results


def _aim(psnr: float, known: list[tuple[float, float]], gain: float) -> float:
    """Predicted PSNR that should give a real one: by the two nearest encodings, or by the usual gain of an effort."""
    nearest = sorted(known, key=lambda pair: abs(pair[1] - psnr))[:2]
    if not nearest:
        return psnr - gain
    (x, y), (u, v) = nearest[0], nearest[-1]
    slope = np.clip((y - v) / (x - u), 0.5, 2) if abs(x - u) > 0.05 else 1.0
    return float(x + (psnr - y) / slope)


class Search:
    """Choices for one picture: (1, H, W, 1 or 3) float. `size_of(point, classes)` counts the bytes of a file."""

    def __init__(self, run: Fit, picture, pixels: int, size_of: Callable[[int, np.ndarray], int]):
        self.run, self.pixels, self.size_of = run, pixels, size_of
        self.levels = {point: run.level(point, picture) for point in run.candidate_points}
        self.errors = {point: run.tile_errors(level, picture)[0] for point, level in self.levels.items()}
        self.nats = {point: tile_nats(level) for point, level in self.levels.items()}
        self.tiles = next(iter(self.errors.values()))[..., 0].size
        self.usual: int | None = None  # operating point that later files of the same picture prefer
        self.asked: set[int] = set()  # of `files`, for a PSNR

    def within_size(self, size: int) -> list[Choice]:
        """Files of at most `size` bytes, the best first. Raises FormatError where there is none."""
        found = self._constrained("size", size)
        if not found:
            raise FormatError(f"{size} bytes are too few: the smallest file of this picture has {self.smallest.size}")
        return sorted(found, key=lambda choice: (choice.size < USED * size, choice.error))

    def of_psnr(self, psnr: float) -> Choice:
        """The smallest file that is predicted to reach a PSNR, else the best one."""
        if self.tiles == 1:
            return self._alone(psnr)
        own = self._constrained("error", self.pixels * 10 ** (-psnr / 10))
        best = min(own, key=lambda choice: choice.size, default=self.richest)
        same = [choice for choice in own if choice.point == self.usual and choice.size < LOYAL * best.size]
        best = same[0] if same else best  # what the last file showed holds for its operating point
        self.usual = best.point
        return best

    def predicted(self, choice: Choice) -> float:
        """PSNR by the linear part alone, dB."""
        return float(10 * np.log10(self.pixels / max(choice.error, 1e-9)))

    @cached_property
    def others(self) -> dict[int, float]:
        """Nats of header, class map and coarser levels at each operating point's own beta."""
        usual = [self._at(point, level.beta) for point, level in self.levels.items()]
        return {c.point: 8 * np.log(2) * c.size - self.nats[c.point][c.classes].sum() for c in usual}

    @cached_property
    def smallest(self) -> Choice:
        return min((self._at(point, 1e9) for point in self.levels), key=lambda choice: choice.size)

    @cached_property
    def richest(self) -> Choice:
        return min((self._at(point, 1e-9) for point in self.levels), key=lambda choice: choice.error)

    def _constrained(self, kind, limit) -> list[Choice]:
        """The best choice below the limit at each of the likeliest operating points."""
        guesses = {point: self._guess(point, kind, limit) for point in self.levels}
        several = len(guesses) if self.tiles == 1 else POINTS if self.tiles <= FEW else 1
        wanted = max(self.run.trials, several)
        found: list[Choice] = []
        for point in sorted(guesses, key=lambda point: self._rank(point, *guesses[point])):
            choice = self._solve(point, kind, limit, guesses[point][0])
            if choice:
                found.append(self._fill(choice, kind, limit) if self.tiles <= FEW else choice)
            if len(found) == wanted:
                break
        return found

    def _alone(self, psnr: float) -> Choice:
        """Of all files of a single tile a cheap one near the PSNR, and a new one each time while it is in reach."""
        point, own, error, nats = self.files
        off = 10 * np.log10(self.pixels / np.maximum(error, 1e-9)) - psnr
        cost = np.log(nats) - WORTH * off + (off / UNSURE) ** 2
        if np.abs(off).min() < UNSURE and len(self.asked) < len(off):
            cost[list(self.asked)] = np.inf
        best = int(cost.argmin())
        self.asked.add(best)
        return self._choice(int(point[best]), own[best].reshape(1, 1))

    @cached_property
    def files(self) -> tuple[np.ndarray, ...]:
        """Every file of a single tile: operating points, classes, errors, nats."""
        errors, nats = ([table[p].reshape(-1) for p in self.levels] for table in (self.errors, self.nats))
        points = np.repeat(list(self.levels), [len(one) for one in errors])
        return points, np.concatenate([np.arange(len(one)) for one in errors]), *map(np.concatenate, (errors, nats))

    def _rank(self, point, x, cost):
        """Order of operating points: first those that were learned for a beta near this one."""
        far = abs(x - np.log(self.levels[point].beta)) > (FAITH if point == self.usual else 1) * FAR
        return far, self.tiles > 1 and self.usual not in (None, point), cost

    def _at(self, point, beta) -> Choice:
        """The classes that minimise distortion + beta nats."""
        level, costs = self.levels[point], self.errors[point] + (beta * self.nats[point]).astype(np.float32)
        if level.contexts is None:
            return self._choice(point, costs.argmin(-1))
        return self._choice(point, classmap.choose(costs / (beta * np.log(2)), level.contexts).astype(np.int64))

    def _choice(self, point, classes) -> Choice:
        error = np.take_along_axis(self.errors[point], classes[..., None], -1).sum(dtype=np.float64)
        return Choice(point, classes, self.size_of(point, classes), max(float(error), 1e-9))

    def _guess(self, point, kind, limit) -> tuple[float, float]:
        """log beta that meets the limit when classes are chosen without contexts, and a bound on what it then costs:
        distortion below a size, nats below a distortion (the Lagrangian dual).
        """
        errors, nats = self.errors[point].reshape(self.tiles, -1), self.nats[point]

        def spent(x):
            classes = (errors + (np.exp(x) * nats).astype(np.float32)).argmin(-1)
            return errors[np.arange(self.tiles), classes].sum(dtype=np.float64), nats[classes].sum()

        others = self.others[point]
        low, high = RANGE
        for _ in range(20):
            middle = (low + high) / 2
            distortion, rate = spent(middle)
            rich = 8 * np.log(2) * limit < rate + others if kind == "size" else distortion <= limit
            low, high = (middle, high) if rich else (low, middle)
        distortion, rate = spent(middle)
        beta, rate = np.exp(middle), rate + others
        if kind == "size":
            return middle, distortion + beta * (rate - 8 * np.log(2) * limit)
        return middle, rate + (distortion - limit) / beta

    def _solve(self, point, kind, limit, x) -> Choice | None:
        """The choice of one operating point with the largest size or error that is not above the limit."""
        best, inside, outside = None, None, None
        for _ in range(TRIES):
            choice = self._at(point, np.exp(x))
            y = np.log(getattr(choice, kind) / limit)
            if y <= 0:
                best, inside = choice if best is None or y > inside[1] else best, (x, y)
                if y > -CLOSE[kind]:
                    break
            else:
                outside = (x, y)
            if inside and outside:
                share = np.clip((inside[1] + CLOSE[kind] / 2) / (inside[1] - outside[1]), 0.1, 0.9)
                step = inside[0] + share * (outside[0] - inside[0]) - x
                if abs(inside[0] - outside[0]) < 1e-3:
                    break
            else:
                step = np.clip(-1.3 * (y + CLOSE[kind] / 2) / SLOPE[kind], -STEP, STEP)
            if not RANGE[0] < x + step < RANGE[1]:
                break
            x += step
        return best

    def _fill(self, choice: Choice, kind, limit) -> Choice:
        """Change one tile after another, as long as that lowers the other of size and error within the limit."""
        point = choice.point
        rows = np.arange(self.tiles)
        errors, nats = self.errors[point].reshape(self.tiles, -1), self.nats[point] + np.zeros((self.tiles, 1))
        spent, wanted = (nats, errors) if kind == "size" else (errors, nats)
        unit = 8 * np.log(2) if kind == "size" else 1.0
        barred = np.zeros(errors.shape, bool)
        while self.tiles == 1 or getattr(choice, kind) < (1 - CLOSE[kind]) * limit:
            classes = choice.classes.reshape(-1)
            room = unit * (limit - getattr(choice, kind))
            gain = wanted[rows, classes][:, None] - wanted
            gain[barred | (spent - spent[rows, classes][:, None] > room + 0.01 * unit * limit)] = 0
            tile, own = np.unravel_index(gain.argmax(), gain.shape)
            if gain[tile, own] <= 0:
                break
            changed = classes.copy()
            changed[tile] = own
            other = self._choice(point, changed.reshape(choice.classes.shape))
            if getattr(other, kind) <= limit:
                choice = other
            barred[tile, own] = True
        return choice
