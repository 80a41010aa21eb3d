"""Whether a mutant is a file, and what it shows: the page's decoder, the real one and JavaScript's say the same."""

from functools import cache

import numpy as np
import pytest

import exact_files
import plain_decoder as plain
from combiner_codec import FormatError, decoder
from combiner_codec.format import prior as priors
from experiments.reliability import golden
from mutants import Mutator, apart
from test_web import in_node, needs_node, web_priors  # noqa: F401  (a fixture)

LIMIT = 2**15  # most pixels of a picture
BATCH = 1_000  # mutants of one test
QUICK, NIGHTLY = 2, 26  # batches
SEEDS = [
    *range(QUICK),
    *(pytest.param(seed, marks=pytest.mark.torture) for seed in range(QUICK, NIGHTLY)),
]
REFUSED = None


@pytest.fixture(scope="module")
def custom():
    return golden.prior_of(golden.CUSTOM)


@pytest.fixture(scope="module")
def prior_files(custom):
    """By number."""
    known = [*map(priors.load, priors.MANIFEST), custom]
    return {prior.number: prior.data for prior in known}


@pytest.fixture(scope="module")
def drawn(prior_files, custom):
    """Mutants of a seed, and what the package makes of each."""
    files = [golden.read(name)[0] for name in golden.manifest()["files"] if name != "photograph"]
    parts = 3 * [apart(data, prior_files) for data in files]  # an exact one stands few changes
    parts += exact_files.all_kinds(golden.read("7x5")[0], prior_files)

    @cache
    def draw(seed):
        mutants = list(Mutator(parts, prior_files, seed).draw(BATCH))
        return mutants, [by_the_package(data, custom) for data in mutants]

    return draw


def by_the_page(data, prior_files):
    try:
        return plain.pixels(plain.read(data, prior_files, LIMIT))
    except plain.Refused:
        return REFUSED


def by_the_package(data, custom):
    try:
        return decoder.decode_array(data, custom, threads=1, max_pixels=LIMIT)
    except FormatError:
        return REFUSED


def as_rgba(pixels):
    """(H, W) or (H, W, 1 to 4) -> (H, W, 4), as a canvas has them."""
    channels = pixels.reshape(*pixels.shape[:2], -1)
    count = channels.shape[2]
    colour = channels[..., : count - 1 + count % 2]  # without alpha
    alpha = channels[..., -1:] if count % 2 == 0 else np.full_like(channels[..., :1], 255)
    return np.concatenate([np.broadcast_to(colour, (*colour.shape[:2], 3)), alpha], 2)


def check_pixels(data, ours, theirs):
    """But for values next to a tie, which are one step off."""
    steps = np.abs(ours.reshape(theirs.shape).astype(int) - theirs)
    assert steps.max() <= 1, data.hex()
    assert np.count_nonzero(steps) <= 1 + 1e-3 * theirs.size, data.hex()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_page_and_the_package_agree(seed, drawn, prior_files, record_property):
    taken = 0
    for data, theirs in zip(*drawn(seed), strict=True):
        ours = by_the_page(data, prior_files)
        assert (ours is REFUSED) == (theirs is REFUSED), data.hex()
        if theirs is not REFUSED:
            check_pixels(data, ours, theirs)
            taken += 1
    assert BATCH // 5 < taken < 3 * BATCH // 4
    record_property("mutants", BATCH)
    record_property("mutants that are files", taken)


def holds_exact(data, prior_files):
    header = plain.read_header(data, prior_files)
    return header.layer or plain.EXACT in (header.point, header.alpha)


@needs_node
@pytest.mark.parametrize("seed", SEEDS)
def test_javascript_agrees(seed, drawn, prior_files, web_priors, record_property):  # noqa: F811
    """But for exact planes, which it leaves to the browser."""
    mutants, theirs = drawn(seed)
    for data, shown, pixels in zip(mutants, in_node(mutants, web_priors, LIMIT), theirs, strict=True):
        if pixels is not REFUSED and holds_exact(data, prior_files):
            continue
        refused = isinstance(shown, str)
        assert refused == (pixels is REFUSED), data.hex()
        if not refused:
            check_pixels(data, shown, as_rgba(pixels))
    record_property("mutants through JavaScript", len(mutants))
