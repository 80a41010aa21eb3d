"""Pages as headless Chromium shows them: with photographs in the first two, without in the others."""

import base64
import io
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from combiner_codec.errors import MissingError

from .words import paragraph, sentence

SIZE = (480, 360)  # of the window, in pixels
SCREEN = (1920, 1080)
STYLE = """
body { margin: 0; font: 14px/1.5 'DejaVu Sans', sans-serif; color: #222; background: #fff }
header { background: #24364b; color: #fff; padding: 10px 24px; font-size: 18px }
main { padding: 16px 24px } h2 { margin: 8px 0 } p { margin: 6px 0 }
table { border-collapse: collapse; width: 100% } td, th { border-bottom: 1px solid #ddd; padding: 5px 8px }
pre { background: #f6f8fa; padding: 10px; border-radius: 6px; font: 13px 'DejaVu Sans Mono', monospace }
.cards { display: grid; grid-template-columns: repeat(3, 1fr); gap: 14px }
.card { border: 1px solid #ddd; border-radius: 8px; overflow: hidden; box-shadow: 0 2px 6px #0003 }
.card p { padding: 0 8px; font-size: 12px } .card img { width: 100%; height: 80px; object-fit: cover }
button { background: #2a7de1; color: #fff; border: 0; border-radius: 4px; padding: 6px 14px }
input { width: 90%; padding: 5px; border: 1px solid #aaa; border-radius: 4px }
"""


def pictures(photographs: Sequence[Image.Image]) -> dict[str, Image.Image]:
    """Five pages."""
    rng = np.random.default_rng(1)
    pages = {
        "article": article(rng, photographs[0], 180),
        "shop": shop(rng, photographs[:6]),
        "manual": manual(rng),
        "table": table(rng),
        "form": form(rng),
    }
    return {name: rendered(body) for name, body in pages.items()}


def screen(photographs: Sequence[Image.Image]) -> Image.Image:
    """A whole screen of 1920x1080: all five side by side and below each other."""
    rng = np.random.default_rng(8)
    parts = [article(rng, photographs[0], 200), manual(rng), table(rng), form(rng), manual(rng), table(rng)]
    body = "".join(
        f"<div style='float: left; width: 640px; height: 540px; overflow: hidden'>{part}</div>" for part in parts
    )
    return rendered(body, SCREEN)


def article(rng: np.random.Generator, photograph: Image.Image, width: int) -> str:
    """Text beside a photograph of so many pixels."""
    beside = f"<img src='{address(photograph)}' style='float: right; width: {width}px; margin: 0 0 8px 16px'>"
    text = "".join(f"<p>{paragraph(rng, 5)}</p>" for _ in range(7))
    return f"<header>News</header><main><h2>{sentence(rng, 6)}</h2>{beside}{text}</main>"


def shop(rng: np.random.Generator, photographs: Sequence[Image.Image]) -> str:
    """Cards with a photograph each."""
    cards = "".join(
        f"<div class=card><img src='{address(photograph)}'><p><b>{sentence(rng, 3)}</b><br>{sentence(rng, 8)}</p></div>"
        for photograph in photographs
    )
    return f"<header>Shop</header><main><h2>{sentence(rng, 4)}</h2><div class=cards>{cards}</div></main>"


def manual(rng: np.random.Generator) -> str:
    """Text and code."""
    code = "\n".join(
        f"<span style='color:#a0148c'>def</span> {name}(<span style='color:#1a5fb4'>value</span>):\n"
        f"    <span style='color:#777'># {sentence(rng, 7)}</span>\n    return value + {int(rng.integers(99))}\n"
        for name in ("begin", "middle", "finish")
    )
    text = "".join(f"<p>{paragraph(rng, 3)}</p>" for _ in range(3))
    return f"<header>Manual</header><main><h2>{sentence(rng, 5)}</h2>{text}<pre>{code}</pre>{text}</main>"


def table(rng: np.random.Generator) -> str:
    """Numbers, and bars drawn as a vector graphic."""
    heights = rng.integers(10, 120, 24)
    bars = "".join(
        f"<rect x='{31 * i}' y='{120 - height}' width='22' height='{height}' fill='#2a7de1'/>"
        for i, height in enumerate(heights)
    )
    rows = "".join(
        f"<tr><td>{sentence(rng, 3)}</td>" + "".join(f"<td>{value:,}</td>" for value in rng.integers(10**6, size=5))
        for _ in range(10)
    )
    return f"<header>Figures</header><main><svg width=750 height=120>{bars}</svg><table>{rows}</table></main>"


def form(rng: np.random.Generator) -> str:
    """Fields, buttons and a background that changes slowly."""
    fields = "".join(
        f"<p>{sentence(rng, 4)}<br><input value='{sentence(rng, 5)}'> <button>{sentence(rng, 1)}</button></p>"
        for _ in range(6)
    )
    sky = "background: linear-gradient(160deg, #e8f1ff, #fff4e0); height: 600px"
    return f"<div style='{sky}'><header>Form</header><main><h2>{sentence(rng, 4)}</h2>{fields}</main></div>"


def address(photograph: Image.Image) -> str:
    """A data: URL of it."""
    buffer = io.BytesIO()
    photograph.save(buffer, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def rendered(body: str, size: tuple[int, int] = SIZE) -> Image.Image:
    """A window of that size with this body, RGB. Raises MissingError without a Chromium."""
    chromium = shutil.which("chromium")
    if not chromium:
        raise MissingError("no Chromium here: apt-get install chromium", "chromium")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><body>{body}", encoding="utf-8")
        target = Path(folder) / "page.png"
        width, height = size
        how = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1"]
        where = [f"--user-data-dir={folder}/profile", f"--window-size={width},{height}", f"--screenshot={target}"]
        subprocess.run([chromium, *how, *where, page.as_uri()], capture_output=True, check=True)
        return Image.open(target).convert("RGB")
