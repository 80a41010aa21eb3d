"""What an encoding is asked for: settings, efforts, device."""

import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import inf
from numbers import Integral, Real
from typing import TYPE_CHECKING

from ..errors import MissingError
from ..format.header import INDEX_BITS, MAX_PIXELS, MAX_SEED, USUAL_BITS
from ..format.prior import Prior

if TYPE_CHECKING:
    import torch

Progress = Callable[[float], None]  # takes the share of the work that is done


@dataclass(frozen=True)
class Effort:
    """What `--effort` buys."""

    steps: float  # of a fit, as a share of the prior's own number
    segments: int  # parts of the stream between which the rest is refined
    refine: float  # steps after each segment, as a share of the prior's own number
    wider: int  # bits that an index has more than the prior's own: candidates per group
    trials: int  # operating points coded to the end for a picture, of which the best is kept
    axes: bool = True  # whether a picture may have colour axes of its own
    noisy: tuple[float, float] | None = None  # steps and refine where gradients keep all of their noise, if others

    def shares(self, noisy: bool) -> tuple[float, float]:
        """Steps of a fit and after a segment, as shares of the prior's own number."""
        if noisy and self.noisy is not None:
            return self.noisy
        return self.steps, self.refine


EFFORTS = {
    "fast": Effort(steps=1 / 3, segments=1, refine=0.0, wider=-2, trials=1, noisy=(0.5, 0.0)),
    "normal": Effort(steps=8 / 15, segments=4, refine=2 / 15, wider=0, trials=1, noisy=(2 / 3, 1 / 3)),
    "best": Effort(steps=3.0, segments=6, refine=2.0, wider=2, trials=3),
}


DEVICES = ("auto", "cpu", "cuda")
MOST = sys.float_info.max
TUNES = ("psnr", "iq")  # the least squared error, or the least that people see
KINDS = ("auto", "inr", "lossless")  # what pictures are stored as
WORST, FINEST = 0.06, 0.00025  # beta of quality 0 and 100: the outermost operating points of the prior `photo`


def beta_of(quality: float) -> float:
    """Beta of a quality from 0 to 100: log beta falls evenly. 50 is 0.0039, 75 is 0.00098, good for web pages."""
    one_of("quality", quality, number=(0, 100))
    return WORST * (FINEST / WORST) ** (quality / 100)


def noise_variance(beta: float) -> float:
    """Variance of the Gaussian likelihood whose log is -Delta / beta, of one colour component: Delta is a mean over
    three channels, so that n^2 = 3 beta / 2.
    """
    return 1.5 * beta


def one_of(name: str, value, allowed: Collection = (), number: tuple[float, float] | None = None, whole=False) -> None:
    """Raises TypeError or ValueError for a value that is neither allowed nor a number in a range, ends included."""
    if number is None:
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
        return
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        raise TypeError(f"{name} must be {'an integer' if whole else 'a number'}, not {type(value).__name__}")
    if not number[0] <= value <= number[1]:
        raise ValueError(f"{name} must be from {number[0]:g} to {number[1]:g}, not {value}")


def positive(name: str, value, most: float = MOST) -> None:
    """Raises TypeError or ValueError for anything but a positive number; most: the largest."""
    one_of(name, value, number=(-inf, inf))
    if not 0 < value <= most:
        raise ValueError(f"{name} must be positive, not {value}")


@dataclass(frozen=True)
class Settings:
    """How pictures are encoded. Raises ValueError or TypeError for what is not allowed."""

    beta: float = 0.003  # squared error, summed over pixels, per nat
    effort: str | Effort = "normal"
    seed: int = 0  # of the candidate stream
    device: str = "auto"  # "auto", "cpu" or "cuda"
    threads: int = 0  # of the processor; 0 leaves torch's choice
    verify: bool = True  # decode every file and compare it with what the encoder expects
    point: int | None = None  # operating point, instead of choosing by beta
    keep_posterior: bool = False  # return the fitted posteriors too
    sampled: bool = False  # tell the PSNR of a sample of them too, for tables: it takes a synthesis
    kind: str = "auto"  # what pictures are stored as: one of KINDS
    tune: str = "psnr"  # what a file is to be good for: one of TUNES
    max_pixels: int | None = MAX_PIXELS  # of a picture, where it is a network also in whole tiles; None or 0: no limit

    def __post_init__(self):
        positive("beta", self.beta)
        if not isinstance(self.effort, Effort):
            one_of("effort", self.effort, tuple(EFFORTS))
        one_of("seed", self.seed, number=(0, MAX_SEED), whole=True)
        one_of("device", self.device, DEVICES)
        one_of("kind", self.kind, KINDS)
        one_of("tune", self.tune, TUNES)
        one_of("threads", self.threads, number=(0, inf), whole=True)
        if self.max_pixels is not None:
            one_of("max_pixels", self.max_pixels, number=(0, inf), whole=True)

    @property
    def plan(self) -> Effort:
        """The effort's parts."""
        return EFFORTS[self.effort] if isinstance(self.effort, str) else self.effort

    def index_bits(self, prior: Prior) -> int:
        """Width of an index at this effort: the nearest that a header can hold, not below the prior's group bits, and
        not so wide that it costs bytes, unless the prior's is.
        """
        usual = prior.metadata["index_bits"]
        if not prior.chained:
            return usual
        wanted = min(usual + self.plan.wider, max(usual, USUAL_BITS[-1]))
        fitting = [bits for bits in INDEX_BITS if bits >= prior.group_bits]
        return max((bits for bits in fitting if bits <= wanted), default=fitting[0])


def resolve_device(name: str) -> "torch.device":
    """`auto`, `cpu` or `cuda`. Raises MissingError for CUDA that is asked for and absent."""
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise MissingError("this torch sees no CUDA device: take the device cpu or auto", "device")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def ignore(share: float) -> None:
    """Progress that nobody watches."""


def between(progress: Progress, low: float, high: float) -> Progress:
    """Progress of a part of the work, that from share `low` to share `high` of the whole."""
    return lambda share: progress(low + (high - low) * share)
