"""The examples in docstrings are run: what they show is what happens."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src"
# By their text, so that nothing is imported before its turn.
WITH_EXAMPLES = [
    ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for file in sorted(SOURCE.rglob("*.py"))
    if ">>> " in file.read_text("utf-8")
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_an_example_gives_what_it_shows(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)  # for what an example writes
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    printed: list[str] = []
    runner = doctest.DocTestRunner(optionflags=options)
    tests = [test for test in doctest.DocTestFinder().find(module, name) if test.examples]
    for test in tests:
        runner.run(test, out=printed.append)
    assert runner.failures == 0, "".join(printed)
    assert runner.tries > 0, (
        "the examples are out of doctest's sight: in a name that the module does not hold"
    )
