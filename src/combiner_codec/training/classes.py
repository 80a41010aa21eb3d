"""Classes of tiles: hard EM on the linear part's latents, then class maps. Needs torch. Shapes: see pictures.py."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from ..encoder.analysis import tiles_of
from ..encoder.choose import choose_map
from ..encoder.posterior import undamped
from ..synthesis.architecture import Architecture
from . import contexts
from .mixture import Mixture, class_nats
from .pictures import Pictures

MAP_ROUNDS = 2  # of learning class maps and choosing classes, each of which needs the other; set by hand
MAP_EPOCHS = 3  # over all tiles, for the tables of a class map
# Prior variance of a colour component, over a tile's pixels, that may take any value: somewhat more than that of values
# spread evenly over [0, 1], 1/12. Set by hand.
ANY_COLOUR = 0.12
SPREAD = 0.3  # random part of the first classes, in standard deviations of the log energies they are cut by
GROWTH = 1.5  # classes beyond so many times the last ones' number start afresh
LEAST_ENERGY = 1e-3  # in logarithms of energies


def tile_energy(pictures: Pictures, target, mean, variance, beta: float) -> torch.Tensor:
    """Squared deviations of all tiles' latents, in their own size: (N, Rb, Cb, D), (U,), (U,) -> (N * Rt * Ct, own)."""
    own = pictures.own
    deviation = tiles_of(pictures.architecture, target).reshape(-1, own) - mean[:own]
    return undamped(deviation, variance[:own], beta) ** 2


def flat_variances(architecture: Architecture, K: int) -> torch.Tensor:
    """Prior variances of the last class, which is not learned: (1, own), or (0, own) where there is no other.

    Its tiles are of one colour: any colour where no level above them holds it.
    """
    flat = torch.zeros(1, architecture.own)
    if not architecture.coarse:
        flat[:, :3] = ANY_COLOUR * architecture.tile**2
    return flat[: K - 1]


@dataclass(frozen=True)
class Classes:
    """Classes of all tiles, and what follows from them."""

    assigned: torch.Tensor  # (N, Rt, Ct) int64
    marginal: torch.Tensor  # (K, own) prior and posterior variances together
    contexts: np.ndarray | None = None  # (3, K + 1, K) int8 tables of the class map, with coarse levels only


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


def learn_classes(pictures: Pictures, mixture: Mixture, start: torch.Tensor) -> Classes:
    """Classes by hard EM, then with the cost of their map counted where the architecture has class maps."""
    assigned, marginal = mixture.learn(start)
    classes = Classes(assigned.reshape(pictures.tiles), marginal)
    for _ in range(MAP_ROUNDS if pictures.architecture.coarse else 0):
        classes = with_map(mixture, classes)
    return classes


def with_map(mixture: Mixture, classes: Classes) -> Classes:
    """Tables of the class map from the maps of all pictures, then classes anew with the map's cost counted."""
    maps = mixture.shards.gather(classes.assigned).numpy().astype(np.uint8)
    tables = contexts.learn(list(maps), mixture.classes, epochs=MAP_EPOCHS)
    shape, assigned = classes.assigned.shape[1:], []
    for part in mixture.energy.split(shape.numel()):  # a picture's tiles
        nats = class_nats(part, classes.marginal, mixture.posterior_variance)
        assigned.append(choose_map((nats / np.log(2)).numpy().reshape(*shape, -1), tables).astype(np.int64))
    assigned = torch.from_numpy(np.stack(assigned))
    return replace(classes, assigned=assigned, marginal=mixture.variances(assigned.reshape(-1)), contexts=tables)
