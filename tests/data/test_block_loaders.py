"""Loaders of blocks: a new kind of block end to end, loaders of new items, decoding, and grids of samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from plainlearn.augment.lighting import Normalize
from plainlearn.augment.transforms import Flip, Resize, Rotate
from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.data import Block, BlockLoaders, CategoryBlock, DataBlock, IndexSplitter, RegressionBlock
from plainlearn.data.block_loaders import show_samples
from plainlearn.data.blocks import Geometry
from plainlearn.images.load import load_image
from plainlearn.losses import MSELossFlat
from plainlearn.vision.blocks import ImageBlock


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made: list[Path] = []
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (10 + number % 3, 12, 3), dtype=np.uint8)
        made.append(tmp_path / f"{'ab'[number % 2]}{number}.png")
        Image.fromarray(pixels).save(made[-1])
    return made


def letter(file: Path) -> str:
    return file.name[0]


def pictures(files: list[Path], **settings: Any) -> BlockLoaders:
    settings.setdefault("item_tfms", Resize(8))
    block = DataBlock(
        (ImageBlock, CategoryBlock), splitter=IndexSplitter([9, 10, 11]), get_y=letter, **settings
    )
    return block.dataloaders(files, bs=4, num_workers=0, seed=0, device="cpu")


class SoundBlock(Block):
    """What a stranger may add: a kind of thing that the library has never heard of."""

    geometry: ClassVar[Geometry] = "none"

    def open(self, value: Any) -> np.ndarray[Any, Any]:
        return np.full(4, len(value.name), dtype=np.float32)

    def encode(self, thing: Any) -> Tensor:
        return torch.from_numpy(thing) / 100

    def decode(self, encoded: Tensor) -> Any:
        return (encoded * 100).round().numpy()

    def to_model(self, batch: Tensor) -> Tensor:
        return batch * 2

    def from_model(self, batch: Tensor) -> Tensor:
        return batch / 2

    def show(self, thing: Any, ax: Any) -> str:
        return f"sound {thing[0]:.0f}"

    @property
    def outputs(self) -> int:
        return 4

    def loss_func(self) -> Any:
        return MSELossFlat()


def test_a_kind_of_block_from_outside_works_from_end_to_end(files: list[Path]) -> None:
    block = DataBlock(
        (ImageBlock, SoundBlock), splitter=IndexSplitter([0]), item_tfms=Resize(6), batch_tfms=Rotate()
    )
    dls = block.dataloaders(files, bs=3, num_workers=2, device="cpu")
    images, sounds = dls.one_batch()
    assert images.shape == (3, 3, 6, 6) and sounds.shape == (3, 4)
    assert set(sounds.flatten().tolist()) <= {np.float32(0.12), np.float32(0.14)}
    assert dls.c == 4 and isinstance(dls.loss_func, MSELossFlat)
    assert {tuple(sound) for _, sound in dls.decoded_samples((images, sounds))} <= {(6,) * 4, (7,) * 4}
    dls.show_batch(max_n=2)
    assert plt.gcf().axes[0].get_title() in ("sound 6", "sound 7")
    plt.close("all")


def test_new_items_are_read_as_in_validation(files: list[Path]) -> None:
    dls = pictures(files, batch_tfms=[Flip(p=1.0), Normalize((0.5,), (0.25,))])
    expected = torch.cat([images for images, _ in dls.valid])
    got = list(dls.test_dl(files[9:]))
    assert [type(batch) for batch in got] == [tuple] and len(got[0]) == 1
    assert torch.equal(got[0][0], expected)
    labelled = list(dls.test_dl(files[9:], with_labels=True, bs=2))
    assert [len(batch) for batch in labelled] == [2, 2]
    assert torch.cat([labels for _, labels in labelled]).tolist() == [1, 0, 1]
    array = load_image(files[9])
    assert torch.equal(dls.test_dl([array]).one_batch()[0], expected[:1])


def test_new_items_that_cannot_be_used_are_refused_at_once(files: list[Path], tmp_path: Path) -> None:
    dls = pictures(files)
    with pytest.raises(DataError, match="empty"):
        dls.test_dl([])
    with pytest.raises(
        DataError, match=r"1 of 1 test items cannot be used; the first is .*z1.png: the label 'z'"
    ):
        dls.test_dl([tmp_path / "z1.png"], with_labels=True)


def test_decoding_a_batch_gives_back_what_was_in_the_files(files: list[Path]) -> None:
    same = [file for file in files if load_image(file).shape[0] == 10]
    for tfms in ((), Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.1))):
        block = DataBlock(
            (ImageBlock, CategoryBlock), splitter=IndexSplitter([0]), get_y=letter, batch_tfms=tfms
        )
        dls = block.dataloaders([*same, *same], bs=7, shuffle=False, num_workers=0, device="cpu", check=False)
        samples = dls.decoded_samples(dls.one_batch())
        for (image, label), file in zip(samples, [*same, *same][1:], strict=True):
            assert np.array_equal(image, load_image(file)) and label == letter(file)


def test_a_dataset_s_item_is_plain_and_decodes(files: list[Path]) -> None:
    dls = pictures(files)
    image, label = dls.train_ds[1]
    assert image.dtype == torch.uint8 and image.shape == (3, 8, 8)
    picture, name = dls.train_ds.decode((image, label))
    assert picture.shape == (8, 8, 3) and name == "b"
    torch.manual_seed(0)
    first = dls.train_ds[1][0]
    torch.manual_seed(0)
    assert torch.equal(dls.train_ds[1][0], first)


def test_show_batch_draws_a_grid_of_titled_pictures(files: list[Path]) -> None:
    dls = pictures(files)
    for settings, grid, shown in (
        ({}, (2, 2), 4),
        ({"max_n": 3, "ncols": 3}, (1, 3), 3),
        ({"max_n": 3, "nrows": 3}, (3, 1), 3),
        ({"unique": True, "max_n": 6}, (2, 3), 6),
        ({"ds_idx": 1}, (2, 2), 3),
        ({"b": dls.valid.one_batch(), "max_n": 1, "figsize": (2, 2)}, (1, 1), 1),
    ):
        dls.show_batch(**settings)
        axes = plt.gcf().axes
        assert axes[0].get_subplotspec().get_gridspec().get_geometry() == grid
        assert sum(len(ax.images) for ax in axes) == shown
        assert {ax.get_title() for ax in axes[:shown]} <= {"a", "b"}
        assert not any(ax.axison for ax in axes)
        plt.close("all")
    with pytest.raises(ArgumentError, match="max_n is 0"):
        dls.show_batch(max_n=0)
    with pytest.raises(ArgumentError, match="max_n is 0"):
        dls.show_batch(max_n=0, unique=True)


def test_a_side_and_new_items_show_themselves(files: list[Path]) -> None:
    dls = pictures(files, batch_tfms=[Flip(1.0), Normalize.from_stats([0.5] * 3, [0.5] * 3)])
    for loader, count in ((dls.train, 4), (dls.valid, 3), (dls.test_dl(files[:2], with_labels=True), 2)):
        loader.show_batch(max_n=count, nrows=1)
        axes = plt.gcf().axes
        assert axes[0].get_subplotspec().get_gridspec().get_geometry() == (1, count)
        shown = [np.asarray(ax.images[0].get_array()) for ax in axes]
        batch = loader.one_batch()
        if loader is not dls.train:
            assert np.array_equal(shown[0], loader.decode(batch)[0][0].permute(1, 2, 0).numpy())
            assert [ax.get_title() for ax in axes] == [dls.vocab[int(label)] for label in batch[1][:count]]
        plt.close("all")
    dls.train.show_batch(max_n=2, unique=True)
    assert len({ax.get_title() for ax in plt.gcf().axes}) == 1
    plt.close("all")
    dls.test_dl(files[:2]).show_batch()
    assert [ax.get_title() for ax in plt.gcf().axes] == ["", ""]
    plt.close("all")


def test_unique_shows_one_item_again_and_again_as_chance_has_it(files: list[Path]) -> None:
    dls = pictures(files, batch_tfms=Rotate(max_deg=40, p=1.0))
    torch.manual_seed(0)
    dls.show_batch(unique=True, max_n=4)
    axes = plt.gcf().axes
    arrays = [np.asarray(ax.images[0].get_array()) for ax in axes]
    assert len({ax.get_title() for ax in axes}) == 1
    assert not np.array_equal(arrays[0], arrays[1])
    plt.close("all")


def test_a_mean_target_is_shown_as_its_number(files: list[Path]) -> None:
    block = DataBlock(
        (ImageBlock, RegressionBlock), splitter=IndexSplitter([0]), get_y=lambda f: 2.5, item_tfms=Resize(8)
    )
    block.dataloaders(files, bs=2, num_workers=0, device="cpu").show_batch()
    assert plt.gcf().axes[0].get_title() == "2.5"
    plt.close("all")


def test_loaders_count_and_print(files: list[Path]) -> None:
    dls = pictures(files)
    assert dls.counts() == {"train": {"a": 5, "b": 4}, "valid": {"a": 1, "b": 2}}
    assert repr(dls).startswith("BlockLoaders(Datasets(train: 9 items of (Image, Category)")
    assert dls.c == 2 and dls.vocab == ["a", "b"] and dls.n_inp == 1


def test_showing_a_batch_is_no_beginning_of_an_epoch(files: list[Path]) -> None:
    dls = pictures(files)
    before = dls.train.state_dict()
    dls.show_batch()
    assert dls.train.state_dict() == before


def test_long_titles_stay_above_their_picture() -> None:
    words = "a breed with a name of very many words"
    show_samples((Block(), Block()), [("tabby", "grey"), (words, "staffordshire_bull_terrier")] * 2)
    figure = plt.gcf()
    short, long = figure.axes[:2]
    assert short.get_title() == "tabby\ngrey" and short.title.get_fontsize() == 12
    assert long.get_title().replace("\n", " ") == f"{words} staffordshire_bull_terrier"
    figure.canvas.draw()
    assert long.title.get_window_extent().width <= 1.05 * long.get_window_extent().width
    plt.close("all")
