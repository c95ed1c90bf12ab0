"""The loop does what a loop written by hand does, to the bit, and calls the callbacks as it says."""

from __future__ import annotations

import copy
import gc
import inspect
import itertools
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainlearn.optim import SGD, Adam
from plainlearn.train import Callback, Epoch, Learner, Result

Make = Callable[..., Learner]


# ---------------------------------------------------------------- the same as by hand


def noisy_model() -> nn.Module:
    """Its batch norm keeps a state, its dropout draws from the global generator."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))


def shuffled(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for rows in torch.randperm(len(x)).split(8):
        yield x[rows], y[rows]


class Shuffled:
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return shuffled(self.x, self.y)


def by_hand(
    model: nn.Module, optimizer: Any, x: Tensor, y: Tensor, epochs: int
) -> tuple[list[float], list[float]]:
    losses, valid_losses = [], []
    for _ in range(epochs):
        model.train()
        for xb, yb in shuffled(x, y):
            loss = nn.functional.mse_loss(model(xb), yb)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            valid_losses.append(nn.functional.mse_loss(model(x), y).item())
    return losses, valid_losses


@pytest.mark.parametrize("opt_func", [SGD, lambda p, lr: Adam(p, lr, wd=0), torch.optim.RMSprop])
def test_losses_and_weights_equal_those_of_a_loop_by_hand_to_the_bit(opt_func: Any) -> None:
    torch.manual_seed(0)
    x = torch.randn(20, 3)
    y = x.sum(1, keepdim=True)
    ours, theirs = noisy_model(), noisy_model()
    torch.manual_seed(7)
    losses, valid_losses = by_hand(theirs, opt_func(theirs.parameters(), lr=0.05), x, y, epochs=3)
    learn = Learner(
        SimpleNamespace(train=Shuffled(x, y), valid=[(x, y)]),
        ours,
        nn.functional.mse_loss,
        opt_func,
        device="cpu",
    )
    torch.manual_seed(7)
    learn.fit(3, lr=0.05)
    assert learn.recorder.losses == losses
    assert [row[1] for row in learn.recorder.values] == valid_losses
    for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert len(set(losses)) == len(losses), "nothing was learned, so nothing was compared"


def test_a_model_learns_in_training_mode_whatever_mode_it_was_in(make_learner: Make) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    make_learner(model=model.eval()).fit(1)
    assert model[1].num_batches_tracked == 3
    assert model.training


def test_one_batch_is_learned_by_heart(make_learner: Make, batches: Any) -> None:
    learn = make_learner(train=batches(8), valid=None)
    learn.fit(200, lr=0.2)
    assert learn.recorder.losses[-1] < 1e-6


def test_a_second_fit_goes_on_with_what_the_optimizer_remembers(make_learner: Make) -> None:
    def opt_func(parameters: Any, lr: float) -> Any:
        return SGD(parameters, lr, mom=0.9)

    at_once, in_two = make_learner(opt_func=opt_func), make_learner(opt_func=opt_func)
    at_once.fit(4)
    in_two.fit(2)
    in_two.fit(2)
    assert torch.equal(at_once.model.weight, in_two.model.weight)


@pytest.mark.parametrize("change", ["opt_func", "wd", "model", "splitter"])
def test_a_change_of_what_makes_the_optimizer_makes_it_anew(make_learner: Make, change: str) -> None:
    learn = make_learner()
    learn.fit(1)
    before = learn.optimizer
    learn.fit(1, lr=0.01)
    assert learn.optimizer is before
    assert learn.optimizer.param_groups[0]["lr"] == 0.01
    new: dict[str, Any] = {
        "opt_func": Adam,
        "wd": 0.1,
        "model": nn.Linear(3, 1),
        "splitter": lambda model: [[model.weight], [model.bias]],
    }
    setattr(learn, change, new[change])
    learn.fit(1)
    assert learn.optimizer is not before


def test_a_weight_decay_given_to_fit_is_used(make_learner: Make) -> None:
    learn = make_learner()
    learn.fit(1)
    learn.fit(1, wd=0.5)
    assert [group["weight_decay"] for group in learn.optimizer.param_groups] == [0.5, 0.0]


def test_each_depth_learns_at_its_own_rate(make_learner: Make) -> None:
    def by_layer(model: nn.Module) -> list[list[nn.Parameter]]:
        return [list(layer.parameters()) for layer in model.children()]

    learn = make_learner(model=nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)), splitter=by_layer)
    learn.fit(1, lr=slice(1e-4, 1e-2))
    assert [group["lr"] for group in learn.optimizer.param_groups] == [1e-4, 1e-2]
    assert learn.current_rates() == [1e-4, 1e-2]


def test_frozen_weights_stay(make_learner: Make) -> None:
    learn = make_learner(model=nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)))
    learn.model[0].requires_grad_(False)
    first, second = (copy.deepcopy(layer.weight) for layer in learn.model)
    learn.fit(1)
    assert torch.equal(learn.model[0].weight, first)
    assert not torch.equal(learn.model[1].weight, second)


def test_the_lesson_s_optimizer_learns(make_learner: Make) -> None:
    class BasicOptim:
        def __init__(self, params: Any, lr: float) -> None:
            self.params, self.lr = list(params), lr

        def step(self, *args: Any, **kwargs: Any) -> None:
            for p in self.params:
                p.data -= p.grad.data * self.lr

        def zero_grad(self, *args: Any, **kwargs: Any) -> None:
            for p in self.params:
                p.grad = None

    basic, ours = make_learner(opt_func=BasicOptim), make_learner()
    basic.fit(2, lr=0.1)
    basic.fit(2, lr=0.2)
    ours.fit(2, lr=0.1)
    ours.fit(2, lr=0.2)
    assert basic.optimizer.lr == 0.2
    torch.testing.assert_close(basic.model.weight, ours.model.weight)


def test_a_step_of_one_s_own_replaces_the_arithmetic(make_learner: Make) -> None:
    def step(model: nn.Module, batch: Any) -> Result:
        x, y = batch
        predictions = model(x)
        return Result((predictions - y).abs().mean() + model.weight.square().sum(), predictions, (y,))

    learn = make_learner(step=step, loss_func=None, metrics=lambda p, y: (p - y).abs().mean())
    learn.fit(1)
    loss, error = learn.recorder.values[0][1:]
    assert loss == pytest.approx(error + learn.model.weight.square().sum().item(), rel=1e-5)


def test_a_batch_may_have_several_inputs(make_learner: Make, batches: Any) -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, first: Tensor, second: Tensor) -> Tensor:
            return self.layer(first + second)

    data = [(x, x * 2, y) for x, y in batches(8, 4)]
    learn = make_learner(model=Sum(), train=data, valid=data)
    learn.fit(20, lr=0.02)
    assert learn.recorder.losses[-1] < learn.recorder.losses[0] / 2


def test_the_inputs_of_a_batch_are_as_many_as_the_data_say(batches: Any) -> None:
    data = [(x, y, y * 2) for x, y in batches(8, 4)]

    def loss_func(predictions: Tensor, first: Tensor, second: Tensor) -> Tensor:
        return (predictions - first).abs().mean() + (predictions - second).abs().mean()

    learn = Learner(
        SimpleNamespace(train=data, valid=data, n_inp=1), nn.Linear(3, 1), loss_func, SGD, device="cpu"
    )
    learn.fit(1, 0.1)
    learn.dls = SimpleNamespace(train=[(x, x, y, y) for x, y, _ in data], valid=None, n_inp=2)
    learn.model = nn.Bilinear(3, 3, 1)
    learn.fit(1, 0.1)
    assert learn.recorder.losses


# ---------------------------------------------------------------- callbacks


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


# ---------------------------------------------------------------- what it costs


def test_two_frames_lie_between_fit_and_the_optimizer_s_step(make_learner: Make) -> None:
    depths: list[int] = []

    class Looking:
        def __init__(self, params: Any, lr: float) -> None:
            self.params, self.lr = list(params), lr

        def step(self) -> None:
            names = [frame.function for frame in inspect.stack(0)]
            depths.append(names.index("fit") - names.index("step") - 1)

        def zero_grad(self) -> None:
            for p in self.params:
                p.grad = None

    make_learner(opt_func=Looking).fit(1)
    assert len(depths) == 3
    assert max(depths) <= 3  # the figure
    assert max(depths) == 1  # what it is: _train_epoch


def test_no_step_of_an_epoch_looks_at_a_value_of_the_device(batches: Any) -> None:
    """On the `meta` device there are no values: whoever asks for one fails. So all steps must come before that."""
    steps: list[Tensor] = []

    class Count(Callback):
        def on_step(self, learner: Learner, result: Result) -> None:
            steps.append(result.loss)

    data = [(x.to("meta"), y.to("meta")) for x, y in batches(8, 8, 8)]
    learn = Learner(
        SimpleNamespace(train=data, valid=None), nn.Linear(3, 1, device="meta"), nn.functional.mse_loss, SGD,
        device="meta", cbs=Count(),
    )  # fmt: skip
    del learn.callbacks[0]  # FiniteLoss looks, where there is no CUDA device to send a copy ahead
    with pytest.raises((RuntimeError, NotImplementedError)) as caught:
        learn.fit_one_cycle(1, 0.1)
    assert "smooth_loss" in [frame.name for frame in caught.traceback]
    assert [loss.device.type for loss in steps] == ["meta"] * 3


def live_tensors() -> list[Tensor]:
    gc.collect()
    return [
        thing for thing in gc.get_objects() if issubclass(type(thing), Tensor)
    ]  # some objects warn when asked


def test_nothing_of_autograd_is_alive_after_a_run(make_learner: Make) -> None:
    learn = make_learner(metrics=lambda p, y: (p - y).mean())
    before = {id(tensor) for tensor in live_tensors()}
    learn.fit_one_cycle(2)
    learn.get_preds(with_loss=True, with_input=True)
    new = [tensor for tensor in live_tensors() if id(tensor) not in before]
    assert [tensor for tensor in new if tensor.grad_fn is not None] == []
    assert all(parameter.grad is None for parameter in learn.model.parameters())


def test_memory_is_flat_over_a_thousand_epochs(make_learner: Make, batches: Any) -> None:
    class Measure(Callback):
        def __init__(self) -> None:
            self.tensors: list[int] = []
            self.bytes: list[int] = []

        def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
            if epoch.number in (199, 599, 999):
                self.tensors.append(len(live_tensors()))
                self.bytes.append(tracemalloc.get_traced_memory()[0])

    measure = Measure()
    learn = make_learner(train=batches(4), valid=batches(4), metrics=lambda p, y: (p - y).mean(), cbs=measure)
    tracemalloc.start()
    try:
        with learn.no_logging():
            learn.fit(1000, lr=1e-3)
    finally:
        tracemalloc.stop()
    assert len(set(measure.tensors)) == 1
    assert sum(measure.tensors) > 0
    # The record grows, by a row and a loss an epoch: some hundred bytes. Nothing else may.
    grown = [(b - a) / 400 for a, b in itertools.pairwise(measure.bytes)]
    assert max(grown) < 1000, f"{grown} bytes an epoch"


def test_the_random_numbers_of_a_run_do_not_depend_on_whether_it_is_rehearsed(
    make_learner: Make, batches: Any
) -> None:
    class Draw:
        """A validation set that draws, as one with random crops does."""

        def __iter__(self) -> Iterator[Any]:
            for x, y in batches(4, 4):
                yield x + torch.rand(1), y

    draws: list[float] = []
    for rehearsed in (False, True):
        learn = make_learner(valid=Draw())
        if rehearsed:
            learn._rehearsed = (learn.dls.valid, learn.model, learn.step)
        torch.manual_seed(1)
        learn.fit(1)
        draws.append(torch.rand(1).item())
    assert draws[0] == draws[1]


# ---------------------------------------------------------------- the learner itself


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


def test_the_loop_is_one_screen() -> None:
    """`fit` and `_train_epoch` are what a newcomer reads; they must stay short enough to be read."""
    lines = sum(
        len(inspect.getsource(function).splitlines()) for function in (Learner.fit, Learner._train_epoch)
    )
    assert lines <= 65
    assert sys.modules[Learner.__module__].__file__ is not None
