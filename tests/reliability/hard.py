"""Pictures that no prior expects, at any beta."""

from dataclasses import dataclass

import numpy as np

from combiner_codec import codec, image
from combiner_codec import prior as priors

BETAS = (1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
SIDES = (1, 32, 96)


@dataclass(frozen=True)
class Row:
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


def bound(prior: priors.Prior, side: int) -> int:
    """Bytes of the longest file of a picture: every tile of the dearest class, whose number takes up to 24 bits."""
    architecture, tiles = prior.architecture, -(-side // prior.architecture.tile)
    n = architecture.block // architecture.tile
    most = 0
    for point in range(len(prior.betas)):
        level = prior.level(point)
        dearest = np.full((1, n, n), level.tile_bits.argmax())
        blocks = (-(-side // architecture.block)) ** 2
        most = max(most, blocks * int(level.stream_bits(architecture, dearest)[0]) + 24 * tiles**2)
    return 24 + most // 8


def measure(side: int, betas=BETAS) -> list[Row]:
    prior, rows, made = priors.default(side, side), [], pictures(side)
    for beta in betas:
        results = codec.encode_arrays(list(made.values()), beta, prior, effort="fast", device="cpu")
        for (name, picture), result in zip(made.items(), results, strict=True):
            flat = np.broadcast_to(np.rint(picture.mean((0, 1))).astype(np.uint8), picture.shape)
            lines, best = result.warnings(picture, beta, prior), min(image.psnr(picture, flat), 20)
            size, png = len(result.data), image.png_bytes(picture)
            rows.append(Row(name, beta, size, bound(prior, side), result.psnr, best, png, bool(lines)))
    return rows


def report() -> str:
    """Bytes and dB of every picture at every beta; a star where the encoder warns."""
    out = []
    for side in SIDES:
        rows = measure(side)
        names = dict.fromkeys(row.picture for row in rows)
        out += [f"{side}×{side}, at most {rows[0].bound} bytes:", ""]
        out += ["| β | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
        for beta in BETAS:
            cells = (f"{r.bytes} B, {r.psnr:.1f} dB{' *' * r.warned}" for r in rows if r.beta == beta)
            out.append(f"| {beta:g} | " + " | ".join(cells) + " |")
        sizes = ", ".join(f"{name} {next(r.png for r in rows if r.picture == name)}" for name in names)
        silent = sum(row.bytes > row.png and not row.warned for row in rows)
        out += ["", f"PNG: {sizes} bytes. Larger than the PNG without a warning: {silent} of {len(rows)}.", ""]
    return "\n".join(out)
