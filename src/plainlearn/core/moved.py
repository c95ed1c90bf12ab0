"""What a module at an old place says and does: it hands out the new place's names, each with a warning that tells it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["moved"]


def moved(old: str, new: str) -> Callable[[str], Any]:
    """The `__getattr__` of module `old`, whose names are in `new`.

    A name that `new` has is given with a `FutureWarning`, at the line that asked; any other is an `AttributeError`.
    """

    def __getattr__(name: str) -> Any:
        if name.startswith("__"):  # what Python asks of any module
            raise AttributeError(name)
        value = getattr(import_module(new), name)
        warnings.warn(
            f"{old} has moved, and its old name goes in plainlearn 0.4. Write: from {new} import {name}",
            FutureWarning, stacklevel=2,
        )  # fmt: skip
        return value

    return __getattr__
