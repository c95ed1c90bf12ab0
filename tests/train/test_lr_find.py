"""lr_find leaves no trace, suggests in the order asked, and says when a curve tells nothing."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.core.seed import random_state
from plainlearn.data import DataLoader, DataLoaders
from plainlearn.optim import SGD, Adam
from plainlearn.train import Callback, Learner, Result
from plainlearn.train.lr_find import minimum, slide, steep, valley

Make = Callable[..., Learner]


def weights(learn: Learner) -> list[torch.Tensor]:
    return [value.clone() for value in learn.model.state_dict().values()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def shuffled_learner(**given: Any) -> Learner:
    """With all that can go astray: a shuffled loader, dropout, batch norm, Adam's memory."""
    torch.manual_seed(1)
    x = torch.randn(64, 3)
    rows = list(zip(x, x.sum(1, keepdim=True), strict=True))
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))
    settings = {"loss_func": nn.functional.mse_loss, "opt_func": Adam, "lr": 1e-2, "device": "cpu"} | given
    return Learner(
        DataLoaders(DataLoader(rows, bs=8, shuffle=True), DataLoader(rows, bs=8)), model, **settings
    )


def find(learn: Learner, **given: Any) -> Any:
    return learn.lr_find(**{"show_plot": False} | given)


@pytest.mark.parametrize("before", [0, 1])
def test_a_fit_after_lr_find_equals_a_fit_without_it_bit_for_bit(before: int) -> None:
    def trained(look: bool) -> tuple[Learner, list[torch.Tensor]]:
        learn = shuffled_learner()
        with learn.no_logging():
            if before:
                learn.fit(before)
            if look:
                find(learn)
            learn.fit_one_cycle(2)
        return learn, weights(learn)

    (plain, expected), (looked, found) = trained(False), trained(True)
    assert same(expected, found)
    assert plain.recorder.losses == looked.recorder.losses
    assert plain.dls.train.epochs_begun == looked.dls.train.epochs_begun


def test_everything_is_as_it_was() -> None:
    class Counting(Callback):
        def __init__(self) -> None:
            self.seen = 0

        def on_batch(self, learner: Learner, batch: Any) -> Any:
            self.seen += 1
            return batch

    counting = Counting()
    learn = shuffled_learner(cbs=counting)
    with learn.no_logging():
        learn.fit(1)
    next(iter(learn.dls.train))  # left in the middle of an epoch
    loader, states = learn.dls.train.state_dict(), copy.deepcopy(learn.optimizer.state_dict())
    values, losses, drawn, seen = weights(learn), list(learn.recorder.losses), random_state(), counting.seen
    made, callbacks, step = learn.optimizer, list(learn.callbacks), learn.step
    find(learn)
    assert same(values, weights(learn))
    assert learn.optimizer is made
    assert str(learn.optimizer.state_dict()) == str(states)
    assert learn.recorder.losses == losses
    assert learn.dls.train.state_dict() == loader
    assert torch.equal(random_state()["torch"], drawn["torch"])
    assert (counting.seen, learn.lr, learn.callbacks, learn.step) == (seen, 1e-2, callbacks, step)
    assert (learn.epoch, learn.stop_reason) == (1, "")
    assert all(parameter.grad is None for parameter in learn.model.parameters())


def test_what_breaks_inside_leaves_the_learner_as_it_was(make_learner: Make) -> None:
    class Broken(Callback):
        def on_gradients(self, learner: Learner, result: Result) -> None:
            if learner.batches_done == 4:
                raise KeyboardInterrupt

    learn = make_learner(cbs=Broken())
    values = weights(learn)
    with pytest.raises(KeyboardInterrupt):
        find(learn)
    assert same(values, weights(learn))
    assert all(parameter.grad is None for parameter in learn.model.parameters())


