"""What a picture is stored as: a sample of a network, or a plane without loss. Torch is loaded for the first alone.

Photographs never pay for being exact, drawings nearly always do. What decides is J, squared error + beta ln 2 bits. A
bound on a network's J (`exact.bound`) comes first and is cheap: where it decides, nothing is fitted.
"""

from collections.abc import Sequence

import numpy as np

from ..errors import MissingError, TargetError
from ..format.header import check_pixels
from ..format.plane import check_whole_tiles
from ..format.prior import Prior
from ..picture import planes
from . import exact
from .encoded import Encoded
from .goal import MET, Goal
from .layers import Layer
from .mixed import layer_of, to_goal
from .parts import with_layer
from .settings import Progress, Settings, between, ignore
from .torch_loading import torch_fits, torch_problem
from .unfitted import Unfitted

NEAR = 8  # times a wanted size: a file without loss that is larger is no graphic
SURELY_LARGER = 2  # times that, by a sample of the picture: it need not be made


def encode_pictures(
    pictures: Sequence[np.ndarray],
    prior: Prior,
    settings: Settings,
    goal: Goal | None = None,
    progress: Progress = ignore,
) -> list[Encoded | TargetError]:
    """Encode uint8 pictures, (H, W) or (H, W, 2 to 4), as `settings.kind` says.

    Takes, returns and raises what `encode.encode_arrays` does. Raises FormatError for a picture of more pixels than
    `settings.max_pixels`, which by default decoders refuse too.
    """
    pictures = [planes.without_opaque_alpha(picture) for picture in pictures]
    for picture in pictures:
        check_size(picture, None, settings.max_pixels)
    if settings.kind == "lossless":
        return [lossless(picture, goal) for picture in pictures]
    if settings.kind == "inr":
        return _inrs(pictures, prior, settings, goal, progress)
    torch_fits()
    results: list[Encoded | TargetError | None] = [None] * len(pictures)
    rivals: dict[int, list[Encoded]] = {}
    over: dict[int, Layer] = {}
    for i, picture in enumerate(pictures):
        if planes.one_value(picture):
            continue
        unfitted = Unfitted(picture)
        decided, files = _rivals(unfitted, settings.beta, goal)
        layer = None if goal else layer_of(unfitted, files, decided, prior, settings)
        if layer:
            over[i] = layer
        if decided and not layer:
            results[i] = _best(picture, files, settings.beta, goal)
        else:
            rivals[i] = files
    left = [i for i, result in enumerate(results) if result is None]
    if left:
        below = [over[i].below if i in over else pictures[i] for i in left]
        share = between(progress, 0, 1 / 2) if goal else progress
        for i, file in zip(left, _inrs(below, prior, settings, goal, share), strict=True):
            tried = list(rivals.get(i, []))
            if i in over:
                file = with_layer(pictures[i], over[i], file, prior, settings)
            if not isinstance(file, TargetError):
                tried.append(file)
            results[i] = _best(pictures[i], tried, settings.beta, goal) or file
    if goal is None:
        return results
    return _with_layers(pictures, results, goal, prior, settings, progress)


def _with_layers(pictures, results, goal, prior, settings, progress):
    """The same or, where a layer brings a picture nearer to a goal, files that have one."""
    better = []
    for i, (picture, result) in enumerate(zip(pictures, results, strict=True)):
        share = between(progress, 1 / 2 + i / len(pictures) / 2, 1 / 2 + (i + 1) / len(pictures) / 2)
        layered = to_goal(picture, result, goal, prior, settings, share)
        better.append(_best(picture, [result, *layered], settings.beta, goal) if layered else result)
    return better


def check_size(picture: np.ndarray, prior: Prior | None, limit: int | None) -> None:
    """Raises FormatError for a picture of more pixels than a limit, as decoding does; prior: of one as a network."""
    height, width = picture.shape[:2]
    check_pixels(width, height, limit)
    if prior and planes.one_value(picture) is None:
        check_whole_tiles(width, height, prior.architecture.tile, limit)


def lossless(picture: np.ndarray, goal: Goal | None = None) -> Encoded | TargetError:
    """The file without loss; a TargetError if it is larger than the goal allows."""
    file = exact.encoded(picture)
    if goal and goal.size is not None and len(file.data) > goal.size:
        return TargetError(f"without loss this picture takes {len(file.data)} bytes, not {goal.size}")
    return file


def _inrs(pictures, prior, settings, goal, progress):
    for picture in pictures:
        check_size(picture, prior, settings.max_pixels)
    try:
        problem = torch_problem()
        if problem:
            raise MissingError(f"torch cannot be loaded: {problem}")
        from .encode import encode_arrays
    except ModuleNotFoundError as error:
        message = f"this needs {error.name}, which is not installed; lossless does without"
        raise MissingError(message, "kind") from error
    progress(0.0)  # who waits hears that a fit begins
    return encode_arrays(pictures, prior, settings, goal, progress)


def _rivals(picture: Unfitted, beta: float, goal: Goal | None) -> tuple[bool, list[Encoded]]:
    """Whether no network needs to be tried, and the files without one that may be the best."""
    if goal and goal.size is not None:
        return _of_size(picture, goal.size)
    if goal:
        return _of_psnr(picture, goal.psnr)
    if picture.is_photograph(beta):
        return False, []
    file = picture.cheapest(beta)
    cost = file.lagrangian(picture.picture, beta)
    return picture.surely_better(cost, beta), [file]


def _of_size(picture: Unfitted, size: int) -> tuple[bool, list[Encoded]]:
    """`_rivals` of at most so many bytes."""
    if picture.sample is not picture:
        expected = len(picture.sample.whole.data) * picture.pixels / picture.sample.pixels
        if expected > SURELY_LARGER * NEAR * size:
            return False, []
    if len(picture.whole.data) <= size:
        return True, [picture.whole]
    if picture.fewer is None or len(picture.whole.data) > NEAR * size:
        return False, []
    found = picture.fewer.within(size)
    return False, [found] if found else []


def _of_psnr(picture: Unfitted, psnr: float) -> tuple[bool, list[Encoded]]:
    """`_rivals` of at least so many dB."""
    if np.isinf(psnr):
        return True, [picture.whole]
    error = 10 ** (-psnr / 10)  # allowed of a pixel, and about the beta that has it
    if picture.is_photograph(error):
        return False, []
    files = [picture.whole]
    found = picture.fewer.reaching(psnr) if picture.fewer else None
    if found:
        files.append(found)
    least = min(len(file.data) for file in files)
    cost = picture.pixels * error + error * np.log(2) * 8 * least
    return picture.surely_better(cost, error), files


def _best(picture: np.ndarray, files: Sequence[Encoded], beta: float, goal: Goal | None) -> Encoded | None:
    """The best of some files, if there is one: by J, by PSNR within a size, or the smallest that reaches a PSNR."""
    if goal is None:
        return min(files, key=lambda file: file.lagrangian(picture, beta), default=None)
    if goal.size is not None:
        within = [file for file in files if len(file.data) <= goal.size]
        return max(within, key=lambda file: (file.psnr, -len(file.data)), default=None)
    reached = [file for file in files if file.psnr >= goal.psnr - MET]
    if not reached:
        return max(files, key=lambda file: file.psnr, default=None)
    return min(reached, key=lambda file: len(file.data))
