"""Operating points that are learned at once, on pictures of 64 x 64 pixels."""

import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from combiner_codec.decoder import decode_array
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.settings import Settings
from combiner_codec.errors import FormatError
from combiner_codec.format import prior as priors
from combiner_codec.training import checkpoint, family
from combiner_codec.training.data.crops import pictures_of, random_crops
from combiner_codec.training.family import Sources
from combiner_codec.training.recipes import PHOTO, RECIPES
from combiner_codec.training.run import Options, run
from combiner_codec.training.together import measure
from conftest import busy_pictures

BETAS = (0.02, 0.004)
SETTINGS = replace(PHOTO, betas=BETAS, classes=(4, 4), merged=2, visits=(), crops=12, batch=4, steps=30)
RECIPE = replace(RECIPES["photo"], settings=SETTINGS, side=64)


@pytest.fixture(autouse=True)
def few_validation_crops(monkeypatch):
    monkeypatch.setattr(measure, "MEASURED_PIXELS", 8 * RECIPE.side**2)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Eight pictures of 128 x 128 pixels, and four others."""
    folder = tmp_path_factory.mktemp("pictures")
    np.save(folder / "t.npy", busy_pictures(8))
    np.save(folder / "v.npy", busy_pictures(4, seed=1))
    return [folder / "t.npy"], [folder / "v.npy"]


def learn(sources, folder, recipe=RECIPE, report=lambda line: None):
    folder.mkdir(exist_ok=True)
    return family.learn(Sources.of(*sources), recipe, folder, report)


def assert_same(ours, theirs, rtol=0.0, atol=0.0, tables=0):
    """Operating points that agree."""
    assert np.abs(ours.kl_index.astype(int) - theirs.kl_index).max() <= tables
    assert np.abs(ours.contexts.astype(int) - theirs.contexts).max() <= tables
    np.testing.assert_allclose(ours.posterior_scale, theirs.posterior_scale, rtol, atol)
    for name, value in ours.shared.items():
        np.testing.assert_allclose(value, theirs.shared[name], rtol, atol, err_msg=name)


def test_the_cost_falls_below_the_closed_form(sources, tmp_path):
    """On training crops and on others of the same pictures: eight are too few to say much about more pictures."""
    lines, (training, _) = [], sources
    learn((training, training), tmp_path, replace(RECIPE, settings=replace(SETTINGS, steps=200)), lines.append)
    (training,) = [line for line in lines if "training J" in line]
    held = [line for line in lines if "validation" in line]
    changes = [float(c) for c in re.findall(r"\(([+-][\d.]+) %\)", training + "".join(held))]
    assert len(changes) == 4 and max(changes[:2]) < -1 and max(changes[2:]) < 5


def test_an_interruption_changes_nothing(sources, tmp_path, monkeypatch):
    """As long as a number of steps is given: the clock has no say in it."""
    whole = learn(sources, tmp_path / "whole")
    monkeypatch.setattr(checkpoint, "SAVE_EVERY", 0)
    saves, save = [], checkpoint.write

    def interrupted(*arguments):
        save(*arguments)
        saves.append(1)
        if len(saves) == 17:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learn(sources, tmp_path / "cut")
    lines = []
    for ours, theirs in zip(learn(sources, tmp_path / "cut", report=lines.append), whole, strict=True):
        assert_same(ours, theirs)
    assert lines[0].endswith("17 steps")


def test_light_checkpoints_go_without_posteriors_and_find_them_again(sources, tmp_path):
    """J of training and validation crops after that is within half a percent of what it is without."""
    costs = {}
    for light in (False, True):
        folder = tmp_path / str(light)
        for steps in (12, 16):
            lines = []
            learn(sources, folder, replace(RECIPE, settings=replace(SETTINGS, steps=steps, light=light)), lines.append)
        told = re.findall(r"J ([\d.]+) |, ([\d.]+) \(", "\n".join(lines))
        costs[light] = [float(a or b) for a, b in told]
    assert len(costs[True]) == 4
    np.testing.assert_allclose(costs[True], costs[False], rtol=0.005)
    kept = torch.load(tmp_path / "True" / "joint.pt", weights_only=True)
    assert set(kept["crops"]) == set(kept["held"]) == {"assigned"}


def test_a_checkpoint_of_other_settings_is_refused(sources, tmp_path):
    learn(sources, tmp_path, replace(RECIPE, settings=replace(SETTINGS, steps=1)))
    with pytest.raises(FormatError, match="other settings"):
        learn(sources, tmp_path, replace(RECIPE, settings=replace(SETTINGS, steps=2, batch=2)))


def test_merged_tiles_have_tables_contexts_and_biases(sources, tmp_path):
    point = learn(sources, tmp_path, replace(RECIPE, settings=replace(SETTINGS, steps=1)))[0]
    assert (point.single, point.classes) == (4, 6) and point.contexts.shape == (3, 7, 6)
    assert all(value.shape[0] == 6 for value in point.shared.values() if value.ndim == 2)
    assigned = torch.load(tmp_path / "joint.pt", weights_only=True)["crops"]["assigned"][0]
    assert ((assigned >= 4).sum((1, 2)) % 4 == 0).all() and 0 < (assigned >= 4).float().mean() < 1


def test_one_class_for_all_tiles_is_learned(sources, tmp_path):
    settings = replace(SETTINGS, betas=(0.02,), classes=(1,), merged=0, steps=2)
    (point,) = learn(sources, tmp_path, replace(RECIPE, settings=settings))
    assert point.classes == 1 and point.tile_bits[0] > 20
    assert all(np.isfinite(value).all() for value in point.shared.values())


def test_own_weights_come_late(sources, tmp_path):
    """Until then all points' weights are one polynomial."""
    steps = replace(SETTINGS, separate=1.0), replace(SETTINGS, separate=0.5)
    ours, theirs = (learn(sources, tmp_path / str(s.separate), replace(RECIPE, settings=s)) for s in steps)
    states = [torch.load(tmp_path / str(s.separate) / "joint.pt", weights_only=True)["network"] for s in steps]
    assert [bool(state["point_weights.1"][0].any()) for state in states] == [False, True]
    assert np.abs(ours[0].shared["w3"] - theirs[0].shared["w3"]).max() > 0


