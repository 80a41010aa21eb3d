"""The encoders that are measured, each with a ladder of settings.

Options were chosen for RGB PSNR on photographs, the measure of the tables:
- JPEG: optimised Huffman tables, 4:2:0, and the smaller of baseline and progressive. 4:4:4 was worse up to 2 bpp.
- JPEG 2000: 9/7 wavelet with the colour transform (Pillow leaves it out by default, which costs 4 dB at 1 bpp), bare
  codestream; a setting is the wanted bpp.
- WebP: method 6. AVIF: libaom, 4:4:4, speed 6 (the default of avifenc), tune psnr. JPEG XL: effort 7.
"""

import ast
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import __version__
from .. import prior as priors
from ..prior import Prior

if TYPE_CHECKING:
    from ..fit import Effort

BETAS = (0.03, 0.01, 0.003, 0.001, 0.0003)


@dataclass(frozen=True)
class Coded:
    data: bytes
    facts: dict  # further numbers of this file


@dataclass(frozen=True)
class PillowCodec:
    """A format of Pillow or of one of its plugins."""

    name: str
    format: str
    library: Callable[[], str | None]  # version of the encoder; None where it is not installed
    settings: tuple[float, ...]
    options: Callable[[float], list[dict]]  # ways to encode at a setting; the smallest file is kept
    parallel: str = ""  # option that takes the number of threads

    def label(self, setting: float) -> str:
        return f"{setting:g}"

    def identity(self, pixels: Sequence[np.ndarray], setting: float) -> str:
        """Everything but the pixels that decides a file."""
        return f"{self.library()}, Pillow {metadata.version('pillow')}, {self.options(setting)}"

    def encode(self, pixels: Sequence[np.ndarray], setting: float, threads: int = 0) -> list[Coded]:
        from PIL import Image

        extra = {self.parallel: threads} if threads and self.parallel else {}

        def save(picture, options):
            buffer = io.BytesIO()
            picture.save(buffer, self.format, **options, **extra)
            return buffer.getvalue()

        pictures = [Image.fromarray(p) for p in pixels]  # without a colour profile, which would be stored too
        return [Coded(min((save(p, o) for o in self.options(setting)), key=len), {}) for p in pictures]

    def decode(self, data: bytes, threads: int = 0) -> np.ndarray:
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@dataclass(frozen=True)
class CombinerCodec:
    """This package's codec: a setting is a beta."""

    name: str = "combiner"
    effort: "str | Effort" = "normal"
    settings: tuple[float, ...] = BETAS
    prior: Prior | None = None  # chosen by the picture's size if None
    device: str = "auto"

    def label(self, setting: float) -> str:
        return f"beta {setting:g}"

    def prior_for(self, pixels: np.ndarray) -> Prior:
        return self.prior or default_prior(pixels.shape[1], pixels.shape[0])

    def identity(self, pixels: Sequence[np.ndarray], setting: float) -> str:
        chosen = {p.digest.hex()[:12]: p.name for p in map(self.prior_for, pixels)}
        names = " and ".join(f"prior {name} {digest}" for digest, name in chosen.items())
        return f"combiner {__version__} code {code_digest()}, {names}, effort {self.effort}, beta {setting!r}"

    def encode(self, pixels: Sequence[np.ndarray], setting: float, threads: int = 0) -> list[Coded]:
        """Pictures that share a prior are encoded together."""
        from .. import codec

        by_prior: dict[bytes, list[int]] = {}
        for i, picture in enumerate(pixels):
            by_prior.setdefault(self.prior_for(picture).digest, []).append(i)
        coded: dict[int, Coded] = {}
        for members in by_prior.values():
            chosen = self.prior_for(pixels[members[0]])
            batch = [pixels[i] for i in members]
            options = {"effort": self.effort, "device": self.device}
            results = codec.encode_arrays(batch, setting, chosen, threads=threads, **options)
            for i, result in zip(members, results, strict=True):
                facts = {
                    "ideal_bits": round(float(result.ideal_bits), 1),
                    "sampled_psnr": round(float(result.sampled_psnr), 4),
                    "header_bytes": codec.parse(result.data, chosen).header_bytes,
                    "posterior_seconds": round(result.posterior_seconds, 4),
                }
                coded[i] = Coded(result.data, facts)
        return [coded[i] for i in range(len(pixels))]

    def decode(self, data: bytes, threads: int = 0) -> np.ndarray:
        from .. import codec

        return codec.decode_array(data, self.prior, threads)


