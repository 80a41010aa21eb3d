"""Pictures -> files: every picture at the operating point that suits it, or to a goal. Needs torch.

pixels -> operating point, classes -> start of the posterior -> fit -> code and refine -> file -> verified
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from ..errors import TargetError
from ..format.prior import Prior
from .batch import Batch, Encoded
from .settings import Progress, Settings, between, ignore
from .target import Goal, meet

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
    """Encode uint8 pictures, grey (H, W) or colour (H, W, 3); those of one shape share every matrix product.

    With a goal each picture gets operating point and classes that meet it, and the settings' beta counts for nothing. A
    TargetError stands in the place of a picture that cannot be brought to the goal's size. Raises TargetError if a fit
    diverges, FormatError if a file is not decoded as expected, MissingError without the device that is asked for.
    """
    if settings.threads and os.getpid() == OWNER:
        torch.set_num_threads(settings.threads)
    with exact_products():
        return _encode(pictures, prior, settings, goal, progress)


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


def _encode(pictures, prior, settings, goal, progress):
    results: list = [None] * len(pictures)
    pixels, done = sum(picture.shape[0] * picture.shape[1] for picture in pictures), 0
    for shape in dict.fromkeys(picture.shape for picture in pictures):
        members = [i for i, picture in enumerate(pictures) if picture.shape == shape]
        batch = Batch(prior, settings, [pictures[i] for i in members])
        share = batch.pixels * len(members) / pixels
        report = between(progress, done, done + share)
        for i, result in zip(members, meet(goal, batch, report) if goal else batch.best(report), strict=True):
            results[i] = result
        done += share
    return results
