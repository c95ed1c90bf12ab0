"""A learner on forty small pictures, quickly made, and the command to try its file with: for tests of what is exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from plainlearn.augment.aug_transforms import aug_transforms
from plainlearn.augment.transforms import Resize
from plainlearn.cli import main
from plainlearn.data import CategoryBlock, DataBlock, parent_label
from plainlearn.data.items import get_image_files
from plainlearn.metrics import accuracy
from plainlearn.vision.blocks import ImageBlock
from plainlearn.vision.learner import vision_learner


def draw_pictures(folder: Path, labels: tuple[str, ...] = ("dark", "light"), count: int = 20) -> None:
    """`count` noisy pictures a label, each label of its own level, as folder/label/number.png."""
    rng = np.random.default_rng(0)
    for level, label in zip(np.linspace(60, 190, len(labels)), labels, strict=True):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            size = tuple(rng.integers(30, 60, 2))
            pixels = rng.normal(level, 30, (*size, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")


def leave(*arguments: object) -> int:
    """Run the command in this process; its exit code."""
    with pytest.raises(SystemExit) as leaving:
        main([str(each) for each in arguments])
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


def half(items: Any) -> tuple[list[int], list[int]]:
    """A splitter: every second item validates."""
    return list(range(0, len(items), 2)), list(range(1, len(items), 2))


def small_learner(folder: Path, block: Any = CategoryBlock, **settings: Any) -> Any:
    """A learner with one of timm's smallest networks, from random weights."""
    torch.manual_seed(0)
    dls = DataBlock(
        blocks=(ImageBlock, block),
        get_items=lambda source: sorted(get_image_files(source)),
        get_y=settings.pop("get_y", parent_label),
        splitter=half,
        item_tfms=settings.pop("item_tfms", Resize(40)),
        batch_tfms=settings.pop("batch_tfms", aug_transforms(size=32)),
    ).dataloaders(folder, bs=8, num_workers=0, device="cpu")
    settings = {"metrics": accuracy, "path": folder} | settings
    return vision_learner(dls, settings.pop("arch", "test_efficientnet"), pretrained=False, **settings)
