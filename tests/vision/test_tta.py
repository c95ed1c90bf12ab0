"""Test-time augmentation averages views, and leaves the random state alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from plainlearn.augment.transforms import Flip
from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.data import DataBlock, DataLoaders, IndexSplitter
from plainlearn.data.blocks import CategoryBlock
from plainlearn.train import Learner
from plainlearn.vision.blocks import ImageBlock


def picture(item: tuple[int, int]) -> Any:
    return np.full((4, 4, 3), 0, dtype=np.uint8) + np.arange(4, dtype=np.uint8)[None, :, None] * (
        20 + item[0]
    )


def label(item: tuple[int, int]) -> int:
    return item[1]


@pytest.fixture
def learn() -> Learner:
    """Sees only the leftmost column of pictures that are dark on the left; a flip turns them around."""

    class Left(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([5.0, 0.0]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, 0, :, 0].mean(1, keepdim=True) * self.weight

    items = [(number, number % 2) for number in range(12)]
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock), get_x=picture, get_y=label,
        splitter=IndexSplitter([0, 1, 2, 3]), batch_tfms=[Flip(p=1.0)],
    )  # fmt: skip
    dls = block.dataloaders(items, bs=3, device="cpu", num_workers=0)
    return Learner(dls, Left(), nn.functional.cross_entropy, device="cpu")


def test_the_plain_pass_is_mixed_with_the_mean_of_the_views(learn: Learner) -> None:
    state = torch.get_rng_state()
    (views, plain), targets = learn.tta(beta=None)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(targets, learn.get_preds()[1])
    assert torch.equal(plain, learn.get_preds()[0])
    assert not torch.allclose(views, plain, atol=0.05)  # every view is flipped
    mixed, _ = learn.tta(beta=0.25)
    assert torch.allclose(mixed, 0.75 * views + 0.25 * plain, atol=1e-6)
    assert torch.allclose(mixed.sum(1), torch.ones(4))
    assert torch.equal(learn.tta(use_max=True)[0], torch.maximum(views, plain))


def test_other_items_and_the_training_items_have_their_views_in_order(learn: Learner) -> None:
    predictions, targets = learn.tta(ds_idx=0, n=2)
    assert targets.tolist() == [number % 2 for number in range(4, 12)]
    assert len(predictions) == 8
    predictions, targets = learn.tta(dl=learn.dls.test_dl([(4, 0), (5, 1)]), n=1)  # type: ignore[attr-defined]
    assert (len(predictions), targets) == (2, None)


def test_what_has_no_views_is_refused(learn: Learner) -> None:
    with pytest.raises(DataError, match="expected a loader of a DataBlock"):
        learn.tta(dl=[(torch.zeros(1, 3, 4, 4), torch.zeros(1))])
    plain = Learner(
        DataLoaders([(torch.zeros(1, 1), torch.zeros(1, 1))]),
        nn.Linear(1, 1),
        nn.functional.mse_loss,
        device="cpu",
    )
    with pytest.raises(DataError, match="expected a loader of a DataBlock"):
        plain.tta()
    with pytest.raises(ArgumentError, match="beta is 2"):
        learn.tta(beta=2)
    with pytest.raises(ArgumentError, match="n is 0"):
        learn.tta(n=0)
