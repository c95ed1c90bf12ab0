"""The loop is shown with the callbacks that are there."""

from __future__ import annotations

from typing import Any

import pytest

from plainlearn.train.callback import HOOKS
from plainlearn.train.callbacks.gradients import GradientClip
from plainlearn.train.show_loop import _LOOP


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