def test_learning_begins_with_a_prior(sources, tmp_path):
    """After no time at all there are its weights, tables and classes, less those of graphics, which come anew."""
    options = Options("photo", BETAS, (4, 4), batch=2, crops=12, steps=8)
    run(sources[0], tmp_path / "one.npz", tmp_path / "one", lambda line: None, options)
    prior = priors.load_file(tmp_path / "one.npz")
    none = replace(RECIPE.settings, merged=64, crops=12, steps=None, minutes=0.0)
    found = family.learn(
        Sources.of(sources[0]), replace(RECIPE, settings=none, side=128), tmp_path, print, "cpu", prior
    )
    for p, point in enumerate(found):
        known, kept = prior.operating_point(p), slice(4)
        for ours, theirs in ((point.merged, known.merged), (point.kl_index, known.kl_index[kept])):
            assert np.abs(ours.astype(int) - theirs).max() < 5 and (ours == theirs).mean() > 0.99
        for name, value in point.shared.items():
            own = known.shared[name]
            own = np.concatenate([own[kept], own[known.single :]]) if own.ndim == 2 else own
            np.testing.assert_allclose(value, own.astype(np.float32), 1e-4, 1e-4, err_msg=name)
    with pytest.raises(FormatError, match="other operating points"):
        family.learn(Sources.of(sources[0]), RECIPES["photo"], tmp_path / "new", print, "cpu", prior)


COMMAND = [
    "--family",
    "photo",
    "--betas",
    "0.02,0.004",
    "--classes",
    "4,4",
    "--crops",
    "9",
    "--batch",
    "2",
    "--steps",
    "8",
]


def test_two_processes_give_the_result_of_one(sources, tmp_path):
    """Also where one of them has none of a step's two crops; and the prior codes."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "combiner_codec", "train"]
    paths = [str(sources[0][0]), "-o", "two.npz", "--checkpoints", "two"]
    done = subprocess.run(
        [sys.executable, *launch, *paths, *COMMAND],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    options = Options("photo", BETAS, (4, 4), 8, batch=2, crops=9)
    run(sources[0], tmp_path / "one.npz", tmp_path / "one", lambda line: None, options)
    prior, other = (priors.load_file(tmp_path / name) for name in ("two.npz", "one.npz"))
    for number in range(len(BETAS)):
        assert_same(other.operating_point(number), prior.operating_point(number), 2e-3, 1e-3, 2)
    assert prior.betas == list(BETAS) and "trained" in prior.metadata
    result = encode_arrays([busy_pictures(1, 128, seed=5)[0][:40, -70:]], prior, Settings(0.01, "fast"))[0]
    np.testing.assert_array_equal(decode_array(result.data, prior), result.pixels)


def test_crops_are_functions_of_their_numbers(sources):
    pictures = pictures_of(sources[0])
    some, others = (random_crops(pictures, 64, np.array(n), 3) for n in ([0, 5, 9, 20], [20, 9]))
    assert some.shape == (4, 64, 64, 3)
    np.testing.assert_array_equal(others, some[:1:-1])


def test_pictures_are_larger_than_crops(sources):
    with pytest.raises(FormatError, match="smaller than 200 x 200"):
        random_crops(pictures_of(sources[0]), 200, np.arange(2), 0)
