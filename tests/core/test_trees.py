"""A tree comes back from its flat form exactly as it was, or is refused by the place of what cannot."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plainlearn.core.errors import ArgumentTypeError, DataError
from plainlearn.core.trees import flatten, unflatten

KEYS = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
TREES = st.recursive(
    LEAVES
    | st.lists(st.floats(), min_size=30, max_size=40)
    | st.lists(st.integers(), min_size=32, max_size=40),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner),
    max_leaves=20,
)


def through_json(tree: Any) -> Any:
    tensors, plain = flatten(tree)
    return unflatten(tensors, json.loads(json.dumps(plain, allow_nan=False)))


def same(a: Any, b: Any) -> bool:
    """Equal in value and in kind, also nan, and zero with its sign."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        pairs = zip(a.items(), b.items(), strict=True)
        return len(a) == len(b) and all(same(a_key, b_key) and same(x, y) for (a_key, x), (b_key, y) in pairs)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return repr(a) == repr(b)
    return bool(a == b)


@given(TREES)
def test_a_tree_comes_back_as_it_was(tree: Any) -> None:
    assert same(through_json(tree), tree)


def test_an_optimizer_s_state_comes_back_as_it_was() -> None:
    weight = torch.nn.Parameter(torch.randn(3, 2))
    optimizer = torch.optim.Adam([weight], lr=0.1, betas=(0.5, 0.9))
    weight.grad = torch.ones(3, 2)
    optimizer.step()
    state, back = optimizer.state_dict(), through_json(optimizer.state_dict())
    assert same(back["param_groups"], state["param_groups"])
    assert list(back["state"]) == [0]
    for key, value in state["state"][0].items():
        assert torch.equal(back["state"][0][key], value)
        assert back["state"][0][key].dtype == value.dtype


def test_two_places_that_read_alike_keep_apart() -> None:
    tree = {"a.b": torch.ones(1), "a": {"b": torch.zeros(1)}}
    back = through_json(tree)
    assert (back["a.b"].item(), back["a"]["b"].item()) == (1, 0)


def test_what_looks_like_a_tag_is_data() -> None:
    tree = {"$tensor": "a", "x": {"$float": "nan"}}
    assert through_json(tree) == tree


def test_many_numbers_are_kept_as_a_tensor() -> None:
    tensors, plain = flatten({"losses": [0.1] * 100, "words": list(range(2**63 - 50, 2**63 + 50))})
    assert list(tensors) == ["losses"]
    assert plain["losses"] == {"$numbers": "losses"}
    assert math.isclose(tensors["losses"][0].item(), 0.1)


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"a": [1, {2}]}, "a.1 is set"),
        (len, "the state is builtin_function"),
        ({(1, 2): 0}, r"has the key \(1, 2\)"),
        ({"f": lambda: 0}, "f is "),
    ],
)
def test_what_cannot_be_kept_is_named_by_its_place(tree: Any, said: str) -> None:
    with pytest.raises(ArgumentTypeError, match=said):
        flatten(tree)


@pytest.mark.parametrize(
    "plain", [{"$tensor": "gone"}, {"$new": 1}, {"$dict": [1]}, {"$float": "x"}, {"$dict": 3}]
)
def test_what_no_tree_gives_is_refused(plain: Any) -> None:
    with pytest.raises(DataError, match="the state "):
        unflatten({}, plain)
