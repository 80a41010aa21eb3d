"""`make coarser`: J of graphics with a palette, with a dithered one and near-lossless, as multiples of J without loss.

Near-lossless is what libwebp does before it codes: a pixel whose neighbours above, below, left and right are not all
near to it is rounded to a multiple of a power of two, from the coarsest power down. Pillow has no option for it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np
from PIL import Image

from combiner_codec.bench import report
from combiner_codec.encoder import exact
from combiner_codec.encoder.encoded import Encoded
from combiner_codec.encoder.palettes import SIZES, Palettes
from combiner_codec.reports import Report

from . import drawings, options, pages
from .drawings import KINDS

LEVELS = range(1, 6)  # bits that near-lossless rounds away, as libwebp has them
WAYS = ("palette", "Pillow's palette", "dithered", "near-lossless")


def run(photos: Path, out: Path, betas: Sequence[float], say: Report) -> None:
    """A table into lab.md: geometric means of opaque pictures of every kind."""
    photographs = drawings.photographs_of(photos)
    rows = []
    for kind in KINDS:
        ratios: dict[tuple[float, str], list[float]] = {}
        for drawing in drawings.drawings(photographs, [kind]):
            if drawing.pixels.shape[2:] not in ((), (3,)):
                continue
            for key, ratio in measured(drawing.pixels, betas).items():
                ratios.setdefault(key, []).append(ratio)
        for beta in betas:
            found = [ratios[beta, way] for way in WAYS if (beta, way) in ratios]
            if found:
                rows.append([kind, f"{beta:g}", *(f"{np.exp(np.mean(np.log(of_way))):.2f}" for of_way in found)])
                say(" | ".join(rows[-1]))
    pages.put(out, "coarser", report.table(["kind", "β", *WAYS], rows))


def measured(picture: np.ndarray, betas: Sequence[float]) -> dict[tuple[float, str], float]:
    """The best J of each way by beta, over J without loss; 1 where no coarser file is better."""
    whole = exact.encoded(picture)
    files = {"palette": list(weighed(picture)), "near-lossless": [near_lossless(picture, bits) for bits in LEVELS]}
    files["Pillow's palette"], files["dithered"] = quantised(picture)
    found = {}
    for beta in betas:
        without = whole.lagrangian(picture, beta)
        for way in WAYS:
            best = min((file.lagrangian(picture, beta) for file in files[way]), default=without)
            found[beta, way] = min(best / without, 1)
    return found


def weighed(picture: np.ndarray) -> Iterator[Encoded]:
    """Our palettes of all sizes."""
    fewer = Palettes(picture)
    for size in fewer.sizes:
        yield fewer.file(size)


def quantised(picture: np.ndarray) -> tuple[list[Encoded], list[Encoded]]:
    """Pillow's palettes of all sizes by median cut and k-means, plain and dithered."""
    image = Image.fromarray(picture).convert("RGB")
    files: tuple[list[Encoded], list[Encoded]] = [], []
    for size in SIZES:
        plain = image.quantize(size, Image.Quantize.MEDIANCUT, kmeans=1)
        dithered = image.quantize(palette=plain, dither=Image.Dither.FLOYDSTEINBERG)
        for shown, of_way in zip((plain, dithered), files, strict=True):
            pixels = np.asarray(shown.convert("RGB"))
            of_way.append(exact.encoded(picture, pixels if picture.ndim == 3 else np.ascontiguousarray(pixels[..., 0])))
    return files


def near_lossless(picture: np.ndarray, bits: int) -> Encoded:
    """With up to so many bits rounded away."""
    shown = picture.astype(np.int32)
    for fewer in range(bits, 0, -1):
        step = 1 << fewer
        rounded = (shown + step // 2 - 1 + (shown >> fewer & 1)) >> fewer << fewer
        keep = smooth(shown, step)
        if picture.ndim == 3:
            keep = keep[..., None]
        shown = np.where(keep, shown, np.minimum(rounded, 255))
    return exact.encoded(picture, shown.astype(np.uint8))


def smooth(shown: np.ndarray, step: int) -> np.ndarray:
    """Where all four neighbours are within a step in all channels, and the edges: (H, W) bool."""
    channels = shown if shown.ndim == 3 else shown[..., None]
    middle = channels[1:-1, 1:-1]
    around = (channels[:-2, 1:-1], channels[2:, 1:-1], channels[1:-1, :-2], channels[1:-1, 2:])
    found = np.ones(shown.shape[:2], bool)
    found[1:-1, 1:-1] = np.all([(abs(middle - other) < step).all(2) for other in around], 0)
    return found


@click.command("coarser")
@click.option("--photos", type=options.FOLDER, required=True, help="Photographs that are in some pictures.")
@options.out("docs/lab.md")
@click.option("--betas", type=options.NUMBERS, default=(0.01, 0.003, 0.0005), show_default=True)
def command(**settings):
    """Palettes, dither and near-lossless."""
    run(**settings, say=click.echo)
