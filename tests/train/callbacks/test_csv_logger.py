"""The table on disk is the table of the run, after every epoch, resumed or not."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plainlearn.core.errors import DataError, StorageError
from plainlearn.metrics import mae
from plainlearn.train import Callback, Epoch, Learner
from plainlearn.train.callbacks.csv_logger import CSVLogger

Make = Callable[..., Learner]


def rows_of(file: Path) -> list[list[str]]:
    with file.open(newline="") as lines:
        return list(csv.reader(lines))


def test_the_file_is_the_table(make_learner: Make, tmp_path: Path) -> None:
    learn = make_learner(path=tmp_path, metrics=mae)
    learn.fit(3, cbs=CSVLogger())
    header, *rows = rows_of(tmp_path / "history.csv")
    assert header == ["epoch", "train_loss", "valid_loss", "mae", "time"]
    assert [int(row[0]) for row in rows] == [0, 1, 2]
    assert [[float(cell) for cell in row[1:-1]] for row in rows] == learn.recorder.values


def test_every_row_is_there_before_the_next_epoch(make_learner: Make, tmp_path: Path) -> None:
    found = []

    class Look(Callback):
        def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
            found.append(len(rows_of(tmp_path / "runs" / "h.csv")))

    make_learner(path=tmp_path).fit(3, cbs=[CSVLogger("runs/h.csv"), Look()])
    assert found == [2, 3, 4]


@pytest.mark.parametrize(("append", "epochs"), [(False, ["0"]), (True, ["0", "1", "0"])])
def test_a_second_run_replaces_or_appends(
    make_learner: Make, tmp_path: Path, append: bool, epochs: list[str]
) -> None:
    learn = make_learner(path=tmp_path, cbs=CSVLogger(append=append))
    learn.fit(2)
    learn.fit(1)
    assert [row[0] for row in rows_of(tmp_path / "history.csv")] == ["epoch", *epochs]


def test_a_number_that_there_is_none_of_is_empty(make_learner: Make, tmp_path: Path) -> None:
    make_learner(path=tmp_path, valid=None).fit(1, cbs=CSVLogger())
    assert rows_of(tmp_path / "history.csv")[1][2] == ""


@pytest.mark.parametrize("append", [False, True])
def test_a_resumed_run_repeats_no_row(make_learner: Make, tmp_path: Path, append: bool) -> None:
    """Killed in the third epoch, resumed from what was saved after the first."""
    if append:
        (tmp_path / "history.csv").write_text("epoch,train_loss,valid_loss,time\n0,1,1,1\n")
    states = []

    class Save(Callback):
        def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
            states.append(log.state_dict())

    class Resume(Callback):
        def fit_scope(self, learner: Learner) -> Any:
            resumed.load_state_dict(states[0])
            learner.epoch = 1
            return super().fit_scope(learner)

    log, resumed = CSVLogger(append=append), CSVLogger(append=append)
    make_learner(path=tmp_path).fit(3, cbs=[log, Save()])
    make_learner(path=tmp_path).fit(2, cbs=[resumed, Resume()])
    expected = ["epoch", *(["0"] if append else []), "0", "1"]
    assert [row[0] for row in rows_of(tmp_path / "history.csv")] == expected


def test_what_cannot_be_written_is_said_before_training(make_learner: Make, tmp_path: Path) -> None:
    (tmp_path / "history.csv").mkdir()
    learn = make_learner(path=tmp_path)
    with pytest.raises(
        StorageError, match=r"the table of the run cannot be written to .*history\.csv: Is a directory"
    ):
        learn.fit(1, cbs=CSVLogger())
    (tmp_path / "other.csv").write_text("epoch,accuracy\n")
    with pytest.raises(DataError, match=r"has the columns epoch, accuracy, and this run epoch, train_loss"):
        learn.fit(1, cbs=CSVLogger("other.csv", append=True))
    assert learn.recorder.losses == []


def test_a_file_of_somebody_s_own_is_refused_before_training(make_learner: Make, tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("year,event\n1815,Waterloo\n")
    learn = make_learner(path=tmp_path)
    with pytest.raises(StorageError, match=r"history\.csv is there already, and plainlearn did not make it"):
        learn.fit(1, cbs=CSVLogger())
    assert (tmp_path / "history.csv").read_text() == "year,event\n1815,Waterloo\n"
    for _ in range(2):  # the second time over its own
        learn.fit(1, cbs=CSVLogger("other.csv"))
