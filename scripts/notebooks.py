"""Run the notebooks of tutorials/, so that what readers see on the web is what the code gives today.

    python scripts/notebooks.py run [NAME.ipynb …]      execute, and keep the outputs in the notebook (all, if none is named)
    python scripts/notebooks.py text NAME.ipynb         write it as text, NAME.py beside it, for an editor
    python scripts/notebooks.py build NAME.py           make the notebook of such a text, and run it
    python scripts/notebooks.py pictures NAME.ipynb TO  save its pictures into the folder TO, to look through them

Needs: pip install "plainlearn[notebook]".
"""

from __future__ import annotations

import base64
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError
from traitlets.config import Config

TUTORIALS = Path(__file__).resolve().parent.parent / "tutorials"
CELL_SECONDS = 600  # a limit for what hangs; the longest cell takes a minute or two
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"

Notebook = Any  # nbformat's trees are untyped: a dict that also has attributes


# ---- running


def execute(
    notebook: Notebook, folder: Path, *, cell_seconds: int = CELL_SECONDS, **environment: str
) -> Notebook:
    """Run all cells in a fresh kernel of this Python, in `folder`; raises at the first that fails.

    Jupyter loses a kernel's answer once in a great while, and would wait for it: then all is run once more.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}  # pictures inline
    settings = {**inherited, "OMP_WAIT_POLICY": "PASSIVE", **environment}
    with tempfile.TemporaryDirectory(prefix="kernel-") as sockets:
        # By files, not by ports: two kernels that begin at once may be given the same port.
        by_files = {"transport": "ipc", "ip": f"{sockets}/socket"} if os.name == "posix" else {}
        client = NotebookClient(
            notebook, timeout=cell_seconds, kernel_name="python3", resources={"metadata": {"path": str(folder)}},
            config=Config({"KernelManager": by_files}),
        )  # fmt: skip
        try:
            client.execute(env=settings)
        except CellTimeoutError as error:
            print(f"begun anew, for a cell gave no answer: {error}", file=sys.stderr)
            client.execute(env=settings)
    return notebook


def tidied(notebook: Notebook) -> Notebook:
    """The same without what changes from run to run, and with pictures where sliders are: a page has no kernel."""
    widgets = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03d}"
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = _joined(
                shown for output in cell.outputs for shown in _without_widget(output, widgets)
            )
            for output in cell.outputs:
                if "text/plain" in output.get("data", {}):
                    output.data["text/plain"] = re.sub(r" at 0x[0-9a-f]+", "", output.data["text/plain"])
    return notebook


def _joined(outputs: Iterable[Notebook]) -> list[Notebook]:
    """Printed text in one piece: how it was cut up in time is chance, and a page begins a line at every cut."""
    joined: list[Notebook] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if (
            last is not None
            and output.output_type == last.output_type == "stream"
            and output.name == last.name
        ):
            last.text += output.text
        else:
            joined.append(output)
    return joined


def _without_widget(output: Notebook, widgets: dict[str, Any]) -> list[Notebook]:
    """The output itself; or, for sliders, what they had drawn when the run ended."""
    view = output.get("data", {}).get(WIDGET)
    if view is None:
        return [output]
    children = widgets[view["model_id"]]["state"].get("children", [])
    states = [widgets[child.removeprefix("IPY_MODEL_")]["state"] for child in children]
    return [nbformat.from_dict(drawn) for state in states for drawn in state.get("outputs", [])]


def run(path: Path) -> None:
    started = time.perf_counter()
    notebook = tidied(execute(nbformat.read(path, as_version=4), path.parent))
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    print(f"{path.name}: {time.perf_counter() - started:.0f} s, {path.stat().st_size / 1e6:.2f} MB")


# ---- a notebook as text: cells between lines that begin with "# %%"


def to_text(notebook: Notebook) -> str:
    def cell_text(cell: Notebook) -> str:
        if cell.cell_type == "code":
            return f"# %%\n{cell.source}\n"
        return "# %% [markdown]\n" + "".join(f"# {line}".rstrip() + "\n" for line in cell.source.split("\n"))

    return "\n".join(cell_text(cell) for cell in notebook.cells)


def from_text(text: str) -> Notebook:
    def cell(part: str) -> Notebook:
        head, _, body = part.partition("\n")
        if "[markdown]" in head:
            lines = [line.removeprefix("#").removeprefix(" ") for line in body.strip().split("\n")]
            return nbformat.v4.new_markdown_cell("\n".join(lines))
        return nbformat.v4.new_code_cell(body.strip())

    _, *parts = f"\n{text}".split("\n# %%")
    return tidied(nbformat.v4.new_notebook(cells=[cell(part) for part in parts]))


def pictures(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        for place, output in enumerate(cell.get("outputs", [])):
            if drawn := output.get("data", {}).get("image/png"):
                (folder / f"{number:03d}_{place}.png").write_bytes(base64.b64decode(drawn))


def main(arguments: list[str]) -> None:
    match arguments:
        case ["run", *names]:
            for path in [Path(name) for name in names] or sorted(TUTORIALS.glob("*.ipynb")):
                run(path)
        case ["text", name]:
            Path(name).with_suffix(".py").write_text(to_text(nbformat.read(name, as_version=4)))
        case ["build", name]:
            made = Path(name).with_suffix(".ipynb")
            nbformat.write(from_text(Path(name).read_text()), made)
            run(made)
        case ["pictures", name, folder]:
            pictures(Path(name), Path(folder))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
