"""The house: `make` from a bare clone says what it needs, does it once, and is never fooled by half of it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from packaging.requirements import Requirement
from patience import PATIENCE

ROOT = Path(__file__).resolve().parent.parent


def load_set_up() -> ModuleType:
    spec = importlib.util.spec_from_file_location("set_up", ROOT / "scripts" / "set_up.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def set_up() -> ModuleType:
    return load_set_up()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What set-up needs of a clone, in a folder whose name holds a space."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in ("pyproject.toml", "constraints.txt", "Makefile"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def finish(set_up: ModuleType, clone: Path, group: str) -> None:
    """Leave `clone` as a set-up of `group` that has come to its end does."""
    (clone / ".venv").mkdir(exist_ok=True)
    set_up.stamp_of(clone, group).write_text(set_up.fingerprint(clone))


# ---------------------------------------------------------------- what is pinned


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    return [wanted for wanted in map(Requirement, lines) if wanted.name != "plainlearn"]


def pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def test_every_requirement_is_pinned_to_a_version_that_it_admits() -> None:
    for wanted in requirements():
        versions = [str(pin.specifier).removeprefix("==") for pin in pins() if pin.name == wanted.name]
        assert versions, f"{wanted.name} has no pin: make pins"
        assert all(wanted.specifier.contains(version) for version in versions), f"{wanted} and {versions}"


def test_pins_are_of_exact_and_ordinary_builds() -> None:
    for pin in pins():
        assert pin.url is None, f"{pin} names a place"
        assert re.fullmatch(r"==[\w.]+", str(pin.specifier)), f"{pin} is no pin of an ordinary build"


# ---------------------------------------------------------------- when there is nothing to do


def test_a_bare_clone_is_not_ready(set_up: ModuleType, clone: Path) -> None:
    assert not set_up.is_ready(clone, "run")


def test_an_environment_for_tests_can_run_the_demo_but_not_the_reverse(
    set_up: ModuleType, clone: Path
) -> None:
    finish(set_up, clone, "run")
    assert (set_up.is_ready(clone, "run"), set_up.is_ready(clone, "dev")) == (True, False)
    set_up.stamp_of(clone, "run").unlink()
    finish(set_up, clone, "dev")
    assert (set_up.is_ready(clone, "run"), set_up.is_ready(clone, "dev")) == (True, True)


def change_a_file(name: str) -> Callable[[Path], Path]:
    def change(clone: Path) -> Path:
        (clone / name).write_text((clone / name).read_text() + "\n")
        return clone

    return change


def move(clone: Path) -> Path:
    return clone.rename(clone.with_name("moved"))


@pytest.mark.parametrize("change", [change_a_file("pyproject.toml"), change_a_file("constraints.txt"), move])
def test_whatever_the_environment_rests_on_makes_it_out_of_date(
    change: Callable[[Path], Path], set_up: ModuleType, clone: Path
) -> None:
    finish(set_up, clone, "dev")
    assert not set_up.is_ready(change(clone), "dev")


def test_another_python_makes_it_out_of_date(
    set_up: ModuleType, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(set_up, clone, "dev")
    monkeypatch.setattr(sys, "version", "3.99.0 (a newer one)")
    assert not set_up.is_ready(clone, "dev")


def test_an_environment_of_somebody_s_own_is_refused_by_name_and_stays(
    set_up: ModuleType, clone: Path
) -> None:
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "python").write_text("mine")
    with pytest.raises(set_up.SetUpError, match=r"\.venv is there already, and make did not make it"):
        set_up.set_up(clone, "dev")
    assert [file.name for file in (clone / ".venv").rglob("*")] == ["bin", "python"]


def test_an_interrupted_set_up_is_begun_anew(
    set_up: ModuleType, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def empty(venv: Path) -> None:
        (venv / "bin").mkdir()
        (venv / "bin" / "python").symlink_to(sys.executable)

    monkeypatch.setattr(set_up, "check_disk", lambda *_: None)
    monkeypatch.setattr(set_up, "create", empty)
    monkeypatch.setattr(set_up, "install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        set_up.set_up(clone, "run")
    assert not set_up.is_ready(clone, "run")

    half = clone / ".venv" / "half-written"
    half.touch()
    monkeypatch.setattr(set_up, "install", lambda *_: None)
    set_up.set_up(clone, "run")
    assert set_up.is_ready(clone, "run")
    assert not half.exists()


def test_an_environment_that_was_moved_does_not_work(set_up: ModuleType, clone: Path) -> None:
    venv = clone / ".venv"
    venv.mkdir()
    set_up.create(venv)
    assert set_up.works(venv)
    assert not set_up.works(venv.rename(venv.with_name("moved")))


def test_the_second_make_prints_nothing_and_installs_nothing(set_up: ModuleType, clone: Path) -> None:
    (clone / ".venv" / "bin").mkdir(parents=True)
    # A link would be resolved to where its own environment lies, and the stamp's version is the same.
    python = clone / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    digest = subprocess.run(
        [python, "-c", f"import runpy, pathlib; s = runpy.run_path({str(clone / 'scripts/set_up.py')!r}); "
         f"print(s['fingerprint'](pathlib.Path({str(clone)!r}).resolve()))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (clone / ".venv" / "set-up-dev.stamp").write_text(digest.stdout.strip())
    for group in ("run", "dev"):
        answer = subprocess.run(["sh", "scripts/set_up.sh", group], cwd=clone, capture_output=True, text=True)
        assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_two_at_once_wait_for_each_other(set_up: ModuleType, clone: Path) -> None:
    script = (
        f"import runpy, pathlib; s = runpy.run_path({str(ROOT / 'scripts/set_up.py')!r})\n"
        f"with s['only_one'](pathlib.Path({str(clone / '.venv')!r})): print('mine', flush=True)"
    )
    with set_up.only_one(clone / ".venv"):
        second = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert second.stdout is not None
        assert second.stdout.readline() == "plainlearn: another make is setting up .venv; waiting for it\n"
        assert second.poll() is None
    assert second.communicate(timeout=PATIENCE)[0] == "mine\n"


# ---------------------------------------------------------------- what is missing, in one sentence


def folder_with(tmp_path: Path, **commands: str) -> Path:
    """A folder for PATH that holds nothing but the shell's own tools and these scripts."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "dirname"):
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    for name, script in commands.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ({}, "found no Python 3.11 or newer: install one"),
        ({"python3": "exit 3"}, "found no Python 3.11 or newer (python3 is too old): install one"),
        (
            {"python3": "exit 4"},
            "(python3 has no venv module (on Debian and Ubuntu: apt install python3-venv))",
        ),
        ({"python3.12": "exit 127", "python3": "exit 3"}, "(python3 is too old)"),
    ],
)
def test_no_python_is_said_in_one_sentence(
    commands: dict[str, str], said: str, clone: Path, tmp_path: Path
) -> None:
    environment = {"PATH": str(folder_with(tmp_path, **commands))}
    answer = subprocess.run(
        ["sh", "scripts/set_up.sh", "run"], cwd=clone, env=environment, capture_output=True, text=True
    )
    assert answer.returncode == 1
    assert said in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert not (clone / ".venv").exists()


