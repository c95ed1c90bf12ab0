"""Items to a batch: what becomes of each kind, and which items a message names."""

from __future__ import annotations

import enum
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plainlearn.core.errors import ArgumentTypeError, DataError, ShapeError
from plainlearn.core.lists import L
from plainlearn.data.collating import collate

Point = namedtuple("Point", "x y")
Colour = enum.IntEnum("Colour", "RED GREEN")


class Thing:
    """Of no kind that collate knows."""

    def __repr__(self) -> str:  # no address: two workers must give a test one name
        return "Thing()"


def same(a: Any, b: Any) -> bool:
    """Equal in value, dtype and make, through tuples, lists and dicts."""
    if isinstance(b, torch.Tensor):
        return isinstance(a, torch.Tensor) and a.dtype == b.dtype and a.equal(b)
    if isinstance(b, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(b, dict):
        return type(a) is dict and list(a) == list(b) and all(same(a[key], b[key]) for key in b)
    return type(a) is type(b) and a == b


THING = Thing()


@pytest.mark.parametrize(
    ("items", "batch"),
    [
        ([1, 2], torch.tensor([1, 2])),
        ([1.5, 2.0], torch.tensor([1.5, 2.0])),
        ([True, False], torch.tensor([True, False])),
        # Whichever comes first, whole numbers among others are numbers like the others.
        ([1, 2.5], torch.tensor([1.0, 2.5])),
        ([2.5, 1], torch.tensor([2.5, 1.0])),
        ([np.float32(1), np.float32(2)], torch.tensor([1.0, 2.0])),
        ([np.float64(1), np.float64(2)], torch.tensor([1.0, 2.0])),
        ([np.int32(1), np.int32(2)], torch.tensor([1, 2], dtype=torch.int32)),
        ([np.bool_(True), np.bool_(False)], torch.tensor([True, False])),
        ([1, np.int64(2)], torch.tensor([1, 2])),
        ([Colour.RED, Colour.GREEN], torch.tensor([1, 2])),
        ([torch.tensor(1), torch.tensor(2)], torch.tensor([1, 2])),
        ([torch.ones(2, dtype=torch.float64)] * 2, torch.ones(2, 2, dtype=torch.float64)),
        ([np.ones(2, np.float64)] * 2, torch.ones(2, 2)),
        ([np.ones(2, np.uint8)] * 2, torch.ones(2, 2, dtype=torch.uint8)),
        ([np.array(3), np.array(4)], torch.tensor([3, 4])),
        (["a", "b"], ("a", "b")),
        ([np.str_("cat"), np.str_("dog")], (np.str_("cat"), np.str_("dog"))),
        ([b"a", "b"], (b"a", "b")),
        ([Path("a"), "b"], (Path("a"), "b")),
        ([THING, THING], (THING, THING)),
        ([1j, 2j], (1j, 2j)),
        ([(1, "a"), (2, "b")], (torch.tensor([1, 2]), ("a", "b"))),
        ([[1, "a"], [2, "b"]], [torch.tensor([1, 2]), ("a", "b")]),
        ([L(1, "a"), L(2, "b")], [torch.tensor([1, 2]), ("a", "b")]),
        ([Point(1, "a"), Point(2, "b")], Point(torch.tensor([1, 2]), ("a", "b"))),
        ([(), ()], ()),
        (
            [{"x": 1, "y": (2, "a")}, {"y": (3, "b"), "x": 4}],
            {"x": torch.tensor([1, 4]), "y": (torch.tensor([2, 3]), ("a", "b"))},
        ),
        ([OrderedDict(x=1), OrderedDict(x=2)], {"x": torch.tensor([1, 2])}),
    ],
    ids=repr,
)
def test_each_kind_of_item_becomes_a_batch_of_its_kind(items: list[Any], batch: Any) -> None:
    assert same(collate(items), batch)


def test_numbers_follow_torchs_default_dtype() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert collate([1.5]).dtype == collate([np.float64(1.5)]).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_flipped_or_read_only_array_can_be_in_a_batch() -> None:
    flipped = np.arange(6.0).reshape(2, 3)[:, ::-1]
    read_only = np.arange(6.0).reshape(2, 3)
    read_only.flags.writeable = False  # as the pixels of a picture are
    batch = collate([flipped, read_only])
    assert batch.tolist() == [[[2, 1, 0], [5, 4, 3]], [[0, 1, 2], [3, 4, 5]]]
    batch.zero_()
    assert flipped.sum() == read_only.sum() == 15


def test_a_batch_of_arrays_is_a_copy_even_of_one() -> None:
    array = np.ones(3, np.float32)
    collate([array]).zero_()
    assert array.sum() == 3


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.text(), st.booleans()), min_size=1))
def test_fields_can_be_taken_apart_again(items: list[tuple[int, str, bool]]) -> None:
    numbers, names, flags = collate(items)
    assert list(zip(numbers.tolist(), names, flags.tolist(), strict=True)) == items


