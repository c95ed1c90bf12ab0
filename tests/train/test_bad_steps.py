"""A loss, a metric or a model that cannot work says so in one sentence; what is the user's own comes out as it is."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainlearn.core.errors import (
    ArgumentError,
    LossError,
    MetricError,
    PlainlearnError,
)
from plainlearn.metrics import accuracy
from plainlearn.train import Callback, Learner

Make = Callable[..., Learner]


def one_sentence(error: PlainlearnError) -> str:
    """The message, if it is at most a sentence and a line of advice."""
    what, _, advice = str(error).partition("\n  Try ")
    assert "\n" not in what + advice
    return what


# ---------------------------------------------------------------- the loss


def test_a_loss_that_needs_other_shapes_is_named_with_both_shapes(make_learner: Make) -> None:
    learn = make_learner(loss_func=nn.functional.cross_entropy)
    learn.dls = SimpleNamespace(train=[(torch.zeros(4, 3), torch.zeros(5, dtype=torch.long))], valid=None)
    with pytest.raises(LossError) as caught:
        learn.fit(1)
    assert one_sentence(caught.value).startswith(
        "the loss cross_entropy cannot compare predictions of shape (4, 1) (float32) with targets of shape (5,) (int64): "
    )
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_loss_without_targets_says_so(make_learner: Make) -> None:
    with pytest.raises(LossError, match=r"predictions of shape \(4, 1\) \(float32\) with no targets"):
        make_learner().validate(dl=[(torch.zeros(4, 3),)])


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (torch.zeros(4), r"shape \(4,\) \(float32\)"),
        (0.5, "a float"),
        (None, "None"),
        ((torch.zeros(()), 1), r"\(shape \(\) \(float32\), a int\)"),
    ],
)
def test_a_loss_that_is_no_single_number_is_named(make_learner: Make, value: Any, found: str) -> None:
    def strange(predictions: Tensor, targets: Tensor) -> Any:
        return value

    with pytest.raises(LossError, match=f"the loss strange gave {found}; expected one number to minimise"):
        make_learner(loss_func=strange).fit(1)


def test_a_loss_of_one_number_in_a_vector_will_do(make_learner: Make) -> None:
    learn = make_learner(loss_func=lambda p, y: (p - y).abs().mean().reshape(1))
    learn.fit(1)
    assert learn.recorder.losses


def test_what_a_loss_raises_of_its_own_comes_out_as_it_is(make_learner: Make) -> None:
    class OwnError(ValueError):
        pass

    error = OwnError("mine")

    def fail(predictions: Tensor, targets: Tensor) -> Tensor:
        raise error

    with pytest.raises(OwnError) as caught:
        make_learner(loss_func=fail).fit(1)
    assert caught.value is error


def test_running_out_of_memory_in_the_loss_stays_what_it_is(make_learner: Make) -> None:
    def fail(predictions: Tensor, targets: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        make_learner(loss_func=fail).fit(1)


@pytest.mark.parametrize(
    ("model", "target"), [(nn.Linear(3, 1), (8,)), (nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)), (8, 1))]
)
def test_a_column_against_a_row_is_warned_of_once(make_learner: Make, model: nn.Module, target: Any) -> None:
    def mine(predictions: Tensor, targets: Tensor) -> Tensor:
        return (predictions - targets).abs().mean()

    data = [(torch.randn(8, 3), torch.randn(target))] * 3
    learn = make_learner(model=model, train=data, valid=data, loss_func=mine)
    with pytest.warns(UserWarning, match="mine may compare each with every other. Use targets") as caught:
        learn.fit(2)
    assert len(caught) == 1


def test_a_first_batch_of_one_does_not_hide_the_column_against_the_row(make_learner: Make) -> None:
    data = [(torch.randn(size, 3), torch.randn(size)) for size in (1, 8)]
    with pytest.warns(UserWarning, match="may compare each with every other"):
        make_learner(train=data, valid=None, loss_func=lambda p, y: (p - y).abs().mean()).fit(1)


# ---------------------------------------------------------------- the metrics


def test_a_metric_that_fails_is_found_before_the_first_epoch(make_learner: Make) -> None:
    def broken(predictions: Tensor, targets: Tensor) -> Tensor:
        raise RuntimeError("no such thing\nand a second line")

    learn = make_learner(metrics=[nn.functional.l1_loss, broken])
    with pytest.raises(MetricError) as caught:
        learn.fit(1)
    assert one_sentence(caught.value) == (
        "the metric broken failed on predictions of shape (8, 1) (float32) and targets of shape (8, 1) (float32): no such thing"
    )
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert learn.recorder.losses == [], "an epoch was trained before the metric was tried"


def test_a_metric_of_classes_on_one_output_is_told_what_to_use(make_learner: Make) -> None:
    with pytest.raises(MetricError, match="two or more activations") as caught:
        make_learner(metrics=accuracy).fit(1)
    assert "Try accuracy_multi" in str(caught.value)


def test_a_metric_that_fails_at_its_end_is_named(make_learner: Make) -> None:
    class Late:
        def reset(self) -> None: ...
        def update(self, predictions: Tensor, targets: Tensor) -> None: ...
        def compute(self) -> Tensor:
            raise ZeroDivisionError

    with pytest.raises(MetricError, match="the metric Late failed: ZeroDivisionError"):
        make_learner(metrics=Late()).validate()


# ---------------------------------------------------------------- the device


def test_a_model_without_values_is_named(make_learner: Make) -> None:
    learn = make_learner(model=nn.Linear(3, 1, device="meta"))
    for use in (lambda: learn.fit(1), learn.validate, learn.get_preds):
        with pytest.raises(ArgumentError) as caught:
            use()
        assert one_sentence(caught.value) == (
            "the model Linear is on the meta device, where parameters have no values; expected cpu"
        )
    assert "Try model.to_empty(device='cpu')" in str(caught.value)


def test_a_model_that_a_callback_takes_to_another_device_is_named(make_learner: Make) -> None:
    class Away(Callback):
        def on_batch(self, learner: Learner, batch: Any) -> Any:
            learner.model.to("meta")
            return batch

    with pytest.raises(ArgumentError) as caught:
        make_learner(cbs=Away()).fit(1)
    assert one_sentence(caught.value) == (
        "the model Linear has parameters on meta and the batch is on cpu; expected one device"
    )


def test_what_a_model_raises_comes_out_as_it_is_with_a_note_of_the_shapes(make_learner: Make) -> None:
    learn = make_learner(train=[(torch.zeros(4, 5), torch.zeros(4, 1))])
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied") as caught:
        learn.fit(1)
    assert type(caught.value) is RuntimeError
    assert caught.value.__notes__ == ["This happened in the model Linear, given shape (4, 5) (float32)."]


def test_a_learner_can_be_used_again_after_an_interrupt(make_learner: Make) -> None:
    class Interrupt(Callback):
        def on_gradients(self, learner: Learner, result: Any) -> None:
            if (learner.epoch, learner.batches_done) == (1, 1):
                raise KeyboardInterrupt

    learn = make_learner(cbs=Interrupt())
    with pytest.raises(KeyboardInterrupt):
        learn.fit(3)
    assert len(learn.recorder.losses) == 4  # what was done is on record
    assert len(learn.recorder.values) == 1
    learn.recorder.plot_loss()
    learn.callbacks.pop()
    fresh = make_learner()
    fresh.model.load_state_dict(learn.model.state_dict())
    learn.fit(1)
    fresh.fit(1)
    assert torch.equal(learn.model.weight, fresh.model.weight), "a gradient was left over"
    assert len(learn.validate()) == 1


def test_an_interrupt_while_validating_leaves_the_model_in_its_mode(make_learner: Make) -> None:
    def interrupt(predictions: Tensor, targets: Tensor) -> Tensor:
        raise KeyboardInterrupt

    learn = make_learner()
    learn.model.train()
    learn.metrics = interrupt
    with pytest.raises(KeyboardInterrupt):
        learn.validate()
    assert learn.model.training
    assert torch.is_grad_enabled()
