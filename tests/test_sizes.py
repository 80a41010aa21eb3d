"""Tiles of both sizes in training: their choice, their tables, what the network knows of them."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from combiner_codec.decoder import parse
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.fit.analysis import ColourMap, decompose
from combiner_codec.encoder.fit.posterior import noise_variance
from combiner_codec.encoder.settings import Settings
from combiner_codec.format.classmap import ONE_CLASS
from combiner_codec.synthesis.squares import everywhere
from combiner_codec.training.begin.sizes import counted, energies, first_sizes, mixture_of
from combiner_codec.training.finish.points import frozen
from combiner_codec.training.recipes import PHOTO, RECIPES
from combiner_codec.training.shards import Shards
from combiner_codec.training.tables import Tables
from combiner_codec.training.together.network import class_features
from conftest import busy_pictures, smooth_pictures

ARCHITECTURE = RECIPES["photo"].architecture
COLOURS = ColourMap(torch.eye(3), torch.full((3,), 0.5), torch.eye(3))
NOISE = noise_variance(0.01)


@pytest.fixture(scope="module")
def crops():
    """Smooth pictures; their right ends have noise in one tile of two, as on a chessboard."""
    noise = np.random.default_rng(3).normal(0, 60, (10, 128, 32, 1))
    pictures = smooth_pictures(10, 128).astype(float)
    pictures[:, :, 96:] += noise * (np.indices((8, 2)).sum(0) % 2).repeat(16, 0).repeat(16, 1)[..., None]
    return torch.from_numpy(pictures.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def sizes(crops):
    mixture = mixture_of(energies(ARCHITECTURE.tile, COLOURS, crops, False), 5, NOISE, Shards(len(crops)))
    return first_sizes(ARCHITECTURE.tile, COLOURS, crops, mixture, None, 3)


def cost(sizes, crops, merged):
    return sizes.costs(decompose(ARCHITECTURE, COLOURS.shared(ARCHITECTURE), crops.float() / 255, merged), merged)[
        0
    ].sum()


def test_tiles_of_both_sizes_cost_less_than_of_either(sizes, crops):
    merged = sizes.settled(ARCHITECTURE.tile, COLOURS, crops).numpy() >= 5
    every = everywhere(merged.shape)
    assert 0.1 < merged.mean() < 0.9
    assert cost(sizes, crops, merged) < 0.99 * min(cost(sizes, crops, every & choice) for choice in (False, True))


def test_four_cells_of_a_merged_tile_have_one_class(sizes, crops):
    classes = sizes.settled(ARCHITECTURE.tile, COLOURS, crops)
    fours = classes.unfold(1, 2, 2).unfold(2, 2, 2).flatten(3)  # (N, Rt / 2, Ct / 2, 4)
    merged = (fours >= 5).any(3)
    assert merged.any() and (fours[merged] == fours[merged][:, :1]).all()


def test_a_square_is_four_single_tiles_or_a_merged_one():
    rows = torch.tensor([39.0, 99.0, *[4.0] * 4, *[9.0] * 4])  # 2 single classes, 2 merged ones
    frequency = counted(rows, 2)
    share = 15 / (15 + 140 / 4)
    np.testing.assert_allclose(frequency[2:], [share / 3, share * 2 / 3], rtol=1e-5)
    assert float(frequency[:2].sum() ** 4 + frequency[2:].sum()) == pytest.approx(1)


def test_a_neighbours_classes_are_gone_on_from(sizes, crops):
    """Twice the noise, and tables of a point with less of it: as good as from the beginning."""
    noise, found = 2 * NOISE, []
    for last in (sizes, None):
        mixture = mixture_of(energies(ARCHITECTURE.tile, COLOURS, crops, False), 5, noise, Shards(len(crops)))
        own = first_sizes(ARCHITECTURE.tile, COLOURS, crops, mixture, last, 3)
        found.append(cost(own, crops, own.settled(ARCHITECTURE.tile, COLOURS, crops).numpy() >= 5))
    assert found[0] < 1.02 * found[1]


def test_priors_of_merged_tiles_are_those_of_the_frozen_point():
    random = torch.Generator().manual_seed(0)
    U = ARCHITECTURE.tile_latents
    variance = torch.rand(3 + 4 * 2, U, generator=random)
    tables = Tables(0.01, torch.zeros(U), torch.ones(U), variance, 3)
    point = frozen(tables, {}, ONE_CLASS, PHOTO)
    assert point.kl_index.shape == (3, U) and point.merged.shape == (2, 4, U)
    classes = torch.tensor([[[0, 1, 4, 4], [2, 0, 4, 4], [3, 3, 1, 1], [3, 3, 2, 1]]])
    scale = point.scale_of(point.rows[point.row_of(classes.numpy())], slice(None))
    np.testing.assert_allclose(tables.prior(classes).scale, scale, rtol=0.15, atol=0.05)


def test_bands_of_a_merged_tile_are_twice_as_wide():
    """One spectrum by frequency, 32 x 32, as its four cells hold it."""
    spectrum = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(1)) + 0.1
    cells = [spectrum[v::2, h::2].reshape(1, -1) for v in range(2) for h in range(2)]
    bands = [slice(2 * a, 2 * b) for a, b in pairwise((0, 1, 2, 4, 8, 16))]
    expected = torch.stack([0.5 * spectrum[v, h].log().mean((0, 1)) for v in bands for h in bands]).reshape(-1)
    single = torch.full((1, 768), 2.0)
    found = class_features(torch.cat([single, *cells]), 16, 1)
    torch.testing.assert_close(found[1], expected)
    torch.testing.assert_close(found[0], torch.full_like(found[0], 0.5 * np.log(2)))


def test_files_have_tiles_of_both_sizes(tiny_photo_prior):
    for beta in (0.01, 0.002):
        result = encode_arrays([busy_pictures(1)[0]], tiny_photo_prior, Settings(beta, "fast"))[0]
        plane = parse(result.data, tiny_photo_prior).colour
        merged = plane.classes >= plane.point.single
        assert 0.1 < merged.mean() < 0.9
