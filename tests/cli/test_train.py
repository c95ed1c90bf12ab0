"""`plainlearn train` and `plainlearn eject`: what is said, what the files are called, and how the command ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from plainlearn import runs
from plainlearn.cli.root import _app as app  # pyright: ignore[reportPrivateUsage]
from plainlearn.runs import Outcome, RunConfig
from plainlearn.runs.record import Record

OUTCOME = Outcome("a.plain", "a.html", "accuracy", 0.75, 0.5, 0.9, 20, 3, "tuned", {"a guess": 0.25}, 12.0)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[RunConfig]:
    """What the runs were asked for, in an empty folder; none is run."""
    monkeypatch.chdir(tmp_path)
    configs: list[RunConfig] = []

    def run(one: RunConfig, **more: Any) -> Outcome:
        configs.append(one)
        print("a row of a table")
        return OUTCOME

    monkeypatch.setattr(runs, "train", run)
    return configs


def test_ten_minutes_and_the_folder_s_name_are_what_is_meant_by_nothing(given: list[RunConfig]) -> None:
    answer = CliRunner().invoke(app, ["train", "photos of mine"])
    assert answer.exit_code == 0, answer.output
    assert (given[0].minutes, given[0].epochs, given[0].out) == (10.0, None, "photos of mine.plain")
    assert "0.750 on 20 images (95% between 0.500 and 0.900)" in answer.output
    assert "plainlearn serve a.plain" in answer.output


def test_json_is_all_that_the_output_holds(given: list[RunConfig]) -> None:
    answer = CliRunner().invoke(app, ["train", "photos", "--epochs", "2", "--json"])
    assert json.loads(answer.stdout)["value"] == 0.75
    assert "a row of a table" in answer.stderr


def stopped_run(config: RunConfig) -> None:
    config.run_folder.mkdir()
    Record(config).write()


def test_the_next_run_has_the_next_free_name_and_resume_the_one_that_was_stopped(
    given: list[RunConfig],
) -> None:
    Path("photos.plain").write_text("of an earlier run")
    stopped_run(RunConfig("photos", "photos-2.plain", minutes=3))
    for more in ([], ["--resume"], ["--out", "other.plain"]):
        CliRunner().invoke(app, ["train", "photos", *more])
    assert [one.out for one in given] == ["photos-3.plain", "photos-2.plain", "other.plain"]
    assert given[1].minutes == 3
    Path("photos-2.run/run.json").unlink()
    answer = CliRunner().invoke(app, ["train", "photos", "--resume"])
    assert "photos.run is no folder of a run" in str(answer.exception)


def test_a_run_goes_on_as_it_was_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stopped_run(RunConfig("photos", "photos.plain", epochs=3, size=96))
    for more, told in (
        (["--size", "64"], "had 96 as size, and this is 64"),
        (["--minutes", "1"], "one of them"),
    ):
        answer = CliRunner().invoke(app, ["train", "photos", "--resume", *more])
        assert told in str(answer.exception)


def test_ctrl_c_says_how_to_go_on_and_leaves_with_130(
    given: list[RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(one: RunConfig, **more: Any) -> Outcome:
        one.run_folder.mkdir()
        (one.run_folder / "run.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "train", stopped)
    answer = CliRunner().invoke(app, ["train", "my photos", "--minutes", "1"])
    assert answer.exit_code == 130
    assert "plainlearn train 'my photos' --out 'my photos.plain' --resume" in answer.stderr


def test_every_option_reaches_the_run(given: list[RunConfig]) -> None:
    options = {
        "minutes": 3.5, "arch": "resnet18", "size": 96, "valid": 0.3, "labels": "a.csv", "file_col": "f", "label_col": "l",
        "label_delim": ";", "devices": 2, "seed": 7,
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    answer = CliRunner().invoke(app, ["train", "photos", "--balance", *words])
    assert answer.exit_code == 0, answer.output
    assert given[0] == RunConfig("photos", "photos.plain", balance=True, **options)  # type: ignore[arg-type]
