"""What can go wrong for a reason that the user can mend. A message says what is wrong and where; where an argument of
the API would help, `parameter` names it, and the command turns it into its own option.
"""


class CombinerError(Exception):
    """Base of the errors below. parameter: argument of `encode` or `decode` that would help, or None."""

    def __init__(self, message: str, parameter: str | None = None):
        super().__init__(message)
        self.message, self.parameter = message, parameter

    def __str__(self) -> str:
        return f"{self.message} ({self.parameter}=)" if self.parameter else self.message

    def about(self, name: str) -> "CombinerError":
        """The same error with the name of what it is about before it, once."""
        if self.message.startswith(f"{name}: "):
            return self
        return type(self)(f"{name}: {self.message}", self.parameter)


class FormatError(CombinerError, ValueError):
    """A file, picture or prior that cannot be used."""


class MissingError(CombinerError):
    """A device, a package or memory that is not there."""


class TargetError(CombinerError):
    """A size or a quality that no file of the picture has, or a fit that does not get there."""


class FileError(CombinerError):
    """A file that cannot be read or written, or that must not be replaced."""
