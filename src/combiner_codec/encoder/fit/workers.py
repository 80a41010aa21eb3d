"""Threads of an encoding. Needs torch.

An operation that torch shares among threads waits for the slowest of them, thousands of times in a fit; a busy machine
takes ten times as long as one thread alone. So here threads have parts of the work, and operations one thread.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_crew: ContextVar[tuple[ThreadPoolExecutor | None, int]] = ContextVar("_crew", default=(None, 1))


@contextmanager
def side_by_side(count: int) -> Iterator[None]:
    """While it lasts, `each` and `ahead` have this many threads, and torch's operations one each."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, initializer=_alone) if count > 1 else None
    token = _crew.set((pool, count))
    torch.set_num_threads(1)
    try:
        yield
    finally:
        _crew.reset(token)
        if pool:
            pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def threads() -> int:
    """How many `each` has."""
    return _crew.get()[1]


def each(work: Callable, parts: Iterable) -> list:
    """As `map`, on threads."""
    pool, _ = _crew.get()
    return list(pool.map(work, parts) if pool else map(work, parts))


def ahead(work: Callable, parts: Iterable) -> Iterator:
    """As `map`, with a result for each thread on its way while one is used."""
    pool, count = _crew.get()
    if not pool:
        yield from map(work, parts)
        return
    coming = deque()
    for part in parts:
        coming.append(pool.submit(work, part))
        if len(coming) > count:
            yield coming.popleft().result()
    while coming:
        yield coming.popleft().result()


def _alone():
    torch.get_num_threads()  # or this thread would begin with the number of all others when it is asked
    torch.set_num_threads(1)
