"""The beta for a file size, found on pictures that are not measured afterwards."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from combiner_codec.bench.codecs import CombinerCodec
from combiner_codec.bench.measure import Store, mean, record_of
from combiner_codec.bench.pictures import Group
from combiner_codec.root import next_guess

TOLERANCE = 0.03  # share of the rate
SLOPE = -0.5  # d log bpp / d log beta where nothing is known yet
FIRST = 0.002  # beta that is tried first
RANGE = (1e-6, 1.0)  # of betas


def betas_for(codec: CombinerCodec, rates: Sequence[float], held_out: Sequence[Group], store: Store,
              threads: int = 0, effort: str = "fast") -> tuple[float, ...]:  # fmt: skip
    """Betas at which held-out pictures reach some bpp on average; what was encoded for it is kept in the store."""
    family = codec.prior.name if codec.prior else "default"
    probe = replace(codec, effort=effort, name=f"rates of held-out pictures, prior {family}")
    known: dict[float, float] = {}

    def record(beta, group):
        if (found := store.find(probe, beta, group)) is not None:
            return found
        made = record_of(probe, beta, group, threads)
        store.put(probe, beta, group, made)
        return made

    def bpp(beta):
        return mean(probe, beta, [(group, record(beta, group)) for group in held_out]).bpp

    return tuple(solve(bpp, rate, known) for rate in rates)


def solve(bpp: Callable[[float], float], rate: float, known: dict[float, float], tries: int = 8) -> float:
    """Beta of a rate, to three digits; `known` holds the bpp of betas that were evaluated, and is added to.

    The nearest where no beta within `tries` comes within TOLERANCE.
    """
    for _ in range(tries):
        beta = guess(known, rate)
        if beta in known:
            break
        known[beta] = bpp(beta)
        if abs(known[beta] / rate - 1) < TOLERANCE:
            return beta
    return min(known, key=lambda b: abs(np.log(known[b] / rate)))


def guess(known: dict[float, float], rate: float) -> float:
    """The beta to try next: x is log beta, y the log of bpp / rate."""
    if not known:
        return FIRST
    x = next_guess([(np.log(beta), np.log(own / rate)) for beta, own in known.items()], SLOPE)
    return float(f"{np.clip(np.exp(x), *RANGE):.2e}")
