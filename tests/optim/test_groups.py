"""Parameters are grouped by depth and by whether they decay, and each depth has its learning rate."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, PlainlearnError
from plainlearn.optim import SGD, Adam, learning_rates, make_optimizer, parameter_groups, trainable_params
from plainlearn.optim.groups import set_learning_rates, split_by_depth


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


# ---- whatever makes an optimizer will do; what does not make one is named


TORCH_S_OWN = [
    kind
    for kind in vars(torch.optim).values()
    if isinstance(kind, type)
    and issubclass(kind, torch.optim.Optimizer)
    and kind.__name__ not in {"Optimizer", "LBFGS", "SparseAdam", "Muon"}
]


class BasicOptim:
    """The lesson's."""

    def __init__(self, params: Any, lr: float) -> None:
        self.params, self.lr = list(params), lr

    def step(self, *args: Any, **kwargs: Any) -> None:
        for p in self.params:
            p.data -= p.grad.data * self.lr

    def zero_grad(self, *args: Any, **kwargs: Any) -> None:
        for p in self.params:
            p.grad = None


def two_layers() -> list[list[nn.Parameter]]:
    return [list(nn.Linear(3, 2).parameters()), list(nn.Linear(2, 1).parameters())]


def shown(optimizer: torch.optim.Optimizer) -> list[tuple[int, float, float, int]]:
    return [
        (group["depth"], group["lr"], group["weight_decay"], len(group["params"]))
        for group in optimizer.param_groups
    ]


def test_depths_and_decay_make_the_groups() -> None:
    optimizer = make_optimizer(SGD, two_layers(), [0.1, 0.2], 0.5)
    set_learning_rates(optimizer, [0.1, 0.2])
    assert shown(optimizer) == [(0, 0.1, 0.5, 1), (0, 0.1, 0.0, 1), (1, 0.2, 0.5, 1), (1, 0.2, 0.0, 1)]


def test_the_optimizer_s_own_decay_spares_biases_too() -> None:
    optimizer = make_optimizer(Adam, two_layers()[:1], [0.1])
    assert shown(optimizer) == [(0, 0.1, 0.01, 1), (0, 0.1, 0.0, 1)]


def test_no_decay_makes_one_group_a_depth() -> None:
    assert shown(make_optimizer(SGD, two_layers(), [0.1, 0.1])) == [(0, 0.1, 0, 2), (1, 0.1, 0, 2)]
    assert shown(make_optimizer(Adam, two_layers(), [0.1, 0.1], 0.0)) == [(0, 0.1, 0, 2), (1, 0.1, 0, 2)]


def test_settings_of_a_partial_hold_in_all_groups() -> None:
    optimizer = make_optimizer(partial(SGD, mom=0.9), two_layers(), [0.1, 0.2], 0.5)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.9] * 4


def test_the_optimizer_is_made_once() -> None:
    made: list[Any] = []

    def opt_func(parameters: Any, lr: float) -> Any:
        made.append(Adam(parameters, lr))
        return made[-1]

    assert make_optimizer(opt_func, two_layers(), [0.1, 0.1]) is made[0]
    assert len(made) == 1


def test_there_are_optimizers_of_torch_s_to_try() -> None:
    assert len(TORCH_S_OWN) >= 10


@pytest.mark.parametrize("kind", TORCH_S_OWN, ids=lambda kind: kind.__name__)
def test_any_optimizer_of_torch_s_learns(kind: Any) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1)), torch.randn(16, 4)
    groups = [list(layer.parameters()) for layer in model]
    optimizer = make_optimizer(
        kind, groups, [1e-3, 1e-2], 0.01 if "weight_decay" in kind(groups[0]).defaults else None
    )
    set_learning_rates(optimizer, [1e-3, 1e-2])
    losses = []
    for _ in range(5):
        loss = (model(x) - 1).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert {(group["depth"], group["lr"]) for group in optimizer.param_groups} == {(0, 1e-3), (1, 1e-2)}


def test_the_lesson_s_optimizer_will_do() -> None:
    groups = two_layers()[:1]
    optimizer = make_optimizer(BasicOptim, groups, [0.1])
    set_learning_rates(optimizer, [0.5])
    assert (optimizer.params, optimizer.lr) == (groups[0], 0.5)


@pytest.mark.parametrize(
    ("opt_func", "found"),
    [
        ("adam", "opt_func is str 'adam'; expected a function that makes an optimizer"),
        (SGD(two_layers()[0], 0.1), "opt_func is an optimizer already, SGD; expected a function"),
        (lambda params, lr: None, "opt_func gave NoneType None, which has no step and no zero_grad"),
        (lambda params, lr: 0.1, "opt_func gave float 0.1"),
        (lambda params, lr: SGD, "opt_func gave type <class .*; expected an optimizer"),
    ],
)
def test_what_makes_no_optimizer_is_named(opt_func: Any, found: str) -> None:
    with pytest.raises(ArgumentTypeError, match=found) as caught:
        make_optimizer(opt_func, two_layers()[:1], [0.1])
    assert "Try opt_func=SGD" in str(caught.value)


def test_an_opt_func_that_takes_no_lr_fails_in_its_own_words_with_a_note() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'lr'") as caught:
        make_optimizer(lambda params: None, two_layers()[:1], [0.1])
    assert caught.value.__notes__ == ["The optimizer is made by opt_func(parameters, lr=0.1)."]


@pytest.mark.parametrize(
    ("opt_func", "groups", "wd", "found"),
    [
        (torch.optim.LBFGS, two_layers()[:1], None, "LBFGS.step asks for closure, and the loop calls step()"),
        (
            BasicOptim,
            two_layers(),
            None,
            "BasicOptim takes one learning rate, and the model has 2 parameter groups",
        ),
        (BasicOptim, two_layers()[:1], 0.1, "wd is 0.1, and BasicOptim is not one of torch's optimizers"),
        (torch.optim.Rprop, two_layers(), 0.1, "wd is 0.1, and Rprop has no weight decay"),
        (SGD, two_layers(), -0.1, "wd is -0.1; expected a finite number of 0 or more"),
        (SGD, two_layers(), float("nan"), "wd is nan; expected"),
        (SGD, two_layers(), "big", "wd is 'big'; expected"),
    ],
)
def test_what_an_optimizer_cannot_do_is_refused(opt_func: Any, groups: Any, wd: Any, found: str) -> None:
    with pytest.raises(ArgumentError, match=found.replace("()", r"\(\)")):
        make_optimizer(opt_func, groups, [0.1] * len(groups), wd)


def test_groups_of_opt_func_s_own_are_left_as_they_are_or_refused() -> None:
    def grouped(parameters: Any, lr: float, head: dict[str, Any] | None = None) -> Any:
        return torch.optim.SGD(
            [{"params": parameters[:1]}, {"params": parameters[1:], **(head or {})}], lr=lr
        )

    optimizer = make_optimizer(partial(grouped, head={"weight_decay": 0.3}), two_layers()[:1], [0.1])
    set_learning_rates(optimizer, [0.2])
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [
        (0.2, 0),
        (0.2, 0.3),
    ]
    for opt_func, depths, wd in (
        (partial(grouped, head={"lr": 0.5}), 1, None),
        (grouped, 2, None),
        (grouped, 1, 0.1),
    ):
        with pytest.raises(ArgumentError, match="made 2 parameter groups of its own"):
            make_optimizer(opt_func, two_layers()[:depths], [0.1] * depths, wd)
