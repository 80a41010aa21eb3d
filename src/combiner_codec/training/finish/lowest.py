"""What the lowest frequencies of tiles cost once they are told as sums and differences (synthesis/pyramid.py).

By turns, from pictures: classes are chosen, then the costs that make their lowest frequencies likeliest, of each kind
and of each class. Needs torch. Shapes: N pictures, n tiles, K classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch

from ...encoder.batch import as_pixels
from ...encoder.choose.chooser import Chooser
from ...encoder.fit.analysis import decompose
from ...encoder.fit.posterior import shared_weights
from ...format.operating_point import OperatingPoint
from ...format.prior import Prior
from ...format.streams import COST_PER_BIT, index_of, kl_table
from ...reports import Report
from ...synthesis.pyramid import COLOURS, kind_count
from ...synthesis.squares import begins
from ..data.crops import Picture, random_crops
from ..recipes import Recipe

CROPS = 0.4  # of those that an operating point is learned from
TURNS = 2
STEP = 4  # of costs that are tried, in 1/256 bit
MOST = 1024  # that a kind may differ from a class, in 1/256 bit
PIXELS = 2**18  # of crops that are looked at together
FEWEST = 30  # tiles of a class from which its cost is learned anew


@dataclass(frozen=True)
class Lowest:
    """Lowest frequencies of tiles that name a class, of all pictures."""

    values: np.ndarray  # (n, 3)
    kinds: np.ndarray  # (n,)
    classes: np.ndarray  # (n,)


def learn(prior: Prior, recipe: Recipe, pictures: Sequence[Picture], report: Report) -> list[OperatingPoint]:
    """Operating points of a prior with the recipe's pyramid."""
    scales = recipe.octaves, recipe.least_octaves
    numbers = np.arange(crop_count(recipe))
    whole = random_crops(list(pictures), recipe.side, numbers, recipe.settings.seed, *scales)
    cut = recipe.side - 2 * recipe.architecture.tile  # some blocks have no second level then
    crops = [whole] if recipe.pyramid == 1 else [whole, whole[:, :cut, :cut]]
    finished = replace(prior, architecture=recipe.finished)
    unknown = np.zeros((kind_count(recipe.pyramid) - 1, COLOURS), np.int64)
    unknown[1::2] = COST_PER_BIT  # sums are twice as large, where tiles are alike
    points = []
    for number in range(len(prior.betas)):
        point = replace(prior.operating_point(number), shifts=unknown)
        for _ in range(TURNS):
            point = learned(point, lowest_of(finished, point, number, crops))
        shifts = (point.shifts / COST_PER_BIT).round(1).tolist()
        report(f"lowest frequencies, beta {point.beta:g}: {shifts} bits more than of a tile alone")
        points.append(point)
    return points


def crop_count(recipe: Recipe) -> int:
    """Crops that lowest frequencies are learned from."""
    return round(CROPS * recipe.settings.crops)


def lowest_of(prior: Prior, point: OperatingPoint, number: int, crops: Sequence[np.ndarray]) -> Lowest:
    """Those of all crops, (N, h, w, 3) uint8 of each size, with the classes that suit them."""
    chooser = Chooser(prior, point.beta, (number,), 1)
    parts = []
    for pixels in batches(crops):
        classes = chooser.classes(point, pixels)
        merged = classes >= point.single
        latents = decompose(prior.architecture, shared_weights(point), pixels, merged)
        named = begins(merged)
        parts.append((latents[..., :COLOURS].numpy()[named], point.kinds(classes)[named], classes[named]))
    return Lowest(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def batches(crops: Sequence[np.ndarray]) -> Iterator[torch.Tensor]:
    """Some at a time, as an encoder has pictures: (n, h, w, 3)."""
    for alike in crops:
        at_once = max(1, PIXELS // alike[0, ..., 0].size)
        for start in range(0, len(alike), at_once):
            yield as_pixels(alike[start : start + at_once])


def learned(point: OperatingPoint, found: Lowest) -> OperatingPoint:
    """The same with likelier costs: of each kind given the classes, then of each class given the kinds."""
    noise = point.posterior_scale[:COLOURS].astype(np.float64)
    energy = (found.values / noise) ** 2
    before = np.concatenate([point.kl_index[:, :COLOURS], point.merged[:, 0, :COLOURS]])
    costs = kl_table()[before]
    shifts = shifts_of(point.shifts, costs, found, energy)
    index = index_of(costs_of(costs, shifts, found, energy) / COST_PER_BIT)
    kl_index = point.kl_index.copy()
    kl_index[:, :COLOURS] = index[: point.single]
    merged = point.merged.copy()
    merged[:, 0, :COLOURS] = index[point.single :]
    return replace(point, shifts=shifts, kl_index=kl_index, merged=merged)


def shifts_of(before: np.ndarray, costs: np.ndarray, found: Lowest, energy: np.ndarray) -> np.ndarray:
    """What each kind costs more than a class says, (kinds - 1, 3), as before where few tiles are of a kind.

    costs: of the classes (K, 3). energy: of the tiles, in posterior variances, (n, 3).
    """
    shifts = before.copy()
    for kind, colour in product(range(1, len(shifts) + 1), range(COLOURS)):
        of_classes = costs[found.classes, colour]
        some = (found.kinds == kind) & (of_classes > 0)
        if some.sum() >= FEWEST:
            shifts[kind - 1, colour] = likeliest(of_classes[some], energy[some, colour])
    return shifts


def costs_of(before: np.ndarray, shifts: np.ndarray, found: Lowest, energy: np.ndarray) -> np.ndarray:
    """What lowest frequencies of each class cost, but for what their kind adds: (K, 3); the rest as in `shifts_of`."""
    costs = before.copy()
    of_kinds = np.concatenate([np.zeros((1, COLOURS), np.int64), shifts])
    for number, colour in product(np.unique(found.classes), range(COLOURS)):
        some = found.classes == number
        cost = before[number, colour]
        if some.sum() >= FEWEST and cost > 0:
            more = likeliest(cost + of_kinds[found.kinds[some], colour], energy[some, colour])
            costs[number, colour] = max(1, cost + more)
    return costs


def likeliest(costs: np.ndarray, energy: np.ndarray) -> int:
    """How much more latents should cost that have some energy, in posterior variances: (n,) each."""
    tried = np.arange(-MOST, MOST + 1, STEP)
    known, place = np.unique(costs, return_inverse=True)
    counts = np.bincount(place)
    energies = np.bincount(place, energy)
    bits = np.maximum(known + tried[:, None], 0) / COST_PER_BIT  # (tried, costs)
    marginal = 4.0**bits  # variance of prior and posterior together, in posterior variances
    nats = np.log(2) * bits @ counts + 0.5 / marginal @ energies
    return int(tried[nats.argmin()])
