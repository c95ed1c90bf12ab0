"""What a block finds before training: bad items are left out by name, lost classes refused, doubts told."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.data import Block, CategoryBlock, DataBlock, MultiCategoryBlock
from plainlearn.data.blocks import Examined
from plainlearn.data.validate_items import DataWarning


class Word(Block):
    """Cannot use words with an x; words are the same without regard to case."""

    def examine(self, values: Sequence[Any]) -> Examined:
        bad = {place: f"{value!r} has an x" for place, value in enumerate(values) if "x" in value}
        return Examined(bad, [value.lower() for value in values])


def last_two(items: Any) -> tuple[list[int], list[int]]:
    return list(range(len(items) - 2)), [len(items) - 2, len(items) - 1]


def block(target: Any = CategoryBlock, **settings: Any) -> DataBlock:
    first = settings.pop("get_y", lambda word: word[0].lower())
    return DataBlock((Word, target), get_y=first, splitter=last_two, **settings)


def loaders(*words: str, **settings: Any) -> Any:
    return block().dataloaders(words, bs=2, num_workers=0, device="cpu", **settings)


def test_what_cannot_be_used_is_left_out_of_both_sides_by_name_and_counted() -> None:
    with pytest.warns(DataWarning) as told:
        dls = loaders("ab", "ax", "ba", "bb", "aa", "bx")
    (message,) = [str(each.message) for each in told]
    assert message.startswith(
        "2 of 6 items cannot be used and are left out:\n  'ax' has an x\n  'bx' has an x"
    )
    assert "dls.left_out" in message
    assert dls.left_out == [("ax", "'ax' has an x"), ("bx", "'bx' has an x")]
    assert (dls.train_ds.items, dls.valid_ds.items) == (["ab", "ba", "bb"], ["aa"])


def test_only_the_first_few_are_told_of_many() -> None:
    with pytest.warns(DataWarning, match=r"'ax4' has an x\n  … and 2 more"):
        dls = loaders("ab", "ba", *(f"ax{number}" for number in range(7)), "aa", "bb")
    assert len(dls.left_out) == 7


def test_a_clean_set_says_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loaders("ab", "ba", "aa", "bb").left_out == []


def test_the_warning_points_at_the_caller_and_comes_each_time() -> None:
    for _ in range(2):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("default")
            loaders("ab", "ax", "ba", "bb", "aa")
        assert [each.filename for each in told] == [__file__]


def test_strict_stops_and_names_them() -> None:
    with pytest.raises(DataError, match=r"1 of 5 items cannot be used:\n  'ax' has an x\n  Try replacing"):
        loaders("ab", "ax", "ba", "bb", "aa", strict=True)
    assert loaders("ab", "ba", "bb", "aa", strict=True).left_out == []


def test_without_check_nothing_is_looked_at() -> None:
    dls = loaders("ab", "ax", "ba", "bb", "aa", check=False)
    assert (dls.left_out, len(dls.train_ds)) == ([], 3)
    with pytest.raises(ArgumentError, match="strict=True needs the check"):
        loaders("ab", "ba", "bb", check=False, strict=True)


@pytest.mark.parametrize("words, said", [
    (["ax", "bx", "cx"], r"none of the 3 items can be used:\n  'ax' has an x"),
    (["ax", "bx", "aa", "bb"], r"training is left without an item, as none of its 2 can be used:\n  'ax'"),
    (["ab", "ba", "ax", "bx"], r"validation is left without an item, as none of its 2 can be used:\n  'ax'"),
    (["ab", "cx", "cxx", "bb", "aa", "ab"],
     r"the category 'c' has no training item left: none of its 2 can be used. The first:\n  'cx' has an x\n"
     "  Try replacing them, or removing 'c'"),
])  # fmt: skip
def test_what_leaving_out_cannot_mend_is_an_error(words: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        loaders(*words)


def test_a_class_of_a_given_vocabulary_is_missed_too_and_so_is_one_of_several_labels() -> None:
    words = ["ab", "cx", "bb", "aa", "ab"]
    for target, label in (
        (CategoryBlock(list("abc")), str),
        (MultiCategoryBlock, lambda word: [word, "all"]),
    ):
        made = block(target, get_y=lambda word, label=label: label(word[0]))
        with pytest.raises(DataError, match="'c' has no training item left: none of its 1 can be used"):
            made.dataloaders(words, num_workers=0)


def test_equal_inputs_on_both_sides_or_under_two_labels_are_told_once() -> None:
    with pytest.warns(DataWarning) as told:
        loaders("ab", "ba", "ab", "Ab", "bb")
    (message,) = [str(each.message) for each in told]
    assert "the same word is in training and in validation" in message
    assert "(once): 'ab' = 'Ab'" in message and message.endswith("dls.check() shows all of this, and more.")
    made = block(get_y=lambda word: "low" if word.islower() else "high")
    with pytest.warns(DataWarning, match=r"the same word has different labels \(once\): 'ab' = 'AB'"):
        made.dataloaders(["ab", "AB", "cd", "CE", "ff"], num_workers=0)


def test_items_of_two_inputs_are_equal_only_if_both_are() -> None:
    made = DataBlock(
        (Word, Word, Block), get_x=[lambda pair: pair[0], lambda pair: pair[1]], n_inp=2, splitter=last_two
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made.dataloaders([("a", "b"), ("c", "d"), ("a", "d"), ("c", "b")], num_workers=0)
    with pytest.warns(DataWarning, match="1 of 4 items cannot be used"):
        dls = made.dataloaders([("a", "b"), ("c", "x"), ("a", "d"), ("c", "b")], num_workers=0)
    assert dls.left_out == [(("c", "x"), "'x' has an x")]
    with pytest.warns(DataWarning, match="in training and in validation"):
        made.dataloaders([("a", "b"), ("c", "d"), ("a", "b"), ("c", "b")], num_workers=0)


def test_rows_of_a_table_are_left_out_with_their_row() -> None:
    df = pd.DataFrame({"word": ["ab", "ax", "ba", "bb", "aa"]}, index=[9, 8, 7, 6, 5])
    made = DataBlock((Word, CategoryBlock), get_x="word", get_y=lambda row: row.word[0], splitter=last_two)
    with pytest.warns(DataWarning, match="1 of 5 items"):
        dls = made.dataloaders(df, num_workers=0)
    ((row, reason),) = dls.left_out
    assert (row["word"], row.name, reason) == ("ax", 8, "'ax' has an x")
    assert [item.word for item in dls.valid_ds.items] == ["bb", "aa"]


def test_a_getter_that_fails_with_an_index_error_ends_nothing_early() -> None:
    made = DataBlock((Word, Block), get_x=lambda word: word.split("-")[1], splitter=last_two)
    with pytest.raises(IndexError) as caught:
        made.dataloaders(["a-b", "c", "d-e", "f-g"], num_workers=0)
    assert caught.value.__notes__ == ["the item is 'c'"]


def test_what_has_no_audit_says_so() -> None:
    with pytest.raises(DataError, match=r"no input here can be audited; they are Word\(\)"):
        loaders("ab", "ba", "aa", "bb").check()


def test_class_names_that_are_most_likely_one_are_told() -> None:
    names = {
        "a": "Cat",
        "b": "cat ",
        "c": "caf\N{LATIN SMALL LETTER E WITH ACUTE}",
        "d": "cafe\N{COMBINING ACUTE ACCENT}",
    }
    made = block(get_y=lambda word: names[word[0]])
    words = ["aa", "ba", "ca", "da", "ab", "cb"]
    with pytest.warns(DataWarning, match=r"'Cat' and 'cat '; 'cafe\\u0301' and 'caf\\xe9'$") as told:
        made.dataloaders(words, num_workers=0)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made.dataloaders(words, num_workers=0, check=False)
        block(get_y=lambda word: word[0]).dataloaders(words, num_workers=0)
