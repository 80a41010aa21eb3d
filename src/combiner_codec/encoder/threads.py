"""Threads of an encoding. Needs torch.

An operation that torch shares among threads waits for the slowest of them, thousands of times in a fit; a busy machine
takes ten times as long as one thread alone. So here threads have parts of the work, and operations one thread.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


class Threads:
    """Threads that share out parts of the work."""

    def __init__(self, count: int = 1, pool: ThreadPoolExecutor | None = None):
        self.count = count
        self.pool = pool

    def map(self, work: Callable, parts: Iterable) -> list:
        """As Python's `map`, on these threads."""
        if not self.pool:
            return [work(part) for part in parts]
        return list(self.pool.map(_as_here(work), parts))

    def ahead(self, work: Callable, parts: Iterable) -> Iterator:
        """As Python's `map`, with a result for each thread on its way while one is used."""
        if not self.pool:
            yield from map(work, parts)
            return
        coming = deque()
        work_as_here = _as_here(work)
        for part in parts:
            coming.append(self.pool.submit(work_as_here, part))
            if len(coming) > self.count:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def _as_here(work: Callable) -> Callable:
    """The same, with gradients on other threads if they are on here: torch has them on in each new thread."""
    gradients = torch.is_grad_enabled()

    def run(part):
        with torch.set_grad_enabled(gradients):
            return work(part)

    return run


ALONE = Threads()  # the thread that asks; also for work inside of `Threads.map`, which must not wait for its own pool


@contextmanager
def side_by_side(count: int) -> Iterator[Threads]:
    """So many threads; while they last, torch's operations have one each."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, initializer=_one_thread_each) if count > 1 else None
    torch.set_num_threads(1)
    try:
        yield Threads(count, pool)
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


@contextmanager
def one_ahead(wanted: bool) -> Iterator[Threads]:
    """A thread that prepares on the processor what a GPU will do next; or none."""
    pool = ThreadPoolExecutor(1, initializer=_one_thread_each) if wanted else None
    try:
        yield Threads(1, pool)
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def _one_thread_each() -> None:
    torch.get_num_threads()  # or this thread would begin with the number of all others when it is asked
    torch.set_num_threads(1)
