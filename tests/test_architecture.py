"""The house as a whole: what may import what, what importing costs and changes, and what no file may hold."""

from __future__ import annotations

import ast
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import grimp
import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "plainlearn"
FILES = sorted(SOURCE.rglob("*.py"))

# A file that passes 400 lines is asked whether it holds two ideas. Those that answered:
LONG_FILES: dict[str, str] = {}

#: Modules at a path that the course imports: one line that hands out a list of `course`.
COURSE_PATHS = {"vision/all.py"}

HEAVY = {
    *("torchvision", "timm", "PIL", "matplotlib", "pandas", "sklearn", "scipy", "torchmetrics", "numba"),
    *("fastapi", "starlette", "uvicorn", "jinja2", "IPython", "ipywidgets", "rich", "typer", "tqdm"),
}


def name_of(file: Path) -> str:
    return file.relative_to(SOURCE).as_posix()


def run_python(script: str, *arguments: str) -> str:
    """What a fresh interpreter prints for `script`; its warnings are errors of ours."""
    answer = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Hold the package in `folder/src` to the contracts of this clone."""
    run = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", run, "--config", str(ROOT / ".importlinter"), "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder / "src"), "COLUMNS": "400", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )


# ---------------------------------------------------------------- what may import what


def test_the_import_contracts_hold() -> None:
    answer = lint_imports(ROOT)
    assert answer.returncode == 0, answer.stdout + answer.stderr


# Each: a line that breaks a contract, the file it is planted in, the contract that must turn red.
PLANTS = [
    ("core/planted.py", "import plainlearn.data", "Imports point down only"),
    ("core/planted.py", "def on_use():\n    import plainlearn.data", "Imports point down only"),
    ("optim/planted.py", "import plainlearn.losses", "Imports point down only"),
    ("inference/__init__.py", "import plainlearn.train", "Imports point down only"),
    ("a_new_package/__init__.py", "", "Imports point down only"),
    ("train/planted.py", "import plainlearn.data", "The loop does not know the data"),
    ("data/planted.py", "import plainlearn.train", "Imports point down only"),
    ("app/__init__.py", "import plainlearn.train", "Serving does not need training"),
    ("core/planted.py", "def on_use():\n    import PIL.Image", "Nothing below images knows pixels"),
    ("data/planted.py", "import matplotlib.pyplot", "Nothing below images knows pixels"),
    ("train/planted.py", "import torchvision", "Nothing below images knows pixels"),
    ("losses/planted.py", "import timm", "Nothing below images knows pixels"),
    ("interpret/__init__.py", "import fastapi", "Nothing below images knows pixels"),
    ("core/figures.py", "import PIL.Image", "Nothing below images knows pixels"),
]


@pytest.mark.parametrize(("file", "line", "contract"), PLANTS)
def test_a_planted_import_breaks_its_contract(file: str, line: str, contract: str, tmp_path: Path) -> None:
    package = tmp_path / "src" / "plainlearn"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__", "onboard"))
    planted = package / file
    planted.parent.mkdir(exist_ok=True)
    for folder in (planted.parent, package / "data", package / "train"):
        if not (folder / "__init__.py").exists():
            folder.mkdir(exist_ok=True)
            (folder / "__init__.py").touch()
    planted.write_text(f"{planted.read_text() if planted.exists() else ''}\n{line}\n")
    answer = lint_imports(tmp_path)
    broken = [row for row in answer.stdout.splitlines() if " BROKEN" in row]
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert any(row.startswith(contract) for row in broken), answer.stdout


def test_packages_that_import_each_other_break_a_contract(tmp_path: Path) -> None:
    package = tmp_path / "src" / "plainlearn"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__", "onboard"))
    (package / "core" / "planted.py").write_text("import plainlearn._version\n")
    (package / "_version.py").write_text("import plainlearn.core\n")
    answer = lint_imports(tmp_path)
    assert "No cycles between packages BROKEN" in answer.stdout, answer.stdout + answer.stderr


def file_cycles(graph: grimp.ImportGraph) -> set[tuple[str, str]]:
    """Imports that would have to go so that no two files of any one package need each other."""
    packages = [name for name in graph.modules if graph.find_children(name)]
    return {pair for package in packages for pair in graph.nominate_cycle_breakers(package)}


def test_no_file_imports_one_that_imports_it() -> None:
    # A type may point back, as when a callback names the Learner: that import is not run.
    graph = grimp.build_graph("plainlearn", exclude_type_checking_imports=True, cache_dir=None)
    # The handle `learn.eject` imports on use what stands above all else: the one exception, as in .importlinter.
    for line in dict.fromkeys((ROOT / ".importlinter").read_text().splitlines()):
        importer, arrow, imported = line.strip().partition(" -> ")
        if arrow and "*" not in line and imported.startswith("plainlearn"):
            graph.remove_import(importer=importer, imported=imported)
    assert file_cycles(graph) == set()
    graph.add_import(importer="plainlearn.core.errors", imported="plainlearn.core")
    graph.add_import(importer="plainlearn.cli.demo", imported="plainlearn.cli.root")
    assert ("plainlearn.cli.demo", "plainlearn.cli.root") in file_cycles(graph) or (
        "plainlearn.cli.root",
        "plainlearn.cli.demo",
    ) in file_cycles(graph)


# ---------------------------------------------------------------- what importing costs and changes


def test_importing_plainlearn_loads_no_heavy_library() -> None:
    loaded = run_python(
        "import plainlearn, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    ).split()
    assert "plainlearn" in loaded
    assert sorted(HEAVY & set(loaded)) == []


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_command_line_answers_without_torch(option: str) -> None:
    script = """
import sys
from plainlearn.cli import main
try:
    main(sys.argv[1:])
