"""Run encoders over pictures and keep every result on disk, so that a second run goes on."""

import json
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import cache
from importlib import metadata
from pathlib import Path

from ..errors import CombinerError, FormatError
from ..reports import Report, unheard
from ..whole import whole_file
from . import quality
from .codecs import Codec, PillowCodec
from .pictures import Group


@dataclass(frozen=True)
class Point:
    """Means of a set of pictures at one setting."""

    setting: float
    label: str
    pictures: int
    bytes: float
    bpp: float  # mean of the pictures' bits per pixel, whole files
    psnr: float  # dB
    ssim: float  # MS-SSIM, SSIM below 176 pixels
    encode_seconds: float  # per picture
    decode_seconds: float  # per picture
    facts: dict = field(default_factory=dict)  # means of the codec's own numbers
    butteraugli: float | None = None  # 3-norm; None where it was not measured

    @property
    def rd(self) -> tuple[float, float]:
        return self.bpp, self.psnr


class Store:
    """Records by curve, setting and group. A record counts only for the same pixels and the same encoder."""

    def __init__(self, path: Path | None):
        """Results of an earlier run, if the file is there; None keeps none. Raises FormatError for other files."""
        self.path = path
        self.data: dict = {"curves": {}, "names": []}
        if path and path.exists():
            try:
                self.data = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise FormatError(f"{path}: not results of combiner bench ({error})") from error
            if not isinstance(self.data, dict) or not {"curves", "names"} <= self.data.keys():
                raise FormatError(f"{path}: not results of combiner bench: name another file, or delete it")

    def find(self, codec: Codec, setting: float, group: Group) -> dict | None:
        """The record that counts, if there is one."""
        record = self.data["curves"].get(codec.name, {}).get(codec.label(setting), {}).get(group.name)
        if record is None or record["pixels"] != group.digest:
            return None
        return record if self._name(record["encoder"]) == _identity(codec, setting, group) else None

    def put(self, codec: Codec, setting: float, group: Group, record: dict) -> None:
        """Keep a record, of today and of this machine."""
        stamp = {"pixels": group.digest, "encoder": self._number(_identity(codec, setting, group))}
        stamp |= {"machine": self._number(machine()), "date": str(date.today())}
        settings = self.data["curves"].setdefault(codec.name, {})
        settings.setdefault(codec.label(setting), {})[group.name] = stamp | record
        self.save()

    def save(self, **more) -> None:
        """Write the file whole or not at all."""
        self.data.update(more)
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self.path, sync=False) as file:  # there is one for every record
            file.write(compact(self.data).encode())

    def machines(self, codecs: Sequence[Codec], groups: Sequence[Group]) -> list[str]:
        """Machines, with dates, on which the records that count were made."""
        found = [self.find(c, s, g) for c in codecs for s in c.settings for g in groups]
        return sorted({f"{r['date']}: {self._name(r['machine'])}" for r in found if r})

    def _number(self, name: str) -> int:
        names = self.data["names"]
        if name not in names:
            names.append(name)
        return names.index(name)

    def _name(self, number: int) -> str:
        return self.data["names"][number]


def _identity(codec: Codec, setting: float, group: Group) -> str:
    return codec.identity([p.pixels for p in group.pictures], setting)


def compact(data) -> str:
    """JSON with one line a list."""
    text = json.dumps(data, indent=1, ensure_ascii=False)
    return re.sub(r"\[[^\[\]{}]*\]", lambda m: re.sub(r"\s*\n\s*", " ", m[0]), text) + "\n"


def measure(codecs: Sequence[Codec], groups: Sequence[Group], store: Store, threads: int = 0,
            report: Report = unheard) -> list[str]:  # fmt: skip
    """Measure what the store does not hold yet; returns one line about each codec that failed."""
    jobs = [(c, s, g) for c in codecs for s in c.settings for g in groups]
    jobs = [job for job in jobs if lacking(job, store.find(*job))]
    failed: dict[str, str] = {}
    pace = Pace(jobs)
    for number, (codec, setting, group) in enumerate(jobs, 1):
        if codec.name in failed:
            continue
        started = time.perf_counter()
        try:
            record = record_of(codec, setting, group, threads)
        except (CombinerError, OSError, ValueError, SyntaxError) as error:  # the last three are Pillow's
            failed[codec.name] = f"{codec.name}: left out, it failed on {group.name} ({error})"
            continue
        store.put(codec, setting, group, record)
        left = pace.left(codec, group, time.perf_counter() - started, number)
        shown = mean(codec, setting, [(group, record)])
        report(f"[{number}/{len(jobs)}] {codec.name} {shown.label}, {group.name}: {described(shown)}{left}")
    return list(failed.values())


