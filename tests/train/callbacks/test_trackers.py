"""A tracker is told every step and every row once, in one run, whether it was interrupted or not."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from plainlearn.core.errors import MissingExtraError
from plainlearn.train import Callback, Learner
from plainlearn.train.callbacks.trackers import MLflowCallback, TensorBoardCallback, Tracker, WandbCallback

Make = Callable[..., Learner]


class Fake(Tracker):
    """Writes down what a vendor's library would be told."""

    library: ClassVar[str] = "csv"

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[int, dict[str, float]]] = []
        self.events: list[Any] = []

    def open(self, run: str | None, facts: Mapping[str, Any]) -> str:
        self.events.append(("open", run, dict(facts)))
        return run or "run-1"

    def tell(self, steps: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        self.told += [(step, dict(numbers)) for step, numbers in steps]

    def close(self, *, finished: bool) -> None:
        self.events.append(("close", finished))


def test_every_step_and_every_row_is_told_once(make_learner: Make) -> None:
    fake, learn = Fake(), make_learner()
    learn.fit(2, lr=0.1, cbs=fake)
    steps = [(step, numbers) for step, numbers in fake.told if "step_loss" in numbers]
    assert [step for step, _ in steps] == [1, 2, 3, 4, 5, 6]
    assert [numbers["step_loss"] for _, numbers in steps] == learn.recorder.losses
    rows = [(step, numbers) for step, numbers in fake.told if "valid_loss" in numbers]
    assert [step for step, _ in rows] == [3, 6]
    assert [[numbers["train_loss"], numbers["valid_loss"]] for _, numbers in rows] == learn.recorder.values
    opened, closed = fake.events
    assert (opened[2]["model"], opened[2]["lr"], opened[2]["epochs"]) == ("Linear", 0.1, 2)
    assert closed == ("close", True)


def test_without_validation_nothing_is_told_of_it(make_learner: Make) -> None:
    fake = Fake()
    make_learner(valid=None).fit(1, cbs=fake)
    assert all("valid_loss" not in numbers for _, numbers in fake.told)


def test_a_run_that_fails_is_closed_as_failed(make_learner: Make) -> None:
    class Fail(Callback):
        def on_batch(self, learner: Learner, batch: Any) -> Any:
            if learner.epoch == 1:
                raise KeyboardInterrupt
            return batch

    fake = Fake()
    with pytest.raises(KeyboardInterrupt):
        make_learner().fit(2, cbs=[fake, Fail()])
    assert fake.events[-1] == ("close", False)


def test_a_resumed_run_goes_on_in_the_same(make_learner: Make) -> None:
    first, second = Fake(), Fake()
    learn = make_learner()
    learn.fit(1, cbs=first)
    state = first.state_dict()

    class Resume(Callback):
        def fit_scope(self, learner: Learner) -> Any:
            learner.recorder.load_state_dict(record)
            second.load_state_dict(state)
            return super().fit_scope(learner)

    record = learn.recorder.state_dict()
    learn.fit(1, cbs=[second, Resume()])
    assert second.events[0][1] == "run-1"
    assert [step for step, _ in second.told] == [4, 5, 6, 6]


@pytest.mark.parametrize("kind", [TensorBoardCallback, WandbCallback, MLflowCallback])
def test_a_library_that_is_missing_is_named(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingExtraError, match=f"{kind.__name__} needs the library {kind.library}"
    ) as caught:
        kind()
    assert caught.value.try_ == 'pip install "plainlearn[tracking]"'


# ---------------------------------------------------------------- the vendors' own libraries, without a network


@pytest.mark.filterwarnings("default")
def test_tensorboard_reads_back_what_was_told(make_learner: Make, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    learn = make_learner()
    learn.fit(2, cbs=TensorBoardCallback(tmp_path, name="one"))
    events = EventAccumulator(str(tmp_path / "one"))
    events.Reload()
    assert [event.value for event in events.Scalars("step_loss")] == pytest.approx(learn.recorder.losses)
    assert [event.step for event in events.Scalars("valid_loss")] == [3, 6]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("store", ["sqlite:///{}/runs.db"])
def test_mlflow_reads_back_what_was_told(
    make_learner: Make, tmp_path: Path, store: str, monkeypatch: Any
) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.chdir(tmp_path)
    from mlflow.tracking import MlflowClient

    uri = store.format(tmp_path)
    learn = make_learner()
    learn.fit(2, cbs=MLflowCallback(uri, experiment="pets"))
    client = MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("pets").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["model"] == "Linear"
    told = client.get_metric_history(run.info.run_id, "step_loss")
    assert [each.value for each in sorted(told, key=lambda each: each.step)] == learn.recorder.losses


@pytest.mark.filterwarnings("default")
def test_wandb_keeps_what_was_told_in_a_folder(make_learner: Make, tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    tracker = WandbCallback(project="pets", mode="offline", dir=str(tmp_path))
    learn = make_learner()
    learn.fit(2, cbs=tracker)
    (kept,) = tmp_path.rglob("run-*.wandb")
    content = kept.read_bytes()
    assert b"step_loss" in content
    assert repr(learn.recorder.values[-1][1])[:8].encode() in content
