"""Latents without bits, completed where tiles of two sizes meet."""

import numpy as np
import pytest
import torch

from combiner_codec.format import prior as priors
from combiner_codec.format.operating_point import COMPLETED_PIXELS
from combiner_codec.synthesis.completion import completed, smooth
from combiner_codec.synthesis.fields import blocks_from
from combiner_codec.synthesis.lapped import analyse
from combiner_codec.synthesis.network import Network
from combiner_codec.synthesis.numpy_ops import NumpyOps
from combiner_codec.synthesis.pyramid import Pyramid
from combiner_codec.synthesis.squares import as_squares
from combiner_codec.synthesis.torch_ops import TorchOps
from conftest import smooth_pictures

PRIOR = priors.load("photo")
ARCHITECTURE = PRIOR.architecture
KEPT = 4  # frequencies of a tile along each axis that have bits
SHAPE = 1, 12, 16  # pictures, rows and columns of tiles


def chequered():
    """Every second square of four tiles is one: (P, Rt, Ct) bool."""
    row, column = np.indices((SHAPE[1] // 2, SHAPE[2] // 2))
    return as_squares((row + column)[None] % 2 == 0, SHAPE)


def latents_of(field, merged):
    """(P, H, 3, W) -> (P, Rb, Cb, D)."""
    tiles = analyse(field, merged, ARCHITECTURE.tile, NumpyOps)
    pyramid = Pyramid.of(merged, ARCHITECTURE.pyramid, tiles, NumpyOps)
    return blocks_from(ARCHITECTURE, pyramid.gathered(tiles.reshape(*tiles.shape[:3], -1)), NumpyOps)


def shown_by(latents, merged):
    """The field, (P, H, W, 3)."""
    classes = np.where(merged, 9, 0)
    return Network(ARCHITECTURE, {}, classes, NumpyOps(), single=5).field(latents)


@pytest.fixture(scope="module")
def coarse():
    """A smooth field, and its latents of few frequencies: (P, H, W, 3) and (P, Rb, Cb, D)."""
    tile = ARCHITECTURE.tile
    height, width = SHAPE[1] * tile, SHAPE[2] * tile
    (picture,) = smooth_pictures(1, 256)
    field = smooth(picture[None, :height, :width].transpose(0, 1, 3, 2) / 255, NumpyOps)
    latents = latents_of(field, chequered())
    of_tiles = latents.reshape(*latents.shape[:3], -1, tile, tile, 3)
    of_tiles[..., KEPT:, :, :] = 0
    of_tiles[..., KEPT:, :] = 0
    return field.transpose(0, 1, 3, 2), latents


def test_a_smooth_picture_has_no_crosses(coarse):
    field, latents = coarse
    merged = chequered()
    before = np.abs(shown_by(latents, merged) - field)
    after = np.abs(shown_by(completed(ARCHITECTURE, latents, merged, NumpyOps), merged) - field)
    assert after.max() < 0.5 * before.max()
    assert (after**2).mean() < 0.2 * (before**2).mean()


def test_latents_with_bits_stay(coarse):
    _, latents = coarse
    found = completed(ARCHITECTURE, latents, chequered(), NumpyOps)
    has_bits = latents != 0
    assert (found[has_bits] == latents[has_bits]).all() and np.abs(found[~has_bits]).max() > 0


def test_numpy_and_torch_agree(coarse):
    _, latents = coarse
    merged = chequered()
    theirs = completed(ARCHITECTURE, torch.from_numpy(latents), merged, TorchOps)
    np.testing.assert_allclose(theirs.numpy(), completed(ARCHITECTURE, latents, merged, NumpyOps), atol=1e-12)


@pytest.mark.parametrize(
    ("height", "width", "fitting"),
    [(128, 128, False), (128, 129, True), (63, 1024, False), (64, 1024, True), (2048, 2048, True), (2048, 2049, False)],
)
def test_which_pictures_are_completed(height, width, fitting):
    assert (height * width <= COMPLETED_PIXELS) or not fitting
    block = ARCHITECTURE.block
    point = PRIOR.operating_point(3)
    mixed = np.where(chequered(), point.single, 0)
    assert point.completes(height, width, block, mixed) == fitting
    assert not point.completes(height, width, block, np.full_like(mixed, point.single))
    assert not point.completes(height, width, block, np.zeros_like(mixed))
    nano = priors.load("nano").operating_point(0)
    assert not nano.completes(height, width, block, np.where(chequered(), nano.single, 0))
