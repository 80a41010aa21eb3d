"""`make texture`: what a decoder would show that draws what is not coded, at several strengths: crops to look at.

A latent without bits has the prior's mean. Photographs have some variance there, which a table for every class could
hold; noise of that variance would be grain. Shapes: K classes, U latents of a tile of n x n cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import click
import numpy as np
from PIL import Image

from combiner_codec import decoder
from combiner_codec.bench.quality import psnr
from combiner_codec.encoder.batch import Batch
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.fit.analysis import decompose
from combiner_codec.encoder.fit.posterior import shared_weights
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior as priors
from combiner_codec.format.prior import OperatingPoint, Prior
from combiner_codec.format.streams import kl_table
from combiner_codec.reports import Report
from combiner_codec.synthesis.fields import blocks_from, tiles_of
from combiner_codec.synthesis.network import Network
from combiner_codec.synthesis.numpy_ops import NumpyOps

from . import options
from .cuts import centre, required

LEARNED_FROM = 384  # pixels along the side of crops that tell variances
SEEN = 8  # tiles of a class from which its variances are believed
DRAWN = 1  # seed of what is drawn
MAGNIFIED = 2
SHEET_QUALITY = 88  # of JPEG


@dataclass
class Grain:
    """What would be drawn. Cells of merged tiles are told apart: four rows and columns of cells, two by two."""

    point: OperatingPoint
    deviation: np.ndarray  # (K, 2, 2, U) of what is not coded
    share: float  # of all variance that is not coded
    strength: float = 0.0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(DRAWN))

    @staticmethod
    def of(prior: Prior, number: int, photographs: Sequence[np.ndarray]) -> "Grain":
        """As photographs have it at an operating point."""
        point = prior.operating_point(number)
        latents = prior.architecture.tile**2 * 3
        squares = np.zeros((point.classes, 2, 2, latents))
        count = np.zeros((point.classes, 2, 2, 1))
        for pixels in photographs:
            batch = Batch(prior, Settings(point=number, threads=1), [pixels])
            classes = batch.classes(number, [0])
            found = decompose(prior.architecture, shared_weights(point), batch.stack, classes >= point.single)
            place = places(classes, point)
            np.add.at(squares, place, (found.numpy() - point.mean) ** 2)
            np.add.at(count, place, 1)
        variance = np.where(count < SEEN, 0, squares / np.maximum(count, 1))
        uncoded = variance * (costs(point, latents) == 0)
        return Grain(point, np.sqrt(uncoded).astype(np.float32), float(uncoded.sum() / variance.sum()))

    def added(self, network: Network, latents: np.ndarray) -> np.ndarray:
        """Latents of blocks with noise in those that are not coded: (P, Rb, Cb, D), the same."""
        if not self.strength:
            return latents
        architecture = network.architecture
        tiles = tiles_of(architecture, latents)
        classes = np.zeros(tiles.shape[:3], np.int64)
        rows, columns = network.classes.shape[1:]
        classes[:, :rows, :columns] = network.classes
        noise = self.deviation[places(classes, self.point)] * self.rng.standard_normal(tiles.shape)
        drawn = tiles + self.strength * noise
        return blocks_from(architecture, drawn.astype(latents.dtype), NumpyOps)


def places(classes: np.ndarray, point: OperatingPoint) -> tuple[np.ndarray, ...]:
    """Class, and row and column within a merged tile, of every tile: (P, Rt, Ct) each."""
    _, row, column = np.indices(classes.shape)
    merged = classes >= point.single
    return classes, row % 2 * merged, column % 2 * merged


def costs(point: OperatingPoint, latents: int) -> np.ndarray:
    """What latents cost in each class, in 1/256 bit: (K, 2, 2, U)."""
    single = np.broadcast_to(point.kl_index[:, None, None], (point.single, 2, 2, latents))
    return kl_table()[np.concatenate([single, point.merged.reshape(-1, 2, 2, latents)])]


def run(train: Path, sources: Sequence[Path], out: Path, strengths: Sequence[float], number: int, side: int,
        limit: int | None, say: Report) -> None:  # fmt: skip
    """Sheets of a crop of every photograph: the original, and the file at each strength."""
    prior = priors.load("photo")
    photographs = [centre(picture.pixels, LEARNED_FROM) for picture in required([train], 24)]
    grain = Grain.of(prior, number, photographs)
    say(f"{grain.share:.1%} of the variance is not coded")
    down = Network.down
    beta = prior.betas[number]
    rows = []
    for picture in required(sources, limit):
        pixels = centre(picture.pixels, side)
        settings = Settings(beta, "fast", point=number, threads=1, tune="iq")
        (file,) = encode_arrays([pixels], prior, settings)
        shown = [pixels]
        for grain.strength in strengths:

            def grainy(self, latents, each=map):
                return down(self, grain.added(self, latents), each)

            with mock.patch.object(Network, "down", grainy):
                shown.append(decoder.decode_array(file.data, prior))
        rows.append(np.concatenate(shown, 1))
        levels = ", ".join(f"{psnr(pixels, other):.2f}" for other in shown[1:])
        say(f"{picture.name}: {len(file.data)} bytes, {levels} dB at strengths {', '.join(map(str, strengths))}")
    sheet = np.concatenate(rows).repeat(MAGNIFIED, 0).repeat(MAGNIFIED, 1)
    path = out / "texture.jpg"
    Image.fromarray(sheet).save(path, quality=SHEET_QUALITY)
    say(f"{path} written")


@click.command("texture")
@options.sources
@options.out()
@click.option("--train", type=options.FOLDER, required=True, help="Photographs that tell what is not coded.")
@click.option("--strengths", type=options.NUMBERS, default=(0.0, 0.4, 0.8), show_default=True)
@click.option("--point", "number", type=click.IntRange(0), default=2, show_default=True, help="Operating point.")
@click.option("--side", type=click.IntRange(64), default=192, show_default=True, help="Of centre crops, pixels.")
@options.limit
def command(**settings):
    """Grain that a decoder might draw: crops to look at."""
    run(**settings, say=click.echo)
