"""The house as a whole: what may import what, what importing costs and changes, and what no file may hold."""

from __future__ import annotations

import ast
import copy
import graphlib
import html
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import grimp
import pytest
from importlinter.api import read_configuration
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract
from importlinter.domain.contract import Contract

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "plainlearn"
FILES = sorted(SOURCE.rglob("*.py"))

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


# ---------------------------------------------------------------- what may import what

CONTRACTS: dict[str, type[Contract]] = {
    "layers": LayersContract,
    "forbidden": ForbiddenContract,
    "acyclic_siblings": AcyclicSiblingsContract,
}


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    """Every import between files of the package, those for types and those inside functions too, and what is outside."""
    return grimp.build_graph("plainlearn", include_external_packages=True, cache_dir=None)


def broken_contracts(graph: grimp.ImportGraph) -> set[str]:
    """The names of the contracts of `.importlinter` that these imports break."""
    configuration = read_configuration(str(ROOT / ".importlinter"))
    session = configuration["session_options"]
    broken: set[str] = set()
    for options in configuration["contracts_options"]:
        contract = CONTRACTS[options["type"]](options["name"], session, options)
        if not contract.check(copy.deepcopy(graph), verbose=False).kept:
            broken.add(options["name"])
    return broken


def test_the_import_contracts_hold(imports: grimp.ImportGraph) -> None:
    assert broken_contracts(imports) == set()


# Each: an import that breaks a contract, and the contract that must turn red.
PLANTS = [
    ("core.planted", "plainlearn.data", "Imports point down only"),
    ("optim.planted", "plainlearn.losses", "Imports point down only"),
    ("inference.planted", "plainlearn.train", "Imports point down only"),
    ("data.planted", "plainlearn.train", "Imports point down only"),
    ("images.planted", "plainlearn.augment.geometry", "Imports point down only"),
    ("a_new_room.planted", "plainlearn.core.errors", "Imports point down only"),
    ("train.planted", "plainlearn.data.loader", "The loop does not know the data, nor the data the loop"),
    ("train.planted", "plainlearn.losses", None),
    ("app.planted", "plainlearn.train.loop", "Serving does not need training"),
    ("app.planted", "plainlearn.vision.learner", "Serving does not need training"),
    ("images.planted", "torch", "A file becomes pixels without torch"),
    ("core.planted", "PIL", "Nothing below images knows pixels, plots or the web"),
    ("data.planted", "matplotlib", "Nothing below images knows pixels, plots or the web"),
    ("train.planted", "torchvision", "Nothing below images knows pixels, plots or the web"),
    ("losses.planted", "timm", "Nothing below images knows pixels, plots or the web"),
    ("interpret.planted", "fastapi", "Nothing below images knows pixels, plots or the web"),
    ("core.figures", "PIL", "Nothing below images knows pixels, plots or the web"),
]


@pytest.mark.parametrize(("importer", "imported", "contract"), PLANTS)
def test_a_planted_import_breaks_its_contract(
    importer: str, imported: str, contract: str | None, imports: grimp.ImportGraph
) -> None:
    graph = copy.deepcopy(imports)
    room = f"plainlearn.{importer.partition('.')[0]}"
    for module in (room, f"plainlearn.{importer}"):
        if module not in graph.modules:
            graph.add_module(module)
    if imported not in graph.modules:
        graph.add_module(imported, is_squashed=True)
    graph.add_import(importer=f"plainlearn.{importer}", imported=imported)
    assert (contract in broken_contracts(graph)) if contract else broken_contracts(graph) == set()


def cycle_in(graph: grimp.ImportGraph) -> list[str]:
    """Files of the package that import each other in a circle; empty if there are none."""
    files = {name for name in graph.modules if name.partition(".")[0] == "plainlearn"}
    needed = {file: graph.find_modules_directly_imported_by(file) & files for file in files}
    for path in COURSE_PATHS:
        needed[f"plainlearn.{path.removesuffix('.py').replace('/', '.')}"] = set()
    try:
        graphlib.TopologicalSorter(needed).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_no_file_imports_one_that_imports_it(imports: grimp.ImportGraph) -> None:
    assert cycle_in(imports) == []
    for importer, imported in (
        ("plainlearn.core.errors", "plainlearn.core.tensors"),
        ("plainlearn.cli.demo", "plainlearn.cli.root"),
    ):
        graph = copy.deepcopy(imports)
        graph.add_import(importer=importer, imported=imported)
        assert importer in cycle_in(graph)


