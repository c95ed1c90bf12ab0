"""Boxes move with what they are around: held to the pixels, with their labels, batch for batch."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import Tensor

from plainlearn.augment import geometry
from plainlearn.augment.aug_transforms import aug_transforms
from plainlearn.augment.pending import PendingBoxes
from plainlearn.augment.transforms import (
    CropPad,
    Dihedral,
    Flip,
    RandomResizedCrop,
    Resize,
    Rotate,
    Warp,
    Zoom,
)
from plainlearn.core.errors import ArgumentError, DataError, ShapeError
from plainlearn.data import BlockLoaders, CategoryBlock, DataBlock, IndexSplitter
from plainlearn.data.dataset import Gather, ToModel
from plainlearn.data.transform import Transform
from plainlearn.vision.blocks import ImageBlock
from plainlearn.vision.box_blocks import BBoxBlock, BBoxLblBlock

HEIGHT, WIDTH = 60, 90

Item = tuple[list[tuple[int, int, int, int]], list[str]]


def picture(boxes: Any) -> np.ndarray[Any, Any]:
    """Black, with a white rectangle for each box."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for left, top, right, bottom in boxes:
        pixels[top:bottom, left:right] = 255
    return pixels


def loaders(items: list[Item], labels: Any = BBoxLblBlock, **settings: Any) -> BlockLoaders:
    settings.setdefault("item_tfms", None)
    block = DataBlock(
        (ImageBlock, BBoxBlock, labels), splitter=IndexSplitter([0]), n_inp=1,
        get_x=lambda item: picture(item[0]), get_y=[lambda item: item[0], lambda item: item[1]],
        **settings,
    )  # fmt: skip
    return block.dataloaders(
        [items[0], *items], bs=8, num_workers=0, shuffle=False, seed=1, device="cpu", drop_last=False
    )


def seen(image: Tensor) -> tuple[float, float, float, float] | None:
    """The box around what is white in (C, H, W), in pixels."""
    white = image[0] > 0.25
    if not white.any():
        return None
    rows, columns = white.any(1).nonzero().flatten(), white.any(0).nonzero().flatten()
    return columns[0].item(), rows[0].item(), columns[-1].item() + 1, rows[-1].item() + 1


MOVES: list[Any] = [
    [Flip(p=1.0)],
    [Flip(p=1.0, vertical=True)],
    [Dihedral(p=1.0), Resize((70, 50), "squish")],
    [Resize(48), Rotate(40, 1.0, pad_mode="zeros")],
    [Resize(64, "pad", "zeros")],
    [Zoom(0.6, 1.8, 1.0, pad_mode="zeros")],
    [Warp(0.4, 1.0, pad_mode="zeros")],
    [RandomResizedCrop(50, 0.2)],
    [CropPad((40, 120))],
    aug_transforms(2.0, size=56, flip_vert=True, pad_mode="zeros", max_lighting=0.0),
]


@pytest.mark.parametrize("stage", ["item_tfms", "batch_tfms"])
@pytest.mark.parametrize("moves", MOVES, ids=str)
def test_a_moved_box_is_where_its_pixels_are(moves: list[Transform], stage: str) -> None:
    if stage == "item_tfms" and any(type(move).on_items is Transform.on_items for move in moves):
        pytest.skip("it acts on batches only")
    rng = np.random.default_rng(5)
    items: list[Item] = []
    for _ in range(24):
        left, top = rng.integers(0, [WIDTH - 4, HEIGHT - 4]).tolist()
        right, bottom = rng.integers([left + 4, top + 4], [WIDTH + 1, HEIGHT + 1]).tolist()
        items.append(([(left, top, right, bottom)], ["box"]))
    most = 1.5 if any(isinstance(move, Rotate) for move in moves) else 1.1  # the tip of a turned one is faint
    gone = 0
    for images, boxes, labels in loaders(items, **{stage: moves}).train:
        for image, row, label in zip(images, boxes, labels, strict=True):
            found = seen(image)
            box = (row[0] + 1) / 2 * torch.tensor([*images.shape[:1:-1]] * 2)
            if not label.any():
                gone += 1
                assert not row.any()
                # Half a pixel away it may still shine into the last row.
                assert found is None or min(found[2] - found[0], found[3] - found[1]) <= 1
            elif found is None:
                assert (box[2:] - box[:2]).min() < 1, "less than a pixel cannot be seen"
            else:
                assert (box - torch.tensor(found)).abs().max() <= most, (box, found)
    assert gone < len(items) / 2


TWO: Item = ([(0, 0, 30, 60), (70, 10, 90, 50)], ["left", "right"])
ONE: Item = ([(60, 5, 80, 25)], ["right"])
NONE: Item = ([], [])


