"""Callbacks are called in the order of the list, may change what they are given, and fail in their own words."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainlearn.optim import SGD
from plainlearn.train import Callback, Epoch, Learner, Result

Make = Callable[..., Learner]


class Spy(Callback):
    """Writes down what is called."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self.name, self.seen = name, seen

    @contextmanager
    def fit_scope(self, learner: Learner) -> Iterator[None]:
        self.seen.append(f"{self.name} enter")
        try:
            yield
        finally:
            self.seen.append(f"{self.name} leave")

    def on_batch(self, learner: Learner, batch: Any) -> Any:
        self.seen.append(f"{self.name} batch")
        return batch

    def on_gradients(self, learner: Learner, result: Result) -> None:
        self.seen.append(f"{self.name} gradients")

    def on_step(self, learner: Learner, result: Result) -> None:
        self.seen.append(f"{self.name} step")

    def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
        self.seen.append(f"{self.name} epoch")


def test_callbacks_are_called_in_the_order_of_the_list(make_learner: Make, batches: Any) -> None:
    seen: list[str] = []
    learn = make_learner(train=batches(4, 4), cbs=[Spy("a", seen), Spy("b", seen)])
    learn.fit(1, cbs=Spy("c", seen))
    step = [f"{name} {what}" for what in ("batch", "gradients", "step") for name in "abc"]
    assert seen == ["a enter", "b enter", "c enter", *step, *step, "a epoch", "b epoch", "c epoch",
                    "c leave", "b leave", "a leave"]  # fmt: skip


def test_callbacks_given_to_fit_are_for_that_run(make_learner: Make) -> None:
    seen: list[str] = []
    learn = make_learner()
    learn.fit(1, cbs=[Spy("once", seen)])
    count = len(seen)
    learn.fit(1)
    assert count > 0
    assert len(seen) == count


def test_a_class_of_callback_will_do(make_learner: Make) -> None:
    class Stop(Callback):
        def on_step(self, learner: Learner, result: Result) -> None:
            learner.stop_reason = "seen enough"

    learn = make_learner(cbs=Stop)
    learn.fit(5)
    assert len(learn.recorder.losses) == 1


