import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from combiner_codec.decoder import decode_array, parse
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.posterior import Gaussians, kl_nats
from combiner_codec.encoder.settings import Settings
from combiner_codec.errors import FormatError
from combiner_codec.format import prior as priors
from combiner_codec.training import data
from combiner_codec.training.family import Family
from combiner_codec.training.mixture import Mixture
from combiner_codec.training.recipes import (
    RECIPES,
    SIREN_METADATA,
    TrainSettings,
    siren_architecture,
)
from combiner_codec.training.run import Options, load_point, run, save_point, train_cosine
from combiner_codec.training.shards import Shards
from combiner_codec.training.siren import PlainSiren, train_siren
from conftest import busy_pictures, smooth_pictures

ARGUMENTS = ["--betas", "0.02,0.004", "--classes", "4,4", "--steps", "8", "--batch", "4"]


def learn(folder, pictures, processes):
    """What `combiner train` writes, in this process or in several."""
    folder.mkdir()
    np.save(folder / "t.npy", pictures)
    if processes == 1:
        lines, options = [], Options("small", (0.02, 0.004), (4, 4), 8, batch=4)
        run([folder / "t.npy"], folder / "p.npz", folder / "ck", lines.append, options)
        assert any("ELBO" in line for line in lines)
        return
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "combiner_codec"]
    command = ["train", "t.npy", "-o", "p.npz", "--checkpoints", "ck", *ARGUMENTS]
    done = subprocess.run(
        [sys.executable, *launch, *command],
        cwd=folder, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_two_processes_give_the_result_of_one(tmp_path):
    """Also where one of them has none of a step's four pictures."""
    one, two = tmp_path / "one", tmp_path / "two"
    learn(one, busy_pictures(33, 32), 1)
    learn(two, busy_pictures(33, 32), 2)
    for name in ("point-0.02.npz", "point-0.004.npz"):
        a, b = (load_point(folder / "ck" / name) for folder in (one, two))
        assert a.contexts is None and b.contexts is None
        assert np.abs(a.kl_index.astype(int) - b.kl_index).max() <= 2
        assert a.shared.keys() == b.shared.keys()
        for x, y in [
            (a.mean, b.mean),
            (a.posterior_scale, b.posterior_scale),
            *((a.shared[k], b.shared[k]) for k in a.shared),
        ]:
            np.testing.assert_allclose(x, y, rtol=2e-3, atol=1e-3)
    prior = priors.load_file(two / "p.npz")
    assert prior.betas == [0.02, 0.004]
    result = encode_arrays([busy_pictures(1, 128, seed=5)[0][:40, -70:]], prior, Settings(0.01, "fast"))[0]
    np.testing.assert_array_equal(decode_array(result.data, prior), result.pixels)


def test_a_finished_point_is_gone_on_from(tmp_path):
    """A run that was cut off after its first point trains the second from the checkpoint, and about as well."""
    settings = replace(SETTINGS, betas=(0.02, 0.004), classes=(4, 4))
    recipe = replace(RECIPES["small"], settings=settings)
    pixels = torch.from_numpy(busy_pictures(33, 32)).float() / 255
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    lines = []
    points = train_cosine(pixels, recipe, whole, lambda line: None)
    train_cosine(pixels, recipe, whole, lines.append)
    assert not lines  # nothing is left to do
    shutil.copy(whole / "point-0.02.npz", cut)
    again = train_cosine(pixels, recipe, cut, lines.append)
    assert lines and all(line.startswith("point 1") for line in lines)
    assert [point.beta for point in again] == [0.02, 0.004]
    np.testing.assert_array_equal(again[0].kl_index, points[0].kl_index)
    ours, theirs = (np.sort(point.tile_bits).mean() for point in (again[1], points[1]))
    assert ours == pytest.approx(theirs, rel=0.1)


SETTINGS = TrainSettings((0.004,), (4,), steps=4, first_steps=4, batch=4, m_steps=2)


def test_the_plain_siren_trains_and_codes(tmp_path):
    """All weights of all layers are stored: 1,123, in independent groups of 16-bit indices."""
    pixels = torch.from_numpy(smooth_pictures(4)).float() / 255
    point = train_siren(pixels, 0.01, 0.05, tmp_path, lambda line: None)
    architecture = siren_architecture()
    assert architecture.latents == 1123
    path = tmp_path / "siren.npz"
    priors.save(path, SIREN_METADATA | {"steps": 4}, architecture, [point])
    prior = priors.load_file(path)
    point = prior.operating_point(0)
    groups = point.partition(point.kl_index)
    assert 0 < len(groups.latents) <= 1123
    result = encode_arrays([smooth_pictures(1, 40)[0][:32]], prior, Settings(0.01, "fast"))[0]
    np.testing.assert_array_equal(decode_array(result.data, prior), result.pixels)
    assert parse(result.data, prior).lengths.tolist() == [16 * groups.counts[0]] * 2


def test_kl_is_that_of_torch_distributions():
    g = torch.Generator().manual_seed(0)
    mu, sigma = torch.randn(3, 5, generator=g), torch.rand(3, 5, generator=g) + 0.1
    mean, scale = torch.randn(5, generator=g), torch.rand(3, 5, generator=g) + 0.5
    ours = kl_nats(mu, sigma, Gaussians(mean, scale, sigma[0]))
    normal = torch.distributions.Normal
    torch.testing.assert_close(ours, torch.distributions.kl_divergence(normal(mu, sigma), normal(mean, scale)))


def test_a_single_class_is_learned_from_all_tiles():
    settings = replace(SETTINGS, betas=(0.02,), classes=(1,))
    pixels = torch.from_numpy(busy_pictures(33, 32)).float() / 255
    point = Family(pixels, RECIPES["small"].architecture, settings, lambda line: None).learn(0)
    assert point.classes == 1 and point.tile_bits[0] > 20
    assert all(np.isfinite(value).all() for value in point.shared.values())


def test_classes_separate_flat_from_busy():
    g = torch.Generator().manual_seed(0)
    energy = torch.cat([torch.randn(50, 20, generator=g) ** 2 * 0.01, torch.randn(50, 20, generator=g) ** 2])
    start = torch.arange(100) % 2
    mixture = Mixture(energy, torch.full((20,), 1e-3), torch.full((1, 20), 1e-3), 3, Shards(100), 1.0)
    assigned, variance = mixture.learn(start)
    assert len(assigned[:50].unique()) == 1 and (assigned[:50] != assigned[50]).all()
    assert variance[assigned[50]].sum() > 20 * variance[assigned[0]].sum()
    assert (variance[2] == 1e-3).all()  # the flat class stays as it is


def test_a_checkpoint_is_a_prior_file_that_keeps_every_number(tiny_photo_prior, tmp_path):
    """In single precision, whether groups take their latents in the fixed random order included."""
    point = replace(tiny_photo_prior.operating_point(0), permuted=False)
    shared = {name: value + np.float32(1e-6) for name, value in point.shared.items()}
    point = replace(point, shared=shared)
    save_point(tmp_path / "point.npz", tiny_photo_prior.architecture, point)
    again = load_point(tmp_path / "point.npz")
    for name, value in vars(point).items():
        if name in type(point).__dataclass_fields__:
            np.testing.assert_equal(getattr(again, name), value, name)
    assert [path.name for path in tmp_path.iterdir()] == ["point.npz"]  # written whole or not at all


def test_the_plain_siren_goes_on_from_its_checkpoint(tmp_path):
    pixels = torch.from_numpy(smooth_pictures(3)).float() / 255
    whole, cut, again = (PlainSiren(pixels, 0.01, 0) for _ in range(3))
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
    """Arrays less their end, mirrored too; so many crops of the folder's pictures, the same every time."""
    np.save(tmp_path / "a.npy", smooth_pictures(5))
    (tmp_path / "photos").mkdir()
    for i, picture in enumerate(smooth_pictures(2, 100)):
        Image.fromarray(picture).save(tmp_path / "photos" / f"{i}.png")
    sources = [tmp_path / "a.npy", tmp_path / "photos"]
    pixels, again = (data.load_images(sources, 32, crops=7, holdout=1) for _ in range(2))
    assert pixels.shape == (2 * 4 + 7, 32, 32, 3) and torch.equal(pixels, again)
    assert torch.equal(pixels[4:8], pixels[:4].flip(2))
    assert len(data.held_out(sources, 1, ())[0]) == 1
    assert [c.shape for c in data.held_out(sources, 0, [tmp_path / "photos"])[0]] == [(100, 100, 3)]


def test_pictures_that_do_not_fit_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", smooth_pictures(2, 40))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="expected uint8"):
        data.load_images([tmp_path / "a.npy"], 32, 0, 0)
    with pytest.raises(FormatError, match="no pictures"):
        data.load_images([tmp_path / "empty"], 32, 3, 0)
    with pytest.raises(FormatError, match="no pictures"):
        data.load_images([tmp_path / "empty"], 32, 0, 0)
