"""`make bench-thumbnails`: small pictures at a few hundred bytes, where headers weigh.

Photographs are cut to their centre square and scaled down. Every codec is given a number of bytes and makes the best
file it can that is not larger; formats whose smallest file is larger are left out of that column. Placeholders are
BlurHash, a string, here of as many components as the bytes allow, and ThumbHash, about 25 bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np

from combiner_codec.bench import codecs, report
from combiner_codec.bench.codecs import WEBP_METHOD, PillowCodec
from combiner_codec.bench.measure import machine
from combiner_codec.bench.quality import ssim
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.goal import Goal
from combiner_codec.encoder.settings import Settings
from combiner_codec.errors import CombinerError
from combiner_codec.format import prior as priors
from combiner_codec.inspect.drawing import pyplot
from combiner_codec.picture.image import psnr
from combiner_codec.reports import Report

from . import options, pages
from .cuts import required, thumbnail

SIDES = (32, 48, 64, 96)
BUDGETS = (60, 100, 200, 400)
SHOWN = (64, 200)  # side and bytes of the picture
QUALITIES = (*range(0, 20, 2), *range(20, 100, 5))
MOST = 9  # BlurHash components along a side
OURS = "combiner"
NAMES = {"webp": "WebP", "avif": "AVIF", "jxl": "JPEG XL", "jpeg": "JPEG"}
SAVED = 240  # bytes that AVIF's coming minimal header saves, about: the boxes of a file less its coded picture
MINIMAL = f"AVIF less {SAVED} bytes"


@dataclass(frozen=True)
class File:
    """A picture as some codec stores it."""

    size: int  # bytes
    pixels: np.ndarray  # decoded: (H, W, 3) uint8
    psnr: float  # dB
    ssim: float = 0.0


def decoded(size: int, picture: np.ndarray, pixels: np.ndarray) -> File:
    """A file of so many bytes that shows these pixels of a picture."""
    return File(size, pixels, psnr(picture, pixels), ssim(picture, pixels))


@dataclass(frozen=True)
class Ladder:
    """An encoder with its settings."""

    settings: Sequence
    encode: Callable[[np.ndarray, object], File]

    def files(self, picture: np.ndarray) -> list[File]:
        """One for each setting."""
        return [self.encode(picture, setting) for setting in self.settings]


def run(sources: Sequence[Path], out: Path, effort: str, limit: int | None, threads: int, say: Report) -> None:
    """Write thumbnails.md and thumbnails.png."""
    photographs = required(sources, limit)
    encoders, missing = others()
    for line in missing:
        say(line)
    rows, settings = [], Settings(effort=effort, threads=threads)
    for side in SIDES:
        pictures = [thumbnail(photograph.pixels, side) for photograph in photographs]
        found = {OURS: combiner(pictures, settings)}
        found |= {name: [ladder.files(picture) for picture in pictures] for name, ladder in encoders.items()}
        if "AVIF" in found:
            found[MINIMAL] = [[replace(file, size=file.size - SAVED) for file in own] for own in found["AVIF"]]
        rows += [row(f"{side}×{side}", name, files) for name, files in found.items()]
        say("\n".join(" ".join(cells) for cells in rows[-len(found) :]))
        if side == SHOWN[0]:
            draw(out / "thumbnails.png", {"original": [[File(0, picture, 0.0)] for picture in pictures], **found})
    write(out, len(photographs), effort, rows, missing)


def combiner(pictures: Sequence[np.ndarray], settings: Settings) -> list[list[File]]:
    """Files of every budget that can be met, for each picture."""
    height, width = pictures[0].shape[:2]
    files: list[list[File]] = [[] for _ in pictures]
    for budget in BUDGETS:
        results = encode_arrays(pictures, priors.default(width, height), settings, Goal(size=budget))
        for picture, own, result in zip(pictures, files, results, strict=True):
            if not isinstance(result, CombinerError):  # which stands for a picture that cannot be so small
                own.append(decoded(len(result.data), picture, result.pixels))
    return files


def others() -> tuple[dict[str, Ladder], list[str]]:
    """Other codecs, and a line about each that is missing."""
    found, missing = codecs.others(list(NAMES))
    encoders = {NAMES[codec.format.lower()]: Ladder(QUALITIES, still(codec)) for codec in found}
    if find_spec("blurhash"):
        components = [(x, y) for x in range(1, MOST + 1) for y in (x - 1, x) if y]
        encoders["BlurHash"] = Ladder(components, blurhash_of)
    else:
        missing.append("BlurHash: not installed, left out (pip install blurhash)")
    if find_spec("thumbhash"):
        encoders["ThumbHash"] = Ladder([None], thumbhash_of)
    else:
        missing.append("ThumbHash: not installed, left out (make bench-thumbnails installs it)")
    return encoders, missing


def still(codec: PillowCodec) -> Callable[[np.ndarray, float], File]:
    """A format of Pillow; AVIF with the smaller of 4:4:4 and 4:2:0."""
    if codec.format == "AVIF":
        plain = codec.options
        codec = replace(codec, options=lambda q: [o | {"subsampling": s} for o in plain(q) for s in ("4:4:4", "4:2:0")])

    def encode(picture, quality):
        data = codec.encode([picture], quality)[0].data
        return decoded(len(data), picture, codec.decode(data))

    return encode


def blurhash_of(picture: np.ndarray, components: tuple[int, int]) -> File:
    """BlurHash: a string of 4 + 2 x y characters."""
    import blurhash

    text = blurhash.encode(picture.tolist(), *components)
    pixels = np.array(blurhash.decode(text, picture.shape[1], picture.shape[0])).clip(0, 255).astype(np.uint8)
    return decoded(len(text), picture, pixels)


def thumbhash_of(picture: np.ndarray, _) -> File:
    """ThumbHash, shown at the picture's size: its decoder makes 32 pixels along the longer side."""
    from PIL import Image
    from thumbhash.decode import thumbhash_to_image
    from thumbhash.encode import rgba_to_thumbhash

    height, width = picture.shape[:2]
    opaque = np.dstack([picture, np.full((height, width), 255, np.uint8)])
    data = rgba_to_thumbhash(width, height, opaque.reshape(-1).tolist())
    shown = thumbhash_to_image(data).convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    return decoded(len(data), picture, np.array(shown))


