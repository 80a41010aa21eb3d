"""The pictures of `combiner inspect --plot`. Needs matplotlib, which the extra [bench] brings.

Colour maps are cividis and magma, which rise in lightness: they read alike in grey and to colour-blind eyes.
"""

import io
from pathlib import Path

import numpy as np

from .errors import FormatError
from .inspection import ACTIVE, Inspection, unit_bits

LEAST = 0.01  # bits at which the colours of parameter maps begin
DOTS = 110  # per inch
COMPONENTS = ("first colour component", "second", "third")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito


def pyplot():
    """matplotlib.pyplot, without a screen. Raises FormatError where it is not installed."""
    try:
        import matplotlib
    except ImportError as error:
        raise FormatError("plots need matplotlib: pip install 'combiner-codec[bench]'") from error
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "combiner"  # the same drawing, the same bytes
    import matplotlib.pyplot

    return matplotlib.pyplot


def check(path: str) -> None:
    """Whether a plot can be drawn and has a name that matplotlib knows. Raises FormatError."""
    kinds = pyplot().figure().canvas.get_supported_filetypes()
    if Path(path).suffix[1:] not in kinds:
        raise FormatError(f"{path}: cannot draw this kind of file: use .png, .svg or .pdf")


def to_bytes(figure, suffix: str) -> bytes:
    """A figure as a file of some kind, and the end of it."""
    buffer = io.BytesIO()
    dated = suffix in (".svg", ".pdf")
    stamp = {"Date" if suffix == ".svg" else "CreationDate": None} if dated else None
    figure.savefig(buffer, format=suffix[1:], dpi=DOTS, metadata=stamp)
    pyplot().close(figure)
    return buffer.getvalue()


