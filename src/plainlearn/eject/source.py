"""What a script is made of: a person's functions and classes as they were written, and the library's definitions."""

from __future__ import annotations

import ast
import builtins
import inspect
import math
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, is_dataclass
from types import FunctionType, ModuleType
from typing import Any, Final, cast

import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError
from plainlearn.eject.library import Library, Statement, bound_names, outer_names
from plainlearn.eject.text import WIDTH, bracketed, import_lines, laid_out, quoted

_SPELLED_OUT: Final = "plainlearn.eject.script_code"
_LEFT_OUT: Final = {
    "plainlearn.augment.sampling.triton_kernel": "for GPUs, and this is for the CPU",
    "plainlearn.augment.sampling.torch_ops": "for devices that neither numba nor triton serves",
    "plainlearn.images.cache": "each file is read anew",
    "plainlearn.images.channels": "pictures are in colour or grey",
    "plainlearn.images.load": "pictures are files",
}
#: What the statements of a script import, by the name that they use it under.
_IMPORTS: Final = {
    "F": "import torch.nn.functional as F",
    "Path": "from pathlib import Path",
    "argparse": "import argparse",
    "itertools": "import itertools",
    "models": "from torchvision import models",
    "nn": "from torch import nn",
    "np": "import numpy as np",
    "timm": "import timm",
    "torch": "import torch",
}


