"""What a prior may be: every rule of FORMAT.md, section 8, for files that are not released ones.

A prior may come from a stranger. What passes here makes a decoder neither fail, nor hang, nor ask for much memory.
All functions raise FormatError.
"""

import json
import reprlib
from collections.abc import Mapping

import numpy as np

from ..errors import FormatError
from ..synthesis.architecture import Architecture, Layer
from ..synthesis.pyramid import COLOURS, kind_count
from .header import INDEX_BITS, POINTS, USUAL_BITS

UNPACKED = 64 << 20  # bytes of all members together
METADATA_BYTES = 1 << 20
FLOATS = "f2"
MOST_LAYERS = 32
MOST_CLASSES = 256
BLOCK_LATENTS = 1 << 18  # D
MULTIPLIES = 1 << 18  # a pixel
MARGIN = 64  # pixels that shared layers look to each side
MOST_CHANNELS = 1 << 16
MOST_TILE = 256  # pixels along its side
MOST_SIDE = 64  # tiles along the side of a block
MOST_LEVELS = 5  # of a pyramid
MOST_SHIFT = 4096  # in 1/256 bit
MOST_WINDOW = 15
FOLDS = (1, 2, 4, 8, 16)
FOURIER_INPUTS = 64
LARGEST_FACTOR = 1e6  # of omega and scale
LARGEST = 1e300  # of other numbers: finite in every language
SIZES_OF_PICTURES = 64  # rows of modulation_kl

KINDS = ("linear", "sine", "silu")
FEATURES = ("cosine", "fourier")
ARCHITECTURE_KEYS = {"features", "tile", "layers", "side", "pyramid"}
LAYER_KEYS = {*Layer.__dataclass_fields__}

Tables = Mapping[str, np.ndarray]


def check(fine: bool, message: str) -> None:
    """Raises FormatError unless all is well."""
    if not fine:
        raise FormatError(message)


def integer(values: Mapping, key: str, least: int, most: int, default: int | None = None) -> int:
    """A JSON number without a fraction, in a range."""
    value = values.get(key, default)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    fine = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
    check(fine, f"{key} is {reprlib.repr(value)}, not an integer from {least} to {most}")
    return value


def number(values: Mapping, key: str, most: float, default: float | None = None) -> float:
    """A JSON number of at most some size."""
    value = values.get(key, default)
    fine = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= most
    check(fine, f"{key} is {reprlib.repr(value)}, not a number up to {most:g}")
    return float(value)


def boolean(values: Mapping, key: str, default: bool | None = None) -> bool:
    """true or false."""
    value = values.get(key, default)
    check(isinstance(value, bool), f"{key} is {reprlib.repr(value)}, neither true nor false")
    return value


def word(values: Mapping, key: str, words: tuple[str, ...]) -> str:
    """One of some strings."""
    value = values.get(key)
    check(isinstance(value, str) and value in words, f"{key} is {reprlib.repr(value)}, none of {', '.join(words)}")
    return value


def read_metadata(members: Tables) -> dict:
    """The JSON of a prior file, numbers that a decoder or an encoder needs in their ranges."""
    check("metadata" in members, "no metadata")
    raw = members["metadata"]
    check(raw.dtype == np.uint8 and raw.ndim == 1 and raw.size <= METADATA_BYTES, "metadata are not bytes, or too many")
    try:
        metadata = json.loads(raw.tobytes().decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"metadata are not JSON: {error}") from error
    check(isinstance(metadata, dict), "metadata are not an object")
    _check_betas(metadata.get("betas"))
    index_bits = integer(metadata, "index_bits", INDEX_BITS[0], INDEX_BITS[-1])
    check(index_bits in INDEX_BITS, "index_bits is odd")
    group_bits = _group_bits(metadata, index_bits)
    return {**metadata, "index_bits": index_bits, "group_bits": group_bits, **_encoder_settings(metadata)}


