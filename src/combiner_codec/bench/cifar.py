"""`make bench-cifar`: the CIFAR-10 tables, every row on the same images.

Betas of the five rates are found on held-out training images, never on test images.
"""

import io
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from .. import prior as priors
from ..prior import Prior
from . import codecs, rates, report
from . import curves as rd
from .codecs import CombinerCodec
from .measure import Point, Store, measure, points, summary
from .pictures import Group, read

RATES = (0.91, 1.39, 2.28, 3.50, 4.45)
MUST = (26.7, 29.1, 32.3, 35.7, 38.0)
AIM = (27.4, 29.8, 33.0, 36.7, 39.2)
LINE = "linear-Gaussian line"
DEFAULT = "default family, normal"
GROUPS = ((16, 16), (18, 18), (20, 20), (6, 16))  # bits that a group adds, bits of an index
EFFORTS = (("fast", 96), ("normal", 96), ("best", 8))  # images
EFFORT_RATE = 2.28  # bpp
EIGHT = tuple(float(f"{b:.2g}") for b in np.geomspace(0.03, 0.0001, 8))
HELD_OUT = 285  # training images that `make train-cifar` leaves out
PROBED = 64  # of these, the ones that betas are found on
LINEAR_BETAS = tuple(0.012 * 2 ** (-0.75 * k) for k in range(12))
SECTIONS = ("table", "groups", "effort", "betas")


@dataclass
class Cifar:
    """Images, references and results of one run."""

    folder: Path
    out: Path
    work: Path
    say: Callable[[str], None]
    images: int = 500
    reference_images: int = 100  # for the rows that the default family is compared with
    threads: int = 0
    note: str = ""

    def __post_init__(self):
        self.store = Store(self.out / "cifar10.json")
        self.note = self.note or self.store.data.get("note", "")
        self.test = read(self.folder / "test.npy")[: self.images]
        self.used: list[tuple[codecs.Codec, Group]] = []

    @cached_property
    def held_out(self) -> Group:
        return Group(tuple(read(self.folder / "train.npy")[-HELD_OUT:][:PROBED]))

    @cached_property
    def family(self) -> Prior:
        return codecs.default_prior(32, 32)

    @cached_property
    def linear(self) -> Prior:
        """The default family without its sine layers."""
        return self._linear("linear", 64)

    @cached_property
    def single(self) -> Prior:
        """One linear prior for all images (a class for flat ones apart)."""
        return self._linear("single", 2)

    def _linear(self, name: str, classes: int) -> Prior:
        import torch

        from ..train import RECIPES, TrainSettings, linear_prior

        path = self.work / f"{name}.npz"
        if not path.exists():
            self.work.mkdir(parents=True, exist_ok=True)
            train = np.load(self.folder / "train.npy")[:-HELD_OUT]
            pixels = torch.from_numpy(np.concatenate([train, train[:, :, ::-1]])).float() / 255
            settings = TrainSettings(LINEAR_BETAS, (classes,) * len(LINEAR_BETAS))
            linear_prior(pixels, replace(RECIPES["small"], settings=settings), path, self.say)
        return priors.load_file(path)

    def betas(self, prior: Prior, wanted: Sequence[float]) -> tuple[float, ...]:
        codec = CombinerCodec(prior=prior)
        return tuple(rates.betas_for(codec, wanted, [self.held_out], self.store, self.threads))

    def row(self, codec: codecs.Codec, count: int) -> list[Point]:
        """Measure a curve on the first test images."""
        group = Group(tuple(self.test[:count]))
        for line in measure([codec], [group], self.store, self.threads, self.say):
            self.say(line)
        self.used.append((codec, group))
        return points(codec, [group], self.store)

    def table(self) -> dict[str, list[Point]]:
        """Our rows, by name."""
        few, regrouped = min(self.images, self.reference_images), regroup(self.single, 16, 16)
        siren = priors.load("combiner-cifar")
        default = CombinerCodec(DEFAULT, "normal", self.betas(self.family, RATES), self.family)
        references = {
            "linear only, same classes and coder": (self.linear, self.betas(self.linear, RATES)),
            "linear, one prior, independent 16-bit groups": (regrouped, self.betas(regrouped, RATES)),
            "plain SIREN": (siren, tuple(siren.betas)),
        }
        curves = {DEFAULT: self.row(default, self.images)}
        if few < self.images:
            whole = [Group(tuple(self.test))]
            curves[f"the same, first {few} images"] = points(default, whole, self.store, first=few)
        for name, (prior, betas) in references.items():
            curves[name] = self.row(CombinerCodec(name, "normal", betas, prior), few)
        return curves

    def groups(self) -> dict[str, list[Point]]:
        """Group widths on 20 images: one linear prior, one beta."""
        betas = self.betas(regroup(self.single, 16, 16), RATES)[:1]
        result = {}
        for group_bits, index_bits in GROUPS:
            chained = group_bits < index_bits
            name = (
                f"chained, {group_bits} new bits, {index_bits}-bit indices"
                if chained
                else f"independent, {index_bits} bits"
            )
            prior = regroup(self.single, group_bits, index_bits)
            result[name] = self.row(CombinerCodec(f"groups: {name}", "normal", betas, prior), 20)
        return result

    def effort(self) -> dict[str, tuple[Point, Point]]:
        """Each effort's point, and that of `normal` on the same images."""
        betas = (self.betas(self.family, RATES)[RATES.index(EFFORT_RATE)],)
        normal = CombinerCodec("effort: normal", "normal", betas, self.family)
        count = dict(EFFORTS)["normal"]
        self.row(normal, count)
        whole = [Group(tuple(self.test[:count]))]
        result = {}
        for effort, n in EFFORTS:
            own = self.row(replace(normal, name=f"effort: {effort}", effort=effort), n)
            result[effort] = own[0], points(normal, whole, self.store, first=n)[0]
        return result

    def eight(self) -> list[Point]:
        """Eight betas on 50 images."""
        return self.row(CombinerCodec("eight betas", "fast", EIGHT, self.family), 50)