def test_torch_s_own_loader_goes_on_as_if_nothing_had_been_read(batches: Any) -> None:
    rows = [(x, y) for xb, yb in batches(32) for x, y in zip(xb, yb, strict=True)]

    def trained(look: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        drawn = torch.Generator().manual_seed(3)
        loader: Any = torch.utils.data.DataLoader(rows, batch_size=4, shuffle=True, generator=drawn)  # type: ignore[arg-type]
        learn = Learner(DataLoaders(loader), nn.Linear(3, 1), nn.functional.mse_loss, SGD, device="cpu")
        if look:
            find(learn)
        with learn.no_logging():
            learn.fit(1)
        return weights(learn)

    assert same(trained(False), trained(True))


def test_suggestions_come_in_the_order_asked(make_learner: Make, batches: Any) -> None:
    learn = make_learner(train=batches(24))
    found = find(learn, suggest_funcs=(minimum, steep, valley, slide))
    assert found._fields == ("minimum", "steep", "valley", "slide")
    lr_min, lr_steep, *_ = found
    assert (lr_min, lr_steep) == (found.minimum, found.steep)
    assert find(learn, suggest_funcs=steep)._fields == ("steep",)
    assert find(learn)._fields == ("valley",)
    assert all(1e-6 < lr < 3 for lr in found)


@pytest.mark.parametrize("suggest", [minimum, steep, slide])
def test_the_suggested_rate_learns(make_learner: Make, batches: Any, suggest: Any) -> None:
    learn = make_learner(train=batches(24))
    (lr,) = find(learn, suggest_funcs=suggest)
    learn.fit(30, lr)
    assert learn.recorder.values[-1][1] < 0.5 * learn.recorder.values[0][1]


# A loss that is flat, falls from 1e-3 to 1e-1, and explodes: what each suggestion is, one can see.
LRS = [1e-6 * 10 ** (at / 14) for at in range(100)]


def bowl(lr: float) -> float:
    exponent = math.log10(lr)
    fallen = min(max((exponent + 3) / 2, 0.0), 1.0)
    return 2.0 - fallen + (max(0.0, exponent + 1) ** 2) * 3


LOSSES = [bowl(lr) for lr in LRS]


@pytest.mark.parametrize(
    ("function", "low", "high"),
    [(minimum, 0.008, 0.02), (valley, 0.006, 0.02), (steep, 9e-4, 0.1), (slide, 0.01, 0.1)],
)
def test_a_suggestion_is_where_one_would_look(function: Any, low: float, high: float) -> None:
    assert low <= function(LRS, LOSSES, 100) <= high


def test_it_is_bounded_and_goes_round_a_loader_of_one_batch(batches: Any) -> None:
    drawn: list[int] = []

    class Counted(list[Any]):
        def __iter__(self) -> Any:
            drawn.append(1)
            return super().__iter__()

    learn = Learner(
        SimpleNamespace(train=Counted(batches(8)), valid=None),
        nn.Linear(3, 1),
        nn.functional.mse_loss,
        SGD,
        device="cpu",
    )
    assert find(learn, num_it=50, stop_div=False, end_lr=0.5).valley > 0
    assert len(drawn) == 50


def test_a_stream_without_end_is_bounded(batches: Any) -> None:
    class Endless:
        def __iter__(self) -> Any:
            while True:
                yield from batches(8)

    learn = Learner(
        SimpleNamespace(train=Endless(), valid=None),
        nn.Linear(3, 1),
        nn.functional.mse_loss,
        SGD,
        device="cpu",
    )
    assert find(learn).valley > 0


def test_an_empty_loader_is_refused(make_learner: Make) -> None:
    class Empty:
        def __iter__(self) -> Any:
            return iter(())

    with pytest.raises(DataError, match="gave no batch"):
        find(make_learner(train=Empty()))


def flat(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (predictions * 0).mean() + 1.0


def broken(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return predictions.mean() * math.nan


@pytest.mark.parametrize(
    ("given", "asked", "why"),
    [
        ({"loss_func": flat}, {}, "flat"),
        ({"loss_func": broken}, {}, "nan or infinite at the first batch"),
        ({}, {"start_lr": 30.0, "end_lr": 1e3}, "too soon"),
        ({}, {"start_lr": 1e-12, "end_lr": 1e-11}, "flat"),
    ],
)
def test_a_useless_curve_is_called_so_and_gives_no_number(
    make_learner: Make, batches: Any, given: dict[str, Any], asked: dict[str, Any], why: str
) -> None:
    learn = make_learner(train=batches(24), **given)
    with pytest.warns(UserWarning, match=why):
        found = find(learn, **asked)
    assert math.isnan(found.valley)
    with pytest.raises(ArgumentError, match="lr is nan"):
        learn.fit(1, found.valley)


def test_a_trained_model_s_curve_that_only_rises_is_useless(make_learner: Make) -> None:
    drawn = torch.Generator().manual_seed(0)
    x, y = torch.randn(8, 3, generator=drawn), torch.randn(8, 1, generator=drawn)
    learn = make_learner(train=[(x, y)])
    best = torch.linalg.lstsq(torch.cat([x, torch.ones(8, 1)], 1), y).solution
    with torch.no_grad():
        learn.model.weight.copy_(best[:3].T)  # type: ignore[operator,union-attr]
        learn.model.bias.copy_(best[3])  # type: ignore[operator,union-attr]
    with pytest.warns(UserWarning, match="never falls"):
        assert math.isnan(find(learn, start_lr=1e-3).valley)


def test_the_plot_is_logarithmic_and_marks_the_suggestions(make_learner: Make) -> None:
    import matplotlib.pyplot as plt

    make_learner().lr_find(suggest_funcs=(minimum, valley))
    (ax,) = plt.gcf().axes
    assert ax.get_xscale() == "log"
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text().split()[0] for text in legend.get_texts()] == ["minimum", "valley"]


def test_what_cannot_be_asked_is_refused(make_learner: Make) -> None:
    learn = make_learner()
    with pytest.raises(ArgumentError, match="expected rates that climb"):
        find(learn, start_lr=1.0, end_lr=0.1)
    with pytest.raises(ArgumentError, match="num_it is 3; expected 10 or more"):
        find(learn, num_it=3)
    with pytest.raises(ArgumentTypeError, match="suggest_funcs has str 'valley'"):
        find(learn, suggest_funcs=["valley"])
    with pytest.raises(ArgumentTypeError, match="lr is slice"):
        find(learn, end_lr=slice(1e-3, 1.0))


def test_an_optimizer_with_its_own_settings_is_made_as_for_a_fit(make_learner: Make, batches: Any) -> None:
    learn = make_learner(opt_func=partial(SGD, mom=0.9), train=batches(24))
    assert find(learn).valley > 0
    assert learn.optimizer is None


def test_a_rate_that_was_not_asked_for_is_refused_by_name(make_learner: Make) -> None:
    found = find(make_learner(), suggest_funcs=(minimum, valley))
    assert (found.minimum, found.valley) == tuple(found)
    assert copy.copy(found).valley == found.valley
    with pytest.raises(AttributeError, match="no rate was suggested by slide; there are minimum, valley"):
        found.slide  # noqa: B018
