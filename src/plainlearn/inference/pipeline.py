"""The way of an item to the model, as validation goes it: open, transform, gather, transform, finish. It is plain data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError
from plainlearn.core.lists import L
from plainlearn.core.tensors import to_device
from plainlearn.data.blocks import Block
from plainlearn.data.dataset import BlockDataset, Gather, Sample, ToModel
from plainlearn.data.transform import Function, Transform, for_side
from plainlearn.inference.pipeline_parts import pipeline_parts
from plainlearn.inference.serialize import Registry, to_plain

__all__ = ["InputPipeline"]

_VALIDATION: Final = 1
_UNDRAWN = np.random.default_rng(0)  # nothing is drawn in validation


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
        inputs = len(self.blocks)
        dataset = BlockDataset(
            L(items), self.blocks, (_itself,) * inputs,
            n_inp=inputs, side=_VALIDATION, item_tfms=self.item_tfms, moved_in_batches=self.placing,
        )  # fmt: skip
        samples = [dataset.draw(index, _UNDRAWN) for index in range(len(items))]
        for sample in samples:
            if not isinstance(sample.item, (str, os.PathLike)):
                sample.item = describe(
                    sample.item
                )  # a batch names its items, and to write an array out takes 2 ms
        return samples

    def batch(self, samples: Sequence[Sample], device: torch.device) -> tuple[Any, ...]:
        """The model's inputs for these samples, on the device."""
        gathered = Gather(self.blocks, materialized=device.type != "cpu")(samples)
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
        return cls(*pipeline_parts(plain, registry, block=Block))


def _itself(item: Any) -> Any:
    return item
