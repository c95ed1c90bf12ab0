"""Light and colour: brightness and contrast as curves that cost nothing, the rest on finished pixels.

A change of light is a function of a pixel's level alone, so it rides along as a table of 257 values a
picture and channel when the picture is read; so does normalisation. What mixes channels or places comes after.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from plainlearn.augment.pending import PendingImage
from plainlearn.core.errors import ArgumentError, DataError, ShapeError
from plainlearn.data.transform import Transform

if TYPE_CHECKING:
    from torch import Tensor

    from plainlearn.data.blocks import Block

Rng = np.random.Generator

_EDGE = 1e-3  # black and white stay this far from the infinities of a logit


@dataclass(frozen=True)
class _Lighting(Transform):
    """A new level for every level, each picture its own, in training only; in logits, so black stays black."""

    split_idx: ClassVar[int | None] = 0
    order: ClassVar[int] = 10

    max_lighting: float = 0.2
    p: float = 0.75

    def __post_init__(self) -> None:
        if not 0 <= self.max_lighting < 1:
            raise ArgumentError(f"max_lighting is {self.max_lighting}; expected 0 or more, below 1")
        _check_share(self.p)

    @abstractmethod
    def change(self, logits: Tensor, drawn: NDArray[np.bool_], rng: Rng) -> Tensor:
        """Logits (N, C, L) after the change of the pictures that were drawn."""

    def on_batch(
        self, batch: tuple[Any, ...], blocks: Sequence[Block], rng: Rng, *, train: bool
    ) -> tuple[Any, ...]:
        return _on_images(batch, blocks, lambda image: self._lit(image, rng))

    def on_items(
        self, things: tuple[Any, ...], blocks: Sequence[Block], rng: Rng, *, train: bool
    ) -> tuple[Any, ...]:
        return self.on_batch(things, blocks, rng, train=train)

    def _lit(self, field: PendingImage | Tensor, rng: Rng) -> PendingImage | Tensor:
        import torch

        drawn = rng.random(len(field)) < self.p
        levels = field.levels() if isinstance(field, PendingImage) else finished(field).flatten(2)
        changed = self.change(levels.clamp(_EDGE, 1 - _EDGE).logit(), drawn, rng).sigmoid()
        lit = torch.where(torch.from_numpy(drawn).to(levels.device)[:, None, None], changed, levels)
        return field.with_curves(lit) if isinstance(field, PendingImage) else lit.view(field.shape)


@dataclass(frozen=True)
class Brightness(_Lighting):
    """Lighter or darker: a number is added to each pixel's logit."""

    def change(self, logits: Tensor, drawn: NDArray[np.bool_], rng: Rng) -> Tensor:
        half = 0.5 * self.max_lighting
        to = rng.uniform(0.5 - half, 0.5 + half, len(drawn))
        return logits + logits.new_tensor(np.log(to / (1 - to)))[:, None, None]


@dataclass(frozen=True)
class Contrast(_Lighting):
    """More or less contrast: each pixel's logit is multiplied."""

    def change(self, logits: Tensor, drawn: NDArray[np.bool_], rng: Rng) -> Tensor:
        most = -math.log(1 - self.max_lighting)
        return logits * logits.new_tensor(np.exp(rng.uniform(-most, most, len(drawn))))[:, None, None]


@dataclass(frozen=True)
class _Pixels(Transform):
    """A change of finished pixels (N, C, h, w), values 0..1, in training only."""

    split_idx: ClassVar[int | None] = 0

    @abstractmethod
    def change(self, pixels: Tensor, rng: Rng) -> Tensor: ...

    def on_batch(
        self, batch: tuple[Any, ...], blocks: Sequence[Block], rng: Rng, *, train: bool
    ) -> tuple[Any, ...]:
        return _on_images(batch, blocks, lambda image: self.change(finished(image), rng))


@dataclass(frozen=True)
class Saturation(_Pixels):
    """Stronger or paler colours, by up to a factor of 1 / (1 - `max_lighting`), with probability `p`."""

    max_lighting: float = 0.2
    p: float = 0.75

    def __post_init__(self) -> None:
        if not 0 <= self.max_lighting < 1:
            raise ArgumentError(f"max_lighting is {self.max_lighting}; expected 0 or more, below 1")
        _check_share(self.p)

    def change(self, pixels: Tensor, rng: Rng) -> Tensor:
        if not _has_colours(self, pixels):
            return pixels
        most = -math.log(1 - self.max_lighting)
        factor = np.exp(np.where(rng.random(len(pixels)) < self.p, rng.uniform(-most, most, len(pixels)), 0))
        grey = (pixels * pixels.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
        return (grey + (pixels - grey) * _rows(factor, pixels)).clamp_(0, 1)


@dataclass(frozen=True)
class Hue(_Pixels):
    """Colours turned by up to `max_hue` of the whole circle, with probability `p`; greys stay."""

    max_hue: float = 0.1
    p: float = 0.75

    def __post_init__(self) -> None:
        if not 0 <= self.max_hue <= 0.5:
            raise ArgumentError(f"max_hue is {self.max_hue}; expected 0 to 0.5, half the circle")
        _check_share(self.p)

    def change(self, pixels: Tensor, rng: Rng) -> Tensor:
        import torch

        if not _has_colours(self, pixels):
            return pixels
        count = len(pixels)
        turn = (
            np.where(rng.random(count) < self.p, rng.uniform(-self.max_hue, self.max_hue, count), 0)
            * 2
            * math.pi
        )
        # A rotation of colour space about the grey axis (1, 1, 1), by Rodrigues' formula.
        cos, sin = np.cos(turn)[:, None, None], np.sin(turn)[:, None, None] / math.sqrt(3)
        cross = np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])
        matrices = cos * np.eye(3) + sin * cross + (1 - cos) * np.full((3, 3), 1 / 3)
        return torch.einsum("nij,njhw->nihw", pixels.new_tensor(matrices), pixels).clamp_(0, 1)


