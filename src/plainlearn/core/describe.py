"""Say what a value is, in a few words, for an error message."""

from __future__ import annotations

import reprlib
from typing import Any, Final

__all__ = ["describe"]

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
