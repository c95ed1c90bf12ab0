"""The summary tells one sample's whole way, and where a step fails names the step and the items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from plainlearn.augment.lighting import Brightness
from plainlearn.augment.transforms import Flip, Resize
from plainlearn.core.errors import DataError, ShapeError, SplitError
from plainlearn.data import CategoryBlock, DataBlock, IndexSplitter, RegressionBlock, get_image_files
from plainlearn.data.transform import Function
from plainlearn.vision.blocks import ImageBlock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(6):
        image = Image.fromarray(np.full((10 + number // 3, 12), 40 * number, dtype=np.uint8))
        image.save(tmp_path / f"{'ab'[number % 2]}{number}.png")
    return tmp_path


def letter(file: Path) -> str:
    return file.name[0]


def told(folder: Path, fails: type[Exception] | None = None, bs: int = 4, **settings: Any) -> str:
    lines: list[str] = []
    settings = {"get_items": get_image_files, "get_y": letter, "splitter": IndexSplitter([5])} | settings
    block = DataBlock(settings.pop("blocks", (ImageBlock, CategoryBlock)), **settings)
    if fails is None:
        block.summary(folder, bs=bs, write=lines.append)
    else:
        with pytest.raises(fails):
            block.summary(folder, bs=bs, write=lines.append)
    return "\n".join(lines)


def test_every_step_of_the_way_is_told(folder: Path) -> None:
    story = told(folder, item_tfms=[Function(tuple), Resize(8)], batch_tfms=[Brightness(), Flip()])
    steps = [
        "Items: 6, by get_image_files",
        "Split: 5 training, 1 validation, by IndexSplitter",
        "Image (input), read by itself",
        "Category (target, 2 classes), read by letter",
        "How often each class occurs in training: a 3, b 2",
        "One sample: ",
        "uint8 array (10, 12, 3), 0 to 0",
        "Function(tuple) -> ",
        "Resize(size=8",
        "Category as the model gets it: 0 (int64)",
        "A batch of the first 4 items",
        "put together: 4 image, 8 × 8, int64 (4,), 0 to 1",
        "Flip(",
        "Brightness(",
        "Image for the model: float32 (4, 3, 8, 8)",
    ]
    places = [story.index(step) for step in steps]
    assert places == sorted(places)


def test_the_split_that_is_told_is_the_one_that_is_used(folder: Path) -> None:
    asked: list[int] = []

    def get_items(source: Path) -> Any:
        asked.append(1)
        return get_image_files(source)

    told(folder, get_items=get_items, item_tfms=Resize(8))
    assert asked == [1]


def test_pictures_of_different_sizes_are_named_with_their_sizes_and_the_cure(folder: Path) -> None:
    story = told(folder, fails=ShapeError)
    assert "This failed while putting the samples together: images of one batch have different sizes" in story
    assert "a0.png is 10 × 12" in story and "a4.png is 11 × 12 (height × width)" in story
    assert "Try item_tfms=Resize(224)" in story
    assert "a4.png  uint8 array (11, 12, 3)" in story


def fails_on(name: str) -> Any:
    def get(file: Path) -> str:
        if file.name.startswith(name):
            raise KeyError("no such row")
        return file.name[0]

    return get


def test_a_getter_that_fails_is_named_with_its_item(folder: Path) -> None:
    story = told(folder, fails=KeyError, get_y=fails_on("b1"))
    assert "This failed while learning from the training items" in story
    story = told(folder, fails=KeyError, get_x=fails_on("a0"))
    assert "This failed while reading the value of Image" in story and "a0.png" in story.split("failed")[1]


def test_a_file_that_cannot_be_opened_is_named_alone(folder: Path) -> None:
    (folder / "a2.png").write_bytes(b"no picture")
    story = told(folder, fails=DataError, item_tfms=Resize(8))
    after = story.split("This failed while making a sample of the batch")[1]
    assert "a2.png" in after and "a0.png" not in after
    (folder / "a0.png").write_bytes(b"no picture")
    assert "This failed while opening Image" in told(folder, fails=DataError)


def test_a_target_that_cannot_be_encoded_and_a_transform_that_fails_are_named(folder: Path) -> None:
    story = told(folder, fails=DataError, blocks=(ImageBlock, RegressionBlock))
    assert "This failed while learning from the training items" in story and "'a' is not a number" in story

    def boom(fields: Any) -> Any:
        raise RuntimeError("boom")

    assert "This failed while applying Function(boom)" in told(
        folder, fails=RuntimeError, item_tfms=[boom, Resize(8)]
    )
    story = told(folder, fails=RuntimeError, item_tfms=Resize(8), batch_tfms=boom)
    assert "This failed while applying Function(boom) to a batch: boom" in story


def test_no_items_and_a_bad_split_are_told(folder: Path) -> None:
    assert "collecting and splitting" in told(folder, fails=DataError, get_items=lambda source: [])
    assert "collecting and splitting" in told(folder, fails=SplitError, splitter=lambda items: ([0], [0]))


def test_a_table_is_told_by_its_columns_and_its_numbers_as_people_write_them() -> None:
    lines: list[str] = []
    table = pd.DataFrame({"fare": [7.25, 71.5, 8.0], "sex": ["m", "f", "m"]})
    block = DataBlock(
        (RegressionBlock, CategoryBlock), get_x="fare", get_y="sex", splitter=IndexSplitter([2])
    )
    block.summary(table, write=lines.append)
    assert lines[0] == "Items: 3, by the source itself, from a table of 3 rows with the columns fare, sex"
    assert "  Regression: 7.25 -> 7.25" in lines
