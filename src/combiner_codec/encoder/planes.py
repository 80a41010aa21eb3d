"""Planes of pictures -> files of one plane each, and by beta, files of whole pictures. Needs torch."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import TargetError
from ..format.prior import Prior
from ..picture.planes import one_value
from . import exact
from .batch import Batch
from .choose.own_axes import axes_of
from .choose.target import Rounds, rounds
from .encoded import Encoded
from .goal import Goal
from .parts import PictureParts, assembled, one_colour
from .settings import Progress, Settings, between
from .threads import Threads

COLOUR = 0.6  # share of the work that is the colours', where there is alpha


def encode_planes(
    arrays: Sequence[np.ndarray],
    prior: Prior,
    settings: Settings,
    goal: Goal | None,
    threads: Threads,
    progress: Progress,
) -> list[Encoded | TargetError]:
    """A file for each (H, W) or (H, W, 3); those of one shape and colour axes share every
    matrix product.
    """
    results = [one_colour(array, prior, goal) for array in arrays]
    left = [i for i, result in enumerate(results) if result is None]
    pixels = sum(arrays[i].shape[0] * arrays[i].shape[1] for i in left)
    kinds = {i: (arrays[i].shape, axes_of(arrays[i], prior, settings, goal)) for i in left}
    done = 0.0
    for kind in dict.fromkeys(kinds.values()):
        members = [i for i in left if kinds[i] == kind]
        _, axes = kind
        batch = Batch(prior, settings, [arrays[i] for i in members], threads, axes)
        share = batch.pixels * len(members) / pixels
        report = between(progress, done, done + share)
        if goal:
            files = carried_out(rounds(goal, batch), report)
        else:
            files = batch.best(batch.encode(batch.likeliest(), report))
        for i, file in zip(members, files, strict=True):
            results[i] = file
        done += share
    return results


def carried_out(rounds: Rounds, progress: Progress) -> list[Encoded | TargetError]:
    """The results of rounds, each of whose files are encoded."""
    try:
        wanted = next(rounds)
        while True:
            files = wanted.batch.encode(wanted.jobs, between(progress, *wanted.share))
            wanted = rounds.send(files)
    except StopIteration as end:
        return end.value


def by_beta(
    pictures: Sequence[np.ndarray],
    parts: Sequence[PictureParts],
    prior: Prior,
    settings: Settings,
    threads: Threads,
    progress: Progress,
) -> list[Encoded]:
    """Files of pictures, of which these parts are coded, by the settings' beta."""
    colours = [part.colour for part in parts]
    files = [[file] for file in encode_planes(colours, prior, settings, None, threads, colours_share(parts, progress))]
    for weight in {part.alpha_weight for part in parts if part.alpha is not None}:
        members = [i for i, part in enumerate(parts) if part.alpha is not None and part.alpha_weight == weight]
        alphas = [parts[i].alpha for i in members]
        milder = replace(settings, beta=settings.beta / weight, tune="psnr")
        encoded = masks(alphas, prior, milder, threads, between(progress, COLOUR, 1))
        for i, file in zip(members, encoded, strict=True):
            files[i].append(file)
    return [
        assembled(picture, part, of_picture, prior, settings)
        for picture, part, of_picture in zip(pictures, parts, files, strict=True)
    ]


def masks(
    alphas: Sequence[np.ndarray], prior: Prior, settings: Settings, threads: Threads, progress: Progress
) -> list[Encoded]:
    """A file for each alpha (H, W): by a network, or without loss where that has the smaller J and may be."""
    beta = settings.beta
    without_loss: dict[int, Encoded] = {}
    if settings.kind == "auto":
        without_loss = {i: exact.encoded(alpha) for i, alpha in enumerate(alphas) if one_value(alpha) is None}
    best = {}
    for i, file in without_loss.items():
        if file.lagrangian(alphas[i], beta) < exact.bound(alphas[i], beta):
            best[i] = file
    left = [i for i in range(len(alphas)) if i not in best]
    files = encode_planes([alphas[i] for i in left], prior, settings, None, threads, progress)
    for i, file in zip(left, files, strict=True):
        mask = without_loss.get(i)
        if mask and mask.lagrangian(alphas[i], beta) < file.lagrangian(alphas[i], beta):
            best[i] = mask
        else:
            best[i] = file
    return [best[i] for i in range(len(alphas))]


def colours_share(parts: Sequence[PictureParts], progress: Progress) -> Progress:
    """Progress of the colours of some pictures: of all of the work where none has alpha."""
    some_alpha = any(part.alpha is not None for part in parts)
    return between(progress, 0, COLOUR if some_alpha else 1)