except SystemExit as leaving:
    assert leaving.code == 0, leaving.code
print("LOADED", *{name.partition(".")[0] for name in sys.modules})
"""
    answer, _, loaded = run_python(script, option).partition("LOADED")
    assert "plainlearn" in answer
    assert sorted(({"torch", "numpy", *HEAVY} - {"typer", "rich"}) & set(loaded.split())) == []


#: Written in another library's dialect, and imported when a picture is read: numba names its loggers when it loads.
COMPILED = {"lanes", "numba_loops", "sampling_numba", "triton_kernel"}


def modules() -> list[str]:
    """Every module of the package, by name, without importing any; `__main__` left out, as it runs."""
    paths = [
        file.relative_to(SOURCE.parent).with_suffix("").parts
        for file in FILES
        if file.stem not in {"__main__", *COMPILED}
    ]
    return [".".join(parts[:-1] if parts[-1] == "__init__" else parts) for parts in paths]


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What importing changes in a fresh interpreter: first all of plainlearn's modules, then a culprit."""
    folder = tmp_path_factory.mktemp("culprit")
    (folder / "culprit.py").write_text(CULPRIT)
    probe = Path(__file__).with_name("state_probe.py").read_text()
    answer = subprocess.run(
        [sys.executable, "-c", probe, " ".join(modules()), "culprit"],
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


def test_importing_plainlearn_changes_nothing(changes: list[dict[str, Any]]) -> None:
    assert changes[0] == {}


def test_what_a_bad_module_changes_is_noticed(changes: list[dict[str, Any]]) -> None:
    assert set(changes[1]) == {
        *("at_exit", "builtins", "classes", "environment", "exception_hooks", "signals", "threads"),
        *("logging_handlers", "logging_root", "warnings_filters", "random", "numpy_random", "torch"),
    }
    assert "ls" in changes[1]["classes"]["Path"]


CULPRIT = """
import atexit, builtins, logging, os, pathlib, random, signal, sys, threading, warnings
import numpy, torch
atexit.register(int)
builtins.first = None
pathlib.Path.ls = None
os.environ["CULPRIT"] = "1"
sys.excepthook = print
logging.basicConfig(level="DEBUG")
numpy.random.seed(1)
random.seed(1)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
threading.Thread(target=threading.Event().wait, daemon=True).start()
torch.manual_seed(1)
warnings.simplefilter("ignore")
"""


# ---------------------------------------------------------------- what no file may hold


def complaints(tree: ast.AST) -> Iterator[str]:
    """The habits that plainlearn does without, as found in one file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield f"line {node.lineno}: a star import"
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            named = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            )
            for name in named:
                if name.partition(".")[0] in {
                    "pickle",
                    "cPickle",
                    "dill",
                    "cloudpickle",
                    "joblib",
                    "shelve",
                    "marshal",
                }:
                    yield f"line {node.lineno}: imports {name}: a saved file must not be able to run code"
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"line {node.lineno}: a bare except"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            settings = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if called == "torch.load" and settings.get("weights_only") != "True":
                yield f"line {node.lineno}: torch.load without weights_only=True"
            if settings.get("allow_pickle") == "True" or called.endswith((".read_pickle", ".to_pickle")):
                yield f"line {node.lineno}: reads or writes a pickle"
            if called in {"eval", "exec"}:
                yield f"line {node.lineno}: {called}"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_has_no_habit_that_we_do_without(file: Path) -> None:
    found = list(complaints(ast.parse(file.read_text("utf-8"))))
    # The course's paths hand out the course's lists.
    assert [each for each in found if not ("star" in each and name_of(file) in COURSE_PATHS)] == []


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("from x import *", "star import"),
        ("import pickle", "run code"),
        ("def f():\n    from joblib import load", "run code"),
        ("try:\n    x\nexcept:\n    pass", "bare except"),
        ("torch.load(p)", "weights_only"),
        ("torch.load(p, weights_only=False)", "weights_only"),
        ("np.load(p, allow_pickle=True)", "pickle"),
        ("pd.read_pickle(p)", "pickle"),
        ("eval(x)", "eval"),
    ],
)
def test_the_habits_are_noticed(code: str, complaint: str) -> None:
    assert [complaint in found for found in complaints(ast.parse(code))] == [True]
    assert list(complaints(ast.parse("torch.load(p, weights_only=True)"))) == []


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_says_in_its_first_line_what_it_is(file: Path) -> None:
    first = file.read_text("utf-8").partition("\n")[0]
    assert first.startswith(('"""', 'r"""')), f"{first!r} is not the beginning of a docstring"
    assert len(first.strip('r"')) > 20, f"{first!r} says too little"
    assert ast.get_docstring(ast.parse(file.read_text("utf-8")))


def test_a_long_file_has_a_reason() -> None:
    lengths = {name_of(file): len(file.read_text("utf-8").splitlines()) for file in FILES}
    long = {name: length for name, length in lengths.items() if length > 400 and name not in LONG_FILES}
    assert long == {}, "does it hold two ideas? If not, put it into LONG_FILES with the reason"
    assert [name for name in LONG_FILES if lengths.get(name, 0) <= 400] == [], (
        "no longer long, or no longer there"
    )


# ---------------------------------------------------------------- what is public


@pytest.mark.parametrize("name", modules())
def test_every_public_name_exists_once(name: str) -> None:
    module: ModuleType = importlib.import_module(name)
    public: list[str] = getattr(module, "__all__", [])
    assert [entry for entry in public if not hasattr(module, entry)] == []
    assert len(public) == len(set(public)), "a name is listed twice"


def test_the_package_tells_type_checkers_that_it_is_typed() -> None:
    assert (SOURCE / "py.typed").is_file()
