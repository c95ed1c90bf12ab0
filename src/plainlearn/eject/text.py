"""Putting a script together: whatever its statements use is brought along, definition by definition."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

#: The parts in the order in which a script has them.
_PARTS: Final = ("kinds", "seeds", "rows", "pictures", "geometry", "light", "sampling_numba", "layers", "metrics", "table", "loop",
                 "probe")  # fmt: skip
#: What is made for each script, and stands before the part after it.
INSERT_BEFORE: Final = {"train_batches": "seeds", "valid_batches": "seeds", "unaugmented_batches": "seeds",
                  "item_maps": "geometry", "batch_maps": "geometry", "light": "geometry"}  # fmt: skip

#: Of a line of a script.
WIDTH: Final = 110

#: How a script imports what it uses, by the name it uses it under.
IMPORTS: Final[Mapping[str, str]] = {
    "Any": "from typing import Any",
    "F": "import torch.nn.functional as F",
    "Image": "from PIL import Image",
    "ImageOps": "from PIL import ImageOps",
    "Iterable": "from collections.abc import Iterable",
    "Iterator": "from collections.abc import Iterator",
    "Callable": "from collections.abc import Callable",
    "Optimizer": "from torch.optim import Optimizer",
    "Path": "from pathlib import Path",
    "Self": "from typing import Self",
    "Sequence": "from collections.abc import Sequence",
    "Tensor": "from torch import Tensor",
    "ThreadPoolExecutor": "from concurrent.futures import ThreadPoolExecutor",
    "csv": "import csv",
    "intrinsic": "from numba.extending import intrinsic",
    "io": "import io",
    "math": "import math",
    "models": "from torchvision import models",
    "njit": "from numba import njit",
    "nn": "from torch import nn",
    "np": "import numpy as np",
    "simplejpeg": "import simplejpeg",
    "time": "import time",
    "timm": "import timm",
    "torch": "import torch",
}
_STANDARD: Final = ("collections", "concurrent", "csv", "io", "math", "pathlib", "time", "typing", "functools", "random",
                    "re", "itertools", "operator")  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """A definition as it is written, with the comments above it, and the names it needs from outside."""

    text: str
    needs: frozenset[str]


@cache
def _parts() -> dict[str, Piece]:
    """Every definition of the parts, in their order, by its name."""
    return {name: piece for each in _PARTS for name, piece in part(each).items()}


def _in_order(own: Mapping[str, Piece]) -> dict[str, Piece]:
    """What a script may use: the user's own first, then the parts, with what `own` has in their place or before them."""
    found = {name: piece for name, piece in own.items() if name not in INSERT_BEFORE and name not in _parts()}
    for each in _PARTS:
        found |= {name: own[name] for name, before in INSERT_BEFORE.items() if before == each and name in own}
        found |= {name: own.get(name, piece) for name, piece in part(each).items()}
    return found


@cache
def part(name: str) -> dict[str, Piece]:
    """The definitions of one part, for those that a script has in place of others of the same names."""
    return pieces_of((Path(__file__).parent / "parts" / f"{name}.py").read_text("utf-8"))


def quoted(text: str) -> str:
    """A text as a script writes it: in double quotes, unless it has more of them than of the others, as the formatter does."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    plain = "".join(each if each in "'\"" else repr(each)[1:-1] for each in text)
    return quote + plain.replace(quote, f"\\{quote}") + quote


def listing(name: str, brackets: str, items: Iterable[str], indent: int = 0) -> list[str]:
    """`name = [items]` as lines of a script: on one if it fits, else one an item, as the formatter does."""
    given, margin = list(items), " " * indent
    comma = "," if brackets == "()" and len(given) == 1 else ""
    line = f"{margin}{name}{brackets[0]}{', '.join(given)}{comma}{brackets[1]}"
    if len(line) < WIDTH:  # a comma may follow
        return [line]
    return [
        f"{margin}{name}{brackets[0]}",
        *(f"{margin}    {each}," for each in given),
        f"{margin}{brackets[1]}",
    ]


def names_of_parts() -> set[str]:
    """What is defined in the parts: names that a user's function cannot have too."""
    return set(_parts())


