"""Small priors, trained for seconds, so that tests do not depend on the shipped ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from combiner_codec.format import prior as priors
from combiner_codec.training import endtoend
from combiner_codec.training.endtoend import Sources
from combiner_codec.training.recipes import METADATA, PHOTO, RECIPES, TrainSettings
from combiner_codec.training.run import train_cosine

torch.set_num_threads(1)


def smooth_pictures(count, side=32, seed=0):
    """Random smooth colour pictures: uint8 (count, side, side, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    resize = [np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse]
    return np.stack(resize)


def busy_pictures(count, side=128, seed=0):
    """Smooth pictures with noise that grows from left to right: uint8 (count, side, side, 3)."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(count, side, side, 1)) * np.linspace(0, 50, side)[:, None]
    return (smooth_pictures(count, side, seed) * 0.7 + 38 + noise).clip(0, 255).astype(np.uint8)


def as_file(path, family, points):
    """The prior of a file of a family's operating points."""
    priors.save(path, METADATA, RECIPES[family].architecture, points)
    return priors.load_file(path)


@pytest.fixture(scope="session")
def tiny_prior(tmp_path_factory):
    """Two operating points of the small family: one level of tiles, class numbers as they are."""
    settings = TrainSettings((0.02, 0.004), (5, 5), steps=12, first_steps=12, batch=16, m_steps=2)
    folder, recipe = tmp_path_factory.mktemp("small"), replace(RECIPES["small"], settings=settings)
    pixels = torch.from_numpy(smooth_pictures(64)).float() / 255
    return as_file(folder / "tiny-small.npz", "small", train_cosine(pixels, recipe, folder, lambda line: None))


@pytest.fixture(scope="session")
def tiny_photo_prior(tmp_path_factory):
    """Two operating points: classes with contexts, layers at half resolution."""
    settings = replace(PHOTO, betas=(0.01, 0.002), classes=(5, 5), visits=(), crops=8, batch=4, steps=12)
    folder, recipe = tmp_path_factory.mktemp("photo"), replace(RECIPES["photo"], settings=settings, side=128)
    np.save(folder / "pictures.npy", busy_pictures(8))
    points = endtoend.learn(Sources.of([folder / "pictures.npy"]), recipe, folder, lambda line: None)
    return as_file(folder / "tiny-photo.npz", "photo", points)


@pytest.fixture(params=["tiny_prior", "tiny_photo_prior"])
def each_prior(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def tiny_prior_file(tiny_prior, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "tiny.npz"
    path.write_bytes(tiny_prior.data)
    return path