def _group_bits(metadata: dict, index_bits: int) -> int | list[int]:
    """One number, or a list of one for each of the usual index widths."""
    found = metadata.get("group_bits")
    if not isinstance(found, list):
        return integer(metadata, "group_bits", 1, index_bits)
    check(1 <= len(found) <= len(USUAL_BITS), f"group_bits are not a list of 1 to {len(USUAL_BITS)}")
    return [integer({"group_bits": bits}, "group_bits", 1, INDEX_BITS[0] - 1) for bits in found]


def _refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def _check_betas(betas):
    check(isinstance(betas, list) and 1 <= len(betas) <= POINTS, f"betas are not a list of 1 to {POINTS}")
    for beta in betas:
        check(number({"beta": beta}, "beta", LARGEST) > 0, "a beta is not positive")


def _encoder_settings(metadata):
    """What a fit begins with (encoder/fit/descent.py)."""
    settings = {
        "steps": integer(metadata, "steps", 0, 1_000_000),
        "rate": number(metadata, "rate", LARGEST),
        "fit_scale": boolean(metadata, "fit_scale"),
        "budget_groups": integer(metadata, "budget_groups", 0, 1_000_000),
    }
    check(settings["rate"] > 0, "rate is not positive")
    return settings


def read_architecture(found: object) -> Architecture:
    """The architecture that metadata describe."""
    check(isinstance(found, dict), "no architecture")
    check(found.keys() <= ARCHITECTURE_KEYS, f"an architecture has nothing but {', '.join(sorted(ARCHITECTURE_KEYS))}")
    features = word(found, "features", FEATURES)
    tile = integer(found, "tile", 2, MOST_TILE)
    check(tile % 2 == 0, "tile is odd")
    side = integer(found, "side", 1, MOST_SIDE, default=1)
    listed = found.get("layers")
    check(isinstance(listed, list) and 1 <= len(listed) <= MOST_LAYERS, f"layers are not a list of 1 to {MOST_LAYERS}")
    layers = tuple(read_layer(layer) for layer in listed)
    pyramid = integer(found, "pyramid", 0, MOST_LEVELS, default=0)
    check(side % 2**pyramid == 0, "a block has no whole number of a pyramid's squares")
    architecture = Architecture(features, tile, layers, side, pyramid)
    latent = [layer.latent for layer in layers]
    check(latent[0] and latent == sorted(latent, reverse=True), "the layers do not begin with latent ones")
    if features == "cosine":
        _check_cosines(architecture)
    else:
        _check_fourier(architecture)
    for i in range(architecture.colour, len(layers)):
        _check_shared(architecture, i)
    _check_cost(architecture)
    return architecture


def check_kind_costs(metadata: Mapping, architecture: Architecture) -> None:
    """The costs of kinds of lowest frequencies at every operating point, where there is a pyramid."""
    if not architecture.pyramid:
        return
    points = metadata.get("kind_costs")
    kinds = kind_count(architecture.pyramid) - 1
    check(_is_list(points, len(metadata["betas"])), "kind_costs is not a list of operating points")
    for rows in points:
        check(_is_list(rows, kinds), f"kind_costs does not tell {kinds} kinds")
        for row in rows:
            check(_is_list(row, COLOURS), f"kind_costs does not tell {COLOURS} colours")
            for shift in row:
                integer({"kind_costs": shift}, "kind_costs", -MOST_SHIFT, MOST_SHIFT)


def _is_list(found, length):
    """Whether a JSON value is a list of some length."""
    return isinstance(found, list) and len(found) == length