def sheet(found: Inspection, suffix: str = ".png") -> bytes:
    """All maps of a file on one page."""
    units = unit_bits(found.architecture, found.costs)
    maps = 3.4 if units else 2.5
    down = -(-len(panels(found)) // across(found))
    heights = [(3.4 if across(found) == 2 else 2.6) * down, maps, *([] if found.kl is None else [maps])]
    heights += [2.4] if units else []
    figure = pyplot().figure(figsize=(10, sum(heights)), layout="constrained")
    rows = iter(figure.subfigures(len(heights), 1, height_ratios=heights))
    pictures(next(rows), found)
    top = max(x.max() for x in (found.costs, found.kl) if x is not None)
    parameters(next(rows), found, found.costs, "prior: average KL over training", top)
    if found.kl is not None:
        parameters(next(rows), found, found.kl, "this posterior: KL", top)
    if units:
        posterior = {} if found.kl is None else {"this posterior": unit_bits(found.architecture, found.kl)}
        hidden_units(next(rows), {"prior": units} | posterior)
    return to_bytes(figure, suffix)


def across(found: Inspection) -> int:
    """Panels side by side: small pictures take less room."""
    return 2 if found.contents.classes.size > 1 else 3


def panels(found: Inspection) -> list[tuple]:
    """Title, values, colours and unit of every map over the picture, and its pixels in how many rows and columns."""
    size = found.decoded.shape[:2]
    shown = [(f"decoded, {len(found.data)} bytes", found.decoded, None, None, size)]
    if found.contents.classes.size > 1:
        side = found.architecture.tile
        whole = tuple(side * count for count in found.contents.classes.shape)
        spent = {"bits in the file": found.tile_bits}
        spent |= {} if found.kl is None else {"KL of the posterior": found.tile_map(found.kl)}
        shown += [(title, bits / side**2, "cividis", "bits per pixel", whole) for title, bits in spent.items()]
    elif found.original is not None:
        shown.insert(0, ("original", found.original, None, None, size))
    if found.original is not None:
        error = np.abs(found.decoded.astype(float) - found.original).reshape(*size, -1).mean(2)
        shown.append((f"error, {found.psnr:.2f} dB", error, "magma", "mean of channels, 8-bit steps", size))
    return shown


def pictures(figure, found: Inspection) -> None:
    """The decoded picture, bits and KL over it, and the error against the original."""
    shown, columns = panels(found), across(found)
    axes = figure.subplots(-(-len(shown) // columns), columns, squeeze=False).reshape(-1)
    for axis in axes[len(shown) :]:
        axis.axis("off")
    most = max((values.max() for _, values, colours, _, _ in shown if colours == "cividis"), default=None)
    for axis, (title, values, colours, unit, (down, right)) in zip(axes, shown, strict=False):
        style = {"cmap": colours or "gray", "vmin": 0, "vmax": most if colours == "cividis" else 255}
        if colours == "magma":  # a few pixels with large errors would leave all others black
            style["vmax"] = max(1, np.quantile(values, 0.995))
        drawn = axis.imshow(values, extent=(0, right, down, 0), interpolation="nearest", **style)
        height, width = found.decoded.shape[:2]
        axis.set(xlim=(0, width), ylim=(height, 0))
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("pixels", fontsize=8)
        axis.set_ylabel("pixels", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.locator_params(nbins=4, integer=True)
        if unit:
            bar = figure.colorbar(drawn, ax=axis, shrink=0.8, extend="max" if colours == "magma" else "neither")
            bar.set_label(unit, fontsize=8)
            bar.ax.tick_params(labelsize=8)


def parameters(figure, found: Inspection, values: np.ndarray, title: str, top: float) -> None:
    """One map per layer of a SIREN, or per level and colour component of cosines: bits of every parameter."""
    from matplotlib.colors import LogNorm

    cosine = found.architecture.features == "cosine"
    maps, shares = [], []
    for part in found.parts:
        each = found.parameter_map(part, values)
        if not cosine:
            maps.append((part.name, each, None))
            shares.append(max(0.45, each.shape[1] / 16))
            continue
        for k, name in enumerate(COMPONENTS[: 1 if found.contents.header.grey else 3]):
            side = f"{part.hop} x {part.hop}" if k == 0 else ""
            maps.append((f"{side}\n{name}" if side else name, each[..., k], part.shape[0] / 2))
            shares.append(1.0)
    axes = figure.subplots(1, len(maps), squeeze=False, width_ratios=shares)[0]
    figure.suptitle(title, fontsize=11)
    norm = LogNorm(LEAST, max(top, 2 * LEAST))
    for i, (axis, (name, each, cycles)) in enumerate(zip(axes, maps, strict=True)):
        extent = (0, cycles, cycles, 0) if cycles else (0, each.shape[1], each.shape[0], 0)
        coded = np.where(each > 0, np.maximum(each, LEAST), np.nan)
        style = {"cmap": "cividis", "interpolation": "nearest", "aspect": "equal" if cycles else "auto"}
        shown = axis.imshow(coded, norm=norm, extent=extent, **style)
        axis.set_facecolor("0.85")
        axis.set_title(name, fontsize=9)
        axis.tick_params(labelsize=8)
        axis.locator_params(nbins=4)
        axis.set_xlabel("cycles per tile" if cycles else "output", fontsize=8)
        if i == 0:
            axis.set_ylabel("cycles per tile" if cycles else "input, biases last", fontsize=8)
    bar = figure.colorbar(shown, ax=list(axes), location="right", shrink=0.9, extend="min", pad=0.01)
    bar.set_label("bits per parameter\n(grey: not coded)", fontsize=8)
    bar.ax.tick_params(labelsize=8)


def hidden_units(figure, sides: dict[str, list[np.ndarray]]) -> None:
    """What the weights into and out of every hidden unit carry, mean over the tiles: `unit_bits` by name."""
    axes = figure.subplots(1, len(next(iter(sides.values()))), sharey=True, squeeze=False)[0]
    for layer, axis in enumerate(axes):
        means = {name: bits[layer].mean(0) for name, bits in sides.items()}
        for k, (name, mean) in enumerate(means.items()):
            place = np.arange(len(mean)) + (k - (len(means) - 1) / 2) * 0.8 / len(means)
            label = f"{name}: {int((mean >= ACTIVE).sum())} of {len(mean)} active"
            axis.bar(place, mean, 0.8 / len(means), color=COLOURS[k], label=label)
        axis.axhline(ACTIVE, color="black", lw=1, ls="--")
        axis.set_yscale("log")
        axis.set_title(f"hidden units of layer {layer}", fontsize=9)
        axis.set_xlabel("unit", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.legend(fontsize=7.5, loc="upper right", frameon=True)
        axis.locator_params(axis="x", integer=True)
        axis.set_ylim(0.1, max(ACTIVE, *(mean.max() for mean in means.values())) * 10 ** (1 + 0.45 * len(means)))
    axes[0].set_ylabel("bits in and out\n(dashed: active)", fontsize=8)
