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


def estimates(picture: np.ndarray, beta: float) -> Estimates:
    """Of an opaque picture in colour, (H, W, 3)."""
    sample = Unfitted(picture).sample
    bound = sample.bound(beta)
    of_palettes = [np.inf]
    for size in FEW_SIZES:
        if size in sample.fewer.sizes:
            of_palettes.append(sample.fewer.file(size).lagrangian(sample.picture, beta))
    whole = sample.whole.lagrangian(sample.picture, beta)
    return Estimates(whole / bound, min(of_palettes) / bound, layers.saved_of_network(picture, beta))


def stored(picture: np.ndarray, beta: float) -> str:
    """What a picture is stored as by `--kind auto`."""
    prior = priors.default(picture.shape[1], picture.shape[0])
    (file,) = encode_pictures([picture], prior, Settings(beta, "fast", threads=1))
    return parse(file.data).kind


def run(folders: Sequence[Path], out: Path, betas: Sequence[float], say: Report) -> None:
    """A table into lab.md."""
    paths = sorted(path for folder in folders for path in folder.glob("*.png"))
    found: dict[float, list[Estimates]] = {beta: [] for beta in betas}
    kinds = []
    started = time.process_time()
    for path in paths:
        picture = np.asarray(Image.open(path).convert("RGB"))
        for beta in betas:
            one = estimates(picture, beta)
            found[beta].append(one)
            if not one.network_alone:
                kinds.append(stored(picture, beta))
                say(f"{path} at {beta:g}: {kinds[-1]}")
        say(f"{path}: {time.process_time() - started:.0f} s of processor")
    rows = []
    for beta, of_beta in found.items():
        alone = sum(one.network_alone for one in of_beta)
        whole = min(one.whole for one in of_beta)
        palette = min(one.palette for one in of_beta)
        layer = max(one.layer for one in of_beta)
        rows.append([f"{beta:g}", f"{alone} of {len(of_beta)}", f"{whole:.1f}", f"{palette:.2f}", f"{layer:.2%}"])
    head = ["β", "a network's alone", "exact, × bound, least", "few colours, × bound, least", "layer saves at most"]
    counted = [f"{kinds.count(kind)} as {kind}" for kind in sorted(set(kinds))]
    lines = [*report.table(head, rows), "", f"The others were encoded: {', '.join(counted) or 'none'}."]
    pages.put(out, "photographs", lines)


@click.command("photographs")
@click.argument("folders", nargs=-1, required=True, type=options.FOLDER)
@options.out("docs/lab.md")
@click.option("--betas", type=options.NUMBERS, default=(0.02, 0.003, 0.001, 0.00025), show_default=True)
def command(**settings):
    """That photographs are networks' alone."""
    run(**settings, say=click.echo)
