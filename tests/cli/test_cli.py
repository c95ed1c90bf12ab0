"""The `plainlearn` command: help that teaches, one message for an error, exit codes that mean something."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import plainlearn
from plainlearn.cli import main
from plainlearn.core.errors import ArgumentError, MissingFileError


def leave(*arguments: str) -> int:
    """Run the command in this process; its exit code."""
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    code = leaving.value.code
    assert isinstance(code, int)
    return code


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A stand-in for the demo, which takes minutes; what it was called with, and what it shall raise."""
    called: dict[str, Any] = {}

    def run(**arguments: Any) -> None:
        called.update(arguments)
        if "raise" in called:
            raise called["raise"]

    stand_in = ModuleType("plainlearn.demo")
    stand_in.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "plainlearn.demo", stand_in)
    monkeypatch.setattr(plainlearn, "demo", stand_in, raising=False)
    return called


def test_help_names_the_first_step_and_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("--help") == 0
    text = capsys.readouterr().out
    assert "plainlearn demo " in text
    assert "from plainlearn.vision.all import *" in text
    assert "Watch handwritten digits being learned, rung by rung." in text


def test_no_arguments_is_a_call_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    leave("--help")
    asked = capsys.readouterr().out
    assert leave() == 0
    assert capsys.readouterr().out == asked


def test_help_fits_a_terminal_of_100_columns(capsys: pytest.CaptureFixture[str]) -> None:
    leave("--help")
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 100


def test_version_names_ours_and_what_it_stands_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("--version") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"plainlearn {plainlearn.__version__} (Python 3.")
    assert "torch 2." in text


def test_a_mistyped_command_is_answered_with_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("dmo") == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    assert "'dmo'" in answer.err
    assert "'demo'" in answer.err


@pytest.mark.parametrize("arguments", [("--seed", "x"), ("--seed", "-1"), ("--sed", "1")])
def test_a_bad_option_is_named(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("demo", *arguments) == 2
    assert "--seed" in capsys.readouterr().err


def test_demo_passes_its_options_on(demo: dict[str, Any], tmp_path: Path) -> None:
    out, figures = str(tmp_path / "pictures"), str(tmp_path / "figures.json")
    assert leave("demo", "--out", out, "--json", figures, "--seed", "7") == 0
    assert demo == {"out": out, "json": figures, "seed": 7}


def test_demo_needs_no_options(demo: dict[str, Any]) -> None:
    assert leave("demo") == 0
    assert demo == {"out": "plainlearn-demo", "json": None, "seed": 0}


def test_demo_will_not_write_into_a_file(
    demo: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "taken"
    file.touch()
    assert leave("demo", "--out", str(file)) == 2
    assert leave("demo", "--json", str(tmp_path)) == 2
    assert str(file) in capsys.readouterr().err
    assert demo == {}


def test_an_error_of_ours_is_one_message_with_its_notes(
    demo: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    demo["raise"] = ArgumentError("batch size is 0; expected 1 or more", try_="bs=64")
    demo["raise"].add_note("while loading the digits")
    assert leave("demo") == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    assert answer.err == (
        "plainlearn: batch size is 0; expected 1 or more\n  Try bs=64\nwhile loading the digits\n"
    )


def test_a_missing_file_is_one_message_although_it_is_an_os_error(
    demo: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    demo["raise"] = MissingFileError("pets is not there")
    assert leave("demo") == 2
    assert capsys.readouterr().err == "plainlearn: pets is not there\n"


def test_debug_lets_the_error_out(demo: dict[str, Any]) -> None:
    demo["raise"] = ArgumentError("batch size is 0")
    with pytest.raises(ArgumentError, match="batch size is 0"):
        main(["--debug", "demo"])


def test_debug_of_one_call_does_not_reach_the_next(demo: dict[str, Any]) -> None:
    demo["raise"] = ArgumentError("batch size is 0")
    with pytest.raises(ArgumentError):
        main(["--debug", "demo"])
    assert leave("demo") == 2


def test_an_error_of_others_comes_out_unchanged(demo: dict[str, Any]) -> None:
    demo["raise"] = ZeroDivisionError("theirs")
    with pytest.raises(ZeroDivisionError) as raised:
        main(["demo"])
    assert raised.value is demo["raise"]


def test_ctrl_c_leaves_with_130(demo: dict[str, Any]) -> None:
    demo["raise"] = KeyboardInterrupt()
    assert leave("demo") == 130


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "plainlearn", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | environment,
    )


def test_python_m_is_the_same_command() -> None:
    answer = run("--version")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith(f"plainlearn {plainlearn.__version__}")
    assert run("--help").stdout.startswith("Usage: plainlearn ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_the_commands(shell: str) -> None:
    # What each shell's script sends: bash and zsh number the word, fish sends it.
    typed = {"COMP_WORDS": "plainlearn d", "COMP_CWORD": "1"}
    typed |= {"_TYPER_COMPLETE_ARGS": "plainlearn d", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    answer = run(_PLAINLEARN_COMPLETE=f"complete_{shell}", **typed)
    assert "demo" in answer.stdout, answer.stderr
