"""Results are shown as target and answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from plainlearn.core.errors import ArgumentError
from plainlearn.data import DataLoaders
from plainlearn.train import Learner
from plainlearn.vision.learner import show_results, vision_learner
from plainlearn.vision.loaders import ImageDataLoaders, SegmentationDataLoaders

matplotlib.use("Agg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label, level in (("dark", 40), ("light", 210)):
        (tmp_path / label).mkdir()
        for number in range(6):
            Image.fromarray(np.full((12, 12), level + number, np.uint8)).save(
                tmp_path / label / f"{number}.png"
            )
    return tmp_path


def axes() -> list[Any]:
    import matplotlib.pyplot as plt

    found = [ax for ax in plt.gcf().axes if ax.images]
    plt.close("all")
    return found


class Always(nn.Module):
    """Answers the same class for everything, a pixel or a picture."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.outputs = nn.Parameter(torch.zeros(2, *shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        best = torch.tensor([0.0, 9.0]).reshape(2, *[1] * (self.outputs.ndim - 1))
        return (self.outputs + best).expand(len(x), *self.outputs.shape)


def test_a_label_stands_above_its_answer(folder: Path) -> None:
    dls = ImageDataLoaders.from_folder(folder, valid_pct=0.5, seed=0, bs=8, num_workers=0, device="cpu")
    small = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Linear(4, 2))
    learn = vision_learner(dls, small, pretrained=False)
    learn.model = Always()
    learn.show_results(max_n=4)
    titles = [ax.get_title() for ax in axes()]
    truth = [dls.vocab[number] for number in dls.valid.one_batch()[1][:4]]
    assert titles == [f"{label}\nlight" for label in truth]


def test_masks_are_drawn_beside_their_answers(folder: Path) -> None:
    files = sorted(folder.rglob("*.png"))
    mask = folder / "mask.bmp"
    Image.fromarray(np.eye(12, dtype=np.uint8)).save(mask)
    dls = SegmentationDataLoaders.from_label_func(
        folder, files, lambda _: mask, codes=["back", "line"], bs=4, num_workers=0, device="cpu"
    )
    show_results(Learner(dls, Always(12, 12)), max_n=2)
    drawn = axes()
    assert [ax.get_title() for ax in drawn] == ["target", "prediction"] * 2
    assert np.array_equal(drawn[0].images[-1].get_array(), np.eye(12))
    assert np.array_equal(drawn[1].images[-1].get_array(), np.ones((12, 12)))


def test_plain_batches_have_nothing_to_show(folder: Path) -> None:
    batches = [(torch.ones(2, 3), torch.ones(2, 1))]
    learn = Learner(DataLoaders(batches, batches), nn.Linear(3, 1), nn.functional.mse_loss, device="cpu")
    with pytest.raises(ArgumentError, match="loaders of a DataBlock with one target"):
        show_results(learn)
