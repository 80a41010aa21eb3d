"""Fields and shared layers, in numpy and in torch."""

import numpy as np
import pytest
import torch

from combiner_codec.encoder.fit.analysis import decompose
from combiner_codec.encoder.fit.posterior import shared_weights
from combiner_codec.synthesis.architecture import blocks_of, counts
from combiner_codec.synthesis.borders import Borders
from combiner_codec.synthesis.fields import blocks_from, tiles_of
from combiner_codec.synthesis.lapped import analyse, kinds_of, matrices_of, synthesise
from combiner_codec.synthesis.network import WIDEST, Network, forward
from combiner_codec.synthesis.numpy_ops import NumpyOps, strips
from combiner_codec.synthesis.rectangle import Rectangle
from combiner_codec.synthesis.squares import everywhere
from combiner_codec.synthesis.torch_ops import TorchOps
from combiner_codec.training.recipes import linear_part, siren_architecture
from conftest import busy_pictures

OPS = NumpyOps()


def shown(x, merged, ops=OPS):
    """Cosines and borders: (P, R, C, hop, hop, 3) coefficients -> (P, R * hop, 3, C * hop)."""
    hop = x.shape[3]
    _, rows, columns = merged.shape
    borders = Borders.of(merged, hop)
    squares = synthesise(x, matrices_of(kinds_of(merged), hop, x, ops), ops)
    mixed = ops.empty(squares.shape, squares)
    borders.mix_down(squares, mixed, ops)
    return borders.mixed_across(mixed, ops)[:, : rows * hop, :, : columns * hop]


def some_merged(rows, columns, seed=0, pictures=2):
    """Half of the squares that can be: (P, R, C) bool."""
    squares = np.random.default_rng(seed).random((pictures, -(-rows // 2), -(-columns // 2))) < 0.5
    return everywhere((pictures, rows, columns)) & squares.repeat(2, 1).repeat(2, 2)[:, :rows, :columns]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 2), (2, 1), (3, 5), (7, 4), (8, 8)])
@pytest.mark.parametrize("hop", [2, 8, 16])
def test_lapped_synthesis_is_orthonormal_and_analysis_its_inverse(rows, columns, hop):
    merged = some_merged(rows, columns, hop)
    x = np.random.default_rng(hop).normal(size=(2, rows, columns, hop, hop, 3))
    pixels = shown(x, merged)
    assert pixels.shape == (2, rows * hop, 3, columns * hop)
    assert (pixels**2).sum() == pytest.approx((x**2).sum())
    np.testing.assert_allclose(analyse(pixels, merged, hop, OPS), x, atol=1e-12)
    y = np.random.default_rng(1).normal(size=pixels.shape)
    np.testing.assert_allclose(shown(analyse(y, merged, hop, OPS), merged), y, atol=1e-12)
    assert (pixels * y).sum() == pytest.approx((x * analyse(y, merged, hop, OPS)).sum())  # each the other's transpose


@pytest.mark.parametrize("size", [1, 2])
def test_a_lapped_tile_reaches_into_its_neighbours_and_no_further(size):
    """Half as far as it is wide, and from a merged tile into its small neighbours half as far as those are."""
    merged = np.zeros((1, 8, 8), bool)
    merged[:, 2:4, 4:6] = size == 2
    x = np.zeros((1, 8, 8, 8, 8, 3))
    x[0, 2 : 2 + size, 4 : 4 + size] = np.random.default_rng(0).normal(size=(size, size, 8, 8, 3))
    reached = shown(x, merged)[0, :, 0] != 0
    rows, columns = np.flatnonzero(reached.any(1)), np.flatnonzero(reached.any(0))
    assert (rows.min(), rows.max()) == (12, 19 + 8 * size) and (columns.min(), columns.max()) == (28, 35 + 8 * size)


def test_all_merged_is_the_transform_of_tiles_twice_as_large():
    x = np.random.default_rng(0).normal(size=(2, 48, 3, 32))
    every = np.ones((2, 6, 4), bool)
    small = analyse(x, every, 8, OPS).reshape(2, 3, 2, 2, 2, 8, 8, 3).transpose(0, 1, 3, 5, 2, 6, 4, 7)
    large = analyse(x, np.zeros((2, 3, 2), bool), 16, OPS)
    np.testing.assert_allclose(small.reshape(large.shape), large, atol=1e-12)


