"""SaveModel keeps the best weights and hands them back, and saves what was validated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from plainlearn.core.errors import ArgumentError, StorageError
from plainlearn.train import Callback, Epoch, Learner
from plainlearn.train.callbacks.averaging import EMA
from plainlearn.train.callbacks.save_model import SaveModel, SaveModelCallback

Make = Callable[..., Learner]


class Remember(Callback):
    """The weights at the end of each epoch, as they were validated."""

    def __init__(self) -> None:
        self.weights: list[Tensor] = []

    def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
        with learner.as_validated():
            self.weights.append(weight_of(learner))


def weight_of(learn: Learner) -> Tensor:
    return learn.model.weight.detach().clone()  # type: ignore[operator, union-attr]


def files(folder: Path) -> list[str]:
    return sorted(file.stem for file in (folder / "models").iterdir())


def test_the_best_weights_are_there_at_the_end(make_learner: Make, scripted: Any, tmp_path: Path) -> None:
    remember = Remember()
    learn = make_learner(metrics=scripted("accuracy", [0.5, 0.9, 0.6, 0.7]), path=tmp_path)
    learn.fit(4, cbs=[SaveModel("accuracy"), remember])
    assert torch.equal(weight_of(learn), remember.weights[1])
    assert files(tmp_path) == ["model"]


def test_each_epoch_is_saved_under_its_number(make_learner: Make, tmp_path: Path) -> None:
    remember, learn = Remember(), make_learner(path=tmp_path)
    learn.fit(4, cbs=[SaveModel(every_epoch=2, fname="m"), remember])
    assert files(tmp_path) == ["m_1", "m_3"]
    assert torch.equal(weight_of(learn), remember.weights[3])
    assert torch.equal(weight_of(learn.load("m_1")), remember.weights[1])


def test_at_end_saves_the_last(make_learner: Make, scripted: Any, tmp_path: Path) -> None:
    remember = Remember()
    learn = make_learner(metrics=scripted("accuracy", [0.9, 0.5]), path=tmp_path)
    learn.fit(2, cbs=[SaveModel("accuracy", at_end=True), remember])
    assert torch.equal(weight_of(learn.load("model")), remember.weights[1])


def test_with_averages_the_best_average_is_kept(make_learner: Make, scripted: Any, tmp_path: Path) -> None:
    remember = Remember()
    learn = make_learner(metrics=scripted("accuracy", [0.5, 0.9, 0.6]), path=tmp_path)
    learn.fit(3, cbs=[SaveModel("accuracy"), EMA(0.5), remember])
    assert torch.equal(weight_of(learn), remember.weights[1])


def test_averages_that_would_overwrite_the_best_are_refused(make_learner: Make, tmp_path: Path) -> None:
    with pytest.raises(
        ArgumentError, match="EMA comes before SaveModel, and would overwrite the best"
    ) as caught:
        make_learner(path=tmp_path).fit(1, cbs=[EMA(), SaveModel()])
    assert caught.value.try_ == "cbs=[SaveModel(), EMA()]"


def test_a_run_that_fails_loads_nothing(make_learner: Make, scripted: Any, tmp_path: Path) -> None:
    class Fail(Callback):
        def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
            if epoch.number == 1:
                self.weight = weight_of(learner)
                raise KeyboardInterrupt

    fail, learn = Fail(), make_learner(metrics=scripted("accuracy", [0.9, 0.5]), path=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        learn.fit(3, cbs=[SaveModel("accuracy"), fail])
    assert torch.equal(weight_of(learn), fail.weight)
    assert files(tmp_path) == ["model"]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ArgumentError, match="every_epoch is -1; expected True, or a number of epochs"):
        SaveModel(every_epoch=-1)
    assert SaveModelCallback is SaveModel


@pytest.mark.parametrize(("name", "settings"), [("model", {}), ("m_3", {"every_epoch": 2, "fname": "m"})])
def test_a_file_of_somebody_s_own_is_refused_before_training(
    name: str, settings: dict[str, Any], make_learner: Make, tmp_path: Path
) -> None:
    file = tmp_path / "models" / f"{name}.safetensors"
    file.parent.mkdir()
    file.write_text("mine")
    learn = make_learner(path=tmp_path)
    with pytest.raises(StorageError, match=r"plainlearn did not make it[\s\S]*Try another fname$"):
        learn.fit(4, cbs=SaveModel(**settings))
    assert files(tmp_path) == [name] and file.read_text() == "mine" and not learn.recorder.values
