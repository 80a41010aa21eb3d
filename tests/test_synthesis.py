"""Fields and shared layers, in numpy and in torch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from combiner_codec.encoder.analysis import decompose, tiles_of
from combiner_codec.encoder.posterior import Gaussians, shared_weights
from combiner_codec.synthesis.architecture import Grid, blocks_of, counts
from combiner_codec.synthesis.lapped import analyse, synthesise_columns, synthesise_rows
from combiner_codec.synthesis.network import Network, forward, render
from combiner_codec.synthesis.numpy_ops import NumpyOps
from combiner_codec.synthesis.torch_ops import TorchOps
from combiner_codec.training.recipes import cosine_architecture, linear_part, siren_architecture
from conftest import busy_pictures

OPS = NumpyOps()


def synthesise(x, hop, ops):
    """Both directions: (P, R, k, 3, C, k) coefficients -> (P, R * hop, 3, C * hop)."""
    return synthesise_rows(synthesise_columns(x, hop, ops), hop, ops)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 2), (2, 1), (3, 5), (7, 4)])
@pytest.mark.parametrize("hop", [2, 8, 16])
def test_lapped_synthesis_is_orthonormal_and_analysis_its_inverse(rows, columns, hop):
    x = np.random.default_rng(hop).normal(size=(2, rows, hop, 3, columns, hop))
    pixels = synthesise(x, hop, OPS)
    assert pixels.shape == (2, rows * hop, 3, columns * hop)
    assert (pixels**2).sum() == pytest.approx((x**2).sum())
    np.testing.assert_allclose(analyse(pixels, hop, OPS), x, atol=1e-12)
    y = np.random.default_rng(1).normal(size=pixels.shape)
    np.testing.assert_allclose(synthesise(analyse(y, hop, OPS), hop, OPS), y, atol=1e-12)
    assert (pixels * y).sum() == pytest.approx((x * analyse(y, hop, OPS)).sum())  # each is the other's transpose


def test_the_lowest_frequencies_are_those_of_all():
    """A point that keeps some frequencies is one that has all, the others 0."""
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 3, 2, 4))
    padded = np.zeros((1, 3, 16, 3, 2, 16))
    padded[:, :, :4, :, :, :4] = x
    np.testing.assert_allclose(synthesise(x, 16, OPS), synthesise(padded, 16, OPS), atol=1e-12)


def test_a_lapped_tile_reaches_into_its_neighbours_and_no_further():
    x = np.zeros((1, 4, 8, 3, 4, 8))
    x[0, 1, :, :, 2] = np.random.default_rng(0).normal(size=(8, 3, 8))
    reached = synthesise(x, 8, OPS)[0, :, 0] != 0
    rows, columns = np.flatnonzero(reached.any(1)), np.flatnonzero(reached.any(0))
    assert (rows.min(), rows.max()) == (4, 19) and (columns.min(), columns.max()) == (12, 27)


def inputs(architecture, point, rows, columns, pictures=2):
    """Random latents (P, Rb, Cb, D) float64, classes (P, Rt, Ct) of pictures of so many tiles, shared weights."""
    rng = np.random.default_rng(0)
    blocks = counts(columns, rows, architecture.block // architecture.tile)
    latents = rng.normal(size=(pictures, *blocks, architecture.latents)) * 0.3
    classes = rng.integers(0, point.classes, (pictures, rows, columns))
    return latents, classes, {name: value.astype(np.float64) for name, value in point.shared.items()}


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 5), (8, 4)])
def test_torch_and_numpy_compute_the_same_pixels(each_prior, rows, columns):
    architecture = each_prior.architecture
    latents, classes, shared = inputs(architecture, each_prior.operating_point(1), rows, columns)
    # the training is too short for the last layer to do anything
    last = f"w{len(architecture.layers) - 1}"
    shared[last] = np.random.default_rng(1).normal(size=shared[last].shape)
    ours = forward(architecture, latents, shared, classes, OPS)
    assert ours.shape == (2, rows * architecture.tile, columns * architecture.tile, 3)
    torched = {name: torch.from_numpy(value) for name, value in shared.items()}
    theirs = forward(architecture, torch.from_numpy(latents), torched, torch.from_numpy(classes), TorchOps)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-11)
    np.testing.assert_allclose(forward(architecture, latents[1:], shared, classes[1:], OPS), ours[1:], atol=1e-11)


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


def test_strips_of_the_network_are_parts_of_the_whole(each_prior):
    architecture = each_prior.architecture
    _, classes, shared = inputs(architecture, each_prior.operating_point(1), 3, 2)
    last = f"w{len(architecture.layers) - 1}"
    shared[last] = np.random.default_rng(1).normal(size=shared[last].shape)
    x = np.random.default_rng(2).normal(size=(2, 3 * architecture.tile, 2 * architecture.tile, 3))
    network = Network(architecture, shared, classes, OPS)
    whole, height = network.layers(x), x.shape[1]
    parts = [(0, 1), (0, 7), (1, 2), (2, 20), (height - 5, height), (height // 2, height), (0, height)]
    for (first, end), strip in render(network, lambda rows: x[:, slice(*rows)], parts):
        np.testing.assert_allclose(strip, whole[:, first:end], atol=1e-11)


def test_a_window_layer_is_a_dense_layer_on_every_neighbourhood():
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(2, 19, 6, 3)), rng.normal(size=(5, 5, 3, 4))
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    expected = [
        [np.einsum("puvc,uvco->po", padded[:, i : i + 5, j : j + 5], weights) for j in range(6)] for i in range(19)
    ]
    np.testing.assert_allclose(OPS.window(x, 5, weights), np.array(expected).transpose(2, 0, 1, 3), atol=1e-12)


@pytest.mark.parametrize("coarse", [(), (Grid(64, 4),), (Grid(32, 8), Grid(128, 2))])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 5), (8, 6)])
def test_decomposition_reproduces_the_pixels(tiny_photo_prior, coarse, rows, columns):
    """Whatever the levels above take, all frequencies of the tiles make up for it."""
    architecture = replace(linear_part(cosine_architecture(16)), coarse=coarse)
    columns_above = sum(part.size for part in architecture.parts[1:])
    above = Gaussians(*(torch.full((columns_above,), value) for value in (0.0, 1.0, 0.2)))
    shared = shared_weights(tiny_photo_prior.operating_point(0))
    pixels = torch.from_numpy(busy_pictures(2)[:, : 16 * rows, : 16 * columns]).float() / 255
    latents = decompose(architecture, shared, pixels, above)
    assert latents.shape == (2, *counts(columns, rows, architecture.block // 16), architecture.latents)
    again = forward(architecture, latents, shared, torch.zeros((2, rows, columns), dtype=torch.int64), TorchOps)
    torch.testing.assert_close(again, pixels, atol=2e-5, rtol=0)
    if coarse and rows > 1:  # the point above takes a share
        own = architecture.side**2 * architecture.own
        assert latents[..., own:].abs().max() > 0.5


def test_latents_of_tiles_beyond_the_picture_show_nowhere(tiny_photo_prior):
    """They cost nothing, so they must do nothing."""
    architecture = tiny_photo_prior.architecture
    latents = np.random.default_rng(0).normal(size=(1, 2, 2, architecture.latents))
    classes = blocks_of(np.zeros((1, 5, 6), int), architecture).reshape(1, 2, 2, -1)
    outside = np.repeat(classes < 0, architecture.own, -1)
    assert outside.any()
    changed = latents.copy()
    changed[..., : outside.shape[-1]] += 10 * outside
    network = Network(architecture, {}, np.zeros((1, 5, 6), int), OPS)
    before, after = (network.field(x) for x in (latents, changed))
    np.testing.assert_array_equal(before, after)
    tiles = tiles_of(architecture, torch.from_numpy(latents))
    np.testing.assert_array_equal(tiles[0, 4, 1], latents[0, 1, 0].reshape(-1)[768 : 2 * 768])
