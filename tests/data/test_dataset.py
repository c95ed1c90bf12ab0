"""Datasets of blocks: items in, encoded tuples out, and everything that cannot be used refused when they are made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from plainlearn.core.errors import DataError
from plainlearn.core.lists import L
from plainlearn.data.blocks import Block, CategoryBlock, MultiCategoryBlock, RegressionBlock
from plainlearn.data.dataset import BlockDataset, Datasets, listed, reader
from plainlearn.data.reading import draws_items
from plainlearn.data.transform import Function


def datasets(
    items: Any, *blocks: Block, splits: Any = ([0, 1, 2], [3]), getters: Any = None, n_inp: int = 1
) -> Datasets:
    getters = getters or [lambda item: item[0], lambda item: item[1]]
    return Datasets.from_split(BlockDataset(listed(items), blocks, tuple(getters), n_inp=n_inp), splits)


PAIRS = [(10, "a"), (20, "b"), (30, "a"), (40, "b")]


def test_an_item_becomes_a_tuple_that_decodes_to_itself() -> None:
    made = datasets(PAIRS, Block(), CategoryBlock())
    assert made.train[1] == (20, torch.tensor(1))
    assert made.decode(made.train[1]) == (20, "b")
    assert made.vocab == ["a", "b"] and made[1] is made.valid
    assert made.train.counts() == {"a": 2, "b": 1} and made.valid.counts() == {"a": 0, "b": 1}
    assert made.train.values(1) == ["a", "b", "a"]
    assert "train: 3 items of (Block, Category)" in repr(made).replace("(,", "(Block,")


def test_a_label_that_only_validation_has_is_found_at_once_with_its_item() -> None:
    with pytest.raises(
        DataError, match=r"1 of 1 validation items cannot be used; the first is \(4, 'c'\): the label 'c'"
    ):
        datasets([(1, "a"), (2, "b"), (3, "a"), (4, "c")], Block(), CategoryBlock())


def test_a_missing_label_in_training_is_named_with_its_item() -> None:
    with pytest.raises(DataError, match=r"1 of 3 training items cannot be used; the first is \(2, None\)"):
        datasets([(1, "a"), (2, None), (3, "a"), (4, "a")], Block(), CategoryBlock())
    with pytest.raises(DataError, match=r"the first is \(3, 'c'\): the label 'c' is not in the vocabulary"):
        datasets([(1, "a"), (2, "b"), (3, "c"), (4, "a")], Block(), CategoryBlock(["a", "b"]))
    with pytest.raises(DataError, match=r"the target has 1 numbers; expected 2"):
        datasets([(1, [1, 2]), (2, [1, 2]), (3, 4), (4, [1, 2])], Block(), RegressionBlock())


def test_a_getter_that_fails_tells_which_item() -> None:
    with pytest.raises(KeyError) as caught:
        datasets(
            [{"l": 1}, {"m": 2}, {"l": 3}, {"l": 4}], Block(), CategoryBlock(), getters=[id, lambda d: d["l"]]
        )
    assert "the item is {'m': 2}" in caught.value.__notes__


def test_a_block_that_needs_one_value_reads_one() -> None:
    class First(Block):
        def setup(self, values: Any) -> First:
            self.first = values[0]
            return self

    read: list[int] = []

    def getter(item: tuple[int, str]) -> int:
        read.append(item[0])
        return item[0]

    datasets(PAIRS, First(), CategoryBlock(), getters=[getter, lambda item: item[1]])
    assert read == [10]


def test_tables_give_rows_whatever_their_index() -> None:
    df = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "y": list("abab")}, index=[30, 10, 20, 7])
    made = datasets(df, Block(), CategoryBlock(), getters=[reader("x"), reader(1)])
    assert made.train[0][0] == 1.0 and made.valid.values(1) == ["b"]
    df.loc[20, "y"] = None
    with pytest.raises(
        DataError, match=r"the first is row 20 \(x=3.0, y=(None|nan)\): the label is (None|nan)"
    ):
        datasets(df, Block(), CategoryBlock(), getters=[reader("x"), reader(1)])


def test_several_targets_have_several_vocabularies() -> None:
    items = [(1, "a", ["x"]), (2, "b", ["y", "x"]), (3, "a", []), (4, "a", ["x"])]
    getters = [lambda item, i=i: item[i] for i in range(3)]
    made = datasets(items, Block(), CategoryBlock(), MultiCategoryBlock(), getters=getters)
    assert made.vocab == [["a", "b"], ["x", "y"]]
    assert len(made.train[0]) == 3
    multi = datasets(items, Block(), MultiCategoryBlock(), getters=[getters[0], getters[2]])
    assert multi.train.counts() == {"x": 2, "y": 1}


def test_unknown_labels_are_counted_as_unknown() -> None:
    made = datasets([(1, "a"), (2, "b"), (3, "a"), (4, "z")], Block(), CategoryBlock(add_na=True))
    assert made.valid.counts() == {"#na#": 1, "a": 0, "b": 0}


def test_without_classes_there_is_nothing_to_count() -> None:
    made = datasets([(1, 1.0), (2, 2.0), (3, 3.0), (4, 1.0)], Block(), RegressionBlock())
    with pytest.raises(DataError, match="no target here has classes that can be counted; the blocks are"):
        made.train.counts()
    with pytest.raises(DataError, match="no target here has a vocabulary"):
        _ = made.vocab


def test_functions_see_the_things_as_they_are_opened() -> None:
    double = Function(lambda things: (things[0] * 2, things[1]))
    getters = (lambda item: item[0], lambda item: item[1])
    made = BlockDataset(L(PAIRS), (Block(), Block()), getters, n_inp=1, item_tfms=(double,))
    assert made[1] == (40, "b") and made[1].item == (20, "b")


def test_what_a_dataset_draws_comes_of_the_generator_alone() -> None:
    jitter = Function(lambda things: (things[0] + rng.random(), things[1]))
    plain = BlockDataset(L([1, 2]), (Block(), Block()), (lambda item: item,) * 2, n_inp=1)
    rng = np.random.default_rng(5)
    drawn = replace(plain, item_tfms=(jitter,)).draw(1, rng)
    assert plain.draw(1, rng) == plain[1] == (2, 2) and not draws_items(plain)
    assert draws_items(replace(plain, item_tfms=(jitter,)))
    assert drawn == (2 + np.random.default_rng(5).random(), 2)


def test_reading_a_plain_dataset_draws_nothing_from_the_global_generator() -> None:
    made = datasets(PAIRS, Block(), CategoryBlock())
    before = torch.get_rng_state()
    _ = made.train[0]
    assert torch.equal(torch.get_rng_state(), before)
