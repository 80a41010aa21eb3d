"""Many decodes: from threads, in forked processes, one after another without growth."""

import gc
import multiprocessing
import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from combiner_codec import FormatError, decoder
from experiments.growth import cost
from experiments.reliability import golden, hostile

THREADS = 8
FORKS = 4
NAMES = [name for name in golden.manifest()["files"] if name not in ("photograph", "colourful", "331x17", "custom")]
TORTURE = pytest.mark.torture
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


def decoded_rightly(name):
    data, prior, pixels = golden.read(name)
    return np.array_equal(decoder.decode_array(data, prior, threads=2), pixels)


def decode_in_threads(times):
    """Whether all are right."""
    names = NAMES * times
    random.Random(0).shuffle(names)
    with ThreadPoolExecutor(THREADS) as pool:
        return all(pool.map(decoded_rightly, names))


def forked(times, answer):
    """What a forked process does."""
    answer.put(decode_in_threads(times))


@pytest.mark.parametrize("times", [3, pytest.param(100, marks=TORTURE)])
def test_threads_do_not_disturb_each_other(times, record_property):
    assert decode_in_threads(times)
    record_property(f"decodes by {THREADS} threads", times * len(NAMES))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("times", [1, pytest.param(25, marks=TORTURE)])
def test_forks_of_a_process_that_has_decoded_do_the_same(times, record_property):
    assert decode_in_threads(1)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    processes = [context.Process(target=forked, args=(times, answers)) for _ in range(FORKS)]
    for process in processes:
        process.start()
    assert [answers.get(timeout=240) for _ in processes] == [True] * FORKS
    for process in processes:
        process.join()
    record_property(f"decodes by {FORKS} forks of {THREADS} threads", FORKS * times * len(NAMES))


def resident() -> int:
    """Bytes of memory that this process has now (proc(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def growth(work, before, counted) -> tuple[int, int]:
    """Bytes and open files that a process has more of after some work than after a part of it."""
    for _ in range(before):
        work()
    gc.collect()
    memory, files = resident(), open_files()
    for _ in range(counted):
        work()
    gc.collect()
    return resident() - memory, open_files() - files


@LINUX
@pytest.mark.parametrize(
    ("name", "count"),
    [("32x32", 200), pytest.param("64x48", 1000, marks=TORTURE), pytest.param("alpha", 1000, marks=TORTURE)],
)
def test_many_decodes_take_no_more_memory_than_a_few(name, count, record_property):
    data, prior, _ = golden.read(name)
    grown, files = growth(lambda: decoder.decode_array(data, prior, threads=1), count // 10, count)
    assert grown < 2**20
    assert files == 0
    record_property("decodes without growth", count)


@LINUX
@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=TORTURE)])
def test_nor_do_mutants(count, record_property):
    data, prior, _ = golden.read("alpha")
    mutants = [hostile.repaired(mutant, prior) for mutant in hostile.edits(data, count)]

    def refuse():
        for mutant in mutants:
            with suppress(FormatError):
                decoder.parse(mutant, prior)

    grown, files = growth(refuse, 2, 10)
    assert grown < 2**20
    assert files == 0
    record_property("mutants parsed without growth", 10 * len(mutants))


@LINUX
@TORTURE
def test_lines_take_no_more_memory_than_a_square(tmp_path, record_property):
    """All have a megapixel in whole tiles: 16:1 and 65536:1, lying and standing."""
    found = {}
    for height, width in ((1024, 1024), (256, 4096), (4096, 256), (1, 2**16), (2**16, 1)):
        rows, columns = np.arange(height)[:, None], np.arange(width)
        waves = [np.sin(rows / (20 - k)) + np.cos(columns / (30 + k)) for k in range(3)]
        Image.fromarray(np.uint8(127 + 60 * np.stack(waves, -1))).save(tmp_path / "in.png")
        encoded = cost(["encode", "in.png", "-o", "out.cmb", "--effort", "fast", "-f", "-q"], tmp_path)
        decoded = cost(["decode", "out.cmb", "-o", "out.png", "-f", "-q"], tmp_path)
        found[height, width] = encoded.megabytes, decoded.megabytes
    square = found.pop((1024, 1024))
    for shape, megabytes in found.items():
        assert all(np.array(megabytes) <= 1.5 * np.array(square)), (shape, megabytes, square)
    record_property("shapes of a megapixel encoded and decoded, memory watched", 1 + len(found))
