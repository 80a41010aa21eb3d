import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from combiner_codec import prior as priors
from combiner_codec import train
from combiner_codec.codec import decode_array, encode_arrays, parse
from combiner_codec.inr import Grid
from combiner_codec.posterior import Gaussians, kl
from conftest import busy_pictures, smooth_pictures

ARGUMENTS = ["--betas", "0.02,0.004", "--classes", "4,4", "--steps", "8", "--batch", "4"]


def learn(folder, pictures, family, processes):
    """What `combiner train` writes, in this process or in several."""
    folder.mkdir()
    np.save(folder / "t.npy", pictures)
    if processes == 1:
        lines, options = [], train.Options(family, (0.02, 0.004), (4, 4), 8, batch=4)
        train.run([folder / "t.npy"], folder / "p.npz", folder / "ck", lines.append, options)
        assert any("ELBO" in line for line in lines)
        return
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "combiner_codec"]
    command = ["train", "t.npy", "-o", "p.npz", "--checkpoints", "ck", "--family", family, *ARGUMENTS]
    done = subprocess.run(
        [sys.executable, *launch, *command],
        cwd=folder, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


CASES = [("small", 33, 32), ("photo", 5, 128)]


@pytest.mark.parametrize(("family", "count", "side"), CASES)
def test_two_processes_give_the_result_of_one(family, count, side, tmp_path):
    """Also where one of them has none of a step's four pictures."""
    one, two = tmp_path / "one", tmp_path / "two"
    learn(one, busy_pictures(count, side), family, 1)
    learn(two, busy_pictures(count, side), family, 2)
    for name in ("level-0.02.npz", "level-0.004.npz"):
        a, b = (dict(np.load(folder / "ck" / name)) for folder in (one, two))
        assert a.keys() == b.keys() and ("contexts" in a) == (family == "photo")
        for key in a:
            if key in ("kl", "coarse", "contexts"):
                assert np.abs(a[key].astype(int) - b[key]).max(initial=0) <= 2, key
            else:
                np.testing.assert_allclose(a[key], b[key], rtol=2e-3, atol=1e-3, err_msg=key)
    prior = priors.load_file(two / "p.npz")
    assert prior.betas == [0.02, 0.004]
    result = encode_arrays([busy_pictures(1, 128, seed=5)[0][:40, -70:]], 0.01, prior, effort="fast")[0]
    np.testing.assert_array_equal(decode_array(result.data, prior), result.pixels)


@pytest.mark.parametrize(("family", "count", "side"), CASES)
def test_a_finished_point_is_gone_on_from(family, count, side, tmp_path):
    """A run that was cut off after its first point trains the second from the checkpoint, and about as well."""
    settings = replace(SETTINGS, betas=(0.02, 0.004), classes=(4, 4))
    recipe = replace(train.RECIPES[family], settings=settings)
    pixels = torch.from_numpy(busy_pictures(count, side)).float() / 255
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    lines = []
    levels = train.train_cosine(pixels, recipe, whole, lambda line: None)
    train.train_cosine(pixels, recipe, whole, lines.append)
    assert not lines  # nothing is left to do
    shutil.copy(whole / "level-0.02.npz", cut)
    again = train.train_cosine(pixels, recipe, cut, lines.append)
    assert lines and all(line.startswith("point 1") for line in lines)
    assert [level.beta for level in again] == [0.02, 0.004]
    np.testing.assert_array_equal(again[0].kl, levels[0].kl)
    ours, theirs = (np.sort(level.tile_bits).mean() for level in (again[1], levels[1]))
    assert ours == pytest.approx(theirs, rel=0.1)


def test_coarse_levels_take_bits_off_the_tiles():
    """What a level above stores, tiles need not: smooth pictures cost next to nothing there."""
    pixels = torch.from_numpy(smooth_pictures(4, 128)).float() / 255
    bits = []
    for coarse in ((), (Grid(64, 4),)):
        family = train.Family(pixels, train.cosine_architecture(16, coarse), SETTINGS, lambda line: None)
        level = family.level(0)
        bits.append(level.tile_bits[family.assigned.numpy()].mean())
    assert bits[1] < 0.3 * bits[0]


SETTINGS = train.TrainSettings((0.004,), (4,), steps=4, first_steps=4, batch=4, m_steps=2)


def test_the_plain_siren_trains_and_codes(tmp_path):
    """All weights of all layers are stored: 1,123, in independent groups of 16-bit indices."""
    pixels = torch.from_numpy(smooth_pictures(4)).float() / 255
    level = train.train_siren(pixels, 0.01, 0.05, tmp_path, lambda line: None)
    architecture = train.siren_architecture()
    assert architecture.latents == 1123
    path = tmp_path / "siren.npz"
    priors.save(path, train.SIREN_METADATA | {"steps": 4}, architecture, [level])
    prior = priors.load_file(path)
    contents_of = prior.level(0).partition(prior.level(0).kl)
    assert 0 < len(contents_of.latents) <= 1123
    result = encode_arrays([smooth_pictures(1, 40)[0][:32]], 0.01, prior, effort="fast")[0]
    np.testing.assert_array_equal(decode_array(result.data, prior), result.pixels)
    assert parse(result.data, prior).lengths.tolist() == [16 * contents_of.counts[0]] * 2


def test_kl_is_that_of_torch_distributions():
    g = torch.Generator().manual_seed(0)
    mu, sigma = torch.randn(3, 5, generator=g), torch.rand(3, 5, generator=g) + 0.1
    mean, scale = torch.randn(5, generator=g), torch.rand(3, 5, generator=g) + 0.5
    ours = kl(mu, sigma, Gaussians(mean, scale, sigma[0]))
    normal = torch.distributions.Normal
    torch.testing.assert_close(ours, torch.distributions.kl_divergence(normal(mu, sigma), normal(mean, scale)))


def test_a_single_class_is_learned_from_all_tiles():
    settings = replace(SETTINGS, betas=(0.02,), classes=(1,))
    recipe = replace(train.RECIPES["photo"], settings=settings)
    pixels = torch.from_numpy(busy_pictures(3, 128)).float() / 255
    level = train.Family(pixels, recipe.architecture, settings, lambda line: None).level(0)
    assert level.classes == 1 and level.tile_bits[0] > 20


def test_classes_separate_flat_from_busy():
    g = torch.Generator().manual_seed(0)
    energy = torch.cat([torch.randn(50, 20, generator=g) ** 2 * 0.01, torch.randn(50, 20, generator=g) ** 2])
    start = torch.arange(100) % 2
    mixture = train.Mixture(energy, torch.full((20,), 1e-3), torch.full((1, 20), 1e-3), 3, train.Shards(100), 1.0)
    assigned, variance = mixture.learn(start)
    assert len(assigned[:50].unique()) == 1 and (assigned[:50] != assigned[50]).all()
    assert variance[assigned[50]].sum() > 20 * variance[assigned[0]].sum()
    assert (variance[2] == 1e-3).all()  # the flat class stays as it is
