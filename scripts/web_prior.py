"""`python scripts/web_prior.py small -o web/small.cmbw`: a prior for the web, from a prior file (web/README.md).

`--points`, `--classes`, `--merged` and `--bits` first make a smaller prior and write it beside, as .npz: a prior of its
own that encodes what the one for the web decodes.
"""

import argparse
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from combiner_codec.format import classmap
from combiner_codec.format import prior as priors
from combiner_codec.format.prior import OperatingPoint, Prior

MAGIC = b"CMBW"
MOST = 127  # steps of an array of bytes
SAMPLES, SIDE = 1000, 4  # maps of 4 x 4 tiles that tell how often a class is used


def web(prior: Prior) -> bytes:
    """The file, not compressed."""
    metadata = prior.metadata | {"architecture": prior.architecture.to_json()}
    return written(prior.name, prior.number, prior.digest, metadata, prior.arrays)


def written(name: str, number: int, digest: bytes, metadata: dict, arrays: Mapping[str, np.ndarray]) -> bytes:
    """The file of a prior's parts, whatever they are: what makes no sense is for its reader to refuse."""
    listed = []
    parts = []
    for member, point in sorted(members(arrays)):
        array = arrays[f"{point:02}.{member}"]
        kind, data = packed(array)
        listed.append([point, member, kind, *array.shape])
        parts.append(data)
    head = {
        "name": name,
        "number": number,
        "digest": digest.hex(),
        "groupBits": metadata.get("group_bits"),
        "indexBits": metadata.get("index_bits"),
        "architecture": metadata.get("architecture"),
        "arrays": listed,
    }
    if "kind_costs" in metadata:
        head["kindCosts"] = metadata["kind_costs"]
    text = json.dumps(head, separators=(",", ":")).encode()
    return b"".join([MAGIC, len(text).to_bytes(4, "little"), text, *parts])


def members(arrays: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Names of all arrays of operating points, and the points that they belong to."""
    for full in arrays:
        number, _, name = full.partition(".")
        if name:
            yield name, int(number)


def packed(array: np.ndarray) -> tuple[str | float, bytes]:
    """Type and bytes of an array: of half precision as multiples of a step, in bytes, where it is that."""
    if array.dtype == np.float16 and np.isfinite(array).all():
        step = common_step(array)
        if step is not None:
            multiples = array.astype(np.float64) / step
            return step, np.rint(multiples).astype(np.int8).tobytes()
    return array.dtype.str[1:], planes(array)


def common_step(array: np.ndarray) -> float | None:
    """The largest number that divides all of an array at most MOST times, or None."""
    values = np.abs(array.astype(np.float64))
    if not values.any():
        return 1.0
    least = values[values > 0].min()
    for count in range(1, MOST + 1):
        step = least / count
        multiples = np.rint(values / step)
        if multiples.max() > MOST:
            break
        if (multiples * step == values).all():
            return float(step)
    return None


def planes(array: np.ndarray) -> bytes:
    """Bytes of an array, all low ones before all high ones."""
    octets = np.frombuffer(array.tobytes(), np.uint8)
    return octets.reshape(array.size, array.itemsize).T.tobytes()


def smaller(prior: Prior, path: Path, points: list[int], classes: int, merged: int, bits: int) -> Prior:
    """A prior of some operating points, the most used classes and weights of so many bits of fraction; saved."""
    chosen = [rounded(fewer(prior.operating_point(i), classes, merged), bits) for i in points]
    part = f"operating points {points} of {prior.name}, {classes} + {merged} classes, {bits} bits of fraction"
    metadata = {name: value for name, value in prior.metadata.items() if name != "measured"} | {"part": part}
    priors.save(path, metadata, prior.architecture, chosen)
    return priors.load_file(path)


def fewer(point: OperatingPoint, classes: int, merged: int) -> OperatingPoint:
    """The point with its most used classes alone, in their order, and no modulations: previews are small."""
    used, M = usage(point), len(point.merged)
    single, pairs = most(used[: point.single], classes), most(used[point.single :], merged)
    kept = np.concatenate([single, point.single + pairs])
    shared = {n: v[kept] if n[0] == "b" and v.ndim == 2 else v for n, v in point.shared.items()}
    contexts = point.contexts[:, [*kept, point.single + M]][:, :, kept]
    tables = {"kl_index": point.kl_index[single], "merged": point.merged[pairs], "contexts": contexts}
    return replace(point, **tables, shared=shared, modulations=None)


def most(used: np.ndarray, count: int) -> np.ndarray:
    """Numbers of the classes used most, in order: (K,) -> (count,)."""
    return np.sort(np.argsort(-used, kind="stable")[:count])


def usage(point: OperatingPoint) -> np.ndarray:
    """How many tiles each class has in small maps that the point expects, as random bits give them: (K,)."""
    rng = np.random.default_rng(0)
    maps = [
        classmap.decode(rng.integers(0, 2, 4096).astype(np.uint8), SIDE, SIDE, point.contexts, point.single)[0]
        for _ in range(SAMPLES)
    ]
    return np.bincount(np.ravel(maps), minlength=point.classes)


def rounded(point: OperatingPoint, bits: int) -> OperatingPoint:
    """The point with weights and biases rounded to so many bits of their fraction: they shrink when compressed."""

    def short(x):
        exponent = np.floor(np.log2(np.maximum(np.abs(x), 2.0**-14)))
        step = 2 ** (exponent - bits)
        return (np.rint(x / step) * step).astype(np.float32)

    return replace(point, shared={name: short(value) for name, value in point.shared.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("prior", help="name of a shipped prior, or a file")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--points", help="operating points to keep: 0,2,4")
    parser.add_argument("--classes", type=int, default=256, help="most classes of single tiles to keep")
    parser.add_argument("--merged", type=int, default=256, help="most classes of merged tiles to keep")
    parser.add_argument("--bits", type=int, default=10, help="bits of fraction of weights; 10 is all")
    options = parser.parse_args()
    prior = priors.find(options.prior)
    points = [int(i) for i in options.points.split(",")] if options.points else list(range(len(prior.betas)))
    if (len(points), options.classes, options.merged, options.bits) != (len(prior.betas), 256, 256, 10):
        path = options.output.with_suffix(".npz")
        prior = smaller(prior, path, points, options.classes, options.merged, options.bits)
    data = web(prior)
    options.output.write_bytes(gzip.compress(data, 9, mtime=0))
    print(f"{options.output}: {options.output.stat().st_size:,} bytes, {len(data):,} unpacked")


if __name__ == "__main__":
    main()