def lacking(job: tuple[Codec, float, Group], record: dict | None) -> bool:
    """Whether something is to measure: hours of our own encoding are not repeated for the eye's measure alone."""
    codec, _, group = job
    quick = isinstance(codec, PillowCodec) and seen(group)
    return record is None or (quick and "butteraugli" not in record)


def seen(group: Group) -> bool:
    """Whether Butteraugli is measured: of pictures that are large enough for MS-SSIM, where its program is there."""
    return quality.has_butteraugli() and all(min(p.pixels.shape[:2]) >= quality.MULTISCALE for p in group.pictures)


def described(point: Point) -> str:
    """A line of progress."""
    spent = f"{point.encode_seconds:.2f} + {point.decode_seconds:.3f} s"
    return f"{point.bytes:.0f} bytes, {point.bpp:.3f} bpp, {point.psnr:.2f} dB, {spent}"


class Pace:
    """Time left, from the seconds per pixel that each codec has taken so far."""

    def __init__(self, jobs):
        self.work = [(codec.name, sum(p.size for p in group.pictures)) for codec, _, group in jobs]
        self.spent: dict[str, list[float]] = {}

    def left(self, codec: Codec, group: Group, seconds: float, done: int) -> str:
        total = self.spent.setdefault(codec.name, [0.0, 0.0])
        total[0] += seconds
        total[1] += sum(p.size for p in group.pictures)
        rest = sum(self.spent[n][0] / self.spent[n][1] * size for n, size in self.work[done:] if n in self.spent)
        unknown = any(name not in self.spent for name, _ in self.work[done:])
        return f"; {'over ' if unknown else ''}{rest / 60:.0f} min left" if rest > 60 else ""


def record_of(codec: Codec, setting: float, group: Group, threads: int = 0) -> dict:
    """Encode a group in one call, decode every file, compare with the original. Raises what the codec raises."""
    pixels = [p.pixels for p in group.pictures]
    files, encoding = timed(lambda: codec.encode(pixels, setting, threads))
    codec.decode(files[0].data, threads)  # priors and libraries are loaded once
    decoded = [timed(lambda data=file.data: codec.decode(data, threads)) for file in files]
    pairs = [(a, b) for a, (b, _) in zip(pixels, decoded, strict=True)]
    eye = {"butteraugli": [round(quality.butteraugli(a, b), 4) for a, b in pairs]} if seen(group) else {}
    return {
        "threads": threads,
        "bytes": [len(file.data) for file in files],
        "psnr": [round(quality.psnr(a, b), 4) for a, b in pairs],
        "ssim": [round(quality.ssim(a, b), 5) for a, b in pairs],
        **eye,
        "encode_seconds": round(encoding / len(pixels), 4),
        "decode_seconds": round(statistics.median(seconds for _, seconds in decoded), 5),
        "facts": {key: [file.facts[key] for file in files] for key in files[0].facts},
    }


def timed(work: Callable) -> tuple:
    """What a function returns, and the seconds that it took."""
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def points(codec: Codec, groups: Sequence[Group], store: Store, first: int | None = None) -> list[Point]:
    """Mean of every setting for which all groups are measured; `first` takes the first pictures of each group only."""
    result = []
    for setting in codec.settings:
        records = [(group, store.find(codec, setting, group)) for group in groups]
        if records and all(record for _, record in records):
            result.append(mean(codec, setting, records, first))
    return result


def mean(codec: Codec, setting: float, records: Sequence[tuple[Group, dict]], first: int | None = None) -> Point:
    """Mean over the pictures of some records, or over the first of each."""
    counts = [len(record["bytes"]) for _, record in records]
    sizes = [picture.size for group, _ in records for picture in group.pictures[:first]]

    def values(key):
        return [value for _, record in records for value in record[key][:first]]

    def fact(key):
        return statistics.fmean(value for _, record in records for value in record["facts"][key][:first])

    def all_have(key):
        return all(key in record for _, record in records)

    def seconds(key):
        return sum(n * record[key] for n, (_, record) in zip(counts, records, strict=True)) / sum(counts)

    return Point(
        setting,
        codec.label(setting),
        len(sizes),
        statistics.fmean(values("bytes")),
        statistics.fmean(8 * b / n for b, n in zip(values("bytes"), sizes, strict=True)),
        statistics.fmean(values("psnr")),
        statistics.fmean(values("ssim")),
        seconds("encode_seconds"),
        seconds("decode_seconds"),
        {key: fact(key) for key in records[0][1]["facts"]},
        statistics.fmean(values("butteraugli")) if all_have("butteraugli") else None,
    )


def summary(curves: dict[str, list[Point]]) -> dict:
    """Mean curves as plain data."""
    return {name: [asdict(point) for point in own] for name, own in curves.items()}


@cache
def machine() -> str:
    """Processor, GPU and the versions that matter, without any name of a host."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "torch"))
    return f"{model}, {os.cpu_count()} cores, {_gpu()}, Python {platform.python_version()}, {versions}"


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
