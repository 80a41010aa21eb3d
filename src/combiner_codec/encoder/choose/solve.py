"""The best choice of one operating point within a limit of size or of error. numpy only.

Along one operating point beta alone decides: classes minimise distortion + beta nats. Pictures of few tiles have few
such choices; there single tiles are changed (`fill`). Shapes: T tiles that name a class, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...root import next_guess
from .choices import ERROR_ALONE, NATS_PER_BYTE, SIZE_ALONE, Choice, Choices

TRIES = 12  # betas per operating point
LOG_BETAS = np.log([1e-8, 1e3])  # between which betas lie
GRID = 2**20  # betas in this range that are told apart before classes have contexts
LARGEST_STEP = np.log(10)  # of log beta while one side of the goal is unknown
LEAST_STEP = 1e-3  # of log beta, below which both sides of the goal are as near as they get
TOLERANCE = 0.01  # of a limit, by which a changed tile may seem to exceed it: nats only estimate a file's growth
HASTE = 1.3  # times the step that the slope asks for, so that the other side is met soon


@dataclass(frozen=True)
class Limit:
    """What a file has at most: bytes, or predicted squared error."""

    kind: Literal["size", "error"]
    value: float

    def share_of(self, sample: Choices, picture: Choices) -> "Limit":
        """What a sample of a picture has at most."""
        if sample is picture:
            return self
        return replace(self, value=self.value * sample.pixels / picture.pixels)

    def of(self, choice: Choice) -> float:
        """What a choice has of it."""
        return choice.size if self.kind == "size" else choice.error

    @property
    def close(self) -> float:
        """Share of it that may be left; 0.004 of an error are 0.02 dB."""
        return 0.02 if self.kind == "size" else 0.004

    @property
    def slope(self) -> float:
        """d log of it / d log beta where nothing is known yet."""
        return -0.5 if self.kind == "size" else 0.6


@dataclass(frozen=True)
class Guess:
    """What an operating point would do for a limit, if classes had no contexts."""

    log_beta: float  # that meets the limit
    cost: float  # bound on what that costs: distortion below a size, nats below an error (the Lagrangian dual)


def guess(choices: Choices, number: int, limit: Limit) -> Guess:
    """Of an operating point."""
    tiles = choices.tiles(number)
    errors = tiles.named(tiles.errors)  # (T, K)
    rows = np.arange(len(errors))
    overhead = choices.overhead(number)

    def spent(log_beta):
        """Distortion and nats of the best classes at a beta."""
        rates = (np.exp(log_beta) * tiles.nats).astype(np.float32)
        classes = (errors + rates).argmin(-1)
        distortion = errors[rows, classes].sum(dtype=np.float64)
        return distortion, tiles.nats[rows, classes].sum() + overhead

    if limit.kind == "size":
        allowed = NATS_PER_BYTE * limit.value
        log_beta = first_log_beta(lambda x: spent(x)[1] <= allowed)
        distortion, nats = spent(log_beta)
        bound = distortion + np.exp(log_beta) * (nats - allowed)
        return Guess(log_beta, bound)
    log_beta = first_log_beta(lambda x: spent(x)[0] > limit.value)
    distortion, nats = spent(log_beta)
    bound = nats + (distortion - limit.value) / np.exp(log_beta)
    return Guess(log_beta, bound)


def first_log_beta(holds: Callable[[float], bool]) -> float:
    """The least log beta of the grid from which on a condition holds, by bisection; the last where it never does."""
    first, last = LOG_BETAS
    step = (last - first) / (GRID - 1)
    low = 0
    high = GRID - 1
    while low < high:
        middle = (low + high) // 2
        if holds(first + step * middle):
            high = middle
        else:
            low = middle + 1
    return float(first + step * low)


def solve(choices: Choices, number: int, limit: Limit, log_beta: float) -> Choice | None:
    """The choice of an operating point with the largest size or error within the limit, searched from a log beta on."""
    best = None
    best_excess = -np.inf
    known: list[tuple[float, float]] = []  # log beta, and log of what it gave over a little less than the limit
    inside = outside = None  # the last log betas on both sides of the limit
    for _ in range(TRIES):
        choice = choices.at(number, np.exp(log_beta))
        excess = np.log(limit.of(choice) / limit.value)
        known.append((log_beta, excess + limit.close / 2))
        if excess > 0:
            outside = log_beta
        else:
            inside = log_beta
            if excess > best_excess:
                best = choice
                best_excess = excess
        between = inside is not None and outside is not None
        if -limit.close < excess <= 0:
            break
        if between and abs(inside - outside) < LEAST_STEP:
            break
        following = next_guess(known, limit.slope / HASTE)
        if not between:
            following = log_beta + np.clip(following - log_beta, -LARGEST_STEP, LARGEST_STEP)
        if not LOG_BETAS[0] < following < LOG_BETAS[1]:
            break
        log_beta = following
    if best is None:
        return _bisected(choices, number, limit, outside)
    return best


def _bisected(choices: Choices, number: int, limit: Limit, outside: float) -> Choice | None:
    """The same where no step came inside the limit: many betas near it have one file, a little beyond the limit."""
    inside = np.log(SIZE_ALONE if limit.kind == "size" else ERROR_ALONE)
    best = choices.at(number, np.exp(inside))
    if limit.of(best) > limit.value:
        return None
    for _ in range(TRIES):
        middle = (inside + outside) / 2
        choice = choices.at(number, np.exp(middle))
        if limit.of(choice) > limit.value:
            outside = middle
        else:
            inside = middle
            best = choice
    return best


def fill(choices: Choices, choice: Choice, limit: Limit) -> Choice:
    """Change one tile after another, as long as that lowers the other of size and error within the limit."""
    tiles = choices.tiles(choice.point)
    errors = tiles.named(tiles.errors)  # (T, K)
    nats = tiles.nats
    if limit.kind == "size":
        spent, wanted = nats, errors
        unit = NATS_PER_BYTE
    else:
        spent, wanted = errors, nats
        unit = 1.0
    rows = np.arange(len(errors))
    barred = np.zeros(errors.shape, bool)
    while choices.tile_count == 1 or limit.of(choice) < (1 - limit.close) * limit.value:
        classes = tiles.named(choice.classes)
        gain = wanted[rows, classes][:, None] - wanted
        dearer = spent - spent[rows, classes][:, None]
        room = unit * (limit.value - limit.of(choice))
        slack = TOLERANCE * unit * limit.value
        gain[barred | (dearer > room + slack)] = 0
        tile, to = np.unravel_index(gain.argmax(), gain.shape)
        if gain[tile, to] <= 0:
            break
        barred[tile, to] = True
        classes = tiles.changed(choice.classes, tile, to)
        other = choices.choice(choice.point, classes)
        if limit.of(other) <= limit.value:
            choice = other
    return choice