def read_layer(found: object) -> Layer:
    """One layer, its numbers in their ranges."""
    check(isinstance(found, dict), "a layer is not an object")
    check(found.keys() <= LAYER_KEYS, f"a layer has nothing but {', '.join(sorted(LAYER_KEYS))}")
    residual_of = found.get("residual_of")
    if residual_of is not None:
        residual_of = integer(found, "residual_of", 0, MOST_LAYERS)
    window = integer(found, "window", 1, MOST_WINDOW, default=1)
    check(window % 2 == 1, "window is even")
    fold = integer(found, "fold", FOLDS[0], FOLDS[-1], default=1)
    check(fold in FOLDS, "fold is not a power of two")
    return Layer(
        kind=word(found, "kind", KINDS),
        inputs=integer(found, "inputs", 1, MOST_CHANNELS),
        outputs=integer(found, "outputs", 1, MOST_CHANNELS),
        latent=boolean(found, "latent", default=False),
        bias=boolean(found, "bias", default=True),
        window=window,
        omega=number(found, "omega", LARGEST_FACTOR, default=1.0),
        scale=number(found, "scale", LARGEST_FACTOR, default=1.0),
        residual_of=residual_of,
        by_class=boolean(found, "by_class", default=False),
        fold=fold,
    )


def _check_cosines(architecture):
    (layer, *others) = architecture.stored
    shape = (layer.inputs, layer.outputs, layer.bias)
    fine = not others and layer.kind == "linear" and shape == (architecture.tile**2, 3, False)
    check(fine and _plain(layer), "the latent layer is not one of cosines")


def _check_fourier(architecture):
    check(architecture.pyramid == 0, "Fourier features have no pyramid")
    check(architecture.side == 1, "blocks of a network with Fourier features are tiles")
    inputs = architecture.layers[0].inputs
    check(inputs % 4 == 0 and inputs <= FOURIER_INPUTS, f"Fourier features are no multiple of 4 up to {FOURIER_INPUTS}")
    for layer in architecture.stored:
        fine = layer.kind != "silu" and layer.inputs == inputs
        check(fine and _plain(layer), "the latent layers do not follow each other")
        inputs = layer.outputs


def _plain(layer):
    """Whether a latent layer has nothing that only shared ones have."""
    return layer.window == layer.fold == 1 and layer.residual_of is None


def _check_shared(architecture, i):
    layer = architecture.layers[i]
    check(architecture.tile % (2 * layer.fold) == 0, "a tile is not an even multiple of fold")
    if layer.residual_of is not None:
        check(architecture.colour - 1 <= layer.residual_of < i, "residual_of is neither the field nor a layer before")


def _check_cost(architecture):
    """Memory of a block, and time and memory of a pixel."""
    check(architecture.latents <= BLOCK_LATENTS, f"a block has more than {BLOCK_LATENTS} latents")
    check(architecture.margin <= MARGIN, f"shared layers look further than {MARGIN} pixels")
    counted = architecture.layers[1:] if architecture.features == "cosine" else architecture.layers
    multiplies = sum(layer.multiplies for layer in counted)
    check(multiplies <= MULTIPLIES, f"layers take more than {MULTIPLIES} multiplications a pixel")


def check_members(members: Tables, architecture: Architecture, points: int) -> None:
    """Every array of a prior file: that it is there, its type, shape and numbers; and that there is no other."""
    known = {"metadata"}
    for index in range(points):
        prefix = f"{index:02}."
        tables = {name.removeprefix(prefix): table for name, table in members.items() if name.startswith(prefix)}
        try:
            names = check_point(tables, architecture)
        except FormatError as error:
            raise FormatError(f"{prefix}{error}") from error
        known |= {prefix + name for name in names}
    for name in members:
        check(name in known, f"{name!r:.60} belongs to no operating point")


