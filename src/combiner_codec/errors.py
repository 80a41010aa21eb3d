"""The one error type for bad data."""


class FormatError(ValueError):
    """A file, picture or prior that cannot be used: the message says what is wrong, where, and what to do."""
