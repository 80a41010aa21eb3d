"""The encoders that are measured, each with a ladder of settings.

Options were chosen for RGB PSNR on photographs, the measure of the tables:
- JPEG: optimised Huffman tables, 4:2:0, and the smaller of baseline and progressive. 4:4:4 was worse up to 2 bpp.
- JPEG 2000: 9/7 wavelet with the colour transform (Pillow leaves it out by default, which costs 4 dB at 1 bpp), bare
  codestream; a setting is the wanted bpp.
- WebP: method 6. JPEG XL: effort 7.
- AVIF: libaom, 4:4:4, tune psnr; speed 6 (the default of avifenc) and speed 2. `avif-default` is what people get
  without asking: 4:2:0, and the library's own tuning, which is `iq` since libavif 1.4 and costs PSNR.
- HEIC: x265 by libheif, which pillow-heif's wheels bring, decoded by their libde265; 4:4:4, full-range BT.601. Chosen
  on validation crops by BD-rate against libheif's defaults (preset slow, tune ssim) over 26 to 36 dB: -5 % in all,
  nearly all of it by chroma QP offsets of 1 (the default acts like 6); psy-rd off and tu-intra-depth 4 less than 1 %;
  preset placebo no better than slow; tune psnr, which turns adaptive quantisation off, 1 % worse; 4:2:0 worse as well.
  It runs on all cores whatever the number of threads.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata

import numpy as np

from .. import __version__
from ..decoder import decode_array, parse
from ..encoder.settings import Effort, Settings
from ..errors import CombinerError
from ..format import prior as priors
from ..format.prior import Prior
from ..picture.image import EQUAL
from .digest import code_digest

BETAS = (0.03, 0.01, 0.003, 0.001, 0.0003)
WEBP_METHOD = 6  # slowest
HEIC = {"preset": "slow", "tune": "ssim", "tu-intra-depth": "4",
        "x265:psy-rd": "0", "x265:cbqpoffs": "1", "x265:crqpoffs": "1", "chroma": 444}  # fmt: skip
AVIF_SPEED, AVIF_SLOW = 6, 2  # avifenc's own; slow, the fair rival of a codec that encodes in seconds
AVIF_LADDER = (3, 8, 14, 22, 32, 44, 58, 72)


@dataclass(frozen=True)
class File:
    """A picture as a codec stores it."""

    data: bytes
    facts: dict  # further numbers of this file, by name


@dataclass(frozen=True)
class PillowCodec:
    """A format of Pillow or of one of its plugins."""

    name: str
    format: str  # Pillow's name of it
    library: Callable[[], str | None]  # version of the encoder; None where it is not installed
    settings: tuple[float, ...]
    options: Callable[[float], list[dict]]  # ways to encode at a setting; the smallest file is kept
    parallel: str = ""  # option that takes the number of threads

    def label(self, setting: float) -> str:
        """A setting as tables show it."""
        return f"{setting:g}"

    def identity(self, pixels: Sequence[np.ndarray], setting: float) -> str:
        """Everything but the pixels that decides a file."""
        return f"{self.library()}, Pillow {metadata.version('pillow')}, {self.options(setting)}"

    def encode(self, pixels: Sequence[np.ndarray], setting: float, threads: int = 0) -> list[File]:
        """A file for each (H, W, 3) uint8 picture. Raises what Pillow's encoders raise."""
        extra = {}
        if threads and self.parallel:
            extra[self.parallel] = threads
        found = []
        for picture in pixels:
            files = [self._save(picture, options | extra) for options in self.options(setting)]
            found.append(File(min(files, key=len), {}))
        return found

    def _save(self, pixels: np.ndarray, options: dict) -> bytes:
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, self.format, **options)  # no colour profile, which would be stored too
        return buffer.getvalue()

    def decode(self, data: bytes, threads: int = 0) -> np.ndarray:
        """(H, W, 3) uint8."""
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@dataclass(frozen=True)
class CombinerCodec:
    """This package's codec: a setting is a beta."""

    name: str = "combiner"
    effort: str | Effort = "normal"
    settings: tuple[float, ...] = BETAS
    prior: Prior | None = None  # chosen by the picture's size if None
    device: str = "auto"
    tune: str = "psnr"
    kind: str = "inr"  # what pictures are stored as: one of settings.KINDS
    sampled: bool = False  # whether a sample of the posterior is measured too

    def label(self, setting: float) -> str:
        """A setting as tables show it."""
        return f"beta {setting:g}"

    def prior_for(self, pixels: np.ndarray) -> Prior:
        """The prior of an (H, W, 3) picture."""
        return self.prior or priors.default(pixels.shape[1], pixels.shape[0])

    def identity(self, pixels: Sequence[np.ndarray], setting: float) -> str:
        """Everything but the pixels that decides a file."""
        priors_of = [self.prior_for(picture) for picture in pixels]
        chosen = {prior.digest.hex()[:12]: prior.name for prior in priors_of}
        names = " and ".join(f"prior {name} {digest}" for digest, name in chosen.items())
        asked = ", sampled" if self.sampled else ""
        usual = f"combiner {__version__} code {code_digest()}, {names}, effort {self.effort}, beta {setting!r}"
        tune = "" if self.tune == "psnr" else f", tune {self.tune}"
        kind = "" if self.kind == "inr" else f", kind {self.kind}"
        return usual + tune + kind + asked

    def encode(self, pixels: Sequence[np.ndarray], setting: float, threads: int = 0) -> list[File]:
        """A file for each (H, W, 3) uint8 picture; those that share a prior are encoded together.

        Raises CombinerError.
        """
        from ..encoder.kinds import encode_pictures

        how = {"device": self.device, "threads": threads, "tune": self.tune, "kind": self.kind, "sampled": self.sampled}
        settings = Settings(setting, self.effort, **how)
        priors_of = [self.prior_for(picture) for picture in pixels]
        files: dict[int, File] = {}
        for prior in {prior.digest: prior for prior in priors_of}.values():
            members = [i for i, other in enumerate(priors_of) if other.digest == prior.digest]
            results = encode_pictures([pixels[i] for i in members], prior, settings)
            for i, result in zip(members, results, strict=True):
                files[i] = _file(result, prior)
        return [files[i] for i in range(len(pixels))]

    def decode(self, data: bytes, threads: int = 0) -> np.ndarray:
        """(H, W, 3) uint8."""
        return decode_array(data, self.prior, threads)


