"""Work that a GPU is asked for many times, captured once as a CUDA graph. Needs torch."""

from collections.abc import Callable
from typing import Protocol

import torch

FIRST = 2  # calls before the capture: what is made once is there by then, and a few calls need no graph


class Graph(Protocol):
    """What was captured."""

    def replay(self) -> None:
        """Do it again, with what the same tensors hold now."""


class Replayed:
    """A function without arguments that reads and writes tensors which stay where they are.

    It must neither wait for the device nor send anything there; no shape may depend on what a tensor holds. It is given
    with each call, always the same: who holds it here would hold itself, and a GPU's memory until Python looks for
    cycles.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.calls = 0
        self.graph: Graph | None = None

    def __call__(self, work: Callable[[], None]) -> None:
        if self.calls == FIRST:
            self.graph = captured(work, self.device)
        self.calls += 1
        if self.graph is None:
            work()
        else:
            self.graph.replay()


def captured(work: Callable[[], None], device: torch.device) -> Graph | None:
    """The work as a graph, not done yet; None where it cannot be captured."""
    if device.type != "cuda":
        return None
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # others prepare pictures meanwhile
            work()
    except RuntimeError:  # then every call is as the first
        return None
    return graph