def house_picture() -> ModuleType:
    spec = importlib.util.spec_from_file_location("house_picture", ROOT / "scripts" / "house_picture.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_and_the_picture_show_the_rooms_that_exist() -> None:
    house = house_picture()
    rows = house.layers()
    rooms = [room for row in rows for room in row]
    assert sorted(rooms) == sorted(file.parent.name for file in SOURCE.glob("*/__init__.py"))
    readme = (ROOT / "README.md").read_text().splitlines()
    assert [line for line in readme if line.startswith("| [`") and "/`](src/plainlearn/" in line] == [
        house.map_row(room) for room in rooms
    ], "the README's map says something else than the rooms' docstrings"
    page = (ROOT / "CONTRIBUTING.md").read_text().partition("## The rooms")[2].split("```")[1]
    assert page.split("\n")[1:-1] == [" | ".join(f"{room}/" for room in row) for row in rows]
    picture = html.unescape((ROOT / "docs" / "images" / "house.svg").read_text())
    arrows = set(re.findall(r"<title>(\w+)->(\w+)</title>", picture))
    assert arrows == set(house.without_detours(house.imports_between(rooms))), (
        "python scripts/house_picture.py"
    )


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


def test_no_file_has_a_habit_that_we_do_without() -> None:
    found = [
        f"{name_of(file)}: {complaint}"
        for file in FILES
        for complaint in complaints(ast.parse(file.read_text("utf-8")))
    ]
    # The course's paths hand out the course's lists.
    assert [each for each in found if not (each.startswith(tuple(COURSE_PATHS)) and "star" in each)] == []


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


def test_every_file_says_in_its_first_line_what_it_is() -> None:
    silent: list[str] = []
    for file in FILES:
        text = file.read_text("utf-8")
        first = text.partition("\n")[0]
        says = first.startswith(('"""', 'r"""')) and len(first.strip('r"')) > 20
        if not says or not ast.get_docstring(ast.parse(text)):
            silent.append(f"{name_of(file)} begins with {first!r}")
    assert silent == [], "expected a docstring that says in one line what the file is"


# ---------------------------------------------------------------- what is public


def test_every_public_name_exists_once() -> None:
    wrong: list[str] = []
    for name in modules():
        module = importlib.import_module(name)
        public: list[str] = getattr(module, "__all__", [])
        wrong += [f"{name} has no {entry}, which it lists" for entry in public if not hasattr(module, entry)]
        wrong += [f"{name} lists {entry} twice" for entry in set(public) if public.count(entry) > 1]
    assert wrong == []


def test_the_package_tells_type_checkers_that_it_is_typed() -> None:
    assert (SOURCE / "py.typed").is_file()


# ---------------------------------------------------------------- types that say something

#: Of all parameters of public functions, the share whose type is a bare `Any`. To come down to 0.03 room by room.
MOST_BARE_ANY = 0.04


def public_parameters(nodes: list[ast.stmt]) -> Iterator[ast.arg]:
    """The parameters of public functions, and of public classes' methods, `__init__` and `__call__` among them."""
    for node in nodes:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_parameters(node.body)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
            not node.name.startswith("_") or node.name in ("__init__", "__call__")
        ):
            given = node.args
            every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
            yield from (each for each in every if each and each.arg not in ("self", "cls"))


def is_bare_any(parameter: ast.arg) -> bool:
    return isinstance(parameter.annotation, ast.Name) and parameter.annotation.id == "Any"


def test_types_of_public_parameters_say_something() -> None:
    found = [
        (file.relative_to(SOURCE).parts[0], is_bare_any(parameter))
        for file in FILES
        for parameter in public_parameters(ast.parse(file.read_text(encoding="utf-8")).body)
    ]
    bare = Counter(room for room, is_bare in found if is_bare)
    assert bare.total() <= MOST_BARE_ANY * len(found), f"of {len(found)} parameters: {bare.most_common()}"


def test_a_bare_any_is_counted_where_others_see_it() -> None:
    code = "class A:\n def __init__(self, a: Any, *b: int): ...\n def _f(self, c: Any): ...\ndef g(*, d: list[Any], **e: Any): ..."
    parameters = list(public_parameters(ast.parse(code).body))
    assert [each.arg for each in parameters if is_bare_any(each)] == ["a", "e"] and len(parameters) == 4