def check_point(tables: Tables, architecture: Architecture) -> set[str]:
    """The tables of an operating point; returns the names of those that it needs."""
    components = architecture.components
    columns = architecture.tile_latents // components
    single = _rows(tables, "kl")
    merged = _rows(tables, "merged") if "merged" in tables else 0
    classes = single + merged
    check(classes <= MOST_CLASSES, f"kl and merged have more than {MOST_CLASSES} classes")
    expected = {
        "kl": ("u1", (single, components, columns)),
        "mean": (FLOATS, (architecture.tile_latents,)),
        "noise": (FLOATS, (architecture.tile_latents,)),
    }
    if merged:
        check(architecture.features == "cosine" and architecture.side % 2 == 0, "merged needs cosines and an even side")
        expected["merged"] = ("u1", (merged, 4, components, columns))
    if classes > 1:
        expected["contexts"] = ("i1", (3, classes + 1, classes))
    shared = _shared_shapes(tables, architecture, classes)
    expected |= {name: (FLOATS, shape) for name, shape in shared.items()}
    if "modulation_kl" in tables or "modulation_scale" in tables:
        rows, size = _modulation_shape(tables, architecture, shared)
        expected |= {"modulation_kl": ("u1", (rows, size)), "modulation_scale": (FLOATS, (size,))}
    for name, (dtype, shape) in expected.items():
        _check_table(tables, name, dtype, shape)
    check((tables["noise"] > 0).all(), "noise is not positive")
    if "modulation_scale" in expected:
        check(not np.signbit(tables["modulation_scale"]).any(), "modulation_scale is negative")
    return set(expected)


def _rows(tables, name):
    """Rows of a table, of which there is one or more."""
    check(name in tables, f"{name} is missing")
    check(tables[name].ndim > 0 and len(tables[name]) > 0, f"{name} is empty")
    return len(tables[name])


def _shared_shapes(tables, architecture, classes):
    """Shapes of shared layers, each of which has as many inputs as the one before has outputs.

    Between shared layers an operating point may have fewer channels than the architecture says.
    """
    expected = {}
    last_stored = architecture.stored[-1]
    outputs = {architecture.colour - 1: (last_stored.outputs, 1)}  # of every layer: channels, and its fold
    for i in range(architecture.colour, len(architecture.layers)):
        layer = architecture.layers[i]
        inputs = folded(outputs[i - 1], layer.fold)
        channels = _channels(tables, f"b{i}")
        check(inputs <= layer.inputs and channels <= layer.outputs, f"layer {i} has more channels than it may")
        expected[f"w{i}"] = (layer.window, layer.window, inputs, channels)
        by_class = tables[f"b{i}"].ndim == 2
        expected[f"b{i}"] = (classes, channels) if by_class else (channels,)
        if layer.residual_of is not None:
            added = folded(outputs[layer.residual_of], layer.fold)
            check(added == channels, f"layer {i} and layer {layer.residual_of} do not add up")
        outputs[i] = (channels, layer.fold)
    rgb = folded(outputs[len(architecture.layers) - 1], 1)
    check(rgb == 3, "the last layer has not three channels")
    return expected


def _channels(tables, name):
    """Outputs of a layer, by its biases."""
    check(name in tables, f"{name} is missing")
    shape = tables[name].shape
    check(1 <= len(shape) <= 2 and shape[-1] > 0, f"{name} has shape {shape}")
    return shape[-1]


def folded(output: tuple[int, int], fold: int) -> int:
    """Channels of an output, of some channels and of some fold, once it is folded otherwise."""
    channels, before = output
    if before == fold:
        return channels
    check(channels % before**2 == 0, f"{channels} channels are not those of {before} x {before} pixels")
    return channels // before**2 * fold**2


def _modulation_shape(tables, architecture, shared):
    """Sizes of pictures and modulations: those of the layers after the colour map."""
    rows = _rows(tables, "modulation_kl")
    check(rows <= SIZES_OF_PICTURES, f"modulation_kl has more than {SIZES_OF_PICTURES} rows")
    size = 0
    for i in range(architecture.colour + 1, len(architecture.layers)):
        _, _, inputs, outputs = shared[f"w{i}"]
        size += inputs + 2 * outputs
    check(size > 0, "there is no layer to modulate")
    return rows, size


def _check_table(tables, name, dtype, shape):
    check(name in tables, f"{name} is missing")
    table = tables[name]
    check(table.dtype == np.dtype(f"<{dtype}"), f"{name} is of type {table.dtype}, not {np.dtype(dtype)}")
    check(table.shape == shape, f"{name} has shape {table.shape}, not {shape}")
    check(bool(np.isfinite(table).all()), f"{name} has a number that is not finite")
