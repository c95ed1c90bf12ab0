"""Every notebook of tutorials/ runs, in a fresh kernel, offline; and what is committed is what a reader should get."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = sorted((ROOT / "tutorials").glob("*.ipynb"))

# The tests' own hook does not reach into a kernel, which is another process.
NO_NETWORK = """
import sys

def _refuse_network(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = str(arguments[1][0])
        if host != "::1" and not host.startswith("127."):
            raise OSError(f"a tutorial does not use the network, and this one has asked for {host}")

sys.addaudithook(_refuse_network)
"""


def _script() -> Any:
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "scripts" / "notebooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


notebooks = _script()


def run_offline(notebook: Any, home: Path, cell_seconds: int = 60) -> Any:
    notebook.cells.insert(0, nbformat.v4.new_code_cell(NO_NETWORK))
    fresh = {"PLAINLEARN_HOME": str(home), "IPYTHONDIR": str(home / "ipython")}
    return notebooks.execute(notebook, home, cell_seconds=cell_seconds, **fresh)


def of_cells(*sources: str) -> Any:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


def warnings_in(notebook: Any) -> list[str]:
    """What cells wrote to stderr, but for bars such as that of the unpacking."""
    written = [
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stderr"
    ]
    return [text for text in written if "Warning" in text]


def code_cells(path: Path) -> list[Any]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_there_are_tutorials() -> None:
    assert [path.name for path in TUTORIALS][:1] == ["01_from_scratch.ipynb"]


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_runs_offline_from_its_first_cell_to_its_last(path: Path, tmp_path: Path) -> None:
    assert not warnings_in(run_offline(nbformat.read(path, as_version=4), tmp_path, notebooks.CELL_SECONDS))


def test_a_warning_in_a_cell_is_seen(tmp_path: Path) -> None:
    ran = run_offline(of_cells("import warnings\nwarnings.warn('this is old')"), tmp_path)
    assert ["this is old" in warning for warning in warnings_in(ran)] == [True]


@pytest.mark.parametrize(
    ("source", "complaint"),
    [("assert 1 + 1 == 3", "AssertionError"),
     ("import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)", "does not use the network")],
)  # fmt: skip
def test_a_cell_that_fails_or_asks_for_the_network_fails_the_run(
    source: str, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(CellExecutionError, match=complaint):
        run_offline(of_cells(source), tmp_path)


def test_kept_notebook_shows_the_picture_in_place_of_sliders(tmp_path: Path) -> None:
    cell = "from ipywidgets import interact\ninteract(lambda a: print('a is', a), a=2);"
    kept = notebooks.tidied(notebooks.execute(of_cells(cell), tmp_path, cell_seconds=60))
    assert [output.text for output in kept.cells[0].outputs] == ["a is 2\n"]
    assert "widgets" not in kept.metadata


def test_kept_notebook_has_printed_text_in_one_piece_and_no_addresses(tmp_path: Path) -> None:
    cells = "import time\nfor i in range(3): print(i, end=' ', flush=True); time.sleep(0.3)", "object()"
    first, second = notebooks.tidied(notebooks.execute(of_cells(*cells), tmp_path, cell_seconds=60)).cells
    assert [output.text for output in first.outputs] == ["0 1 2 "]
    assert second.outputs[0].data["text/plain"] == "<object>"


def test_notebook_survives_the_way_through_text() -> None:
    made = of_cells("first = 1\n\nsecond = 2", "first + second")
    made.cells.insert(1, nbformat.v4.new_markdown_cell("# A title\n\n- a point\n\n    code"))
    back = notebooks.from_text(notebooks.to_text(made))
    assert [(cell.cell_type, cell.source) for cell in back.cells] == [
        (cell.cell_type, cell.source) for cell in made.cells
    ]


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_committed_tutorial_is_small_and_was_run_in_order_without_an_error(path: Path) -> None:
    cells = code_cells(path)
    assert path.stat().st_size < 1_500_000
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    # Where it was run is nobody's business, and would change with every run.
    assert str(ROOT) not in path.read_text() and "/root/" not in path.read_text()


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_needs_one_import_line_of_ours_and_the_sliders(path: Path) -> None:
    python = "\n".join(cell.source for cell in code_cells(path))
    imports = [node for node in ast.walk(ast.parse(python)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports[:2]] == [
        "from plainlearn.vision.all import *",
        "from ipywidgets import interact",
    ]
    standard = {"time", "copy"}
    assert {getattr(node, "module", None) for node in imports[2:]} <= standard