def inputs(architecture, point, rows, columns, pictures=2):
    """Random latents (P, Rb, Cb, D) float64, classes (P, Rt, Ct) of pictures of so many tiles, shared weights."""
    rng, M = np.random.default_rng(0), len(point.merged)
    blocks = counts(columns, rows, architecture.block // architecture.tile)
    latents = rng.normal(size=(pictures, *blocks, architecture.latents)) * 0.3
    classes = rng.integers(0, point.single, (pictures, rows, columns))
    if M:
        merged = some_merged(rows, columns, 1, pictures)
        own = rng.integers(point.single, point.classes, (pictures, -(-rows // 2), -(-columns // 2)))
        classes = np.where(merged, own.repeat(2, 1).repeat(2, 2)[:, :rows, :columns], classes)
    return latents, classes, {name: value.astype(np.float64) for name, value in point.shared.items()}


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 5), (8, 4)])
def test_torch_and_numpy_compute_the_same_pixels(each_prior, rows, columns):
    architecture = each_prior.architecture
    point = each_prior.operating_point(1)
    latents, classes, shared = inputs(architecture, point, rows, columns)
    # the training is too short for the last layer to do anything
    last = f"w{len(architecture.layers) - 1}"
    shared[last] = np.random.default_rng(1).normal(size=shared[last].shape)
    ours = forward(architecture, latents, shared, classes, OPS, point.single)
    assert ours.shape == (2, rows * architecture.tile, columns * architecture.tile, 3)
    torched = {name: torch.from_numpy(value) for name, value in shared.items()}
    tensors = torch.from_numpy(latents), torched, torch.from_numpy(classes)
    np.testing.assert_allclose(ours, forward(architecture, *tensors, TorchOps, point.single).numpy(), atol=1e-11)
    alone = forward(architecture, latents[1:], shared, classes[1:], OPS, point.single)
    np.testing.assert_allclose(alone, ours[1:], atol=1e-11)


def test_torch_and_numpy_compute_the_same_sirens():
    architecture, rng = siren_architecture(8), np.random.default_rng(0)
    latents, classes = rng.normal(size=(2, 2, 3, architecture.latents)), np.zeros((2, 2, 3), int)
    ours = forward(architecture, latents, {}, classes, OPS)
    theirs = forward(architecture, torch.from_numpy(latents), {}, torch.from_numpy(classes), TorchOps)
    assert ours.shape == (2, 16, 24, 3)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-12)
    np.testing.assert_allclose(
        forward(architecture, latents[:, 1:, 2:], {}, classes[:, 1:, 2:], OPS), ours[:, 8:, 16:], atol=1e-12
    )


def some_network(prior, rows, columns):
    """Two pictures of so many tiles, with a last layer that does something."""
    _, classes, shared = inputs(prior.architecture, prior.operating_point(1), rows, columns)
    last = f"w{len(prior.architecture.layers) - 1}"
    shared[last] = np.random.default_rng(1).normal(size=shared[last].shape)
    return Network(prior.architecture, shared, classes, OPS, single=prior.operating_point(1).single)


PARTS = [((0, 1), (0, 1)), ((0, 7), (3, 40)), ((1, 2), (0, 64)), ((2, 40), (63, 64)), ((43, 48), (17, 18)),
         ((0, 48), (30, 50)), ((0, 48), (0, 64))]  # fmt: skip


@pytest.mark.parametrize(("rows", "columns"), PARTS)
def test_parts_of_the_network_are_parts_of_the_whole(each_prior, rows, columns):
    network = some_network(each_prior, 3, 4)
    part = Rectangle(range(*rows), range(*columns))
    x = np.random.default_rng(2).normal(size=(2, *network.whole.shape, 3))

    def field_of(support):
        down, across = support.slices
        return x[:, down, across]

    found = network.show(field_of, part)
    np.testing.assert_allclose(found, network.layers(x)[:, slice(*rows), slice(*columns)], atol=1e-11)


@pytest.mark.parametrize(("rows", "columns"), PARTS)
def test_parts_of_the_field_are_parts_of_the_whole(each_prior, rows, columns):
    network = some_network(each_prior, 3, 4)
    latents, _, _ = inputs(each_prior.architecture, each_prior.operating_point(1), 3, 4)
    half = network.down(latents)
    found = network.across(half, Rectangle(range(*rows), range(*columns)))
    np.testing.assert_allclose(found, network.across(half)[:, slice(*rows), slice(*columns)], atol=1e-12)


