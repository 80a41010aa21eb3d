"""Damaged and malicious files: what the decoder makes of them, how long it takes and how much memory."""

import resource
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from combiner_codec import decoder
from combiner_codec.errors import FormatError
from combiner_codec.format import header
from combiner_codec.format import prior as priors
from combiner_codec.format.prior import Prior

from . import golden, prior_mutants
from .prior_mutants import Content


@dataclass
class Outcome:
    """What became of some files."""

    results: Counter = field(default_factory=Counter)  # "refused" and "decoded"
    seconds: float = 0.0  # of the slowest
    peak: int = 0  # largest allocation while one was refused or decoded, in bytes
    pixels: int = 0  # of the largest picture decoded

    @staticmethod
    def of(parts: "list[Outcome]") -> "Outcome":
        """All of them together."""
        most = (max(getattr(part, name) for part in parts) for name in ("seconds", "peak", "pixels"))
        return Outcome(sum((part.results for part in parts), Counter()), *most)

    def row(self, name: str) -> str:
        """Row of the table."""
        r, memory = self.results, f"{self.peak / 1e3:.0f} kB" if self.peak else ""
        times = f"{1e3 * self.seconds:.2f} ms | {memory} | {self.pixels or ''}"
        return f"| {name} | {sum(r.values())} | {r['refused']} | {r['decoded']} | {times} |"


def repaired(data: bytes, given: Prior | None = None) -> bytes:
    """The file with the checksum that the prior it names asks for; as it is where there is no such prior."""
    try:
        number = data[1] >> 4
        prior = given if number == header.CUSTOM else priors.by_number(number)
        size = header.checksum_size(len(data))
        return data[:-size] + header.checksum(data[:-size], prior.digest, short=size == 1)
    except (FormatError, IndexError, AttributeError):
        return data


def prefixes(data: bytes) -> Iterator[bytes]:
    """The file cut off at every byte."""
    return (data[:end] for end in range(len(data)))