def _file(result, prior: Prior) -> File:
    """An encoder's result with the numbers that tables show. Raises the CombinerError that stands in its place."""
    if isinstance(result, CombinerError):
        raise result
    facts = {
        "ideal_bits": round(float(result.ideal_bits), 1),
        "header_bytes": parse(result.data, prior).header_bytes,
        "posterior_seconds": round(result.posterior_seconds, 4),
    }
    if result.sampled_psnr is not None:
        facts["sampled_psnr"] = round(min(float(result.sampled_psnr), EQUAL), 4)
    return File(result.data, facts)


Codec = PillowCodec | CombinerCodec


def _feature(name: str, label: str) -> Callable[[], str | None]:
    def version():
        from PIL import features

        return f"{label} {features.version(name)}" if features.check(name) else None

    return version


def _jpeg_version() -> str | None:
    from PIL import features

    if not features.check("jpg"):
        return None
    if features.check_feature("libjpeg_turbo"):
        return f"libjpeg-turbo {features.version('libjpeg_turbo')}"
    return f"libjpeg {features.version('jpg')}"


def _jxl_version() -> str | None:
    try:
        import pillow_jxl  # noqa: F401  registers the format
    except ImportError:
        return None
    return f"pillow-jxl-plugin {metadata.version('pillow-jxl-plugin')}"


def _heic_version() -> str | None:
    try:
        import pillow_heif
    except ImportError:
        return None
    pillow_heif.register_heif_opener()
    info = pillow_heif.libheif_info()
    if not info["HEIF"]:
        return None  # built without an encoder
    return f"libheif {info['libheif']}, {info['HEIF']}"


