"""`python -m scripts.tile docs/tile.md`: a page that follows one tile, with the numbers of a real file."""

import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from combiner_codec.format import candidates, classmap
from scripts.tile_steps import BETA, EFFORT, LEFT, SAMPLE, SIDE, TOP, Tile

GROUP = 4  # the one that is looked at closely
CORNER = 4  # frequencies that are shown
SHOWN = 8  # groups of the stream
WIDTH = 120  # characters of a line
ZOOM, GAP = 10, 12  # of the drawing: screen pixels of a pixel, and between pictures


def page(tile: Tile) -> str:
    """The tutorial."""
    parts = (introduction, cosines, classes, posterior, groups, candidate, window, file, back, totals)
    return "\n\n".join(filled(part(tile)) for part in parts) + "\n"


def filled(text: str) -> str:
    """Paragraphs in lines of full length; headings, tables, pictures and what is fenced stay as they are."""
    blocks = text.strip().split("\n\n")
    plain = [block if block.startswith(("#", "|", "!", "`" * 3)) else wrap(block) for block in blocks]
    return "\n\n".join(plain)


def wrap(paragraph: str) -> str:
    """Lines of at most WIDTH characters, broken between words."""
    return textwrap.fill(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False)


def introduction(tile: Tile) -> str:
    """What is encoded."""
    return f"""\
# A tile from pixels to bits and back

This page follows one tile through the codec, with the numbers of a real file. `make docs` writes it
(`scripts/tile.py`), and a test compares it with what the code does today. Terms are explained in
[glossary.md](glossary.md), the method in [method.md](method.md), every rule in [FORMAT.md](../FORMAT.md).

The picture is the eye of a hippo, {SIDE}×{SIDE} pixels of `assets/samples/{SAMPLE}`, from column {LEFT} and row {TOP}
on. So small a picture is a single tile, and the family `small` codes it. It was encoded with β = {BETA} and the
effort `{EFFORT}`.

![The tile: the original, what the latents alone show, and the decoded file](figures/tile.png)

Original, latents alone, decoded. Its green channel:

```
{grid(tile.pixels[..., 1], "4d")}
```

As raw bytes the tile takes {8 * tile.pixels.size:,} bits. Its file has {8 * len(tile.data)}.
"""


def cosines(tile: Tile) -> str:
    """Section 1."""
    _, offset = tile.colour_map
    shift = ", ".join(decimals(offset))
    return f"""\
## 1 Pixels to coefficients

The prior has a fixed map from three colour components to red, green and blue. The encoder takes its offset
({shift}) from the pixels, divided by 255, and applies the inverse map. The first component is close to luminance.

A cosine transform of each component follows. It is a plain one (DCT-II) here: where tiles have neighbours, cosines
overlap. These are the coefficients of the lowest frequencies, first component, vertical frequencies downwards:

```
{grid(corner(tile.target), "8.2f")}
```
"""


def classes(tile: Tile) -> str:
    """Section 2."""
    point = tile.point
    count = point.single
    single = np.array([[tile.chosen_class]], np.uint8)
    paid = float(classmap.bits(single, point.contexts, count)[0, 0])
    map_bits = tile.contents.colour.length - len(tile.stream)
    return f"""\
## 2 A class says where the bits go

Before any fit the encoder judges operating points and classes by what they would cost and gain. It chose operating
point {tile.number}, learned for β = {point.beta:g}, and number {tile.chosen_class} of its {count} classes of single
tiles.

A class is a table of costs: how many bits each latent took on average in training. The lowest frequencies of class
{tile.chosen_class}:

```
{grid(corner(tile.cost), "8.2f")}
```

{np.count_nonzero(tile.cost)} of the tile's {tile.latents} latents cost anything, {tile.cost.sum():.1f} bits all
together. The others are not coded and stay at the prior's mean.

The cost k also gives the prior scale, s = n · sqrt(2^(2k) − 1), where n is the noise: how exactly a picture tells
this latent at this β. The prior scales of the same latents:

```
{grid(corner(tile.scale), "8.3f")}
```

The file has to name the class. Without neighbours to predict it from, that costs {paid:.1f} bits. The arithmetic
coder spends {map_bits}.
"""