def test_hooks_that_nobody_overrides_are_not_called(
    make_learner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("the loop called a hook that nobody overrides")

    for hook in ("fit_scope", "on_batch", "on_gradients", "on_step", "on_epoch"):
        monkeypatch.setattr(Callback, hook, fail)

    class Idle(Callback):
        pass

    make_learner(cbs=Idle()).fit(1)


@pytest.mark.parametrize("hook", ["fit_scope", "on_batch", "on_gradients", "on_step", "on_epoch"])
@pytest.mark.parametrize(
    "error", [KeyError("mine"), IndexError(), StopIteration(), KeyboardInterrupt(), SystemExit(3)]
)
def test_an_exception_of_a_callback_comes_out_as_it_is(
    make_learner: Make, hook: str, error: BaseException
) -> None:
    def fail(*_: Any) -> None:
        raise error

    seen: list[str] = []
    learn = make_learner(cbs=Spy("outer", seen))
    own = list(learn.callbacks)
    with pytest.raises(type(error)) as caught:
        learn.fit(2, cbs=[type("Failing", (Callback,), {hook: fail})()])
    assert caught.value is error
    assert caught.value.__cause__ is None
    assert seen[-1] == "outer leave"
    assert learn.callbacks == own
    learn.fit(1)
    assert len(learn.recorder.values) == 1


def test_a_run_is_ended_by_a_sentence(make_learner: Make, capsys: pytest.CaptureFixture[str]) -> None:
    class Stop(Callback):
        def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
            if epoch.number == 1:
                learner.stop_reason = "two epochs are enough"

    learn = make_learner(cbs=Stop())
    learn.fit(5)
    assert len(learn.recorder.values) == 2
    assert learn.stop_reason == "two epochs are enough"
    assert capsys.readouterr().out.endswith("Stopped: two epochs are enough\n")
    learn.callbacks.pop()
    learn.fit(1)
    assert learn.stop_reason == ""


def test_a_run_stopped_in_the_middle_of_an_epoch_is_validated(make_learner: Make) -> None:
    class Stop(Callback):
        def on_gradients(self, learner: Learner, result: Result) -> None:
            learner.stop_reason = "one batch is enough"

    learn = make_learner(cbs=Stop())
    learn.fit(5)
    assert len(learn.recorder.losses) == 1
    assert learn.recorder.values[0][1] == learn.validate()[0]


def test_a_callback_may_replace_or_change_the_batch(make_learner: Make, batches: Any) -> None:
    data = batches(8)

    class Change(Callback):
        def on_batch(self, learner: Learner, batch: Any) -> Any:
            x, y = batch
            x.zero_()  # in place: the batch is the user's own list here, and theirs to change
            return x, y * 0

    learn = make_learner(train=data, valid=None, cbs=Change())
    learn.fit(100, lr=0.5)
    assert data[0][0].abs().sum() == 0
    assert learn.model.bias.item() == pytest.approx(0, abs=1e-6)


def test_a_step_s_result_has_no_way_back_through_the_model(make_learner: Make) -> None:
    class Pair(nn.Linear):
        def forward(self, input: Tensor) -> Any:
            output = super().forward(input)
            return output, {"twice": output * 2}

    kept: list[Result] = []

    class Keep(Callback):
        def on_gradients(self, learner: Learner, result: Result) -> None:
            assert result.loss.requires_grad
            assert result.predictions[1]["twice"].requires_grad

        def on_step(self, learner: Learner, result: Result) -> None:
            kept.append(result)

    learn = make_learner(
        model=Pair(3, 1), loss_func=lambda p, y: (p[0] + p[1]["twice"] - y).abs().mean(), cbs=Keep()
    )
    learn.fit(1)
    for result in kept:
        first, rest = result.predictions
        assert not any(
            t.requires_grad or t.grad_fn for t in (result.loss, first, rest["twice"], *result.targets)
        )
    assert len(kept) == 3


def test_a_callback_sees_how_far_the_run_is(make_learner: Make) -> None:
    shares: list[float] = []

    class Look(Callback):
        def on_batch(self, learner: Learner, batch: Any) -> Any:
            shares.append(learner.share_done)
            return batch

        def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
            shares.append(learner.share_done)

    make_learner(cbs=Look()).fit(2)
    assert shares == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 3 / 6, 4 / 6, 5 / 6, 1])


def test_a_callback_may_take_up_a_run_in_its_middle(make_learner: Make, batches: Any) -> None:
    """What a checkpoint needs: the state is on the learner, and a scope may set it."""
    train = batches(8, 8, 8)

    class Save(Callback):
        def on_step(self, learner: Learner, result: Result) -> None:
            if (learner.epoch, learner.batches_done) == (1, 2):
                self.weights = copy.deepcopy(learner.model.state_dict())
                self.optimizer = copy.deepcopy(learner.optimizer.state_dict())
                self.recorder = learner.recorder.state_dict()

    class Load(Callback):
        @contextmanager
        def fit_scope(self, learner: Learner) -> Iterator[None]:
            learner.epoch, learner.batches_done = 1, 2
            learner.model.load_state_dict(saved.weights)
            learner.optimizer.load_state_dict(saved.optimizer)
            learner.recorder.load_state_dict(saved.recorder)
            yield

    class Rest:
        """A loader that was told to go on behind the second batch."""

        def __init__(self) -> None:
            self.skip = 2

        def __iter__(self) -> Iterator[Any]:
            skip, self.skip = self.skip, 0
            return iter(train[skip:])

        def __len__(self) -> int:
            return len(train)

    saved = Save()
    whole = make_learner(train=train, opt_func=lambda p, lr: SGD(p, lr, mom=0.9), cbs=saved)
    whole.fit_one_cycle(3)
    rest = make_learner(
        train=Rest(), opt_func=lambda p, lr: SGD(p, lr, mom=0.9), model=nn.Linear(3, 1), cbs=Load()
    )
    rest.fit_one_cycle(3)
    assert torch.equal(whole.model.weight, rest.model.weight)
    assert rest.recorder.losses == whole.recorder.losses
    assert rest.recorder.values == whole.recorder.values
    assert rest.recorder.lrs == whole.recorder.lrs