def flips(data: bytes) -> Iterator[bytes]:
    """The file with one bit changed, each in turn."""
    for bit in range(8 * len(data)):
        yield data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def edits(data: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """One to four random changes each: bytes replaced, inserted, removed or repeated, bits flipped; every third in the
    header.
    """
    rng = np.random.default_rng(seed)
    for number in range(count):
        changed = bytearray(data)
        for _ in range(rng.integers(1, 5)):
            reach = min(16, len(changed)) if number % 3 == 0 else len(changed)
            edit(changed, reach, rng)
        if bytes(changed) != data:
            yield bytes(changed)


def edit(changed: bytearray, reach: int, rng: np.random.Generator) -> None:
    """One random change within the first `reach` bytes."""
    at, size = int(rng.integers(reach)), int(rng.integers(1, 9))
    fresh = rng.bytes(size)
    kind = rng.integers(5)
    if kind == 0:
        changed[at : at + size] = fresh[: len(changed) - at]
    elif kind == 1:
        changed[at:at] = fresh
    elif kind == 2 and len(changed) > size + 1:
        del changed[at : at + size]
    elif kind == 3:
        changed[at:at] = changed[at : at + size]
    else:
        changed[at] ^= 1 << rng.integers(8)


SIZES = ((65535, 65535), (1 << 20, 1 << 20), (13377, 13377), (1, 1 << 20), (4096, 4096))  # claimed by bombs


def bombs() -> Iterator[tuple[str, bytes]]:
    """Headers that claim much and hold nothing, of every shipped prior, checksums in order."""
    for name, (number, _) in priors.MANIFEST.items():
        coder = header.USUAL_BITS.index(priors.load(name).operating_point(0).index_bits)
        head = header.HEADER.pack(header.MAGIC, number << 4 | coder, 0)
        for w, h in SIZES:
            size = header.write_varint(w - 1) + header.write_varint(h - 1)
            for payload in (b"", bytes(64)):
                yield f"{name}, {w} x {h}, {len(payload)} bytes", repaired(head + size + payload + b".")
        yield f"{name}, no sizes", repaired(head + b".")
        yield f"{name}, sizes of no end", repaired(head + b"\xff" * 40 + b".")
        yield f"{name}, sizes of 0 in two bytes", repaired(head + b"\x80\x00\x80\x00" + b"..")


def warm() -> None:
    """Load all priors: what a process does once is not what a file costs."""
    for name in priors.MANIFEST:
        prior = priors.load(name)
        for point in range(len(prior.betas)):
            for grey in (False, True):
                prior.operating_point(point, grey)


def judge(files: Iterable[bytes], prior: Prior | None = None, trace: bool = False, **options) -> Outcome:
    """Decode files: each is refused with a FormatError or decoded; any other end is an error of the decoder.

    Seconds are the processor's. With `trace` memory is watched too, which takes several times as long.
    """
    outcome = Outcome()
    for data in files:
        result, seconds, peak, pixels = _one(data, prior, trace, options)
        outcome.results[result] += 1
        outcome.peak, outcome.pixels = max(outcome.peak, peak), max(outcome.pixels, pixels)
        if result == "refused":
            outcome.seconds = max(outcome.seconds, seconds)
    return outcome


def _one(data, prior, trace, options):
    if trace:
        tracemalloc.start()
    started = time.thread_time()
    try:
        result, pixels = "decoded", decoder.decode_array(data, prior, threads=1, **options)
        pixels = pixels.shape[0] * pixels.shape[1]
    except FormatError:
        result, pixels = "refused", 0
    seconds = time.thread_time() - started
    peak = tracemalloc.get_traced_memory()[1] if trace else 0
    tracemalloc.stop()
    return result, seconds, peak, pixels


def judge_priors(contents: Iterable[Content], trace: bool = False) -> Outcome:
    """Load priors from strangers, and decode a picture with each one that is taken: "refused" is a prior."""
    outcome = Outcome()
    for content in contents:
        data = prior_mutants.npz(content)
        if trace:
            tracemalloc.start()
        started = time.thread_time()
        try:
            prior = priors.parse(data, content.change)
        except FormatError:
            prior = None
            outcome.seconds = max(outcome.seconds, time.thread_time() - started)
        if trace:
            outcome.peak = max(outcome.peak, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        if prior is None:
            outcome.results["refused"] += 1
            continue
        with np.errstate(all="ignore"):  # of weights of any size
            outcome.results.update(judge([prior_mutants.some_file(prior)], prior).results)
    return outcome


def resident() -> float:
    """Most memory that the process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


HEAD = "| files | tried | refused | decoded | slowest refusal | memory | largest picture, pixels |"


def report(edits_each: int = 2000, mutations: int = 10_000) -> str:
    """Everything of this module, as a Markdown table."""
    warm()
    rows, names = [HEAD, "| --- |" + " ---: |" * 6], list(golden.manifest()["files"])

    def add(kind, make, **options):
        """A row for the files that `make` makes of every golden file."""
        outcomes = []
        for name in names:
            data, prior, _ = golden.read(name)
            outcomes.append(judge(make(data, prior), prior, **options))
        rows.append(Outcome.of(outcomes).row(kind))

    def mutants(data, prior):
        return (repaired(file, prior) for file in edits(data, mutations // len(names), seed=1))

    add("every prefix", lambda data, prior: prefixes(data))
    add("every single-bit flip", lambda data, prior: flips(data))
    add(f"random edits, {edits_each} of each golden file", lambda data, prior: edits(data, edits_each))
    add("random edits, memory watched", lambda data, prior: edits(data, 50, seed=1), trace=True)
    add("random edits, checksum repaired", mutants)
    files = [file for _, file in bombs()]
    rows += [judge(files).row("header bombs"), judge(files, trace=True).row("header bombs, memory watched")]
    rows.append(judge_priors(prior_mutants.mutants(mutations)).row("priors with one change or two"))
    rows.append(judge_priors(prior_mutants.mutants(200, seed=1), trace=True).row("such priors, memory watched"))
    return "\n".join(rows) + f"\n\nThe whole process never had more than {resident():.0f} MB of memory.\n"
