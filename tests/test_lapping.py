"""The lapped transform of training and of GPUs, in squares, against that of encoder and decoder."""

import numpy as np
import pytest
import torch

from combiner_codec.encoder.fit import lapping
from combiner_codec.encoder.fit.analysis import ColourMap, decompose
from combiner_codec.synthesis.fields import blocks_from
from combiner_codec.synthesis.network import Network
from combiner_codec.synthesis.squares import everywhere
from combiner_codec.synthesis.torch_ops import TorchOps
from combiner_codec.training.recipes import RECIPES

ARCHITECTURE = RECIPES["photo"].architecture
AXES = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
COLOURS = ColourMap(AXES, torch.tensor([0.4, 0.5, 0.6]), AXES.T)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 1, 1), (2, 3, 4), (2, 5, 2)])
@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_both_are_alike(shape, share):
    rng, n = np.random.default_rng(1), ARCHITECTURE.tile
    some = rng.random((shape[0], -(-shape[1] // 2), -(-shape[2] // 2))) < share
    merged = everywhere(shape) & some.repeat(2, 1).repeat(2, 2)[:, : shape[1], : shape[2]]
    pixels = torch.from_numpy(rng.random((shape[0], n * shape[1], n * shape[2], 3), np.float32))
    ours = lapping.Lapping.of(n, merged)
    tiles = ours.latents(COLOURS.components(pixels))
    shared = COLOURS.shared(ARCHITECTURE)
    torch.testing.assert_close(tiles, decompose(ARCHITECTURE, shared, pixels, merged), rtol=0, atol=1e-5)
    network = Network(ARCHITECTURE, shared, torch.from_numpy(np.where(merged, 9, 0)), TorchOps, single=5)
    field = network.field(blocks_from(ARCHITECTURE, tiles, TorchOps))[:, : pixels.shape[1], : pixels.shape[2]]
    torch.testing.assert_close(ours.field(tiles), field, rtol=0, atol=1e-5)
    last = torch.tensor([shape[0] - 1])
    torch.testing.assert_close(ours.of_crops(last).field(tiles[last]), field[last], rtol=0, atol=1e-5)


def test_its_gradient_is_analysis():
    rng = np.random.default_rng(2)
    merged = np.zeros((1, 3, 4), bool)
    merged[:, :2, 2:] = True
    ours = lapping.Lapping.of(4, merged)
    tiles = torch.from_numpy(rng.standard_normal((1, 3, 4, 48), np.float32)).requires_grad_()
    pulls = torch.from_numpy(rng.standard_normal((1, 12, 16, 3), np.float32))
    field = ours.field(tiles)
    (gradient,) = torch.autograd.grad(field, tiles, pulls)
    torch.testing.assert_close((tiles * gradient).sum(), (field * pulls).sum())
    torch.testing.assert_close(ours.field(gradient), pulls, rtol=0, atol=1e-5)
