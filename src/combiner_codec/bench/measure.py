"""Run encoders over pictures and keep every result on disk, so that a second run goes on."""

import json
import os
import platform
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import cache
from importlib import metadata
from pathlib import Path

from ..errors import CombinerError, FormatError, MissingError
from ..reports import Report, unheard
from ..whole import whole_file
from . import quality
from .codecs import Codec, PillowCodec
from .pictures import Group

INNERMOST_LIST = re.compile(r"\[[^\[\]{}]*\]")


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
    eye: dict[str, float] = field(default_factory=dict)  # quality.EYE, as far as it was measured

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
        settings = self.data["curves"].get(codec.name, {})
        record = settings.get(codec.label(setting), {}).get(group.name)
        if record is None or record["pixels"] != group.digest:
            return None
        encoder = self._name(record["encoder"])
        return record if encoder == _identity(codec, setting, group) else None

    def put(self, codec: Codec, setting: float, group: Group, record: dict) -> None:
        """Keep a record, of today and of this machine."""
        stamp = {
            "pixels": group.digest,
            "encoder": self._number(_identity(codec, setting, group)),
            "machine": self._number(machine()),
            "date": str(date.today()),
        }
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
        found = set()
        for codec, setting, group in jobs_of(codecs, groups):
            record = self.find(codec, setting, group)
            if record:
                found.add(f"{record['date']}: {self._name(record['machine'])}")
        return sorted(found)

    def _number(self, name: str) -> int:
        names = self.data["names"]
        if name not in names:
            names.append(name)
        return names.index(name)

    def _name(self, number: int) -> str:
        return self.data["names"][number]


def _identity(codec: Codec, setting: float, group: Group) -> str:
    pixels = [picture.pixels for picture in group.pictures]
    return codec.identity(pixels, setting)


def compact(data) -> str:
    """JSON with one line a list."""
    text = json.dumps(data, indent=1, ensure_ascii=False)

    def on_one_line(found: re.Match) -> str:
        return re.sub(r"\s*\n\s*", " ", found[0])

    return INNERMOST_LIST.sub(on_one_line, text) + "\n"


Job = tuple[Codec, float, Group]  # what is measured at once: a codec's setting, and pictures


def jobs_of(codecs: Sequence[Codec], groups: Sequence[Group]) -> list[Job]:
    """Every setting of every codec with every group."""
    return [(codec, setting, group) for codec in codecs for setting in codec.settings for group in groups]


def measure(codecs: Sequence[Codec], groups: Sequence[Group], store: Store, threads: int = 0,
            report: Report = unheard, metrics: Sequence[str] = quality.USUAL) -> list[str]:  # fmt: skip
    """Measure what the store does not hold yet; returns one line about each codec that failed."""
    jobs = [job for job in jobs_of(codecs, groups) if lacking(job, store.find(*job), metrics)]
    failed: dict[str, str] = {}
    pace = Pace(jobs)
    for number, (codec, setting, group) in enumerate(jobs, 1):
        if codec.name in failed:
            continue
        started = time.perf_counter()
        try:
            record = record_of(codec, setting, group, threads, metrics)
        except MissingError:  # no picture will do
            raise
        except (CombinerError, OSError, ValueError, SyntaxError) as error:  # the last three are Pillow's
            failed[codec.name] = f"{codec.name}: left out, it failed on {group.name} ({error})"
            continue
        store.put(codec, setting, group, record)
        left = pace.left(codec, group, time.perf_counter() - started, number)
        shown = mean(codec, setting, [(group, record)])
        report(f"[{number}/{len(jobs)}] {codec.name} {shown.label}, {group.name}: {described(shown)}{left}")
    return list(failed.values())


def lacking(job: Job, record: dict | None, metrics: Sequence[str] = quality.USUAL) -> bool:
    """Whether something is to measure: hours of our own encoding are not repeated for the eye's measures alone."""
    codec, _, group = job
    if record is None:
        return True
    quick = isinstance(codec, PillowCodec)
    return quick and any(name not in record for name in seen(group, metrics))


def seen(group: Group, metrics: Sequence[str]) -> list[str]:
    """The eye's measures that are taken of a group: asked for, installed, and of pictures that are large enough."""
    shortest = min(min(picture.pixels.shape[:2]) for picture in group.pictures)
    return quality.measurable(metrics, (shortest, shortest))


