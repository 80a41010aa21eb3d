"""Signals that come while a library is loaded."""

import signal
import threading

import pytest

from combiner_codec.signals import signals_wait


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_a_library_is_loaded(number):
    seen = []
    before = signal.signal(number, lambda number, frame: seen.append(number))
    try:
        with signals_wait():
            signal.raise_signal(number)
            assert seen == []
        assert seen == [number]
        signal.raise_signal(number)
        assert seen == [number] * 2
    finally:
        signal.signal(number, before)


def test_another_thread_leaves_handlers_alone():
    before = signal.getsignal(signal.SIGINT)
    during = []

    def work():
        with signals_wait():
            during.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert during == [before]
