"""Bad input gives one sentence: the thing, what was found, what was expected, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from plainlearn.core.errors import (
    ArgumentError,
    ArgumentTypeError,
    DataError,
    PlainlearnError,
)
from plainlearn.metrics import accuracy
from plainlearn.optim import SGD
from plainlearn.train import Callback, Learner

Make = Callable[..., Learner]


def one_sentence(error: PlainlearnError) -> str:
    """The message, if it is at most a sentence and a line of advice."""
    what, _, advice = str(error).partition("\n  Try ")
    assert "\n" not in what + advice
    return what


# ---------------------------------------------------------------- what a learner is made of


@pytest.mark.parametrize(
    ("given", "kind", "found", "advice"),
    [
        ({"model": nn.Linear}, ArgumentTypeError, "the model is type <class 'torch.nn.*>; expected an nn.Module", "Linear(…)"),
        ({"model": lambda x: x}, ArgumentTypeError, "expected an nn.Module", "<lambda>(…)"),
        ({"model": "resnet18"}, ArgumentTypeError, "the model is str 'resnet18'; expected", "nn.Linear(784, 1)"),
        ({"loss_func": None}, ArgumentError, "no loss was given and the data do not imply one", "loss_func=F.cross_entropy"),
        ({"loss_func": "mse"}, ArgumentTypeError, "loss_func is str 'mse'; expected a function", "loss_func="),
        ({"loss_func": dict}, ArgumentTypeError, "loss_func is type <class 'dict'>", "loss_func="),
        ({"metrics": "accuracy"}, ArgumentTypeError, "the metric 'accuracy' is no function", "metrics=accuracy"),
        ({"metrics": [accuracy, 3]}, ArgumentTypeError, "the metric 3 is no function", "metrics=accuracy"),
        ({"cbs": "progress"}, ArgumentTypeError, "cbs has str 'progress'; expected a Callback", "cbs=Mine()"),
        ({"cbs": [Callback(), print]}, ArgumentTypeError, "cbs has builtin_function_or_method", "cbs=Mine()"),
        ({"cbs": [dict]}, ArgumentTypeError, "cbs has type <class 'dict'>", "cbs=Mine()"),
        ({"device": "tpu9"}, ArgumentError, "device 'tpu9' is not one that torch knows", "'cpu'"),
    ],
)  # fmt: skip
def test_what_a_learner_cannot_be_made_of_is_named(
    make_learner: Make, given: Any, kind: Any, found: str, advice: str
) -> None:
    with pytest.raises(kind) as caught:
        make_learner(**given)
    expected = found.partition("*")
    assert expected[0] in one_sentence(caught.value)
    assert expected[2] in one_sentence(caught.value)
    assert advice in str(caught.value).partition("\n  Try ")[2]


def test_loaders_without_train_and_valid_are_named(batches: Any) -> None:
    with pytest.raises(
        ArgumentTypeError, match="dls is a tuple; expected loaders with train and valid"
    ) as caught:
        Learner((batches(4), batches(4)), nn.Linear(3, 1), nn.functional.mse_loss)  # pyright: ignore[reportArgumentType]
    assert "Try DataLoaders(dl, valid_dl)" in str(caught.value)


def test_what_is_set_afterwards_is_held_to_the_same(make_learner: Make) -> None:
    learn = make_learner()
    for name in ("dls", "loss_func", "metrics"):
        before = getattr(learn, name)
        with pytest.raises(ArgumentTypeError):
            setattr(learn, name, "bad")
        assert getattr(learn, name) is before
    with pytest.raises(ArgumentError, match="no loss was given"):
        learn.loss_func = None


# ---------------------------------------------------------------- what fit is given


@pytest.mark.parametrize(
    ("n_epoch", "kind", "found"),
    [
        (0, ArgumentError, "n_epoch is 0; expected 1 or more"),
        (-1, ArgumentError, "n_epoch is -1; expected 1 or more"),
        (2.5, ArgumentTypeError, "n_epoch is float 2.5; expected a whole number of 1 or more"),
        (True, ArgumentTypeError, "n_epoch is bool True; expected a whole number of 1 or more"),
        ("3", ArgumentTypeError, "n_epoch is str '3'; expected a whole number of 1 or more"),
        (None, ArgumentTypeError, "n_epoch is NoneType None; expected a whole number of 1 or more"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "fit_one_cycle", "fit_flat_cos"])
def test_a_number_of_epochs_that_is_none_is_refused(
    make_learner: Make, method: str, n_epoch: Any, kind: Any, found: str
) -> None:
    learn = make_learner()
    with pytest.raises(kind) as caught:
        getattr(learn, method)(n_epoch)
    assert one_sentence(caught.value) == found
    assert learn.recorder.losses == []


def test_a_whole_number_of_numpy_s_is_a_number_of_epochs(make_learner: Make) -> None:
    learn = make_learner()
    learn.fit(np.int64(2))
    assert len(learn.recorder.values) == 2


@pytest.mark.parametrize("method", ["fit", "fit_one_cycle", "fit_flat_cos"])
@pytest.mark.parametrize(
    "lr", [0, -0.1, float("nan"), float("inf"), "fast", slice(None), slice(0, 1), True, [0.1, 0.1]]
)
def test_a_learning_rate_that_is_none_is_refused_before_anything_moves(
    make_learner: Make, method: str, lr: Any
) -> None:
    learn = make_learner()
    weight = learn.model.weight.clone()
    with pytest.raises((ArgumentError, ArgumentTypeError), match="lr "):
        getattr(learn, method)(1, lr)
    assert torch.equal(weight, learn.model.weight)


def test_a_learning_rate_of_the_learner_s_is_held_to_the_same(make_learner: Make) -> None:
    with pytest.raises(ArgumentError, match="lr is nan"):
        make_learner(lr=float("nan")).fit(1)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"moms": (0.9, 0.8)}, r"moms is \(0.9, 0.8\); expected three numbers"),
        ({"moms": (0.95, 1.0, 0.95)}, "expected three numbers of 0 or more and below 1"),
        ({"div": 0}, "div is 0; expected a number above 0"),
        ({"div_final": float("nan")}, "div_final is nan; expected a number above 0"),
        ({"pct_start": 1.5}, "pct is 1.5; expected a share of the run, 0..1"),
    ],
)
def test_a_cycle_that_cannot_be_is_refused(make_learner: Make, given: Any, found: str) -> None:
    with pytest.raises(ArgumentError, match=found):
        make_learner().fit_one_cycle(1, **given)


def test_a_schedule_needs_a_loader_with_a_length(make_learner: Make, batches: Any, capsys: Any) -> None:
    class Stream:
        def __iter__(self) -> Iterator[Any]:
            return iter(batches(4, 4))

    learn = make_learner(train=Stream(), valid=Stream())
    with pytest.raises(ArgumentError, match="a schedule needs to know how long an epoch is"):
        learn.fit_one_cycle(1)
    assert learn.recorder.losses == []
    learn.fit(2)
    assert len(learn.recorder.losses) == 4


def test_a_schedule_needs_an_optimizer_with_groups(make_learner: Make) -> None:
    class Bare:
        def __init__(self, params: Any, lr: float) -> None:
            self.lr = lr

        def step(self) -> None: ...
        def zero_grad(self) -> None: ...

    with pytest.raises(ArgumentError, match="a schedule needs an optimizer with param_groups; Bare has none"):
        make_learner(opt_func=Bare).fit_one_cycle(1)


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (nn.Flatten(), "the model Flatten has no parameter to train; a fit would change nothing"),
        (nn.Linear(3, 1).requires_grad_(False), "the model Linear has no parameter to train: all 2 of its parameters are frozen"),
    ],
)  # fmt: skip
def test_a_model_with_nothing_to_train_is_refused(make_learner: Make, model: nn.Module, found: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make_learner(model=model).fit(1)
    assert one_sentence(caught.value) == found


@pytest.mark.parametrize("opt_func", ["adam", lambda params, lr: None, lambda params, lr: 1])
def test_an_opt_func_that_makes_no_optimizer_is_refused(make_learner: Make, opt_func: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=r"opt_func .*expected"):
        make_learner(opt_func=opt_func).fit(1)


# ---------------------------------------------------------------- the data


def generator(data: Any) -> Iterator[Any]:
    yield from data


@pytest.mark.parametrize("which", ["train", "valid"])
def test_batches_that_can_be_read_only_once_are_refused(make_learner: Make, batches: Any, which: str) -> None:
    names = {"train": "training", "valid": "validation"}
    learn = make_learner(**{which: generator(batches(4))})
    with pytest.raises(
        DataError, match=rf"the {names[which]} batches are an iterator \(generator\)"
    ) as caught:
        learn.fit(1)
    assert "Try list(batches), or a DataLoader" in str(caught.value)


@pytest.mark.parametrize("which", ["train", "valid"])
@pytest.mark.parametrize(
    "empty", [[], (), torch.utils.data.DataLoader(range(3), batch_size=8, drop_last=True)]
)  # pyright: ignore[reportArgumentType]
def test_a_loader_without_a_batch_is_refused(make_learner: Make, which: str, empty: Any) -> None:
    names = {"train": "training", "valid": "validation"}
    with pytest.raises(
        DataError, match=f"the {names[which]} loader has no batch; expected at least one"
    ) as caught:
        make_learner(**{which: empty}).fit(1)
    assert "Try a smaller bs, drop_last=False, or more items" in str(caught.value)


class Nothing:
    """A stream that ends at once, and does not say so beforehand."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def test_a_stream_without_a_batch_is_found_out_in_its_first_epoch(make_learner: Make) -> None:
    with pytest.raises(DataError, match="the training loader gave no batch in epoch 0"):
        make_learner(train=Nothing()).fit(2)
    with pytest.raises(DataError, match="there is no batch to validate on"):
        make_learner(valid=Nothing()).fit(2)


