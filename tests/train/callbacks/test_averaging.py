"""Averages are those of the formula, seen by validation, in the model at the end, and carried by their state."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.data import DataLoader
from plainlearn.optim import SGD
from plainlearn.train import Callback, Epoch, Learner, Result
from plainlearn.train.callbacks.averaging import EMA, SWA
from plainlearn.train.callbacks.gradients import GradientAccumulation

Make = Callable[..., Learner]
Weights = dict[str, Tensor]


class Path(Callback):
    """The weights after every step."""

    def __init__(self) -> None:
        self.weights: list[Weights] = []

    def on_step(self, learner: Learner, result: Result) -> None:
        self.weights.append(weights_of(learner))


def weights_of(learn: Learner) -> Weights:
    return {name: value.detach().clone() for name, value in learn.model.state_dict().items()}


def assert_same(found: Weights, expected: Weights) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)


def normed(**given: Any) -> Learner:
    """A learner whose model has batch norm and dropout."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(1)
    batches = [(torch.randn(8, 3, generator=rng) * 2 + 1, torch.randn(8, 1, generator=rng)) for _ in range(4)]
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    dls = SimpleNamespace(train=batches, valid=batches)
    return Learner(dls, model, nn.functional.mse_loss, SGD, 0.05, device="cpu", **given)


def test_an_average_that_keeps_nothing_is_the_last_weights(make_learner: Make) -> None:
    plain, averaged = make_learner(), make_learner()
    plain.fit(2)
    averaged.fit(2, cbs=EMA(decay=0))
    assert weights_of(plain).keys() == weights_of(averaged).keys()
    for name, value in weights_of(plain).items():
        assert torch.equal(weights_of(averaged)[name], value)
    assert averaged.recorder.values == plain.recorder.values


@pytest.mark.parametrize("warm_up", [False, True])
def test_the_moving_average_is_that_of_the_formula(make_learner: Make, warm_up: bool) -> None:
    path, learn = Path(), make_learner()
    expected = weights_of(learn)
    learn.fit(3, cbs=[path, EMA(0.6, warm_up=warm_up)])
    for number, weights in enumerate(path.weights, start=1):
        decay = min(0.6, number / (number + 9)) if warm_up else 0.6
        expected = {name: decay * value + (1 - decay) * weights[name] for name, value in expected.items()}
    assert_same(weights_of(learn), expected)


def test_batches_in_which_the_optimizer_waits_do_not_count(make_learner: Make) -> None:
    path, mean, moving, learn = Path(), SWA(0.0, at_end=False), EMA(0.6, warm_up=False), make_learner()
    expected = weights_of(learn)
    learn.fit(2, cbs=[GradientAccumulation(16), path, mean, moving])  # of 3 batches of 8: two steps an epoch
    assert learn.steps_done == mean.count == moving.count == 4
    for place in (1, 2, 4, 5):  # the batches in which it moved
        expected = {name: 0.6 * value + 0.4 * path.weights[place][name] for name, value in expected.items()}
    assert_same(moving.average, expected)


def test_the_mean_is_that_of_the_end_of_the_run(make_learner: Make) -> None:
    path, learn = Path(), make_learner()
    learn.fit(4, cbs=[path, SWA(start=0.5)])
    tail = path.weights[5:]  # 12 steps; after the 6th, half of them are done
    expected = {name: torch.stack([weights[name] for weights in tail]).mean(0) for name in tail[0]}
    assert_same(weights_of(learn), expected)


