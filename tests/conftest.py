"""A small prior, trained for seconds, so that tests do not depend on the shipped ones."""

import numpy as np
import pytest
import torch
from PIL import Image

from combiner_codec import prior as priors
from combiner_codec import train

torch.set_num_threads(2)


def smooth_pictures(count, side=32, seed=0):
    """Random smooth colour pictures: uint8 (count, side, side, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    resize = [np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse]
    return np.stack(resize)


@pytest.fixture(scope="session")
def tiny_settings():
    return train.TrainSettings((0.02, 0.004), (5, 5), steps=12, first_steps=12, batch=16, m_steps=2)


@pytest.fixture(scope="session")
def tiny_prior(tmp_path_factory, tiny_settings):
    """Two operating points of the default family."""
    folder = tmp_path_factory.mktemp("tiny")
    pixels = torch.from_numpy(smooth_pictures(64)).float() / 255
    train.train_default(pixels, tiny_settings, folder, lambda line: None)
    path = folder / "tiny.npz"
    priors.save(path, train.DEFAULT_METADATA, train.cosine_architecture(), train.read_levels(folder))
    return priors.load_file(path)


@pytest.fixture(scope="session")
def tiny_prior_file(tiny_prior, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "tiny.npz"
    path.write_bytes(tiny_prior.data)
    return path
