"""Normalisation: the mean and spread of each channel, which ride along as curves when a picture is read.

What they are is plain data, also for programs without torch; what acts on tensors imports it on use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from plainlearn.core.errors import ArgumentError, DataError, ShapeError
from plainlearn.data.transform import Transform

if TYPE_CHECKING:
    from torch import Tensor

    from plainlearn.augment.pending import PendingImage
    from plainlearn.data.blocks import Block

Rng = np.random.Generator


@dataclass(frozen=True)
class Normalize(Transform):
    """Each channel less its `mean`, divided by its `std`, as pretrained weights expect. Values are 0..1 before.

    `Normalize()` learns both from one training batch, transformed as in training, when the loaders are
    made: the same for one seed, rounded to four digits, and from then on the same for training, validation and new items.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    order: ClassVar[int] = 30

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or min(self.std, default=1) <= 0:
            raise ArgumentError(f"mean is {self.mean} and std {self.std}; expected one of each a channel, std above 0",
                                try_="Normalize.from_stats(*imagenet_stats)")  # fmt: skip

    @classmethod
    def from_stats(cls, mean: Sequence[float], std: Sequence[float]) -> Self:
        """From one mean and one standard deviation a channel."""
        made = cls(tuple(map(float, mean)), tuple(map(float, std)))
        if made.learns:
            raise ArgumentError("mean and std are empty; expected one of each a channel",
                                try_="Normalize.from_stats(*imagenet_stats)")  # fmt: skip
        return made

    @property
    def learns(self) -> bool:
        return not self.mean

    def setup(self, batch: tuple[Any, ...], blocks: Sequence[Block]) -> Self:
        import torch

        from plainlearn.augment.lighting import finished, is_image

        images = [
            finished(field) for field, block in zip(batch, blocks, strict=False) if is_image(field, block)
        ]
        channels = {image.shape[1] for image in images}
        if len(channels) != 1:
            raise ShapeError(
                f"Normalize() learns from images of one number of channels; found {sorted(channels) or 'no image'}",
                try_="Normalize.from_stats(mean, std), or to leave it out",
            )
        levels = torch.cat([image.transpose(0, 1).flatten(1) for image in images], dim=1).double()
        std, mean = torch.std_mean(levels, dim=1)
        if not (std > 1e-3).all():
            raise DataError(
                f"channel {int(std.argmin())} has the same value in all of a training batch, so its std is 0",
                try_="Normalize.from_stats(mean, std), with numbers that are known",
            )
        return self.from_stats(*([round(float(each), 4) for each in stats] for stats in (mean, std)))

    def on_batch(
        self, batch: tuple[Any, ...], blocks: Sequence[Block], rng: Rng, *, train: bool
    ) -> tuple[Any, ...]:
        from plainlearn.augment.lighting import is_image

        return tuple(self._normalised(field) if is_image(field, block) else field
                     for field, block in zip(batch, blocks, strict=False))  # fmt: skip

    def _normalised(self, field: PendingImage | Tensor) -> PendingImage | Tensor:
        from plainlearn.augment.lighting import finished
        from plainlearn.augment.pending import PendingImage

        if isinstance(field, PendingImage):
            levels = field.levels()
            mean, std = self._stats(levels)
            return field.lit((levels - mean) / std)
        pixels = finished(field)
        mean, std = self._stats(pixels)
        return (pixels - mean) / std

    def decode(self, batch: tuple[Any, ...], blocks: Sequence[Block]) -> tuple[Any, ...]:
        from plainlearn.augment.lighting import is_image

        def undone(field: Any) -> Any:
            mean, std = self._stats(field)
            return field * std + mean

        return tuple(undone(field) if is_image(field, block) else field
                     for field, block in zip(batch, blocks, strict=False))  # fmt: skip

    def _stats(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and std as they fit values (N, C, …)."""
        import torch

        if self.learns:
            raise ArgumentError("Normalize() has seen no data yet; it learns when loaders are made",
                                try_="Normalize.from_stats(*imagenet_stats)")  # fmt: skip
        if len(self.mean) not in (1, values.shape[1]):
            raise ShapeError(
                f"Normalize has {len(self.mean)} channels and the images {values.shape[1]}; expected the same"
            )
        shape = (1, -1, *[1] * (values.ndim - 2))
        mean, std = (
            torch.tensor(each, dtype=torch.float32, device=values.device).view(shape)
            for each in (self.mean, self.std)
        )
        return mean, std
