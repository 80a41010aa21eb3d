from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from combiner_codec.decoder import decode_array, parse
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.fit.posterior import Gaussians, kl_nats
from combiner_codec.encoder.settings import Settings
from combiner_codec.errors import FormatError
from combiner_codec.format import prior as priors
from combiner_codec.training.begin.mixture import Mixture
from combiner_codec.training.data import crops
from combiner_codec.training.data.crops import Picture
from combiner_codec.training.finish import measured
from combiner_codec.training.recipes import RECIPES
from combiner_codec.training.shards import Shards
from combiner_codec.training.siren import learn as siren_prior
from conftest import smooth_pictures


def test_the_plain_siren_trains_and_codes(tmp_path):
    """All weights of all layers are stored: 1,123, in independent groups of 16-bit indices."""
    recipe = RECIPES["combiner-cifar"]
    recipe = replace(recipe, settings=replace(recipe.settings, betas=(0.01,), minutes=0.05))
    pictures = [Picture(str(number), picture.copy) for number, picture in enumerate(smooth_pictures(4))]
    point = siren_prior.learn(pictures, recipe, None, tmp_path, lambda line: None)
    assert recipe.architecture.latents == 1123
    path = tmp_path / "siren.npz"
    priors.save(path, recipe.metadata | {"steps": 4}, recipe.architecture, [point])
    prior = priors.load_file(path)
    point = prior.operating_point(0)
    groups = point.partition(point.kl_index)
    assert 0 < len(groups.latents) <= 1123
    result = encode_arrays([smooth_pictures(1, 40)[0][:32]], prior, Settings(0.01, "fast"))[0]
    np.testing.assert_array_equal(decode_array(result.data, prior), result.pixels)
    assert parse(result.data, prior).colour.blocks.lengths.tolist() == [16 * groups.counts[0]] * 2


def test_kl_is_that_of_torch_distributions():
    g = torch.Generator().manual_seed(0)
    mu, sigma = torch.randn(3, 5, generator=g), torch.rand(3, 5, generator=g) + 0.1
    mean, scale = torch.randn(5, generator=g), torch.rand(3, 5, generator=g) + 0.5
    ours = kl_nats(mu, sigma, Gaussians(mean, scale, sigma[0]))
    normal = torch.distributions.Normal
    torch.testing.assert_close(ours, torch.distributions.kl_divergence(normal(mu, sigma), normal(mean, scale)))


def test_classes_separate_flat_from_busy():
    g = torch.Generator().manual_seed(0)
    energy = torch.cat([torch.randn(50, 20, generator=g) ** 2 * 0.01, torch.randn(50, 20, generator=g) ** 2])
    start = torch.arange(100) % 2
    mixture = Mixture(energy, torch.full((20,), 1e-3), torch.full((1, 20), 1e-3), 3, Shards(100), 1.0)
    assigned, variance = mixture.learn(start)
    assert len(assigned[:50].unique()) == 1 and (assigned[:50] != assigned[50]).all()
    assert variance[assigned[50]].sum() > 20 * variance[assigned[0]].sum()
    assert (variance[2] == 1e-3).all()  # the flat class stays as it is


def test_the_plain_siren_goes_on_from_its_checkpoint(tmp_path):
    pixels = torch.from_numpy(smooth_pictures(3)).float() / 255
    architecture = RECIPES["combiner-cifar"].architecture
    whole, cut, again = (siren_prior.PlainSiren(architecture, pixels, 0.01, 0) for _ in range(3))
    for siren, steps in ((whole, 4), (cut, 2)):
        for _ in range(steps):
            siren.step(0.0)
    cut.save(tmp_path / "siren.pt")
    again.resume(tmp_path / "siren.pt")
    for _ in range(2):
        again.step(0.0)
    assert again.count == whole.count == 4
    torch.testing.assert_close(again.mu, whole.mu, rtol=0, atol=0)


def test_pictures_come_from_arrays_and_folders(tmp_path):
    """Arrays less their end, which is held out; crops are the same every time."""
    np.save(tmp_path / "a.npy", smooth_pictures(5))
    (tmp_path / "photos").mkdir()
    for i, picture in enumerate(smooth_pictures(2, 100)):
        Image.fromarray(picture).save(tmp_path / "photos" / f"{i}.png")
    sources = [tmp_path / "a.npy", tmp_path / "photos"]
    pictures, held = crops.pictures_of(sources, holdout=1), crops.held_of(sources, 1)
    assert [len(pictures), len(held), len(crops.held_of(sources, 0))] == [6, 1, 0]
    np.testing.assert_array_equal(held[0].read(), smooth_pictures(5)[4])
    some, again = (crops.random_crops(pictures, 32, np.arange(7), 0, 4.0) for _ in range(2))
    assert some.shape == (7, 32, 32, 3) and (some == again).all()
    whole = crops.random_crops(pictures[:4], 32, np.arange(4), 0, 0.0)
    assert sorted(p.tobytes() for p in whole) == sorted(p.tobytes() for p in smooth_pictures(5)[:4])
    assert len(measured.held_out(sources, 1, ())[0]) == 1
    assert [c.shape for c in measured.held_out(sources, 0, [tmp_path / "photos"])[0]] == [(100, 100, 3)]


def test_all_crops_are_scaled_down_where_a_least_is_given():
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    pictures = [crops.Picture("stripes", lambda: stripes)]
    some, every = (crops.random_crops(pictures, 32, np.arange(12), 0, 2.0, least) for least in (None, 1.0))
    assert some.std((1, 2, 3)).max() > 100 and every.std((1, 2, 3)).max() < 20


def test_pictures_that_do_not_fit_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 40, 40)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="expected uint8"):
        crops.pictures_of([tmp_path / "a.npy"])
    with pytest.raises(FormatError, match="no pictures"):
        crops.pictures_of([tmp_path / "empty"])
