"""Classes of tiles: hard EM on the linear part's latents. Needs torch. Shapes: see pictures.py."""

import torch

from ..encoder.posterior import undamped
from ..synthesis.architecture import Architecture
from .mixture import Mixture
from .pictures import Pictures

# Prior variance of a colour component, over a tile's pixels, that may take any value: somewhat more than that of values
# spread evenly over [0, 1], 1/12. Set by hand.
ANY_COLOUR = 0.12
SPREAD = 0.3  # random part of the first classes, in standard deviations of the log energies they are cut by
GROWTH = 1.5  # classes beyond so many times the last ones' number start afresh
LEAST_ENERGY = 1e-3  # in logarithms of energies


def tile_energy(deviation, variance, beta: float) -> torch.Tensor:
    """Squares of latents' deviations from the prior's mean, in their own size: (N, Rt, Ct, U), (U,) -> (N Rt Ct, U)."""
    return undamped(deviation, variance, beta).flatten(0, 2) ** 2


def flat_variances(architecture: Architecture, K: int) -> torch.Tensor:
    """Prior variances of the last class, which is not learned: (1, U), or (0, U) where there is no other.

    Its tiles are of one colour, which may be any.
    """
    flat = torch.zeros(1, architecture.own)
    flat[:, :3] = ANY_COLOUR * architecture.tile**2
    return flat[: K - 1]


def first_classes(pictures: Pictures, mixture: Mixture, last: torch.Tensor | None) -> torch.Tensor:
    """Where hard EM starts from: by log energy, or the last operating point's classes where their number is about the
    same: (N, Rt, Ct) or None -> (N * Rt * Ct,).
    """
    K = mixture.classes - len(mixture.fixed)
    if last is not None and int(last.max()) <= K <= GROWTH * int(last.max() + 1):
        return last.reshape(-1).clamp(max=K - 1)
    return classes_by_energy(mixture, pictures.tiles[1] * pictures.tiles[2])


def classes_by_energy(mixture: Mixture, tiles: int) -> torch.Tensor:
    """As many tiles in each class, by rank of log energy, `tiles` of them in a picture: (T,)."""
    K, shards = mixture.classes - len(mixture.fixed), mixture.shards
    scores = torch.log(mixture.energy.clamp(min=LEAST_ENERGY)).sum(1).reshape(-1, tiles)
    scores = shards.gather(scores).reshape(-1)
    jitter = torch.randn(scores.numel(), generator=torch.Generator().manual_seed(1))
    scores = scores + SPREAD * scores.std() * jitter
    ranks = torch.argsort(torch.argsort(scores)) * K // len(scores)
    return ranks.reshape(-1, tiles)[shards.mine].reshape(-1)