def posterior(tile: Tile) -> str:
    """Section 3."""
    fitted = tile.posterior
    coded = np.flatnonzero(tile.cost)
    costly = coded[np.argsort(-tile.cost[coded], kind="stable")][:6]
    rows = []
    for d in costly:
        noise = float(tile.point.posterior_scale[d])
        scale = float(tile.scale[d])
        mean = float(tile.point.mean[d])
        target = tile.target[d]
        sigma = (noise**-2 + scale**-2) ** -0.5
        start = mean + sigma**2 / noise**2 * (target - mean)
        kl = float(fitted.kl_bits()[0, d])
        numbers = target, mean, scale, sigma, start, fitted.mu[0, d]
        bits = [f"{kl:.2f}", f"{tile.cost[d]:.2f}"]
        rows.append([name(d), *decimals(numbers), *bits])
    head = ["latent", "t", "m", "s", "σ", "μ, closed form", "μ, fitted", "KL, bits", "cost, bits"]
    first = costly[0]
    return f"""\
## 3 The posterior

Every latent gets a Gaussian of its own. Without the network its mean μ and scale σ have a closed form:

```
1 / σ² = 1 / n² + 1 / s²          μ = m + σ² / n² (t − m)
```

Here t is the coefficient of section 1, m the prior's mean, and s the prior scale. From this start 10 steps move the
means until the output of the network comes near the picture. These are the six latents that cost most, named by
vertical frequency, horizontal frequency and component:

{table(head, rows)}

Latent {name(first)} is the mean brightness. KL is what a latent would like to spend in this picture, cost is what the
class grants it. The whole tile would like to spend {fitted.kl_bits().sum():.1f} bits.
"""


def groups(tile: Tile) -> str:
    """Section 4."""
    rows = []
    total = 0.0
    for g, latents in enumerate(tile.groups[:6]):
        spent = tile.cost[latents].sum()
        total += spent
        names = " ".join(name(d) for d in latents[:4])
        if len(latents) > 4:
            names += " …"
        rows.append([str(g), str(len(latents)), f"{spent:.2f}", f"{total:.2f}", names])
    head = ["group", "latents", "bits", "so far", "which"]
    bits = tile.point.group_bits
    count = len(tile.groups)
    return f"""\
## 4 Groups

The latents that cost anything are walked in a fixed random order, and their costs are added up. Groups end where the
sum passes {bits // 2}, {bits + bits // 2}, {2 * bits + bits // 2} bits and so on: {bits} bits a group, half a group
behind the stream. That makes {count} groups, so the stream has {count * bits} bits. The first groups:

{table(head, rows)}

A decoder finds the same groups, since it knows the class.
"""


