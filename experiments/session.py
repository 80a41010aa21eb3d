"""Codecs measured in one run of an experiment. What an earlier run has measured is taken from the store."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from combiner_codec.bench.codecs import Codec
from combiner_codec.bench.measure import Point, Store, measure, points
from combiner_codec.bench.pictures import Group
from combiner_codec.reports import Report


@dataclass(frozen=True)
class Session:
    """A store, and what was asked of it."""

    store: Store
    threads: int  # of the processor; 0 takes all
    say: Report
    used: list[tuple[Codec, Sequence[Group]]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # a line about each codec that failed

    def curve(self, codec: Codec, groups: Sequence[Group]) -> list[Point]:
        """Means at all of a codec's settings; those that fail are missing."""
        for line in measure([codec], groups, self.store, self.threads, self.say):
            self.failed.append(line)
            self.say(line)
        self.used.append((codec, groups))
        return points(codec, groups, self.store)

    @property
    def stamps(self) -> list[str]:
        """A line about each machine and day of what was asked for."""
        lines = {line for codec, groups in self.used for line in self.store.machines([codec], groups)}
        return [f"Measured {line}" for line in sorted(lines)]
