"""Pictures that no prior expects, at any beta."""

from dataclasses import dataclass

import numpy as np

from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior as priors
from combiner_codec.format.prior import Prior
from combiner_codec.picture import image

BETAS = (1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
SIDES = (1, 32, 96)


@dataclass(frozen=True)
class Row:
    """One picture at one beta."""

    picture: str
    beta: float
    bytes: int
    bound: int  # the most that any picture of this size can take
    psnr: float
    flat: float  # PSNR of the best single colour, 20 dB at most
    png: int
    warned: bool


def pictures(side: int) -> dict[str, np.ndarray]:
    """Colour pictures of side x side pixels."""
    black = np.zeros((side, side, 3), np.uint8)
    spot, parity = black.copy(), np.indices((side, side)).sum(0)[..., None] % 2
    spot[side // 3, side // 2] = 255
    noise = np.random.default_rng(0).integers(0, 256, black.shape, dtype=np.uint8)
    checkerboard = (255 * parity).repeat(3, 2).astype(np.uint8)
    return {
        "black": black,
        "white": black + 255,
        "checkerboard": checkerboard,
        "noise": noise,
        "one bright pixel": spot,
    }


def bound(prior: Prior, side: int) -> int:
    """Bytes of the longest file of a picture: every tile of the dearest class, whose number takes up to 24 bits."""
    architecture = prior.architecture
    tiles, blocks = (-(-side // length) for length in (architecture.tile, architecture.block))
    n, most = architecture.side, 0
    for number in range(len(prior.betas)):
        point = prior.operating_point(number)
        share = point.tile_bits / np.where(np.arange(point.classes) < point.single, 1, 4)
        dearest = np.full((1, n, n), share.argmax())
        most = max(most, blocks**2 * int(point.stream_lengths(dearest)[0]) + 24 * tiles**2)
    return 24 + most // 8


def measure(side: int, betas=BETAS) -> list[Row]:
    """All pictures of a size at all betas."""
    prior, made = priors.default(side, side), pictures(side)
    most, rows = bound(prior, side), []
    for beta in betas:
        results = encode_arrays(list(made.values()), prior, Settings(beta, "fast", device="cpu"))
        for (name, picture), result in zip(made.items(), results, strict=True):
            flat = np.broadcast_to(np.rint(picture.mean((0, 1))).astype(np.uint8), picture.shape)
            lines, best = result.warnings(picture, beta, prior), min(image.psnr(picture, flat), 20)
            png = image.png_bytes(picture)
            rows.append(Row(name, beta, len(result.data), most, result.psnr, best, png, bool(lines)))
    return rows


def report() -> str:
    """Bytes and dB of every picture at every beta; a star where the encoder warns."""
    return "\n".join(line for side in SIDES for line in table(side, measure(side)))


def table(side: int, rows: list[Row]) -> list[str]:
    """Lines about pictures of one size."""
    names = dict.fromkeys(row.picture for row in rows)
    lines = [f"{side}×{side}, at most {rows[0].bound} bytes:", ""]
    lines += ["| β | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
    for beta in BETAS:
        cells = (f"{r.bytes} B, {r.psnr:.1f} dB{' *' * r.warned}" for r in rows if r.beta == beta)
        lines.append(f"| {beta:g} | " + " | ".join(cells) + " |")
    sizes = ", ".join(f"{name} {next(r.png for r in rows if r.picture == name)}" for name in names)
    silent = sum(row.bytes > row.png and not row.warned for row in rows)
    return [*lines, "", f"PNG: {sizes} bytes. Larger than the PNG without a warning: {silent} of {len(rows)}.", ""]
