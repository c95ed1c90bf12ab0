"""The way of an item to the model, as validation goes it: open, transform, gather, transform, finish. It is plain data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.core.tensors import to_device
from plainlearn.data.block_loaders import Gather, ToModel
from plainlearn.data.blocks import Block
from plainlearn.data.dataset import Sample, block_dataset
from plainlearn.data.transform import Function, Transform, for_side
from plainlearn.inference.plain import Registry, from_plain, to_plain

__all__ = ["InputPipeline"]

_VALIDATION = 1
_UNDRAWN = np.random.default_rng(0)  # nothing is drawn in validation
_MOST_TRANSFORMS = 64
_LARGEST = 16_384  # pixels a side; a file that asks for more asks for the memory


@dataclass(frozen=True)
class InputPipeline:
    """The blocks of a model's inputs and the transforms that act in validation, in items and in batches.

    `placing` says whether items are placed in a frame though no transform moves them.
    """

    blocks: tuple[Block, ...]
    item_tfms: tuple[Transform, ...]
    batch_tfms: tuple[Transform, ...]
    placing: bool

    @classmethod
    def of(cls, loaders: Any) -> InputPipeline:
        """The pipeline of the validation side of `BlockLoaders`."""
        valid = loaders.datasets.valid
        return cls(
            tuple(valid.blocks[: valid.n_inp]),
            for_side(valid.item_tfms, _VALIDATION),
            for_side(loaders.batch_tfms, _VALIDATION),
            valid.placing,
        )

    def samples(self, items: Sequence[Any]) -> list[Sample]:
        """The items opened and encoded, not yet read at their size. Slow parts free the interpreter's lock."""
        dataset = block_dataset(
            items, self.blocks, [_itself] * len(self.blocks),
            n_inp=len(self.blocks), side=_VALIDATION, item_tfms=self.item_tfms, placing=self.placing,
        )  # fmt: skip
        samples = [dataset.sample(index, _UNDRAWN) for index in range(len(items))]
        for sample in samples:
            if not isinstance(sample.item, (str, os.PathLike)):
                sample.item = describe(
                    sample.item
                )  # a batch names its items, and to write an array out takes 2 ms
        return samples

    def batch(self, samples: Sequence[Sample], device: torch.device) -> tuple[Any, ...]:
        """The model's inputs for these samples, on the device."""
        gathered = Gather(self.blocks, settled=device.type != "cpu")(samples)
        return ToModel(self.blocks, self.batch_tfms, _VALIDATION)(to_device(gathered, device), _UNDRAWN)

    def as_plain(self, registry: Registry) -> dict[str, Any]:
        """As data. Raises `ArgumentError` naming the transform or block that no file can hold."""
        for transform in (*self.item_tfms, *self.batch_tfms):
            if isinstance(transform, Function):
                raise ArgumentError(
                    f"{transform!r} acts in validation, so predictions need it, and a model file holds no code",
                    try_="a transform of plainlearn's that does the same, or to do it to the files before",
                )
        return {
            "blocks": [to_plain(block, registry) for block in self.blocks],
            "item_tfms": [to_plain(transform, registry) for transform in self.item_tfms],
            "batch_tfms": [to_plain(transform, registry) for transform in self.batch_tfms],
            "placing": self.placing,
        }

    @classmethod
    def from_plain(cls, plain: Any, registry: Registry) -> InputPipeline:
        """From data. Raises `DataError` for anything that `as_plain` does not give."""
        if not isinstance(plain, Mapping) or set(cast("Mapping[str, Any]", plain)) != {
            "blocks", "item_tfms", "batch_tfms", "placing"
        }:  # fmt: skip
            raise DataError("it does not say how an input becomes a batch")
        given = cast("Mapping[str, Any]", plain)
        lists = [given[name] for name in ("blocks", "item_tfms", "batch_tfms")]
        if not all(
            isinstance(each, list) and len(cast("list[Any]", each)) <= _MOST_TRANSFORMS for each in lists
        ):
            raise DataError("its blocks and transforms are no short lists")
        blocks, item_tfms, batch_tfms = (
            tuple(from_plain(each, registry) for each in listed) for listed in lists
        )
        if not blocks or not all(isinstance(block, Block) for block in blocks):
            raise DataError("its inputs are no blocks")
        for transform in (*item_tfms, *batch_tfms):
            _check(transform)
        return cls(blocks, item_tfms, batch_tfms, given["placing"] is True)


def _check(transform: Any) -> None:
    if not isinstance(transform, Transform):
        raise DataError(f"it has {type(transform).__name__} among its transforms")
    size: Any = getattr(transform, "size", None)
    if size is not None and int(np.max(size)) > _LARGEST:
        raise DataError(f"it wants pictures of {size} pixels a side; {_LARGEST} are the most")


def _itself(item: Any) -> Any:
    return item
