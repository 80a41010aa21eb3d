"""Classes for tiles that no photograph has."""

import numpy as np
import pytest

from combiner_codec.decoder import decode_array
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.settings import Settings
from combiner_codec.format import prior as priors
from combiner_codec.training.finish import drawn, graphics
from combiner_codec.training.recipes import METADATA
from conftest import busy_pictures

SIDES = {"tiny_prior": 32, "tiny_photo_prior": 128}  # pixels along the side of a training picture


@pytest.fixture(params=SIDES)
def pair(request, tmp_path_factory):
    """A prior, and the same with more classes."""
    prior = request.getfixturevalue(request.param)
    path = tmp_path_factory.mktemp("more") / "more.npz"
    points = [prior.operating_point(i) for i in range(len(prior.betas))]
    more = [graphics.add_classes(point, prior.architecture, SIDES[request.param]) for point in points]
    priors.save(path, METADATA, prior.architecture, more)
    return prior, priors.load_file(path)


def test_the_trained_classes_stay(pair):
    for before, after in zip(*([prior.operating_point(i) for i in range(2)] for prior in pair), strict=True):
        single, added = before.single, len(drawn.kinds())
        assert after.single == single + added and after.classes == before.classes + added
        old = [*range(single), *range(after.single, after.classes)]
        np.testing.assert_array_equal(after.kl_index[:single], before.kl_index)
        np.testing.assert_array_equal(after.merged, before.merged)
        np.testing.assert_array_equal(after.shared["w2"], before.shared["w2"])
        np.testing.assert_array_equal(after.shared["b2"][old], before.shared["b2"])
        np.testing.assert_array_equal(after.contexts[:, [*old, -1]][..., old], before.contexts)


def test_writing_and_patterns_are_coded_better(pair):
    text = np.ascontiguousarray(drawn.kinds()["small print"](np.random.default_rng(9))[:64, :64])
    pictures = np.stack([np.indices((64, 64)).sum(0) % 2 * 255] * 3, -1).astype(np.uint8), text
    before, after = (encode_arrays(pictures, prior, Settings(1e-3, "fast")) for prior in pair)
    for picture, old, new in zip(pictures, before, after, strict=True):
        assert new.lagrangian(picture, 1e-3) < 0.7 * old.lagrangian(picture, 1e-3)
        np.testing.assert_array_equal(decode_array(new.data, pair[1]), new.pixels)


def test_other_pictures_cost_about_the_same(pair):
    pictures = list(busy_pictures(2, 64))
    before, after = (encode_arrays(pictures, prior, Settings(0.004, "fast")) for prior in pair)
    for picture, old, new in zip(pictures, before, after, strict=True):
        assert new.lagrangian(picture, 0.004) < 1.03 * old.lagrangian(picture, 0.004)


def test_kinds_are_the_same_every_time():
    first, again = drawn.pictures(64), drawn.pictures(64)
    assert first.shape == (4 * drawn.EACH * len(drawn.kinds()), 64, 64, 3)
    assert (first == again).all() and float(first.min()) >= 0 and float(first.max()) <= 1
