"""Points are told from edge to edge, drawn where they are, and refused before training when they are none."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plainlearn.core.errors import ArgumentError, DataError, ShapeError
from plainlearn.data import DataBlock, IndexSplitter
from plainlearn.losses import MSELossFlat
from plainlearn.vision.blocks import ImageBlock
from plainlearn.vision.point_block import PointBlock


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0, 20)), min_size=1, max_size=4))
def test_points_are_told_from_edge_to_edge(points: list[tuple[float, float]]) -> None:
    block = PointBlock()
    units = block.place(block.open(points), (21, 31)).read()[0].numpy()
    back = ((units + 1) * [31, 21] - 1) / 2
    assert np.allclose(back, points, atol=1e-3) and np.abs(units).max() <= 1


def test_points_need_no_transform_when_pictures_are_of_one_size() -> None:
    block = DataBlock((ImageBlock, PointBlock), splitter=IndexSplitter([0]), get_x=lambda n: np.zeros((5, 5), np.uint8),
                      get_y=lambda n: [(2, 2), (n, 0)])  # fmt: skip
    dls = block.dataloaders([0, 1, 2], num_workers=0, shuffle=False, device="cpu")
    x, y = dls.one_batch()
    assert x.shape == (2, 3, 5, 5) and y[:, 0].tolist() == [[0, 0], [0, 0]] and dls.c == 4
    assert torch.allclose(y[:, 1, 0], torch.tensor([-0.4, 0.0])) and isinstance(dls.loss_func, MSELossFlat)


def test_points_without_a_picture_or_of_another_number_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"there is none in the sample\n  Try RegressionBlock"):
        PointBlock().encode(np.zeros((2, 2), np.float32))
    with pytest.raises(ShapeError, match="there are 3 points; expected 2"):
        PointBlock(2).open([(0, 0)] * 3)
    with pytest.raises(
        ShapeError, match=r"the points are list \[1, 2, 3\]; expected numbers, an x and a y each"
    ):
        PointBlock().open([1, 2, 3])


def test_points_are_drawn_on_their_picture_which_stays_as_it_is() -> None:
    ax = plt.subplots()[1]
    ImageBlock().show(np.zeros((10, 20, 3), np.uint8), ax)
    before = ax.get_xlim(), ax.get_ylim()
    PointBlock().show(np.array([[0.0, 0.5], [3.0, 0.0]], np.float32), ax)
    assert ax.collections[0].get_offsets().tolist() == [[9.5, 7.0]]  # the other is out of view
    assert (ax.get_xlim(), ax.get_ylim()) == before
    plt.close("all")


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ((float("nan"), 1), r"the points \[\[nan, 1.0\]\] are not finite"),
        ("left", "the points are str 'left'; expected numbers"),
        (None, "the points are NoneType None; expected numbers"),
        ([(1, 2), (3, 4)], "there are 2 points; expected 1, as in the first item"),
    ],
)
def test_points_that_are_none_are_found_before_training(odd: Any, reason: str) -> None:
    block = DataBlock(
        (ImageBlock, PointBlock), splitter=IndexSplitter([0]), get_x=lambda n: np.zeros((5, 5), np.uint8),
        get_y=lambda n: odd if n == 2 else (2, 2),
    )  # fmt: skip
    with pytest.raises(DataError, match=f"1 of 2 training items cannot be used; the first is 2: {reason}"):
        block.dataloaders([0, 1, 2], num_workers=0, device="cpu")
