"""The GPU's path without a GPU: tensors that say they are on another device and compute on the processor.

An operation that mixes devices fails as it would there, and so does numpy; what waits for the device is counted.
"""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from combiner_codec import decoder
from combiner_codec.encoder import batch, encode
from combiner_codec.encoder.code import device_candidates
from combiner_codec.encoder.code import pictures as coder
from combiner_codec.encoder.encode import encode_arrays
from combiner_codec.encoder.fit.descent import Descent
from combiner_codec.encoder.settings import Effort, Settings
from combiner_codec.format import candidates
from combiner_codec.format.header import MAX_SEED
from combiner_codec.format.prior import load
from conftest import ELSEWHERE, REGISTERED, busy_pictures

aten = torch.ops.aten
COPIES = {aten._to_copy.default, aten.copy_.default}
BY_INDEX = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}


class There(torch.Tensor):
    """A tensor on a device of the imagination; `here` has its numbers."""

    @staticmethod
    def __new__(cls, here):
        there = torch.Tensor._make_wrapper_subclass(
            cls, here.shape, here.stride(), here.storage_offset(), dtype=here.dtype, device=f"{ELSEWHERE}:0"
        )
        there.here = here
        return there

    def __repr__(self):
        return f"There({self.here})"

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise AssertionError(f"{function} outside the device's mode")


class Device(TorchDispatchMode):
    """What happens to such tensors. waits: how often the processor waited for them, by operation."""

    def __init__(self):
        super().__init__()
        self.waits = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        given = tree_flatten((args, kwargs))[0]
        there = any(isinstance(x, There) for x in given)
        wanted = kwargs.get("device")
        here = [x for x in given if isinstance(x, torch.Tensor) and not isinstance(x, There) and x.ndim]
        if there and here and function not in COPIES | BY_INDEX:
            raise AssertionError(f"{function} mixes devices")
        if wanted is not None:
            kwargs["device"] = "cpu"
        found = function(*tree_map(numbers, args), **tree_map(numbers, kwargs))
        leaves = wanted is not None and torch.device(wanted).type == "cpu"
        if there and (leaves or not isinstance(tree_flatten(found)[0][0], torch.Tensor)):
            self.waits[str(function)] += 1
            return found
        if function._schema.is_mutable:
            if there and not isinstance(tree_flatten(args[0])[0][0], There):
                self.waits[str(function)] += 1  # a copy to the processor
            return args[0] if function._schema.returns else None
        if there or (wanted is not None and torch.device(wanted).type == ELSEWHERE):
            return tree_map(lambda x: There(x) if isinstance(x, torch.Tensor) else x, found)
        return found


def numbers(x):
    return x.here if isinstance(x, There) else x


@pytest.fixture
def device(monkeypatch):
    if not REGISTERED:
        pytest.skip("this torch cannot be told of a device that is not there")
    for module in (batch, encode):
        monkeypatch.setattr(module, "resolve_device", lambda name: torch.device("cpu" if name == "cpu" else ELSEWHERE))
    with Device() as mode:
        yield mode


def test_the_imagined_device_behaves(device):
    x = torch.arange(3.0).to(ELSEWHERE)
    assert x.device.type == ELSEWHERE
    with pytest.raises(AssertionError, match="mixes devices"):
        x + torch.ones(3)
    y = x.requires_grad_()
    (y**2).sum().backward()
    assert not device.waits
    assert y.grad.cpu().tolist() == [0, 2, 4]
    assert (x.sum() > 1).item()
    assert len(device.waits) == 2


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
    monkeypatch.setattr(device_candidates, "AT_ONCE", 300)
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


@pytest.fixture
def waits(device, monkeypatch):
    """How often every fit and every segment of coding waited: a list each."""
    found = {"run": [], "code_segment": []}

    def counted(name, work):
        def run(*args, **kwargs):
            before = device.waits.total()
            result = work(*args, **kwargs)
            found[name].append(device.waits.total() - before)
            return result

        return run

    monkeypatch.setattr(Descent, "run", counted("run", Descent.run))
    monkeypatch.setattr(coder, "code_segment", counted("code_segment", coder.code_segment))
    return found


def test_neither_steps_nor_groups_wait(waits, each_prior):
    """A fit of many steps waits as often as one of few, and a longer stream as often as a short one."""
    for steps, beta in ((0.1, 0.1), (0.1, 0.001), (0.3, 0.001)):
        encode_arrays(busy_pictures(1, 32), each_prior, Settings(beta, Effort(steps, 1, 0, -6, 1), device="cuda"))
    assert len(set(waits["run"])) == 1
    assert len(set(waits["code_segment"])) == 1


def test_modulations_are_the_same_on_both(device):
    prior, (picture,), effort = load("photo"), busy_pictures(1, 136), Effort(0.1, 1, 0, -6, 1)
    here, there = (encode_arrays([picture], prior, Settings(0.01, effort, device=name))[0] for name in ("cpu", "cuda"))
    assert decoder.parse(here.data, prior).colour.modulated
    assert here.data == there.data
