"""The learner around the loop: what may be set on it, what is used then, and what a typo gives."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from plainlearn.core.errors import ArgumentError
from plainlearn.optim import SGD
from plainlearn.train import Learner, Result

Make = Callable[..., Learner]


@pytest.mark.parametrize("name", ["mdoel", "loss_fn", "optimiser"])
def test_a_typo_names_the_learner(make_learner: Make, name: str) -> None:
    learn = make_learner()
    with pytest.raises(AttributeError, match=f"'Learner' object has no attribute '{name}'"):
        getattr(learn, name)
    with pytest.raises(AttributeError, match=f"'Learner' object has no attribute '{name}'"):
        setattr(learn, name, 1)


def test_the_optimizer_is_not_to_be_set(make_learner: Make) -> None:
    learn = make_learner()
    assert learn.optimizer is None
    with pytest.raises(AttributeError, match="'optimizer' of 'Learner' object has no setter"):
        learn.optimizer = SGD(learn.model.parameters(), 0.1)


def test_the_loss_is_the_one_that_the_data_imply(batches: Any) -> None:
    dls = SimpleNamespace(train=batches(4), valid=None, loss_func=nn.functional.l1_loss)
    learn = Learner(dls, nn.Linear(3, 1), device="cpu")
    assert learn.loss_func is nn.functional.l1_loss
    assert (
        Learner(dls, nn.Linear(3, 1), nn.functional.mse_loss, device="cpu").loss_func
        is nn.functional.mse_loss
    )


def test_a_class_of_loss_will_do(make_learner: Make) -> None:
    learn = make_learner(loss_func=nn.L1Loss)
    assert isinstance(learn.loss_func, nn.L1Loss)
    learn.fit(1)


def test_a_loss_set_afterwards_is_used(make_learner: Make) -> None:
    learn = make_learner()
    before = learn.validate()[0]
    learn.loss_func = lambda predictions, targets: nn.functional.mse_loss(predictions, targets) * 2
    assert learn.validate()[0] == pytest.approx(before * 2)


def test_a_loss_set_afterwards_leaves_a_step_of_one_s_own(make_learner: Make) -> None:
    def step(model: nn.Module, batch: Any) -> Result:
        return Result(model(batch[0]).square().mean(), None, ())

    learn = make_learner(step=step)
    learn.loss_func = nn.functional.l1_loss
    learn.dls = learn.dls
    assert learn.step is step


def test_metrics_set_afterwards_are_used(make_learner: Make) -> None:
    learn = make_learner()
    learn.metrics = lambda predictions, targets: 0.25
    assert learn.validate()[1:] == [0.25]
    learn.metrics = [nn.functional.l1_loss, nn.functional.mse_loss]
    assert len(learn.validate()) == 3
    assert list(learn.metrics) == [nn.functional.l1_loss, nn.functional.mse_loss]
    learn.metrics = None
    assert len(learn.validate()) == 1


def test_a_learner_says_what_it_is(make_learner: Make) -> None:
    assert repr(make_learner()) == "Learner(Linear, loss_func=mse_loss, on cpu)"


def test_the_path_is_the_data_s_unless_given(make_learner: Make, batches: Any) -> None:
    from plainlearn.core.paths import Path

    dls = SimpleNamespace(train=batches(4), valid=None, path="data/pets")
    learn = Learner(dls, nn.Linear(3, 1), nn.functional.mse_loss, device="cpu")
    assert (learn.path, learn.model_dir) == (Path("data/pets"), Path("models"))
    assert isinstance(learn.path, Path)
    assert make_learner(path="elsewhere").path == Path("elsewhere")


def test_the_way_out_is_named_with_the_line_to_type(make_learner: Make) -> None:
    with pytest.raises(ArgumentError, match="a learner does not write scripts itself") as caught:
        make_learner().eject("train.py", recipe="fine_tune", epochs=4)
    assert "plainlearn.eject(learn, 'train.py', recipe='fine_tune', epochs=4)" in str(caught.value)
