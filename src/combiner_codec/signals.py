"""Signals that come at a bad moment."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def signals_wait() -> Iterator[None]:
    """Signals that Python code handles wait for the end, while a library is loaded: an exception within torch's own
    code aborts the process, and Python 3.11 makes a RuntimeError of one that comes while a class is made.

    Only the main thread may change handlers; on others nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived = []
    wanted = (getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP"))
    handlers = {number: signal.getsignal(number) for number in wanted if number is not None}
    handled = {number: handler for number, handler in handlers.items() if callable(handler)}
    try:
        for number in handled:
            signal.signal(number, lambda number, frame: arrived.append(number))
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
    for number in arrived:
        signal.raise_signal(number)
