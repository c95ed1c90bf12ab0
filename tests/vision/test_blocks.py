"""Blocks of pixels and places: from the file to the model and back, and what does not fit refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from plainlearn.augment.transforms import Resize
from plainlearn.core.errors import ArgumentError, DataError, ShapeError
from plainlearn.data import DataBlock, IndexSplitter
from plainlearn.data.blocks import finished
from plainlearn.losses import CrossEntropyLossFlat
from plainlearn.vision.blocks import ImageBlock, MaskBlock, pixel_accuracy

sides = st.integers(1, 9)


@given(sides, sides, st.sampled_from(["RGB", "L"]), st.integers(0, 99))
def test_pictures_encode_and_decode_to_themselves(height: int, width: int, mode: Any, seed: int) -> None:
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    picture = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    block = ImageBlock(mode)
    code = block.encode(block.open(picture))
    assert code.shape == (block.channels, height, width) and code.dtype == torch.uint8
    assert np.array_equal(block.decode(code), picture)
    ready = finished(block, block.begin_batch(code[None]))
    assert torch.equal(ready, code[None] / 255) and torch.equal(block.to_model(ready), ready)
    assert torch.equal(block.from_model(ready)[0], code)


@given(sides, sides, st.integers(0, 99))
def test_masks_encode_and_decode_to_themselves(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).integers(0, 5, (height, width))
    code = MaskBlock().encode(MaskBlock().open(mask))
    assert code.dtype == torch.int64 and np.array_equal(MaskBlock().decode(code), mask)


def test_values_of_the_file_become_labels_and_strangers_are_named(tmp_path: Path) -> None:
    file = tmp_path / "mask.png"
    Image.fromarray(np.array([[0, 255], [128, 0]], dtype=np.uint8)).save(file)
    assert MaskBlock(values=[0, 128, 255]).open(file).tolist() == [[0, 2], [1, 0]]
    with pytest.raises(DataError, match=r"the mask .*mask.png has the value 128; expected one of \(0, 255\)"):
        MaskBlock(values=[0, 255]).open(file)
    with pytest.raises(DataError, match=r"mask.png has the label 255; codes name 0 to 1\n  Try values="):
        MaskBlock(codes=["a", "b"]).open(file)
    with pytest.raises(ArgumentError, match="a number twice"):
        MaskBlock(values=[1, 1])
    with pytest.raises(ArgumentError, match="2 codes and 1 values"):
        MaskBlock(codes=["a", "b"], values=[1])


@pytest.mark.parametrize("tfms", [None, Resize(4)])
def test_a_mask_of_another_size_than_its_image_is_refused_with_the_item(tfms: Any) -> None:
    block = DataBlock((ImageBlock, MaskBlock), splitter=IndexSplitter([0]), item_tfms=tfms,
                      get_x=lambda n: np.zeros((6, 8), np.uint8), get_y=lambda n: np.zeros((6, 8 + n), np.uint8))  # fmt: skip
    dls = block.dataloaders([0, 0, 1], num_workers=0, device="cpu")
    with pytest.raises(
        ShapeError, match=r"the mask is 6 × 9 and its image 6 × 8; expected the same"
    ) as caught:
        list(dls.train)
    assert "the item is 1" in caught.value.__notes__


def test_masks_imply_their_loss_and_metric() -> None:
    block = MaskBlock(codes=["a", "b"])
    assert isinstance(block.loss_func(), CrossEntropyLossFlat) and block.metric() is pixel_accuracy
    assert block.vocab == ["a", "b"] and block.outputs == 2 and MaskBlock().outputs is None
    logits = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    assert pixel_accuracy(logits, torch.tensor([[[0, 0]]])) == 0.5


def test_a_mode_that_is_not_known_is_refused() -> None:
    with pytest.raises(ArgumentError, match="the image mode is 'CMYK'"):
        ImageBlock("CMYK")  # type: ignore[arg-type]
