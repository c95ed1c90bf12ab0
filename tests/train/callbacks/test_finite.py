"""A loss of nan or infinity stops the run before it reaches the weights, and says where and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainlearn.core.errors import NonFiniteLossError
from plainlearn.optim import SGD
from plainlearn.train import Callback, Learner, Result
from plainlearn.train.callbacks.finite import TerminateOnNaN, TerminateOnNaNCallback

Make = Callable[..., Learner]


class Break(Callback):
    """Spoils one batch, and writes down the weights before it."""

    def __init__(self, epoch: int, batch: int, value: float) -> None:
        self.where, self.value = (epoch, batch), value
        self.steps = 0

    def on_batch(self, learner: Learner, batch: Any) -> Any:
        if (learner.epoch, learner.batches_done) != self.where:
            return batch
        self.before = [parameter.detach().clone() for parameter in learner.model.parameters()]
        x, y = batch
        return torch.full_like(x, self.value), y

    def on_step(self, learner: Learner, result: Result) -> None:
        self.steps += 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_the_run_stops_within_the_batch_and_the_weights_are_untouched(
    make_learner: Make, value: float
) -> None:
    spoil = Break(1, 2, value)
    learn = make_learner(cbs=spoil)
    with pytest.raises(NonFiniteLossError) as caught:
        learn.fit(3, lr=0.25)
    found = "nan" if value != value else "inf"
    what, _, advice = str(caught.value).partition("\n  Try ")
    assert what == (
        f"the training loss became {found} in epoch 1, batch 2; the run was stopped. Usual causes: a learning rate "
        "that is too high (it was 0.25); nan or very large values in the data; a loss that divides by zero or takes "
        "the log of it"
    )
    assert advice.startswith("lr=0.025 with a new model")
    assert spoil.steps == 5
    assert all(torch.equal(a, b) for a, b in zip(spoil.before, learn.model.parameters(), strict=True))


def test_a_rate_that_is_too_high_is_found_out(make_learner: Make) -> None:
    learn = make_learner()
    with pytest.raises(FloatingPointError, match=r"the training loss became (inf|nan) in epoch"):
        learn.fit(500, lr=100.0)
    assert all(parameter.isfinite().all() for parameter in learn.model.parameters())


def test_the_learner_goes_on_from_finite_weights(make_learner: Make) -> None:
    spoil = Break(0, 1, float("nan"))
    learn = make_learner(cbs=spoil)
    with pytest.raises(NonFiniteLossError):
        learn.fit(1)
    learn.callbacks.remove(spoil)
    learn.fit(1)
    assert len(learn.recorder.losses) == 3


def test_a_validation_loss_of_nan_does_not_stop_the_run_but_is_shown(
    make_learner: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = make_learner(valid=[(torch.full((4, 3), float("nan")), torch.zeros(4, 1))])
    learn.fit(1)
    assert capsys.readouterr().out.splitlines()[1].split()[2] == "nan"


# ---------------------------------------------------------------- where a look would wait


@pytest.fixture
def on_cuda(batches: Any) -> Callable[..., Learner]:
    def make(**given: Any) -> Learner:
        from types import SimpleNamespace

        train = [(x.cuda(), y.cuda()) for x, y in batches(*[8] * 50)]
        dls = SimpleNamespace(train=train, valid=None)
        return Learner(dls, nn.Linear(3, 1), nn.functional.mse_loss, SGD, device="cuda", **given)

    return make


@pytest.mark.gpu
def test_no_step_waits_for_the_gpu(on_cuda: Make) -> None:
    class Watch(Callback):
        def on_batch(self, learner: Learner, batch: Any) -> Any:
            torch.cuda.set_sync_debug_mode("error" if learner.batches_done else "default")
            return batch

        def on_step(self, learner: Learner, result: Result) -> None:
            if learner.batches_done == learner.steps_of_epoch:
                torch.cuda.set_sync_debug_mode("default")

    try:
        on_cuda(cbs=Watch()).fit_one_cycle(2, 0.01)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_a_loss_of_nan_on_the_gpu_stops_the_run_and_names_its_batch(on_cuda: Make) -> None:
    spoil = Break(0, 7, float("nan"))
    learn = on_cuda(cbs=spoil)
    with pytest.raises(NonFiniteLossError, match="became nan in epoch 0, batch 7"):
        learn.fit(1, 0.01)
    assert learn.recorder.values == []


class _ArrivesLate:
    """Stands for a CUDA event: the copy is there only when somebody waits."""

    waits = 0

    def query(self) -> bool:
        return False

    def synchronize(self) -> None:
        type(self).waits += 1


def test_a_copy_that_arrives_late_is_read_before_the_row(make_learner: Make) -> None:
    """The GPU's path, without one: losses are sent ahead, and nobody waits for them but the end of an epoch."""

    class SendsAhead(Callback):
        def on_gradients(self, learner: Learner, result: Result) -> None:
            value = float("nan") if learner.batches_done == 1 else 1.0
            finite._sent.append((learner.batches_done, Tensor([value]).squeeze(), _ArrivesLate()))  # pyright: ignore
            finite._look(learner, wait=False)

    learn = make_learner(cbs=SendsAhead())
    finite: Any = learn.callbacks[0]
    with pytest.raises(NonFiniteLossError, match="became nan in epoch 0, batch 1"):
        learn.fit(2)
    assert len(learn.recorder.losses) == 3
    assert learn.recorder.values == []
    assert _ArrivesLate.waits == 2
    assert not finite._sent


# ---- with TerminateOnNaN a loss that is nan ends the run in a sentence, and the program goes on


class Spoil(Callback):
    """Makes the loss of one batch nan."""

    def on_batch(self, learner: Learner, batch: Any) -> Any:
        self.weights = [parameter.detach().clone() for parameter in learner.model.parameters()]
        return (
            (batch[0] * float("nan"), batch[1]) if (learner.epoch, learner.batches_done) == (1, 2) else batch
        )


def test_the_run_ends_with_the_last_good_weights_and_a_sentence(
    make_learner: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil = Spoil()
    learn = make_learner(cbs=[TerminateOnNaN(), spoil])
    learn.fit(4)
    assert learn.stop_reason.startswith(
        "the training loss became nan in epoch 1, batch 2; the run was stopped."
    )
    assert f"Stopped: {learn.stop_reason}" in capsys.readouterr().out
    assert len(learn.recorder.values) == 1
    assert all(torch.equal(a, b) for a, b in zip(spoil.weights, learn.model.parameters(), strict=True))
    learn.callbacks.remove(spoil)
    learn.fit(1)
    assert not learn.stop_reason


def test_without_it_the_error_comes_out(make_learner: Make) -> None:
    with pytest.raises(NonFiniteLossError):
        make_learner(cbs=Spoil()).fit(2)


def test_any_other_error_comes_out_too(make_learner: Make) -> None:
    class Fail(Callback):
        def on_step(self, learner: Learner, result: Any) -> None:
            raise FloatingPointError("mine")

    with pytest.raises(FloatingPointError, match="mine"):
        make_learner(cbs=[TerminateOnNaN(), Fail()]).fit(1)
    assert TerminateOnNaNCallback is TerminateOnNaN
