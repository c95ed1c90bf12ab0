"""A summary lists what ran, with shapes and parameters, and leaves the learner as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from plainlearn.data import DataLoaders
from plainlearn.train import Learner
from plainlearn.train.callback import HOOKS
from plainlearn.train.callbacks.gradients import GradientClip
from plainlearn.train.summary import _LOOP, summary


def learner() -> Learner:
    batches = [(torch.zeros(4, 2), torch.zeros(4, 1))]
    model = nn.Sequential(
        nn.Sequential(nn.Linear(2, 1000), nn.BatchNorm1d(1000)), nn.ReLU(), nn.Linear(1000, 1)
    )
    model[0][0].bias.requires_grad_(False)
    model[2].requires_grad_(False)
    return Learner(DataLoaders(batches, batches), model, nn.functional.mse_loss, device="cpu")


def test_each_layer_is_listed_with_its_shape_and_parameters() -> None:
    assert str(summary(learner())) == "\n".join([
        "Sequential, given shape (4, 2) (float32)",
        "layer  kind         gives     parameters  learns",
        "0.0    Linear       4 × 1000  3,000       in part",
        "0.1    BatchNorm1d  4 × 1000  2,000       yes",
        "1      ReLU         4 × 1000",
        "2      Linear       4 × 1     1,001       no",
        "6,001 parameters, of which 4,000 learn",
    ])  # fmt: skip


def test_looking_changes_nothing() -> None:
    learn = learner()
    learn.model.train()
    learn.model[1].eval()
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    summary(learn)
    assert [part.training for part in learn.model] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in learn.model.state_dict().items())
    assert not any(part._forward_hooks for part in learn.model.modules())


class Scaled(nn.Module):
    """Has a parameter of its own beside its parts, and a part that does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.layer, self.drop = nn.Parameter(torch.ones(2)), nn.Linear(2, 1), nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.layer(x * self.scale))


def test_the_parameters_of_a_layer_with_parts_are_listed_once_and_before_its_parts() -> None:
    learn = learner()
    learn.model = nn.Sequential(Scaled())
    listed = summary(learn)
    assert [(layer.name, layer.kind, layer.parameters) for layer in listed.layers] == [
        ("0", "Scaled", 2),
        ("0.layer", "Linear", 3),
    ]
    assert sum(layer.parameters for layer in listed.layers) == listed.parameters == 5


# ---- the loop is shown with the callbacks that are there


def test_the_loop_shows_who_acts_where(make_learner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    make_learner(cbs=GradientClip(1.0)).show_training_loop()
    lines = capsys.readouterr().out.splitlines()
    assert "        - on_gradients: FiniteLoss, GradientClip" in lines
    assert "        - on_step: Recorder, ProgressTable" in lines
    assert lines[0].startswith("within fit_scope: FiniteLoss, Recorder, ProgressTable")
    assert not any("on_batch" in line for line in lines)  # nobody acts there
    assert lines.index("        model, loss, backward") < lines.index("    loss and metrics on dls.valid")


def test_every_hook_of_the_loop_has_its_place() -> None:
    assert {text for _, text in _LOOP if text.isidentifier()} == set(HOOKS)