@dataclass
class Copied:
    """What was copied so far: a person's own definitions by name, the library's, and arrays that are kept beside the script."""

    own: dict[str, str] = field(default_factory=dict[str, str])
    imports: dict[str, str] = field(default_factory=dict[str, str])
    library: Library = field(default_factory=lambda: Library(_SPELLED_OUT, _LEFT_OUT))
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict[str, "NDArray[Any]"])
    #: The names of the library's definitions that the script itself uses.
    from_library: set[str] = field(default_factory=set[str])
    _from: dict[str, Any] = field(default_factory=dict[str, Any])

    def take(self, thing: object, role: str) -> str:
        """Copy the function or class `thing`, or import a library's, and return its name. `role` is what messages call it.

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
        if is_ours(thing):
            self.library.need(thing.__module__, name)
            self.from_library.add(name)
        elif name not in self.own:
            self._copy(thing, name, role)
        return name

    def spell_out(self, name: str) -> str:
        """Take one of the definitions that stand in the script itself, and return its name."""
        self.library.need(_SPELLED_OUT, name)
        return name

    @property
    def spelled_out(self) -> list[Statement]:
        """What was taken of them, in their order."""
        return self.library.taken(_SPELLED_OUT)

    def composed(self, says: str, settings: str, run: str, module: str) -> str:
        """The script: its docstring, imports, settings, definitions, and the statements that run.

        `module` is where the library's definitions are. Raises `ArgumentError` where a name of the user's is taken.
        """
        used = outer_names(f"{settings}\n{run}").union(*map(outer_names, self.own.values()))
        spelled = {name for each in self.spelled_out for name in each.needs | each.mentions}
        ours = self.from_library | (spelled & self.library.names.keys())
        here = {name for each in self.spelled_out for name in each.binds}
        here |= set(bound_names(ast.parse(f"{settings}\n{run}")))
        known = {**_IMPORTS, **{name: line for name, line in self.library.imports.items() if name in spelled}}
        known |= {name: f"from {module} import {name}" for name in ours}
        for name in sorted(self.own.keys() | self.imports.keys()):
            taken = known[name] != self.imports.get(name) if name in known else name in here
            if taken and name in used | spelled:
                raise ArgumentError(f"the script has something of its own that is called {name}, as a function of yours is",
                                    try_=f"another name for {name}")  # fmt: skip
        known |= self.imports
        lines = {known[name] for name in (used | spelled) - here - self.own.keys() if name in known}
        beside = {line for line in lines if line.startswith(f"from {module} ")}
        head = [
            says,
            "from __future__ import annotations",
            import_lines(lines - beside),
            import_lines(beside),
            settings,
        ]
        definitions = laid_out([*self.own.values(), *(each.text for each in self.spelled_out)])
        return "\n\n".join(part for part in head if part) + f"{definitions}\n\n\n{run}\n"

    def _copy(self, thing: FunctionType | type, name: str, role: str) -> None:
        if isinstance(thing, FunctionType) and thing.__closure__:
            inside = ", ".join(thing.__code__.co_freevars)
            raise ArgumentError(f"{role}, {name}, uses {inside} of the function around it, which a script does not have",
                                try_=f"{inside} as an argument with a default")  # fmt: skip
        try:
            text = textwrap.dedent(inspect.getsource(thing)).rstrip()
        except (OSError, TypeError) as error:
            raise ArgumentError(f"the source of {role}, {name}, is not known: {error}",
                                try_="defining it in a file or in a notebook's cell") from error  # fmt: skip
        self.own[name] = text
        around = (
            thing.__globals__ if isinstance(thing, FunctionType) else vars(inspect.getmodule(thing) or ast)
        )
        for each in sorted(outer_names(text) - {name}):
            if each in around:
                self._bring(each, around[each], f"{each}, which {name} uses,")
            elif not hasattr(builtins, each):
                raise ArgumentError(f"{role}, {name}, uses {each}, which is defined nowhere")
        # What it uses stands above it, also where that is needed at once, as a base class is.
        self.own[name] = self.own.pop(name)

    def _bring(self, name: str, value: Any, role: str) -> None:
        if isinstance(value, ModuleType) and not is_ours(value):
            package, _, last = value.__name__.rpartition(".")
            plain = f"from {package} import {name}" if package else f"import {name}"
            self.imports[name] = plain if name == last else f"import {value.__name__} as {name}"
        elif isinstance(value, (int, float, str)) and (not isinstance(value, float) or math.isfinite(value)):
            self.own[name] = f"{name} = {value!r}"
        elif isinstance(value, (FunctionType, type)) and (is_ours(value) or not is_of_a_library(value)):
            if self.take(value, role) != name:
                raise ArgumentError(
                    f"{role} is called {value.__name__} where it is defined; a script needs one name"
                )
        elif getattr(value, "__module__", None) and not is_ours(value):
            own = str(getattr(value, "__name__", name))
            line = f"from {value.__module__} import {own}"
            self.imports[name] = line if own == name else f"{line} as {name}"
        else:
            raise ArgumentError(f"{role} is {describe(value)}, which cannot be written into a script",
                                try_="an argument with a default, or a number or text at the top of the file")  # fmt: skip

    # ---- values

    def value(self, value: object, role: str) -> str:
        """An expression for a value: numbers, texts, tensors, functions, tuples and dataclasses of such.

        Raises `ArgumentError` for what has none.
        """
        if isinstance(value, str):
            return quoted(value)
        if (
            value is None
            or isinstance(value, (bool, int))
            or (isinstance(value, float) and math.isfinite(value))
        ):
            return repr(value)
        if isinstance(value, (tuple, list)):
            inner = [self.value(each, role) for each in cast("Sequence[Any]", value)]
            if isinstance(value, list):
                return f"[{', '.join(inner)}]"
            return f"({', '.join(inner)}{',' if len(inner) == 1 else ''})"
        if isinstance(value, Tensor):
            name = role.removeprefix("the ")
            self.arrays[name] = as_array(value, role)
            return f'torch.from_numpy(start["{name}"])'
        if is_dataclass(value) and not isinstance(value, type):
            return self.made_again(value, role)
        name = getattr(value, "__name__", "")
        if getattr(F, name, None) is value:
            return f"F.{name}"
        return self.take(value, role)

    def made_again(self, thing: object, role: str, width: int = WIDTH - len("loss_func = ")) -> str:
        """A call of the class of `thing` with what it keeps under the names of its arguments, where that is not as usual.

        Raises `ArgumentError` for a class that asks for more.
        """
        kind = cast("type[Any]", type(thing))
        given, usual = kept_arguments(thing)
        torchs = kind.__module__.startswith("torch.nn.modules")
        words: list[str] = []
        for key, value in given.items():
            # torch keeps a number that holds for each axis as one for each, and the one axis of a norm as a tuple.
            several: set[Any] = (
                {*cast("tuple[Any, ...]", value)} if torchs and isinstance(value, tuple) else set()
            )
            if several == {usual.get(key)}:
                continue
            if key == "normalized_shape" and len(cast("tuple[Any, ...]", value)) == 1:
                value = several.pop()
            if key not in usual or not _is_same(usual[key], value):
                written = self.value(cast("object", value), f"{role}.{key}")
                words.append(written if torchs and key not in usual else f"{key}={written}")
        return bracketed(f"nn.{kind.__name__}" if torchs else self.take(kind, role), "()", words, width)


def kept_arguments(thing: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of a thing's class that it keeps under their names, and those that are usual.

    Whether a layer has a parameter, such as its bias, is what the argument of that name says.
    Raises `ArgumentError` for a class that asks for others.
    """
    kind = cast("type[Any]", type(thing))
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    known = [each for each in inspect.signature(kind).parameters.values() if each.kind not in several]
    given = {each.name: getattr(thing, each.name) for each in known if hasattr(thing, each.name)}
    for name in getattr(thing, "_parameters", {}).keys() & given.keys():
        given[name] = given[name] is not None
    usual = {each.name: each.default for each in known if each.default is not each.empty}
    if required := [each.name for each in known if each.name not in given | usual]:
        raise ArgumentError(
            f"the class {kind.__name__} asks for {', '.join(required)}, and with which values it was made is not known",
            try_=f"defaults for them, or keeping them under these names in {kind.__name__}",
        )
    return given, usual


def _is_same(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) and not isinstance(one, Tensor) and one == other)


def as_array(tensor: Tensor, what: str) -> NDArray[Any]:
    """The tensor for a file of arrays. Raises `ArgumentError` for a kind of number that numpy lacks."""
    try:
        return tensor.detach().cpu().numpy()
    except TypeError as error:
        raise ArgumentError(
            f"{what} holds {tensor.dtype}, which a file of arrays cannot", try_="float32"
        ) from error


def is_ours(thing: object) -> bool:
    """Whether something is of plainlearn."""
    module = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", None)
    return str(module).partition(".")[0] == "plainlearn"


def is_of_a_library(thing: object) -> bool:
    """Whether a function or class is an installed library's, which a script can import, rather than a person's own."""
    module = inspect.getmodule(thing)
    if module is None or module.__name__ == "__main__":
        return False
    file = str(getattr(module, "__file__", None) or "")
    return (
        not file
        or "site-packages" in file
        or "dist-packages" in file
        or module.__name__.partition(".")[0] in sys.stdlib_module_names
    )
