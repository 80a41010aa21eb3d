"""Classes for tiles that no photograph has: writing, drawings, patterns and noise.

Their tables are learned in closed form from pictures made by drawn.py, and are added to those of a trained operating
point: the others stay as they are. Without them such tiles lie beyond what any candidate reaches, at every beta.
"""

from dataclasses import replace

import numpy as np
import torch

from ...encoder.fit.analysis import decompose
from ...encoder.fit.posterior import REACH, shared_weights, undamped
from ...format.operating_point import OperatingPoint
from ...format.streams import index_of
from ...synthesis.architecture import Architecture
from ...synthesis.latents import kl_bits_of
from ..begin.mixture import Mixture
from ..shards import Shards
from ..tables import SMOOTHING
from .contexts import TOP
from .drawn import CHECKERBOARDS, LIKE_PHOTOGRAPHS, kinds, pictures

ROUNDS = 10  # of hard EM
CONTRAST = 2  # of a pattern against the average of its kind, that a corner's tile reaches
SILENT = {"silu": -60.0, "sine": 0.0}  # biases with which layers say nothing: a network for photographs spoils patterns
# What the class maps' tables take off a class for each neighbour, in 1/16 bit. Set by hand, not learned.
RARE = 70  # a new class beside an old one
LEAVING = 64  # an old class beside a new one
OTHER = 16  # a new class beside another new one


def add_classes(point: OperatingPoint, architecture: Architecture, side: int) -> OperatingPoint:
    """The operating point with one more class of single tiles for each kind of picture, where its own do worse.

    Those of merged tiles come after the new ones. side: pixels along the side of the pictures that are learned from.
    """
    count = len(kinds())
    single = point.single
    biases = {}
    for i, layer in enumerate(architecture.layers):
        if layer.by_class:
            biases[f"b{i}"] = _with_new(point.shared[f"b{i}"], single, count, layer.kind)
    kl_index = learn_classes(point, architecture, side)
    return replace(
        point,
        kl_index=np.concatenate([point.kl_index, kl_index]),
        shared=point.shared | biases,
        contexts=_widen(point.contexts, single, count),
    )


@torch.no_grad()
def learn_classes(point: OperatingPoint, architecture: Architecture, side: int) -> np.ndarray:
    """KL indices of the new classes (kinds, U), by hard EM, in which the point's own classes take part as they are.

    Those of checkerboards reach a picture's corners too, where a mirrored one is another pattern.
    """
    count = len(kinds())
    tiles = side // architecture.tile
    made = pictures(side)
    merged = np.zeros((len(made), tiles, tiles), bool)
    latents = decompose(architecture, shared_weights(point), made, merged)  # (N, tiles, tiles, U)
    deviation = latents.flatten(0, 2) - torch.from_numpy(point.mean)
    noise = torch.from_numpy(point.posterior_scale) ** 2
    energy = undamped(deviation, noise, point.beta) ** 2
    scale = point.scale_of(point.kl_index, slice(None))
    fixed = torch.from_numpy(scale) ** 2 + noise
    kind = torch.arange(count).repeat_interleave(len(energy) // count)
    shards = Shards(len(energy))
    mixture = Mixture(energy[shards.mine], noise, fixed, count + point.single, shards, SMOOTHING)
    marginal = mixture.learn(kind[shards.mine], ROUNDS)[1]
    variance = marginal[:count] - noise
    by_kind = energy.unflatten(0, (count, -1, tiles, tiles))  # (kinds, n, tiles, tiles, U)
    ends = [0, tiles - 1]
    corners = by_kind[:, :, ends][:, :, :, ends]
    reached = corners.mean((1, 2, 3)) * (CONTRAST / REACH) ** 2
    variance[CHECKERBOARDS] = variance[CHECKERBOARDS].maximum(reached[CHECKERBOARDS])
    return index_of(kl_bits_of(variance, noise).numpy())


def without(point: OperatingPoint, count: int) -> OperatingPoint:
    """The operating point as it was before `add_classes` gave it so many; its class map's tables stay."""
    single = point.single - count
    new = np.s_[single : point.single]
    shared = {}
    for name, values in point.shared.items():
        shared[name] = np.delete(values, new, 0) if values.ndim == 2 else values
    return replace(point, kl_index=point.kl_index[:single], shared=shared)


def _with_new(
    biases: np.ndarray,
    single: int,
    count: int,
    kind: str,
) -> np.ndarray:
    """Biases (K, O) of a layer with `count` more classes after the first: the mean of these, or silence."""
    new = np.full((count, biases.shape[1]), SILENT[kind], biases.dtype)
    new[:LIKE_PHOTOGRAPHS] = biases[:single].mean(0)
    return np.concatenate([biases[:single], new, biases[single:]])


def _widen(tables: np.ndarray, single: int, count: int) -> np.ndarray:
    """Tables (3, K + 1, K) of a class map with more classes after the first: neighbours are mostly of one sort."""
    size = tables.shape[2] + count
    new = range(single, single + count)
    old = np.setdiff1d(np.arange(size + 1), new)
    wide = np.full((3, size + 1, size), TOP - LEAVING, np.int64)
    wide[:, old[:, None], old[:-1]] = tables
    wide[:, old[:, None], new] = TOP - RARE
    wide[:, new, single : single + count] = TOP - OTHER
    wide[:, new, new] = TOP
    return wide.astype(np.int8)
