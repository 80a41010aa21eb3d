"""A GPU of the imagination: tensors that say they are on another device and compute on the processor.

An operation that mixes devices fails as it would there, and so does numpy. What a GPU would be asked to do is counted.
"""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from conftest import ELSEWHERE

aten = torch.ops.aten
KERNELS = torch.library.Library("aten", "IMPL")  # of what a GPU does at once; others would be taken apart
KERNELS.impl("silu_backward", lambda gradient, x: None, "PrivateUse1")
COPIES = {aten._to_copy.default, aten.copy_.default}
BY_INDEX = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
NO_WORK = {
    aten._unsafe_view.default,
    aten.empty.memory_format,
    aten.empty_like.default,
    aten.empty_strided.default,
    aten.new_empty.default,
    aten.new_empty_strided.default,
    aten._local_scalar_dense.default,
}


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
    """What happens to such tensors, counted by operation.

    waits: how often the processor waited for them; sent: what it copied to them, lists of indices too; launches: what
    the device had to do, those copies and no views among it.
    """

    def __init__(self):
        super().__init__()
        self.waits = Counter()
        self.sent = Counter()
        self.launches = Counter()
        self.recording: Recorded | None = None

    def captured(self, work, device) -> "Recorded | None":
        """As `replay.captured` has it: what the work does is written down, and undone."""
        if device.type != ELSEWHERE:
            return None
        waits, sent, _ = self.totals()
        graph = Recorded(self)
        self.recording = graph
        work()
        self.recording = None
        assert self.totals()[:2] == (waits, sent), "a captured step may neither wait nor be sent anything"
        for tensor, before in reversed(graph.changed):
            tensor.copy_(before)
        return graph

    def totals(self) -> tuple[int, int, int]:
        """Waits, copies to the device and launches so far."""
        return self.waits.total(), self.sent.total(), self.launches.total()

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
        if self.recording and function._schema.is_mutable:
            self.recording.will_change(args[0])
        found = function(*tree_map(numbers, args), **tree_map(numbers, kwargs))
        arrives = wanted is not None and torch.device(wanted).type == ELSEWHERE
        if there or arrives:
            if function in BY_INDEX or arrives or isinstance(given[0], There):
                self.sent[str(function)] += len(here)
            if works(function):
                self.launches[str(function)] += 1
        leaves = wanted is not None and torch.device(wanted).type == "cpu"
        numbers_alone = not function._schema.is_mutable and not isinstance(tree_flatten(found)[0][0], torch.Tensor)
        if there and (leaves or numbers_alone):
            self.waits[str(function)] += 1
            return found
        if self.recording and (there or arrives) and works(function):
            self.recording.done.append((function, args, kwargs, found))
        if function._schema.is_mutable:
            if there and not isinstance(tree_flatten(args[0])[0][0], There):
                self.waits[str(function)] += 1  # a copy to the processor
            return args[0] if function._schema.returns else None
        if there or arrives:
            return tree_map(lambda x: There(x) if isinstance(x, torch.Tensor) else x, found)
        return found


class Recorded:
    """What a captured step does, with the very tensors that it was captured with, as a CUDA graph would."""

    def __init__(self, device: Device):
        self.device = device
        self.done: list[tuple] = []  # operation, arguments, what it returned
        self.changed: list[tuple] = []  # tensors and what they held before

    def will_change(self, given) -> None:
        for tensor in tree_flatten(tree_map(numbers, given))[0]:
            self.changed.append((tensor, tensor.clone()))

    def replay(self) -> None:
        for function, args, kwargs, found in self.done:
            again = function(*tree_map(numbers, args), **tree_map(numbers, kwargs))
            if not function._schema.is_mutable:
                for old, new in zip(tree_flatten(found)[0], tree_flatten(again)[0], strict=True):
                    if old is not None:
                        old.copy_(new)
        self.device.launches["replay"] += 1


def works(function) -> bool:
    """Whether an operation computes or copies, and does not only look at memory otherwise or ask for some."""
    aliased = [result.alias_info for result in function._schema.returns]
    views = any(alias is not None and not alias.is_write for alias in aliased)
    return not views and function not in NO_WORK


def numbers(x):
    return x.here if isinstance(x, There) else x
