"""How a script is laid out: its imports, calls and lists, as the formatter would."""

from __future__ import annotations

import ast
import sys
import textwrap
from collections.abc import Iterable
from typing import Final

#: Of a line of a script.
WIDTH: Final = 110


def quoted(text: str) -> str:
    """A text as a script writes it: in double quotes, unless it has more of them than of the others, as the formatter does."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    plain = "".join(each if each in "'\"" else repr(each)[1:-1] for each in text)
    return quote + plain.replace(quote, f"\\{quote}") + quote


def bracketed(before: str, brackets: str, items: Iterable[str], width: int = WIDTH) -> str:
    """`before[items]`: on one line if it fits, else one an item."""
    given = list(items)
    line = f"{before}{brackets[0]}{', '.join(given)}{brackets[1]}"
    if len(line) <= width and "\n" not in line:
        return line
    inner = "".join(f"{textwrap.indent(each, '    ')},\n" for each in given)
    return f"{before}{brackets[0]}\n{inner}{brackets[1]}"


def call(before: str, arguments: Iterable[str]) -> str:
    """`before(arguments)`: on one line if it fits, else on the one inside, else one an argument."""
    given = list(arguments)
    inner = f"    {', '.join(given)}"
    line = bracketed(before, "()", given)
    return f"{before}(\n{inner}\n)" if "\n" in line and "\n" not in inner and len(inner) <= WIDTH else line


def laid_out(definitions: Iterable[str]) -> str:
    """Definitions one below the other: functions and classes apart, constants close together."""
    text, close = "", True
    for each in definitions:
        is_value = isinstance(ast.parse(each).body[0], (ast.Assign, ast.AnnAssign, ast.Try))
        text += ("\n\n" if close and is_value else "\n\n\n") + each
        close = is_value
    return text


def import_lines(lines: Iterable[str]) -> str:
    """Imports in their two groups, sorted, and those of one module in one line, or one a name if that is too long."""
    plain = sorted({line for line in lines if line.startswith("import ")}, key=str.lower)
    names: dict[str, set[str]] = {}
    for line in lines:
        if line.startswith("from "):
            module, _, name = line.partition(" import ")
            names.setdefault(module, set()).add(name)
    ordered = plain + [_from(module, names[module]) for module in sorted(names, key=str.lower)]
    standard = [line for line in ordered if line.split()[1].partition(".")[0] in sys.stdlib_module_names]
    others = [line for line in ordered if line not in standard]
    return "\n\n".join("\n".join(group) for group in (standard, others) if group)


def _from(module: str, names: Iterable[str]) -> str:
    """Constants first, then classes, then the rest, as import sorters have them."""
    ordered = sorted(
        names, key=lambda name: (not name.isupper() or len(name) == 1, not name[0].isupper(), name.lower())
    )
    line = f"{module} import {', '.join(ordered)}"
    return line if len(line) <= WIDTH else bracketed(f"{module} import ", "()", ordered)
