"""Geometric transforms do what they say, seen on a ramp whose colours are its coordinates."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from plainlearn.augment import geometry
from plainlearn.augment.aug_transforms import aug_transforms
from plainlearn.augment.lighting import Brightness, Contrast, Hue
from plainlearn.augment.pending import PendingImage
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
from plainlearn.core.errors import ArgumentError, ShapeError
from plainlearn.data import Block, DataBlock, IndexSplitter
from plainlearn.data.transform import Transform
from plainlearn.vision.blocks import ImageBlock, MaskBlock
from plainlearn.vision.point_block import PointBlock

EVERY: list[Transform] = [
    Resize(40),
    Resize((30, 50), "squish"),
    Resize(40, "pad", "zeros"),
    RandomResizedCrop(32, 0.3),
    Flip(0.5),
    Flip(0.5, vertical=True),
    Dihedral(0.9),
    Rotate(25, 0.8),
    Zoom(0.8, 1.5, 0.8),
    Warp(0.3, 0.8),
    CropPad(50),
]


def ramp(height: int = 64, width: int = 64) -> np.ndarray[Any, Any]:
    """Red is the column and green the row, four levels a pixel; 64 of them fill 8 bits."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns * 4, rows * 4, rows * 0], axis=-1).astype(np.uint8)


def placed(count: int = 1, height: int = 64, width: int = 64) -> PendingImage:
    block = ImageBlock()
    return PendingImage.joined([block.place(ramp(height, width), (0, 0)) for _ in range(count)])


def applied(transform: Transform, field: PendingImage, seed: int = 0, train: bool = True) -> PendingImage:
    return transform.on_batch((field,), (ImageBlock(),), np.random.default_rng(seed), train=train)[0]


def where(transform: Transform, height: int = 64, width: int = 64, **how: Any) -> Tensor:
    """For each output pixel, the (column, row) of the original that it shows: (h, w, 2)."""
    return applied(transform, placed(1, height, width), **how).read()[0, :2].permute(1, 2, 0) * 255 / 4


def grid(height: int, width: int) -> Tensor:
    return torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), -1).float()


def same(got: Tensor, wanted: Tensor, margin: int = 0) -> bool:
    inner = (slice(margin, got.shape[0] - margin), slice(margin, got.shape[1] - margin))
    return bool((got[inner] - wanted[inner]).abs().max() <= 0.1)


def test_crop_cuts_the_middle_in_validation_and_somewhere_in_training() -> None:
    assert same(where(Resize(32), 32, 64, train=False), grid(32, 32) + torch.tensor([16.0, 0]))
    shifts = {round(where(Resize(32), 32, 64, seed=seed)[0, 0, 0].item(), 1) for seed in range(5)}
    assert len(shifts) == 5 and all(0 <= shift <= 32 for shift in shifts)


def test_squish_and_enlarging_map_edges_to_edges() -> None:
    half = where(Resize((32, 64), "squish"), train=False)
    assert same(half, grid(32, 64) * torch.tensor([1.0, 2]) + torch.tensor([0, 0.5]), margin=3)
    twice = where(Resize(128), train=False)
    assert same(twice, grid(128, 128) / 2 - 0.25, margin=6)


def test_pad_shows_all_and_fills_the_margin_as_it_is_told() -> None:
    out = where(Resize(64, "pad", "zeros"), 32, 64, train=False)
    assert same(out[16:48], grid(32, 64)) and out[:15].abs().max() == 0 and out[49:].abs().max() == 0
    mirrored = where(Resize(64, "pad"), 32, 64, train=False)
    assert same(mirrored[:16], grid(32, 64)[:16].flip(0))


def test_a_margin_made_on_purpose_stays_whatever_turns_it_later() -> None:
    batch = placed(1, 32, 64)
    for transform in (Resize(64, "pad", "zeros"), Rotate(draw=0.0, p=1.0, pad_mode="reflection")):
        batch = applied(transform, batch, train=True)
    assert batch.pad_mode == "zeros"
    assert applied(CropPad(99), applied(Rotate(), placed())).pad_mode == "zeros"
    assert applied(Resize(9), placed()).pad_mode is None


