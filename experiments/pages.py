"""What the pages of docs/results have in common. A curve is a list of (bpp, dB)."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from combiner_codec.bench.curves import Curve
from combiner_codec.errors import FormatError

REACH = 0.1  # share of the rate by which a curve may be extended beyond its ends


def write(path: Path, lines: Iterable[str]) -> None:
    """A page, line by line; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def put(path: Path, part: str, lines: Iterable[str]) -> None:
    """Replace what a page has between the comments `part` and `end of part`. Raises FormatError where it has not."""
    begin, end = f"<!-- {part} -->\n", f"<!-- end of {part} -->\n"
    head, found, rest = path.read_text(encoding="utf-8").partition(begin)
    if not found or end not in rest:
        raise FormatError(f"{path}: no part {part}")
    text = "\n".join(lines).strip()
    path.write_text(f"{head}{begin}\n{text}\n\n{end}{rest.split(end)[1]}", encoding="utf-8")


def cell(value: float, digits: int = 2) -> str:
    """A number, or nothing for NaN."""
    return "" if np.isnan(value) else f"{value:.{digits}f}"


def at_rates(name: str, count, curve: Curve, rates: Sequence[float]) -> list[str]:
    """Row: name, number of pictures, dB at each rate."""
    return [name, str(count), *(cell(v) for v in at_bpp(curve, rates))]


def at_bpp(curve: Curve, rates: Iterable[float]) -> list[float]:
    """dB at some rates, linear in log bpp between neighbouring points.

    The end segments are extended by REACH of the end's rate; beyond, the value is NaN.
    """
    best = sorted({rate: (rate, quality) for rate, quality in sorted(curve)}.values())  # one point a rate
    x, y = np.log([rate for rate, _ in best]), np.array([quality for _, quality in best])
    return [_between(x, y, np.log(rate)) for rate in rates]


def _between(x: np.ndarray, y: np.ndarray, at: float) -> float:
    if len(x) < 2 or not x[0] + np.log(1 - REACH) <= at <= x[-1] + np.log(1 + REACH):
        return float("nan")
    i = int(np.clip(np.searchsorted(x, at), 1, len(x) - 1))
    return float(y[i - 1] + (y[i] - y[i - 1]) * (at - x[i - 1]) / (x[i] - x[i - 1]))


def monotone(curve: Curve) -> bool:
    """Whether more bits always give more dB and the other way round."""
    return all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(sorted(curve)))
