"""The probe equals logistic regression on the features, changes nothing, and starts fine_tune."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError, LossError, ShapeError
from plainlearn.data import DataLoader, DataLoaders, TensorRows
from plainlearn.losses import CrossEntropyLossFlat
from plainlearn.metrics import accuracy
from plainlearn.train import Callback, Learner
from plainlearn.train.features import features_of, head_of, unaugmented_batches


class Calm(DataLoaders):
    """Loaders whose training batches are noisy, and that can give them without the noise."""

    passes = 0

    def unaugmented(self) -> Any:
        self.passes += 1
        return DataLoader(self.train.dataset, bs=16)


def noisy(batch: Any, rng: Any) -> Any:
    return batch[0] + 3 * torch.from_numpy(rng.standard_normal(batch[0].shape)).float(), batch[1]


def halves(model: nn.Module) -> list[list[nn.Parameter]]:
    body, head = model.children()
    return [list(body.parameters()), list(head.parameters())]


def items(count: int, seed: int) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (count,), generator=drawn)
    x = torch.randn(count, 4, generator=drawn) + 2 * nn.functional.one_hot(y, 4)
    return x, y


Make = Callable[..., Learner]


@pytest.fixture
def make() -> Make:
    """Makes a learner of three classes whose body is fixed numbers and whose head is linear, all replaceable."""

    def made(**given: Any) -> Learner:
        torch.manual_seed(0)
        train = DataLoader(TensorRows(*items(60, 1)), bs=16, shuffle=True, after_batch=noisy)
        dls = given.pop("dls", None) or Calm(train, DataLoader(TensorRows(*items(30, 2)), bs=16))
        model = given.pop("model", None) or nn.Sequential(
            nn.Sequential(nn.Linear(4, 16), nn.ReLU()), nn.Sequential(nn.Dropout(0.5), nn.Linear(16, 3))
        )
        settings = {
            "loss_func": CrossEntropyLossFlat(),
            "splitter": halves,
            "metrics": accuracy,
            "device": "cpu",
        }
        return Learner(dls, model, **(settings | given))

    return made


def test_features_are_what_reaches_the_head_in_evaluation_mode(make: Make) -> None:
    learn = make()
    found = features_of(learn, unaugmented_batches(learn), head_of(learn))
    x, y = items(60, 1)
    assert torch.allclose(found.rows, learn.model[0](x))  # type: ignore[operator,index]
    assert torch.equal(found.targets, y)
    assert all(part.training for part in learn.model.modules())


def test_the_probe_equals_scikit_learn_s_logistic_regression(make: Make) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    learn = make()
    found = learn.probe()
    features = features_of(learn, unaugmented_batches(learn), head_of(learn))
    rows = features.rows.double()
    scale = 20 / (rows - rows.mean(0)).square().sum(1).mean().sqrt()
    model = linear_model.LogisticRegression(C=float(1 / found.strength), max_iter=5000, tol=1e-8)
    model.fit((rows * scale).numpy(), features.targets.numpy())
    expected = torch.from_numpy(model.predict_proba((rows * scale).numpy())).float()
    got = (features.rows @ found.weight.T + found.bias).softmax(1)
    assert torch.allclose(got, expected, atol=0.01)


@pytest.mark.parametrize("width", [5, 200])
def test_fewer_items_than_features_or_more_the_probe_finds_the_least(make: Make, width: int) -> None:
    body = nn.Sequential(nn.Linear(4, width), nn.ReLU())
    learn = make(model=nn.Sequential(body, nn.Linear(width, 3)))
    found = learn.probe()
    features = features_of(learn, unaugmented_batches(learn), head_of(learn))
    centred = features.rows - features.rows.mean(0)
    scale = 20 / float(centred.square().sum(1).mean().sqrt())
    weight = (found.weight / scale).requires_grad_()
    loss = nn.functional.cross_entropy((features.rows * scale) @ weight.T + found.bias, features.targets)
    (loss + found.strength / 120 * weight.square().sum()).backward()
    assert weight.grad is not None
    assert float(weight.grad.norm()) < 0.05


def test_a_probe_changes_nothing_until_it_is_put_into_the_head(make: Make) -> None:
    learn = make()
    before = [value.clone() for value in learn.model.state_dict().values()]
    state, loader = torch.get_rng_state(), learn.dls.train.state_dict()
    found = learn.probe()
    assert all(torch.equal(a, b) for a, b in zip(before, learn.model.state_dict().values(), strict=True))
    assert torch.equal(state, torch.get_rng_state())
    assert learn.dls.train.state_dict() == loader
    found.into(learn)
    assert learn.validate()[1] == pytest.approx(found.accuracy)


def test_a_probe_is_the_same_each_time_and_good(make: Make) -> None:
    learn = make()
    one, other = learn.probe(), learn.probe()
    assert torch.equal(one.weight, other.weight)
    assert one.accuracy > 0.8
    assert abs(one.cv_accuracy - one.accuracy) < 0.2
    assert set(one.per_class) == {0, 1, 2}


def test_a_probe_says_what_it_found(make: Make) -> None:
    shown = repr(make().probe())
    assert shown.startswith("Probe: accuracy 0.")
    assert "on 30 validation items" in shown
    assert "cross-validation" in shown
    assert "± 0.0" in shown
    assert "hardest classes" in shown


def test_without_validation_there_is_cross_validation(make: Make) -> None:
    found = make(dls=Calm(DataLoader(TensorRows(*items(60, 1)), bs=16))).probe()
    assert math.isnan(found.accuracy)
    assert found.cv_accuracy > 0.7


def test_a_head_of_several_layers_can_be_probed_but_not_replaced(make: Make) -> None:
    head = nn.Sequential(nn.BatchNorm1d(16), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    learn = make(model=nn.Sequential(nn.Sequential(nn.Linear(4, 16), nn.ReLU()), head))
    found = learn.probe()
    assert found.accuracy > 0.7
    with pytest.raises(ArgumentError, match="the head is more than one linear layer"):
        found.into(learn)


def test_what_cannot_be_probed_is_refused(make: Make) -> None:
    with pytest.raises(LossError, match="mse_loss is not one of classes"):
        make(loss_func=nn.functional.mse_loss).probe()
    with pytest.raises(ArgumentError, match="has one depth"):
        make(splitter=lambda model: list(model.parameters())).probe()
    body = nn.Sequential(nn.Conv1d(1, 2, 1), nn.ReLU())
    rows = TensorRows(torch.randn(8, 1, 4), torch.zeros(8, dtype=torch.int64))
    with pytest.raises(ShapeError, match="expected one row of features"):
        make(dls=Calm(DataLoader(rows, bs=8)), model=nn.Sequential(body, nn.Linear(4, 3))).probe()


# ---------------------------------------------------------------- fine_tune


def test_fine_tune_prints_two_tables_and_keeps_the_second_s_record(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = make()
    learn.fine_tune(2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["The", "epoch", "0", "epoch", "0", "1"]
    assert len(learn.recorder.values) == 2
    assert learn.dls.passes == 1  # type: ignore[attr-defined]


def test_the_first_phase_on_features_puts_the_probe_into_the_head(make: Make) -> None:
    learn = make()
    probe = learn.probe()
    body = [value.clone() for value in learn.model[0].state_dict().values()]  # type: ignore[union-attr,index]
    seen: list[Tensor] = []

    class Look(Callback):
        def on_epoch(self, learner: Learner, epoch: Any) -> None:
            seen.append(next(learner.model[1].parameters()).detach().clone())  # type: ignore[index]

    learn.callbacks.append(Look())
    with learn.no_logging():
        learn.fine_tune(1, 1e-9)
    assert torch.allclose(seen[0], probe.weight, atol=1e-5)
    moved = learn.model[0].state_dict().values()  # type: ignore[union-attr,index]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(body, moved, strict=True))
    assert all(parameter.requires_grad for parameter in learn.model.parameters())


class Says(Callback):
    """A callback that may change batches."""

    def on_batch(self, learner: Learner, batch: Any) -> Any:
        return batch


@pytest.mark.parametrize(
    "given",
    [
        {"cbs": Says()},
        {
            "dls": DataLoaders(
                DataLoader(TensorRows(*items(60, 1)), bs=16), DataLoader(TensorRows(*items(30, 2)))
            )
        },
        {"loss_func": lambda p, y: nn.functional.cross_entropy(p, y)},
        {"model": nn.Sequential(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8)), nn.Linear(8, 3))},
    ],
)
def test_where_features_would_not_be_the_same_thing_frozen_epochs_are_ordinary(
    make: Make, given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    learn = make(**given)
    learn.fine_tune(1, freeze_epochs=3)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "epoch", "0", "1", "2", "epoch", "0",
    ]  # fmt: skip
    with pytest.raises(ArgumentError, match="features=True needs"):
        learn.fine_tune(1, features=True)


def test_features_can_be_declined_and_the_first_phase_left_out(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = make()
    learn.fine_tune(1, freeze_epochs=2, features=False)
    learn.fine_tune(1, freeze_epochs=0)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "epoch", "0", "1", "epoch", "0", "epoch", "0",
    ]  # fmt: skip
    assert learn.dls.passes == 0  # type: ignore[attr-defined]


def test_the_second_phase_has_the_course_s_rates(make: Make) -> None:
    highest: dict[int, float] = {}

    class Look(Callback):
        def on_step(self, learner: Learner, result: Any) -> None:
            for group in learner.optimizer.param_groups:
                highest[group["depth"]] = max(highest.get(group["depth"], 0), group["lr"])

    learn = make(cbs=Look())
    with learn.no_logging():
        learn.fine_tune(5, 2e-2, freeze_epochs=0)
    assert highest == pytest.approx({0: 1e-4, 1: 1e-2}, rel=0.1)


def test_after_features_a_short_second_phase_takes_small_steps(make: Make) -> None:
    learn = make()
    with learn.no_logging():
        learn.fine_tune(5, 2e-2)
    steps = 5 * len(learn.dls.train)
    assert max(learn.recorder.lrs) == pytest.approx(1e-2 * steps / 100)
    with learn.no_logging():
        learn.fine_tune(40, 2e-2)
    assert max(learn.recorder.lrs) == pytest.approx(1e-2)


def test_fine_tune_refuses_what_it_cannot_do(make: Make) -> None:
    with pytest.raises(ArgumentError, match="one depth"):
        make(splitter=lambda model: list(model.parameters())).fine_tune(1)
    with pytest.raises(ArgumentError, match="expected a finite number above 0"):
        make().fine_tune(1, -1.0)
    with pytest.raises(ArgumentError, match="lr_mult is 0"):
        make().fine_tune(1, lr_mult=0)