def candidate(tile: Tile) -> str:
    """Section 5."""
    g = GROUP
    latents = tile.groups[g]
    bits = tile.point.group_bits
    width = tile.index_bits
    index = int(tile.indices[g])
    seed = tile.seed
    rows = np.arange(-(-len(latents) // candidates.NORMALS))
    draws = np.full(len(rows), index // candidates.WORDS)
    words = candidates.words_at(seed, candidates.CANDIDATES, np.full(len(rows), g), draws, rows)
    words = words[:, index % candidates.WORDS]
    pieces = candidates.pieces(words).reshape(-1)
    eps = tile.normals(g)[index]
    rows = []
    for k, d in enumerate(latents[:8]):
        drawn = [name(d), f"{pieces[k]:04x}", f"{eps[k]:.3f}", f"{tile.signs[d]:+.0f}"]
        made = tile.point.mean[d], tile.scale[d], tile.sample[d]
        wanted = tile.posterior.mu[0, d], tile.posterior.sigma[0, d]
        rows.append(drawn + decimals(made) + decimals(wanted))
    head = ["latent", "piece", "ε", "sign", "m", "s", "m + s · sign · ε", "μ", "σ"]
    scores = tile.scores(g)
    order = np.argsort(-scores, kind="stable")
    rank = int(np.flatnonzero(order == index)[0]) + 1
    before = int(tile.indices[g - 1])
    kept = (before << bits) % (1 << width)  # the window, moved on by one group
    follow = scores[kept + np.arange(1 << bits)]
    which = "The latents" if len(rows) == len(latents) else "The first latents"
    return f"""\
## 5 A candidate

Each group has 2^{width} = {1 << width:,} candidates (`{EFFORT}`; `normal` has 2^16). Candidate i is a vector of
normal numbers that anyone can compute. A counter-based generator gives 64-bit words for (seed, group, i). A word has
four pieces of 16 bits, and a piece stands for a quantile of the normal distribution.

The encoder chose candidate {index:,} for group {g}. Its first word, with seed {seed}, is `{int(words[0]):016x}`,
of which the lowest piece is `{pieces[0]:04x}`. {which} of the group:

{table(head, rows)}

The candidate makes m + s · sign · ε; the posterior wants μ ± σ. A candidate's score is log q − log p, summed over the
group: how much better it suits the posterior than the prior.

| | score, nats |
| --- | ---: |
| the best of all {1 << width:,} candidates | {scores.max():.2f} |
| the best of the {1 << bits} that can follow index {before:,} of group {g - 1} | {follow.max():.2f} |
| the one chosen, number {rank} by score | {scores[index]:.2f} |
| the median of all | {np.median(scores):.2f} |

The choice is not the best for this group alone, since its bits also belong to the groups beside it.
"""


def window(tile: Tile) -> str:
    """Section 6."""
    bits = tile.point.group_bits
    width = tile.index_bits
    text = "".join(map(str, tile.stream))
    shown = [f"{spaced(text[: SHOWN * bits], bits)} …"]
    for g in (GROUP - 1, GROUP, GROUP + 1):
        end = (g + 1) * bits
        first = end - width
        inside = spaced(" " * first + text[first:end], bits)
        shown.append(f"{inside:{SHOWN * (bits + 1)}} index {tile.indices[g]:>6} of group {g}")
    lines = "\n".join(shown)
    return f"""\
## 6 The stream

A group adds {bits} bits, and its index is the last {width} bits of the stream so far:

```
{lines}
```

So a bit takes part in two or three choices. The encoder scores all candidates of all groups and finds the stream with
the largest sum of scores: the best path through a trellis of 2^{width} states.
"""


def file(tile: Tile) -> str:
    """Section 7."""
    data = tile.data
    head = tile.contents.header
    payload = data[5:-1].hex()
    used = tile.contents.colour.length
    map_bits = used - len(tile.stream)
    rows = [
        ["magic", f"`{data[0]:02x}`", "version 1"],
        ["prior, channels, coder", f"`{data[1]:02x}`", f"prior {head.prior} (`small`), colour, L = {head.index_bits}"],
        ["usual sizes, alpha, point", f"`{data[2]:02x}`", f"no usual size, no alpha, operating point {head.point}"],
        ["width, height", f"`{data[3]:02x} {data[4]:02x}`", f"{head.width} and {head.height}, less 1"],
        ["payload", f"`{payload}`", f"class map {map_bits} bits, stream {len(tile.stream)}, padding {-used % 8}"],
        ["checksum", f"`{data[-1]:02x}`", "over the prior's digest and all before"],
    ]
    return f"""\
## 7 The file

{len(data)} bytes:

{table(["field", "bytes", ""], rows, "---")}
"""


def back(tile: Tile) -> str:
    """Section 8."""
    return f"""\
## 8 And back

A decoder reads the class, derives the groups, cuts the stream into indices, and computes one candidate for each
group: now it has all latents. It never sees the posterior. The cosines of the latents add up to the field, which
shows the picture with {tile.psnr(tile.field):.2f} dB. The network adds what is missing: {tile.psnr(tile.decoded):.2f}
dB. The decoded green channel:

```
{grid(tile.decoded[..., 1], "4d")}
```
"""


def totals(tile: Tile) -> str:
    """Section 9."""
    error = tile.error(tile.decoded) * SIDE**2
    nats = 8 * len(tile.data) * np.log(2)
    return f"""\
## 9 What it cost

| | |
| --- | ---: |
| squared error, summed over pixels | {error:.3f} |
| divided by β | {error / BETA:.1f} nats |
| {8 * len(tile.data)} bits of file | {nats:.1f} nats |
| J, the sum of both per pixel | {(error / BETA + nats) / SIDE**2:.3f} |

Header and checksum are {8 * 6} of these bits. A larger picture has one header for many tiles, and predicts classes
from neighbours.
"""


def spaced(text: str, bits: int) -> str:
    """Groups of bits with a blank between them."""
    return " ".join(text[i : i + bits] for i in range(0, len(text), bits))


def decimals(numbers: Iterable[float]) -> list[str]:
    """Three of each."""
    return [f"{number:.3f}" for number in numbers]


def name(d: int) -> str:
    """Vertical frequency, horizontal frequency and component of a latent."""
    place, component = divmod(int(d), 3)
    v, h = divmod(place, SIDE)
    return f"({v},{h},{component})"


def corner(values: np.ndarray) -> np.ndarray:
    """Lowest frequencies of the first component: (U,) -> (4, 4)."""
    return values.reshape(SIDE, SIDE, 3)[:CORNER, :CORNER, 0]


def grid(values: np.ndarray, form: str) -> str:
    """Rows of numbers."""
    return "\n".join("".join(f"{value:{form}}" for value in row) for row in values.tolist())


def table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str = "---:") -> str:
    """Markdown; align: of all columns but the first."""
    rule = ["---"] + [align] * (len(head) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))


def drawing(tile: Tile) -> Image.Image:
    """Original, field and decoded tile side by side, enlarged."""
    pictures = (tile.pixels, tile.field, tile.decoded)
    size = ZOOM * SIDE
    sheet = Image.new("RGB", (len(pictures) * (size + GAP) - GAP, size), "white")
    for i, pixels in enumerate(pictures):
        large = Image.fromarray(pixels).resize((size, size), Image.Resampling.NEAREST)
        sheet.paste(large, (i * (size + GAP), 0))
    return sheet


if __name__ == "__main__":
    target = Path(sys.argv[1])
    found = Tile.encoded()
    target.write_text(page(found), encoding="utf-8")
    drawing(found).save(target.parent / "figures" / "tile.png", optimize=True)
