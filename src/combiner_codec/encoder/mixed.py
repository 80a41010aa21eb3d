"""Pictures of which a network has one part and a layer over it another: by beta, and to a goal.

Torch is loaded where the cheap estimates of `layers` say that a layer may pay.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import TargetError
from ..format.plane import ExactPlane
from ..format.prior import Prior
from ..root import next_guess
from . import layers
from .encoded import Encoded
from .exact import TILE
from .goal import MET, MOSTLY, Goal
from .layers import Layer
from .parts import with_layer
from .settings import Progress, Settings, between
from .torch_loading import torch_loads
from .unfitted import Unfitted

FILES = 5  # that are made on the way to a goal, at most
AIMED_AT = 0.95  # of a wanted size
MIDDLE = (0.25, 0.75)  # shares of an interval of log beta between which the next file lies
ENOUGH = 0.4  # dB beyond a wanted PSNR
STEEPER = 3.0  # times, or flatter, than the slopes below
PSNR_SLOPE = -2.6  # dB per unit of log beta, where nothing is known yet
SIZE_SLOPE = -0.6  # the same of the logarithm of bytes


def layer_of(
    picture: Unfitted, files: Sequence[Encoded], decided: bool, prior: Prior, settings: Settings
) -> Layer | None:
    """The layer that makes a network better than it is alone, and than files without one.

    decided: whether these are better than a network alone.
    """
    beta = settings.beta
    cost = min((file.lagrangian(picture.picture, beta) for file in files), default=np.inf)
    sure = layers.WORTH_A_FIT if decided else layers.SURE
    if not _worth_a_look(picture, cost if decided else None, prior, beta):
        return None
    plan = _plan(picture.picture, prior, settings)
    if plan is None or plan.cost > (1 - sure) * min(plan.network, cost):
        return None
    return plan.layer


def to_goal(
    picture: np.ndarray,
    best: Encoded | TargetError,
    goal: Goal,
    prior: Prior,
    settings: Settings,
    progress: Progress,
) -> list[Encoded]:
    """Files with layers on the way to a goal, made one after another by what the last ones showed.

    best: the best file without a layer.
    """
    if isinstance(best, TargetError) or np.isinf(best.psnr):
        return []
    psnr = goal.psnr or best.psnr
    beta = float(10 ** (-psnr / 10))  # about the mean squared error
    without = best.lagrangian(picture, beta) if isinstance(best.plane, ExactPlane) else None
    if not _worth_a_look(Unfitted(picture), without, prior, beta):
        return []
    files: list[Encoded] = []
    known = []  # log beta, and how far beyond the goal
    log_beta = np.log(beta)
    for attempt in range(FILES):
        at_beta = replace(settings, beta=float(np.exp(log_beta)))
        plan = _plan(picture, prior, at_beta)
        if plan is None or plan.cost > (1 - layers.SURE) * plan.network:
            break
        share = between(progress, 1 - 0.5**attempt, 1 - 0.5 ** (attempt + 1))
        file = _file(picture, plan.layer, prior, at_beta, share)
        files.append(file)
        beyond, slope, met = _beyond(file, goal)
        known.append((log_beta, beyond))
        if met:
            break
        log_beta = _next_log_beta(known, slope)
    return files


def _next_log_beta(known: Sequence[tuple[float, float]], slope: float) -> float:
    """Where a goal may be met, from log beta and how far beyond the goal a file was: halfway, about, where files of
    both sides are known. Operating points and palettes change in steps, so the nearest files do not tell.
    """
    beyond = [point for point in known if point[1] > 0]
    short = [point for point in known if point[1] <= 0]
    if not beyond or not short:
        return next_guess(known, slope, STEEPER)
    low_x, low_y = max(beyond)
    high_x, high_y = min(short)
    share = np.clip(low_y / (low_y - high_y), *MIDDLE)
    return float(low_x + share * (high_x - low_x))


def _beyond(file: Encoded, goal: Goal) -> tuple[float, float, bool]:
    """How far a file is beyond a goal, how fast that changes with log beta, and whether it is near enough."""
    if goal.size is None:
        assert goal.psnr is not None
        return file.psnr - goal.psnr, PSNR_SLOPE, -MET <= file.psnr - goal.psnr <= ENOUGH
    share = len(file.data) / goal.size
    return float(np.log(share / AIMED_AT)), SIZE_SLOPE, MOSTLY < share <= 1


def _worth_a_look(picture: Unfitted, without: float | None, prior: Prior, beta: float) -> bool:
    """Whether a layer may pay, by estimates; without: J of the best file, where that needs no network."""
    possible = prior.architecture.field.linear and prior.architecture.tile == TILE
    if not possible or not layers.possible(picture.picture):
        return False
    if without is None:
        worth = layers.saved_of_network(picture.picture, beta) >= layers.WORTH
    else:
        worth = layers.saved_of_exact(picture, without, beta) >= layers.WORTH_A_FIT
    return worth and torch_loads()


def _plan(picture: np.ndarray, prior: Prior, settings: Settings) -> layers.Plan | None:
    """The best layer at a beta, and what is expected with it and without."""
    from .encode import predictor

    return layers.planned(picture, settings.beta, predictor(picture, prior, settings))


def _file(picture: np.ndarray, layer: Layer, prior: Prior, settings: Settings, progress: Progress) -> Encoded:
    """The file with a layer, at a beta."""
    from .encode import encode_arrays

    (below,) = encode_arrays([layer.below], prior, settings, None, progress)
    return with_layer(picture, layer, below, prior, settings)
