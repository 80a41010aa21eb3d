"""`make figures`: the drawings of docs/method.md and README."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .. import codec, drawing, image
from .. import prior as priors
from ..inspection import Inspection, unit_bits
from ..prior import Prior

SIDE = 32
PHOTO = ("hippos.png", 0.009, "fast")  # sample, beta, effort
THUMBNAIL = ("architecture-32.png", 0.0015, "normal")
SIRENS = ("architecture-32.png", "hippos-64x48.png")  # the plain SIREN gets 32 x 32 pixels from their centres


def run(samples: Path, out: Path, threads: int, say: Callable[[str], None]) -> None:
    """Write all drawings from the shipped samples."""
    out.mkdir(parents=True, exist_ok=True)
    drawing.pyplot()

    def keep(name: str, data: bytes) -> None:
        (out / name).write_bytes(data)
        say(f"{out / name}: {len(data)} bytes")

    keep("pipeline.svg", pipeline())
    for name, (sample, beta, effort) in {"inspect-photo.png": PHOTO, "inspect-small.png": THUMBNAIL}.items():
        pixels = load(samples / sample)
        family = priors.default(pixels.shape[1], pixels.shape[0])
        keep(name, drawing.sheet(look(pixels, family, beta, effort, threads)))
    siren = priors.load("combiner-cifar")
    found = [look(centre(load(samples / name)), siren, siren.betas[0], "normal", threads) for name in SIRENS]
    keep("activation.png", activation(found))


def load(path: Path) -> np.ndarray:
    return image.load(path.read_bytes(), str(path))


def centre(pixels: np.ndarray) -> np.ndarray:
    top, left = ((n - SIDE) // 2 for n in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + SIDE, left : left + SIDE])


def look(pixels: np.ndarray, prior: Prior, beta: float, effort: str, threads: int) -> Inspection:
    """A picture, encoded, with its posterior."""
    result = codec.encode_arrays([pixels], beta, prior, threads=threads, effort=effort, keep_posterior=True)[0]
    return Inspection(result.data, codec.parse(result.data, prior), result.fitted, pixels)


def activation(found: list[Inspection]) -> bytes:
    """The paper's figure of adaptive activation: KL per weight and hidden units, in the prior and in posteriors."""
    figure = drawing.pyplot().figure(figsize=(10, 3.1 * (1 + len(found)) + 2.4), layout="constrained")
    rows = iter(figure.subfigures(2 + len(found), 1, height_ratios=[3.1] * (1 + len(found)) + [2.4]))
    top = max(x.max() for one in found for x in (one.costs, one.kl))
    architecture, units = found[0].architecture, {"prior": unit_bits(found[0].architecture, found[0].costs)}
    drawing.parameters(next(rows), found[0], found[0].costs, "prior: average KL over training", top)
    for one, letter in zip(found, "AB", strict=True):
        left, right = next(rows).subfigures(1, 2, width_ratios=[1, 6])
        axis = left.subplots()
        axis.imshow(one.decoded, interpolation="nearest")
        axis.set_title(f"{letter}, decoded", fontsize=9)
        axis.axis("off")
        drawing.parameters(right, one, one.kl, f"posterior of {letter}: KL", top)
        units[f"posterior of {letter}"] = unit_bits(architecture, one.kl)
    drawing.hidden_units(next(rows), units)
    return drawing.to_bytes(figure, ".png")


