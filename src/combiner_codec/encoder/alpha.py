"""A picture with alpha as a file of a wanted size or PSNR. Needs torch."""

from dataclasses import replace

import numpy as np

from ..errors import TargetError
from ..format.prior import Prior
from ..picture.planes import one_value
from ..root import next_guess
from .batch import Batch
from .choose.choices import Choices
from .choose.search import within_size
from .choose.target import choices_of
from .encoded import Encoded
from .goal import MET, Goal
from .parts import PictureParts, assembled
from .planes import COLOUR, encode_planes
from .settings import Progress, Settings, between
from .threads import Threads

SHARES = np.arange(0.05, 0.96, 0.05)  # of a size, for the alpha
ENCODINGS = 5  # at most, for a PSNR
SLOPE = -2.6  # dB per unit of log beta, where nothing is known yet


def to_size(
    size: int,
    picture: np.ndarray,
    parts: PictureParts,
    prior: Prior,
    settings: Settings,
    threads: Threads,
    progress: Progress,
) -> Encoded | TargetError:
    """A picture with alpha, (H, W, 2) or (H, W, 4), of which these parts are coded: each to a part of the size."""
    try:
        colour_goal, alpha_goal = _split(size, parts, prior, settings)
    except TargetError as error:
        return error
    (colour,) = encode_planes([parts.colour], prior, settings, colour_goal, threads, between(progress, 0, 1 / 2))
    if isinstance(colour, TargetError):
        return colour
    (alpha,) = encode_planes(
        [parts.alpha], prior, replace(settings, tune="psnr"), alpha_goal, threads, between(progress, 1 / 2, 1)
    )
    if isinstance(alpha, TargetError):
        return alpha
    result = assembled(picture, parts, [colour, alpha], prior, settings)
    if len(result.data) > size:  # of two planes of one colour each
        return TargetError(f"{size} bytes are too few: the smallest file of this picture has {len(result.data)}")
    return result


def to_psnr(
    psnr: float,
    picture: np.ndarray,
    parts: PictureParts,
    prior: Prior,
    settings: Settings,
    threads: Threads,
    progress: Progress,
) -> Encoded:
    """A picture with alpha, of which these parts are coded: one file after another, by what the last ones showed."""
    known = []  # log beta, and dB above the goal
    results = []
    log_beta = -psnr * np.log(10) / 10  # where beta is the mean squared error
    for attempt in range(ENCODINGS):
        share = between(progress, 1 - 0.5**attempt, 1 - 0.5 ** (attempt + 1))
        of_colour = replace(settings, beta=float(np.exp(log_beta)))
        of_alpha = replace(settings, beta=of_colour.beta / parts.alpha_weight, tune="psnr")
        colours = encode_planes([parts.colour], prior, of_colour, None, threads, between(share, 0, COLOUR))
        alphas = encode_planes([parts.alpha], prior, of_alpha, None, threads, between(share, COLOUR, 1))
        result = assembled(picture, parts, colours + alphas, prior, of_colour)
        results.append(result)
        known.append((log_beta, result.psnr - psnr))
        if abs(result.psnr - psnr) <= MET or np.isinf(result.psnr):
            break
        log_beta = next_guess(known, SLOPE)
    return min(results, key=lambda result: abs(result.psnr - psnr))


def _split(size: int, parts: PictureParts, prior: Prior, settings: Settings) -> tuple[Goal, Goal]:
    """Goals of colour and alpha: the split of a size for which the least error is predicted.

    A file of one plane has header and checksum; the whole has one of each, and a byte more. Raises TargetError.
    """
    planes = parts.colour, parts.alpha
    values = [one_value(plane) or b"" for plane in planes]
    if any(values):
        rest = size - 1 - sum(map(len, values))
        colour, alpha = (Goal(size=size if value else max(1, rest)) for value in values)
        return colour, alpha
    colour = Batch(prior, settings, [parts.colour])
    alpha = Batch(prior, replace(settings, tune="psnr"), [parts.alpha])
    usable = size - 1 + colour.empty
    searches = [choices_of(batch)[0] for batch in (colour, alpha)]
    of_alpha = np.rint(SHARES * usable).astype(int).tolist()
    splits = [(usable - second, second) for second in of_alpha]
    error, (first, second) = min((_predicted(parts, searches, split), split) for split in splits)
    if np.isinf(error):
        least = sum(search.smallest.size for search in searches) + size - usable
        raise TargetError(f"{size} bytes are too few: the smallest file of this picture has {least}")
    return Goal(size=first), Goal(size=second)


def _predicted(parts: PictureParts, searches: list[Choices], split: tuple[int, int]) -> float:
    """Error of the whole at a split of its bytes; infinite where a part is too small."""
    try:
        colour, alpha = (within_size(search, size)[0] for search, size in zip(searches, split, strict=True))
    except TargetError:
        return np.inf
    return colour.error + parts.alpha_weight * alpha.error
