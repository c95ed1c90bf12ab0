"""Between loaders and a model file: the halves of blocks that a file keeps, and loaders made of a file's.

`FileLoaders` are those of a learner that comes from a file: no items yet, but the way for new ones, and what the labels are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NoReturn

import torch

from plainlearn.core.device import default_device
from plainlearn.core.errors import DataError
from plainlearn.core.lists import L
from plainlearn.data.block_loaders import BlockLoaders
from plainlearn.data.blocks import Block, CategoryBlock, MultiCategoryBlock, RegressionBlock
from plainlearn.data.dataset import BlockDataset, Datasets, ToModel
from plainlearn.data.label import itself
from plainlearn.data.loaders import DataLoaders
from plainlearn.data.target_specs import CategorySpec, MaskSpec, MultiCategorySpec, PointSpec, RegressionSpec
from plainlearn.images.image_decoder import ImageDecoder
from plainlearn.inference.reading import Reading
from plainlearn.vision.blocks import ImageBlock, MaskBlock
from plainlearn.vision.point_block import PointBlock

__all__ = ["FileLoaders", "block_of", "reading_of", "spec_of"]


def _image_block(spec: ImageDecoder) -> ImageBlock:
    return ImageBlock(
        spec.mode, spec.background, spec.cache, spec.channels, spec.value_range, full_decode=spec.full_decode
    )


#: The blocks that a model file can name, and how each is made of what it keeps.
_BLOCKS: Final[dict[type[Any], tuple[type[Block], Callable[[Any], Block]]]] = {
    ImageDecoder: (ImageBlock, _image_block),
    CategorySpec: (CategoryBlock, lambda spec: CategoryBlock(spec.vocab, spec.sort, spec.add_na)),
    MultiCategorySpec: (MultiCategoryBlock, lambda spec: MultiCategoryBlock(vocab=spec.vocab)),
    RegressionSpec: (RegressionBlock, lambda spec: RegressionBlock(spec.n_out)),
    MaskSpec: (MaskBlock, lambda spec: MaskBlock(spec.codes, spec.values)),
    PointSpec: (PointBlock, lambda spec: PointBlock(spec.n_points)),
}


def block_of(spec: Any) -> Block:
    """The block of what a model file says."""
    return _BLOCKS[type(spec)][1](spec)


def spec_of(block: Block) -> Any:
    """What a model file says of a block; a block of the user's own stays itself, which no file can hold."""
    spec = getattr(block, "spec", None)
    return spec if type(spec) in _BLOCKS and _BLOCKS[type(spec)][0] is type(block) else block


def reading_of(loaders: BlockLoaders) -> Reading:
    """How validation reads the inputs of these loaders."""
    valid = loaders.datasets.valid
    inputs = tuple(map(spec_of, valid.blocks[: valid.n_inp]))
    return Reading(inputs, valid.item_tfms, loaders.batch_tfms, valid.placing)


class FileLoaders(BlockLoaders):
    """`test_dl`, `vocab` and `blocks` as before; `train` and `valid` say that there are no items."""

    def __init__(
        self, reading: Reading, target: Block, *, device: torch.device | str | None, path: Path
    ) -> None:
        # Not the initialiser of loaders that have items: it learns from them.
        inputs = len(reading.inputs)
        blocks = (*map(block_of, reading.inputs), target)
        getters = (*([itself] * inputs), _no_label)
        valid = BlockDataset(
            L[Any](), blocks, getters,
            n_inp=inputs, side=1, item_tfms=reading.item_tfms, moved_in_batches=reading.placing,
        )  # fmt: skip
        train = replace(valid, side=0)
        place = default_device() if device is None else torch.device(device)
        sides = [_NoItems(ToModel(blocks, reading.batch_tfms, side)) for side in (0, 1)]
        DataLoaders.__init__(self, *sides, path=path, n_inp=inputs, device=place)
        self.datasets, self.batch_tfms, self.num_workers = Datasets(train, valid), reading.batch_tfms, 0
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


def _no_label(item: Any) -> NoReturn:
    raise DataError(
        f"{item!r} has no label here: a model file does not hold the function that labels",
        try_="learn.dls = loaders of your own, made by a DataBlock",
    )