GREY, BLUE, GREEN, YELLOW = "#eeeeee", "#d4e6f4", "#d3eee4", "#fbe9c6"  # pale Okabe and Ito: encoder, decoder, shared
BOXES = {  # name: (centre across, centre down, width, height, colour, text)
    "picture": (0.75, 3.2, 1.2, 1.0, GREY, "picture"),
    "classes": (2.65, 3.2, 1.7, 1.0, BLUE, "operating point,\nclass of each tile"),
    "fit": (4.95, 3.2, 2.0, 1.0, BLUE, "posterior $q$\nminimise\n$\\Delta + \\beta\\,\\mathrm{KL}(q\\,\\|\\,p)$"),
    "code": (7.3, 3.2, 1.9, 1.0, BLUE, "chained A* coding\nof groups\n(Viterbi)"),
    "file": (9.2, 2.0, 1.2, 1.3, GREY, ".cmb file\nheader\nclasses\nindices"),
    "prior": (4.95, 1.75, 2.4, 0.75, YELLOW, "prior $p$ (in the package):\nclasses, scales, sine layers"),
    "stream": (7.3, 1.75, 1.9, 0.75, YELLOW, "shared random\ncandidates (Philox)"),
    "latents": (7.3, 0.35, 1.9, 0.9, GREEN, "latents\n$m + s\\,\\varepsilon_{\\mathrm{index}}$"),
    "field": (4.95, 0.35, 2.0, 0.9, GREEN, "field: lapped cosines,\ncoarse level + tiles"),
    "network": (2.65, 0.35, 1.7, 0.9, GREEN, "sine layers\nacross tiles"),
    "decoded": (0.75, 0.35, 1.2, 0.9, GREY, "decoded\npicture"),
}
ARROWS = (  # from, side, to, side
    ("picture", "right", "classes", "left"), ("classes", "right", "fit", "left"), ("fit", "right", "code", "left"),
    ("code", "right", "file", "top"), ("file", "bottom", "latents", "right"), ("latents", "left", "field", "right"),
    ("field", "left", "network", "right"), ("network", "left", "decoded", "right"),
    ("prior", "top", "fit", "bottom"), ("stream", "top", "code", "bottom"), ("stream", "bottom", "latents", "top"),
)  # fmt: skip


def pipeline() -> bytes:
    """Encoder above, decoder below, what both share between them."""
    from matplotlib.patches import FancyBboxPatch

    figure = drawing.pyplot().figure(figsize=(10, 4.6), facecolor="white")
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, 10), ylim=(-0.3, 4.3))
    axis.axis("off")
    for x, y, width, height, colour, text in BOXES.values():
        corner = (x - width / 2, y - height / 2)
        style = {"boxstyle": "round,pad=0,rounding_size=0.08", "facecolor": colour, "edgecolor": "0.3"}
        axis.add_patch(FancyBboxPatch(corner, width, height, lw=1, **style))
        axis.text(x, y, text, ha="center", va="center", fontsize=10.5)

    def edge(name, side):
        x, y, width, height = BOXES[name][:4]
        across, down = {"left": (-1, 0), "right": (1, 0), "top": (0, 1), "bottom": (0, -1)}[side]
        return x + across * width / 2, y + down * height / 2

    bend = {"right": "angle,angleA=0,angleB=90,rad=4", "bottom": "angle,angleA=-90,angleB=0,rad=4"}
    for source, out, target, into in ARROWS:
        corner = {("right", "top"), ("bottom", "right")} & {(out, into)}
        style = {"arrowstyle": "-|>", "lw": 1.3, "color": "0.2", "connectionstyle": bend[out] if corner else "arc3"}
        axis.annotate("", edge(target, into), edge(source, out), arrowprops={**style, "shrinkA": 0, "shrinkB": 0})
    straight = {"arrowstyle": "-|>", "lw": 1.3, "color": "0.2", "shrinkA": 0, "shrinkB": 0}
    for start, end in (((4.3, 1.375), (2.9, 0.8)), ((5.6, 1.375), (6.75, 0.8))):  # prior to sine layers and latents
        axis.annotate("", end, start, arrowprops=straight)
    back = {"arrowstyle": "-|>", "lw": 1.3, "color": "0.2", "ls": "--", "connectionstyle": "arc3,rad=0.35"}
    axis.annotate("", (BOXES["fit"][0] + 0.4, 3.7), (BOXES["code"][0] - 0.4, 3.7), arrowprops=back)
    axis.text(6.12, 4.1, "refine what is not coded yet", ha="center", va="center", fontsize=10)
    axis.text(0.15, 4.1, "encoder (torch)", fontsize=11, weight="bold", va="center")
    axis.text(0.15, 1.05, "decoder (numpy)", fontsize=11, weight="bold", va="center")
    return drawing.to_bytes(figure, ".svg")
