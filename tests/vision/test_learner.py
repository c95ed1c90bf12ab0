"""A learner for images learns, and says what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from plainlearn.core.errors import ArgumentError, ShapeError
from plainlearn.data import DataLoaders
from plainlearn.metrics import accuracy
from plainlearn.vision.blocks import ImageBlock
from plainlearn.vision.learner import vision_learner
from plainlearn.vision.loaders import ImageDataLoaders


def small(channels: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for side, count in (("train", 32), ("valid", 9)):
        for label, level in (("dark", 90), ("light", 160)):
            (tmp_path / side / label).mkdir(parents=True)
            for number in range(count):
                pixels = rng.normal(level, 40, (10, 10)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / side / label / f"{number}.png")
    return tmp_path


def loaders(folder: Path, **settings: Any) -> Any:
    return ImageDataLoaders.from_folder(folder, bs=16, num_workers=0, seed=0, device="cpu", **settings)


def test_it_learns_64_pictures_and_its_figures_agree(folder: Path) -> None:
    torch.manual_seed(0)
    dls = loaders(folder)
    learn = vision_learner(dls, small, pretrained=False, metrics=accuracy, ps=0.0)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(6, 1e-2)
        predictions, targets = learn.get_preds()
        loss, share = learn.validate()
    assert torch.allclose(predictions.sum(1), torch.ones(18), atol=1e-5)
    by_hand = (predictions.argmax(1) == targets).float().mean().item()
    assert share == pytest.approx(by_hand) and share > 0.95
    assert loss == pytest.approx(nn.functional.nll_loss(predictions.log(), targets).item(), abs=1e-4)
    (new,) = dls.test_dl([folder / "valid" / "dark" / "0.png"]).one_batch()
    assert learn.model.eval()(new).argmax().item() == 0


def test_the_model_fits_the_channels_and_classes_of_the_data(folder: Path) -> None:
    learn = vision_learner(loaders(folder, img_block=ImageBlock("L")), small, pretrained=False)
    assert learn.model[0][0].in_channels == 1
    assert list(learn.model[1].children())[-1].out_features == 2
    assert vision_learner(loaders(folder), small, pretrained=False, n_out=5).model[1][-1].out_features == 5


def test_what_cannot_be_is_refused(folder: Path) -> None:
    dls = loaders(folder)
    with pytest.raises(ArgumentError, match="Sequential is a network of your own"):
        vision_learner(dls, small)
    with pytest.raises(ArgumentError, match="n_out is 0"):
        vision_learner(dls, small, pretrained=False, n_out=0)
    with pytest.raises(
        ArgumentError, match=r"DataLoaders do not say how many classes there are\n  Try n_out=2"
    ):
        vision_learner(DataLoaders([1], [1]), small, pretrained=False)  # type: ignore[arg-type]
    learn = vision_learner(
        ImageDataLoaders.from_folder(folder, bs=63, drop_last=False, num_workers=0),
        small,
        pretrained=False,
        ps=0.5,
    )
    with (
        learn.no_bar(),
        learn.no_logging(),
        pytest.raises(ShapeError, match="the training batch has one image"),
    ):
        learn.fit(1)