def test_flips_mirror() -> None:
    assert same(where(Flip(1.0)), grid(64, 64).flip(1))
    assert same(where(Flip(1.0, vertical=True)), grid(64, 64).flip(0))


def test_dihedral_gives_all_eight_symmetries_and_no_other() -> None:
    corners = set()
    for seed in range(40):
        out = where(Dihedral(1.0), seed=seed)
        corners.add(tuple(out[[0, 0, -1], [0, -1, 0]].round().int().flatten().tolist()))
    assert len(corners) == 8


def test_rotate_turns_clockwise_about_the_middle_by_what_draw_says() -> None:
    assert same(where(Rotate(draw=90.0, p=1.0)), grid(64, 64).rot90(-1, (0, 1)))
    angle, centre = np.radians(20), 31.5
    turned = torch.tensor([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]).float()
    wanted = (grid(64, 64) - centre) @ turned.T + centre
    assert same(where(Rotate(draw=20.0, p=1.0)), wanted, margin=16)


def test_zoom_magnifies_by_what_draw_says_where_it_says() -> None:
    wanted = (grid(64, 64) - 31.5) / 1.25 + 31.5
    assert same(where(Zoom(draw=1.25, draw_x=0.5, draw_y=0.5, p=1.0)), wanted, margin=3)
    corner = where(Zoom(draw=2.0, draw_x=0.0, draw_y=1.0, p=1.0))
    assert same(corner, grid(64, 64) / 2 - 0.25 + torch.tensor([0, 32.0]), margin=4)


def test_warp_moves_corners_by_what_the_draws_say() -> None:
    maps, _ = Warp(draw_x=0.2, draw_y=-0.1, p=1.0).maps_for(
        np.array([[64, 64]]), np.random.default_rng(0), train=True
    )
    assert np.allclose(maps, geometry.warp(0.2, -0.1))
    out = where(Warp(draw_x=0.3, draw_y=0.0, p=1.0))
    left, right = out[:, 8, 1], out[:, -8, 1]
    assert (left[48] - left[16]) < 31 < 33 < (right[48] - right[16])  # the left edge comes nearer and grows
    with pytest.raises(ArgumentError):
        where(Warp(draw_x=0.7, draw_y=0.7, p=1.0))


def test_crop_pad_keeps_the_scale() -> None:
    assert same(where(CropPad(32), train=False), grid(32, 32) + 16)
    out = where(CropPad(80), train=False)
    assert same(out[8:-8, 8:-8], grid(64, 64)) and out[:7].abs().max() == 0


def test_a_random_part_has_the_area_and_proportions_it_may_have() -> None:
    for seed in range(30):
        maps, size = RandomResizedCrop(32, 0.3).maps_for(
            np.array([[48, 64]]), np.random.default_rng(seed), train=True
        )
        w, h = maps[0, 0, 0], maps[0, 1, 1]
        assert size == (32, 32) and 0.299 < w * h <= 1.0001
        assert 0.749 <= w * 64 / (h * 48) <= 1.334
        assert abs(maps[0, 0, 2]) <= 1 - w + 1e-9 and abs(maps[0, 1, 2]) <= 1 - h + 1e-9
    assert same(where(RandomResizedCrop(32), 32, 64, train=False), grid(32, 32) + torch.tensor([16.0, 0]))


def test_size_brings_pictures_to_it_in_validation_too() -> None:
    for transform in (Rotate(size=20), Zoom(size=20), Warp(size=20), Flip(size=20), Dihedral(size=(20, 20))):
        assert transform.acts_on(0) and transform.acts_on(1)
        assert applied(transform, placed(3)).read().shape == (3, 3, 20, 20)
        assert same(where(transform, train=False), where(Resize(20, "squish"), train=False))
    assert not Rotate().acts_on(1)


