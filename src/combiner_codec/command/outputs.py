"""A command's outputs: whether each is still to be made, and how it is written."""

import os
from collections.abc import Iterable

from ..errors import FileError
from .claims import Claims
from .files import STDIO, special, write
from .jobs import Job
from .terminal import say


class Outputs:
    """Where the results of jobs go. A context: claims end with it."""

    def __init__(self, skip: bool, sync: bool, quiet: bool):
        self.skip = skip  # leave alone what is there already, and what another process is making
        self.sync = sync
        self.quiet = quiet
        self.claims = Claims()

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(self, *error) -> None:
        self.claims.release_all()

    def wanted(self, job: Job) -> bool:
        """Whether a job is to be done now, as far as other processes go; it is claimed until `done`."""
        if not self.skip or job.target == STDIO or special(job.target):
            return True
        if not self.claims.take(job.target):
            say(self.quiet, f"{job.target}: another process is making it, skipped")
            return False
        if os.path.exists(job.target):
            self.claims.release(job.target)
            say(self.quiet, f"{job.target} exists, skipped")
            return False
        return True

    def done(self, job: Job) -> None:
        """A wanted job has been done, or has failed."""
        self.claims.release(job.target)

    def write(self, job: Job, data: bytes | Iterable[bytes]) -> bool:
        """Write the output of a job. False where one has appeared meanwhile, which is left alone. Raises FileError."""
        try:
            write(job.target, data, job.replace, self.sync)
        except FileExistsError as error:
            if not self.skip:
                raise FileError(f"{job.target} exists since this began: use -f to replace it") from error
            say(self.quiet, f"{job.target} exists since this began, skipped")
            return False
        return True


class Lines:
    """Lines on standard output in the order of their inputs, each as soon as those before it are there."""

    def __init__(self):
        self.waiting: dict[int, str] = {}
        self.next = 0

    def put(self, number: int, line: str) -> None:
        """The line of an input; it has only one, the first that is given."""
        if number < self.next:
            return
        self.waiting.setdefault(number, line)
        while self.next in self.waiting:
            text = self.waiting.pop(self.next)
            self.next += 1
            write(STDIO, f"{text}\n".encode())
