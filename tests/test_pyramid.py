"""Lowest frequencies of tiles, told as sums and differences (FORMAT.md, section 7, "Pyramid")."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from combiner_codec.decoder import decode_array
from combiner_codec.encoder.choose.chooser import Chooser
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.fit.analysis import decompose
from combiner_codec.encoder.fit.posterior import shared_weights
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior as priors
from combiner_codec.format.streams import kl_table
from combiner_codec.synthesis.architecture import blocks_of
from combiner_codec.synthesis.numpy_ops import NumpyOps
from combiner_codec.synthesis.pyramid import Pyramid, kind_count, kinds, levels_of
from combiner_codec.synthesis.squares import everywhere
from combiner_codec.synthesis.torch_ops import TorchOps
from combiner_codec.training.data.crops import pictures_of
from combiner_codec.training.finish import lowest
from combiner_codec.training.finish.lowest import likeliest
from combiner_codec.training.recipes import PHOTO, RECIPES
from conftest import as_file, smooth_pictures

OPS = NumpyOps()
SIZES = st.integers(1, 9)


def some_merged(rows, columns, seed):
    """Half of the squares that can be: (1, R, C) bool."""
    squares = np.random.default_rng(seed).random((1, -(-rows // 2), -(-columns // 2))) < 0.5
    return everywhere((1, rows, columns)) & squares.repeat(2, 1).repeat(2, 2)[:, :rows, :columns]


@given(SIZES, SIZES, st.integers(0, 3), st.integers(0, 99))
def test_gathering_is_the_inverse_and_transpose_of_spreading(rows, columns, levels, seed):
    merged = some_merged(rows, columns, seed)
    rng = np.random.default_rng(seed)
    latents, tiles = rng.normal(size=(2, 1, rows, columns, 5))
    pyramid = Pyramid.of(merged, levels, latents, OPS)
    shown = pyramid.spread(latents)
    np.testing.assert_allclose(pyramid.gathered(shown), latents, atol=1e-12)
    assert (shown * tiles).sum() == pytest.approx((latents * pyramid.gathered(tiles)).sum())
    np.testing.assert_array_equal(shown[..., 3:], latents[..., 3:])
    as_tensor = torch.from_numpy(latents)
    other = Pyramid.of(merged, levels, as_tensor, TorchOps).spread(as_tensor)
    np.testing.assert_allclose(other.numpy(), shown, atol=1e-12)


def test_alike_tiles_have_one_sum_in_a_block_and_no_differences():
    """Of 64 x 64 pixels and more; a merged tile's lowest frequency is twice that of the four, as their sum is."""
    tiles = np.ones((1, 8, 8, 3))
    merged = np.zeros((1, 8, 8), bool)
    merged[:, 2:4, :2] = True
    tiles[:, 2:4, :2] = 0
    tiles[:, 2, 0] = 2
    found = Pyramid.of(merged, 2, tiles, OPS).gathered(tiles)
    expected = np.zeros_like(tiles)
    expected[:, ::4, ::4] = 4
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_kinds_of_a_block_and_of_what_the_end_cuts():
    merged = np.zeros((6, 5), bool)
    merged[2:4, :2] = True
    found = kinds(merged, 2)
    assert found.tolist() == [
        [4, 1, 3, 1, 0],
        [1, 1, 1, 1, 0],
        [5, 0, 3, 1, 0],
        [0, 0, 1, 1, 0],
        [2, 1, 2, 1, 0],
        [1, 1, 1, 1, 0],
    ]
    merged[:2, :2] = True
    assert kinds(merged, 2)[0, 0] == 6
    assert not kinds(merged, 0).any()


@given(SIZES, SIZES, st.integers(0, 99))
def test_kinds_of_blocks_are_those_of_the_picture(rows, columns, seed):
    """With the tiles beyond it, as files have them."""
    merged = some_merged(rows, columns, seed)
    whole = kinds(merged, 2)
    classes = np.where(merged, 7, 3)

    class Blocks:
        side = 4

    blocks = blocks_of(classes, Blocks)
    of_blocks = kinds(blocks == 7, 2, blocks >= 0)
    np.testing.assert_array_equal(of_blocks[blocks >= 0], blocks_of(whole, Blocks)[blocks >= 0])
    assert not of_blocks[blocks < 0].any()


def test_levels_and_kinds():
    assert [kind_count(levels) for levels in range(4)] == [1, 3, 7, 11]
    assert [levels_of(kind_count(levels)) for levels in range(4)] == [0, 1, 2, 3]


@pytest.fixture(scope="module")
def photo_prior():
    return priors.load("photo")


@pytest.fixture
def point(photo_prior):
    """A point with a pyramid."""
    return photo_prior.operating_point(3)


def test_a_kind_costs_so_much_more_than_a_class_says(point):
    """To the next cost that the table has; what has no bits gets none."""
    table = kl_table()
    plain = table[point.rows[:, :3]].astype(int)
    for kind, shifts in enumerate(point.shifts, start=1):
        found = table[point.lowest_rows[kind]].astype(int)
        wanted = np.clip(plain + shifts, 0, table[-1])
        assert (found[plain == 0] == 0).all()
        assert (found[plain > 0] >= wanted[plain > 0]).all()
        below = table[np.maximum(point.lowest_rows[kind].astype(int) - 1, 0)]
        assert ((below < wanted) | (wanted == 0))[plain > 0].all()


