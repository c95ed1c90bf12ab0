"""A person's own functions and classes, copied into a script as they were written, with what they use."""

from __future__ import annotations

import ast
import inspect
import math
import sys
import textwrap
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError
from plainlearn.eject.text import Piece, free_names


@dataclass
class Copied:
    """What was copied so far: definitions by name, and how they import what is not theirs."""

    pieces: dict[str, Piece] = field(default_factory=dict[str, Piece])
    imports: dict[str, str] = field(default_factory=dict[str, str])
    _from: dict[str, Any] = field(default_factory=dict[str, Any])

    def take(self, thing: Any, role: str) -> str:
        """Copy the function or class `thing`, and return its name. `role` is what messages call it.

        Raises `ArgumentError` for one without source, a lambda, one that remembers values of a function around it, and
        one that uses what cannot be written down.
        """
        name = str(getattr(thing, "__name__", ""))
        if not isinstance(thing, (FunctionType, type)) or not name.isidentifier():
            what = "a lambda" if name == "<lambda>" else describe(thing)
            raise ArgumentError(
                f"{role} is {what}, which cannot be written into a script",
                try_="a function with a name (def)",
            )
        if self._from.setdefault(name, thing) is not thing:
            raise ArgumentError(f"two different functions are called {name}; a script needs two names")
        if name in self.pieces:
            return name
        if isinstance(thing, FunctionType) and thing.__closure__:
            inside = ", ".join(thing.__code__.co_freevars)
            raise ArgumentError(f"{role}, {name}, uses {inside} of the function around it, which a script does not have",
                                try_=f"{inside} as an argument with a default")  # fmt: skip
        try:
            text = textwrap.dedent(inspect.getsource(thing)).rstrip()
        except (OSError, TypeError) as error:
            raise ArgumentError(f"the source of {role}, {name}, is not known: {error}",
                                try_="defining it in a file or in a notebook's cell") from error  # fmt: skip
        node = ast.parse(text).body[0]
        needs = frozenset(free_names(node)) - {name}
        self.pieces[name] = Piece(text, needs)
        around = (
            thing.__globals__ if isinstance(thing, FunctionType) else vars(inspect.getmodule(thing) or ast)
        )
        for each in sorted(needs):
            if each not in around:
                raise ArgumentError(f"{role}, {name}, uses {each}, which is defined nowhere")
            self._bring(each, around[each], f"{each}, which {name} uses,")
        # What it uses stands above it, also where that is needed at once, as a base class is.
        self.pieces[name] = self.pieces.pop(name)
        return name

    def _bring(self, name: str, value: Any, role: str) -> None:
        if isinstance(value, ModuleType):
            module = value.__name__
            self.imports[name] = f"import {module}" if name == module else f"import {module} as {name}"
        elif isinstance(value, (int, float, str)) and (not isinstance(value, float) or math.isfinite(value)):
            self.pieces[name] = Piece(f"{name} = {value!r}", frozenset())
        elif isinstance(value, (FunctionType, type)) and not is_of_a_library(value):
            if self.take(value, role) != name:
                raise ArgumentError(
                    f"{role} is called {value.__name__} where it is defined; a script needs one name"
                )
        elif getattr(value, "__module__", None) and not str(value.__module__).startswith("plainlearn"):
            own = str(getattr(value, "__name__", name))
            line = f"from {value.__module__} import {own}"
            self.imports[name] = line if own == name else f"{line} as {name}"
        else:
            raise ArgumentError(f"{role} is {describe(value)}, which cannot be written into a script",
                                try_="an argument with a default, or a number or text at the top of the file")  # fmt: skip


def is_of_a_library(thing: Any) -> bool:
    """Whether a function or class is an installed library's, which a script can import, rather than a person's own."""
    module = inspect.getmodule(thing)
    if module is None or module.__name__ == "__main__":
        return False
    file = str(getattr(module, "__file__", None) or "")
    return not file or "site-packages" in file or "dist-packages" in file or _is_standard(module.__name__)


def _is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names
