"""A callback has the hooks that the loop calls, and no others."""

from __future__ import annotations

import pytest

from plainlearn.core.errors import ArgumentTypeError
from plainlearn.train import Callback
from plainlearn.train.callback import HOOKS, overriding


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("on_batches", "on_batch"),
        ("on_epoch_end", "on_epoch"),
        ("before_fit", "_before_fit, if it is"),
        ("on_x", "_on_x"),
    ],
)
def test_a_hook_that_is_never_called_is_refused(name: str, advice: str) -> None:
    with pytest.raises(ArgumentTypeError, match=f"Mine defines {name}, which the loop never calls") as caught:
        type("Mine", (Callback,), {name: lambda *_: None})
    assert f"Try {advice}" in str(caught.value)


def test_methods_of_one_s_own_are_not_taken_for_hooks() -> None:
    type("Mine", (Callback,), {"onset": None, "_on_end": None, "state_dict": None, "before": None})


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_counts_as_overridden_in_a_subclass_and_in_its_subclass(hook: str) -> None:
    mine = type("Mine", (Callback,), {hook: lambda *_: None})
    grandchild = type("Grandchild", (mine,), {})()
    idle = Callback()
    assert overriding([idle, grandchild, mine()], hook)[0] is grandchild
    for other in set(HOOKS) - {hook}:
        assert overriding([grandchild], other) == []


def test_the_hooks_named_are_the_hooks_there_are() -> None:
    public = {name for name in vars(Callback) if not name.startswith("_")}
    assert public == {*HOOKS, "state_dict", "load_state_dict"}
