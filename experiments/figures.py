"""`make figures`: the drawings of docs/method.md and docs/inspect.md."""

from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from combiner_codec.decoder import parse
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior as priors
from combiner_codec.format.prior import Prior
from combiner_codec.inspect import drawing
from combiner_codec.inspect.figures import Inspection, unit_bits
from combiner_codec.picture import image
from combiner_codec.reports import Report

from . import options
from .cuts import centre
from .pipeline import pipeline

SIDE = 32
PHOTO = ("hippos.png", 0.009, "fast")  # sample, beta, effort
THUMBNAIL = ("architecture-32.png", 0.0015, "normal")
SIRENS = ("architecture-32.png", "hippos-64x48.png")  # the plain SIREN gets 32 x 32 pixels from their centres


def run(samples: Path, out: Path, threads: int, say: Report) -> None:
    """Write all drawings from the shipped samples."""
    out.mkdir(parents=True, exist_ok=True)

    def keep(name: str, data: bytes) -> None:
        (out / name).write_bytes(data)
        say(f"{out / name}: {len(data)} bytes")

    keep("pipeline.svg", pipeline())
    for name, (sample, beta, effort) in {"inspect-photo.png": PHOTO, "inspect-small.png": THUMBNAIL}.items():
        pixels = load(samples / sample)
        family = priors.default(pixels.shape[1], pixels.shape[0])
        keep(name, drawing.sheet(look(pixels, family, Settings(beta, effort, threads=threads))))
    siren = priors.load("combiner-cifar")
    settings = Settings(siren.betas[0], threads=threads)
    keep("activation.png", activation([look(centre(load(samples / name), SIDE), siren, settings) for name in SIRENS]))


def load(path: Path) -> np.ndarray:
    """A picture file: (H, W) or (H, W, 3) uint8."""
    return image.load(path.read_bytes(), str(path))


def look(pixels: np.ndarray, prior: Prior, settings: Settings) -> Inspection:
    """A picture, encoded, with its posterior."""
    (result,) = encode_arrays([pixels], prior, replace(settings, keep_posterior=True))
    return Inspection(result.data, parse(result.data, prior), result.saved, pixels)


def activation(found: list[Inspection]) -> bytes:
    """The paper's figure of adaptive activation: KL per weight and hidden units, in the prior and in posteriors."""
    figure = drawing.pyplot().figure(figsize=(10, 3.1 * (1 + len(found)) + 2.4), layout="constrained")
    rows = iter(figure.subfigures(2 + len(found), 1, height_ratios=[3.1] * (1 + len(found)) + [2.4]))
    top = max(x.max() for one in found for x in (one.costs, one.kl))
    architecture, units = found[0].architecture, {"prior": unit_bits(found[0].architecture, found[0].costs)}
    drawing.parameters(next(rows), found[0], found[0].costs, "prior: average KL over training", top)
    for one, letter in zip(found, "AB", strict=True):
        left, right = next(rows).subfigures(1, 2, width_ratios=[1, 6])
        axis = left.subplots()
        axis.imshow(one.decoded, interpolation="nearest")
        axis.set_title(f"{letter}, decoded", fontsize=9)
        axis.axis("off")
        drawing.parameters(right, one, one.kl, f"posterior of {letter}: KL", top)
        units[f"posterior of {letter}"] = unit_bits(architecture, one.kl)
    drawing.hidden_units(next(rows), units)
    return drawing.to_bytes(figure, ".png")


@click.command("figures")
@click.argument("samples", type=options.FOLDER)
@options.out("docs/figures")
@options.threads
def command(samples, out, threads):
    """The drawings of docs/method.md and docs/inspect.md, from the shipped SAMPLES."""
    run(samples, out, threads, click.echo)