@pytest.mark.parametrize("transform", [Flip(0.0), Rotate(p=0.0), Zoom(p=0.0), Warp(p=0.0), Dihedral(0.0)])
def test_p_0_never_and_p_1_always(transform: Any) -> None:
    field = placed(50)
    assert np.array_equal(applied(transform, field).maps, field.maps)
    always = applied(type(transform)(p=1.0), field).maps
    changed = (np.abs(always - np.eye(3)).max(axis=(1, 2)) > 1e-9).mean()
    assert changed == 1 or (
        isinstance(transform, Dihedral) and changed > 0.7
    )  # one of the eight changes nothing


@pytest.mark.parametrize("transform", EVERY, ids=repr)
def test_items_and_batches_give_the_same_for_the_same_draws(transform: Any) -> None:
    block, picture = ImageBlock(), ramp(40, 56)
    one = transform.on_items(
        (block.place(picture, (40, 56)),), (block,), np.random.default_rng(4), train=True
    )
    batch = block.begin_batch(block.encode(picture)[None])
    whole = transform.on_batch((batch,), (block,), np.random.default_rng(4), train=True)
    assert torch.equal(one[0].read(), whole[0].read())


@pytest.mark.parametrize("transform", EVERY, ids=repr)
def test_validation_is_the_same_each_time(transform: Any) -> None:
    field = placed(2, 40, 56)
    assert np.array_equal(
        applied(transform, field, 1, train=False).maps, applied(transform, field, 2, train=False).maps
    )


@pytest.mark.parametrize("transform", [t for t in EVERY if t != Resize((30, 50), "squish")], ids=repr)
def test_a_picture_s_map_does_not_depend_on_its_neighbours(transform: Any) -> None:
    rng = np.random.default_rng
    sizes, other = np.array([[64, 64]] * 4), np.array([[64, 64], [20, 90], [64, 64], [64, 64]])
    a, b = (transform.maps_for(each, rng(7), train=True)[0] for each in (sizes, other))
    assert np.array_equal(a[[0, 2, 3]], b[[0, 2, 3]])


def test_one_draw_moves_image_mask_and_points_alike() -> None:
    picture = np.zeros((64, 48, 3), dtype=np.uint8)
    spots = np.array([[12, 20], [30, 40], [20, 50]])
    for number, (x, y) in enumerate(spots):
        rows, columns = np.mgrid[:64, :48]
        picture[..., number] = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    mask = (picture > 99).astype(np.int64) @ np.array([1, 2, 3])
    blocks: Sequence[Block] = (ImageBlock(), MaskBlock(), PointBlock())
    for transform in (Rotate(draw=20.0, p=1.0), Flip(1.0), Zoom(draw=1.1, p=1.0), Warp(draw_x=0.1, draw_y=0.1, p=1.0),
                      Resize((80, 60), "squish"), Dihedral(1.0), CropPad((60, 48))):  # fmt: skip
        things = [
            block.place(thing, (64, 48))
            for block, thing in zip(blocks, (picture, mask, spots.astype(np.float32)), strict=True)
        ]
        moved = transform.on_items(tuple(things), blocks, np.random.default_rng(1), train=True)
        image, labels, points = (each.read()[0] for each in moved)
        height, width = labels.shape
        for number in range(3):
            heavy = image[number].pow(2) / image[number].pow(2).sum()
            rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            centre = torch.stack([(heavy * columns).sum(), (heavy * rows).sum()])
            x, y = ((points[number] + 1) * torch.tensor([width, height]) - 1) / 2
            assert (centre - torch.stack([x, y])).abs().max() < 0.1, (transform, number)
            assert labels[int(y.round()), int(x.round())] == number + 1


def test_two_pictures_of_different_sizes_get_the_same_draws_and_each_its_own_frame() -> None:
    blocks = (ImageBlock(), ImageBlock())
    things = (blocks[0].place(ramp(32, 64), (32, 64)), blocks[1].place(ramp(64, 64), (32, 64)))
    wide, square = Resize(32).on_items(things, blocks, np.random.default_rng(0), train=True)
    assert wide.maps[0, 0, 0] == 0.5 and square.maps[0, 0, 0] == 1
    assert wide.read().shape == square.read().shape == (1, 3, 32, 32)
    left, right = Rotate(40, 1.0).on_items(things, blocks, np.random.default_rng(0), train=True)
    angles = [np.degrees(np.arccos(each.maps[0, 0, 0])) for each in (left, right)]
    assert abs(angles[0] - angles[1]) < 1e-9


