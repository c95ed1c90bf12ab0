"""Activation statistics are those of the layers' outputs in training, and leave no hook behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.train import Callback, Learner
from plainlearn.train.callbacks.activations import BINS, ActivationStats

Make = Callable[..., Learner]


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))


def test_the_numbers_are_those_of_the_outputs(make_learner: Make, model: Any) -> None:
    outputs: list[Tensor] = []
    model[0].register_forward_hook(
        lambda layer, _, out: outputs.append(out.detach()) if torch.is_grad_enabled() else None
    )
    stats = ActivationStats(with_hist=True)
    make_learner(model=model).fit(2, cbs=stats)
    assert stats.layers == ["0 Linear", "2 Linear"]
    assert stats.stats.shape == (6, 2, 3)
    found = stats.layer_stats(0)
    assert found["mean"] == pytest.approx([each.mean().item() for each in outputs])
    assert found["std"] == pytest.approx([each.std(correction=0).item() for each in outputs])
    assert found["near_zero"] == pytest.approx(
        [(each.abs() <= 0.05).float().mean().item() for each in outputs]
    )
    assert stats.hists.shape == (6, 2, BINS)
    assert stats.hists[0, 0].sum() == outputs[0].numel()


def test_training_is_as_without_it_and_no_hook_stays(make_learner: Make) -> None:
    plain, watched = make_learner(), make_learner()
    plain.fit(2)
    watched.fit(2, cbs=ActivationStats(with_hist=True))
    assert torch.equal(plain.model.weight, watched.model.weight)  # type: ignore[arg-type]
    assert not watched.model._forward_hooks


def test_an_interrupted_run_leaves_no_hook(make_learner: Make, model: Any) -> None:
    class Fail(Callback):
        def on_step(self, learner: Learner, result: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_learner(model=model).fit(1, cbs=[ActivationStats(), Fail()])
    assert not any(part._forward_hooks for part in model.modules())


def test_layers_can_be_chosen_and_steps_left_out(make_learner: Make, model: Any) -> None:
    stats = ActivationStats(modules=[model[1]], every=2)
    make_learner(model=model).fit(2, cbs=stats)
    assert stats.layers == ["1 ReLU"]
    assert len(stats.stats) == 3


def test_a_dead_layer_shows(make_learner: Make, model: Any) -> None:
    nn.init.constant_(model[0].bias, -100.0)
    stats = ActivationStats(modules=[model[1]])
    make_learner(model=model).fit(1, cbs=stats)
    assert stats.layer_stats(0)["near_zero"] == [1.0] * 3


def test_the_pictures_show_what_was_seen(make_learner: Make, model: Any) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    stats = ActivationStats(with_hist=True)
    make_learner(model=model).fit(1, cbs=stats)
    stats.plot_layer_stats(-2)
    shown = plt.gcf().axes
    assert [ax.get_title() for ax in shown] == ["mean", "standard deviation", "share near zero"]
    assert list(shown[0].lines[0].get_ydata()) == stats.layer_stats(0)["mean"]
    picture = stats.color_dim(0).images[0].get_array()
    assert picture.shape == (BINS, 3)


def test_a_resumed_record_is_that_of_the_whole_run(make_learner: Make, model: Any) -> None:
    first, second = ActivationStats(with_hist=True), ActivationStats(with_hist=True)
    learn = make_learner(model=model)
    learn.fit(1, cbs=first)
    state = first.state_dict()

    class Resume(Callback):
        def fit_scope(self, learner: Learner) -> Any:
            second.load_state_dict(state)
            return super().fit_scope(learner)

    learn.fit(1, cbs=[second, Resume()])
    assert len(second.stats) == len(second.hists) == 6
    assert torch.equal(second.stats[:3], first.stats)
    with pytest.raises(DataError, match="the state is of 2 layers, and here are 0"):
        ActivationStats().load_state_dict(state)


def test_what_is_not_there_is_said(make_learner: Make, model: Any) -> None:
    stats = ActivationStats()
    with pytest.raises(DataError, match="nothing has been recorded yet"):
        stats.layer_stats(0)
    make_learner(model=model).fit(1, cbs=stats)
    with pytest.raises(
        ArgumentError, match="there is no layer int 2; the 2 that were recorded are 0 Linear, 2 Linear"
    ):
        stats.plot_layer_stats(2)
    with pytest.raises(DataError, match="there are no histograms"):
        stats.color_dim(0)
    with pytest.raises(ArgumentError, match="every is 0"):
        ActivationStats(every=0)
    with pytest.raises(ArgumentError, match="ReLU has no layer with parameters"):
        ActivationStats().fit_scope(make_learner(model=nn.ReLU(), opt_func=None)).__enter__()