def within(files: Sequence[File], budget: int) -> File | None:
    """The best file of at most `budget` bytes."""
    return max((file for file in files if file.size <= budget), key=lambda file: file.psnr, default=None)


def row(side: str, name: str, files: Sequence[Sequence[File]]) -> list[str]:
    """Mean dB and SSIM at every budget, and the mean smallest file; ours are made for the budgets."""
    cells = []
    for budget in BUDGETS:
        best = [within(own, budget) for own in files]
        means = np.mean([(file.psnr, file.ssim) for file in best], 0) if all(best) else None
        cells.append("" if means is None else "{:.2f}, {:.3f}".format(*means))
    smallest = "" if name == OURS else f"{np.mean([min(file.size for file in own) for own in files]):.0f}"
    return [side, name, *cells, smallest]


def draw(path: Path, shown: dict[str, Sequence[Sequence[File]]], most: int = 6) -> None:
    """Some pictures, one codec a row: at most SHOWN bytes, or the smallest file that there is."""
    columns = min(most, len(shown["original"]))
    size = (1.6 * columns + 0.4, 1.85 * len(shown))
    figure, axes = pyplot().subplots(len(shown), columns, figsize=size, squeeze=False, layout="constrained")
    for line, (name, files) in zip(axes, shown.items(), strict=True):
        for axis, own in zip(line, files, strict=False):
            show(axis, within(own, SHOWN[1]) or min(own, key=lambda file: file.size, default=None))
        line[0].set_ylabel(name, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot().close(figure)


def show(axis, file: File | None) -> None:
    """One picture with its bytes and dB, in orange where it is larger than SHOWN; None is a gap."""
    if file is None:
        axis.axis("off")
        return
    axis.imshow(file.pixels, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    text = f"{file.size} bytes, {file.psnr:.1f} dB" if file.size else "original"
    axis.set_title(text, fontsize=7, color="#D55E00" if file.size > SHOWN[1] else "black")


def write(out: Path, photographs: int, effort: str, rows: Sequence[list[str]], missing: Sequence[str]) -> None:
    """The page."""
    header = ["side", "codec", *(f"{budget} bytes" for budget in BUDGETS), "smallest file, bytes"]
    lines = [
        "# Thumbnails",
        "",
        f"Made by `make bench-thumbnails` from the centre squares of {photographs} photographs, scaled down. A "
        "cell has mean PSNR",
        "in dB and mean SSIM, over RGB, of the best file (by PSNR) that is not larger than so many bytes, headers "
        "included. It",
        "is empty where a format cannot make every picture that small.",
        "",
        f"- combiner: `--target-size`, `--effort {effort}`.",
        f"- WebP: method {WEBP_METHOD}. AVIF: libaom, 4:4:4 or 4:2:0. JPEG: optimised, baseline or progressive, "
        "4:2:0. No metadata.",
        f"- {MINIMAL}: the same files, counted as if they had the minimal header that the format is about to get.",
        "- BlurHash: as many components as fit; its string counts.",
        "- ThumbHash: its decoder makes 32×32 pixels, here scaled to the picture.",
        "",
        *report.table(header, rows),
        "",
        f"![{SHOWN[0]}×{SHOWN[0]} pictures at {SHOWN[1]} bytes](thumbnails.png)",
        "",
        f"In orange: files of more than {SHOWN[1]} bytes, the smallest that the format has.",
        "",
        f"Measured on {machine()}.",
        *missing,
    ]
    pages.write(out / "thumbnails.md", lines)


@click.command("thumbnails")
@options.sources
@options.out()
@options.effort("normal")
@options.limit
@options.threads
def command(**settings):
    """Thumbnails of photographs at 60 to 400 bytes."""
    run(**settings, say=click.echo)
