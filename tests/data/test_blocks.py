"""Blocks that need no pixels: what they learn, encode, decode, refuse, count and imply."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plainlearn.core.errors import ArgumentTypeError, DataError, ShapeError
from plainlearn.data import DataBlock, IndexSplitter
from plainlearn.data.blocks import (
    Block,
    CategoryBlock,
    Checks,
    Examines,
    HasLabels,
    MultiCategoryBlock,
    RegressionBlock,
    Spatial,
    made,
)
from plainlearn.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, MSELossFlat
from plainlearn.metrics import accuracy, accuracy_multi, rmse

labels = st.one_of(st.text(min_size=1).filter(str.strip), st.integers(), st.booleans())


@given(st.lists(labels, min_size=1))
def test_what_a_category_block_learned_it_encodes_and_decodes(values: list[object]) -> None:
    block = CategoryBlock().setup(values)
    for value in values:
        code = block.encode(value)
        assert code.dtype == torch.int64 and code.shape == ()
        assert block.decode(code) == value
    assert block.outputs == len(set(values))


@given(st.lists(st.lists(st.sampled_from("abcdef"), unique=True), min_size=1).filter(any))
def test_what_a_multi_category_block_learned_it_encodes_and_decodes(values: list[list[str]]) -> None:
    block = MultiCategoryBlock().setup(values)
    for value in values:
        code = block.encode(value)
        assert code.dtype == torch.float32 and code.shape == (block.outputs,)
        assert block.decode(code) == sorted(value)
        assert block.show(block.decode(code), None) == "; ".join(sorted(value))


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_numbers_encode_and_decode_to_themselves(values: list[float]) -> None:
    block = RegressionBlock().setup([values])
    assert np.array_equal(np.atleast_1d(block.decode(block.encode(values))), np.float32(values))
    assert block.outputs == len(values)


def test_the_vocabulary_is_sorted_given_or_as_it_comes() -> None:
    assert CategoryBlock().setup(["b", "a", "b"]).vocab == ["a", "b"]
    assert CategoryBlock(sort=False).setup(["b", "a", "b"]).vocab == ["b", "a"]
    assert CategoryBlock(vocab=["z", "b", "a"]).setup(["a"]).vocab == ["z", "b", "a"]
    assert CategoryBlock().setup([True, False]).vocab == [False, True]
    assert CategoryBlock().setup([1, "a", None, float("nan"), 0]).vocab == [
        0,
        1,
        "a",
    ]  # no order of their own


def test_a_table_s_scalars_are_shown_as_python_s() -> None:
    column = pd.Series([True, False, True])
    assert str(CategoryBlock().setup(list(column)).vocab) == "[False, True]"
    assert str(CategoryBlock().setup(list(np.array([7, 3]))).vocab) == "[3, 7]"
    assert CategoryBlock().setup(list(column)).encode(np.True_) == 1


def test_add_na_gives_number_0_to_what_is_unknown() -> None:
    block = CategoryBlock(add_na=True).setup(["b", "a"])
    assert block.vocab == ["#na#", "a", "b"] and block.outputs == 3
    assert [int(block.encode(each)) for each in ("b", "x", None)] == [2, 0, 0]
    assert list(block.labels_of("x")) == ["#na#"]


@pytest.mark.parametrize(
    "value, said",
    [
        (None, "label is None"),
        (np.nan, "label is nan"),
        ("", "label is ''"),
        (pd.NA, "label is <NA>"),
        (["a"], "expected one label"),
        (np.zeros(2), "expected one label"),
    ],
)
def test_what_is_no_label_is_refused_before_and_after_learning(value: object, said: str) -> None:
    assert said in CategoryBlock().check(value)
    assert said in CategoryBlock(["a", "b"]).check(value)


def test_an_unknown_label_is_refused_with_the_vocabulary() -> None:
    with pytest.raises(
        DataError, match=r"'x' is not in the vocabulary of 2: 'a', 'b'\n  Try CategoryBlock\(add_na"
    ):
        CategoryBlock(["a", "b"]).encode("x")
    with pytest.raises(DataError, match=r"'x' is not in the vocabulary: 'a'"):
        MultiCategoryBlock(vocab=["a"]).encode(["a", "x"])
    with pytest.raises(DataError, match="'a' twice"):
        CategoryBlock(["a", "b", "a"])
    with pytest.raises(DataError, match="'a' twice"):
        MultiCategoryBlock(vocab=["a", "a"])
    with pytest.raises(ArgumentTypeError, match="vocab is the text '37'"):
        CategoryBlock("37")


def test_labels_007_and_na_stay_what_they_are() -> None:
    block = CategoryBlock().setup(["007", "NA", "7", "null"])
    assert block.vocab == ["007", "7", "NA", "null"]


def test_a_text_is_no_list_of_labels() -> None:
    assert "expected a list of labels" in MultiCategoryBlock().check("cat")
    assert "empty" in MultiCategoryBlock().check(["a", ""])
    with pytest.raises(DataError, match="none of 2 training items has a label"):
        MultiCategoryBlock().setup([[], []])


def test_encoded_columns_are_zeros_and_ones_of_a_known_vocabulary() -> None:
    block = MultiCategoryBlock(encoded=True, vocab=["a", "b"])
    assert block.encode([0, 1]).tolist() == [0.0, 1.0]
    assert block.decode(block.encode(np.array([1, 1]))) == ["a", "b"]
    assert list(block.labels_of([0, 1])) == ["b"]
    assert "3 columns for a vocabulary of 2" in block.check([0, 1, 1])
    assert "holds 0.5; expected 0 or 1" in block.check([0, 0.5])
    with pytest.raises(DataError, match="encoded=True needs the names"):
        MultiCategoryBlock(encoded=True)


@pytest.mark.parametrize(
    "value, said",
    [
        ("x", "not a number"),
        (None, "not finite"),
        (np.inf, "not finite"),
        ([1, 2], "has 2 numbers; expected 1"),
    ],
)
def test_a_target_that_is_no_finite_number_is_refused(value: object, said: str) -> None:
    assert said in RegressionBlock(1).check(value)
    with pytest.raises(DataError, match=said):
        RegressionBlock(1).encode(value)


def test_numbers_read_as_text_are_numbers() -> None:
    assert RegressionBlock().encode("2.5") == 2.5
    assert RegressionBlock().decode(torch.tensor(2.5)) == 2.5


def test_each_target_implies_its_loss_and_metric() -> None:
    assert isinstance(CategoryBlock().loss_func(), CrossEntropyLossFlat)
    assert isinstance(MultiCategoryBlock().loss_func(), BCEWithLogitsLossFlat)
    assert isinstance(RegressionBlock().loss_func(), MSELossFlat)
    metrics = [
        block.metric() for block in (CategoryBlock(), MultiCategoryBlock(), RegressionBlock(), Block())
    ]
    assert metrics == [accuracy, accuracy_multi, rmse, None]
    assert Block().loss_func() is None and Block().outputs is None and Block().vocab is None


def test_blocks_print_as_they_are_made_and_compare() -> None:
    for block in (CategoryBlock(), CategoryBlock(["a"]), CategoryBlock(add_na=True), RegressionBlock(2),
                  MultiCategoryBlock(vocab=["a"]), MultiCategoryBlock()):  # fmt: skip
        assert eval(repr(block)) == block
    assert CategoryBlock(["a"]) != CategoryBlock(["b"])
    assert CategoryBlock().setup(["a"]) is not CategoryBlock()


def test_the_block_that_was_given_learns_nothing_itself() -> None:
    block = CategoryBlock()
    block.setup(["a"])
    assert block == CategoryBlock()


def test_values_that_differ_in_shape_are_refused_by_item() -> None:
    with pytest.raises(ShapeError, match=r"the Regression of a has the shape \(2,\) and that of b \(3,\)"):
        RegressionBlock().gather([torch.zeros(2), torch.zeros(3)], ["a", "b"])


def test_a_block_may_be_a_class_an_instance_or_a_function_and_nothing_else() -> None:
    assert made(CategoryBlock) == made(CategoryBlock()) == made(lambda: CategoryBlock())
    with pytest.raises(ArgumentTypeError, match="'cat' is not a block"):
        made("cat")


def test_a_number_is_shown_as_people_write_it() -> None:
    block = RegressionBlock()
    assert block.show(np.float32(11.2417), None) == "11.24"
    assert block.show(np.array([1.0, 0.333333]), None) == "1, 0.3333"


def test_what_a_block_does_not_do_it_has_no_method_for() -> None:
    class Even(Block):
        def check(self, value: object) -> str:
            return "" if value == 2 else f"{value!r} is not 2"

    assert isinstance(Even(), Checks) and not isinstance(Block(), Checks | Examines | HasLabels | Spatial)
    assert isinstance(CategoryBlock(), HasLabels) and not isinstance(RegressionBlock(), HasLabels)
    with pytest.raises(DataError, match=r"1 of 2 training items cannot be used; the first is 3: 3 is not 2"):
        DataBlock((Even, Block), splitter=IndexSplitter([0])).datasets([2, 2, 3])


def test_half_of_what_geometry_needs_is_refused_and_not_ignored() -> None:
    class Angle(Block):
        def place(self, thing: object, frame: object) -> object:
            return thing

    with pytest.raises(ArgumentTypeError, match="Angle has only one of place and begin_batch"):
        made(Angle)
