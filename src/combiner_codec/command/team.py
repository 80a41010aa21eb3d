"""This process's part of a command's inputs, and the end of a command that several processes share."""

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..errors import CombinerError, MissingError
from .jobs import Job, Kind, Plan
from .ranks import Ranks
from .terminal import say

if TYPE_CHECKING:
    from .meeting import Meeting

LOOK = 0.1  # seconds between looks at what the others have done
NAMED = 3  # missing outputs that a message names; the others it counts


class Team:
    """The processes of a command, and what there is to do for all of them. A context: of the work."""

    def __init__(self, ranks: Ranks, everything: Sequence[Job], quiet: bool, patience: float):
        self.ranks = ranks
        self.everything = everything
        self.quiet = quiet
        self.patience = patience  # seconds that another process may give no sign of life
        self.meeting: Meeting | None = None

    @staticmethod
    def of(plan: Plan, kind: Kind, ranks: Ranks, patience: float, failures: list[CombinerError]) -> "Team":
        """The team of a plan: one process alone where the inputs are not to be shared.

        Inputs that are none are added to the failures, of the first process alone. Raises UsageError.
        """
        if not plan.shared(kind):
            ranks = ranks.apart()
        everything = plan.jobs(kind, failures if ranks.rank == 0 else None)
        return Team(ranks, everything, plan.quiet, patience)

    @property
    def share(self) -> Sequence[Job]:
        """What this process has to do."""
        return self.ranks.share(self.everything)

    def __enter__(self) -> "Team":
        if self.ranks.world > 1:
            parts = f"{len(self.share)} of {len(self.everything)} inputs"
            self._say(f"takes {parts}, as RANK and WORLD_SIZE say")
            if os.environ.get("MASTER_ADDR") and os.environ.get("MASTER_PORT"):
                from .meeting import Meeting

                self.meeting = Meeting(self.ranks, digest_of(self.everything))
                self.meeting.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        if self.ranks.world > 1 and _is_signal(error):
            click.echo(f"combiner: {self._name}: ended by a signal; {self._lacking()}", err=True)
        if self.meeting:
            self.meeting.end()

    def finish(self, failures: Sequence[CombinerError], total: int) -> None:
        """Exit with code 1 where something failed, in this process or in another that shares the inputs.

        All wait for all: torchrun stops the others as soon as one fails. Raises MissingError where one is silent.
        """
        failed, everything = self._sums(len(failures), total)
        first = self.ranks.rank == 0
        if failed and everything > 1 and first:
            click.echo(f"combiner: {failed} of {everything} inputs failed", err=True)
        elif self.meeting and first:
            say(self.quiet, f"combiner: {everything} inputs done by {self.ranks.world} processes")
        if failed:
            raise click.exceptions.Exit(1)

    def _sums(self, failed: int, total: int) -> tuple[int, int]:
        """Over all processes that meet, once each is done."""
        meeting = self.meeting
        if not meeting:
            return failed, total
        meeting.done(failed, total)
        began = time.monotonic()
        while meeting.is_alive():
            meeting.join(LOOK)
            silent = self._silent(meeting, began)
            if silent:
                raise MissingError(self._silence(silent, meeting))
        if meeting.missing:
            raise MissingError(f"{self._name}: {meeting.problem}; {self._lacking()}")
        for other_failed, other_total in meeting.found.values():
            failed += other_failed
            total += other_total
        return failed, total

    def _silent(self, meeting: "Meeting", began: float) -> list[int]:
        """Ranks without a sign of life for too long, since the wait began for those that never gave one."""
        earliest = time.monotonic() - self.patience
        return [rank for rank in meeting.missing if meeting.heard.get(rank, began) < earliest]

    def _silence(self, silent: Sequence[int], meeting: "Meeting") -> str:
        """What is said of processes that give no sign of life."""
        names = ", ".join(map(str, silent))
        line = f"{self._name}: no sign of life from rank {names} at {meeting.place} for {self.patience:g} s"
        return f"{line}; {self._lacking()}"

    def _lacking(self) -> str:
        """What is not there of all processes' outputs."""
        names = [job.target for job in self.everything if not os.path.exists(job.target)]
        if not names:
            return "all outputs are there"
        more = ", …" if len(names) > NAMED else ""
        which = ", ".join(names[:NAMED]) + more
        return (
            f"{len(names)} of {len(self.everything)} outputs are missing: {which} (--skip-existing makes these alone)"
        )

    @property
    def _name(self) -> str:
        return f"rank {self.ranks.rank} of {self.ranks.world}"

    def _say(self, line: str) -> None:
        say(self.quiet, f"combiner: {self._name} {line}")


def digest_of(jobs: Sequence[Job]) -> str:
    """The same for the same jobs, in hexadecimal digits."""
    import hashlib

    digest = hashlib.sha256()
    for job in jobs:
        digest.update(repr(job).encode())
    return digest.hexdigest()


def _is_signal(error: BaseException | None) -> bool:
    """Whether a signal is what ends a command: Ctrl-C, or one that `process.run` exits for."""
    if isinstance(error, KeyboardInterrupt):
        return True
    return isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128
