"""Modulations: a network of a picture's own, in the file and beside it."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from combiner_codec import decoder
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.fit.modulation import DECAYS, WORTH, Adam, adam_numbers, worth
from combiner_codec.encoder.goal import Goal
from combiner_codec.encoder.settings import Settings
from combiner_codec.errors import FormatError
from combiner_codec.format.operating_point import UNMODULATED_PIXELS, Modulations
from combiner_codec.synthesis.modulation import count, modulated
from combiner_codec.training.data.crops import Picture
from combiner_codec.training.finish import modulations as training
from conftest import as_file, busy_pictures

SETTINGS = Settings(0.004, "fast")


@pytest.fixture(scope="module")
def prior(tiny_prior, tmp_path_factory):
    """Modulations with a bit or so each of pictures from 2^15 pixels on."""
    points = []
    for number in range(len(tiny_prior.betas)):
        point = tiny_prior.operating_point(number)
        m = count(point.shared, tiny_prior.architecture.colour + 1)
        kl_index = np.full((3, m), 60, np.uint8)
        kl_index[0], kl_index[:, 5::2] = 0, 0
        points.append(replace(point, modulations=Modulations(np.full(m, 0.1, np.float32), kl_index)))
    return as_file(tmp_path_factory.mktemp("modulated") / "modulated.npz", tiny_prior.architecture, points)


@pytest.fixture(scope="module")
def picture():
    return np.tile(busy_pictures(1, 128, seed=3)[0], (2, 2, 1))[:200, :190]


@pytest.fixture(scope="module")
def encoded(prior, picture):
    return encode_arrays([picture], prior, SETTINGS)[0]


def test_a_larger_picture_knows_its_modulations_more_exactly():
    point = Modulations(np.ones(1, np.float32), np.arange(3, dtype=np.uint8)[:, None])
    least = UNMODULATED_PIXELS
    sizes = least, least + 1, 2 * least - 1, 2 * least, 4 * least, 2**30
    assert [None if (row := point.kl_of(size)) is None else row.item() for size in sizes] == [None, 0, 0, 1, 2, 2]


def test_both_sides_modulate_alike(prior):
    shared, first = prior.operating_point(0).shared, prior.architecture.colour + 1
    values = np.random.default_rng(0).normal(0, 0.1, count(shared, first))
    here = modulated(shared, first, values)
    there = modulated({k: torch.from_numpy(v) for k, v in shared.items()}, first, torch.from_numpy(values))
    assert here.keys() == there.keys()
    assert all(np.allclose(here[name], there[name].numpy()) for name in here)
    inputs, outputs = shared[f"w{first}"].shape[2:]
    assert np.allclose(
        here[f"w{first}"], shared[f"w{first}"] * np.outer(1 + values[:inputs], 1 + values[inputs:][:outputs])
    )
    assert np.allclose(here[f"b{first}"] - shared[f"b{first}"], values[inputs + outputs :][:outputs], atol=1e-6)
    last = f"b{len(prior.architecture.layers) - 1}"
    assert np.allclose(here[last] - shared[last], values[-len(shared[last]) :], atol=1e-6)


def test_no_modulation_is_no_change(prior):
    shared, first = prior.operating_point(0).shared, prior.architecture.colour + 1
    same = modulated(shared, first, np.zeros(count(shared, first)))
    assert all((same[name] == shared[name]).all() for name in shared)


def test_a_file_says_how_the_network_is_modulated(prior, picture, encoded):
    plane = decoder.parse(encoded.data, prior).colour
    point = plane.point
    assert plane.modulated
    assert len(plane.streams[0]) == point.length_of(point.modulation_kl(picture[..., 0].size)) > 0
    values = modulations_of(plane)
    coded = point.modulation_kl(picture[..., 0].size)[0] > 0
    assert (values[~coded] == 0).all()
    assert 0.03 < values[coded].std() < 0.3
    pixels = decoder.decode_array(encoded.data, prior)
    assert (pixels == encoded.pixels).all()
    other = encode_arrays([picture], prior, replace(SETTINGS, seed=1))[0]
    assert not np.allclose(values, modulations_of(decoder.parse(other.data, prior).colour))


def modulations_of(plane):
    """What the file says of them: (M,)."""
    return decoder.sample(plane.header, plane.sections[0], plane.streams[0], np.float64, slice(None))[0]


def test_they_change_the_picture(prior, encoded):
    plane = decoder.parse(encoded.data, prior).colour
    plain = replace(plane, modulated=False, streams=plane.streams[1:])
    assert (decoder.decode_plane(plain, 1) != decoder.decode_plane(plane, 1)).any()


@pytest.fixture(scope="module")
def learned(tiny_prior, picture, tmp_path_factory):
    """Modulations as training finds them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"SIDE": 160, "PICTURES": 2, "STEPS": 24, "APPROACH": 4}.items():
            patch.setattr(training, name, value)
        points = training.learn(
            tiny_prior,
            [Picture("a", lambda: picture), Picture("b", lambda: picture[::-1])],
            lambda line: None,
        )
    return as_file(tmp_path_factory.mktemp("learned") / "learned.npz", tiny_prior.architecture, points)


