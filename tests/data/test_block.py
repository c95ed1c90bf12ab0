"""The data block: a recipe that does all that it is told, or says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, SplitError
from plainlearn.data import (
    Block,
    CategoryBlock,
    ColReader,
    ColSplitter,
    DataBlock,
    MultiCategoryBlock,
    RandomSplitter,
)
from plainlearn.data.transform import Transform


def last_out(items: Any) -> tuple[list[int], list[int]]:
    return list(range(len(items) - 1)), [len(items) - 1]


def test_without_blocks_an_item_comes_twice() -> None:
    made = DataBlock().datasets(list(range(10)))
    assert len(made.train) == 8 and len(made.valid) == 2
    assert all(a == b for a, b in (made.train[i] for i in range(8)))


def test_inputs_come_first_and_each_has_its_getter() -> None:
    block = DataBlock(
        blocks=(Block, Block, CategoryBlock, Block), n_inp=2, splitter=last_out,
        get_x=[lambda d: d["a"], "b"], get_y=["c", lambda d: d["a"] + d["b"]],
    )  # fmt: skip
    items = [{"a": i, "b": 10 * i, "c": "xy"[i % 2]} for i in range(5)]
    made = block.datasets(items)
    assert tuple(made.train[1]) == (1, 10, 1, 11)
    assert block.dataloaders(items, bs=2, num_workers=0).n_inp == 2
    assert DataBlock(blocks=(Block, Block, Block)).n_inp == 2


def test_getters_read_every_block_and_leave_no_place_for_get_x() -> None:
    block = DataBlock(blocks=(Block, Block), getters=[str, float], splitter=last_out)
    assert tuple(block.datasets([1, 2, 3]).train[0]) == ("1", 1.0)
    for also in ({"get_x": str}, {"get_y": str}):
        with pytest.raises(ArgumentError, match="beside it would be ignored"):
            DataBlock(blocks=(Block, Block), getters=[str, str], **also)
    with pytest.raises(ArgumentError, match="2 blocks and 1 getters"):
        DataBlock(blocks=(Block, Block), getters=[str])
    with pytest.raises(ArgumentError, match="get_x has 2 getters for 1 blocks"):
        DataBlock(blocks=(Block, Block), get_x=[str, str])


def test_a_getter_for_no_block_is_not_ignored() -> None:
    with pytest.raises(ArgumentError, match="get_y is given, and no block would be read by it"):
        DataBlock(blocks=Block, get_y=str)
    assert tuple(DataBlock(blocks=Block, splitter=last_out).datasets([5, 6]).train[0]) == (5,)


@pytest.mark.parametrize("n_inp", [0, 3, -1])
def test_the_number_of_inputs_must_fit(n_inp: int) -> None:
    with pytest.raises(ArgumentError, match=f"n_inp is {n_inp}; expected 1 to 2"):
        DataBlock(blocks=(Block, Block), n_inp=n_inp)


@pytest.mark.parametrize("nothing", [[], None, ()])
def test_a_source_without_items_is_refused_by_name(nothing: Any) -> None:
    def no_items(source: Any) -> Any:
        return nothing

    with pytest.raises(DataError, match=r"no items were found by no_items in str 'pets'"):
        DataBlock(get_items=no_items).datasets("pets")
    with pytest.raises(DataError, match="no items were found in"):
        DataBlock().datasets([])


def test_a_path_without_get_items_is_no_item() -> None:
    for source in ("pets", Path("pets")):
        with pytest.raises(
            DataError,
            match=r"the source is 'pets', and there is no get_items .*\n  Try get_items=get_image_files",
        ):
            DataBlock().datasets(source)


def test_a_splitter_that_mixes_or_loses_items_is_refused() -> None:
    for splits, said in (
        (([0, 1], [1, 2]), "on both sides"),
        (([0], [1]), "left out 1 of 3"),
        (([0, 1], [5]), "has 5; there are 3 items"),
        (([], [0, 1, 2]), "training is empty"),
    ):
        with pytest.raises(SplitError, match=said):
            DataBlock(splitter=lambda items, splits=splits: splits).datasets([1, 2, 3])


def test_a_table_is_a_source_and_its_labels_are_no_positions() -> None:
    df = pd.DataFrame(
        {"n": range(6), "label": list("ababab"), "v": [0, 0, 0, 0, 1, 1]}, index=[9, 8, 7, 6, 5, 4]
    )
    block = DataBlock(blocks=(Block, CategoryBlock), get_x=ColReader("n"), get_y="label", splitter=ColSplitter("v"))  # fmt: skip
    made = block.datasets(df)
    assert [made.valid[i][0] for i in range(2)] == [4, 5] and made.vocab == ["a", "b"]
    by_index = DataBlock(splitter=lambda rows: (rows.index[rows.v == 0], rows.index[rows.v == 1]))
    with pytest.raises(
        SplitError, match=r"has 9; there are 6 items, 0 to 5\n  Try df.reset_index\(drop=True\)"
    ):
        by_index.datasets(df)
    by_index.datasets(df.reset_index(drop=True))


def test_bool_labels_have_a_vocabulary_of_false_and_true() -> None:
    block = DataBlock(blocks=(Block, CategoryBlock), get_y=lambda i: i % 3 == 0, splitter=last_out)
    dls = block.dataloaders(list(range(7)), bs=2, num_workers=0)
    assert dls.vocab == [False, True] and dls.c == 2 and str(dls.vocab) == "[False, True]"


class Mark(Transform):
    def on_batch(self, batch: Any, blocks: Any, rng: Any, *, train: bool) -> Any:
        return batch


def test_new_keeps_what_is_not_named_and_leaves_the_original() -> None:
    first, second = Mark(), Mark()
    block = DataBlock(blocks=(Block, Block), splitter=last_out, item_tfms=tuple, batch_tfms=first)
    other = block.new(batch_tfms=second)
    assert block.batch_tfms == (first,) and other.batch_tfms == (second,)
    assert (
        other.item_tfms == block.item_tfms != ()
        and other.splitter is last_out
        and other.blocks == block.blocks
    )
    assert block.new(item_tfms=None).item_tfms == () and block.new().batch_tfms == (first,)


def test_an_argument_that_is_not_known_is_not_ignored() -> None:
    with pytest.raises(TypeError, match="item_tfms"):
        DataBlock().dataloaders(list(range(9)), item_tfms=tuple)  # type: ignore[call-arg]
    with pytest.raises(ArgumentTypeError, match="'cat' is not a block"):
        DataBlock(blocks=("cat",))


@pytest.mark.parametrize(
    "settings", [{"bs": 0}, {"bs": -1}, {"bs": 2, "val_bs": 0}, {"bs": 2.5}, {"bs": "4"}]
)
def test_a_batch_size_that_cannot_be_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises((ArgumentError, ArgumentTypeError), match="bs is"):
        DataBlock().dataloaders(list(range(9)), num_workers=0, **settings)


def test_a_set_shorter_than_a_batch_is_one_batch_and_else_the_short_last_one_is_dropped() -> None:
    block = DataBlock(splitter=RandomSplitter(0.5, seed=0))
    assert [len(x) for x, _ in block.dataloaders(list(range(10)), bs=64, num_workers=0).train] == [5]
    assert [len(x) for x, _ in block.dataloaders(list(range(10)), bs=2, num_workers=0).train] == [2, 2]
    assert [len(x) for x, _ in block.dataloaders(list(range(10)), bs=5, num_workers=0).train] == [5]
    assert [len(x) for x, _ in block.dataloaders(list(range(10)), bs=2, num_workers=0).valid] == [2, 2, 1]
    kept = block.dataloaders(list(range(10)), bs=2, drop_last=False, num_workers=0)
    assert len(kept.train) == 3


def test_a_seed_repeats_the_order_and_the_path_is_the_source_s(tmp_path: Path) -> None:
    block = DataBlock(get_items=lambda source: list(range(20)), splitter=last_out)
    orders = [
        [x.tolist() for x, _ in block.dataloaders(tmp_path, bs=4, seed=5, num_workers=0).train] for _ in "ab"
    ]
    assert orders[0] == orders[1] != [list(range(i, i + 4)) for i in range(0, 16, 4)]
    assert block.dataloaders(tmp_path).path == tmp_path
    assert block.dataloaders(tmp_path, path=tmp_path / "x").path == tmp_path / "x"


def test_several_targets_need_as_many_outputs_as_all_and_imply_no_single_loss() -> None:
    block = DataBlock(blocks=(Block, CategoryBlock, MultiCategoryBlock), n_inp=1, splitter=last_out,
                      get_y=[lambda i: "ab"[i % 2], lambda i: ["xyz"[i % 3]]])  # fmt: skip
    dls = block.dataloaders(list(range(9)), num_workers=0)
    assert dls.c == 5 and dls.loss_func is None
    with pytest.raises(ArgumentError, match="do not say how many outputs they need"):
        _ = DataBlock().dataloaders(list(range(9)), num_workers=0).c


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"blocks": ()}, "blocks is empty; expected one or more"),
        ({"n_inp": "1"}, "n_inp is '1'; expected 1 to 2"),
        ({"n_inp": 1.0}, r"n_inp is 1\.0; expected 1 to 2"),
        ({"n_inp": True}, "n_inp is True; expected 1 to 2"),
        ({"get_items": "pets"}, "get_items is str 'pets'; expected a function"),
        (
            {"splitter": 0.2},
            r"splitter is float 0\.2; expected a function .*\n  Try splitter=RandomSplitter\(\)",
        ),
        ({"splitter": ColSplitter}, r"splitter is type .*\n  Try splitter=ColSplitter\(\)"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_named_when_the_block_is_made(wrong, message):
    with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
        DataBlock(**wrong)