def _jpeg(quality):
    base = {"quality": int(quality), "subsampling": "4:2:0", "optimize": True}
    return [{**base, "progressive": progressive} for progressive in (False, True)]


def _jpeg2000(bpp):
    return [{"quality_mode": "rates", "quality_layers": [24 / bpp], "irreversible": True, "mct": 1, "no_jp2": True}]


def _webp(quality):
    return [{"quality": int(quality), "method": WEBP_METHOD}]


def _avif(speed: int) -> Callable[[float], list[dict]]:
    how = {"codec": "aom", "speed": speed, "subsampling": "4:4:4", "advanced": {"tune": "psnr"}}
    return lambda quality: [{"quality": int(quality), **how}]


def _avif_default(speed: int) -> Callable[[float], list[dict]]:
    return lambda quality: [{"quality": int(quality), "codec": "aom", "speed": speed}]


def _avif_version() -> str | None:
    """Of libavif and of its libraries."""
    from PIL import features

    if not features.check("avif"):
        return None
    from PIL import _avif as library  # the only place that knows them

    return f"libavif {features.version('avif')} ({library.codec_versions()})"


def _avif_codec(speed: int, default: bool = False) -> PillowCodec:
    if default:
        return PillowCodec(f"avif default, speed {speed}", "AVIF", _avif_version, AVIF_LADDER, _avif_default(speed),
                           "max_threads")  # fmt: skip
    version = _feature("avif", "libavif")  # part of the identity of published results
    return PillowCodec(f"avif 4:4:4, speed {speed}", "AVIF", version, AVIF_LADDER, _avif(speed), "max_threads")


def _heic(quality):
    parameters = dict(HEIC)  # pillow-heif adds to what it is given
    return [{"quality": int(quality), "subsampling": "4:4:4", "enc_params": parameters}]


def _jxl(quality):
    return [{"quality": int(quality), "effort": 7}]


OTHERS = {  # by the name that commands take; tables and results show the codec's own
    "jpeg": PillowCodec("jpeg", "JPEG", _jpeg_version, (3, 6, 10, 15, 22, 33, 48, 65, 80, 90), _jpeg),
    "jpeg2000": PillowCodec("jpeg2000", "JPEG2000", _feature("jpg_2000", "OpenJPEG"),
                            (0.1, 0.15, 0.22, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2.3, 3.5), _jpeg2000),
    "webp": PillowCodec("webp", "WEBP", _feature("webp", "libwebp"), (0, 3, 8, 18, 32, 50, 70, 82, 90), _webp),
    "heic": PillowCodec("heic 4:4:4", "HEIF", _heic_version, (2, 9, 17, 25, 33, 42, 52, 64), _heic),
    "avif": _avif_codec(AVIF_SPEED),
    "avif-slow": _avif_codec(AVIF_SLOW),
    "avif-default": _avif_codec(AVIF_SPEED, default=True),
    "avif-default-slow": _avif_codec(AVIF_SLOW, default=True),
    "jxl": PillowCodec("jxl", "JXL", _jxl_version, (0, 5, 12, 22, 35, 50, 68, 82, 90), _jxl, "num_threads"),
}  # fmt: skip


def others(names: Sequence[str]) -> tuple[list[PillowCodec], list[str]]:
    """Codecs by the names of OTHERS, and one line about each that is not installed."""
    found = []
    missing = []
    for name in names:
        if OTHERS[name].library():
            found.append(OTHERS[name])
        else:
            missing.append(f"{name}: not installed, left out ({_hint(name)})")
    return found, missing


def versions(names: Sequence[str]) -> list[str]:
    """A line about the library of each of some codecs, by the names that tables have."""
    return [f"{codec.name}: {codec.library()}" for codec in OTHERS.values() if codec.name in names]


def _hint(name: str) -> str:
    if name in ("heic", "jxl"):
        return "in a checkout: pip install '.[bench]'"
    return "this Pillow was built without it"
