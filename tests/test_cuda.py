"""The GPU's path without a GPU, on a device of the imagination."""

import gc
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from combiner_codec import decoder
from combiner_codec.encoder import batch, encode
from combiner_codec.encoder.code import device_candidates
from combiner_codec.encoder.code import pictures as coder
from combiner_codec.encoder.code.streams import Span
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.fit import replay
from combiner_codec.encoder.fit.descent import Descent
from combiner_codec.encoder.fit.natural import NaturalSteps
from combiner_codec.encoder.settings import Effort, Settings
from combiner_codec.format import candidates
from combiner_codec.format.header import MAX_SEED
from combiner_codec.format.prior import load
from combiner_codec.training import plan as plans
from combiner_codec.training.begin.state import begun
from combiner_codec.training.recipes import PHOTO, RECIPES
from combiner_codec.training.shards import Shards
from combiner_codec.training.together.played import Played
from combiner_codec.training.together.steps import take_step
from conftest import ELSEWHERE, REGISTERED, busy_pictures
from imagined_device import Device, numbers


@pytest.fixture
def device(monkeypatch):
    if not REGISTERED:
        pytest.skip("this torch cannot be told of a device that is not there")
    for module in (batch, encode):
        monkeypatch.setattr(module, "resolve_device", lambda name: torch.device("cpu" if name == "cpu" else ELSEWHERE))
    with Device() as mode:
        monkeypatch.setattr(replay, "captured", mode.captured)
        yield mode


def test_the_imagined_device_behaves(device):
    x = torch.arange(3.0).to(ELSEWHERE)
    assert x.device.type == ELSEWHERE
    with pytest.raises(AssertionError, match="mixes devices"):
        x + torch.ones(3)
    y = x.requires_grad_()
    (y**2).sum().backward()
    assert device.totals() == (0, 1, 7)
    assert y.grad.cpu().tolist() == [0, 2, 4]
    assert (x.sum() > 1).item()
    assert len(device.waits) == 2


def test_a_captured_step_is_done_anew(device):
    """It reads what its tensors hold at that time, writes where it wrote, and does nothing while it is captured."""
    x = torch.arange(3.0).to(ELSEWHERE)
    total = torch.zeros(()).to(ELSEWHERE)

    def work():
        total.add_((2 * x).sum())

    step = replay.Replayed(x.device)
    for calls in range(1, 6):
        step(work)
        assert numbers(total) == 6 * calls
    assert device.launches["replay"] == 5 - replay.FIRST
    x.zero_()
    step(work)
    assert numbers(total) == 30
    with pytest.raises(AssertionError, match="neither wait"):
        device.captured(lambda: x.sum().item(), x.device)


CANDIDATES = {0: 3, 5: 16, 70000: 37, 2**32 - 1: 1}  # group numbers, and latents of each


@pytest.mark.parametrize("seed", [0, 7, MAX_SEED])
def test_candidates_are_numpys_on_both(device, seed):
    """Philox in wrapping int64, many groups at once, against numpy's own in uint64, one by one."""
    for where in ("cpu", ELSEWHERE):
        drawn = device_candidates.candidates(seed, CANDIDATES, 100, torch.device(where))
        for group, dims in CANDIDATES.items():
            expected = candidates.candidates(seed, group, 100, dims)
            np.testing.assert_array_equal(numbers(drawn[group]), expected)
    assert not device.waits


def test_groups_are_drawn_ahead_and_no_more_than_fit(device, monkeypatch):
    monkeypatch.setattr(device_candidates, "AT_ONCE", 500)
    ahead = device_candidates.DrawnAhead(1, 100, torch.device(ELSEWHERE))
    ahead.expect(CANDIDATES)
    there = []
    for group, dims in CANDIDATES.items():
        expected = candidates.candidates(1, group, 100, dims)
        np.testing.assert_array_equal(numbers(ahead.of(group)), expected)
        there.append(list(ahead.drawn))
    assert there == [[5], [], [], []]


@pytest.mark.parametrize("shape", [(30, 40), (40, 24, 3)])
def test_both_devices_write_the_same_file(device, shape, tiny_photo_prior):
    effort = Effort(0.1, 2, 0.05, -6, 1)
    pictures = [np.ascontiguousarray(picture[: shape[0], : shape[1]]) for picture in busy_pictures(2, 40)]
    pictures = [picture if len(shape) == 3 else picture[..., 0] for picture in pictures]
    here, there = (
        encode_arrays(pictures, tiny_photo_prior, Settings(0.01, effort, device=name)) for name in ("cpu", "cuda")
    )
    assert device.waits
    assert [one.data for one in here] == [one.data for one in there]


def test_a_fit_leaves_nothing_on_a_gpu_once_it_is_done(device, monkeypatch, tiny_photo_prior):
    """Not even until Python looks for cycles."""
    begun_with = []
    begin = NaturalSteps.begin

    def begin_known(steps, *given):
        begun_with.append(weakref.ref(steps))
        begin(steps, *given)

    monkeypatch.setattr(NaturalSteps, "begin", begin_known)
    gc.disable()
    try:
        encode_arrays(busy_pictures(1, 32), tiny_photo_prior, Settings(0.1, Effort(0.1, 1, 0, -6, 1), device="cuda"))
        assert [steps() for steps in begun_with] == [None]
    finally:
        gc.enable()