def test_no_horizon_comes_into_view_at_any_strength() -> None:
    for seed in range(5):
        field = placed(64)
        for transform in aug_transforms(mult=2):
            if transform.order == 0:
                field = applied(transform, field, seed)
        assert not geometry.crosses_horizon(field.maps).any()


def picture_loaders(workers: int) -> list[Tensor]:
    items = [ramp(40 + number, 50) for number in range(12)]
    block = DataBlock(
        (ImageBlock, Block), get_y=lambda item: len(item), splitter=IndexSplitter([0, 1]),
        item_tfms=RandomResizedCrop(24), batch_tfms=[*aug_transforms(size=16), Hue(p=1.0)],
    )  # fmt: skip
    dls = block.dataloaders(items, bs=3, num_workers=workers, seed=9, device="cpu")
    return [x for _ in range(2) for x, _ in dls.train] + [x for x, _ in dls.valid]


def test_the_number_of_workers_changes_nothing() -> None:
    alone = picture_loaders(0)
    for workers in (2, 8):
        assert all(map(torch.equal, alone, picture_loaders(workers)))
    assert not torch.equal(alone[0], alone[3])


def test_geometry_never_leaves_a_finished_picture_behind() -> None:
    blocks = (ImageBlock(), MaskBlock())
    finished = (torch.zeros(2, 3, 8, 8), MaskBlock().begin_batch(torch.zeros(2, 8, 8, dtype=torch.int64)))
    with pytest.raises(ArgumentError, match=r"would move the others and leave Image behind"):
        Flip().on_batch(finished, blocks, np.random.default_rng(0), train=True)
    with pytest.raises(ShapeError, match="needs an image or a mask"):
        Flip().on_batch((torch.zeros(2),), (Block(),), np.random.default_rng(0), train=True)


def test_a_list_may_be_written_in_any_order() -> None:
    items = [ramp(40, 40) for _ in range(8)]
    outs: list[Tensor] = []
    for tfms in ([Hue(p=1.0), Flip(1.0), Brightness(p=1.0)], [Flip(1.0), Brightness(p=1.0), Hue(p=1.0)]):
        block = DataBlock((ImageBlock, Block), splitter=IndexSplitter([0]), get_y=len, batch_tfms=tfms)
        outs.append(block.dataloaders(items, bs=4, num_workers=0, seed=1, device="cpu").one_batch()[0])
    assert torch.equal(*outs)


@pytest.mark.parametrize("transform", [*EVERY, *aug_transforms(size=9)], ids=repr)
def test_transforms_print_compare_and_travel(transform: Any) -> None:
    assert Contrast is not None  # repr's names must be known here
    assert eval(repr(transform)) == transform == copy.deepcopy(transform)
    assert pickle.loads(pickle.dumps(transform)) == transform
    assert hash(transform) == hash(copy.copy(transform))
    with pytest.raises(AttributeError):
        transform.order = 3


@pytest.mark.parametrize("make, said", [
    (lambda: Resize(0), "size is 0; expected a number of pixels"),
    (lambda: Resize((3, 4, 5)), "size is"),
    (lambda: Resize(2.5), "size is 2.5"),
    (lambda: Resize(8, "stretch"), "method is 'stretch'"),
    (lambda: CropPad("8"), "size is '8'"),
    (lambda: RandomResizedCrop(8, 0.0), "min_scale is 0.0"),
    (lambda: RandomResizedCrop(8, 0.5, (2, 1)), "ratio is"),
    (lambda: Flip(1.5), "p is 1.5; expected a share"),
    (lambda: Rotate(float("nan")), "max_deg is nan"),
    (lambda: Zoom(2.0, 1.0), "expected 0 < min_zoom <= max_zoom"),
    (lambda: Zoom(0.0, 1.0), "expected 0 < min_zoom"),
    (lambda: Warp(1.0), "magnitude is 1.0"),
    (lambda: Rotate(size=-1), "size is -1"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused_when_they_are_written(make: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        make()
