"""Pictures of several planes: each plane encoded by beta, or the whole to a goal. Needs torch."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import TargetError
from ..format.prior import Prior
from ..picture.planes import one_value
from ..root import next_guess
from .batch import Batch, Encoded
from .choose.choices import Choices
from .choose.search import within_size
from .choose.target import MET, Goal
from .planes import Planes, assembled, encode_planes
from .settings import Progress, Settings, between

SHARES = np.arange(0.05, 0.96, 0.05)  # of a size, for the alpha
ENCODINGS = 5  # at most, for a PSNR
SLOPE = -2.6  # dB per unit of log beta, where nothing is known yet
COLOUR = 0.6  # share of the work that is the colours'


def by_beta(
    pictures: Sequence[np.ndarray], own: Sequence[Planes], prior: Prior, settings: Settings, progress: Progress
) -> list[Encoded]:
    """Files of pictures, of which these planes are coded, by the settings' beta."""
    colours = encode_planes([one.colour for one in own], prior, settings, None, colours_share(own, progress))
    files = [[colour] for colour in colours]
    for weight in {one.weight for one in own if one.alpha is not None}:
        members = [i for i, one in enumerate(own) if one.alpha is not None and one.weight == weight]
        milder = replace(settings, beta=settings.beta / weight)
        alphas = encode_planes([own[i].alpha for i in members], prior, milder, None, between(progress, COLOUR, 1))
        for i, alpha in zip(members, alphas, strict=True):
            files[i].append(alpha)
    return [assembled(*one, prior, settings) for one in zip(pictures, own, files, strict=True)]


def colours_share(own: Sequence[Planes], progress: Progress) -> Progress:
    """Progress of the colours of some pictures: of all of the work where none has alpha."""
    return between(progress, 0, COLOUR if any(one.alpha is not None for one in own) else 1)


def to_goal(
    goal: Goal, picture: np.ndarray, own: Planes, prior: Prior, settings: Settings, progress: Progress
) -> Encoded | TargetError:
    """A picture with alpha, (H, W, 2) or (H, W, 4), of which these planes are coded, as a file to a goal."""
    try:
        if goal.size is None:
            return _of_psnr(goal.psnr, picture, own, prior, settings, progress)
        files, planes = [], (own.colour, own.alpha)
        for k, (plane, part) in enumerate(zip(planes, _sizes(goal.size, own, prior, settings), strict=True)):
            (file,) = encode_planes([plane], prior, settings, part, between(progress, k / 2, (k + 1) / 2))
            if isinstance(file, TargetError):
                raise file
            files.append(file)
    except TargetError as error:
        return error
    result = assembled(picture, own, files, prior, settings)
    if len(result.data) > goal.size:  # of two planes of one colour each
        return TargetError(f"{goal.size} bytes are too few: the smallest file of this picture has {len(result.data)}")
    return result


def _of_psnr(psnr, picture, own, prior, settings, progress):
    """One file after another, by what the last ones showed."""
    known, results, x = [], [], -psnr * np.log(10) / 10  # where beta is the mean squared error
    for k in range(ENCODINGS):
        share = between(progress, 1 - 0.5**k, 1 - 0.5 ** (k + 1))
        (result,) = by_beta([picture], [own], prior, replace(settings, beta=float(np.exp(x))), share)
        results.append(result)
        known.append((x, result.psnr - psnr))
        if abs(result.psnr - psnr) <= MET or np.isinf(result.psnr):
            break
        x = next_guess(known, SLOPE)
    return min(results, key=lambda result: abs(result.psnr - psnr))


def _sizes(size, own, prior, settings) -> list[Goal]:
    """Goals of colour and alpha: the split of a size for which the least error is predicted.

    A file of one plane has header and checksum; the whole has one of each, and a byte more. Raises TargetError.
    """
    planes = own.colour, own.alpha
    values = [one_value(plane) or b"" for plane in planes]
    if any(values):
        rest = size - 1 - sum(map(len, values))
        return [Goal(size=size if value else max(1, rest)) for value in values]
    batches = [Batch(prior, settings, [plane]) for plane in planes]
    usable = size - 1 + batches[0].empty
    searches = [Choices(batch.chooser, batch.stack, batch.pixels, batch.file_size) for batch in batches]
    splits = [(usable - second, second) for second in np.rint(SHARES * usable).astype(int).tolist()]
    error, split = min((_predicted(own, searches, split), split) for split in splits)
    if np.isinf(error):
        least = sum(search.smallest.size for search in searches) + size - usable
        raise TargetError(f"{size} bytes are too few: the smallest file of this picture has {least}")
    return [Goal(size=part) for part in split]


def _predicted(own, searches, split):
    """Error of the whole at a split of its bytes; infinite where a part is too small."""
    try:
        colour, alpha = (within_size(search, size)[0] for search, size in zip(searches, split, strict=True))
    except TargetError:
        return np.inf
    return colour.error + own.weight * alpha.error
