"""Labellers read the label that the name or table holds, and say what they looked at when there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from plainlearn.core.errors import DataError
from plainlearn.data.label import (
    ColReader,
    FuncLabeller,
    RegexLabeller,
    is_missing,
    parent_label,
    split_labels,
    using_attr,
)


def test_the_folder_is_the_label_of_paths_and_text() -> None:
    assert parent_label("pets/cat/1.jpg") == parent_label(Path("pets/cat/1.jpg")) == "cat"


def test_the_pattern_s_first_group_is_the_label() -> None:
    label = using_attr(RegexLabeller(r"(.+)_\d+.jpg$"), "name")
    assert label(Path("pets/great_pyrenees_17.jpg")) == "great_pyrenees"
    assert RegexLabeller(r"(\d+)")("a12") == "12"
    with pytest.raises(DataError, match=r"is not in 'a12'"):
        RegexLabeller(r"(\d+)", match=True)("a12")


def test_a_group_that_took_no_part_is_no_label() -> None:
    with pytest.raises(DataError, match="is not in 'b'"):
        RegexLabeller(r"(a)|b")("b")
    with pytest.raises(DataError, match="has no group"):
        RegexLabeller("a")


def test_columns_are_read_by_name_and_place_from_rows_of_any_kind() -> None:
    row = pd.Series({"file": "1", "label": "a b"}, name=7)
    assert ColReader("label")(row) == ColReader(1)(row) == "a b"
    assert ColReader("label", label_delim=" ")(row) == ["a", "b"]
    assert ColReader(0, pref="img/", suff=".png")(row) == "img/1.png"
    assert ColReader(0, pref=Path("img"), suff=".png")(row) == "img/1.png"
    assert ColReader(1)(("x", "y")) == "y"
    assert ColReader("k")({"k": 3}) == 3
    with pytest.raises(DataError, match=r"no column 'lable'; its columns are file, label"):
        ColReader("lable")(row)


def test_an_empty_cell_holds_no_labels_and_not_the_label_nan() -> None:
    assert ColReader("l", label_delim=";")(pd.Series({"l": np.nan})) == []
    assert split_labels("", ";") == split_labels(" ; ", ";") == []
    assert split_labels("a ; b;", ";") == ["a", "b"]


@pytest.mark.parametrize(
    "value, missing",
    [
        (None, True),
        (np.nan, True),
        ("", True),
        (" ", True),
        (pd.NA, True),
        (0, False),
        ("NA", False),
        (False, False),
        ([], False),
        (np.zeros(2), False),
    ],
)
def test_missing_is_none_nan_and_blank_only(value: object, missing: bool) -> None:
    assert is_missing(value) is missing


def test_any_function_labels() -> None:
    assert FuncLabeller(len)("abc") == 3
