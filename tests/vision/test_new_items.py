"""New items for a model: `dls.test_dl` reads whatever the loaders were made of, as validation does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor

from plainlearn.augment.aug_transforms import aug_transforms
from plainlearn.augment.lighting import Normalize
from plainlearn.augment.transforms import Resize
from plainlearn.core.errors import DataError
from plainlearn.data import BlockLoaders, CategoryBlock, ColReader, DataBlock, IndexSplitter, get_image_files
from plainlearn.images.load import load_image
from plainlearn.vision.blocks import ImageBlock
from plainlearn.vision.loaders import ImageDataLoaders

TFMS: Any = {"item_tfms": Resize(12), "batch_tfms": [*aug_transforms(size=8), Normalize()]}
QUIET: Any = {"num_workers": 0, "device": "cpu", "bs": 4, "seed": 0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(8):
        file = tmp_path / "photos" / f"{'ab'[number % 2]}{number}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (14, 10 + number, 3), dtype=np.uint8)).save(file)
    return tmp_path


@pytest.fixture
def df(folder: Path) -> pd.DataFrame:
    names = sorted(file.stem for file in (folder / "photos").iterdir())
    tags = [name[0] for name in names]
    return pd.DataFrame({"side": [number < 2 for number in range(8)], "name": names, "tags": tags})


def of_table(df: pd.DataFrame, folder: Path, **settings: Any) -> BlockLoaders:
    return ImageDataLoaders.from_df(
        df, folder, fn_col="name", folder="photos", suff=".png", label_col="tags", valid_col="side",
        **TFMS, **QUIET, **settings,
    )  # fmt: skip


def images(loader: Any) -> Tensor:
    return torch.cat([batch[0] for batch in loader])


def test_a_new_table_is_read_as_the_first_one_was(df: pd.DataFrame, folder: Path) -> None:
    dls = of_table(df, folder)
    valid = df[df.side].reset_index(drop=True)
    expected = images(dls.valid)
    shuffled_columns = valid[["tags", "name"]]
    assert torch.equal(images(dls.test_dl(shuffled_columns)), expected)
    assert torch.equal(images(dls.test_dl(valid.drop(columns="tags"))), expected)
    assert [len(batch) for batch in dls.test_dl(valid, bs=1)] == [1, 1]
    with_labels = dls.test_dl(valid, with_labels=True).one_batch()
    assert torch.equal(with_labels[0], expected) and with_labels[1].tolist() == [0, 0]
    by_place = ImageDataLoaders.from_csv(
        write(df, folder),
        folder="photos",
        suff=".png",
        fn_col=1,
        label_col=2,
        valid_col="side",
        **TFMS,
        **QUIET,
    )
    assert torch.equal(images(by_place.test_dl(valid)), images(by_place.valid))


def write(df: pd.DataFrame, folder: Path) -> Path:
    df.to_csv(folder / "labels.csv", index=False)
    return folder


def test_several_labels_of_a_new_table_are_divided_as_the_first_ones(df: pd.DataFrame, folder: Path) -> None:
    df["tags"] = ["a;b", "b", "", "a", "b", "a", "a;b", "b"]
    dls = of_table(df, folder, label_delim=";")
    assert dls.test_dl(df[:3], with_labels=True).one_batch()[1].tolist() == [[1, 1], [0, 1], [0, 0]]
    df.loc[0, "tags"] = "a;new"
    with pytest.raises(
        DataError, match=r"1 of 8 test items cannot be used; the first is row 0 .*'new' is not in"
    ):
        dls.test_dl(df, with_labels=True)


def test_lists_paths_bytes_and_arrays_are_read_alike(df: pd.DataFrame, folder: Path) -> None:
    dls = of_table(df, folder)
    file = sorted(get_image_files(folder))[0]
    expected = images(dls.test_dl([file]))
    array = load_image(file)
    for one in (file, str(file), file.read_bytes(), array, torch.from_numpy(array).permute(2, 0, 1), Image.open(file)):  # fmt: skip
        assert torch.equal(images(dls.test_dl(one)), expected), type(one)
    assert torch.equal(images(dls.test_dl(np.stack([array, array]))), expected.repeat(2, 1, 1, 1))
    assert len(images(dls.test_dl(get_image_files(folder)))) == 8
    assert torch.equal(images(dls.test_dl(pd.Series([str(file)]))), expected)


def test_what_the_loaders_do_not_read_is_said_before_the_first_batch(df: pd.DataFrame, folder: Path) -> None:
    dls = of_table(df, folder)
    with pytest.raises(DataError, match="the row has no column 'name'; its columns are side, file, tags"):
        dls.test_dl(df.rename(columns={"name": "file"}))
    with pytest.raises(DataError, match="the row has no column 'tags'; its columns are side, name"):
        dls.test_dl(df.drop(columns="tags"), with_labels=True)
    with pytest.raises(DataError, match=r"has no label\n  Try with_labels=False"):
        dls.test_dl(get_image_files(folder), with_labels=True)
    files = [f"{name}.png" for name in df.name]
    listed = ImageDataLoaders.from_lists(folder / "photos", files, list(df.tags), **TFMS, **QUIET)
    with pytest.raises(DataError, match=r"made from lists.*a row of a table\n  Try the list of its files"):
        listed.test_dl(df)
    assert len(images(listed.test_dl(get_image_files(folder)))) == 8


def test_loaders_of_columns_take_rows_and_say_so(df: pd.DataFrame, folder: Path) -> None:
    block = DataBlock(
        (ImageBlock, CategoryBlock), get_x=ColReader("name", pref=folder / "photos", suff=".png"),
        get_y="tags", splitter=IndexSplitter([0, 1]), **TFMS,
    )  # fmt: skip
    dls = block.dataloaders(df, **QUIET)
    assert torch.equal(images(dls.test_dl(df[:2])), images(dls.valid))
    assert torch.equal(images(dls.test_dl({"name": "a0"})), images(dls.valid)[:1])
    with pytest.raises(
        DataError, match=r"the item is .*a0.png.*expected a table's row .* 'name'\n  Try a DataFrame"
    ):
        dls.test_dl([folder / "photos" / "a0.png"])