def test_pictures_are_prepared_while_others_are_coded(device, monkeypatch, tiny_photo_prior):
    """The second one's canvas is there before the first one is coded; files are as without."""
    monkeypatch.setattr(batch, "CODED_ON_A_GPU", 40 * 40)
    events = []

    def told(owner, name):
        work = getattr(owner, name)

        def tell(*args, **kwargs):
            events.append(name)
            if name == "encode_canvases" and events.count(name) == 1:
                wait_for(lambda: events.count("canvas") == 2)
            return work(*args, **kwargs)

        monkeypatch.setattr(owner, name, tell)

    told(batch.Batch, "canvas")
    told(batch, "encode_canvases")
    pictures = busy_pictures(2, 40)
    there = encode_arrays(
        pictures, tiny_photo_prior, Settings(0.05, Effort(0.1, 1, 0, -6, 1), device="cuda", tune="iq")
    )
    assert events.index("encode_canvases") <= 2 and events.count("canvas") == 2
    here = encode_arrays(pictures, tiny_photo_prior, Settings(0.05, Effort(0.1, 1, 0, -6, 1), device="cpu", tune="iq"))
    assert [one.data for one in here] == [one.data for one in there]


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def counts(device, monkeypatch):
    """What fits, their steps, segments of coding and groups of bundles asked for: lists of `Device.totals`."""
    found = {"run": [], "take": [], "code_segment": [], "push": []}

    def counted(owner, name):
        work = getattr(owner, name)

        def run(*args, **kwargs):
            before = device.totals()
            result = work(*args, **kwargs)
            found[name].append(np.subtract(device.totals(), before))
            return result

        monkeypatch.setattr(owner, name, run)

    counted(Descent, "run")
    counted(NaturalSteps, "take")
    counted(coder, "code_segment")
    counted(Span, "push")
    return found


def test_neither_steps_nor_groups_wait(counts, each_prior):
    """A fit of many steps waits as often as one of few. So does a longer stream, to which no more is sent either."""
    device_candidates.candidates(0, {0: 1}, 1, torch.device(ELSEWHERE, 0))  # sends its constants
    for steps, beta in ((0.1, 0.1), (0.1, 0.001), (0.3, 0.001)):
        encode_arrays(busy_pictures(1, 32), each_prior, Settings(beta, Effort(steps, 1, 0, -6, 1), device="cuda"))
    assert len({waits for waits, _, _ in counts["run"]}) == 1
    assert len({(waits, sent) for waits, sent, _ in counts["code_segment"]}) == 1
    waits, sent, launches = np.max(counts["push"], 0)
    assert (waits, sent) == (0, 0)
    print("PUSH", launches, np.mean(counts["push"], 0), counts["code_segment"], counts["run"])
    assert launches <= 10


def test_steps_are_few_launches_and_the_same_on_both(counts, device):
    """Steps of three kinds are played again: before modulations, with them, and when they are coded."""
    prior = load("photo")
    (picture,) = busy_pictures(1, 136)
    effort = Effort(0.4, 2, 0.2, -6, 1)
    here = encode_arrays([picture], prior, Settings(0.01, effort, device="cpu"))[0]
    for some in counts.values():
        some.clear()
    there = encode_arrays([picture], prior, Settings(0.01, effort, device="cuda"))[0]
    assert decoder.parse(here.data, prior).colour.modulated
    assert here.data == there.data
    begin, fit, refinement = 2, 12, 6  # steps before modulations, of the fit, and after
    steps = np.array(counts["take"])
    assert len(steps) == fit + refinement
    assert not steps[:, 0].any()  # none waits
    assert steps[2:, 1].max() <= 2  # noise alone is sent, of latents and of modulations
    plain = steps[1, 2]
    modulated = steps[begin + 1, 2]
    played = np.concatenate([steps[begin + replay.FIRST + 1 : fit], steps[fit + replay.FIRST + 1 :]])[:, 2]
    assert (plain, modulated) <= (140, 260)
    assert played.max() <= 7
    assert device.launches["replay"] == len(played) + 2


TRAINED = replace(PHOTO, betas=(0.02, 0.004), classes=(4, 4), merged=2, visits=(), crops=12, batch=4, steps=30)


def trained(device, act=None):
    """The state of a training after eight steps, every second one with a probe."""
    plan = plans.Plan(RECIPES["photo"].architecture, TRAINED, 64, Shards(12), Shards(0), torch.device(device))
    pixels = torch.from_numpy(busy_pictures(24, 64)).unflatten(0, (2, 12)).to(device)
    state = begun(plan, pixels, None, None)
    for _ in range(8):
        take_step(plan, state, act)
    return state


def test_a_training_is_played_again(device, monkeypatch):
    """What a GPU would learn from graphs is what the processor learns; its steps neither wait nor are many launches."""
    monkeypatch.setattr(plans, "random", lambda seed, where="cpu": torch.Generator().manual_seed(seed))
    monkeypatch.setattr(plans, "PROBE_EVERY", 2)
    played = Played()
    counts = []

    def counted(*given, **named):
        before = device.totals()
        played(*given, **named)
        counts.append(np.subtract(device.totals(), before))

    here = trained("cpu")
    there = trained(ELSEWHERE, counted)
    assert {kind: way.step.graph is not None for kind, way in played.ways.items()} == {
        (True, False): False, (False, True): True, (True, True): True,
    }  # fmt: skip
    waits, sent, launches = counts[-1]
    assert (waits, sent) == (0, 0)
    assert launches <= 5
    assert max(launches for _, _, launches in counts[:5]) <= 700
    learned = there.network.state_dict()
    for name, value in here.network.state_dict().items():
        torch.testing.assert_close(numbers(learned[name]), value, rtol=0, atol=1e-6, msg=name)
    for name in ("variance", "curvature"):
        torch.testing.assert_close(numbers(getattr(there.points, name)), getattr(here.points, name))
