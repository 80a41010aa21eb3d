"""`python scripts/coarse_prior.py trained.npz -o nano.npz`: the same prior in few bits, for the web (web/README.md).

Weights and biases become multiples of a step of their layer, at most 127 of them, so that scripts/web_prior.py can
store them in bytes. Typical scales become means over bands of frequencies; costs and tables of the class map become
coarser. All of it compresses to a third.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from combiner_codec.format import prior as priors
from combiner_codec.format.prior import OperatingPoint, Prior
from combiner_codec.format.streams import COST_PER_BIT, index_of, kl_table
from combiner_codec.synthesis.latents import kl_bits_of, scale_factor

# Steps in standard deviations of a layer. The first one sees large numbers, whose small differences count.
FIRST_STEP, STEP, LAST_STEP = 0.08, 0.4, 0.25  # of weights of the first shared layer after the colours, of others
FIRST_BIAS_STEP, BIAS_STEP = 0.3, 0.6
COSTS = 4  # step of cost indices
SCALES = 60  # steps of the largest typical scale
CONTEXTS = 8  # step of the class map's tables: half a bit
LEAST_COST = 4  # the smallest cost index of a latent that is coded
BANDS = (slice(0, 1), slice(1, 2), slice(2, 3), slice(3, 4), slice(4, 6), slice(6, 8), slice(8, 12), slice(12, 16))
MANTISSA = 11  # bits of a number in half precision
POLISHES = 10


def coarse(prior: Prior, path: Path) -> Prior:
    """Write a prior in few bits."""
    points = [prior.operating_point(number) for number in range(len(prior.betas))]
    shared = in_steps([point.shared for point in points], prior.architecture.colour)
    made = []
    for point, weights in zip(points, shared, strict=True):
        contexts = coarse_contexts(point.contexts)
        made.append(replace(coarse_tables(point, prior.architecture.tile), shared=weights, contexts=contexts))
    metadata = prior.metadata | {"part": "in few bits: scripts/coarse_prior.py"}
    priors.save(path, metadata, prior.architecture, made)
    return priors.load_file(path)


def in_steps(points: Sequence[dict[str, np.ndarray]], colour: int) -> list[dict[str, np.ndarray]]:
    """Shared layers of all operating points after the colour map, in steps.

    Weights that are the first point's but for a factor become the same multiples of another step.
    """
    layers = range(colour + 1, colour + 1 + sum(name[0] == "w" for name in points[0]) - 1)
    rounded = [dict(point) for point in points]
    for layer in layers:
        step, bias_step = STEP, BIAS_STEP
        if layer == layers[0]:
            step, bias_step = FIRST_STEP, FIRST_BIAS_STEP
        elif layer == layers[-1]:
            step = LAST_STEP
        weights = alike_rounded([point[f"w{layer}"] for point in points], step)
        for made, weight in zip(rounded, weights, strict=True):
            made[f"w{layer}"] = weight
            bias = made[f"b{layer}"]
            if bias.ndim == 2:  # one of every class
                made[f"b{layer}"] = rounded_to(bias, bias_step * float(bias.std()))
    return rounded


def alike_rounded(weights: Sequence[np.ndarray], share: float) -> list[np.ndarray]:
    """Weights of all operating points as multiples of steps, which are such shares of their standard deviations."""
    first, rounded = weights[0], []
    usual = share * float(first.std())
    usual = exact(usual, np.abs(first).max() / usual + 1)
    for values in weights:
        ratio = float((values * first).sum() / (first * first).sum())
        if np.allclose(values, ratio * first, atol=1e-3 * np.abs(values).max()):
            multiples = np.rint(first / usual)
            step = exact(ratio * usual, np.abs(multiples).max())
            rounded.append((multiples * step).astype(np.float32))
        else:
            rounded.append(rounded_to(values, share * float(values.std())))
    return rounded


def rounded_to(values: np.ndarray, step: float) -> np.ndarray:
    """Values as multiples of about a step."""
    step = exact(step, np.abs(values).max() / step + 1)
    return (np.rint(values / step) * step).astype(np.float32)


def exact(step: float, most: float) -> float:
    """About a step, with so short a fraction that half precision holds its multiples up to `most` times."""
    bits = MANTISSA - int(np.ceil(np.log2(most + 1)))
    unit = 2.0 ** (np.floor(np.log2(step)) + 1 - bits)
    return float(np.rint(step / unit) * unit)


def coarse_tables(point: OperatingPoint, tile: int) -> OperatingPoint:
    """Typical scales and cost indices of a point, which say almost the same prior scales."""
    scale = np.sqrt(over_bands(point.posterior_scale.astype(np.float64) ** 2, tile))
    scale = rounded_to(scale, float(scale.max()) / SCALES)

    def index(old: np.ndarray) -> np.ndarray:
        old_scale = point.posterior_scale * scale_factor(kl_table()[old] / COST_PER_BIT)
        variance = old_scale**2
        found = index_of(kl_bits_of(variance, scale.astype(np.float64) ** 2))
        steps = (np.rint(found / COSTS) * COSTS).clip(LEAST_COST, 255)
        return np.where(found < LEAST_COST, 0, steps).astype(np.uint8)

    return replace(point, posterior_scale=scale, kl_index=index(point.kl_index), merged=index(point.merged))


def over_bands(values: np.ndarray, tile: int) -> np.ndarray:
    """Means over bands of frequencies: (U,) -> (U,)."""
    out = values.reshape(tile, tile, -1).copy()
    for down, across in product(BANDS, BANDS):
        out[down, across] = out[down, across].mean((0, 1))
    return out.reshape(-1)


def coarse_contexts(tables: np.ndarray) -> np.ndarray:
    """Tables of the class map in coarser steps: (3, K + 1, K) int8. What is the same for all neighbours is taken to
    the first table, so that most entries are about 0; a constant in a row changes nothing.
    """
    weights = tables.astype(np.float64)
    usual = np.zeros(weights.shape[2])  # of a class, whatever its neighbours are
    for _ in range(POLISHES):
        weights -= np.median(weights, 2, keepdims=True)
        common = np.median(weights, 1, keepdims=True)
        weights -= common
        usual += common.sum(0)[0]
    steps = np.rint(weights / CONTEXTS)
    steps[0] += np.rint(usual / CONTEXTS)
    units = CONTEXTS * steps
    units -= np.maximum(0, units.max(2, keepdims=True) - 127)
    return np.maximum(units, -128).astype(np.int8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("prior", help="a trained prior: a file, or the name of a shipped one")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    made = coarse(priors.find(options.prior), options.output)
    print(f"{options.output}: {len(made.data):,} bytes, {json.dumps(made.betas)}")


if __name__ == "__main__":
    main()
