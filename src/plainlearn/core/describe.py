"""Say what a value is, in a few words, for an error message."""

from __future__ import annotations

import reprlib
from typing import Any, Final

__all__ = ["describe", "on_one_line"]

_BRIEF: Final = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = 80


def describe(value: Any) -> str:
    """The kind of a value and the value, cut short; of an array or tensor, the kind and the shape.

    >>> describe("cat"), describe(list(range(1000)))
    ("str 'cat'", 'list [0, 1, 2, 3, 4, 5, ...]')
    """
    kind = type(value).__name__
    if getattr(value, "ndim", 0) and hasattr(value, "shape"):
        return f"{kind} of shape {tuple(value.shape)}"
    return f"{kind} {_BRIEF.repr(value)}"


def on_one_line(text: object) -> str:
    """Text that cannot begin a line, nor draw on a terminal: what does not print is written out.

    >>> on_one_line("cat\\ndog")
    'cat\\\\ndog'
    """
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(text))