@pytest.mark.parametrize("callback", [EMA(0.9), SWA(0.3)])
def test_rows_show_the_average_and_training_goes_on_from_the_last(make_learner: Make, callback: Any) -> None:
    plain_path, path = Path(), Path()
    plain, learn = make_learner(), make_learner()
    plain.fit(3, cbs=plain_path)
    learn.fit(3, cbs=[callback, path])
    for ours, theirs in zip(path.weights, plain_path.weights, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert learn.recorder.values[-1][1] == learn.validate()[0]
    assert learn.recorder.values[-1][1] != plain.recorder.values[-1][1]


def test_without_at_end_the_learner_keeps_the_last_and_the_callback_the_average(make_learner: Make) -> None:
    path, ema, learn = Path(), EMA(0.9, at_end=False), make_learner()
    learn.fit(2, cbs=[path, ema])
    assert_same(weights_of(learn), path.weights[-1])
    learn.model.load_state_dict(ema.average)
    assert learn.recorder.values[-1][1] == learn.validate()[0]


def test_a_second_run_begins_from_the_average_with_one_of_its_own(make_learner: Make) -> None:
    ema = EMA(0.5, warm_up=False)
    learn = make_learner(cbs=ema)
    learn.fit(2)
    begun, path = weights_of(learn), Path()
    learn.fit(1, cbs=path)
    expected = begun
    for weights in path.weights:
        expected = {name: 0.5 * value + 0.5 * weights[name] for name, value in expected.items()}
    assert_same(weights_of(learn), expected)


@pytest.mark.parametrize("kind", [EMA, SWA])
def test_what_is_frozen_is_left_alone(make_learner: Make, kind: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)
    before, callback = model[0].weight.clone(), kind()
    make_learner(model=model).fit(2, cbs=callback)
    assert torch.equal(model[0].weight, before)
    assert callback.average.keys() == {"1.weight", "1.bias"}


def test_nothing_to_average_is_refused(make_learner: Make) -> None:
    class Freeze(Callback):
        def fit_scope(self, learner: Learner) -> Any:
            learner.model.requires_grad_(False)
            return super().fit_scope(learner)

    with pytest.raises(ArgumentError, match="EMA has nothing to average: no parameter of the model learns"):
        make_learner().fit(1, cbs=[Freeze(), EMA()])


def test_batch_norm_s_statistics_are_averaged_on_the_way() -> None:
    learn, path = normed(), Path()
    expected = weights_of(learn)["1.running_mean"]
    learn.fit(2, cbs=[path, EMA(0.5, warm_up=False)])
    for weights in path.weights:
        expected = 0.5 * expected + 0.5 * weights["1.running_mean"]
    torch.testing.assert_close(weights_of(learn)["1.running_mean"], expected)


def test_batch_norm_s_statistics_of_the_mean_are_measured() -> None:
    learn = normed()
    learn.fit(2, cbs=SWA(0.5))
    linear, norm = learn.model[0], learn.model[1]
    outputs = [linear(x).detach() for x, _ in learn.dls.train]
    torch.testing.assert_close(norm.running_mean, torch.cat(outputs).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([each.var(0) for each in outputs]).mean(0))
    assert norm.momentum == 0.1


def test_batch_norm_that_was_held_still_is_left_alone() -> None:
    class Hold(Callback):
        def on_batch(self, learner: Learner, batch: Any) -> Any:
            learner.model[1].eval()
            return batch

    learn = normed()
    learn.fit(2, cbs=[SWA(0.5), Hold()])
    assert learn.model[1].running_mean.tolist() == [0, 0, 0, 0]


def test_measuring_draws_nothing_and_keeps_the_modes() -> None:
    states = []
    for update_bn in (True, False):
        learn = normed()
        batches = DataLoader(
            [(x, y) for xs, ys in learn.dls.train for x, y in zip(xs, ys, strict=True)], bs=8, shuffle=True
        )
        learn.dls = SimpleNamespace(train=batches, valid=None)
        torch.manual_seed(5)
        learn.fit(2, cbs=SWA(0.5, update_bn=update_bn))
        states.append((torch.get_rng_state(), [part.training for part in learn.model.modules()]))
    assert torch.equal(states[0][0], states[1][0])
    assert states[0][1] == states[1][1]


@pytest.mark.parametrize("make", [lambda: EMA(0.7), lambda: SWA(0.4)])
def test_a_resumed_run_has_the_average_of_an_uninterrupted_one(make: Callable[[], Any]) -> None:
    class Stop(Callback):
        """Takes down the state in the middle of the run, as a checkpoint does."""

        def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
            if epoch.number == 2:
                held = {name: value.clone() for name, value in whole.average.items()}
                self.state = whole.state_dict() | {"average": held}
                self.weights = weights_of(learner)
                self.random = torch.get_rng_state()

    class Resume(Callback):
        def fit_scope(self, learner: Learner) -> Any:
            learner.model.load_state_dict(stop.weights)
            torch.set_rng_state(stop.random)
            part.load_state_dict(stop.state)
            learner.epoch = 3
            return super().fit_scope(learner)

    whole, part, stop = make(), make(), Stop()
    torch.manual_seed(0)
    uninterrupted = normed()
    uninterrupted.fit(5, cbs=[whole, stop])
    resumed = normed()
    resumed.fit(5, cbs=[part, Resume()])
    for name, value in weights_of(uninterrupted).items():
        assert torch.equal(weights_of(resumed)[name], value), name
    assert part.count == whole.count


def test_the_state_of_another_model_is_refused(make_learner: Make) -> None:
    ema = EMA()
    make_learner().fit(1, cbs=ema)
    state = ema.state_dict()
    normed().fit(1, cbs=ema)
    with pytest.raises(DataError, match=r"not the state of EMA for this model: 0\.bias, 0\.weight, 1\.bias"):
        ema.load_state_dict(state)


def test_what_cannot_be_is_refused(make_learner: Make, batches: Any) -> None:
    with pytest.raises(ArgumentError, match=r"decay is 1\.0; expected 0 or more and below 1"):
        EMA(1.0)
    with pytest.raises(ArgumentError, match=r"start is 1\.5; expected a share of the run"):
        SWA(1.5)

    class Stream:
        def __iter__(self) -> Any:
            return iter(batches(4, 4))

    with pytest.raises(ArgumentError, match="the training loader has no length"):
        make_learner(train=Stream()).fit(1, cbs=SWA())
    make_learner(train=Stream()).fit(1, cbs=EMA())
