"""Damaged and malicious files: what the decoder makes of them, how long it takes and how much memory."""

import resource
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from combiner_codec import FormatError, bitstream, codec
from combiner_codec import prior as priors

from . import golden

SLOW = 5e-3  # seconds that refusing a file may take


@dataclass
class Outcome:
    """What became of some files."""

    results: Counter = field(default_factory=Counter)  # "refused" and "decoded"
    seconds: float = 0.0  # of the slowest
    peak: int = 0  # largest allocation while one was refused or decoded, in bytes
    pixels: int = 0  # of the largest picture decoded

    def row(self, name: str) -> str:
        r = self.results
        times = f"{1e3 * self.seconds:.2f} ms | {self.peak / 1e6:.2f} MB | {self.pixels}"
        return f"| {name} | {sum(r.values())} | {r['refused']} | {r['decoded']} | {times} |"


def repaired(data: bytes, given: priors.Prior | None = None) -> bytes:
    """The file with the checksum that the prior it names asks for; as it is where there is no such prior."""
    try:
        prior = given if len(data) > 3 and data[3] == bitstream.CUSTOM else priors.by_number(data[3])
        body = data[: -bitstream.CHECKSUM.size]
        return body + bitstream.CHECKSUM.pack(bitstream.checksum(body, prior.digest))
    except (FormatError, IndexError, AttributeError):
        return data


def prefixes(data: bytes) -> Iterator[bytes]:
    return (data[:end] for end in range(len(data)))


def flips(data: bytes) -> Iterator[bytes]:
    for bit in range(8 * len(data)):
        yield data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def edits(data: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """One to four random changes each: bytes replaced, inserted, removed, repeated or moved; every third in the header."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        changed = bytearray(data)
        for _ in range(rng.integers(1, 5)):
            reach = min(16, len(changed)) if number % 3 == 0 else len(changed)
            at, size = int(rng.integers(reach)), int(rng.integers(1, 9))
            fresh = rng.bytes(size)
            match rng.integers(5):
                case 0:
                    changed[at : at + size] = fresh[: len(changed) - at]
                case 1:
                    changed[at:at] = fresh
                case 2 if len(changed) > size + 1:
                    del changed[at : at + size]
                case 3:
                    changed[at:at] = changed[at : at + size]
                case _:
                    changed[at] ^= 1 << rng.integers(8)
        if bytes(changed) != data:
            yield bytes(changed)


def bombs() -> Iterator[tuple[str, bytes]]:
    """Headers that claim much and hold nothing, of every shipped prior, checksums in order."""
    sizes = [(65535, 65535), (1 << 20, 1 << 20), (13377, 13377), (1, 1 << 20), (4096, 4096)]
    for name, (number, _) in priors.MANIFEST.items():
        prior, widths = priors.load(name), [(bits - 8) // 2 << 5 for bits in bitstream.INDEX_BITS]
        width = widths[bitstream.INDEX_BITS.index(prior.level(0).index_bits)]
        for w, h in sizes:
            for payload in (b"", bytes(64)):
                size = bitstream.write_varint(w - 1) + bitstream.write_varint(h - 1)
                head = bitstream.HEADER.pack(bitstream.MAGIC, bitstream.VERSION << 4, number, width)
                yield f"{name}, {w} x {h}, {len(payload)} bytes", repaired(head + size + payload + b"..")
        head = bitstream.HEADER.pack(bitstream.MAGIC, bitstream.VERSION << 4, number, width)
        yield f"{name}, no sizes", repaired(head + b"..")
        yield f"{name}, sizes of no end", repaired(head + b"\xff" * 40 + b"..")
        yield f"{name}, sizes of 0 in two bytes", repaired(head + b"\x80\x00\x80\x00" + b"..")


def warm() -> None:
    """Load all priors: what a process does once is not what a file costs."""
    for name in priors.MANIFEST:
        prior = priors.load(name)
        for point in range(len(prior.betas)):
            for grey in (False, True):
                prior.level(point, grey)


def judge(files: Iterable[bytes], prior: priors.Prior | None = None, trace: bool = False, **options) -> Outcome:
    """Decode files: each is refused with a FormatError or decoded; any other end is an error of the decoder.

    The slowest third of a millisecond noise of the machine is taken out: a file that takes longer than SLOW is timed
    twice more. With `trace` memory is watched too, which takes several times as long.
    """
    outcome = Outcome()
    for data in files:
        result, seconds, peak, pixels = _one(data, prior, trace, options)
        again = 0
        while result == "refused" and seconds > SLOW and again < 2 and not trace:
            seconds, again = min(seconds, _one(data, prior, trace, options)[1]), again + 1
        outcome.results[result] += 1
        outcome.peak, outcome.pixels = max(outcome.peak, peak), max(outcome.pixels, pixels)
        if result == "refused":
            outcome.seconds = max(outcome.seconds, seconds)
    return outcome


def _one(data, prior, trace, options):
    if trace:
        tracemalloc.start()
    started = time.perf_counter()
    try:
        result, pixels = "decoded", codec.decode_array(data, prior, threads=1, **options)
        pixels = pixels.shape[0] * pixels.shape[1]
    except FormatError:
        result, pixels = "refused", 0
    seconds = time.perf_counter() - started
    peak = tracemalloc.get_traced_memory()[1] if trace else 0
    tracemalloc.stop()
    return result, seconds, peak, pixels


def resident() -> float:
    """Most memory that the process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


HEAD = "| files | tried | refused | decoded | slowest refusal | most memory | largest picture |"


def report(edits_each: int = 2000, mutations: int = 10_000) -> str:
    """Everything of this module, as a Markdown table."""
    warm()
    rows, names = [HEAD, "| --- |" + " ---: |" * 6], list(golden.manifest()["files"])
    for kind, make in (("prefixes", prefixes), ("single-bit flips", flips)):
        for name in names:
            data, prior, _ = golden.read(name)
            rows.append(judge(make(data), prior).row(f"{kind} of {name}"))
    for name in names:
        data, prior, _ = golden.read(name)
        rows.append(judge(edits(data, edits_each), prior).row(f"random edits of {name}"))
    data, prior, _ = golden.read("64x48")
    rows.append(judge(edits(data, 200, 1), prior, trace=True).row("200 of these, memory watched"))
    for seed, name in enumerate(names):
        data, prior, _ = golden.read(name)
        files = (repaired(file, prior) for file in edits(data, mutations // len(names), seed))
        rows.append(judge(files, prior).row(f"repaired checksums, {name}"))
    data, prior, _ = golden.read("64x48")
    files = (repaired(file, prior) for file in edits(data, 200, 99))
    rows.append(judge(files, prior, trace=True).row("200 of these, memory watched"))
    rows.append(judge((file for _, file in bombs())).row("header bombs"))
    rows.append(judge((file for _, file in bombs()), trace=True).row("header bombs, memory watched"))
    return "\n".join(rows) + f"\n\nThe process never had more than {resident():.0f} MB.\n"
