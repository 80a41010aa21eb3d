"""The real decoder agrees with the one that is written from FORMAT.md alone (plain_decoder.py), stage by stage."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import plain_decoder as plain
from combiner_codec import decoder
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import candidates, streams
from combiner_codec.format import prior as priors
from combiner_codec.format.operating_point import Modulations
from combiner_codec.synthesis.modulation import count
from conftest import as_file, busy_pictures


def encoded_file(picture, prior, seed=0):
    (encoded,) = encode_arrays([picture], prior, Settings(0.002, "fast", seed))
    return encoded


def plainly_read(data, prior):
    return plain.read(data, {prior.number: prior.data} if prior else {})


def assert_pixels_agree(ours, theirs):
    """But for a value next to a tie, which is one step off."""
    steps = np.abs(ours.reshape(theirs.shape).astype(int) - theirs)
    assert steps.max() <= 1
    assert np.count_nonzero(steps) < 1e-3 * theirs.size


@pytest.fixture(scope="session")
def independent_prior(tiny_prior, tmp_path_factory):
    """The tiny prior with groups that do not overlap."""
    path = tmp_path_factory.mktemp("independent") / "independent.npz"
    points = [replace(tiny_prior.operating_point(i), group_bits=8, index_bits=8) for i in range(2)]
    return as_file(path, tiny_prior.architecture, points)


@pytest.mark.parametrize(("width", "height", "seed"), [(32, 32, 0), (7, 5, 0), (40, 33, 0), (16, 16, 5), (90, 70, 3)])
@pytest.mark.parametrize("name", ["tiny", "tiny_photo", "independent"])
def test_every_stage_agrees(request, name, width, height, seed):
    prior = request.getfixturevalue(f"{name}_prior")
    picture = busy_pictures(1, 128)[0][-height:, -width:]
    encoded = encoded_file(picture, prior, seed)
    ours = plainly_read(encoded.data, prior)
    theirs = decoder.parse(encoded.data, prior)
    fields = vars(theirs.header)
    assert {name: getattr(ours.header, name) for name in fields} == fields
    assert (ours.header.width, ours.header.height, ours.header.seed) == (width, height, seed)
    assert ours.alpha is None
    assert theirs.alpha is None
    assert ours.colour.classes == theirs.colour.classes.tolist()
    blocks, stream = theirs.colour.blocks, theirs.colour.streams[-1]
    group_bits = blocks.point.group_bits
    counts = blocks.lengths // group_bits
    indices = streams.read_indices(stream, counts, group_bits, theirs.header.index_bits)
    assert [len(of_block) for of_block in ours.colour.indices] == counts.tolist()
    assert [index for of_block in ours.colour.indices for index in of_block] == indices.tolist()
    latents = decoder.sample(theirs.header, blocks, stream, np.float64, slice(None))
    np.testing.assert_allclose(plain.latents_of(ours.colour), latents, atol=1e-6)
    assert_pixels_agree(plain.pixels(ours), encoded.pixels)


STRONG = {"w6": 0.01, "b2": 1.0}  # of the last layer, and of the first after the colour map


@pytest.fixture(scope="module")
def strong_prior(tiny_photo_prior, tmp_path_factory):
    """Shared layers that do a lot."""
    rng = np.random.default_rng(0)
    points = []
    for i in range(2):
        point = tiny_photo_prior.operating_point(i)
        changed = {name: rng.normal(size=point.shared[name].shape) * strength for name, strength in STRONG.items()}
        points.append(replace(point, shared=point.shared | changed))
    path = tmp_path_factory.mktemp("strong") / "strong.npz"
    return as_file(path, tiny_photo_prior.architecture, points)


@pytest.mark.parametrize(
    ("width", "height", "kind"),
    [(30, 20, "RGB"), (16, 16, "RGB"), (30, 20, "L"), (30, 20, "grey RGB"), (30, 20, "RGBA"), (20, 18, "LA"),
     (20, 18, "icon"), (20, 18, "veil"), (20, 18, "one colour")],
)  # fmt: skip
def test_pixels_of_every_kind_of_picture_agree(strong_prior, width, height, kind):
    colour = busy_pictures(1, 64)[0][-height:, -width:]
    colour[:16, :16] = 120
    grey = colour[..., 0]
    hole = colour[..., 1].copy()
    hole[:, : width // 2] = 0
    pictures = {
        "RGB": colour,
        "L": grey,
        "grey RGB": np.repeat(grey[..., None], 3, 2),
        "RGBA": np.dstack([colour, hole]),
        "LA": np.dstack([grey, hole]),
        "icon": np.dstack([colour * 0 + 7, hole]),
        "veil": np.dstack([colour, grey * 0 + 90]),
        "one colour": colour * 0 + 9,
    }
    encoded = encoded_file(pictures[kind], strong_prior)
    ours = plainly_read(encoded.data, strong_prior)
    if kind == "RGB" and width > 16:
        assert len({c for row in ours.colour.classes for c in row}) > 1
    assert_pixels_agree(plain.pixels(ours), encoded.pixels)


@pytest.fixture(scope="module")
def modulated_prior(strong_prior, tmp_path_factory):
    """The same with modulations of three costs, one of them 0."""
    points = []
    for i in range(2):
        point = strong_prior.operating_point(i)
        P = count(point.shared, strong_prior.architecture.colour + 1)
        kl_index = (np.arange(P) % 3 * 30).astype(np.uint8)[None]
        points.append(replace(point, modulations=Modulations(np.full(P, 0.2, np.float32), kl_index)))
    path = tmp_path_factory.mktemp("modulated") / "modulated.npz"
    return as_file(path, strong_prior.architecture, points)


def test_a_modulated_picture_agrees(modulated_prior):
    picture = np.tile(busy_pictures(1, 128, seed=3)[0], (1, 2, 1))[:, :130]
    encoded = encoded_file(picture, modulated_prior)
    ours = plainly_read(encoded.data, modulated_prior)
    theirs = decoder.parse(encoded.data, modulated_prior)
    modulations, _ = theirs.colour.sections
    stream, _ = theirs.colour.streams
    values = plain.modulations_of(ours.colour)
    assert np.count_nonzero(values) > 100
    sampled = decoder.sample(theirs.header, modulations, stream, np.float64, slice(None))
    np.testing.assert_allclose(values, sampled[0], atol=1e-6)
    without = replace(ours.colour, modulation_indices=None)
    assert (plain.pixels_of_plane(without) != encoded.pixels).mean() > 0.1
    assert_pixels_agree(plain.pixels(ours), encoded.pixels)


@pytest.mark.parametrize(("group_bits", "index_bits"), [(6, 16), (1, 8), (14, 16), (8, 8), (16, 16)])
@pytest.mark.parametrize("largest", [3, 5, 40, 255])
def test_partitions_agree(group_bits, index_bits, largest):
    kl = np.random.default_rng(largest).integers(0, largest + 1, (3, 200)).astype(np.uint8)
    theirs = streams.partition(kl, group_bits, group_bits < index_bits)
    rules = SimpleNamespace(group_bits=group_bits, chained=group_bits < index_bits)
    ours = [plain.partition(row.astype(int), rules, group_bits) for row in kl]
    groups = [group for of_block in ours for group in of_block]
    assert theirs.counts.tolist() == [len(of_block) for of_block in ours]
    assert theirs.dims.tolist() == [len(group) for group in groups]
    assert theirs.latents.tolist() == [i for group in groups for i in group]


def test_words_and_normals_are_those_on_the_page():
    first = plain.words(0, 0, 0, 3)
    assert [f"{word:016x}" for word in first] == ["d037f8c3f9a1d176", "c057419b4c210765", "abf13115117b0065"]
    table = candidates.normal_table()
    on_the_page = pytest.approx([-4.3249192, -4.0762067, 1.9124056e-05], rel=1e-7)
    assert table[[0, 1, 32768]].tolist() == on_the_page
    assert [plain.normal(piece) for piece in (0, 1, 32768)] == on_the_page
    latent_0 = [next(plain.candidate(5, 2, i, 1)) for i in range(3)]
    assert latent_0 == pytest.approx([0.5234484, 0.5534266, -1.0406900], abs=1e-7)
    assert plain.order(3072)[:3].tolist() == [2226, 249, 1700]
    assert plain.order(12336)[:3].tolist() == [5842, 2226, 10961]
    assert plain.crc8(b"123456789") == 0xB4
    assert plain.crc16(b"123456789") == 0x29B1


def test_the_header_on_the_page():
    prior = plain.opened(as_shipped(3))
    header = plain.read_header(bytes.fromhex("f5364517 00"), {3: as_shipped(3)})
    assert (header.prior, header.channels, header.point, header.seed) == (3, 1, 5, 0)
    assert (header.width, header.height, header.index_bits) == (64, 24, 18)
    assert header.width == prior.tile * prior.side
    assert header.start == 4


def as_shipped(number):
    return next(prior.data for prior in map(priors.load, priors.MANIFEST) if prior.number == number)


def test_the_class_map_on_the_page():
    bits = [int(bit) for bit in "00010010000101100111000111011001"]
    tables = [[[(12 * i + 3 * j + c) * 37 % 61 - 30 for c in range(3)] for j in range(4)] for i in range(3)]
    classes, used = plain.class_map(bits, 3, 4, 3, 3, tables)
    assert classes == [[0, 1, 1, 2], [0, 0, 1, 2], [2, 0, 1, 1]]
    assert used == 32