@dataclass(frozen=True)
class RandomErasing(_Pixels):
    """Up to `max_count` boxes replaced by noise, each `sl` to `sh` of the area, with probability `p`.

    Source: Zhong et al. 2017, arXiv:1708.04896.
    """

    p: float = 0.5
    sl: float = 0.0
    sh: float = 0.3
    min_aspect: float = 0.3
    max_count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.sl <= self.sh <= 1:
            raise ArgumentError(f"sl is {self.sl} and sh {self.sh}; expected 0 <= sl <= sh <= 1")
        if not 0 < self.min_aspect <= 1 or self.max_count < 1:
            raise ArgumentError(
                f"min_aspect is {self.min_aspect} and max_count {self.max_count}; expected 0 to 1, and 1 or more"
            )
        _check_share(self.p)

    def change(self, pixels: Tensor, rng: Rng) -> Tensor:
        count, channels, height, width = pixels.shape
        changed = pixels.clone()
        for row in np.flatnonzero(rng.random(count) < self.p):
            boxes = int(rng.integers(1, self.max_count + 1))
            for _ in range(boxes):
                area = rng.uniform(self.sl, self.sh) * height * width / boxes
                ratio = math.exp(rng.uniform(math.log(self.min_aspect), -math.log(self.min_aspect)))
                h, w = min(height, round(math.sqrt(area * ratio))), min(width, round(math.sqrt(area / ratio)))
                top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
                noise = pixels.new_tensor(rng.random((channels, h, w), dtype=np.float32))
                changed[row, :, top : top + h, left : left + w] = noise
        return changed


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
            raise ArgumentError(
                f"mean is {self.mean} and std {self.std}; expected one of each a channel, std above 0",
                try_="Normalize.from_stats(*imagenet_stats)",
            )

    @classmethod
    def from_stats(cls, mean: Sequence[float], std: Sequence[float]) -> Self:
        """From one mean and one standard deviation a channel."""
        made = cls(tuple(map(float, mean)), tuple(map(float, std)))
        if made.learns:
            raise ArgumentError(
                "mean and std are empty; expected one of each a channel",
                try_="Normalize.from_stats(*imagenet_stats)",
            )
        return made

    @property
    def learns(self) -> bool:
        return not self.mean

    def setup(self, batch: tuple[Any, ...], blocks: Sequence[Block]) -> Self:
        import torch

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
        return _on_images(batch, blocks, self._normalised)

    def _normalised(self, field: PendingImage | Tensor) -> PendingImage | Tensor:
        if isinstance(field, PendingImage):
            levels = field.levels()
            mean, std = self._stats(levels)
            return field.with_curves((levels - mean) / std)
        pixels = finished(field)
        mean, std = self._stats(pixels)
        return (pixels - mean) / std

    def decode(self, batch: tuple[Any, ...], blocks: Sequence[Block]) -> tuple[Any, ...]:
        def undone(field: Any) -> Any:
            mean, std = self._stats(field)
            return field * std + mean

        return _on_images(batch, blocks, undone)

    def _stats(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and std as they fit values (N, C, …)."""
        import torch

        if self.learns:
            raise ArgumentError(
                "Normalize() has seen no data yet; it learns when loaders are made",
                try_="Normalize.from_stats(*imagenet_stats)",
            )
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


def is_image(field: Any, block: Block) -> bool:
    """Whether this field of a batch is an image, waiting or finished."""
    import torch

    return isinstance(field, PendingImage) or (block.geometry == "image" and isinstance(field, torch.Tensor))


def _on_images(
    batch: tuple[Any, ...], blocks: Sequence[Block], change: Callable[[Any], Any]
) -> tuple[Any, ...]:
    """The batch with its images changed, and all else as it was."""
    return tuple(
        change(field) if is_image(field, block) else field
        for field, block in zip(batch, blocks, strict=False)
    )


def finished(field: PendingImage | Tensor) -> Tensor:
    """The pixels of an image field, 0..1, read now if they still wait."""
    import torch

    if isinstance(field, PendingImage):
        return field.read()
    return field.to(torch.float32) / 255 if field.dtype == torch.uint8 else field


def _has_colours(transform: Transform, pixels: Tensor) -> bool:
    """Whether there are three channels; one is grey, which such a transform leaves as it is."""
    if pixels.shape[1] not in (1, 3):
        raise ShapeError(
            f"{transform!r} needs red, green and blue; the images have {pixels.shape[1]} channels",
            try_="leaving it out; Brightness and Contrast act on any number of channels",
        )
    return pixels.shape[1] == 3


def _check_share(p: float) -> None:
    if not 0 <= p <= 1:
        raise ArgumentError(f"p is {p!r}; expected a share between 0 and 1", try_="p=0.75")


def _rows(values: NDArray[np.float64], like: Tensor) -> Tensor:
    return like.new_tensor(values).view(-1, 1, 1, 1)
