"""The errors of plainlearn: what happened, what was expected, what to do next.

Each is also the built-in error that a Python programmer would have caught, so
`except ValueError` and `except FileNotFoundError` go on working.
"""

from __future__ import annotations


class PlainlearnError(Exception):
    """The base of every error that plainlearn raises on purpose.

    `what` is one sentence: the thing, what was found, what was expected.
    `try_` is what the user can type or do next; it goes on a line of its own.

    >>> print(PlainlearnError("batch size is 0; expected 1 or more", try_="bs=64"))
    batch size is 0; expected 1 or more
      Try bs=64
    """

    def __init__(self, what: str, *, try_: str = "") -> None:
        self.what = what
        self.try_ = try_
        super().__init__(f"{what}\n  Try {try_}" if try_ else what)


class ArgumentError(PlainlearnError, ValueError):
    """An argument has a value that cannot be used."""


class ArgumentTypeError(PlainlearnError, TypeError):
    """An argument is of a kind that cannot be used."""


class DataError(PlainlearnError, ValueError):
    """The data are missing, empty, damaged, or do not fit together."""


class MissingFileError(PlainlearnError, FileNotFoundError):
    """A file or folder that was named is not there."""

    def __str__(self) -> str:  # OSError formats its arguments in its own way
        return str(self.args[0])


class SplitError(DataError):
    """The items cannot be divided into training and validation as asked."""


class ShapeError(DataError):
    """Tensors have shapes that do not fit together."""


class DownloadError(PlainlearnError, OSError):
    """An archive could not be fetched, checked or unpacked."""

    def __str__(self) -> str:
        return str(self.args[0])


class StorageError(PlainlearnError, OSError):
    """A file could not be written or read: no room, no permission, or something in its place."""

    def __str__(self) -> str:
        return str(self.args[0])


class NonFiniteLossError(PlainlearnError, FloatingPointError):
    """The training loss became nan or infinite."""


class LossError(PlainlearnError, ValueError):
    """The loss function cannot work with these predictions and targets."""


class MetricError(PlainlearnError, ValueError):
    """A metric cannot be computed."""


class MissingExtraError(PlainlearnError, ImportError):
    """A library that an optional part needs is not installed."""

    def __init__(self, library: str, *, needed_for: str, extra: str = "", install: str = "") -> None:
        """`extra` is the one of ours that brings it; for what is in none, `install` is the line to type."""
        super().__init__(
            f"{needed_for} needs the library {library}, which is not installed",
            try_=install or f'pip install "plainlearn[{extra}]"',
        )


class ProcessError(PlainlearnError, RuntimeError):
    """One of the processes that train together has failed, and ended the run."""
