"""A picture with alpha as a file of a wanted size or PSNR. Needs torch."""

from dataclasses import dataclass, replace

import numpy as np

from ..errors import TargetError
from ..format.plane import ExactPlane
from ..format.prior import Prior
from ..picture.planes import one_value
from ..root import next_guess
from . import exact
from .batch import Batch
from .choose.choices import Choices
from .choose.search import within_size
from .choose.target import choices_of
from .encoded import Encoded
from .goal import MET, Goal
from .parts import PictureParts, assembled
from .planes import COLOUR, encode_planes, masks
from .settings import Progress, Settings, between
from .threads import Threads

SHARES = np.arange(0.05, 0.96, 0.05)  # of a size, for the alpha
ENCODINGS = 5  # at most, for a PSNR
MASK = 0.1  # share of the work for a PSNR that is done when the kind of mask is known
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
        split = _split(size, parts, prior, settings)
    except TargetError as error:
        return error
    (colour,) = encode_planes([parts.colour], prior, settings, split.colour, threads, between(progress, 0, 1 / 2))
    if isinstance(colour, TargetError):
        return colour
    alpha = split.alpha
    if isinstance(alpha, Goal):
        of_alpha = replace(settings, tune="psnr")
        (alpha,) = encode_planes([parts.alpha], prior, of_alpha, alpha, threads, between(progress, 1 / 2, 1))
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
    """A picture with alpha, of which these parts are coded, as the smallest file that reaches a PSNR.

    Its mask is a network's, or without loss where that is better by J at about the right beta: then PSNR may lie far
    above the goal for fewer bytes. Where none reaches the goal, the nearest is taken.
    """
    beta = 10 ** (-psnr / 10)  # about the mean squared error
    of_alpha = replace(settings, beta=beta / parts.alpha_weight, tune="psnr")
    (mask,) = masks([parts.alpha], prior, of_alpha, threads, between(progress, 0, MASK))
    files = []
    if isinstance(mask.plane, ExactPlane):
        files.append(_nearest(psnr, picture, parts, mask, prior, settings, threads, between(progress, MASK, 1 / 2)))
    if not files or abs(files[0].psnr - psnr) > MET:
        left = between(progress, 1 / 2 if files else MASK, 1)
        files.append(_nearest(psnr, picture, parts, None, prior, settings, threads, left))
    reached = [file for file in files if file.psnr >= psnr - MET]
    if reached:
        return min(reached, key=lambda file: len(file.data))
    return max(files, key=lambda file: file.psnr)


def _nearest(
    psnr: float,
    picture: np.ndarray,
    parts: PictureParts,
    mask: Encoded | None,
    prior: Prior,
    settings: Settings,
    threads: Threads,
    progress: Progress,
) -> Encoded:
    """The file nearest to a PSNR, of those made one after another by what the last ones showed.

    mask: the file of the alpha, where it is without loss.
    """
    known = []  # log beta, and dB above the goal
    results = []
    log_beta = -psnr * np.log(10) / 10  # where beta is the mean squared error
    for attempt in range(ENCODINGS):
        share = between(progress, 1 - 0.5**attempt, 1 - 0.5 ** (attempt + 1))
        of_colour = replace(settings, beta=float(np.exp(log_beta)))
        of_alpha = replace(settings, beta=of_colour.beta / parts.alpha_weight, tune="psnr")
        planes = encode_planes([parts.colour], prior, of_colour, None, threads, between(share, 0, COLOUR))
        if mask is None:
            planes += encode_planes([parts.alpha], prior, of_alpha, None, threads, between(share, COLOUR, 1))
        else:
            planes.append(mask)
        result = assembled(picture, parts, planes, prior, of_colour)
        results.append(result)
        known.append((log_beta, result.psnr - psnr))
        if abs(result.psnr - psnr) <= MET or np.isinf(result.psnr):
            break
        log_beta = next_guess(known, SLOPE)
        if any(log_beta == before for before, _ in known):  # beyond what betas change
            break
    return min(results, key=lambda result: abs(result.psnr - psnr))


@dataclass(frozen=True)
class Split:
    """A size shared out between the planes of a picture."""

    colour: Goal
    alpha: Goal | Encoded  # the file, where it is without loss


def _split(size: int, parts: PictureParts, prior: Prior, settings: Settings) -> Split:
    """The split of a size for which the least error is predicted, alpha without loss or with.

    A file of one plane has header and checksum; the whole has one of each, and a byte more. Raises TargetError.
    """
    mask = _exact_mask(parts, settings)
    rest = size - 2  # for two files of one plane each, less one header; the whole may have a longer checksum
    values = [one_value(plane) or b"" for plane in (parts.colour, parts.alpha)]
    if any(values):
        if mask and len(mask.data) + len(values[0]) + len(prior.header_hash) <= rest:
            return Split(Goal(size=size), mask)
        left = max(1, rest - sum(map(len, values)))
        colour, alpha = (Goal(size=size if value else left) for value in values)
        return Split(colour, alpha)
    of_colour = Batch(prior, settings, [parts.colour])
    of_alpha = Batch(prior, replace(settings, tune="psnr"), [parts.alpha])
    usable = rest + of_colour.empty
    searches = [choices_of(batch)[0] for batch in (of_colour, of_alpha)]
    sizes = np.rint(SHARES * usable).astype(int).tolist()
    splits = [(usable - second, second) for second in sizes]
    error, (first, second) = min((_predicted(parts, searches, split), split) for split in splits)
    if mask:
        for_colour = rest - _bytes_of(mask)
        if _least_error(searches[0], for_colour) < error:
            return Split(Goal(size=for_colour), mask)
    if np.isinf(error):
        least = sum(search.smallest.size for search in searches) + size - usable
        raise TargetError(f"{size} bytes are too few: the smallest file of this picture has {least}")
    return Split(Goal(size=first), Goal(size=second))


def _exact_mask(parts: PictureParts, settings: Settings) -> Encoded | None:
    """The file of the alpha without loss, where it has several values and may be stored so."""
    if settings.kind != "auto" or one_value(parts.alpha):
        return None
    return exact.encoded(parts.alpha)


def _bytes_of(mask: Encoded) -> int:
    """What the plane of a file without loss takes."""
    return mask.plane.length // 8


def _predicted(parts: PictureParts, searches: list[Choices], split: tuple[int, int]) -> float:
    """Error of the whole at a split of its bytes; infinite where a part is too small."""
    colour, alpha = (_least_error(search, size) for search, size in zip(searches, split, strict=True))
    return colour + parts.alpha_weight * alpha


def _least_error(search: Choices, size: int) -> float:
    """Predicted for a plane in so many bytes; infinite where they are too few."""
    try:
        return within_size(search, size)[0].error
    except TargetError:
        return np.inf