@pytest.mark.parametrize("effort", ["fast", "normal"])
def test_they_pay_where_they_were_learned(learned, tiny_prior, picture, effort):
    plain, own = (encode_arrays([picture], one, Settings(0.004, effort))[0] for one in (tiny_prior, learned))
    assert decoder.parse(own.data, learned).colour.modulated
    assert own.lagrangian(picture, 0.004) < plain.lagrangian(picture, 0.004)


def test_small_pictures_have_no_bit_for_them(prior, tiny_prior, picture):
    small = picture[:128, :128]
    plain, own = (encode_arrays([small], one, SETTINGS)[0] for one in (tiny_prior, prior))
    assert len(plain.data) == len(own.data)
    assert (plain.pixels == own.pixels).all()


def test_short_files_do_without(prior, picture):
    flat = np.full_like(picture, 90)
    flat[50:90, 50:90] = 140
    plane = decoder.parse(encode_arrays([flat], prior, Settings(0.02, "fast"))[0].data, prior).colour
    assert plane.may_be_modulated and not plane.modulated


def test_worth_is_by_bits(prior):
    point = prior.operating_point(0)
    own = point.length_of(point.modulation_kl(200 * 190))
    assert worth(point, 200 * 190, WORTH * own)
    assert not worth(point, 200 * 190, WORTH * own - 1)
    assert not worth(point, 128 * 128, 10**9)
    assert not worth(point, 128 * 129, 10**9)  # the first row codes none


def test_sizes_are_known_before_the_fit(prior, picture):
    target = encode_arrays([picture], prior, SETTINGS)[0]
    size = len(target.data)
    found = encode_arrays([picture], prior, SETTINGS, Goal(size=size))[0]
    assert size * 0.9 < len(found.data) <= size


def test_a_picture_has_the_same_file_in_company(prior, picture, encoded):
    together = encode_arrays([picture, picture[::-1].copy()], prior, SETTINGS)
    assert together[0].data == encoded.data


def test_every_cut_is_refused(prior, encoded):
    for cut in range(len(encoded.data) // 40, len(encoded.data), len(encoded.data) // 40):
        with pytest.raises(FormatError):
            decoder.decode_array(encoded.data[:cut], prior)


def test_scales_and_curvatures_make_tables():
    own = training.modulations(np.array([0.1, 0.001]), np.array([1e-2, 1e-4]))
    assert own.kl_index.shape == (training.ROWS, 2)
    assert (np.diff(own.kl_index.astype(int), axis=0) >= 0).all()
    assert own.kl_index[-1, 1] < own.kl_index[0, 0]


def test_crops_are_of_large_pictures_only():
    small, large = np.zeros((100, 500, 3), np.uint8), np.ones((400, 500, 3), np.uint8)
    assert (training.crops_of([Picture("small", lambda: small), Picture("large", lambda: large)], 0) == 1).all()
    assert len(training.crops_of([Picture("small", lambda: small)], 0)) == 0


def test_adam_is_torchs():
    ours, theirs = (torch.linspace(-1, 1, 40)[None].requires_grad_() for _ in range(2))
    adam, optimizer = Adam(ours), torch.optim.Adam([theirs], betas=DECAYS)
    for step in range(9):
        optimizer.param_groups[0]["lr"] = rate = 0.1 / (step + 1)
        for x in (ours, theirs):
            x.grad = torch.sin(7 * x.detach() + step)
        adam.step(*adam_numbers(rate, step + 1))
        optimizer.step()
        torch.testing.assert_close(ours, theirs)


def test_a_fit_imports_no_more_of_torch_than_it_needs(prior, picture, tmp_path):
    """sympy would come with a gradient that is given, 0.3 s, and dynamo with an optimizer, 0.9 s."""
    (tmp_path / "prior.npz").write_bytes(prior.data)
    np.save(tmp_path / "picture.npy", picture)
    script = (
        "import sys, numpy as np, combiner_codec\n"
        "combiner_codec.encode(np.load('picture.npy'), prior='prior.npz', effort='fast', beta=0.004)\n"
        "print({'sympy', 'torch._dynamo'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
