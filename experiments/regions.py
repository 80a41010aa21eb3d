"""`make regions`: what mixed pictures would gain if every region had a kind of its own.

Regions are 64x64 pixels. A network's J of one is its error there and the bits of its streams; what has few colours or
none left out is coded region by region, and its bytes are scaled so that all regions together are as large as the
whole file. Both the best kind for the whole picture and the best for every region come from these.
What the encoder makes of the picture, with a layer where it takes one, stands beside.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from PIL import Image

from combiner_codec.bench import report
from combiner_codec.decoder import parse
from combiner_codec.encoder import exact
from combiner_codec.encoder.encoded import Encoded
from combiner_codec.encoder.kinds import encode_pictures
from combiner_codec.encoder.palettes import Palettes
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior as priors
from combiner_codec.format.plane import InrPlane
from combiner_codec.format.prior import Prior
from combiner_codec.reports import Report

from . import drawings, options, pages
from .drawings import browser, captions

SIDE = 64  # pixels of a region
LOSS = 0.1  # share of J that decides


@dataclass(frozen=True)
class Mixed:
    """J of one picture."""

    network: float
    without: float  # exact, or of few colours: the better
    by_region: float
    stored: float  # as the encoder does it: with a layer where that is best
    layer: bool  # whether it has one
    regions: int
    of_network: int  # regions that are better by the network


def pictures(photographs: Sequence[Image.Image]) -> dict[str, Image.Image]:
    """Pages with photographs of several sizes, and photographs with captions."""
    rng = np.random.default_rng(9)
    found = {}
    for width in (90, 180, 300):
        found[f"article, {width}"] = browser.rendered(browser.article(rng, photographs[0], width))
    found["shop"] = browser.rendered(browser.shop(rng, photographs[:6]))
    return found | captions.pictures(photographs)


def run(photos: Path, out: Path, betas: Sequence[float], say: Report) -> None:
    """A table into lab.md."""
    rows = []
    cases = []
    for name, image in pictures(drawings.photographs_of(photos)).items():
        for beta in betas:
            found = measured(np.asarray(image), beta)
            cases.append(found)
            ratios = [cost / found.by_region for cost in (found.network, found.without, found.stored)]
            cells = [f"{ratio:.2f}" for ratio in ratios]
            rows.append([name, f"{beta:g}", *cells, "yes" if found.layer else "",
                         f"{found.of_network} of {found.regions}"])  # fmt: skip
            say(" | ".join(rows[-1]))
    head = ["picture", "β", "network", "few colours or exact", "as stored", "layer", "regions by network"]
    before = [min(found.network, found.without) / found.by_region for found in cases]
    now = [found.stored / found.by_region for found in cases]
    change = mean_of_ratios(now, before)
    lines = [
        *report.table(head, rows),
        "",
        f"One kind for the whole loses more than {LOSS:.0%} in {losing(before)} of {len(rows)} cases, with layers",
        f"{losing(now)} do. J as stored over the better of both kinds: {change:.2f}, the geometric mean.",
    ]
    pages.put(out, "regions", lines)


def losing(ratios: Sequence[float]) -> int:
    """How many lose more than LOSS of J."""
    return sum(ratio > 1 / (1 - LOSS) for ratio in ratios)


def mean_of_ratios(these: Sequence[float], others: Sequence[float]) -> float:
    """Geometric mean of pairs' ratios."""
    return statistics.geometric_mean(a / b for a, b in zip(these, others, strict=True))


def measured(picture: np.ndarray, beta: float) -> Mixed:
    """J of an opaque picture in colour, (H, W, 3)."""
    prior = priors.default(picture.shape[1], picture.shape[0])
    settings = Settings(beta, "fast", threads=1)
    (stored,) = encode_pictures([picture], prior, settings)
    if isinstance(stored.plane, InrPlane) and not has_layer(stored, prior):
        network = stored
    else:
        (network,) = encode_pictures([picture], prior, replace(settings, kind="inr"))
    of_network = network_costs(picture, network, beta)
    whole = exact.encoded(picture)
    fewer = Palettes(picture).cheapest(beta, whole.lagrangian(picture, beta)) or whole
    without = whole_costs(picture, fewer, beta)
    return Mixed(
        network.lagrangian(picture, beta),
        fewer.lagrangian(picture, beta),
        float(np.minimum(of_network, without).sum()) + beta * np.log(2) * without.size,  # a bit each says which
        stored.lagrangian(picture, beta),
        has_layer(stored, prior),
        without.size,
        int((of_network < without).sum()),
    )


def has_layer(file: Encoded, prior: Prior) -> bool:
    """Whether a file has a layer."""
    return parse(file.data, prior).layer is not None


def network_costs(picture: np.ndarray, network: Encoded, beta: float) -> np.ndarray:
    """J of each region: (rows, columns). The header and what all share are shared out evenly."""
    plane = network.plane
    rows, columns = plane.grid
    per_region = SIDE // plane.architecture.block
    bits = plane.blocks.lengths.reshape(rows, columns).astype(np.float64)
    bits += (8 * len(network.data) - bits.sum()) / bits.size
    down = -rows % per_region
    right = -columns % per_region
    bits = np.pad(bits, ((0, down), (0, right)))
    shape = bits.shape[0] // per_region, per_region, bits.shape[1] // per_region, per_region
    return errors(picture, network.pixels) + beta * np.log(2) * bits.reshape(shape).sum((1, 3))


def whole_costs(picture: np.ndarray, file: Encoded, beta: float) -> np.ndarray:
    """J of each region of a file without a network."""
    sizes = []
    for row in regions(file.pixels):
        sizes.append([len(exact.encoded(region).data) for region in row])
    bits = 8.0 * np.array(sizes)
    bits *= 8 * len(file.data) / bits.sum()
    return errors(picture, file.pixels) + beta * np.log(2) * bits


def errors(picture: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Squared error of each region, averaged over channels."""
    squares = ((picture.astype(np.float64) - shown) ** 2).sum(2) / 255**2 / 3
    return np.array([[region.sum() for region in row] for row in regions(squares)])


def regions(pixels: np.ndarray) -> list[list[np.ndarray]]:
    """Squares of SIDE pixels, smaller at the ends."""
    height, width = pixels.shape[:2]
    found = []
    for top in range(0, height, SIDE):
        row = pixels[top : top + SIDE]
        found.append([np.ascontiguousarray(row[:, left : left + SIDE]) for left in range(0, width, SIDE)])
    return found


@click.command("regions")
@click.option("--photos", type=options.FOLDER, required=True, help="Photographs that are in the pictures.")
@options.out("docs/lab.md")
@click.option("--betas", type=options.NUMBERS, default=(0.003,), show_default=True)
def command(**settings):
    """What regions of their own kind would gain."""
    run(**settings, say=click.echo)
