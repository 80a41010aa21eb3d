"""A crop of one picture as combiner, WebP and JPEG show it at the same file size."""

from pathlib import Path

import numpy as np

from ..drawing import pyplot, to_bytes
from ..image import psnr
from . import codecs
from .codecs import CombinerCodec, PillowCodec
from .pictures import collect

LADDER = range(1, 60)  # qualities tried


def nearest(codec: PillowCodec, pixels: np.ndarray, size: int) -> bytes:
    """The file of one codec whose size is nearest to `size` bytes; its smallest where none is that small."""
    files = [codec.encode([pixels], quality)[0].data for quality in LADDER]
    return min(files, key=lambda data: abs(len(data) - size))


def run(path: Path, out: Path, beta: float, box: tuple[int, int, int, int], effort: str, threads: int) -> str:
    """Write a picture of four crops, box (left, top, right, bottom); returns a line about them."""
    (picture,), _ = collect([path])
    pixels, ours = picture.pixels, CombinerCodec(effort=effort)
    data = ours.encode([pixels], beta, threads)[0].data
    shown = {"combiner": (ours, data)}
    for codec in codecs.others(["webp", "jpeg"])[0]:
        shown[{"webp": "WebP", "jpeg": "JPEG"}[codec.name]] = (codec, nearest(codec, pixels, len(data)))
    left, top, right, bottom = box
    figure, axes = pyplot().subplots(1, 1 + len(shown), figsize=(3 * (1 + len(shown)), 3.6), layout="constrained")
    lines = []
    decoded = {name: (codec.decode(data), len(data)) for name, (codec, data) in shown.items()}
    for axis, (name, (image, size)) in zip(axes, {"original": (pixels, 0), **decoded}.items(), strict=True):
        axis.imshow(image[top:bottom, left:right], interpolation="nearest")
        text = f"{size} bytes, {8 * size / image[..., 0].size:.3f} bpp, {psnr(pixels, image):.2f} dB" if size else ""
        axis.set_title(f"{name}\n{text}", fontsize=9)
        axis.axis("off")
        if size:
            lines.append(f"{name} {text}")
    out.write_bytes(to_bytes(figure, out.suffix))
    return "; ".join(lines)
