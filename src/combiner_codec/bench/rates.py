"""The beta for a file size, found on pictures that are not measured afterwards."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .codecs import CombinerCodec
from .measure import Store, mean, run
from .pictures import Group

TOLERANCE = 0.03  # share of the rate
SLOPE = -0.5  # d log bpp / d log beta where nothing is known yet


def betas_for(codec: CombinerCodec, rates: Sequence[float], held_out: Sequence[Group], store: Store,
              threads: int = 0, effort: str = "fast") -> list[float]:  # fmt: skip
    """Betas at which held-out pictures reach some bpp on average; what was encoded for it is kept in the store."""
    family = codec.prior.name if codec.prior else "default"
    probe = replace(codec, effort=effort, name=f"rates of held-out pictures, prior {family}")
    known: dict[float, float] = {}

    def bpp(beta):
        records = []
        for group in held_out:
            record = store.find(probe, beta, group)
            if record is None:
                record = run(probe, beta, group, threads)
                store.put(probe, beta, group, record)
            records.append((group, record))
        return mean(probe, beta, records).bpp

    return [solve(bpp, rate, known) for rate in rates]


def solve(bpp: Callable[[float], float], rate: float, known: dict[float, float], tries: int = 8) -> float:
    """Beta of a rate by interpolation in log-log; `known` holds what was evaluated and is added to."""
    for _ in range(tries):
        beta = float(f"{_guess(known, rate):.2e}")
        if beta in known:
            return beta
        known[beta] = bpp(beta)
        if abs(known[beta] / rate - 1) < TOLERANCE:
            return beta
    return min(known, key=lambda b: abs(np.log(known[b] / rate)))


def _guess(known, rate):
    """Between the nearest rates on both sides, else along SLOPE from the nearest."""
    below = [b for b in known if known[b] <= rate]
    above = [b for b in known if known[b] > rate]
    if below and above:
        a, b = min(below), max(above)
        if known[a] < known[b] and a != b:
            part = np.log(rate / known[a]) / np.log(known[b] / known[a])
            return float(np.exp(np.log(a) + np.clip(part, 0.1, 0.9) * np.log(b / a)))
    if not known:
        return 0.002
    nearest = min(known, key=lambda b: abs(np.log(known[b] / rate)))
    return float(np.clip(nearest * (rate / known[nearest]) ** (1 / SLOPE), 1e-6, 1.0))
