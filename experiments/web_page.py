"""`python -m experiments.web_page build/web`: the page of web/ as one file that works from file://, with all it loads.

`--gallery` first makes gallery.json: pictures at some numbers of bytes beside WebP, BlurHash and ThumbHash, the last
two where their packages are installed (blurhash, thumbhash-python).
"""

import argparse
import base64
import io
import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

import combiner_codec
from combiner_codec.errors import CombinerError
from combiner_codec.format import prior as priors
from combiner_codec.format.prior import Prior
from combiner_codec.picture import scaling
from combiner_codec.picture.data_url import data_url
from combiner_codec.picture.image import psnr
from scripts.web_package import WEB, bundled

from . import thumbnails

PAGE, MODULE, GALLERY = "index.html", "combiner.js", "gallery.json"
COLUMNS = ["original", "combiner", "WebP", "BlurHash", "ThumbHash"]


def url(data: bytes, mime: str = "application/octet-stream") -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def png(pixels: np.ndarray) -> str:
    """A picture as a data: URL."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return url(file.getvalue(), "image/png")


def one_file(folder: Path) -> str:
    """The page with everything it would load inside."""
    text = (WEB / PAGE).read_text()
    for name in re.findall(r"\b\w+\.(?:js|cmbw|json)\b", text):
        path = folder / name
        if name == MODULE:
            address = url(bundled(WEB / MODULE).encode(), "text/javascript")
        elif path.is_file():
            address = url(path.read_bytes())
        else:
            continue
        text = re.sub(rf'"(\./)?{name}"', f'"{address}"', text)
    return text


def gallery(paths: list[Path], budgets: list[int], side: int, prior: Prior, effort: str) -> dict:
    """What the page shows: a row for each picture and number of bytes."""
    rows = []
    for path in paths:
        picture = scaling.fitted(np.array(Image.open(path).convert("RGB")), side)
        others, _ = thumbnails.others()
        files = {name: others[name].files(picture) for name in COLUMNS if name in others}
        for budget in budgets:
            cells = {"original": {"src": png(picture), "text": "{1} × {0}".format(*picture.shape)}}
            cells |= {name: shown(thumbnails.within(own, budget)) for name, own in files.items()}
            cells |= {"combiner": ours(picture, budget, prior, effort)}
            rows.append({"name": f"{path.stem}, {budget} bytes", "cells": cells})
    return {"columns": COLUMNS, "rows": rows}


def text(size: int, decibels: float) -> str:
    return f"{size} bytes, {decibels:.1f} dB"


def shown(file: thumbnails.File | None) -> dict | None:
    """A cell of another codec."""
    return file and {"src": png(file.pixels), "text": text(file.size, file.psnr)}


def ours(picture: np.ndarray, budget: int, prior: Prior, effort: str) -> dict | None:
    """A cell whose picture the page decodes."""
    try:
        data = combiner_codec.preview(picture, budget, side=max(picture.shape), prior=prior, effort=effort)
    except CombinerError:
        return None
    decoded = np.array(combiner_codec.decode(data, prior=prior).convert("RGB"))
    return {"src": data_url(data), "text": text(len(data), psnr(picture, decoded))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="with prior.cmbw; gets gallery.json and page.html")
    parser.add_argument("--gallery", type=Path, nargs="+", metavar="PICTURE", default=[])
    parser.add_argument("--budgets", default="60,100,200,400")
    parser.add_argument("--side", type=int, default=scaling.PREVIEW_SIDE)
    parser.add_argument("--prior", default="web", help="that prior.cmbw was made from")
    parser.add_argument("--effort", default="normal")
    options = parser.parse_args()
    if options.gallery:
        budgets = [int(size) for size in options.budgets.split(",")]
        found = gallery(options.gallery, budgets, options.side, priors.find(options.prior), options.effort)
        (options.folder / GALLERY).write_text(json.dumps(found))
    page = options.folder / "page.html"
    page.write_text(one_file(options.folder))
    print(f"{page}: {page.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
