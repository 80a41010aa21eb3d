"""`make photographs`: that no photograph is stored without loss, or with a layer.

Estimates decide as a rule: a picture is a network's alone if neither the file without loss nor one of few colours
comes near the bound on a network's J, by a sample of the picture, and no layer saves anything worth a look
(`encoder/kinds.py`). What they leave open is encoded.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image

from combiner_codec.bench import report
from combiner_codec.decoder import parse
from combiner_codec.encoder import layers
from combiner_codec.encoder.kinds import encode_pictures
from combiner_codec.encoder.palettes import FEW_SIZES
from combiner_codec.encoder.settings import Settings
from combiner_codec.encoder.unfitted import RIVAL, Unfitted
from combiner_codec.format import prior as priors
from combiner_codec.reports import Report

from . import options, pages


@dataclass(frozen=True)
class Estimates:
    """What decides of one picture."""

    whole: float  # J of the sample without loss, over the bound
    palette: float  # the same of the best palette that is tried
    layer: float  # share of a network's J that a layer saves, at most

    @property
    def network_alone(self) -> bool:
        """Whether it is a network's alone."""
        return min(self.whole, self.palette) > RIVAL and self.layer < layers.WORTH


def estimates(picture: np.ndarray, betas: Sequence[float]) -> list[Estimates]:
    """Of an opaque picture in colour, (H, W, 3), at each beta."""
    sample = Unfitted(picture).few_pieces
    assert sample.fewer
    sizes = [size for size in FEW_SIZES if size in sample.fewer.sizes]
    palettes = [sample.fewer.file(size) for size in sizes]
    found = []
    for beta in betas:
        bound = sample.bound(beta)
        whole = sample.whole.lagrangian(sample.picture, beta)
        palette = min((file.lagrangian(sample.picture, beta) for file in palettes), default=np.inf)
        found.append(Estimates(whole / bound, palette / bound, layers.saved_of_network(picture, beta)))
    return found


def stored(picture: np.ndarray, beta: float) -> str:
    """What a picture is stored as by `--kind auto`."""
    prior = priors.default(picture.shape[1], picture.shape[0])
    (file,) = encode_pictures([picture], prior, Settings(beta, "fast", threads=1))
    return parse(file.data).kind


def run(folders: Sequence[Path], out: Path, betas: Sequence[float], encode: int | None, say: Report) -> None:
    """A table into lab.md."""
    paths = sorted(path for folder in folders for path in folder.glob("*.png"))
    found = []
    left_open = []
    started = time.process_time()
    for path in paths:
        found.append(estimates(opened(path), betas))
        left_open += [(beta, path) for beta, one in zip(betas, found[-1], strict=True) if not one.network_alone]
        say(f"{path}: {time.process_time() - started:.0f} s of processor")
    rows = []
    for beta, of_beta in zip(betas, zip(*found, strict=True), strict=True):
        alone = sum(one.network_alone for one in of_beta)
        whole = min(one.whole for one in of_beta)
        palette = min(one.palette for one in of_beta)
        layer = max(one.layer for one in of_beta)
        rows.append([f"{beta:g}", f"{alone} of {len(of_beta)}", f"{whole:.1f}", f"{palette:.2f}", f"{layer:.2%}"])
    kinds = []
    for beta, path in sorted(left_open, reverse=True)[:encode]:
        kinds.append(stored(opened(path), beta))
        say(f"{path} at {beta:g}: {kinds[-1]}")
    cases = len(paths) * len(betas)
    counted = [f"{kinds.count(kind)} as {kind}" for kind in sorted(set(kinds))]
    head = ["β", "a network's alone", "exact, × bound, least", "few colours, × bound, least", "layer saves at most"]
    lines = [
        *report.table(head, rows),
        "",
        f"Estimates leave {len(left_open)} of {cases} cases open, of which {len(kinds)} were encoded:",
        f"{', '.join(counted) or 'none'}.",
    ]
    pages.put(out, "photographs", lines)


def opened(path: Path) -> np.ndarray:
    """A picture in colour: (H, W, 3) uint8."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@click.command("photographs")
@click.argument("folders", nargs=-1, required=True, type=options.FOLDER)
@options.out("docs/lab.md")
@click.option("--betas", type=options.NUMBERS, default=(0.02, 0.003, 0.001, 0.00025), show_default=True)
@click.option(
    "--encode", type=click.IntRange(0), help="Cases that are encoded of those that estimates leave open [all]."
)
def command(**settings):
    """That photographs are networks' alone."""
    run(**settings, say=click.echo)
