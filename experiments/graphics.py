"""`make bench-graphics`: forty drawn pictures in eight kinds beside WebP, PNG, AVIF and JPEG XL.

J is squared error, averaged over channels, + beta ln 2 bits: what our encoder minimises. Formats that can do without
loss have that among their settings. What was measured is kept, so that a run that was cut off goes on.
"""

import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image

from combiner_codec.bench import codecs
from combiner_codec.bench.codecs import CombinerCodec
from combiner_codec.bench.measure import Store
from combiner_codec.bench.pictures import Group, Picture
from combiner_codec.decoder import parse
from combiner_codec.encoder import exact
from combiner_codec.errors import MissingError
from combiner_codec.picture.exact import USUAL, with_palette
from combiner_codec.picture.image import psnr, squared_error
from combiner_codec.reports import Report

from . import drawings, graphics_page, options
from .drawings import KINDS, PACKAGED, Drawing, browser, packaged
from .graphics_page import EXACT, INR, File, Measured, Pace

BETAS = (0.003,)  # the usual one
WITHOUT_LOSS = -1.0  # a setting
QUALITIES = (5, 50, 80, 95)
AVIF_QUALITIES = (8, 32, 58, 85)
WEBP = {"lossless": True, "exact": True, "method": USUAL.method, "quality": USUAL.quality}


@dataclass(frozen=True)
class Rival:
    """Another format, and how Pillow is asked for it."""

    name: str
    version: str
    settings: tuple[float, ...]
    make: Callable[[Image.Image, float], bytes]

    def label(self, setting: float) -> str:
        """A setting as the store names it."""
        return f"{setting:g}"

    def identity(self, pixels: Sequence[np.ndarray], setting: float) -> str:
        """What decides a file beside its pixels."""
        return f"{self.version}, {setting:g}"


def rivals() -> tuple[list[Rival], list[str]]:
    """All that are installed, and a line about each that is not."""
    usual, missing = codecs.others(["webp", "avif", "jxl"])
    versions = {codec.format: codec.library() for codec in usual}
    found = [Rival("PNG", "zlib", (WITHOUT_LOSS,), png)]
    if "WEBP" in versions:
        found.append(Rival("WebP, lossless", versions["WEBP"], (WITHOUT_LOSS,), webp))
        found.append(Rival("WebP", versions["WEBP"], QUALITIES, webp))
    if "AVIF" in versions:
        found.append(Rival("AVIF, tune psnr", versions["AVIF"], AVIF_QUALITIES, avif_psnr))
        found.append(Rival("AVIF, default", versions["AVIF"], AVIF_QUALITIES, avif))
    if "JXL" in versions:
        found.append(Rival("JPEG XL, lossless", versions["JXL"], (WITHOUT_LOSS,), jxl))
        found.append(Rival("JPEG XL", versions["JXL"], QUALITIES, jxl))
    return found, missing


def png(image: Image.Image, setting: float) -> bytes:
    """With a palette where that is exact and smaller."""
    forms = [image, with_palette(np.asarray(image))]
    return min((saved(form, "PNG", optimize=True) for form in forms), key=len)


def webp(image: Image.Image, setting: float) -> bytes:
    if setting == WITHOUT_LOSS:
        return saved(in_colour(image), "WEBP", **WEBP)
    return saved(in_colour(image), "WEBP", quality=int(setting), method=codecs.WEBP_METHOD)


def avif_psnr(image: Image.Image, setting: float) -> bytes:
    (how,) = codecs.OTHERS["avif"].options(setting)
    return saved(in_colour(image), "AVIF", **how)


def avif(image: Image.Image, setting: float) -> bytes:
    """As Pillow does it unasked: 4:2:0."""
    return saved(in_colour(image), "AVIF", quality=int(setting))


def jxl(image: Image.Image, setting: float) -> bytes:
    if setting == WITHOUT_LOSS:
        return saved(in_colour(image), "JXL", lossless=True, effort=7)
    return saved(in_colour(image), "JXL", quality=int(setting), effort=7)


def in_colour(image: Image.Image) -> Image.Image:
    """As RGB or RGBA, which all formats take."""
    return image.convert("RGBA" if "A" in image.mode else "RGB")


