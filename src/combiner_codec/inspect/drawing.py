"""The pictures of `combiner inspect --plot`. Needs matplotlib, which the extra [bench] brings.

Colour maps are cividis and magma, which rise in lightness: they read alike in grey and to colour-blind eyes.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import FileError, MissingError
from ..picture.planes import premultiplied
from .figures import ACTIVE, Inspection, unit_bits

LEAST = 0.01  # bits at which the colours of parameter maps begin
DOTS = 110  # per inch
COMPONENTS = ("first colour component", "second", "third")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito


def pyplot():
    """matplotlib.pyplot, without a screen. Raises MissingError where it is not installed."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingError("plots need the package matplotlib (README, Install)") from error
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "combiner"  # the same drawing, the same bytes
    import matplotlib.pyplot

    return matplotlib.pyplot


def check(path: str) -> None:
    """Whether a plot can be drawn and has a name that matplotlib knows. Raises MissingError or FileError."""
    kinds = pyplot().figure().canvas.get_supported_filetypes()
    if Path(path).suffix[1:] not in kinds:
        raise FileError(f"{path}: cannot draw this kind of file: use .png, .svg or .pdf")


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
    return 2 if found.plane.classes.size > 1 else 3


class Panel(NamedTuple):
    """A map over the picture."""

    title: str
    values: np.ndarray
    size: tuple[int, int]  # rows and columns of pixels that it covers
    colours: str = "gray"
    unit: str = ""


def visible(picture: np.ndarray) -> np.ndarray:
    """A picture as it can be drawn: grey with alpha becomes RGB with alpha."""
    return picture[..., (0, 0, 0, 1)] if picture.shape[2:] == (2,) else picture


def panels(found: Inspection) -> list[Panel]:
    """Every map over the picture."""
    size = found.decoded.shape[:2]
    shown = [Panel(f"decoded, {len(found.data)} bytes", visible(found.decoded), size)]
    if found.plane.classes.size > 1:
        side = found.architecture.tile
        whole = tuple(side * count for count in found.plane.classes.shape)
        spent = {"bits in the file": found.tile_bits}
        spent |= {} if found.kl is None else {"KL of the posterior": found.tile_map(found.kl)}
        shown += [Panel(title, bits / side**2, whole, "cividis", "bits per pixel") for title, bits in spent.items()]
    elif found.original is not None:
        shown.insert(0, Panel("original", visible(found.original), size))
    if found.original is not None:
        error = np.abs(premultiplied(found.decoded) - premultiplied(found.original)).reshape(*size, -1).mean(2)
        shown.append(Panel(f"error, {found.psnr:.2f} dB", error, size, "magma", "mean of channels, 8-bit steps"))
    return shown


def pictures(figure, found: Inspection) -> None:
    """The decoded picture, bits and KL over it, and the error against the original."""
    shown, columns = panels(found), across(found)
    axes = figure.subplots(-(-len(shown) // columns), columns, squeeze=False).reshape(-1)
    for axis in axes[len(shown) :]:
        axis.axis("off")
    most = max((panel.values.max() for panel in shown if panel.colours == "cividis"), default=0)
    top = {"gray": lambda _: 255, "cividis": lambda _: most, "magma": _most_errors}
    height, width = found.decoded.shape[:2]
    for axis, panel in zip(axes, shown, strict=False):
        down, right = panel.size
        style = {"cmap": panel.colours, "vmin": 0, "vmax": top[panel.colours](panel.values)}
        drawn = axis.imshow(panel.values, extent=(0, right, down, 0), interpolation="nearest", **style)
        axis.set(xlim=(0, width), ylim=(height, 0))
        _label(axis, panel.title, "pixels", "pixels", 10)
        axis.locator_params(nbins=4, integer=True)
        if panel.unit:
            extend = "max" if panel.colours == "magma" else "neither"
            _name(figure.colorbar(drawn, ax=axis, shrink=0.8, extend=extend), panel.unit)


def _most_errors(values):
    """The colour map's end: a few pixels with large errors would leave all others black."""
    return max(1, np.quantile(values, 0.995))


class Table(NamedTuple):
    """A map of parameters."""

    title: str
    values: np.ndarray  # (rows, columns) bits
    width: float  # beside the other maps
    cycles: float | None = None  # per tile, of the highest frequency; None for weights, inputs by outputs


def tables(found: Inspection, values: np.ndarray) -> Iterator[Table]:
    """One map per layer of a SIREN, or per size of tile and colour component of cosines: (B, D) bits."""
    names = COMPONENTS[: 1 if found.contents.header.grey else 3]
    for level in found.levels:
        each = found.parameter_map(level, values)
        if not found.architecture.field.linear:
            yield Table(level.name, each, max(0.45, each.shape[1] / 16))
            continue
        titles = f"{level.side} x {level.side}\n{names[0]}", *names[1:]
        for k, title in enumerate(titles):
            yield Table(title, each[..., k], 1.0, level.side / 2)


def parameters(figure, found: Inspection, values: np.ndarray, title: str, top: float) -> None:
    """All `tables` side by side: bits of every parameter, up to `top`."""
    from matplotlib.colors import LogNorm

    maps = list(tables(found, values))
    axes = figure.subplots(1, len(maps), squeeze=False, width_ratios=[table.width for table in maps])[0]
    figure.suptitle(title, fontsize=11)
    norm = LogNorm(LEAST, max(top, 2 * LEAST))
    for axis, table in zip(axes, maps, strict=True):
        shown = _draw(axis, table, norm)
        right, down = ("cycles per tile",) * 2 if table.cycles else ("output", "input, biases last")
        _label(axis, table.title, right, down if axis is axes[0] else "", 9)
        axis.locator_params(nbins=4)
    bar = figure.colorbar(shown, ax=list(axes), location="right", shrink=0.9, extend="min", pad=0.01)
    _name(bar, "bits per parameter\n(grey: not coded)")


def _draw(axis, table, norm):
    rows, columns = (table.cycles,) * 2 if table.cycles else table.values.shape
    coded = np.where(table.values > 0, np.maximum(table.values, LEAST), np.nan)
    style = {"cmap": "cividis", "interpolation": "nearest", "aspect": "equal" if table.cycles else "auto"}
    axis.set_facecolor("0.85")
    return axis.imshow(coded, norm=norm, extent=(0, columns, rows, 0), **style)


def _label(axis, title, right, down, size):
    axis.set_title(title, fontsize=size)
    axis.set_xlabel(right, fontsize=8)
    axis.set_ylabel(down, fontsize=8)
    axis.tick_params(labelsize=8)


def _name(bar, unit):
    """Label of a bar of colours."""
    bar.set_label(unit, fontsize=8)
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
