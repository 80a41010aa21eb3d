"""The best files of one picture for a size, or for a predicted quality, without a fit. numpy only."""

from collections.abc import Iterator

import numpy as np

from ...errors import TargetError
from .choices import Choice, Choices
from .solve import Guess, Limit, fill, guess, solve

# Set on validation photographs of 32x32 to 96x96 pixels, `fast`, 27, 31 and 35 dB, by how many files came within 0.2 dB
# and how many encodings that took; sizes by how much of the goal was used.
FEW_TILES = 16  # up to which classes are changed one by one, and several operating points are looked at
FEW_POINTS = 3  # operating points for few tiles; for one tile all
SERVED = np.log(1.6)  # an operating point serves betas up to this far from its own
STEADY_SIZE = 1.06  # how much larger a file may be where the operating point stays
STEADY_SERVED = 1.6  # times SERVED, where the operating point stays
USEFUL = (1 / 8, 1 / 4, 1 / 2)  # of its beta, to which the finest point serves; PSNR falls below 1/16 to 1/10
USED = 0.9  # share of a size that a file should use


def within_size(choices: Choices, size: int) -> list[Choice]:
    """Files of at most `size` bytes, the best first. Raises TargetError where there is none."""
    found = list(constrained(choices, Limit("size", size)))
    if not found:
        least = choices.smallest.size
        raise TargetError(f"{size} bytes are too few: the smallest file of this picture has {least}")
    return sorted(found, key=lambda choice: (choice.size < USED * size, choice.error))


def sufficient(choices: Choices, size: int) -> list[Choice]:
    """Files beyond which bytes gain nothing, if `size` has room for them: the one of the most bytes first.

    Dearer classes at the finest operating point make a picture worse, though the prediction does not say so.
    """
    limit = Limit("size", size).share_of(choices.sample, choices)
    if choices.finest not in _likely(choices.sample, limit):
        return []
    beta = choices.chooser.prior.betas[choices.finest]
    largest = choices.at(choices.finest, USEFUL[0] * beta)
    if largest.size > size:
        return []
    files = [choices.at(choices.finest, share * beta) for share in USEFUL]
    return list({file.key: file for file in files}.values())


def of_psnr(choices: Choices, psnr: float, usual: int | None) -> Choice:
    """The smallest file that is predicted to reach a PSNR, else the best one; at the `usual` operating point where that
    costs little: what the last file showed holds for its point.
    """
    error = choices.pixels * 10 ** (-psnr / 10)
    found = list(constrained(choices, Limit("error", error), usual))
    if not found:
        return choices.richest
    best = min(found, key=lambda choice: choice.size)
    for choice in found:
        if choice.point == usual and choice.size < STEADY_SIZE * best.size:
            return choice
    return best


def constrained(choices: Choices, limit: Limit, usual: int | None = None) -> Iterator[Choice]:
    """The best choice within the limit at each of the likeliest operating points."""
    few = choices.tile_count <= FEW_TILES
    sample = choices.sample
    limit_of_sample = limit.share_of(sample, choices)
    likely = _likely(sample, limit_of_sample)
    wanted = 1
    if few:
        wanted = FEW_POINTS
    if choices.tile_count == 1:
        wanted = len(likely)
    wanted = max(wanted, choices.chooser.trials)
    guesses = {number: guess(sample, number, limit_of_sample) for number in likely}
    ranks = {number: _rank(choices, number, guesses[number], usual) for number in likely}
    for number in sorted(likely, key=ranks.get):
        choice = solve(choices, number, limit, guesses[number].log_beta)
        if choice is None:
            continue
        yield fill(choices, choice, limit) if few else choice
        wanted -= 1
        if not wanted:
            return


def _likely(choices: Choices, limit: Limit) -> list[int]:
    """Operating points for a limit: all where there are few tiles, else those around the beta that it takes."""
    if choices.tile_count <= FEW_TILES:
        return list(choices.points)
    betas = choices.chooser.prior.betas
    log_betas = np.log([betas[number] for number in choices.points])
    place = len(log_betas) // 2
    seen = []
    while place not in seen:
        seen.append(place)
        log_beta = guess(choices, choices.points[place], limit).log_beta
        place = int(np.abs(log_betas - log_beta).argmin())
    near = {place - 1, place, place + 1, seen[-1]}
    inside = near & set(range(len(log_betas)))
    return [choices.points[i] for i in sorted(inside)]


def _rank(choices: Choices, number: int, found: Guess, usual: int | None) -> tuple[bool, bool, float]:
    """Order of operating points: first those that were learned for a beta near this one."""
    served = STEADY_SERVED * SERVED if number == usual else SERVED
    beta = choices.chooser.prior.betas[number]
    away = abs(found.log_beta - np.log(beta))
    another = choices.tile_count > 1 and usual is not None and number != usual
    return away > served, another, found.cost
