"""Priors from strangers: small valid ones, and what a few changes make of them.

A mutant changes metadata or arrays, so that it can be written as .npz for Python and as .cmbw for JavaScript; or bytes.
"""

import copy
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from combiner_codec.errors import FormatError
from combiner_codec.format import header, plane
from combiner_codec.format.classmap import ONE_CLASS
from combiner_codec.format.operating_point import Modulations, OperatingPoint
from combiner_codec.format.prior_file import Prior, members
from combiner_codec.synthesis.architecture import Architecture, Layer
from combiner_codec.synthesis.modulation import count as modulations_of

WIDTH, HEIGHT = 11, 7  # of pictures that priors are tried with
PAYLOAD_BITS = 2**13  # more than such a picture takes
ENCODER = {"steps": 10, "rate": 0.3, "fit_scale": False, "budget_groups": 0}
COSINES = Architecture(
    "cosine",
    4,
    (
        Layer("linear", 16, 3, latent=True, bias=False),
        Layer("linear", 3, 3),
        Layer("silu", 12, 4, window=3, by_class=True, fold=2),
        Layer("sine", 4, 4, residual_of=2, fold=2),
        Layer("linear", 4, 12, residual_of=1, fold=2),
    ),
    2,
)
SIREN = Architecture("fourier", 4, (Layer("sine", 4, 3, latent=True), Layer("linear", 3, 3, latent=True)))
VALUES = (
    None, True, False, "", "3", "sine", "linear", "silu", "cosine", "fourier", "exec",
    -1, 0, 1, 2, 3, 4, 5, 16, 64, 256, 10**6, 2**31, 2**53, 10**40, 1.5, 2.0, -0.5, 1e-9, 1e7, 1e308,
    float("nan"), float("inf"), [], [1], {}, {"kind": "sine"},
)  # fmt: skip
DTYPES = ("u1", "i1", "f2", "f4", "f8", "i8", "u2", "c16", "U2", "b1")
NAMES = ("kl", "merged", "contexts", "mean", "noise", "modulation_kl", "modulation_scale", "w1", "b2", "w9", "b03", "x")
WEB_KEYS = ("architecture", "group_bits", "index_bits")  # of metadata, that priors for the web have too
FLOATS = (np.nan, np.inf, -np.inf, -1.0, -0.0, 0.0, 65504.0, 1e-7)


@dataclass(frozen=True)
class Content:
    """What a prior file says, right or wrong."""

    metadata: object
    arrays: dict[str, np.ndarray]
    change: str = "nothing"
    web: bool = True  # whether a prior for the web can say the same


@cache
def originals() -> tuple[Content, ...]:
    """Priors that are right: cosines with tiles of two sizes, modulations and a pyramid, one without, a SIREN."""
    cosines = [_cosine_point(1, merged=1, modulated=True), _cosine_point(2, merged=0, modulated=False)]
    return (
        _content(replace(COSINES, pyramid=1), cosines, group_bits=6),
        _content(replace(COSINES, side=1), cosines[1:], group_bits=16),
        _content(SIREN, [_siren_point()], group_bits=16),
    )


def _content(architecture, points, group_bits):
    arrays = {}
    for i, point in enumerate(points):
        for name, table in members(point, architecture).items():
            arrays[f"{i:02}.{name}"] = table
    betas = [point.beta for point in points]
    widths = {"group_bits": group_bits, "index_bits": 16}
    metadata = {**ENCODER, "betas": betas, **widths, "architecture": architecture.to_json()}
    if architecture.pyramid:
        metadata["kind_costs"] = [[[-300, -200, 5], [256, 128, 0]]] * len(points)
    return Content(metadata, arrays)


def _cosine_point(seed, merged, modulated):
    """An operating point of `COSINES` with random tables, two classes of single tiles."""
    rng = np.random.default_rng(seed)
    latents = COSINES.tile_latents
    classes = 2 + merged
    shared = {}
    for i, layer in enumerate(COSINES.layers[1:], 1):
        shape = (layer.window, layer.window, layer.inputs, layer.outputs)
        shared[f"w{i}"] = rng.normal(size=shape) / layer.inputs
        shared[f"b{i}"] = rng.normal(size=(classes, layer.outputs) if layer.by_class else layer.outputs) / 4
    modulations = None
    if modulated:
        size = modulations_of(shared, COSINES.colour + 1)
        kl_index = rng.integers(0, 90, (3, size), np.uint8)
        modulations = Modulations(rng.uniform(0, 0.1, size).astype(np.float32), kl_index)
    return OperatingPoint(
        beta=0.01 / seed,
        mean=np.zeros(latents),
        posterior_scale=rng.uniform(0.02, 0.1, latents),
        kl_index=rng.integers(0, 40, (2, latents), np.uint8),
        merged=rng.integers(0, 40, (merged, 4, latents), np.uint8),
        shared=shared,
        group_bits=6,
        index_bits=16,
        contexts=rng.integers(-20, 20, (3, classes + 1, classes), np.int8),
        modulations=modulations,
    )