def test_a_layer_of_torch_is_that_of_numpy_on_parts(tiny_photo_prior):
    network = some_network(tiny_photo_prior, 3, 4)
    shared = {name: torch.from_numpy(value) for name, value in network.shared.items()}
    theirs = Network(network.architecture, shared, torch.from_numpy(network.classes), TorchOps, single=network.single)
    part = Rectangle(range(9, 30), range(20, 41))
    rows, columns = network.support(part).slices
    x = np.random.default_rng(2).normal(size=(2, *network.whole.shape, 3))[:, rows, columns]
    np.testing.assert_allclose(network.layers(x, part), theirs.layers(torch.from_numpy(x), part).numpy(), atol=1e-11)


@pytest.mark.parametrize(("height", "width"), [(512, 768), (4096, 4096), (16, 2**20), (700, 2**15)])
def test_pictures_are_cut_into_columns_only_where_they_are_very_wide(each_prior, height, width):
    architecture = each_prior.architecture
    tile = architecture.tile
    network = Network(architecture, {}, np.zeros((1, -(-height // tile), width // tile), int), OPS)
    for pixels in (2**16, 2**18):
        parts = network.parts(pixels)
        assert sum(part.size for part in parts) == network.whole.size
        assert all(part.size <= max(pixels, WIDEST * tile) for part in parts)
        starts = {part.columns.start for part in parts}
        assert (len(starts) == 1) == (width <= WIDEST)
        assert not any(start % tile for start in starts)


def test_a_window_layer_is_a_dense_layer_on_every_neighbourhood():
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(2, 19, 6, 3)), rng.normal(size=(5, 5, 3, 4))
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    expected = [
        [np.einsum("puvc,uvco->po", padded[:, i : i + 5, j : j + 5], weights) for j in range(6)] for i in range(19)
    ]
    heights = np.arange(19.0)[:, None, None]

    def epilogue(y, rows):
        y += heights[rows]

    wanted = np.array(expected).transpose(2, 0, 1, 3) + heights
    np.testing.assert_allclose(OPS.window(x, weights, epilogue), wanted, atol=1e-12)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 5), (8, 6)])
def test_decomposition_reproduces_the_pixels(tiny_photo_prior, rows, columns):
    architecture = linear_part(tiny_photo_prior.architecture)
    shared = shared_weights(tiny_photo_prior.operating_point(0))
    pixels = torch.from_numpy(busy_pictures(2)[:, : 16 * rows, : 16 * columns]).float() / 255
    merged = some_merged(rows, columns)
    tiles = decompose(architecture, shared, pixels, merged)
    assert tiles.shape == (2, rows, columns, architecture.tile_latents)
    latents = blocks_from(architecture, tiles, TorchOps)
    again = forward(architecture, latents, shared, torch.from_numpy(merged.astype(np.int64)), TorchOps, single=1)
    torch.testing.assert_close(again, pixels, atol=2e-5, rtol=0)


def test_latents_of_tiles_beyond_the_picture_show_nowhere(tiny_photo_prior):
    """They cost nothing, so they must do nothing."""
    architecture = tiny_photo_prior.architecture
    latents = np.random.default_rng(0).normal(size=(1, 2, 2, architecture.latents))
    classes = blocks_of(np.zeros((1, 5, 6), int), architecture).reshape(1, 2, 2, -1)
    outside = np.repeat(classes < 0, architecture.tile_latents, -1)
    assert outside.any()
    changed = latents.copy()
    changed += 10 * outside
    network = Network(architecture, {}, np.zeros((1, 5, 6), int), OPS)
    before, after = (network.field(x) for x in (latents, changed))
    np.testing.assert_array_equal(before, after)
    tiles = tiles_of(architecture, torch.from_numpy(latents))
    np.testing.assert_array_equal(tiles[0, 4, 1], latents[0, 1, 0].reshape(-1)[768 : 2 * 768])


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 3, 5, 4), (1, 9, 2, 1)])
@pytest.mark.parametrize("r", [0, 1, 2])
def test_edges_are_repeated(shape, r):
    x = np.random.default_rng(r).normal(size=shape)
    size = 2 * r + 1
    padded = np.pad(x, ((0, 0), (r, r), (r, r), (0, 0)), mode="edge")
    for first, seen in strips(x, size, 2):
        rows = slice(first, first + 2 + 2 * r)
        around = [padded[:, rows, v : v + shape[2]] for v in range(size)]
        np.testing.assert_array_equal(seen.reshape(*seen.shape[:2], *shape[2:3], size, -1), np.stack(around, 3))
