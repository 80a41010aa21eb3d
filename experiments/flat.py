"""`make flat`: errors where a photograph is smooth, such as its sky, ours beside AVIF's at equal bytes.

A flat pixel is one around which the original hardly changes. The error there is split by smoothness: what a Gaussian of
2 pixels takes away is fine, what one of 6 pixels leaves is broad, and what lies between is what people call blotches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import click
import numpy as np

from combiner_codec.bench import codecs, report
from combiner_codec.bench.codecs import Codec, CombinerCodec, PillowCodec
from combiner_codec.bench.pictures import Picture
from combiner_codec.bench.quality import psnr
from combiner_codec.encoder.choose.picture_costs import PictureCosts
from combiner_codec.reports import Report

from . import options, pages
from .cuts import centre, required

AROUND = 8.0  # deviation in pixels of the Gaussian that tells what is flat
FLAT = 2.0  # most standard deviation around a flat pixel, in levels of 255
FEWEST = 0.02  # share of flat pixels below which a picture says nothing
FINE = 2.0  # deviations in pixels between fine, middle and broad errors
BROAD = 6.0
YCBCR = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
QUALITIES = (0, 100)  # of Pillow's codecs
HEADER = ("what", "dB", "luma fine", "middle", "broad", "chroma fine", "middle", "broad", "**smooth**")


@dataclass(frozen=True)
class Shown:
    """A picture as a codec shows it."""

    size: int  # bytes
    pixels: np.ndarray  # (H, W, 3) uint8


def at_size(codec: PillowCodec, pixels: np.ndarray, size: int) -> Shown:
    """The largest file of a codec that is no larger than `size`, by bisection over quality."""
    low, high = QUALITIES
    found = codec.encode([pixels], low, 1)[0].data
    while high - low > 1:
        middle = (low + high) // 2
        data = codec.encode([pixels], middle, 1)[0].data
        if len(data) <= size:
            low = middle
            found = data
        else:
            high = middle
    return Shown(len(found), codec.decode(found, 1))


def variance_around(original: np.ndarray) -> np.ndarray:
    """Variance of luma around every pixel of a picture (H, W, 3), in squared levels: (H, W)."""
    from scipy.ndimage import gaussian_filter

    luma = original.astype(np.float64) @ YCBCR[0]
    mean = gaussian_filter(luma, AROUND)
    return gaussian_filter(luma**2, AROUND) - mean**2


def flat_pixels(original: np.ndarray) -> np.ndarray:
    """Where a picture (H, W, 3) is smooth: (H, W) bool."""
    return variance_around(original) < FLAT**2


def spectrum(original: np.ndarray, shown: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Standard deviations of the error at some pixels, in levels of 255: (luma and chroma; fine, middle, broad).

    Chroma: the root of the mean of both components' variances.
    """
    from scipy.ndimage import gaussian_filter

    error = (shown.astype(np.float64) - original) @ YCBCR.T
    smooth = gaussian_filter(error, (FINE, FINE, 0))
    broad = gaussian_filter(error, (BROAD, BROAD, 0))
    parts = [error - smooth, smooth - broad, broad]
    variances = np.array([[part[where][:, i].var() for part in parts] for i in range(3)])
    chroma = variances[1:].mean(0)
    return np.sqrt(np.stack([variances[0], chroma]))


def run(sources: Sequence[Path], beta: float, side: int, effort: str, say: Report) -> list[str]:
    """Lines of a table, means over the pictures that have something flat."""
    pictures = [Picture(p.name, centre(p.pixels, side)) for p in required(sources)]
    flat = [(picture, flat_pixels(picture.pixels)) for picture in pictures]
    flat = [(picture, where) for picture, where in flat if where.mean() >= FEWEST]
    rows: dict[str, list[np.ndarray]] = {}
    decibels: dict[str, list[float]] = {}
    for picture, where in flat:
        for name, shown in versions(picture.pixels, beta, effort):
            error = spectrum(picture.pixels, shown.pixels, where)
            rows.setdefault(name, []).append(error)
            decibels.setdefault(name, []).append(psnr(picture.pixels, shown.pixels))
            say(f"{picture.name} {name}: {shown.size} bytes, {np.round(error, 2).tolist()}")
    lines = []
    for name, errors in rows.items():
        mean = np.mean(errors, 0)
        smooth = np.sqrt((mean[:, 1:] ** 2).sum())
        cells = [pages.cell(value) for value in (*mean.ravel(), smooth)]
        lines.append([name, pages.cell(float(np.mean(decibels[name]))), *cells])
    return [f"{len(flat)} pictures, beta {beta:g}.", "", *report.table(HEADER, lines)]


def versions(pixels: np.ndarray, beta: float, effort: str) -> list[tuple[str, Shown]]:
    """What is compared, ours first; AVIF at our size."""
    ours = shown_by(CombinerCodec(effort=effort), pixels, beta)
    found = [("ours", ours)]
    with mock.patch.object(PictureCosts, "mergeable", unmergeable):
        found.append(("ours, no merged tiles", shown_by(CombinerCodec(effort=effort), pixels, beta)))
    for name in ("avif", "avif-default"):
        if codecs.OTHERS[name].library():
            found.append((codecs.OTHERS[name].name, at_size(codecs.OTHERS[name], pixels, ours.size)))
    return found


def shown_by(codec: Codec, pixels: np.ndarray, setting: float) -> Shown:
    """A file of a codec, decoded."""
    data = codec.encode([pixels], setting, 1)[0].data
    return Shown(len(data), codec.decode(data, 1))


def unmergeable(costs: PictureCosts) -> np.ndarray:
    """No tile merged."""
    return np.zeros(costs.shape, bool)


@click.command("flat")
@options.sources
@click.option("--beta", type=float, default=0.012, show_default=True)
@click.option("--side", type=int, default=384, show_default=True, help="Of the centre crop, pixels.")
@options.effort("fast")
def command(sources, beta, side, effort):
    """Errors in flat regions of photographs, ours beside AVIF's at equal bytes, on standard output."""

    def say(line):
        click.echo(line, err=True)

    for line in run(sources, beta, side, effort, say):
        click.echo(line)