def saved(image: Image.Image, kind: str, **how) -> bytes:
    """A file by Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def run(
    photos: Path,
    out: Path,
    work: Path,
    betas: Sequence[float],
    kinds: Sequence[str],
    networks: int,
    kept: bool,
    rounds: int,
    files: Path,
    note: str,
    say: Report,
) -> None:
    """Measure everything and write graphics.md. Raises MissingError where nothing is kept of what was to be."""
    started = time.process_time()
    store = Store(work)
    photographs = drawings.photographs_of(photos)
    others, missing = rivals()
    found = []
    pace = None
    for kind in kinds or (*KINDS, PACKAGED):
        try:
            of_kind = list(packaged(files) if kind == PACKAGED else drawings.drawings(photographs, [kind]))
        except MissingError as error:
            missing.append(f"{kind}: left out ({error})")
            continue
        for number, drawing in enumerate(of_kind):
            try:
                measured = {codec.name: files_of(codec, drawing, store, kept) for codec in others}
                measured |= files_of_ours(drawing, betas, store, number < networks, kept)
            except LookupError:
                missing.append(f"{kind}, {drawing.name}: not measured yet")
                continue
            found.append(Measured(drawing, measured))
            say(f"{kind}, {drawing.name}: {time.process_time() - started:.0f} s of processor")
        if kind == "browser pages":
            pace = paces(browser.screen(photographs), rounds)
            say(f"a screen without loss: {pace}")
    if not found:
        raise MissingError(f"{work} keeps nothing of these pictures: measure them first, without --kept")
    graphics_page.write(out / "graphics.md", found, tuple(betas), pace, [note, *missing])


def files_of_ours(
    drawing: Drawing, betas: Sequence[float], store: Store, network: bool, kept: bool
) -> dict[str, list[File]]:
    """Without loss, as the encoder chooses, and a network alone: where it was chosen, and elsewhere if asked for."""
    found = {"lossless": files_of(CombinerCodec("lossless", "fast", betas[:1], kind="lossless"), drawing, store, kept)}
    found["auto"] = files_of(CombinerCodec("auto", "fast", tuple(betas), kind="auto"), drawing, store, kept)
    found["inr"] = []
    for file in found["auto"]:
        if file.stored == INR:
            found["inr"].append(file)
        elif network:
            found["inr"] += files_of(CombinerCodec("inr", "fast", (file.setting,)), drawing, store, kept)
    return found


def files_of(codec: CombinerCodec | Rival, drawing: Drawing, store: Store, kept: bool) -> list[File]:
    """A drawing at all settings of a codec. Raises LookupError for what is to be kept already, and is not."""
    group = Group((Picture(f"{drawing.kind}, {drawing.name}", drawing.pixels),))
    found = []
    for setting in codec.settings:
        record = store.find(codec, setting, group)
        if record is None and kept:
            raise LookupError(codec.name)
        if record is None:
            record = record_of(codec, setting, drawing.pixels)
            store.put(codec, setting, group, record)
        found.append(File(setting, record["bytes"], record["error"], record["psnr"], record["stored"]))
    return found


def record_of(codec: CombinerCodec | Rival, setting: float, pixels: np.ndarray) -> dict:
    """One file, decoded and measured."""
    image = Image.fromarray(pixels)
    if isinstance(codec, CombinerCodec):
        data = codec.encode([pixels], setting, 1)[0].data
        shown = codec.decode(data, 1)
        stored = parse(data).kind
    else:
        data = codec.make(image, setting)
        shown = np.asarray(Image.open(io.BytesIO(data)).convert(image.mode))
        stored = ""
    channels = 1 if image.mode in ("L", "LA") else 3
    return {
        "bytes": len(data),
        "error": squared_error(pixels, shown) / 255**2 / channels,
        "psnr": min(psnr(pixels, shown), EXACT),
        "stored": stored,
    }


def paces(screen: Image.Image, rounds: int) -> Pace:
    """Processor seconds of a screen without loss beside lossless WebP through Pillow: in process, and as commands."""
    pixels = np.asarray(screen)
    with tempfile.TemporaryDirectory() as folder:
        screen.save(Path(folder) / "in.png")
        ours = [sys.executable, "-m", "combiner_codec", "encode", "in.png", "-o", "out.cmb", "--lossless", "-f", "-q"]
        pillow = "from PIL import Image; Image.open('in.png').save('out.webp', lossless=True, exact=True)"
        theirs = [sys.executable, "-c", pillow]
        jobs = [
            lambda: exact.encoded(pixels),
            lambda: saved(screen, "WEBP", **WEBP),
            lambda: subprocess.run(ours, cwd=folder, check=True),
            lambda: subprocess.run(theirs, cwd=folder, check=True),
        ]
        taken = [[processor_seconds(job) for job in jobs] for _ in range(rounds)]
        seconds = [statistics.median(of_job) for of_job in zip(*taken, strict=True)]
    return Pace(screen.size, len(exact.encoded(pixels).data), len(saved(screen, "WEBP", **WEBP)), *seconds)


def processor_seconds(job: Callable) -> float:
    """Of this process and of those that it starts."""
    before = os.times()
    job()
    return sum(os.times()[:4]) - sum(before[:4])


@click.command("graphics")
@click.option("--photos", type=options.FOLDER, required=True, help="Photographs that are in some pictures.")
@options.out()
@click.option("--work", type=click.Path(path_type=Path), default="build/graphics.json", show_default=True,
              help="Results; a second run goes on from them.")  # fmt: skip
@click.option("--betas", type=options.NUMBERS, default=BETAS, show_default=True)
@click.option("--kind", "kinds", multiple=True, type=click.Choice([*KINDS, PACKAGED]), help="Only these kinds.")
@click.option("--files", type=click.Path(path_type=Path), default="build/debian", show_default=True,
              help="Pictures from Debian packages.")  # fmt: skip
@click.option("--networks", type=click.IntRange(0), default=1, show_default=True,
              help="Pictures of each kind that a network alone is fitted to, chosen or not.")  # fmt: skip
@click.option("--kept", is_flag=True, help="Measure nothing: leave out what an earlier run has not measured.")
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True, help="Of measuring time.")
@options.note
def command(**settings):
    """Drawn pictures beside other formats."""
    run(**settings, say=click.echo)
