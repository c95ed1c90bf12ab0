"""Splitters divide the items as they say, whatever numbers come, and refuse what would lose or mix items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plainlearn.core.errors import ArgumentError, SplitError
from plainlearn.data.split import (
    ColSplitter,
    FuncSplitter,
    GrandparentSplitter,
    GroupSplitter,
    IndexSplitter,
    RandomSplitter,
    TrainTestSplitter,
    checked_splits,
)


def test_a_seeded_random_split_is_the_course_s_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    train, valid = RandomSplitter(seed=42)(range(10))
    assert (train, valid) == ([1, 8, 4, 5, 0, 9, 3, 7], [2, 6])
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unseeded_split_follows_the_global_seed() -> None:
    splitters = (
        RandomSplitter(),
        TrainTestSplitter(stratify=lambda i: i % 2),
        GroupSplitter(lambda i: i // 5),
    )
    for splitter in splitters:
        seen: list[object] = []
        for _ in range(2):
            torch.manual_seed(3)
            seen.append(splitter(range(40)))
        assert seen[0] == seen[1]
        assert splitter(range(40)) != seen[0]


@given(st.integers(2, 200), st.floats(0.01, 0.99), st.integers(0, 2**31))
def test_every_random_split_divides_the_items(count: int, share: float, seed: int) -> None:
    if int(share * count) == 0:
        with pytest.raises(SplitError, match="validation is empty"):
            RandomSplitter(share, seed)(range(count))
        return
    train, valid = checked_splits(RandomSplitter(share, seed)(range(count)), count, "it")
    assert len(valid) == int(share * count)
    assert len(train) + len(valid) == count


@pytest.mark.parametrize("share", [0, 1, 0.0, 1.0, -0.1, 20, float("nan"), float("inf"), "0.2", None, True])
def test_a_share_outside_0_to_1_is_refused_by_name(share: object) -> None:
    with pytest.raises(ArgumentError, match=r"valid_pct is .*; expected a share between 0 and 1"):
        RandomSplitter(share)(range(10))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="test_size is"):
        TrainTestSplitter(share, stratify=str)(range(10))  # type: ignore[arg-type]


def test_a_numpy_share_will_do() -> None:
    assert len(RandomSplitter(np.float32(0.5), 0)(range(10))[1]) == 5  # type: ignore[arg-type]


def test_a_stratified_split_keeps_the_mixture_and_leaves_single_items_to_training() -> None:
    items = ["a"] * 50 + ["b"] * 10 + ["c"]
    train, valid = TrainTestSplitter(0.2, 0, stratify=str)(items)
    assert [items[i] for i in valid].count("a") == 10
    assert [items[i] for i in valid].count("b") == 2
    assert 60 in train


def test_a_group_is_on_one_side_only() -> None:
    items = [(patient, shot) for patient in range(10) for shot in range(4)]
    train, valid = GroupSplitter(lambda item: item[0], 0.3, 1)(items)
    assert not {items[i][0] for i in train} & {items[i][0] for i in valid}
    assert len(valid) == 12
    with pytest.raises(SplitError, match="belong to one group"):
        GroupSplitter(lambda item: 0)(items)


def test_grandparent_folders_split_paths_and_text_alike() -> None:
    names = ["d/train/a/1.png", "d/valid/b/2.png"]
    assert GrandparentSplitter()(names) == ([0], [1])
    assert GrandparentSplitter()([Path(name) for name in names]) == ([0], [1])


def test_items_of_a_third_folder_are_not_lost_in_silence() -> None:
    names = ["d/train/a/1.png", "d/valid/b/2.png", "d/test/b/3.png"]
    with pytest.raises(SplitError, match=r"1 of 3 items lie neither in train nor in valid; .*test \(1\)"):
        GrandparentSplitter()(names)
    assert GrandparentSplitter(valid_name=("valid", "test"))(names) == ([0], [1, 2])
    with pytest.raises(SplitError, match=r"no item lies in a folder named val; .*test \(1\)"):
        GrandparentSplitter(valid_name="val")(names)


def test_functions_and_indices_choose_validation() -> None:
    assert FuncSplitter(lambda i: i > 7)(range(10))[1] == [8, 9]
    for chosen in ([8, 9], np.array([9, 8]), [-1, 8], torch.tensor([8, 9])):
        assert IndexSplitter(chosen)(range(10))[1] == [8, 9]  # type: ignore[arg-type]
    with pytest.raises(SplitError, match=r"valid_idx has 10; there are 10 items, 0 to 9"):
        IndexSplitter([10])(range(10))
    with pytest.raises(SplitError, match="valid_idx has True; expected indices"):
        IndexSplitter([True, False])(range(10))
    with pytest.raises(SplitError, match="training is empty"):
        FuncSplitter(lambda i: True)(range(10))
    with pytest.raises(SplitError, match="validation is empty"):
        FuncSplitter(lambda i: False)(range(10))


@pytest.mark.parametrize(
    "yes, no", [(True, False), (1, 0), ("True", "False"), ("1", "0"), (" true", "false")]
)
def test_a_column_says_which_rows_are_validation_whatever_way_it_was_read(yes: object, no: object) -> None:
    df = pd.DataFrame({"n": range(4), "is_valid": [no, yes, no, yes]}, index=[7, 3, 9, 1])
    assert ColSplitter()(df) == ([0, 2], [1, 3])
    assert ColSplitter(1)(df) == ([0, 2], [1, 3])


def test_a_column_that_is_neither_true_nor_false_is_refused_unless_on_says() -> None:
    df = pd.DataFrame({"part": ["train", "test", "train"]})
    with pytest.raises(SplitError, match=r"row 0 has 'train' in column 'part'; expected True or False"):
        ColSplitter("part")(df)
    assert ColSplitter("part", on="test")(df) == ([0, 2], [1])
    assert ColSplitter("part", on=["test", "x"])(df) == ([0, 2], [1])
    with pytest.raises(SplitError, match=r"no column 'is_valid'; its columns are part"):
        ColSplitter()(df)
    with pytest.raises(SplitError, match="no column 5"):
        ColSplitter(5)(df)
    with pytest.raises(SplitError, match="needs a table and got list"):
        ColSplitter()([1, 2])
    with pytest.raises(SplitError, match="validation is empty"):
        ColSplitter("part", on="nobody")(df)


@pytest.mark.parametrize(
    "splits, said",
    [
        (([0, 1], [1, 2]), "put 1 of 3 items on both sides, the first is item 1"),
        (([0], [1]), "left out 1 of 3 items, the first is item 2"),
        (([0, 1], [2, 3]), r"for validation, has 3; there are 3 items, 0 to 2"),
        (([0, -1], [1]), r"for training, has -1; there are 3 items"),
        (([0, 0, 1], [2]), "an item twice to one side"),
        (([0, 1, 2], []), "validation is empty"),
        (([], [0, 1, 2]), "training is empty"),
        (([0.0, 1.0], [2.0]), "expected indices, whole numbers"),
        (np.zeros((2, 2)), "expected two lists of indices"),
        (([0], [1], [2]), "expected two lists of indices"),
    ],
)
def test_a_split_that_does_not_divide_the_items_is_refused(splits: object, said: str) -> None:
    with pytest.raises(SplitError, match=said):
        checked_splits(splits, 3, lambda items: items)


def test_numpy_indices_become_whole_numbers() -> None:
    train, valid = checked_splits((np.array([0, 2]), [np.int64(1)]), 3, "it")
    assert (train, valid) == ([0, 2], [1])
    assert all(type(index) is int for index in (*train, *valid))