def test_a_python_that_is_named_is_the_one_that_is_used(clone: Path, tmp_path: Path) -> None:
    path = folder_with(
        tmp_path, python3="echo the wrong one", mine='[ "$1" = -c ] || echo "$@"', old="exit 3"
    )
    answers = {
        name: subprocess.run(
            ["sh", "scripts/set_up.sh", "run"],
            cwd=clone,
            env={"PATH": str(path), "PYTHON": str(path / name)},
            capture_output=True,
            text=True,
        )
        for name in ("mine", "old")
    }
    assert answers["mine"].stdout == "scripts/set_up.py run\n"
    assert answers["old"].returncode == 1
    assert f"PYTHON={path / 'old'} does not work" in answers["old"].stderr


def test_little_disk_is_said_with_what_there_is_and_what_is_needed(
    set_up: ModuleType, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(*_: object) -> None:
        pytest.fail("the set-up went on without room")

    monkeypatch.setattr(set_up.shutil, "disk_usage", lambda _: SimpleNamespace(free=2.5e9))
    monkeypatch.setattr(set_up, "create", too_late)
    with pytest.raises(
        set_up.SetUpError, match=r"has 2\.5 GB free, the set-up needs about \d+ GB: make room"
    ):
        set_up.set_up(clone, "run")
    assert not set_up.is_ready(clone, "run")


def test_a_disk_that_fills_up_meanwhile_is_named(set_up: ModuleType, clone: Path) -> None:
    printed = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
    assert f"the disk of {clone} is full: make room" in str(set_up.failure(printed, clone))


def test_no_network_is_said_in_one_sentence(clone: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    # Only /dev/null for settings: those of this machine may name a mirror on its disk.
    settings = {"PIP_INDEX_URL": nowhere, "UV_INDEX_URL": nowhere, "PIP_CONFIG_FILE": os.devnull}
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    answer = subprocess.run(
        [sys.executable, "scripts/set_up.py", "run"],
        cwd=clone,
        env=environment | settings,
        capture_output=True,
        text=True,
    )
    if "make room" in answer.stderr:
        pytest.skip("the disk is too full to come as far as the network")
    assert answer.returncode == 1
    assert "the package index cannot be reached: connect to the internet" in answer.stderr
    assert "Connection refused" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("error: x\n  Caused by: dns error: failed to lookup address information", "cannot be reached"),
        (
            "WARNING: Retrying: <pip.X object at 0x7>: [Errno -2] Name or service not known')",
            "[Errno -2] Name or",
        ),
        ("ERROR: No matching distribution found for torch==9", "the lines above say why"),
        ("", "the lines above say why"),
    ],
)
def test_what_an_installer_prints_becomes_a_sentence(
    printed: str, said: str, set_up: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in str(set_up.failure(printed, tmp_path))
    # What we could not explain is shown as it was.
    shown = capsys.readouterr().err
    assert shown.split() == (printed.split() if "above" in said else [])


def test_a_folder_that_is_a_file_is_said(clone: Path) -> None:
    (clone / ".venv").touch()
    answer = subprocess.run(
        [sys.executable, "scripts/set_up.py", "run"], cwd=clone, capture_output=True, text=True
    )
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"plainlearn: the set-up cannot write to {clone / '.venv'}")
    assert len(answer.stderr.splitlines()) == 1


