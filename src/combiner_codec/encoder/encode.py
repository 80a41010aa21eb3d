"""Pictures -> files: every picture at the operating point that suits it, or to a goal. Needs torch.

pixels -> planes -> operating point, classes -> start of the posterior -> fit -> code and refine -> file -> verified
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from ..errors import TargetError
from ..format.prior import Prior
from .alpha import to_psnr, to_size
from .batch import Batch
from .encoded import Encoded
from .goal import Goal
from .parts import PictureParts, assembled
from .planes import COLOUR, by_beta, colours_share, encode_planes
from .settings import Progress, Settings, between, ignore, resolve_device
from .threads import side_by_side

FITTED = 0.85  # J of files over the one that is predicted, 0.81 to 0.84 of four mixed pictures

# a forked child has none of the threads that torch has started, and would wait for them for ever
OWNER = os.getpid()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def encode_arrays(
    pictures: Sequence[np.ndarray],
    prior: Prior,
    settings: Settings,
    goal: Goal | None = None,
    progress: Progress = ignore,
) -> list[Encoded | TargetError]:
    """Encode uint8 pictures, grey (H, W) or colour (H, W, 3), with alpha (H, W, 2) or (H, W, 4).

    Planes of one shape share every matrix product. PSNR of pictures with alpha is that of premultiplied colour and
    alpha, as `image.psnr` has it.

    With a goal each picture gets operating point and classes that meet it, and the settings' beta counts for nothing. A
    TargetError stands in the place of a picture that cannot be brought to the goal's size. Raises TargetError if a fit
    diverges, FormatError if a file is not decoded as expected, MissingError without the device that is asked for.
    """
    resolve_device(settings.device)  # before any work
    parts = [PictureParts.of(picture) for picture in pictures]
    with exact_products(), side_by_side(thread_count(settings)) as threads:
        if goal is None:
            return by_beta(pictures, parts, prior, settings, threads, progress)
        opaque = [i for i, part in enumerate(parts) if part.alpha is None]
        colours = [parts[i].colour for i in opaque]
        files = encode_planes(colours, prior, settings, goal, threads, colours_share(parts, progress))
        results: dict[int, Encoded | TargetError] = dict(zip(opaque, files, strict=True))
        for i, (picture, part) in enumerate(zip(pictures, parts, strict=True)):
            if i not in results:
                share = between(progress, COLOUR, 1)
                if goal.size is None:
                    results[i] = to_psnr(goal.psnr, picture, part, prior, settings, threads, share)
                else:
                    results[i] = to_size(goal.size, picture, part, prior, settings, threads, share)
            elif not isinstance(results[i], TargetError):
                results[i] = assembled(picture, part, [results[i]], prior, settings)
        return [results[i] for i in range(len(pictures))]


def predictor(picture: np.ndarray, prior: Prior, settings: Settings) -> Callable[[np.ndarray], np.ndarray]:
    """A function that tells about the J of INRs of opaque pictures like this, (H, W) or (H, W, 3), without a fit:
    by tiles, (Rt, Ct).
    """
    settings = replace(settings, tune="psnr")
    with exact_products(), side_by_side(thread_count(settings)) as threads:
        point = Batch(prior, settings, [picture], threads).likeliest()[0].point

    def predicted(other: np.ndarray) -> np.ndarray:
        colour = PictureParts.of(other).colour
        with exact_products(), side_by_side(thread_count(settings)) as threads:
            return FITTED * Batch(prior, settings, [colour], threads).tile_costs(point, 0)

    return predicted


def thread_count(settings: Settings) -> int:
    """Threads that share the work of the processor, beside a GPU too."""
    if settings.threads:
        return settings.threads
    return torch.get_num_threads() if os.getpid() == OWNER else 1


@contextmanager
def exact_products() -> Iterator[None]:
    """Without TF32: scores of candidates need all of single precision."""
    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [flag.allow_tf32 for flag in flags]
    try:
        for flag in flags:
            flag.allow_tf32 = False
        yield
    finally:
        for flag, value in zip(flags, before, strict=True):
            flag.allow_tf32 = value
