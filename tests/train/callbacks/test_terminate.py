"""With TerminateOnNaN a loss that is nan ends the run in a sentence, and the program goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from plainlearn.core.errors import NonFiniteLossError
from plainlearn.train import Callback, Learner
from plainlearn.train.callbacks.terminate import TerminateOnNaN, TerminateOnNaNCallback

Make = Callable[..., Learner]


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