def test_batches_are_padded_to_the_fullest_picture_with_zeros() -> None:
    _, boxes, labels = loaders([ONE, TWO, NONE]).train.one_batch()
    assert boxes.shape == (3, 2, 4) and boxes.dtype == torch.float32
    assert labels.dtype == torch.int64 and labels.tolist() == [[2, 0], [1, 2], [0, 0]]
    assert boxes[0, 1].tolist() == [0.0] * 4 and boxes[2].abs().sum() == 0
    assert torch.allclose(boxes[1, 0], torch.tensor([-1.0, -1.0, -1 / 3, 1.0]))


def test_a_box_that_leaves_takes_its_label_along_and_the_others_move_up() -> None:
    right_half = Zoom(p=1.0, draw=2.0, draw_x=1.0, draw_y=0.5)
    _, boxes, labels = loaders([TWO], item_tfms=right_half).train.one_batch()
    assert labels.tolist() == [[2]] and boxes.shape == (1, 1, 4)
    empty = loaders([([(0, 0, 9, 9)], ["left"])], batch_tfms=right_half).train.one_batch()
    assert empty[1].shape == (1, 0, 4) and empty[2].shape == (1, 0)


def test_pictures_without_any_box_make_a_batch_and_can_be_shown() -> None:
    dls = loaders([TWO, NONE], item_tfms=Resize(32), batch_tfms=Rotate(10, 1.0))
    dls.show_batch((torch.zeros(1, 3, 8, 8), torch.zeros(1, 0, 4), torch.zeros(1, 0, dtype=torch.int64)))
    assert len(list(dls.valid)) == 1
    plt.close("all")


def test_boxes_that_wait_on_a_gpu_are_the_same_as_those_that_never_left() -> None:
    """What travels to another device is settled, and begun again there: boxes and labels still belong together."""
    dls = loaders([TWO, ONE, NONE], item_tfms=Flip(p=1.0))
    samples = [dls.train_ds.draw(index, np.random.default_rng(0)) for index in range(3)]
    flip = Zoom(p=1.0, draw=2.0, draw_x=0.0, draw_y=0.5)
    finish = ToModel(dls.blocks, [flip], 0)
    here, there = (
        finish(Gather(dls.blocks, materialized=settled)(samples), np.random.default_rng(0))
        for settled in (False, True)
    )
    assert all(isinstance(field, Tensor) for field in here)
    assert torch.allclose(here[1], there[1], atol=1e-6) and torch.equal(here[2], there[2])
    assert here[2].tolist() == [[2], [2], [0]]


def test_a_single_sample_is_plain_tensors_and_decodes_to_what_was_given() -> None:
    image, boxes, labels = (dataset := loaders([TWO]).train_ds)[0]
    assert image.dtype == torch.uint8 and boxes.shape == (2, 4) and labels.tolist() == [1, 2]
    _, units, names = dataset.decode((image, boxes, labels))
    assert (
        np.allclose((units + 1) / 2 * [WIDTH, HEIGHT] * 1, TWO[0], atol=1e-4) if units.shape[1] == 2 else True
    )
    assert np.allclose((units + 1) / 2 * [WIDTH, HEIGHT, WIDTH, HEIGHT], TWO[0], atol=1e-4)
    assert names == ["left", "right"]


def test_the_vocabulary_has_the_background_first_unless_it_is_left_out() -> None:
    dls = loaders([TWO, ONE])
    assert dls.vocab == ["#na#", "left", "right"]
    assert dls.counts()["train"] == {"#na#": 0, "left": 1, "right": 2}
    assert dls.loss_func is None
    bare = loaders([TWO, NONE], BBoxLblBlock(["right", "left"], add_na=False))
    assert bare.vocab == ["right", "left"] and bare.train.one_batch()[2].tolist() == [[1, 0], [-1, -1]]
    assert bare.blocks[2].decode(torch.tensor([1, 0, -1])) == ["left", "right"]
    assert repr(bare.blocks[2]) == "BBoxLblBlock(vocab=['right', 'left'], add_na=False)"
    assert bare.blocks[2] == BBoxLblBlock(["right", "left"], add_na=False) != BBoxLblBlock(["right", "left"])