def _siren_point():
    rng = np.random.default_rng(3)
    latents = SIREN.tile_latents
    return OperatingPoint(
        beta=0.01,
        mean=rng.normal(size=latents),
        posterior_scale=rng.uniform(0.1, 0.3, latents),
        kl_index=rng.integers(0, 100, (1, latents), np.uint8),
        merged=np.zeros((0, 4, latents), np.uint8),
        shared={},
        group_bits=16,
        index_bits=16,
        contexts=ONE_CLASS,
    )


def npz(content: Content) -> bytes:
    """The prior file, not compressed. Raises TypeError for metadata that JSON cannot say."""
    metadata = np.frombuffer(json.dumps(content.metadata).encode(), np.uint8)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in {**content.arrays, "metadata": metadata}.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            archive.writestr(f"{name}.npy", member.getvalue())
    return file.getvalue()


def some_file(prior: Prior, seed: int = 0) -> bytes:
    """A picture made with a custom prior, of random bits: nearly always one that can be decoded."""
    head = header.Header(header.CUSTOM, 0, 16, WIDTH, HEIGHT, prior_hash=prior.header_hash)
    random = np.random.default_rng(seed).integers(0, 2, PAYLOAD_BITS)
    bits = plane.BitReader(random.astype(np.uint8))
    try:
        plane.read(bits, head, prior)
    except FormatError:  # of a prior that cannot have made it
        bits.position = 0
    payload = np.packbits(bits.bits[: bits.position]).tobytes()
    return header.write(head, prior.architecture.block, payload, prior.digest)


def mutants(count: int, seed: int = 0) -> Iterator[Content]:
    """Priors with one change, every fourth with two."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        content = originals()[number % len(originals())]
        for _ in range(1 + (number % 4 == 0)):
            change = _change_metadata if rng.integers(2) else _change_arrays
            content = change(content, rng)
        yield content


def _change_metadata(content, rng):
    """A value replaced, removed, repeated, moved or added somewhere in the metadata."""
    metadata = copy.deepcopy(content.metadata)
    places = list(_places(metadata, ()))
    parent, key, path = places[rng.integers(len(places))]
    what = rng.choice(["replace", "replace", "remove", "add", "nudge"])
    if what == "replace":
        parent[key] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    elif what == "remove":
        del parent[key]
    elif what == "add" and isinstance(parent, list):
        parent.insert(int(rng.integers(len(parent) + 1)), copy.deepcopy(parent[key]))
    elif what == "add":
        parent["extra"] = 1
    elif isinstance(parent[key], int | float):
        parent[key] = parent[key] * int(rng.choice([-1, 2, 3])) + int(rng.integers(-1, 2))
    web = path[0] in WEB_KEYS or (what == "add" and parent is metadata)
    return replace(content, metadata=metadata, change=f"{content.change}; {what} {path}", web=content.web and web)


def _places(value, path):
    """Every value within metadata: what holds it, its key there, and the way to it."""
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = range(len(value))
    else:
        return
    for key in keys:
        yield value, key, (*path, key)
        yield from _places(value[key], (*path, key))


def _change_arrays(content, rng):
    """An array removed, renamed, of another type, of another shape, or with another number in it."""
    arrays = dict(content.arrays)
    name = list(arrays)[rng.integers(len(arrays))]
    array = arrays[name]
    what = rng.choice(["remove", "rename", "type", "cut", "repeat", "axes", "number", "number", "copy"])
    prefix = name[:3]
    if what == "remove":
        del arrays[name]
    elif what == "rename":
        arrays[prefix + rng.choice(NAMES)] = arrays.pop(name)
    elif what == "copy":
        arrays[prefix + rng.choice(NAMES)] = array
    elif what == "type":
        with np.errstate(all="ignore"):
            arrays[name] = array.astype(DTYPES[rng.integers(len(DTYPES))])
    elif what == "axes":
        arrays[name] = [array[None], array[..., None], array.reshape(-1), array[:0], np.array(3, array.dtype)][
            rng.integers(5)
        ]
    elif array.size and array.ndim and what == "cut":
        axis = int(rng.integers(array.ndim))
        arrays[name] = array.take(range(int(rng.integers(array.shape[axis]))), axis)
    elif array.size and array.ndim and what == "repeat":
        axis = int(rng.integers(array.ndim))
        arrays[name] = np.concatenate([array, array.take([0], axis)], axis)
    elif array.dtype.kind == "f" and array.size:
        changed = array.copy()
        with np.errstate(over="ignore"):
            changed.reshape(-1)[rng.integers(array.size)] = FLOATS[rng.integers(len(FLOATS))]
        arrays[name] = changed
    return replace(content, arrays=arrays, change=f"{content.change}; {what} {name}")