@pytest.mark.parametrize("which", ["train", "valid"])
def test_batches_that_are_none_are_named(make_learner: Make, which: str) -> None:
    with pytest.raises(ArgumentTypeError, match="batches are int 3; expected an iterable of batches"):
        make_learner(**{which: 3}).fit(1)


@pytest.mark.parametrize("batch", [{"x": torch.zeros(4, 3)}, "ab", 3, (), None])
def test_a_batch_that_is_none_is_named(make_learner: Make, batch: Any) -> None:
    learn = make_learner(train=[batch], valid=None)
    with pytest.raises(ArgumentTypeError, match=r"a batch is .*; expected a tuple"):
        learn.fit(1)


def test_an_on_batch_that_forgets_to_return_is_told_so(make_learner: Make) -> None:
    class Forgetful(Callback):
        def on_batch(self, learner: Learner, batch: Any) -> Any:
            batch[0].mul_(2)

    with pytest.raises(ArgumentTypeError, match="a batch is None") as caught:
        make_learner(cbs=Forgetful()).fit(1)
    assert "Try return batch, at the end of on_batch" in str(caught.value)


# ---------------------------------------------------------------- what is asked of it


@pytest.mark.parametrize("ds_idx", [2, -1, "valid", None])
def test_a_part_of_the_data_that_is_not_there_is_named(make_learner: Make, ds_idx: Any) -> None:
    learn = make_learner()
    for use in (learn.validate, learn.get_preds):
        with pytest.raises(ArgumentError, match=r"ds_idx is .*; expected 0, training, or 1, validation"):
            use(ds_idx)


def test_without_validation_data_there_is_nothing_to_validate(make_learner: Make) -> None:
    learn = make_learner(valid=None)
    for use in (learn.validate, learn.get_preds):
        with pytest.raises(DataError, match="there is no validation data"):
            use()


def test_rates_for_more_depths_than_there_are_are_refused(make_learner: Make) -> None:
    with pytest.raises(ArgumentError, match="lr has 2 rates and the model 1 parameter groups"):
        make_learner(opt_func=SGD).fit(1, [0.1, 0.2])
