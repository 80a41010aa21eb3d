"""`make regions`: what mixed pictures would gain if every region had a kind of its own.

Regions are 64x64 pixels. A network's J of one is its error there and the bits of its streams; what has few colours or
none left out is coded region by region, and its bytes are scaled so that all regions together are as large as the
whole file. Both the best kind for the whole picture and the best for every region come from these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image

from combiner_codec.bench import report
from combiner_codec.encoder import exact
from combiner_codec.encoder.encoded import Encoded
from combiner_codec.encoder.kinds import encode_pictures
from combiner_codec.encoder.palettes import Palettes
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior as priors
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
    for name, image in pictures(drawings.photographs_of(photos)).items():
        for beta in betas:
            found = measured(np.asarray(image), beta)
            best = min(found.network, found.without)
            rows.append([name, f"{beta:g}", f"{found.network / found.by_region:.2f}",
                         f"{found.without / found.by_region:.2f}", f"{best / found.by_region:.2f}",
                         f"{found.of_network} of {found.regions}"])  # fmt: skip
            say(" | ".join(rows[-1]))
    losing = sum(float(row[4]) > 1 / (1 - LOSS) for row in rows)
    head = ["picture", "β", "network", "few colours or exact", "the better", "regions by network"]
    lines = [
        *report.table(head, rows),
        "",
        f"One kind for the whole loses more than {LOSS:.0%} in {losing} of {len(rows)} cases.",
    ]
    pages.put(out, "regions", lines)


def measured(picture: np.ndarray, beta: float) -> Mixed:
    """J of an opaque picture in colour, (H, W, 3)."""
    prior = priors.default(picture.shape[1], picture.shape[0])
    (network,) = encode_pictures([picture], prior, Settings(beta, "fast", threads=1, kind="inr"))
    of_network = network_costs(picture, network, beta)
    whole = exact.encoded(picture)
    fewer = Palettes(picture).cheapest(beta, whole.lagrangian(picture, beta)) or whole
    without = whole_costs(picture, fewer, beta)
    return Mixed(
        network.lagrangian(picture, beta),
        fewer.lagrangian(picture, beta),
        float(np.minimum(of_network, without).sum()) + beta * np.log(2) * without.size,  # a bit each says which
        without.size,
        int((of_network < without).sum()),
    )


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
@click.option("--betas", type=options.NUMBERS, default=(0.005, 0.001), show_default=True)
def command(**settings):
    """What regions of their own kind would gain."""
    run(**settings, say=click.echo)
