"""Image loaders in one line: the course's calls on real digits, and every way in which a folder or table is wrong."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from plainlearn.augment.transforms import Flip, Resize
from plainlearn.core.errors import (
    ArgumentError,
    ArgumentTypeError,
    DataError,
    MissingFileError,
    ShapeError,
    SplitError,
)
from plainlearn.data import DataWarning, MultiCategoryBlock, RegressionBlock, get_image_files
from plainlearn.datasets.download import untar_data
from plainlearn.datasets.urls import URLs
from plainlearn.vision.blocks import ImageBlock
from plainlearn.vision.loaders import ImageDataLoaders, SegmentationDataLoaders


def draw(file: Path, size: tuple[int, int] = (6, 6), level: int = 100) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, level, dtype=np.uint8)).save(file)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for side, count in (("train", 4), ("valid", 2)):
        for label in ("cat", "dog"):
            for number in range(count):
                # No two alike, as equal images on both sides or under two labels are warned of.
                level = 10 * number + 2 * (label == "dog") + (side == "valid")
                draw(tmp_path / side / label / f"{label}_{number}.png", level=level)
    return tmp_path


@pytest.fixture(scope="module")
def digits() -> Path:
    return untar_data(URLs.MNIST_SAMPLE)


def test_the_digits_come_as_the_course_has_them(digits: Path) -> None:
    dls = ImageDataLoaders.from_folder(digits, num_workers=0, device="cpu")
    assert (len(dls.train_ds), len(dls.valid_ds)) == (12396, 2038)
    assert dls.vocab == ["3", "7"] and dls.c == 2
    x, y = dls.one_batch()
    assert x.shape == (64, 3, 28, 28) and x.dtype == torch.float32 and y.shape == (64,)
    assert x.min() == 0 and x.max() == 1
    assert torch.equal(x[:, 0], x[:, 1]) and torch.equal(x[:, 0], x[:, 2])
    assert dls.counts()["valid"] == {"3": 1010, "7": 1028}


def test_the_digits_label_file_keeps_labels_as_text(digits: Path) -> None:
    dls = ImageDataLoaders.from_csv(digits, num_workers=0, seed=1)
    names = pd.read_csv(digits / "labels.csv")
    assert dls.vocab == ["0", "1"]  # so the file has it: 0 for a three
    assert len(dls.train_ds) + len(dls.valid_ds) == len(names)


def test_every_way_of_labelling_gives_the_same_loaders(folder: Path) -> None:
    files = get_image_files(folder)
    labels = [file.parent.name for file in files]
    names = [str(file.relative_to(folder)) for file in files]
    df = pd.DataFrame({"name": names, "label": labels})
    df.to_csv(folder / "labels.csv", index=False)
    settings: Any = {"valid_pct": 0.25, "seed": 3, "num_workers": 0, "bs": 4, "device": "cpu"}
    make = ImageDataLoaders
    every = [
        make.from_folder(folder, **settings),
        make.from_path_func(folder, files, lambda path: path.parent.name, **settings),
        make.from_name_func(folder, files, lambda name: name[:3], **settings),
        make.from_path_re(folder, files, r"/(cat|dog)/", **settings),
        make.from_name_re(folder, files, r"^(.*)_\d+.png$", **settings),
        make.from_lists(folder, names, labels, **settings),
        make.from_df(df, folder, **settings),
        make.from_df(df, folder, fn_col="name", label_col="label", **settings),
        make.from_csv(folder, **settings),
    ]
    for dls in every:
        assert dls.vocab == ["cat", "dog"] and len(dls.valid_ds) == 3
        for got, wanted in zip(dls.valid, every[0].valid, strict=True):
            assert torch.equal(got[0], wanted[0]) and torch.equal(got[1], wanted[1])


def test_a_column_can_mark_validation_and_hold_several_labels(folder: Path) -> None:
    rows = [
        "name,tags,is_valid",
        "cat/cat_0.png,small; red,False",
        "cat/cat_1.png,red,True",
        "dog/dog_0.png,,False",
    ]
    (folder / "l.csv").write_text("\n".join(rows))
    dls = ImageDataLoaders.from_csv(
        folder, "l.csv", folder="train", label_delim=";", valid_col="is_valid", num_workers=0
    )
    assert dls.vocab == ["red", "small"] and isinstance(dls.blocks[1], MultiCategoryBlock)
    assert len(dls.valid_ds) == 1 and dls.valid_ds[0][1].tolist() == [1.0, 0.0]
    assert dls.train_ds[1][1].tolist() == [0.0, 0.0]


def test_numbers_with_fractions_are_for_regression_read_as_numbers_or_text(folder: Path) -> None:
    df = pd.DataFrame({"name": ["cat/cat_0.png", "cat/cat_1.png", "dog/dog_0.png"], "age": [1.5, 2.0, 0.25]})
    df.to_csv(folder / "labels.csv", index=False)
    for dls in (
        ImageDataLoaders.from_df(df, folder, folder="train", valid_pct=0.4, num_workers=0),
        ImageDataLoaders.from_csv(folder, folder="train", valid_pct=0.4, num_workers=0),
    ):
        assert isinstance(dls.blocks[1], RegressionBlock) and dls.c == 1


def test_a_table_s_new_items_may_be_bare_files(folder: Path) -> None:
    df = pd.DataFrame({"name": ["cat_0", "cat_1", "cat_2", "cat_3"], "label": list("abab")})
    dls = ImageDataLoaders.from_df(
        df, folder, folder="train/cat", suff=".png", seed=2, valid_pct=0.25, num_workers=0
    )
    assert len(dls.test_dl(get_image_files(folder)).one_batch()[0]) == 12


# ---- folders that are wrong


def refused(error: type[Exception], said: str, make: Any, *args: Any, **settings: Any) -> None:
    with pytest.raises(error, match=said):
        make(*args, num_workers=0, **settings)


def test_a_folder_that_is_missing_a_file_or_empty_is_named(folder: Path, tmp_path: Path) -> None:
    make = ImageDataLoaders.from_folder
    refused(MissingFileError, "there is no folder .*nowhere; the nearest", make, tmp_path / "nowhere")
    refused(ArgumentError, "is a file; expected a folder", make, next(folder.rglob("*.png")))
    (tmp_path / "empty" / "train").mkdir(parents=True)
    refused(MissingFileError, r"has no folder 'valid' \(found: train\)", make, tmp_path / "empty")
    (tmp_path / "empty" / "valid").mkdir()
    refused(DataError, "train holds no image files", make, tmp_path / "empty")
    refused(DataError, "holds no image files, in itself or below", make, tmp_path / "empty", valid_pct=0.2)
    refused(
        MissingFileError,
        r"has no folder 'train' \(found: cat, dog\)\n  Try valid_pct=0.2 for a random split, or train=",
        make, folder / "train",
    )  # fmt: skip


def test_a_folder_with_one_class_is_refused(folder: Path) -> None:
    for file in folder.rglob("dog_*.png"):
        file.unlink()
    refused(DataError, "there is one class, 'cat', in", ImageDataLoaders.from_folder, folder)
    refused(DataError, "there is one class", ImageDataLoaders.from_folder, folder, valid_pct=0.5)


def test_a_class_that_only_validation_has_is_named_with_its_file(folder: Path) -> None:
    bird = draw(folder / "valid" / "bird" / "x.png")
    refused(
        DataError,
        f"1 of 5 validation items .* {bird}: the label 'bird' is not",
        ImageDataLoaders.from_folder,
        folder,
    )
    ImageDataLoaders.from_folder(folder, vocab=["bird", "cat", "dog"], num_workers=0)


def test_an_image_outside_the_class_folders_gets_no_made_up_label(folder: Path) -> None:
    draw(folder / "train" / "loose.png")
    refused(DataError, "1 images lie in .*train itself.*loose.png", ImageDataLoaders.from_folder, folder)
    refused(DataError, "1 images lie in", ImageDataLoaders.from_folder, folder / "train", valid_pct=0.3)


@pytest.mark.parametrize("settings, error, said", [
    ({"valid_pct": 0}, ArgumentError, "valid_pct is 0; expected a share"),
    ({"valid_pct": 1}, ArgumentError, "valid_pct is 1; expected a share"),
    ({"valid_pct": float("nan")}, ArgumentError, "valid_pct is nan"),
    ({"valid_pct": 0.01}, SplitError, "validation is empty: 12 items"),
    ({"bs": 0}, ArgumentError, "bs is 0"),
])  # fmt: skip
def test_numbers_that_cannot_be_are_refused(
    folder: Path, settings: Any, error: type[Exception], said: str
) -> None:
    refused(error, said, ImageDataLoaders.from_folder, folder, **settings)


def test_a_set_shorter_than_a_batch_is_trained_on(folder: Path) -> None:
    dls = ImageDataLoaders.from_folder(folder, num_workers=0)
    assert [len(x) for x, _ in dls.train] == [8]


@pytest.mark.parametrize("tfms", [{}, {"batch_tfms": Resize(4)}])
def test_images_of_different_sizes_are_named_with_the_cure(folder: Path, tfms: Any) -> None:
    draw(folder / "train" / "cat" / "big.png", (9, 6))
    dls = ImageDataLoaders.from_folder(folder, num_workers=2, **tfms)
    if tfms:
        assert dls.one_batch()[0].shape == (9, 3, 4, 4)
        return
    with pytest.raises(ShapeError, match=r"\.png is . × 6.*\.png is . × 6 \(height × width\)") as caught:
        list(dls.train)
    assert "big.png is 9 × 6" in str(caught.value) and "Try item_tfms=Resize(224)" in str(caught.value)


def test_placed_images_of_different_sizes_are_named_too(folder: Path) -> None:
    draw(folder / "train" / "cat" / "big.png", (9, 6))
    dls = ImageDataLoaders.from_folder(folder, num_workers=0, batch_tfms=Flip())
    with pytest.raises(ShapeError, match=r"big.png is 9 × 6"):
        list(dls.train)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_image_in_the_middle_of_an_epoch_is_named(folder: Path, workers: int) -> None:
    (folder / "train" / "cat" / "cat_2.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    dls = ImageDataLoaders.from_folder(folder, num_workers=workers, bs=2, check=False)
    with pytest.raises(DataError, match=r"cat_2\.png"):
        list(dls.train)


# ---- tables that are wrong


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    (folder / "labels.csv").write_bytes(text.encode(encoding))
    return folder


GOOD = ["train/cat/cat_0.png", "train/cat/cat_1.png", "train/dog/dog_0.png", "train/dog/dog_1.png"]


def rows(*labels: str, head: str = "name,label") -> str:
    return "\n".join([head, *(f"{name},{label}" for name, label in zip(GOOD, labels, strict=True))])


def test_a_missing_label_file_or_image_is_named(folder: Path) -> None:
    refused(MissingFileError, r"the label file .*labels.csv is not there", ImageDataLoaders.from_csv, folder)
    table(folder, rows("a", "b", "a", "b") + "\nno/where.png,a\nno/thing.png,b")
    refused(MissingFileError, r"2 of 6 images that the column 0 names are not there; the first is .*where.png",
            ImageDataLoaders.from_csv, folder)  # fmt: skip


def test_a_table_of_one_column_says_which_delimiter_it_may_need(folder: Path) -> None:
    make = ImageDataLoaders.from_csv
    refused(DataError, r"has one column, 'name;label', with the delimiter ','.*\n  Try delimiter=';'", make,
            table(folder, rows("a", "b", "a", "b").replace(",", ";")))  # fmt: skip
    refused(DataError, r"has one column, 'name'", make, table(folder, "name\n" + GOOD[0]))
    refused(DataError, r"cannot be read as a table: No columns", make, table(folder, ""))
    refused(DataError, r"the table has no rows", make, table(folder, "name,label"))
    refused(DataError, r"cannot be read as a table", make, table(folder, rows("a", "b", "a", "b,extra")))
    refused(
        DataError,
        r"is not UTF-8 text: 'utf-8' codec(?s:.*)\n  Try saving it as UTF-8",
        make,
        table(folder, rows("ä", "b", "ä", "b"), "latin-1"),
    )
    refused(
        DataError,
        r"fn_col is 'file'; the table's columns are name, label",
        make,
        table(folder, rows("a", "b", "a", "b")),
        fn_col="file",
    )
    refused(DataError, r"label_col is 2; the table has 2 columns", make, folder, label_col=2)


def test_a_byte_order_mark_and_quotes_do_no_harm(folder: Path) -> None:
    table(folder, rows('"a, b"', "c", '"a, b"', "c"), "utf-8-sig")
    dls = ImageDataLoaders.from_csv(folder, fn_col="name", valid_pct=0.25, seed=1, num_workers=0)
    assert dls.vocab == ["a, b", "c"]


def test_labels_na_null_and_007_are_labels(folder: Path) -> None:
    table(folder, rows("NA", "null", "007", "7"))
    refused(DataError, "is not in the vocabulary of 3", ImageDataLoaders.from_csv, folder, valid_pct=0.25)
    df = pd.read_csv(folder / "labels.csv", dtype=str, keep_default_na=False)
    df["is_valid"] = [False] * 4
    more = pd.concat([df, df.assign(name=[name.replace("train", "valid") for name in GOOD], is_valid=True)])
    dls = ImageDataLoaders.from_df(more, folder, valid_col="is_valid", num_workers=0)
    assert dls.vocab == ["007", "7", "NA", "null"]


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_label_is_refused_by_file_and_row(folder: Path, empty: str) -> None:
    table(folder, rows("a", "b", empty, "b"))
    refused(DataError, r"1 of 4 images have no label in the column 1; the first is .*dog_0.png, row 2 \(counted from 0\)",
            ImageDataLoaders.from_csv, folder)  # fmt: skip
    refused(
        DataError,
        r"have no label in labels; .*dog_0.png, row 2",
        ImageDataLoaders.from_lists,
        folder,
        GOOD,
        ["a", "b", None, "b"],
    )


def test_a_first_row_taken_for_a_header_is_refused(folder: Path) -> None:
    lines = "\n".join(f"{name},{label}" for name, label in zip(GOOD, "abab", strict=True))
    make = ImageDataLoaders.from_csv
    said = r"the first line, taken for the names of the columns, names the image .*\n  Try header=None"
    refused(DataError, said, make, table(folder, lines))
    dls = make(folder, header=None, seed=5, valid_pct=0.3, num_workers=0)
    assert len(dls.train_ds) + len(dls.valid_ds) == 4
    table(folder, lines.replace("train/", "").replace(".png", ""))
    refused(DataError, said, make, folder, folder="train", suff=".png")


def test_what_is_no_table_is_refused(folder: Path) -> None:
    said = r"df is str 'labels\.csv'; expected a table(?s:.*)Try ImageDataLoaders\.from_csv"
    refused(ArgumentTypeError, said, ImageDataLoaders.from_df, "labels.csv", folder)


def test_repeated_rows_are_left_out_with_a_warning_and_contradictions_refused(folder: Path) -> None:
    names = [*GOOD, "valid/cat/cat_0.png", "valid/dog/dog_0.png"]
    df = pd.DataFrame({"n": [*names, *names[:2]], "l": [*"ababab", *"ab"]})
    with pytest.warns(DataWarning, match="2 of 8 rows repeat an image and are left out"):
        dls = ImageDataLoaders.from_df(df, folder, seed=5, valid_pct=0.2, num_workers=0)
    assert len(dls.train_ds) + len(dls.valid_ds) == 6
    df.loc[7, "l"] = "a"
    refused(
        DataError,
        "cat_1.png is listed twice, with the labels 'b' and 'a'",
        ImageDataLoaders.from_df,
        df,
        folder,
    )


def test_an_image_on_both_sides_is_a_leak_and_one_repeated_in_training_is_not(folder: Path) -> None:
    df = pd.DataFrame({"n": [*GOOD, GOOD[0]], "l": list("ababa"), "is_valid": [0, 0, 0, 1, 0]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dls = ImageDataLoaders.from_df(df, folder, valid_col="is_valid", num_workers=0)
    assert len(dls.train_ds) == 4
    df.loc[4, "is_valid"] = 1
    refused(DataError, "1 rows put an image into training that is in validation too; the first is .*cat_0.png",
            ImageDataLoaders.from_df, df, folder, valid_col="is_valid")  # fmt: skip


def test_lists_must_fit_and_files_be_there(folder: Path) -> None:
    refused(
        DataError, "4 file names and 3 labels", ImageDataLoaders.from_lists, folder, GOOD, ["a", "b", "a"]
    )
    refused(DataError, "fnames is empty", ImageDataLoaders.from_lists, folder, [], [])
    refused(DataError, "fnames is empty", ImageDataLoaders.from_name_func, folder, [], str)
    refused(
        MissingFileError,
        "1 of 1 images that fnames names",
        ImageDataLoaders.from_name_func,
        folder,
        ["x"],
        str,
    )
    refused(
        DataError,
        "there is one class, 'a', in labels",
        ImageDataLoaders.from_lists,
        folder,
        GOOD,
        ["a"] * 4,
        valid_pct=0.25,
    )


def test_a_grey_block_gives_one_channel(folder: Path) -> None:
    dls = ImageDataLoaders.from_folder(folder, img_block=ImageBlock("L"), num_workers=0)
    assert dls.one_batch()[0].shape == (8, 1, 6, 6)


def test_masks_come_with_their_images_or_are_named(folder: Path) -> None:
    files = [folder / name for name in GOOD]
    for file in files:
        Image.fromarray(np.eye(6, dtype=np.uint8)).save(file.with_suffix(".mask.png"))
    make = SegmentationDataLoaders.from_label_func
    dls = make(
        folder,
        files,
        lambda f: f.with_suffix(".mask.png"),
        codes=["no", "yes"],
        num_workers=0,
        valid_pct=0.25,
    )
    x, y = dls.one_batch()
    assert x.shape == (3, 3, 6, 6) and torch.equal(y[0], torch.eye(6).long()) and dls.c == 2
    refused(
        MissingFileError,
        "4 of 4 masks that label_func names",
        make,
        folder,
        files,
        lambda f: f.with_suffix(".no"),
    )
    refused(DataError, "fnames is empty", make, folder, [], str)
    with pytest.raises(DataError, match="no target here has classes that can be counted"):
        dls.counts()