def test_streams_are_as_long_as_their_latents_say(photo_prior, point):
    classes = np.random.default_rng(0).integers(0, point.single, (1, 7, 10))
    classes[:, 2:4, 4:6] = point.classes - 1
    blocks = blocks_of(classes, photo_prior.architecture)
    bits = kl_table()[point.block_kl(blocks)].sum(1) / 256
    assert np.abs(point.stream_lengths(blocks) - bits).max() <= point.group_bits / 2 + 1


def test_smooth_pictures_cost_less_with_a_pyramid(photo_prior, point):
    """The same tables without sums and differences, on a slope of brightness."""
    ramp = np.linspace(0.2, 0.8, 128, dtype=np.float32)
    pixels = torch.from_numpy(np.add.outer(ramp, ramp)[None, ..., None].repeat(3, -1) / 2)
    flat = replace(photo_prior, architecture=replace(photo_prior.architecture, pyramid=0), points={})
    plain = replace(point, shifts=point.shifts[:0])
    costs = []
    for prior, tables in ((photo_prior, point), (flat, plain)):
        chooser = Chooser(prior, point.beta, (3,), 1)
        costs.append(chooser.total_cost(tables, pixels)[0])
    assert costs[0] < 0.97 * costs[1]


def test_latents_of_a_picture_have_its_energy(photo_prior, point):
    """The pyramid is orthonormal within the encoder's analysis too."""
    pixels = torch.rand(1, 96, 80, 3, generator=torch.Generator().manual_seed(0))
    merged = some_merged(6, 5, 1)
    flat = replace(photo_prior.architecture, pyramid=0)
    with_pyramid = decompose(photo_prior.architecture, shared_weights(point), pixels, merged)
    without = decompose(flat, shared_weights(point), pixels, merged)
    assert float((with_pyramid**2).sum()) == pytest.approx(float((without**2).sum()), rel=1e-5)
    assert not torch.allclose(with_pyramid, without)


def test_the_likeliest_cost_is_that_of_the_variance():
    """Latents of a variance of 4 ** 3 - 1 posterior variances and their noise cost 3 bits; the table says 5."""
    energy = 4.0**3 * np.random.default_rng(0).normal(size=20_000) ** 2
    found = likeliest(np.full(20_000, 5 * 256), energy)
    assert found == pytest.approx(-2 * 256, abs=8)


def test_costs_are_learned_from_pictures(tiny_photo_prior, tmp_path):
    """Differences of what is alike cost less than a tile alone, and files of such pictures are smaller."""
    np.save(tmp_path / "smooth.npy", smooth_pictures(6, 512))
    recipe = replace(RECIPES["photo"], settings=replace(PHOTO, crops=300), side=64)
    (tmp_path / "before.npz").write_bytes(tiny_photo_prior.data)
    before = priors.load_file(tmp_path / "before.npz")  # nothing of it is unpacked
    points = lowest.learn(before, recipe, pictures_of([tmp_path / "smooth.npy"]), lambda line: None)
    assert all(point.shifts[0, 0] < 0 for point in points), [point.shifts.tolist() for point in points]
    prior = as_file(tmp_path / "prior.npz", recipe.finished, points)
    np.testing.assert_array_equal(prior.operating_point(1).shifts, points[1].shifts)
    picture = smooth_pictures(1, 512, seed=5)[0][:128, :128]
    sizes = [len(encode_arrays([picture], one, Settings(0.01, "fast"))[0].data) for one in (tiny_photo_prior, prior)]
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize("shape", [(64, 64), (40, 100, 3), (100, 40, 3), (16, 80, 3)])
def test_files_with_a_pyramid_come_back(photo_prior, shape):
    """Verified: the decoder shows what the encoder expects."""
    picture = smooth_pictures(1, 128, seed=1)[0][: shape[0], : shape[1]]
    picture = picture if len(shape) == 3 else picture[..., 0]
    found = encode_arrays([picture], photo_prior, Settings(0.01, "fast", kind="inr"))[0]
    shown = decode_array(found.data)
    assert np.abs(shown.astype(int) - found.pixels).max() <= 1
    assert found.psnr > 30


def test_weights_of_latents_are_means_over_the_tiles_that_they_are_in():
    weights = np.random.default_rng(0).random((1, 4, 5, 4))
    merged = np.zeros((1, 4, 5), bool)
    merged[:, :2, 2:4] = True
    found = Pyramid.of(merged, 2, weights, OPS).weights(weights)
    first = weights[:, :2, :2, :3].mean((1, 2))
    np.testing.assert_allclose(found[:, 0, 1, :3], first)
    firsts = [weights[:, r : r + 2, c : c + 2, :3].mean((1, 2)) for r, c in ((0, 0), (2, 0), (2, 2))]
    np.testing.assert_allclose(found[:, 0, 0, :3], (sum(firsts) + weights[:, 0, 2, :3]) / 4)
    np.testing.assert_array_equal(found[:, :, 4], weights[:, :, 4])
    np.testing.assert_array_equal(found[..., 3], weights[..., 3])
