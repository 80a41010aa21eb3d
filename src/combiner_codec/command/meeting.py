"""Where processes that share a command's inputs tell each other that they live, and what they have done.

The place is torch's key-value store at MASTER_ADDR and MASTER_PORT: that of torchrun, that of the program which started
the command, or one that rank 0 opens. A thread of its own speaks with it, so that a signal always finds Python's main
thread able to act. Needs torch, from the first word on.
"""

import os
import socket
import time
from collections.abc import Sequence
from datetime import timedelta
from threading import Event, Thread

from .ranks import Ranks

BEAT = 2.0  # seconds between signs of life
POLL = 0.1  # seconds between looks at the others, once this process is done
ATTEMPT = 2.0  # seconds that one attempt to connect may take
ANSWER = timedelta(seconds=30)  # for the store's answers
FAREWELL = 10.0  # seconds that the store stays open for the others, where it is this process's


class Meeting(Thread):
    """The thread. The main thread reads its attributes.

    topic: a name of what the processes work on, so that others at the same store are not taken for them.
    """

    def __init__(self, ranks: Ranks, topic: str):
        super().__init__(name="meeting", daemon=True)
        self.ranks = ranks
        self.topic = topic
        self.counts: Sequence[int] | None = None  # of this process, once it is done
        self.found: dict[int, list[int]] = {}  # by rank, of other processes that are done
        self.heard: dict[int, float] = {}  # by rank, when another gave its last sign of life: time.monotonic()
        self.problem: str | None = None  # why nothing more can be heard
        self._beats: dict[int, int] = {}  # signs of life, by rank
        self._ended = Event()  # nobody waits for anything any more
        self._wake = Event()  # the same, or this process is done

    @property
    def place(self) -> str:
        """Address of the store."""
        return f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"

    @property
    def missing(self) -> list[int]:
        """Ranks whose counts are not there."""
        others = set(range(self.ranks.world)) - {self.ranks.rank}
        return sorted(others - self.found.keys())

    def done(self, *counts: int) -> None:
        """This process's work is."""
        self.counts = counts
        self._wake.set()

    def end(self) -> None:
        """Nothing more is to be said or heard; a little time is given to a word that is being said."""
        self._ended.set()
        self._wake.set()
        self.join(1)

    def run(self) -> None:
        """Signs of life until the work is done; then the counts of all."""
        try:
            store, ours = self._store()
            if store is not None:
                self._speak(store, ours)
        except ImportError as error:
            self.problem = f"processes meet by torch, which cannot be loaded: {error}"
        except Exception as error:  # torch has many kinds
            self.problem = f"the store at {self.place} is gone, and its process with it ({error})"

    def _store(self):
        """The store, and whether this process has opened it; no store where the end comes before an answer."""
        from torch.distributed import TCPStore

        host = os.environ["MASTER_ADDR"]
        port = int(os.environ["MASTER_PORT"])
        if self.ranks.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
            try:
                return TCPStore(host, port, is_master=True, wait_for_workers=False, timeout=ANSWER), True
            except RuntimeError:  # the program that started this one has opened it
                pass
        while not self._ended.is_set():
            if _answers(host, port):
                return TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=ANSWER), False
            self._ended.wait(POLL)
        return None, False

    def _speak(self, store, ours: bool) -> None:
        """Everything that is said at a store."""
        restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        topic = f"combiner/{restarts}/{self.topic}"
        turn = store.add(f"{topic}/{self.ranks.rank}/turns", 1)  # the same command may have met here before
        around = f"{topic}/{turn}"
        self._beat(store, around)
        while not self._wake.wait(BEAT):
            self._beat(store, around)
        if self._ended.is_set():
            return
        store.set(f"{around}/{self.ranks.rank}/counts", " ".join(map(str, self.counts)))
        beaten = time.monotonic()
        while self.missing and not self._ended.wait(POLL):
            if time.monotonic() - beaten > BEAT:
                self._beat(store, around)
                beaten = time.monotonic()
            self._collect(store, around)
        left = store.add(f"{around}/left", 1)
        until = time.monotonic() + (FAREWELL if ours else 0)
        while left < self.ranks.world and time.monotonic() < until and not self._ended.wait(POLL):
            left = store.add(f"{around}/left", 0)

    def _beat(self, store, around: str) -> None:
        """Give a sign of life, and note whose is new."""
        store.add(f"{around}/{self.ranks.rank}/life", 1)
        for rank in self.missing:
            beats = store.add(f"{around}/{rank}/life", 0)
            if beats != self._beats.get(rank, 0):
                self._beats[rank] = beats
                self.heard[rank] = time.monotonic()

    def _collect(self, store, around: str) -> None:
        """Note whose counts are there."""
        for rank in self.missing:
            name = f"{around}/{rank}/counts"
            if store.check([name]):
                words = store.get(name).decode().split()
                self.found[rank] = [int(word) for word in words]


def _answers(host: str, port: int) -> bool:
    """Whether something listens at an address."""
    try:
        socket.create_connection((host, port), ATTEMPT).close()
    except OSError:
        return False
    return True
