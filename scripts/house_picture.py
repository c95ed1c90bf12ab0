"""Draw docs/images/house.svg: the rooms of plainlearn, each above what it imports; made from the imports themselves.

    python scripts/house_picture.py [FILE]

It needs graphviz. Rows are the layers of `.importlinter`, the line in a room is the first sentence of its docstring, which
the README's map repeats; tests/test_architecture.py holds picture and map to the code. An arrow that follows from two others
(vision → train → losses) is left out.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from html import escape
from pathlib import Path

import grimp
from importlinter.api import read_configuration

ROOT = Path(__file__).resolve().parent.parent
WANTED = ROOT / "docs" / "images" / "house.svg"
HIDDEN = {"__main__", "_version", "__init__", "basics"}


def layers() -> list[list[str]]:
    """The rooms that there are, from the top row down."""
    (contract,) = (
        each
        for each in read_configuration(str(ROOT / ".importlinter"))["contracts_options"]
        if each["type"] == "layers"
    )
    rows = [[name.strip(" ()") for name in row.split("|")] for row in contract["layers"]]
    here = {folder.parent.name for folder in (ROOT / "src" / "plainlearn").glob("*/__init__.py")}
    return [kept for row in rows if (kept := [name for name in row if name in here - HIDDEN])]


def imports_between(rooms: list[str]) -> dict[str, set[str]]:
    """Which rooms each room imports, by any of its files."""
    graph = grimp.build_graph("plainlearn", cache_dir=None)
    between: dict[str, set[str]] = {room: set() for room in rooms}
    for file in graph.modules:
        for other in graph.find_modules_directly_imported_by(file):
            a, b = (name.split(".")[1] if "." in name else "" for name in (file, other))
            # Only what points down is drawn: a course path hands out a list of `course`, above it.
            if a in between and b in between and rooms.index(a) < rooms.index(b):
                between[a].add(b)
    return between


def without_detours(between: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """The arrows that no way over a third room says already."""

    below: dict[str, set[str]] = {}
    for room in reversed(between):  # from the floor up
        below[room] = between[room].union(*(below[other] for other in between[room]))

    return sorted(
        (room, other)
        for room, others in between.items()
        for other in others
        if not any(other in below[third] for third in others - {other})
    )


def sentence(room: str) -> str:
    """What the room says it is."""
    source = (ROOT / "src" / "plainlearn" / room / "__init__.py").read_text()
    said = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    return said.partition(". ")[0].rstrip(".")


def map_row(room: str) -> str:
    """The room's line in the README."""
    return f"| [`{room}/`](src/plainlearn/{room}/) | {sentence(room)} |"


def as_dot() -> str:
    """The rooms and arrows for graphviz: what stands beside each other in `.importlinter` does so here."""
    rows = layers()
    rooms = [room for row in rows for room in row]
    lines = [
        "digraph house {",
        '  graph [tooltip="The rooms of plainlearn: each imports only what lies below it", ranksep=0.42, nodesep=0.35]',
        '  node [shape=box, style="rounded,filled", fillcolor="#f3f6fb", color="#34538b", fontname="Helvetica", fontsize=11, '
        'margin="0.14,0.08"]',
        '  edge [color="#8a94a6", arrowsize=0.7]',
    ]
    for room in rooms:
        said = "<br align='left'/>".join(
            escape(line) for line in textwrap.wrap(re.sub("[`*]", "", sentence(room)), 36)
        )
        lines.append(f"  {room} [label=<<b>{room}/</b><br align='left'/>{said}<br align='left'/>>]")
    lines += [f"  {{ rank=same; {'; '.join(row)} }}" for row in rows if len(row) > 1]
    lines += [f"  {room} -> {other}" for room, other in without_detours(imports_between(rooms))]
    return "\n".join([*lines, "}", ""])


def draw(file: Path) -> None:
    """Let graphviz lay it out."""
    dot = shutil.which("dot")
    if dot is None:
        raise SystemExit("graphviz's `dot` is not installed; on Debian and Ubuntu: apt install graphviz")
    svg = subprocess.run([dot, "-Tsvg"], input=as_dot(), capture_output=True, text=True, check=True).stdout
    file.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    wanted = Path(sys.argv[1]) if len(sys.argv) > 1 else WANTED
    draw(wanted)
    print(f"wrote {wanted}")