@pytest.mark.parametrize("kind", [torch.zeros, np.zeros])
def test_shapes_that_differ_are_named_with_their_items_and_what_to_add(kind: Any) -> None:
    items = [(kind((3, 4)), 0), (kind((3, 4)), 1), (kind((3, 5)), 2)]
    with pytest.raises(ShapeError) as caught:
        collate(items)
    assert str(caught.value) == (
        "the shapes in a batch differ: item 0[0] is (3, 4), item 2[0] is (3, 5); expected one shape\n"
        "  Try item_tfms=Resize(224) for images, or a collate_fn of your own"
    )


def test_items_are_called_by_the_numbers_that_are_given() -> None:
    with pytest.raises(ShapeError, match=r"item 70\['x'\]\[1\] is \(2,\), item 9\['x'\]\[1\] is \(3,\)"):
        collate([{"x": (0, torch.zeros(2))}, {"x": (0, torch.zeros(3))}], numbers=[70, 9])


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([], "no items to put together; expected one or more"),
        ([None, None], r"item 0 is None, which cannot be put into a batch"),
        ([1, None], r"item 1 is None"),
        ([torch.zeros(2), None], r"item 1 is None"),
        ([(1, "a"), (2, None)], r"item 1\[1\] is None"),
        ([1, "a"], r"item 0 is int 1 and item 1 is str 'a'; a batch needs one kind"),
        (["a", 1], r"item 0 is str 'a' and item 1 is int 1; a batch needs one kind"),
        ([torch.zeros(2), 1], r"item 0 is Tensor of shape \(2,\) and item 1 is int 1"),
        ([torch.zeros(2), np.zeros(2)], r"Tensor of shape \(2,\) and item 1 is ndarray of shape \(2,\)"),
        ([(1,), 1], r"item 0 is tuple \(1,\) and item 1 is int 1"),
        ([{"x": 1}, 1], r"item 0 is dict \{'x': 1\} and item 1 is int 1"),
        ([THING, 1], r"item 0 is Thing .* and item 1 is int 1"),
        ([(1, 2), (1,)], r"item 0 has 2 fields and item 1 has 1; expected the same fields in each"),
        ([(1, [1, 2]), (1, [1])], r"item 0\[1\] has 2 fields and item 1\[1\] has 1"),
        ([{"x": 1}, {"y": 1}], r"item 0 has the keys \['x'\] and item 1 has \['y'\]"),
        ([{"x": 1}, {"x": 1, "y": 1}], r"item 1 has \['x', 'y'\]"),
        ([2**63, 1], r"item 0 is int 9223372036854775808, too large"),
        ([1, 2**70], r"item 1 is int 1180591620717411303424, too large for the 64 bits of a tensor"),
    ],
    ids=str,
)
def test_what_cannot_be_a_batch_is_refused_with_the_items_name(items: list[Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        collate(items)


def test_a_huge_item_is_told_in_a_few_words() -> None:
    with pytest.raises(DataError) as caught:
        collate([0, list(range(100_000))])
    assert len(str(caught.value)) < 300


def test_arrays_that_hold_no_numbers_are_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="expected numbers"):
        collate([np.array(["a"]), np.array(["b"])])


def test_an_error_of_torch_that_is_not_about_shapes_comes_out() -> None:
    with pytest.raises(RuntimeError) as caught:
        collate([torch.zeros(2), torch.zeros(2, device="meta")])
    assert not isinstance(caught.value, DataError)