def regroup(original: Prior, group_bits: int, index_bits: int) -> Prior:
    """The same prior with other groups, as a prior file of its own."""
    arrays = dict(np.load(io.BytesIO(original.data), allow_pickle=False))
    metadata = json.loads(bytes(arrays["metadata"])) | {"group_bits": group_bits, "index_bits": index_bits}
    arrays["metadata"] = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return priors.parse(buffer.getvalue(), f"{original.name} {group_bits}/{index_bits}", priors.CUSTOM)


def run(cifar: Cifar, only: Sequence[str] = ()) -> None:
    """Measure what is missing and write cifar10.md, .svg and .png; `only` names sections, for a part of the run."""
    sections = only or SECTIONS
    curves = cifar.table() if "table" in sections else {}
    groups = cifar.groups() if "groups" in sections else {}
    efforts = cifar.effort() if "effort" in sections else {}
    eight = cifar.eight() if "betas" in sections else []
    cifar.store.save(note=cifar.note, summary=summary({**curves, **groups, "eight betas": eight}))
    stamps = sorted({line for codec, group in cifar.used for line in cifar.store.machines([codec], [group])})
    lines = [
        "# CIFAR-10",
        "",
        "Made by `make bench-cifar`. Test images from the start of `test.npy`; rate is file size, header included;",
        "PSNR of decoded 8-bit files over RGB; means over images. Betas were found on held-out training images, so",
        "measured rates differ a little from the wanted ones: the first table interpolates each row in log bpp",
        "(extended by a tenth of the rate at most; cells beyond are empty), the second gives what was measured.",
        cifar.note,
        "",
        *(f"Measured {line}" for line in stamps),
        *(rates_table(curves) if curves else []),
        *(measured_table(curves) if curves else []),
        *(groups_table(groups) if groups else []),
        *(effort_table(efforts, [p.rd for p in curves.get(DEFAULT, [])]) if efforts else []),
        *(eight_table(eight) if eight else []),
    ]
    (cifar.out / "cifar10.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if curves:
        draw(curves, cifar.out)


def rates_table(curves: dict[str, list[Point]]) -> list[str]:
    line = rd.published_curve("cifar10", LINE)
    rows = [
        ["must reach", "", *(report.cell(v) for v in MUST)],
        ["aim", "", *(report.cell(v) for v in AIM)],
        report.at_rates(f"{LINE}, ideal coder, no header", 500, line, RATES),
        *(
            report.at_rates(name, own[0].pictures, [p.rd for p in own], RATES)
            for name, own in curves.items()
            if own[1:]
        ),
    ]
    return ["", *report.table(["dB at file bpp", "images", *(f"{r:.2f}" for r in RATES)], rows)]


def measured_table(curves: dict[str, list[Point]]) -> list[str]:
    """Every point; coding loss is what posterior samples have over decoded files."""
    header = [
        "row",
        "setting",
        "bpp",
        "dB",
        "posterior samples, dB",
        "coding loss, dB",
        "KL / bits",
        "encode, s",
        "decode, ms",
    ]
    rows = [
        [name, p.label, f"{p.bpp:.3f}", f"{p.psnr:.2f}", *coding(p), f"{p.encode_seconds:.3g}",
         f"{1e3 * p.decode_seconds:.1f}"]
        for name, own in curves.items() for p in own
    ]  # fmt: skip
    note = "KL / bits is posterior KL over payload. Custom priors (the linear rows) cost 4 bytes more of header."
    trained = priors.load("combiner-cifar").metadata.get("trained", "plain SIREN")
    return ["", note, f"The {trained}; it is a reference for the code path, not the paper's result.", "",
            *report.table(header, rows)]  # fmt: skip


def coding(p: Point) -> list[str]:
    if not p.facts:
        return ["", "", ""]
    sampled = p.facts["sampled_psnr"]
    return [f"{sampled:.2f}", f"{sampled - p.psnr:.2f}", f"{kl_per_bit(p):.3f}"]


def kl_per_bit(p: Point) -> float:
    return p.facts["ideal_bits"] / (8 * (p.bytes - p.facts["header_bytes"]))


def groups_table(groups: dict[str, list[Point]]) -> list[str]:
    rows = [[name, f"{p.bpp:.3f}", f"{p.psnr:.2f}", f"{kl_per_bit(p):.3f}", f"{p.encode_seconds:.2f}"]
            for name, own in groups.items() for p in own]  # fmt: skip
    first = next(own[0] for own in groups.values() if own)
    return ["", "## Group widths", "", f"First {first.pictures} images, one linear prior, {first.label}, `normal`.", "",
            *report.table(["groups", "bpp", "dB", "KL / bits", "encode, s"], rows)]  # fmt: skip


def effort_table(efforts: dict[str, tuple[Point, Point]], curve: rd.Curve) -> list[str]:
    """dB against `normal` on the same images, the difference in rate taken out along the default family's curve."""

    def excess(p):
        return p.psnr - (rd.at_bpp(curve, [p.bpp])[0] if curve else 0.0)

    rows = [
        [f"`{name}`", str(p.pictures), f"{p.bpp:.3f}", f"{p.psnr:.2f}", f"{excess(p) - excess(normal):+.2f}",
         f"{p.encode_seconds:.3g}", f"{1e3 * p.decode_seconds:.1f}"]
        for name, (p, normal) in efforts.items()
    ]  # fmt: skip
    label = next(iter(efforts.values()))[0].label
    header = ["effort", "images together", "bpp", "dB", "dB against normal", "encode, s", "decode, ms"]
    how = "at the same rate" if curve else "not corrected for the rate"
    return ["", "## Effort", "", f"Default family, {label}; dB against `normal` on the same images, {how}.", "",
            *report.table(header, rows)]  # fmt: skip


def eight_table(eight: Sequence[Point]) -> list[str]:
    falls = rd.monotone([p.rd for p in eight]) and all(a.bpp < b.bpp for a, b in itertools.pairwise(eight))
    rows = [[p.label.removeprefix("beta "), f"{p.bpp:.3f}", f"{p.psnr:.2f}"] for p in eight]
    verdict = "both fall at every step as beta rises" if falls else "**not** monotone"
    about = f"First {eight[0].pictures} images, `fast`: mean bpp and mean PSNR, {verdict}."
    return ["", "## Eight betas", "", about, "", *report.table(["beta", "bpp", "dB"], rows)]


def draw(curves: dict[str, list[Point]], out: Path) -> None:
    measured = {name: [p.rd for p in own] for name, own in curves.items() if own and name not in ("jpeg", "jxl")}
    drawn = [entry for entry in rd.published("cifar10") if entry["draw"] and entry["name"] != "JPEG 2000"]
    for suffix in ("svg", "png"):
        report.plot(out / f"cifar10.{suffix}", "CIFAR-10 test images", measured, drawn, bottom=20)
