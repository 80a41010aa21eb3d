"""`make corners`: what a decoder would show that completes latents without bits where tiles of two sizes meet.

There basis functions jump, so a smooth picture needs fine frequencies, which have no bits: dots stay, at multiples of
32 pixels. The shown picture, made smooth, needs about the same frequencies. So every latent that is 0 gets its value
there: that of S y, with y the field of what the file holds and S a Gaussian.
"""

from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import click
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from combiner_codec import decoder
from combiner_codec.bench import quality
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior as priors
from combiner_codec.reports import Report
from combiner_codec.synthesis.fields import blocks_from, tiles_of
from combiner_codec.synthesis.lapped import analyse
from combiner_codec.synthesis.network import Network
from combiner_codec.synthesis.numpy_ops import NumpyOps

from . import options
from .cuts import centre, required
from .looks import lowest

SMOOTH = 3.0  # standard deviation of the Gaussian, pixels
DOT = 5.0  # levels that a dot differs from the median around it
PLAIN = 3.0  # standard deviation of the original, levels, up to which dots count
AROUND = 9  # pixels along the side of what medians and deviations are of
CROP = 64  # pixels along the side of what is shown
MAGNIFIED = 4

down = Network.down


def completed(network: Network, latents: np.ndarray):
    """Half a field, as `Network.down`, of latents of which those without bits are completed: (1, Rb, Cb, D)."""
    architecture = network.architecture
    pixels, borders = down(network, latents)
    field = borders.mixed(pixels, 3, NumpyOps)
    of_smooth = analyse(smooth(field), network.merged, architecture.tile, NumpyOps)
    tiles = tiles_of(architecture, latents)[:, : of_smooth.shape[1], : of_smooth.shape[2]]
    found = of_smooth.reshape(tiles.shape).astype(latents.dtype)
    whole = np.where(tiles == 0, found, tiles)
    return down(network, blocks_from(architecture, whole, NumpyOps))


def smooth(field: np.ndarray) -> np.ndarray:
    """A field under a Gaussian, mirrored at the ends: (P, H, 3, W)."""
    for axis in (1, 3):
        field = gaussian_filter1d(field, SMOOTH, axis, truncate=3.0)
    return field


def dots(original: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Pixels that stick out where the original is plain: (H, W, 3) twice -> (H, W) bool."""
    plain = windows(original).std((2, 3)) < PLAIN
    off = shown.mean(2) - np.median(windows(shown), (2, 3))
    return plain & (np.abs(off) > DOT)


def windows(picture: np.ndarray) -> np.ndarray:
    """Lightness around every pixel: (H, W, 3) -> (H, W, AROUND, AROUND)."""
    padded = np.pad(picture.mean(2), AROUND // 2, mode="edge")
    return sliding_window_view(padded, (AROUND, AROUND))


def run(sources: Sequence[Path], out: Path, beta: float, side: int, limit: int | None, say: Report) -> None:
    """A line for every photograph; a sheet of crops where dots are: original, as it is, completed."""
    prior = priors.load("photo")
    rows = []
    for picture in required(sources, limit):
        pixels = centre(picture.pixels, side)
        (file,) = encode_arrays([pixels], prior, Settings(beta, "fast", threads=1, tune="iq"))
        before = decoder.decode_array(file.data, prior)
        with mock.patch.object(Network, "down", completed):
            after = decoder.decode_array(file.data, prior)
        shown = before, after
        found = [dots(pixels, one) for one in shown]
        levels = " -> ".join(f"{quality.psnr(pixels, one):.3f}" for one in shown)
        eye = " -> ".join(f"{quality.EYE['ssimulacra2'].measure(pixels, one):.2f}" for one in shown)
        counted = " -> ".join(str(int(one.sum())) for one in found)
        say(f"{picture.name}: {len(file.data)} bytes, {levels} dB, SSIMULACRA 2 {eye}, dots {counted}")
        if found[0].any():
            row, column = lowest(-found[0].astype(float), CROP)
            place = slice(row, row + CROP), slice(column, column + CROP)
            rows.append(np.concatenate([one[place] for one in (pixels, *shown)], 1))
    if rows:
        sheet = np.concatenate(rows).repeat(MAGNIFIED, 0).repeat(MAGNIFIED, 1)
        path = out / "corners.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sheet).save(path)
        say(f"{path} written")


@click.command("corners")
@options.sources
@options.out("build/corners")
@click.option("--beta", type=float, default=0.0085, show_default=True)
@click.option("--side", type=click.IntRange(64), default=384, show_default=True, help="Of centre crops, pixels.")
@options.limit
def command(**settings):
    """Dots where tiles of two sizes meet, and without them."""
    run(**settings, say=click.echo)
