"""What long work tells whoever waits for it."""

from collections.abc import Callable

Report = Callable[[str], None]  # takes a line


def unheard(line: str) -> None:
    """A report that nobody reads."""