def described(point: Point) -> str:
    """A line of progress."""
    spent = f"{point.encode_seconds:.2f} + {point.decode_seconds:.3f} s"
    return f"{point.bytes:.0f} bytes, {point.bpp:.3f} bpp, {point.psnr:.2f} dB, {spent}"


class Pace:
    """Time left, from the seconds per pixel that each codec has taken so far."""

    def __init__(self, jobs: Sequence[Job]):
        self.work = [(codec.name, group.pixels) for codec, _, group in jobs]
        self.seconds: Counter[str] = Counter()
        self.pixels: Counter[str] = Counter()

    def left(self, codec: Codec, group: Group, seconds: float, done: int) -> str:
        """The end of a line of progress, after so many jobs; empty where a minute is left or less."""
        self.seconds[codec.name] += seconds
        self.pixels[codec.name] += group.pixels
        rest = 0.0
        least = ""
        for name, pixels in self.work[done:]:
            if name in self.pixels:
                rest += pixels * self.seconds[name] / self.pixels[name]
            else:
                least = "over "
        return f"; {least}{rest / 60:.0f} min left" if rest > 60 else ""


def record_of(codec: Codec, setting: float, group: Group, threads: int = 0,
              metrics: Sequence[str] = quality.USUAL) -> dict:  # fmt: skip
    """Encode a group in one call, decode every file, compare with the original. Raises what the codec raises."""
    pixels = [picture.pixels for picture in group.pictures]
    files, encoding = timed(codec.encode, pixels, setting, threads)
    codec.decode(files[0].data, threads)  # priors and libraries are loaded once
    pairs = []
    decoding = []
    for original, file in zip(pixels, files, strict=True):
        decoded, seconds = timed(codec.decode, file.data, threads)
        pairs.append((original, decoded))
        decoding.append(seconds)
    eye = {}
    for name in seen(group, metrics):
        eye[name] = [round(quality.EYE[name].measure(a, b), 4) for a, b in pairs]
    return {
        "threads": threads,
        "bytes": [len(file.data) for file in files],
        "psnr": [round(quality.psnr(a, b), 4) for a, b in pairs],
        "ssim": [round(quality.ssim(a, b), 5) for a, b in pairs],
        **eye,
        "encode_seconds": round(encoding / len(pixels), 4),
        "decode_seconds": round(statistics.median(decoding), 5),
        "facts": {key: [file.facts[key] for file in files] for key in files[0].facts},
    }


def timed(work: Callable, *arguments) -> tuple:
    """What a function returns, and the seconds that it took."""
    started = time.perf_counter()
    result = work(*arguments)
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
    found = [record for _, record in records]
    counts = [len(record["bytes"]) for record in found]
    pixels = [picture.size for group, _ in records for picture in group.pictures[:first]]

    def mean_of(key, tables=found):
        return statistics.fmean(value for table in tables for value in table[key][:first])

    def seconds(key):
        return statistics.fmean((record[key] for record in found), counts)

    rates = [record["bytes"][:first] for record in found]
    sizes = [size for of_group in rates for size in of_group]
    facts = [record["facts"] for record in found]
    eye = {}
    for name in quality.EYE:
        if all(name in record for record in found):
            eye[name] = mean_of(name)
    return Point(
        setting=setting,
        label=codec.label(setting),
        pictures=len(pixels),
        bytes=mean_of("bytes"),
        bpp=statistics.fmean(8 * size / count for size, count in zip(sizes, pixels, strict=True)),
        psnr=mean_of("psnr"),
        ssim=mean_of("ssim"),
        encode_seconds=seconds("encode_seconds"),
        decode_seconds=seconds("decode_seconds"),
        facts={key: mean_of(key, facts) for key in facts[0]},
        eye=eye,
    )


def summary(curves: dict[str, list[Point]]) -> dict:
    """Mean curves as plain data."""
    return {name: [asdict(point) for point in curve] for name, curve in curves.items()}


@cache
def machine() -> str:
    """Processor, GPU and the versions that matter, without any name of a host."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "torch"))
    return f"{_processor()}, {os.cpu_count()} cores, {_gpu()}, Python {platform.python_version()}, {versions}"


def _processor() -> str:
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        for line in cpu.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
