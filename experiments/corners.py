"""`make corners`: pictures with completion (synthesis/completion.py), where tiles of two sizes meet, and without."""

from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import click
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from combiner_codec import decoder
from combiner_codec.bench import quality
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior as priors
from combiner_codec.format.operating_point import OperatingPoint
from combiner_codec.reports import Report

from . import options
from .cuts import centre, required
from .looks import lowest

DOT = 5.0  # levels that a dot differs from the median around it
PLAIN = 3.0  # standard deviation of the original, levels, up to which dots count
AROUND = 9  # pixels along the side of what medians and deviations are of
CROP = 64  # pixels along the side of what is shown
MAGNIFIED = 4


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
    """A line for every photograph; a sheet of crops where dots are: original, without completion, with it."""
    prior = priors.load("photo")
    rows = []
    for picture in required(sources, limit):
        pixels = centre(picture.pixels, side)
        (file,) = encode_arrays([pixels], prior, Settings(beta, "fast", threads=1, tune="iq"))
        after = decoder.decode_array(file.data, prior)
        with mock.patch.object(OperatingPoint, "completes", return_value=False):
            before = decoder.decode_array(file.data, prior)
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
    """Dots where tiles of two sizes meet, and pictures without them."""
    run(**settings, say=click.echo)