def test_boxes_are_drawn_where_they_are_with_their_labels() -> None:
    dls = loaders([TWO])
    dls.show_batch(max_n=1)
    ax = plt.gcf().axes[0]
    assert [text.get_text() for text in ax.texts] == ["left", "right"]
    first, second = ax.patches
    assert (
        first.get_edgecolor()
        != second.get_edgecolor()
        == (*ax.texts[1].get_bbox_patch().get_facecolor()[:3], 1)
    )
    assert np.allclose(second.get_bbox().bounds, [69.5, 9.5, 20, 40], atol=0.01)
    plt.close("all")


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([1, 2, 3, 4], r"the shape \(4,\); expected \(K, 4\)"),
        ([(1, 2, 3)], r"the shape \(1, 3\)"),
        ([(1, 2, 9, 9), (50, 10, 20, 30)], r"box 1 \(50.0, 10.0, 20.0, 30.0\) has its right or bottom edge"),
        ([(1, 2, 1, 9)], "right or bottom edge before its left or top"),
        ([(1, 2, 3, float("nan"))], "box 0 .* is not finite"),
        ([(0.1, 0.2, 0.5, 0.9)], "expected pixels, not fractions"),
        ("1 2 3 4", "the boxes are str '1 2 3 4'; expected numbers"),
        ([(1, 2, 3, 4), (1, 2)], "expected numbers"),
    ],
)
def test_boxes_that_cannot_be_are_refused_before_training(boxes: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        BBoxBlock().open(boxes)
    with pytest.raises(DataError, match=r"1 of 2 training items cannot be used; the first is .*" + message):
        DataBlock((ImageBlock, BBoxBlock), get_y=lambda item: item, splitter=IndexSplitter([0])).datasets(
            [[(0, 0, 2, 2)], boxes, [(0, 0, 2, 2)]]
        )


def test_a_box_outside_its_picture_is_refused_and_one_that_overhangs_is_clipped() -> None:
    overhanging = np.array([[-5.0, 0, 100, 30]], np.float32)
    assert BBoxBlock().place(overhanging, (60, 90)).read().tolist() == [[[-1, -1, 1, 0]]]
    dls = loaders([TWO, ([(95, 5, 99, 9)], ["right"])])
    with pytest.raises(
        DataError, match=r"box 0 \(95.0, 5.0, 99.0, 9.0\) lies outside its picture of 90 × 60"
    ) as caught:
        dls.train.one_batch()
    assert any("the item is ([(95," in note for note in caught.value.__notes__)


def test_labels_that_do_not_fit_their_boxes_name_the_item() -> None:
    dls = loaders([TWO, ([(1, 1, 9, 9)], ["left", "right"])])
    with pytest.raises(
        ShapeError, match="there are 2 labels for 1 boxes; expected one label a box"
    ) as caught:
        dls.train.one_batch()
    assert any("the item is ([(1, 1, 9, 9)]" in note for note in caught.value.__notes__)
    with pytest.raises(DataError, match="the label 'up' is not in the vocabulary"):
        loaders([TWO, ([(1, 1, 9, 9)], ["up"])], BBoxLblBlock(["left", "right"]))
    with pytest.raises(DataError, match="the labels are 'left'; expected a list"):
        loaders([TWO, ([(1, 1, 9, 9)], "left")])  # type: ignore[list-item]


def test_labels_need_boxes_and_boxes_a_picture() -> None:
    block = DataBlock((ImageBlock, BBoxLblBlock), get_x=lambda item: picture([]), get_y=lambda item: ["a"],
                      splitter=IndexSplitter([0]))  # fmt: skip
    with pytest.raises(ArgumentError, match=r"the sample has 0\n  Try blocks=\(ImageBlock, BBoxBlock"):
        block.dataloaders([0, 1], num_workers=0, device="cpu").train.one_batch()
    bare = DataBlock(
        (CategoryBlock, BBoxBlock), get_x=str, get_y=lambda item: [], splitter=IndexSplitter([0])
    )
    with pytest.raises(ArgumentError, match="there is none in the sample"):
        bare.dataloaders([0, 0], num_workers=0, device="cpu").train.one_batch()


def test_a_box_that_crosses_the_horizon_is_cut_there() -> None:
    steep = np.array([[[1.0, 0, 0], [0, 1, 0], [0, 1.2, 1]]])  # weight 0 within the picture
    boxes = PendingBoxes([np.array([[-0.5, -1.0, 0.5, 1.0]], np.float32)], np.array([[9, 9]]), steep)
    (box,) = boxes.read()[0]
    assert box.isfinite().all() and box.abs().max() <= 1 and (box[2:] > box[:2]).all()
    # Any point of the box that is before the horizon and in view lies within what was read.
    ys = torch.linspace(-1, 1, 41)
    points = torch.stack([torch.full_like(ys, 0.4), ys], -1)[None]
    weight = torch.from_numpy(geometry.inverse(steep))[0, 2, 1] * ys + geometry.inverse(steep)[0, 2, 2]
    moved = geometry.map_points(steep, points)[0][weight > 1e-6]
    inside = moved[(moved.abs() <= 1).all(-1)]
    assert len(inside) and bool(((inside >= box[:2] - 1e-5) & (inside <= box[2:] + 1e-5)).all())
