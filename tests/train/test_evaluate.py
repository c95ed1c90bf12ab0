"""Validation is a whole-set mean, and leaves no trace."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from plainlearn.core.errors import DataError
from plainlearn.core.lists import L
from plainlearn.metrics import accuracy, mae, meter_of, rmse
from plainlearn.train import Learner, SupervisedStep, evaluate
from plainlearn.train.evaluate import evaluating

Make = Callable[..., Learner]
CPU = torch.device("cpu")


@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5), seed=st.integers(0, 1000))
@settings(max_examples=30)
def test_the_value_does_not_depend_on_how_the_set_is_cut(sizes: list[int], seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    x, y = torch.randn(sum(sizes), 3, generator=rng), torch.randint(4, (sum(sizes),), generator=rng)
    torch.manual_seed(0)
    model, step = nn.Linear(3, 4), SupervisedStep(nn.functional.cross_entropy)
    batches = list(zip(x.split(sizes), y.split(sizes), strict=True))
    meters = [meter_of(accuracy)]
    cut = evaluate(model, step, batches, meters=meters, device=CPU)
    whole = evaluate(model, step, [(x, y)], meters=meters, device=CPU)
    assert cut == pytest.approx(whole, rel=1e-5)
    assert whole[0] == pytest.approx(nn.functional.cross_entropy(model(x), y).item(), rel=1e-6)
    assert whole[1] == pytest.approx(accuracy(model(x), y).item(), rel=1e-6)


def test_validate_gives_the_loss_and_the_metrics(make_learner: Make, batches: Any) -> None:
    learn = make_learner(metrics=[mae, rmse])
    x, y = (torch.cat(part) for part in zip(*learn.dls.valid, strict=True))
    with torch.no_grad():
        error = learn.model(x) - y
    found = learn.validate()
    assert isinstance(found, L)
    expected = [error.square().mean().item(), error.abs().mean().item(), error.square().mean().sqrt().item()]
    assert found == pytest.approx(expected, rel=1e-5)


def test_validate_takes_any_iterable_of_batches(make_learner: Make, batches: Any) -> None:
    learn, data = make_learner(metrics=mae), batches(8, 3, seed=1)

    class Stream:
        def __iter__(self) -> Iterator[Any]:
            return iter(data)

    x, y = (torch.cat(part) for part in zip(*data, strict=True))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=4)
    expected = learn.validate()
    for dl in (data, tuple(data), iter(data), (batch for batch in data), Stream(), loader, [[x, y]], L(data)):
        assert learn.validate(dl=dl) == pytest.approx(expected, rel=1e-5)


def test_the_training_data_are_validated_on_request(make_learner: Make) -> None:
    learn = make_learner()
    assert learn.validate(0) == learn.validate(dl=learn.dls.train)
    assert learn.validate(0) != learn.validate(1)


def test_without_a_batch_there_is_no_value(make_learner: Make) -> None:
    with pytest.raises(DataError, match="there is no batch to validate on; expected at least one"):
        make_learner().validate(dl=[])


def test_validation_changes_neither_weights_nor_modes_nor_gradients(make_learner: Make) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Linear(2, 1))
    model.train()
    model[1].eval()  # a part that the user keeps in evaluation mode
    learn = make_learner(model=model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = learn.validate(), learn.validate()
    assert first == second, "the dropout was on"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == [True, True, False, True, True]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_modes_and_gradients_come_back_also_after_an_exception() -> None:
    model = nn.Sequential(nn.Linear(3, 1))
    with pytest.raises(ZeroDivisionError), evaluating(model):
        assert not model.training
        assert not torch.is_grad_enabled()
        raise ZeroDivisionError
    assert model.training
    assert model[0].training
    assert torch.is_grad_enabled()


def test_a_metric_gets_each_target_as_the_loss_does(make_learner: Make, batches: Any) -> None:
    data = [(x, y, y * 3) for x, y in batches(4, 2)]
    learn = make_learner(
        loss_func=lambda p, first, second: (p - first - second).abs().mean(),
        metrics=lambda p, first, second: (second / first).mean(),
        train=data,
        valid=data,
        step=SupervisedStep(lambda p, first, second: (p - first - second).abs().mean(), inputs=1),
    )
    assert learn.validate()[1] == pytest.approx(3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_the_row_of_an_epoch_is_what_validate_says(
    make_learner: Make, batches: Any, sizes: list[int]
) -> None:
    learn = make_learner(valid=batches(*sizes, seed=2), metrics=[mae, rmse])
    learn.fit(2)
    assert learn.recorder.values[-1][1:] == pytest.approx(list(learn.validate()), rel=1e-6)


def test_an_evaluation_waits_for_the_device_only_at_its_end(batches: Any) -> None:
    """On the `meta` device whoever asks for a value fails: all batches must come before that."""
    seen: list[int] = []

    def data() -> Iterator[Any]:
        for x, y in batches(4, 4, 2):
            seen.append(len(x))
            yield x, y

    def run(metric: Any) -> None:
        model, step = nn.Linear(3, 1, device="meta"), SupervisedStep(nn.functional.mse_loss)
        evaluate(model, step, data(), meters=[meter_of(metric)], device=torch.device("meta"))

    with pytest.raises((RuntimeError, NotImplementedError)):
        run(mae)
    assert seen == [4, 4, 2]
    seen.clear()
    with pytest.raises(Exception, match="meta"):  # so that a metric that waits would have been noticed
        run(lambda p, y: (p - y).mean().item())
    assert seen == [4]


def test_a_model_s_own_train_and_eval_are_called(make_learner: Make) -> None:
    calls: list[bool] = []

    class Model(nn.Linear):
        def train(self, mode: bool = True) -> Any:
            calls.append(mode)
            return super().train(mode)

    make_learner(model=Model(3, 1)).fit(2)
    modes = [mode for mode, _ in itertools.groupby(calls)]
    assert modes == [False, True, False, True, False]


def test_a_tensor_alone_is_a_batch_of_inputs(make_learner: Make) -> None:
    learn = make_learner(
        loss_func=lambda p: p.square().mean(), train=[torch.ones(4, 3)], valid=[torch.ones(2, 3)]
    )
    learn.fit(1)
    with torch.no_grad():
        expected = learn.model(torch.ones(1, 3)).square().item()
    assert learn.recorder.values[0][1] == pytest.approx(expected, rel=1e-5)
