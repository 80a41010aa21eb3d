"""Photographs cut to a number of megabytes, for a machine that takes no more: make pack.

JPEGs are cut at multiples of 16 pixels and saved with their own quantisation tables, so nothing is lost to a second
compression but rounding. Every photograph gives the same share of its area, at a place drawn at random.
"""

from pathlib import Path

import click
import numpy as np
from PIL import Image

UNIT = 16  # pixels that a JPEG codes together, at most
SMALLEST = 256  # pixels of a side, or all of it
ATTEMPTS = 6  # at the size


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--mib", default=60.0, help="Megabytes that the output may have.")
def main(folders, output, mib):
    """Cut the photographs of FOLDERS until they fit."""
    photos = sorted(path for folder in folders for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".png"))
    budget = mib * 2**20
    share = min(1.0, budget / sum(path.stat().st_size for path in photos))
    for _ in range(ATTEMPTS):
        total = pack(photos, output, share)
        if total <= budget:
            click.echo(f"{len(photos)} photographs, {share:.0%} of their area, {total / 2**20:.1f} MiB in {output}")
            return
        share *= 0.97 * budget / total
    raise click.ClickException(f"{len(photos)} photographs do not fit into {mib} MiB")


def pack(photos: list[Path], output: Path, share: float) -> int:
    """Write a part of every photograph; the bytes of all."""
    output.mkdir(parents=True, exist_ok=True)
    for old in output.iterdir():
        old.unlink()
    rng = np.random.default_rng(0)
    total = 0
    for path in photos:
        target = output / f"{path.parent.name}-{path.name}"
        with Image.open(path) as picture:
            box = cut(picture.size, share, rng)
            part = picture.crop(box)
            if picture.format == "JPEG":
                part.save(target, qtables=picture.quantization, subsampling=subsampling(picture))
            else:
                part.save(target)
        total += target.stat().st_size
    return total


def cut(size: tuple[int, int], share: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A box of a picture (width, height) with a share of its area."""
    begins = []
    ends = []
    for side in size:
        length = min(side, max(SMALLEST, round(side * share**0.5)))
        if length < side:
            length -= length % UNIT
        begin = UNIT * int(rng.integers((side - length) // UNIT + 1))
        begins.append(begin)
        ends.append(begin + length)
    return *begins, *ends


def subsampling(picture: Image.Image) -> str:
    """Of a JPEG's chroma, as Pillow names it; 4:2:0 for kinds that it does not write."""
    from PIL import JpegImagePlugin

    return {0: "4:4:4", 1: "4:2:2"}.get(JpegImagePlugin.get_sampling(picture), "4:2:0")


if __name__ == "__main__":
    main()
