"""Parameters are grouped by depth and by whether they decay, and each depth has its learning rate."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, PlainlearnError
from plainlearn.optim import learning_rates, parameter_groups, trainable_params
from plainlearn.optim.groups import split_by_depth


def three_layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def by_layer(model: nn.Module) -> list[list[nn.Parameter]]:
    return [list(layer.parameters()) for layer in model.children()]


def ids(parameters: Any) -> list[int]:
    return [id(parameter) for parameter in parameters]


# ---------------------------------------------------------------- depths


def test_without_a_splitter_there_is_one_group_of_what_can_learn() -> None:
    model = three_layers()
    model[0].requires_grad_(False)
    assert ids(split_by_depth(model, trainable_params)[0]) == ids(
        [*model[1].parameters(), *model[2].parameters()]
    )


def test_a_splitter_s_groups_keep_their_order() -> None:
    model = three_layers()
    assert [ids(group) for group in split_by_depth(model, by_layer)] == [ids(g) for g in by_layer(model)]


def test_a_frozen_depth_stays_empty_so_that_the_others_keep_their_number() -> None:
    model = three_layers()
    model[0].requires_grad_(False)
    assert [len(group) for group in split_by_depth(model, by_layer)] == [0, 2, 2]


@pytest.mark.parametrize(
    "splitter",
    [
        lambda model: model.parameters(),
        lambda model: [model[0].parameters(), [*model[1].parameters(), *model[2].parameters()]],
        lambda model: (list(layer.parameters()) for layer in model),
    ],
)
def test_a_splitter_may_give_any_iterables(splitter: Any) -> None:
    model = three_layers()
    groups = split_by_depth(model, splitter)
    assert ids(parameter for group in groups for parameter in group) == ids(model.parameters())


@pytest.mark.parametrize(
    ("model", "splitter", "found"),
    [
        (nn.ReLU(), trainable_params, "the model ReLU has no parameter to train; a fit would change nothing"),
        (three_layers().requires_grad_(False), trainable_params, "all 6 of its parameters are frozen"),
        (three_layers().requires_grad_(False), by_layer, "all 6 of its parameters are frozen"),
        (three_layers(), lambda model: [], "no parameter to train"),
        (three_layers(), lambda m: [[m[0].weight], [m[0].weight]], "put a parameter into two groups"),
        (three_layers(), lambda m: [["weight"]], "the splitter gave str 'weight' among the parameters"),
        (three_layers(), lambda m: list(m), "the splitter gave Linear .* among the parameters"),
        (three_layers(), lambda m: [3], "the splitter gave int 3 among the parameters"),
    ],
)
def test_groups_that_cannot_be_trained_are_refused(model: nn.Module, splitter: Any, found: str) -> None:
    with pytest.raises(PlainlearnError, match=found):
        split_by_depth(model, splitter)


# ---------------------------------------------------------------- decay


def test_biases_and_norms_do_not_decay() -> None:
    model = three_layers()
    made = parameter_groups(by_layer(model), 0.1)
    assert [(group["depth"], group.get("weight_decay")) for group in made] == [
        (0, 0.1),
        (0, 0.0),
        (1, 0.0),
        (2, 0.1),
        (2, 0.0),
    ]
    assert ids(made[0]["params"]) == ids([model[0].weight])
    assert ids(made[2]["params"]) == ids(model[1].parameters())


def test_without_a_decay_a_depth_is_one_group() -> None:
    made = parameter_groups(by_layer(three_layers()), 0)
    assert [(group["depth"], group["weight_decay"], len(group["params"])) for group in made] == [
        (0, 0, 2),
        (1, 0, 2),
        (2, 0, 2),
    ]


def test_no_word_on_decay_leaves_the_optimizer_s_own() -> None:
    made = parameter_groups([list(nn.Linear(2, 2).parameters())], None)
    assert ["weight_decay" in group for group in made] == [False, True]


# ---------------------------------------------------------------- learning rates

rates = st.floats(1e-6, 10)


@given(rates, rates, st.integers(2, 6))
def test_a_slice_is_spread_by_equal_factors(low: float, high: float, depths: int) -> None:
    spread = learning_rates(slice(low, high), depths)
    assert (spread[0], spread[-1]) == pytest.approx((low, high))
    factors = [b / a for a, b in itertools.pairwise(spread)]
    assert factors == pytest.approx([factors[0]] * len(factors))


def test_a_slice_with_one_end_gives_a_tenth_to_all_but_the_last() -> None:
    assert learning_rates(slice(1e-2), 3) == [1e-3, 1e-3, 1e-2]
    assert learning_rates(slice(1e-2), 1) == learning_rates(slice(1e-4, 1e-2), 1) == [1e-2]


@pytest.mark.parametrize("lr", [0.5, torch.tensor(0.5), [0.5, 0.5], (0.5, 0.5)])
def test_a_number_is_for_all_and_a_list_for_each(lr: Any) -> None:
    assert learning_rates(lr, 2) == [0.5, 0.5]


@pytest.mark.parametrize(
    "lr", [0, -1, 0.0, float("nan"), float("inf"), [0.1, 0.0], slice(0, 1), slice(1e-3, -1)]
)
def test_a_rate_that_is_no_rate_is_refused(lr: Any) -> None:
    with pytest.raises(ArgumentError, match=r"lr is .*; expected a finite number above 0") as caught:
        learning_rates(lr, 2)
    assert "Try lr=1e-3" in str(caught.value)


@pytest.mark.parametrize("lr", ["fast", "1e-3", True, None, {}, torch.zeros(2), slice("a", "b")])
def test_a_rate_that_is_no_number_is_refused(lr: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=r"lr is .*; expected a number above 0"):
        learning_rates(lr, 1)


@pytest.mark.parametrize("lr", [slice(None), slice(1e-3, None), slice(1e-5, 1e-3, 2)])
def test_a_slice_that_is_not_two_rates_is_refused(lr: slice) -> None:
    with pytest.raises(ArgumentError, match="expected a slice of a lowest and a highest rate"):
        learning_rates(lr, 2)


def test_as_many_rates_as_depths_are_needed() -> None:
    with pytest.raises(ArgumentError, match="lr has 3 rates and the model 2 parameter groups"):
        learning_rates([1e-3] * 3, 2)
