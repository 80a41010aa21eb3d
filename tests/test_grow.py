"""An architecture that grew begins as the same function, and learns with what is new."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from combiner_codec.encoder.fit.posterior import shared_weights
from combiner_codec.errors import FormatError
from combiner_codec.synthesis.architecture import Architecture, Layer
from combiner_codec.synthesis.network import Network
from combiner_codec.synthesis.torch_ops import TorchOps
from combiner_codec.training import family
from combiner_codec.training.begin.state import begun
from combiner_codec.training.plan import Plan
from combiner_codec.training.recipes import PHOTO, RECIPES, folded_architecture
from combiner_codec.training.shards import Shards
from combiner_codec.training.together.grow import grown
from combiner_codec.training.together.steps import take_step
from conftest import busy_pictures

OLD = folded_architecture()


def with_a_part(architecture: Architecture) -> Architecture:
    """With two layers more, which see the picture and add to it."""
    last = len(architecture.layers) - 1
    hidden = Layer("silu", 12, 12, window=3, fold=2, by_class=True, residual_of=last)
    out = Layer("linear", 12, 12, fold=2, residual_of=last)
    return replace(architecture, layers=(*architecture.layers, hidden, out))


GROWN = {
    "the same": OLD,
    "wider": folded_architecture(width=40),
    "deeper": folded_architecture(depth=6),
    "wider and deeper": folded_architecture(width=48, depth=5),
    "with a new part": with_a_part(OLD),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "a.npy"
    np.save(path, busy_pictures(4, 64))
    return [path]


def begin(prior, architecture, pictures):
    """What learning begins with, on a few crops."""
    points = [prior.operating_point(p) for p in range(len(prior.betas))]
    singles = tuple(point.single for point in points)
    settings = replace(
        PHOTO, betas=tuple(prior.betas), classes=singles, merged=3, visits=(), crops=6, batch=3, steps=40, separate=0.0
    )
    plan = Plan(architecture, settings, 64, Shards(settings.crops), Shards(0), torch.device("cpu"))
    pixels, held = family.read_crops(plan, family.Sources.of(pictures), replace(RECIPES["photo"], octaves=0.0))
    return plan, begun(plan, pixels, held, prior)


def shown(architecture, shared, prior):
    """What the layers make of some field."""
    random = torch.Generator().manual_seed(0)
    field = torch.rand(2, 64, 64, 3, generator=random)
    classes = torch.randint(0, 5, (2, 4, 4), generator=random)
    with torch.no_grad():
        return Network(architecture, shared, classes, TorchOps, single=5).layers(field)


@pytest.mark.parametrize("architecture", GROWN.values(), ids=GROWN)
def test_a_grown_network_shows_the_same(architecture, tiny_photo_prior, pictures):
    plan, state = begin(tiny_photo_prior, architecture, pictures)
    for p in range(plan.points):
        before = shown(OLD, shared_weights(tiny_photo_prior.operating_point(p)), tiny_photo_prior)
        for network in (state.network, state.average):
            after = shown(architecture, network.shared(p), tiny_photo_prior)
            torch.testing.assert_close(after, before, rtol=0, atol=1e-4)
    assert (before - 0.5).abs().max() > 0.01


@pytest.mark.parametrize("name", ["wider", "deeper", "with a new part"])
def test_what_is_new_learns(name, tiny_photo_prior, pictures):
    """Nothing new is stuck where its gradients are 0."""
    architecture = GROWN[name]
    plan, state = begin(tiny_photo_prior, architecture, pictures)
    before = [weights.detach().clone() for weights in state.network.weights]
    for _ in range(3):
        take_step(plan, state)
    for old, weights in zip(before, state.network.weights, strict=True):
        decayed = old * (weights.norm() / old.norm().clamp(min=1e-9))
        moved = (weights.detach() - decayed).abs() > 0
        assert moved.float().mean() > 0.99


def test_layers_are_found_again():
    assert grown(OLD, OLD) == [0, 1, 2, 3, 4]
    assert grown(OLD, folded_architecture(width=40)) == [0, 1, 2, 3, 4]
    assert grown(OLD, folded_architecture(depth=6)) == [0, 1, 2, None, None, 3, 4]
    assert grown(OLD, with_a_part(OLD)) == [0, 1, 2, 3, 4, None, None]


def without_residual(architecture):
    first, *others = architecture.layers[2:]
    return replace(
        architecture, layers=(*architecture.layers[:2], first, replace(others[0], residual_of=None), *others[1:])
    )


@pytest.mark.parametrize(
    "other",
    [
        folded_architecture(width=24),
        folded_architecture(depth=3),
        folded_architecture(tile=32),
        without_residual(OLD),
        replace(OLD, layers=(*OLD.layers, Layer("linear", 12, 12, fold=2))),
    ],
    ids=["narrower", "shallower", "larger tiles", "without a residual", "a layer that hides the last"],
)
def test_what_did_not_grow_is_refused(other):
    with pytest.raises(FormatError, match="did not grow"):
        grown(OLD, other)
