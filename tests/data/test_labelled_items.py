"""Labels as people keep them: each way gives the same items, and what cannot be read is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from plainlearn.core.errors import ArgumentError, DataError, MissingFileError, PlainlearnError
from plainlearn.data.labelled_items import labelled_items


def drawn(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(folder / name)
    return folder


def told(found: Any) -> list[tuple[str, Any, str]]:
    return [
        (item.name, label, side)
        for item, label, side in zip(found.items, found.labels, found.sides, strict=True)
    ]


def test_folders_are_classes_and_those_above_them_sides(tmp_path: Path) -> None:
    flat = drawn(tmp_path / "flat", "cat/1.png", "dog/2.png")
    assert told(labelled_items(flat)) == [("1.png", "cat", ""), ("2.png", "dog", "")]
    split = drawn(tmp_path / "split", "train/cat/1.png", "Val/cat/2.png", "test/dog/3.png")
    found = labelled_items(split)
    assert sorted(told(found)) == [
        ("1.png", "cat", "train"),
        ("2.png", "cat", "valid"),
        ("3.png", "dog", "test"),
    ]
    assert found.on("test").labels == ["dog"] and len(found.on("valid", "train")) == 2
    assert "below Val, test, train" in found.source


def test_a_class_may_be_called_test(tmp_path: Path) -> None:
    assert set(labelled_items(drawn(tmp_path, "test/1.png", "exam/2.png")).labels) == {"test", "exam"}


def test_a_pattern_reads_the_names(tmp_path: Path) -> None:
    drawn(tmp_path, "great_pyrenees_17.png", "sub/beagle_2.png")
    assert sorted(labelled_items(tmp_path, r"(.+)_\d+").labels) == ["beagle", "great_pyrenees"]
    both = labelled_items(tmp_path, r"(.+)_\d+", label_delim="_")
    assert ["great", "pyrenees"] in both.labels
    sides = drawn(tmp_path / "sides", "train/a_1.png", "valid/b_1.png")
    assert labelled_items(sides, "(.)_").sides == ["train", "valid"]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("name,label\na/1.png,cat\na/2.png,dog\n", ["", ""]),
        ("a/1.png,cat\na/2.png,dog\n", ["", ""]),
        ("id,breed\n1,cat\n2,dog\n", ["", ""]),
        ("width,File,is_valid,Label\n4,1.png,False,cat\n4,2.png,True,dog\n", ["train", "valid"]),
        ("file,label,split\n./a/1.png,cat,train\n./a/2.png,dog,TEST\n", ["train", "test"]),
    ],
)
def test_a_table_is_read_as_it_is_headed(tmp_path: Path, table: str, expected: list[str]) -> None:
    drawn(tmp_path, "a/1.png", "a/2.png")
    (tmp_path / "labels.csv").write_text(table)
    for found in (labelled_items(tmp_path, "labels.csv"), labelled_items(tmp_path / "labels.csv"),
                  labelled_items(tmp_path, str(tmp_path / "labels.csv"))):  # fmt: skip
        assert told(found) == [("1.png", "cat", expected[0]), ("2.png", "dog", expected[1])]


def test_columns_may_be_named_and_cells_hold_several_labels(tmp_path: Path) -> None:
    drawn(tmp_path, "1.png")
    (tmp_path / "all.tsv").write_text("shot\twhen\twhat\n1.png\tmay\tcat; red\n")
    found = labelled_items(tmp_path, "all.tsv", file_col="shot", label_col="what", label_delim=";")
    assert found.labels == [["cat", "red"]]
    with pytest.raises(ArgumentError, match=r"columns are shot, when, what[\s\S]*Try --label-col 'what'"):
        labelled_items(tmp_path, "all.tsv")


def test_a_row_that_repeats_is_taken_once(tmp_path: Path) -> None:
    drawn(tmp_path, "1.png", "2.png")
    (tmp_path / "t.csv").write_text("file,label\n1.png,a\n2.png,b\n1.png,a\n")
    with pytest.warns(UserWarning, match="1 of 3 rows repeat an image"):
        assert told(labelled_items(tmp_path, "t.csv")) == [("1.png", "a", ""), ("2.png", "b", "")]
    (tmp_path / "t.csv").write_text("file,label\n1.png,a\n1.png,b\n")
    with pytest.raises(DataError, match="listed twice, with the labels 'a' and 'b'"):
        labelled_items(tmp_path, "t.csv")


def test_what_cannot_be_read_says_what_was_found(tmp_path: Path) -> None:
    drawn(tmp_path / "loose", "cat_1.png", "dog_2.png", "dog/3.png")
    drawn(tmp_path / "half", "train/a/1.png", "valid/a/2.png", "more/a/3.png")
    drawn(tmp_path / "t", "1.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "t" / "gone.csv").write_text("file,label\n1.png,a\nx.png,b\n")
    (tmp_path / "t" / "bare.csv").write_text("file,label\n1.png,\n")
    (tmp_path / "t" / "odd.csv").write_text("file,label,split\n1.png,a,maybe\n")
    (tmp_path / "t" / "none.csv").write_text("file,label\n")
    cases: list[tuple[tuple[str, ...], type[PlainlearnError], str]] = [
        (("nowhere",), MissingFileError, r"there is no folder .*nowhere"),
        (("empty",), DataError, r"holds no image, in itself or below; in it: nothing"),
        (("loose",), DataError, r"2 images lie in .*loose itself[\s\S]*--labels '\(\.\+\)_\\d\+' \(a name here: cat_1\.png"),
        (("half",), DataError, r"train and valid of a split, and 1 images beside them \(in more\)"),
        (("t", "none.csv"), DataError, "has no rows"),
        (("t", "gone.csv"), MissingFileError, r"1 of 2 images that the column 'file'.*'x\.png', is not there"),
        (("t", "bare.csv"), DataError, r"1 of 1 images have no label in the column 'label'"),
        (("t", "odd.csv"), DataError, r"1 rows of .* have 'maybe' in 'split'; expected train, training"),
        (("t", "lost.csv"), MissingFileError, r"tables there: bare\.csv, gone\.csv"),
        (("loose", r"dog_(\d)"), DataError, r"finds no label in 2 of 3 names; the first is cat_1\.png"),
        (("loose", "dog"), ArgumentError, r"neither a file of .*loose nor a pattern with a group"),
        (("loose", "(dog"), ArgumentError, r"as a pattern it cannot be read"),
    ]  # fmt: skip
    for (folder, *labels), kind, message in cases:
        with pytest.raises(kind, match=message):
            labelled_items(tmp_path / folder, *labels)
    with pytest.raises(ArgumentError, match="--file-col is 'no'; the columns of"):
        labelled_items(tmp_path / "t", "gone.csv", file_col="no")
    with pytest.raises(ArgumentError, match="no table"):
        labelled_items(tmp_path / "half", label_col="x")
