"""Small priors, trained for seconds, so that tests do not depend on the shipped ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from combiner_codec.format import prior as priors
from combiner_codec.synthesis.architecture import Grid
from combiner_codec.training.recipes import METADATA, RECIPES, TrainSettings
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


def train_tiny(folder, family, settings, pictures, **changes):
    """A prior of a family's architecture, but for `changes`, learned from uint8 pictures."""
    recipe = replace(RECIPES[family], settings=settings)
    recipe = replace(recipe, architecture=replace(recipe.architecture, **changes))
    pixels = torch.from_numpy(pictures).float() / 255
    points = train_cosine(pixels, recipe, folder, lambda line: None)
    path = folder / f"tiny-{family}.npz"
    priors.save(path, METADATA, recipe.architecture, points)
    return priors.load_file(path)


@pytest.fixture(scope="session")
def tiny_prior(tmp_path_factory):
    """Two operating points of the small family: one level of tiles, class numbers as they are."""
    settings = TrainSettings((0.02, 0.004), (5, 5), steps=12, first_steps=12, batch=16, m_steps=2)
    return train_tiny(tmp_path_factory.mktemp("small"), "small", settings, smooth_pictures(64))


@pytest.fixture(scope="session")
def tiny_photo_prior(tmp_path_factory):
    """Two operating points: classes with contexts, layers at half resolution, and a coarse level, which other priors
    for photographs have had.
    """
    settings = TrainSettings((0.01, 0.002), (5, 5), steps=6, first_steps=6, batch=4, m_steps=2)
    return train_tiny(tmp_path_factory.mktemp("photo"), "photo", settings, busy_pictures(6), coarse=(Grid(64, 4),))


@pytest.fixture(params=["tiny_prior", "tiny_photo_prior"])
def each_prior(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def tiny_prior_file(tiny_prior, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "tiny.npz"
    path.write_bytes(tiny_prior.data)
    return path