Codec = PillowCodec | CombinerCodec


def default_prior(width: int, height: int) -> Prior:
    """The shipped prior for a picture of some size."""
    return priors.default(width, height)


@cache
def code_digest() -> str:
    """Digest of the modules that decide a file, comments and docstrings left out: unreleased code has no version."""
    outside = {"cli.py", "train.py", "__init__.py", "__main__.py", "inspection.py", "drawing.py", "fitted.py"}
    outside |= {"manual.py", "pillow_plugin.py", "target.py", "graphics.py", "mixture.py"}
    total = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].glob("*.py")):
        if path.name not in outside:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                body = getattr(node, "body", None)
                if isinstance(body, list):
                    node.body = [s for s in body if not _is_text(s)]
            total.update(path.name.encode() + ast.dump(tree).encode())
    return total.hexdigest()[:8]


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _feature(name: str, label: str) -> Callable[[], str | None]:
    def version():
        from PIL import features

        return f"{label} {features.version(name)}" if features.check(name) else None

    return version


def _jpeg_version() -> str | None:
    from PIL import features

    turbo = features.check_feature("libjpeg_turbo")
    name = "libjpeg-turbo" if turbo else "libjpeg"
    return f"{name} {features.version('libjpeg_turbo' if turbo else 'jpg')}" if features.check("jpg") else None


def _jxl_version() -> str | None:
    try:
        import pillow_jxl  # noqa: F401  registers the format
    except ImportError:
        return None
    return f"pillow-jxl-plugin {metadata.version('pillow-jxl-plugin')}"


def _jpeg(quality):
    base = {"quality": int(quality), "subsampling": "4:2:0", "optimize": True}
    return [{**base, "progressive": progressive} for progressive in (False, True)]


def _jpeg2000(bpp):
    return [{"quality_mode": "rates", "quality_layers": [24 / bpp], "irreversible": True, "mct": 1, "no_jp2": True}]


def _webp(quality):
    return [{"quality": int(quality), "method": 6}]


def _avif(quality):
    how = {"codec": "aom", "speed": 6, "subsampling": "4:4:4", "advanced": {"tune": "psnr"}}
    return [{"quality": int(quality), **how}]


def _jxl(quality):
    return [{"quality": int(quality), "effort": 7}]


OTHERS = {
    codec.name: codec
    for codec in (
        PillowCodec("jpeg", "JPEG", _jpeg_version, (3, 6, 10, 15, 22, 33, 48, 65, 80, 90), _jpeg),
        PillowCodec("jpeg2000", "JPEG2000", _feature("jpg_2000", "OpenJPEG"),
                    (0.1, 0.15, 0.22, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2.3, 3.5), _jpeg2000),
        PillowCodec("webp", "WEBP", _feature("webp", "libwebp"), (0, 3, 8, 18, 32, 50, 70, 82, 90), _webp),
        PillowCodec("avif", "AVIF", _feature("avif", "libavif"), (3, 8, 14, 22, 32, 44, 58, 72), _avif, "max_threads"),
        PillowCodec("jxl", "JXL", _jxl_version, (0, 5, 12, 22, 35, 50, 68, 82, 90), _jxl, "num_threads"),
    )
}  # fmt: skip


def others(names: Sequence[str]) -> tuple[list[PillowCodec], list[str]]:
    """Codecs by name, and one line about each that is not installed."""
    found = [OTHERS[name] for name in names if OTHERS[name].library()]
    missing = [name for name in names if not OTHERS[name].library()]
    return found, [f"{name}: not installed, left out" + _hint(name) for name in missing]


def _hint(name: str) -> str:
    return " (pip install 'combiner-codec[bench]')" if name == "jxl" else " (this Pillow was built without it)"