def pieces_of(source: str) -> dict[str, Piece]:
    """The functions, classes and constants that `source` defines, by name."""
    lines = source.splitlines()
    found: dict[str, Piece] = {}
    for node in ast.parse(source).body:
        name = _defined(node)
        if name is None:
            continue
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(each.lineno for each in decorators)]) - 1
        while first and lines[first - 1].startswith("# ") and "pyright:" not in lines[first - 1]:
            first -= 1
        found[name] = Piece("\n".join(lines[first : node.end_lineno]), frozenset(free_names(node)))
    return found


def _defined(node: ast.stmt) -> str | None:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return None


def free_names(node: ast.AST) -> Iterator[str]:
    """The names that are read in `node` and set nowhere in it, builtins left out."""
    inside = list(ast.walk(node))
    own = {each.id for each in inside if isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load)}
    own |= {each.arg for each in inside if isinstance(each, ast.arg)}
    own |= {each.name for each in inside if isinstance(each, (ast.FunctionDef, ast.ClassDef))}
    for each in inside:
        if isinstance(each, ast.Name) and each.id not in own and not hasattr(builtins, each.id):
            yield each.id


def compose(
    says: str,
    settings: Iterable[str],
    own: Mapping[str, Piece],
    own_imports: Mapping[str, str],
    run: Iterable[str],
) -> str:
    """The script: its docstring, imports, settings, definitions, and the statements that run.

    `own` are definitions that only this script has: what its user wrote, what was made for its data. All else that is used
    comes from the parts. `own_imports` say how the user's code imports what it uses, by name.
    """
    settings, run = list(settings), list(run)
    known = _in_order(own)
    imports = {**IMPORTS, **own_imports}
    needed: set[str] = set()
    waiting = set(free_names(ast.parse("\n".join([*settings, *run]))))
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting |= known[name].needs if name in known else set()
    statements = ast.walk(ast.parse("\n".join([*settings, *run])))
    given = {node.id for node in statements if isinstance(node, ast.Name)} | {"__file__"}
    lost = needed - set(known) - set(imports) - given
    assert not lost, f"a script would use {lost}, which is defined nowhere"
    lines = {imports[name] for name in needed if name in imports and name not in known}
    pieces = [piece.text for name, piece in known.items() if name in needed]
    definitions = sorted(pieces, key=lambda text: not _is_constant(text))  # others may need them at once
    return _laid_out([f'"""{says}"""', _sorted_imports(lines), "\n".join(settings)], definitions, run)


def call(before: str, arguments: Iterable[str], indent: int = 0) -> list[str]:
    """`before(arguments)` as lines of a script: on one if it fits, else laid out as the formatter does."""
    given, margin = list(arguments), " " * indent
    line = f"{margin}{before}({', '.join(given)})"
    if len(line) <= WIDTH and "\n" not in line:
        return [line]
    inner = f"{margin}    {', '.join(given)}"
    if len(inner) <= WIDTH and "\n" not in inner:
        return [f"{margin}{before}(", inner, f"{margin})"]
    return [f"{margin}{before}(", *(f"{margin}    {each}," for each in given), f"{margin})"]


def _sorted_imports(lines: set[str]) -> str:
    ordered = sorted(lines, key=lambda line: (line.startswith("from"), line.split()[1].lower()))
    standard = [line for line in ordered if line.split()[1].partition(".")[0] in _STANDARD]
    others = [line for line in ordered if line not in standard]
    return "\n\n".join("\n".join(_merged(group)) for group in (standard, others) if group)


def _merged(lines: Iterable[str]) -> list[str]:
    """`from a import x` and `from a import y` as one line."""
    plain: list[str] = []
    names: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("from "):
            module, _, name = line.partition(" import ")
            names.setdefault(module, []).append(name)
        else:
            plain.append(line)
    return [*plain, *(f"{module} import {', '.join(sorted(those))}" for module, those in names.items())]


def _laid_out(head: list[str], definitions: list[str], run: list[str]) -> str:
    text = "\n\n".join(part for part in head if part)
    for piece in definitions:
        text += ("\n" if _is_constant(piece) else "\n\n\n") + piece
    return f"{text}\n\n\n{chr(10).join(run)}\n"


def _is_constant(text: str) -> bool:
    return isinstance(ast.parse(text).body[0], ast.Assign)
