"""The loaders of a learner that comes from a file: no items yet, but the way for new ones, and what the labels are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch

from plainlearn.core.device import default_device
from plainlearn.core.errors import DataError
from plainlearn.core.lists import L
from plainlearn.data.block_loaders import BlockLoaders
from plainlearn.data.blocks import Block
from plainlearn.data.dataset import BlockDataset, Datasets, ToModel
from plainlearn.data.loaders import DataLoaders
from plainlearn.inference.pipeline import InputPipeline

__all__ = ["FileLoaders"]


class FileLoaders(BlockLoaders):
    """`test_dl`, `vocab` and `blocks` as before; `train` and `valid` say that there are no items."""

    def __init__(
        self, pipeline: InputPipeline, target: Block, *, device: torch.device | str | None, path: Path
    ) -> None:
        # Not the initialiser of loaders that have items: it learns from them.
        inputs = len(pipeline.blocks)
        blocks, getters = (*pipeline.blocks, target), (*([_itself] * inputs), _no_label)
        valid = BlockDataset(
            L[Any](), blocks, getters,
            n_inp=inputs, side=1, item_tfms=pipeline.item_tfms, moved_in_batches=pipeline.placing,
        )  # fmt: skip
        train = replace(valid, side=0)
        place = default_device() if device is None else torch.device(device)
        sides = [_NoItems(ToModel(blocks, pipeline.batch_tfms, side)) for side in (0, 1)]
        DataLoaders.__init__(self, *sides, path=path, n_inp=inputs, device=place)
        self.datasets, self.batch_tfms, self.num_workers = Datasets(train, valid), pipeline.batch_tfms, 0
        self.loss_func = target.loss_func()

    def __repr__(self) -> str:
        return f"FileLoaders(no items yet; {', '.join(block.name for block in self.blocks)})"


class _NoItems:
    """In the place of a loader; whoever asks it for a batch is told what to do."""

    bs = 64

    def __init__(self, after_batch: ToModel) -> None:
        self.after_batch = after_batch

    def __iter__(self) -> Iterator[Any]:
        self._say()

    def __len__(self) -> int:
        self._say()

    def _say(self) -> NoReturn:
        raise DataError(
            "this learner comes from a file, which holds no items to train on or to validate with",
            try_="learn.dls = loaders of your own, with the same labels; or dl=learn.dls.test_dl(items)",
        )


def _itself(item: Any) -> Any:
    return item


def _no_label(item: Any) -> NoReturn:
    raise DataError(
        f"{item!r} has no label here: a model file does not hold the function that labels",
        try_="learn.dls = loaders of your own, made by a DataBlock",
    )