# ---------------------------------------------------------------- the doors


def targets() -> set[str]:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    return set(phony.group(1).split())


def test_make_alone_tells_every_target() -> None:
    if shutil.which("make") is None:
        pytest.skip("no make here")
    answer = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = set(re.findall(r"^  make ([a-z-]+) +\w", answer.stdout, re.MULTILINE))
    assert listed == targets()


def test_the_pages_name_only_targets_that_exist() -> None:
    for page in ("CONTRIBUTING.md", "README.md"):
        if (ROOT / page).exists():
            named = set(re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text()))
            assert named <= targets(), page


def test_ci_runs_the_tests_last_and_fails_when_anything_does() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    commands = [line for line in script.read_text().splitlines() if line.lstrip().startswith("make ")]
    assert "make" in commands[-1]
    assert " test " in commands[-1]


@pytest.mark.parametrize(("check", "test", "status"), [(0, 0, 0), (1, 0, 1), (0, 1, 1), (2, 2, 2)])
def test_ci_leaves_with_the_worst_status(
    check: int, test: int, status: int, clone: Path, tmp_path: Path
) -> None:
    (clone / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", clone / ".ci")
    (clone / "Makefile").write_text(f"check:\n\t@exit {check}\ntest:\n\t@echo tested; exit {test}\n")
    bash, make = shutil.which("bash"), shutil.which("make")
    if bash is None or make is None:
        pytest.skip("no bash or no make here")
    answer = subprocess.run(
        [bash, ".ci/run"], cwd=clone, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert (answer.returncode != 0) == (status != 0)
    assert answer.stdout == "tested\n"
