"""`make bench-speed`: encode and decode beside WebP and AVIF at the same size, in one run on one machine.

Seconds differ between machines and days; ratios of one run less. Every encoder gets the same number of threads; rounds
go from codec to codec, so that a slow minute meets all of them, and the median counts.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from . import codecs, report
from .measure import machine
from .pictures import required

BETA = 0.004
QUALITIES = range(0, 96, 5)


def run(sources: Sequence[Path], out: Path, efforts: Sequence[str], rounds: int, threads: int,
        say: Callable[[str], None]) -> None:  # fmt: skip
    """Write speed.md: seconds and ratios for every picture."""
    pictures = required(sources)
    rivals, missing = codecs.others(["webp", "avif"])
    ours = [codecs.CombinerCodec(f"combiner {effort}", effort) for effort in efforts]
    rows = []
    for picture in pictures:
        size = len(ours[0].encode([picture.pixels], BETA, threads)[0].data)
        jobs = [(codec, BETA) for codec in ours] + [(codec, nearest(codec, picture.pixels, size)) for codec in rivals]
        taken = [timed(jobs, picture.pixels, threads) for _ in range(rounds)]
        times = [[statistics.median(one[i][k] for one in taken) for k in (0, 1)] for i in range(len(jobs))]
        for (codec, _), own, (_, _, length) in zip(jobs, times, taken[0], strict=True):
            ratios = [[f"{own[k] / other[k]:.3g}" for other in times[len(ours) :]] for k in (0, 1)]
            height, width = picture.pixels.shape[:2]
            rows.append([f"{picture.name}, {width}×{height}", codec.name, str(length),
                         f"{own[0]:.3g}", *ratios[0], f"{own[1]:.3g}", *ratios[1]])  # fmt: skip
            say(" ".join(rows[-1]))
    against = [f"× {codec.name}" for codec in rivals]
    header = ["picture", "codec", "bytes", "encode, s", *against, "decode, s", *against]
    lines = [
        "# Speed",
        "",
        f"Made by `make bench-speed`: medians of {rounds} rounds in one process, {threads or 'all'} threads for every",
        "codec, priors and libraries loaded. WebP (method 6) and AVIF (libaom, speed 4) at the quality whose file is",
        "nearest in size. A ratio is this codec's time as a multiple of the other's.",
        "",
        *report.table(header, rows),
        "",
        f"Measured on {machine()}.",
        *missing,
    ]
    out.mkdir(parents=True, exist_ok=True)
    (out / "speed.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def nearest(codec: codecs.PillowCodec, pixels, size: int) -> float:
    """The quality whose file is nearest to `size` bytes."""
    return min(QUALITIES, key=lambda quality: abs(len(codec.encode([pixels], quality)[0].data) - size))


def timed(jobs, pixels, threads: int) -> list[tuple[float, float, int]]:
    """Seconds to encode and to decode, and bytes, of each (codec, setting)."""
    result = []
    for codec, setting in jobs:
        started = time.perf_counter()
        data = codec.encode([pixels], setting, threads)[0].data
        encoded = time.perf_counter()
        codec.decode(data, threads)
        result.append((encoded - started, time.perf_counter() - encoded, len(data)))
    return result
