import os
import subprocess
import sys

import numpy as np
import torch

from combiner_codec import prior as priors
from combiner_codec import train
from combiner_codec.codec import decode_array, encode_arrays
from combiner_codec.posterior import Gaussians, kl
from conftest import smooth_pictures

ARGUMENTS = ["--betas", "0.02,0.004", "--classes", "4,4", "--steps", "8", "--first-steps", "8"]


def learn(folder, *extra, processes=0):
    np.save(folder / "t.npy", smooth_pictures(33))
    command = ["train", "t.npy", "-o", "p.npz", "--checkpoints", "ck", *ARGUMENTS, *extra]
    if processes:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    else:
        launch = [sys.executable, "-m"]
    done = subprocess.run(
        [*launch, "combiner_codec", *command],
        cwd=folder, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_training_is_resumable_and_two_processes_give_the_result_of_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    assert "ELBO" in learn(one)
    learn(two, processes=2)
    for name in ("level-0.02.npz", "level-0.004.npz"):
        a, b = (np.load(folder / "ck" / name) for folder in (one, two))
        for key in a.files:
            if key == "kl":
                assert np.abs(a[key].astype(int) - b[key]).max() <= 2
            else:
                np.testing.assert_allclose(a[key], b[key], rtol=2e-3, atol=1e-3, err_msg=key)
    first = (one / "p.npz").read_bytes()
    assert "step" not in learn(one)  # a second run finds its checkpoints
    prior = priors.parse((one / "p.npz").read_bytes(), "p", priors.CUSTOM)
    assert prior.betas == [0.02, 0.004] and prior.data == first
    result = encode_arrays([smooth_pictures(1, 32, seed=5)[0]], 0.01, prior, effort="fast")[0]
    np.testing.assert_array_equal(decode_array(result.data, prior), result.pixels)


def test_the_plain_siren_trains_and_codes(tmp_path):
    """All weights of all layers are stored: 1,123, in independent groups of 16-bit indices."""
    pixels = torch.from_numpy(smooth_pictures(4)).float() / 255
    level = train.train_siren(pixels, 0.01, 0.05, tmp_path, lambda line: None)
    architecture = train.siren_architecture()
    assert architecture.latents == 1123
    path = tmp_path / "siren.npz"
    priors.save(path, {"steps": 4, "rate": 0.1, "fit_scale": True, "budget_groups": 1}, architecture, [level])
    prior = priors.load_file(path)
    assert (prior.level(0).partition(0)[2] == 16).all()
    result = encode_arrays([smooth_pictures(1)[0]], 0.01, prior, effort="fast")[0]
    np.testing.assert_array_equal(decode_array(result.data, prior), result.pixels)


def test_kl_is_that_of_torch_distributions():
    g = torch.Generator().manual_seed(0)
    mu, sigma = torch.randn(3, 5, generator=g), torch.rand(3, 5, generator=g) + 0.1
    mean, scale = torch.randn(5, generator=g), torch.rand(3, 5, generator=g) + 0.5
    ours = kl(mu, sigma, Gaussians(mean, scale, sigma[0], scale > 0))
    normal = torch.distributions.Normal
    torch.testing.assert_close(ours, torch.distributions.kl_divergence(normal(mu, sigma), normal(mean, scale)))


def test_classes_separate_flat_from_busy():
    g = torch.Generator().manual_seed(0)
    energy = torch.cat([torch.randn(50, 20, generator=g) ** 2 * 0.01, torch.randn(50, 20, generator=g) ** 2])
    start = torch.arange(100) % 2
    assigned, variance = train.learn_classes(energy, torch.full((20,), 1e-3), 2, start, train.Shards(100), 1.0)
    assert len(assigned[:50].unique()) == 1 and (assigned[:50] != assigned[50]).all()
    assert variance.sum(1).max() > 20 * variance.sum(1).min()
