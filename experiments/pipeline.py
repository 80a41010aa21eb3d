"""The drawing of encoder and decoder at the top of docs/method.md."""

from combiner_codec.inspect import drawing

GREY, BLUE, GREEN, YELLOW = "#eeeeee", "#d4e6f4", "#d3eee4", "#fbe9c6"  # pale Okabe and Ito: encoder, decoder, shared
BOXES = {  # name: (centre across, centre down, width, height, colour, text)
    "picture": (0.75, 3.2, 1.2, 1.0, GREY, "picture"),
    "classes": (2.65, 3.2, 1.7, 1.0, BLUE, "operating point,\nclass of each tile"),
    "fit": (4.95, 3.2, 2.0, 1.0, BLUE, "posterior $q$\nminimise\n$\\Delta + \\beta\\,\\mathrm{KL}(q\\,\\|\\,p)$"),
    "code": (7.3, 3.2, 1.9, 1.0, BLUE, "chained A* coding\nof groups\n(Viterbi)"),
    "file": (9.2, 2.0, 1.2, 1.3, GREY, ".cmb file\nheader\nclasses\nindices"),
    "prior": (4.95, 1.75, 2.4, 0.75, YELLOW, "prior $p$ (in the package):\nclasses, scales, network"),
    "stream": (7.3, 1.75, 1.9, 0.75, YELLOW, "shared random\ncandidates (Philox)"),
    "latents": (7.3, 0.35, 1.9, 0.9, GREEN, "latents\n$m + s\\,\\varepsilon_{\\mathrm{index}}$"),
    "field": (4.95, 0.35, 2.0, 0.9, GREEN, "field: lapped cosines,\ntiles of two sizes"),
    "network": (2.65, 0.35, 1.7, 0.9, GREEN, "network\nacross tiles"),
    "decoded": (0.75, 0.35, 1.2, 0.9, GREY, "decoded\npicture"),
}
ARROWS = (  # from, side, to, side
    ("picture", "right", "classes", "left"), ("classes", "right", "fit", "left"), ("fit", "right", "code", "left"),
    ("code", "right", "file", "top"), ("file", "bottom", "latents", "right"), ("latents", "left", "field", "right"),
    ("field", "left", "network", "right"), ("network", "left", "decoded", "right"),
    ("prior", "top", "fit", "bottom"), ("stream", "top", "code", "bottom"), ("stream", "bottom", "latents", "top"),
)  # fmt: skip


STRAIGHT = {"arrowstyle": "-|>", "lw": 1.3, "color": "0.2", "shrinkA": 0, "shrinkB": 0}
SLANTED = (((4.3, 1.375), (2.9, 0.8)), ((5.6, 1.375), (6.75, 0.8)))  # prior to network, prior to latents
SIDES = {"left": (-1, 0), "right": (1, 0), "top": (0, 1), "bottom": (0, -1)}
CORNERS = {  # (side of the source, side of the target) that an arrow turns between
    ("right", "top"): "angle,angleA=0,angleB=90,rad=4",
    ("bottom", "right"): "angle,angleA=-90,angleB=0,rad=4",
}


def pipeline() -> bytes:
    """Encoder above, decoder below, what both share between them: an .svg file."""
    figure = drawing.pyplot().figure(figsize=(10, 4.6), facecolor="white")
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, 10), ylim=(-0.3, 4.3))
    axis.axis("off")
    draw_boxes(axis)
    draw_arrows(axis)
    axis.text(6.12, 4.1, "refine what is not coded yet", ha="center", va="center", fontsize=10)
    axis.text(0.15, 4.1, "encoder (torch)", fontsize=11, weight="bold", va="center")
    axis.text(0.15, 1.05, "decoder (numpy)", fontsize=11, weight="bold", va="center")
    return drawing.to_bytes(figure, ".svg")


def draw_boxes(axis) -> None:
    """All steps."""
    from matplotlib.patches import FancyBboxPatch

    for x, y, width, height, colour, text in BOXES.values():
        corner = (x - width / 2, y - height / 2)
        style = {"boxstyle": "round,pad=0,rounding_size=0.08", "facecolor": colour, "edgecolor": "0.3"}
        axis.add_patch(FancyBboxPatch(corner, width, height, lw=1, **style))
        axis.text(x, y, text, ha="center", va="center", fontsize=10.5)


def draw_arrows(axis) -> None:
    """From step to step, round a corner where they lie so; and back from coding to the fit."""
    for source, out, target, into in ARROWS:
        style = {**STRAIGHT, "connectionstyle": CORNERS.get((out, into), "arc3")}
        axis.annotate("", edge(target, into), edge(source, out), arrowprops=style)
    for start, end in SLANTED:
        axis.annotate("", end, start, arrowprops=STRAIGHT)
    back = {"arrowstyle": "-|>", "lw": 1.3, "color": "0.2", "ls": "--", "connectionstyle": "arc3,rad=0.35"}
    axis.annotate("", (BOXES["fit"][0] + 0.4, 3.7), (BOXES["code"][0] - 0.4, 3.7), arrowprops=back)


def edge(name: str, side: str) -> tuple[float, float]:
    """The middle of a side of a box."""
    x, y, width, height = BOXES[name][:4]
    across, down = SIDES[side]
    return x + across * width / 2, y + down * height / 2
