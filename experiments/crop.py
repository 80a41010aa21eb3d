"""`make bench-crop`: a crop of one picture as combiner, WebP and JPEG show it at the same file size."""

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from combiner_codec.bench import codecs
from combiner_codec.bench.codecs import Codec, CombinerCodec, PillowCodec
from combiner_codec.inspect.drawing import pyplot, to_bytes
from combiner_codec.picture.image import psnr

from . import options
from .cuts import required

QUALITIES = range(1, 60)  # tried
OTHERS = {"webp": "WebP", "jpeg": "JPEG"}


@dataclass(frozen=True)
class Shown:
    """What one codec makes of the picture."""

    name: str
    pixels: np.ndarray  # (H, W, 3) uint8
    about: str  # bytes, bpp, dB; empty for the original


def run(path: Path, out: Path, beta: float, box: tuple[int, int, int, int], effort: str, threads: int) -> str:
    """Write a picture of four crops, box (left, top, right, bottom); returns a line about them."""
    (picture,) = required([path])
    pixels, ours = picture.pixels, CombinerCodec(effort=effort)
    data = ours.encode([pixels], beta, threads)[0].data
    decoded = [shown("combiner", ours, data, pixels)]
    for codec in codecs.others(list(OTHERS))[0]:
        decoded.append(shown(OTHERS[codec.name], codec, nearest(codec, pixels, len(data)), pixels))
    draw(out, [Shown("original", pixels, ""), *decoded], box)
    return "; ".join(f"{one.name} {one.about}" for one in decoded)


def nearest(codec: PillowCodec, pixels: np.ndarray, size: int) -> bytes:
    """The file of one codec whose size is nearest to `size` bytes; its smallest where none is that small."""
    files = [codec.encode([pixels], quality)[0].data for quality in QUALITIES]
    return min(files, key=lambda data: abs(len(data) - size))


def shown(name: str, codec: Codec, data: bytes, original: np.ndarray) -> Shown:
    """A file, decoded and measured."""
    pixels = codec.decode(data)
    bpp = 8 * len(data) / original[..., 0].size
    return Shown(name, pixels, f"{len(data)} bytes, {bpp:.3f} bpp, {psnr(original, pixels):.2f} dB")


def draw(out: Path, columns: list[Shown], box: tuple[int, int, int, int]) -> None:
    """Crops side by side."""
    left, top, right, bottom = box
    figure, axes = pyplot().subplots(1, len(columns), figsize=(3 * len(columns), 3.6), layout="constrained")
    for axis, one in zip(axes, columns, strict=True):
        axis.imshow(one.pixels[top:bottom, left:right], interpolation="nearest")
        axis.set_title(f"{one.name}\n{one.about}", fontsize=9)
        axis.axis("off")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(to_bytes(figure, out.suffix))


@click.command("crop")
@click.argument("picture", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.out("docs/results/crop.png")
@click.option("--beta", type=float, required=True)
@click.option("--box", nargs=4, type=int, required=True, metavar="LEFT TOP RIGHT BOTTOM")
@options.effort("normal")
@options.threads
def command(picture, out, beta, box, effort, threads):
    """A crop of PICTURE beside WebP and JPEG at the same file size."""
    click.echo(run(picture, out, beta, box, effort, threads))
