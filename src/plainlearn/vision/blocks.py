"""Blocks of pixels: what an image is, from a file to the model and back to the eye."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plainlearn.augment.geometry import identity
from plainlearn.augment.pending import PendingImage, PendingMask, different_sizes
from plainlearn.augment.transforms import decode_for, decoded_frame
from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, DataError, ShapeError
from plainlearn.core.lists import L
from plainlearn.data.blocks import Block, Examined, Frame, Geometry, Metric
from plainlearn.data.dataset import describe_item
from plainlearn.data.stages import Item, Value
from plainlearn.data.target_specs import MaskSpec
from plainlearn.data.transform import Transform
from plainlearn.images.cache import CachePlace
from plainlearn.images.channels import Ranges
from plainlearn.images.decode import ScaledJpeg
from plainlearn.images.file_facts import Facts, files_among, gather, gather_masks
from plainlearn.images.image_decoder import ImageDecoder
from plainlearn.images.load import load_mask
from plainlearn.losses.losses import CrossEntropyLossFlat

if TYPE_CHECKING:
    from plainlearn.audit.findings import Audit
    from plainlearn.core.figures import Axes

_IMAGE_SETTINGS: Final = ("mode", "background", "cache", "full_decode", "channels", "value_range")


class OpenedAs(Protocol):
    """A class of pictures, as the course has them, that says how files are opened for it."""

    opened_as: ClassVar[Literal["RGB", "L"]]


class ImageBlock(Block):
    """A picture: opened upright as uint8, encoded (C, H, W) uint8, given to the model as fractions 0..1.

    `mode` is "RGB" (grey files become three equal channels) or "L" (one channel); `cls=PILImageBW` is the course's
    way to say "L". What is see-through is laid over `background`. `cache` "memory", "disk" or "auto" keeps decoded
    files, told by their contents, so that later epochs need not decode; see `cache.PixelCache`.

    `channels` in place of a mode takes the bands as they are, any number of them, from arrays, `.npy` files and
    TIFFs too; see `load_channels`. `value_range` says which numbers mean 0 and 1 to the model in pictures of more
    than 8 bits, one pair or, with `channels`, one for each. What knows only colours, as `Hue`, refuses them.

    A JPEG that the item transforms make much smaller is decoded at 1/2, 1/4 or 1/8, as long as three times the
    pixels a side are left that they ask for: it cannot be seen, and saves half of the time (docs/sharpness.md).
    `full_decode=True` decodes all pixels. So does a function among the item transforms, which gets to see them.
    """

    geometry: ClassVar[Geometry] = "image"

    def __init__(
        self,
        mode: Literal["RGB", "L"] | None = None,
        background: tuple[int, int, int] = (255, 255, 255),
        cache: CachePlace = "none",
        channels: int | None = None,
        value_range: Ranges | None = None,
        cls: type[OpenedAs] | None = None,
        full_decode: bool = False,
    ) -> None:
        if cls is not None:
            if mode is not None or channels is not None:
                raise ArgumentError("cls says what mode and channels say too; expected one of them")
            mode = cls.opened_as
        elif channels is None:
            mode = mode or "RGB"
        if mode not in ("RGB", "L", None):
            named = f"ImageBlock(cls={mode.__name__})" if isinstance(mode, type) else "ImageBlock()"
            raise ArgumentError(f"the image mode is {mode!r}; expected 'RGB' or 'L'", try_=named)
        count = cast("int", channels if mode is None or channels is not None else len(mode))
        #: What a model file keeps of the block: how files are opened.
        self.spec = ImageDecoder(mode, background, count, value_range, full_decode, cache)

    @property
    def mode(self) -> Literal["RGB", "L"] | None:
        return self.spec.mode

    @property
    def channels(self) -> int:
        return self.spec.channels

    @property
    def value_range(self) -> Ranges | None:
        return self.spec.value_range

    def open(self, value: Value) -> NDArray[np.uint8]:
        return cast("NDArray[np.uint8]", self.spec(value))

    def draft(
        self, value: Value, moves: Sequence[Transform], *, train: bool
    ) -> NDArray[np.uint8] | ScaledJpeg:
        if _opens_itself(self, ImageBlock):
            return self.open(value)
        return decode_for(moves, self.spec, value, train=train)

    def examine(self, values: Sequence[Value]) -> Examined:
        opens_files = self.mode is not None and not _opens_itself(self, ImageBlock)
        files, problems = files_among(values) if opens_files else ({}, {})
        facts = dict(zip(files, gather(list(files.values())), strict=True))
        problems |= {place: fact.problem for place, fact in facts.items() if fact.problem}
        digests = [facts[place].digest if place in facts else "" for place in range(len(values))]
        return Examined(problems, digests, _frames(facts))

    def audit(
        self,
        values: Sequence[Value],
        labels: Sequence[Any],
        sides: Sequence[str],
        *,
        classes: Sequence[Any],
        problems: Mapping[int, str],
        root: Path,
    ) -> Audit | None:
        from plainlearn.audit.checks import audit

        if self.mode is None:
            return None  # what it looks at are pictures for the eye
        files, _ = files_among(values)
        if len(files) < len(values):
            unknown = next(value for place, value in enumerate(values) if place not in files)
            raise DataError(f"an image is {describe(unknown)}; expected the files of all, to be audited")
        return audit(list(files.values()), labels, sides, classes=classes, problems=problems, root=root)

    def frame(self, thing: NDArray[np.uint8] | ScaledJpeg) -> Frame:
        return decoded_frame(thing)[1]

    def place(self, thing: NDArray[np.uint8] | ScaledJpeg, frame: Frame) -> PendingImage:
        picture, size, maps = decoded_frame(thing)
        return PendingImage([picture], np.array([size], dtype=np.int64), maps)

    def encode(self, thing: NDArray[np.uint8]) -> Tensor:
        channels_last = thing if thing.ndim == 3 else thing[:, :, None]
        return torch.from_numpy(np.require(channels_last.transpose(2, 0, 1), requirements=["C", "W"]))

    def decode(self, encoded: Tensor) -> NDArray[np.uint8]:
        channels_last = encoded.numpy().transpose(1, 2, 0)
        return channels_last if channels_last.shape[2] > 1 else channels_last[:, :, 0]

    def gather(self, parts: Sequence[Tensor], items: Sequence[Item]) -> Tensor:
        first = parts[0].shape
        if any(part.shape != first for part in parts):
            raise different_sizes([part.shape[1:] for part in parts], [describe_item(item) for item in items])
        return torch.stack(tuple(parts))

    def begin_batch(self, batch: Tensor | PendingImage) -> PendingImage:
        return PendingImage.from_batch(batch) if isinstance(batch, Tensor) else batch

    def to_model(self, batch: Tensor) -> Tensor:
        return batch.to(torch.float32).div_(255) if batch.dtype == torch.uint8 else batch

    def from_model(self, batch: Tensor) -> Tensor:
        return batch.mul(255).round_().clamp_(0, 255).to(torch.uint8)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self.spec, name)!r}" for name in _IMAGE_SETTINGS)
        return f"{type(self).__name__}({settings})"

    def show(self, thing: NDArray[np.uint8], ax: Axes) -> str:
        """Of more than three channels the first three, as colours; of two the first, as grey."""
        from plainlearn.core.figures import show_image

        if thing.ndim == 3 and thing.shape[2] > 2:
            show_image(thing[:, :, :3], ax=ax)
        else:
            show_image(thing if thing.ndim == 2 else thing[:, :, 0], ax=ax, cmap="gray", vmin=0, vmax=255)
        return ""


class MaskBlock(Block):
    """A mask: one label a pixel, as whole numbers; encoded (H, W) int64. `codes` names the labels 0, 1, 2, …

    `values` says which numbers of the files mean label 0, 1, 2, … when they are not these already.
    """

    geometry: ClassVar[Geometry] = "mask"

    def __init__(self, codes: Sequence[Any] | None = None, values: Sequence[int] | None = None) -> None:
        self.spec = MaskSpec(
            None if codes is None else tuple(codes), None if values is None else tuple(values)
        )

    @property
    def codes(self) -> tuple[Any, ...]:
        return self.spec.codes or ()

    @property
    def values(self) -> tuple[int, ...]:
        return self.spec.values or ()

    def open(self, value: Value) -> NDArray[np.int64]:
        mask = load_mask(value).astype(np.int64)
        if not self.values:
            if self.codes and not 0 <= int(mask.min()) <= int(mask.max()) < len(self.codes):
                unknown = int(mask.max()) if mask.max() >= len(self.codes) else int(mask.min())
                raise DataError(
                    f"the mask {_named(value)} has the label {unknown}; codes name 0 to {len(self.codes) - 1}",
                    try_="values= with the numbers that the files hold, one for each code",
                )
            return mask
        labels = np.full(mask.shape, -1, dtype=np.int64)
        for label, number in enumerate(self.values):
            labels[mask == number] = label
        if (labels < 0).any():
            raise DataError(
                f"the mask {_named(value)} has the value {int(mask[labels < 0][0])}; expected one of {self.values}"
            )
        return labels

    def examine(self, values: Sequence[Value]) -> Examined:
        files, problems = ({}, {}) if _opens_itself(self, MaskBlock) else files_among(values)
        facts = dict(zip(files, gather_masks(list(files.values())), strict=True))
        found = {
            place: fact.problem or self._strange(files[place], fact.levels) for place, fact in facts.items()
        }
        problems |= {place: problem for place, problem in found.items() if problem}
        return Examined(problems, frames=_frames(facts))

    def _strange(self, name: str, levels: Sequence[int]) -> str:
        """Why a mask with these numbers cannot be used, or nothing."""
        known = self.values or range(len(self.codes))
        unknown = [level for level in levels if level not in known] if known else []
        if not unknown:
            return ""
        if self.values:
            return f"the mask {name} has the value {unknown[0]}; expected one of {self.values}"
        return (
            f"the mask {name} has the label {unknown[0]}; codes name 0 to {len(self.codes) - 1} "
            "(values= is for files with other numbers)"
        )

    def frame(self, thing: NDArray[np.int64]) -> Frame:
        return thing.shape[0], thing.shape[1]

    def place(self, thing: NDArray[np.int64], frame: Frame) -> PendingMask:
        if thing.shape != frame:
            raise ShapeError(
                f"the mask is {thing.shape[0]} × {thing.shape[1]} and its image {frame[0]} × {frame[1]}; expected the same"
            )
        return PendingMask([thing], np.array([frame], dtype=np.int64), identity())

    def encode(self, thing: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(thing)

    def begin_batch(self, batch: Tensor | PendingMask) -> PendingMask:
        return PendingMask.from_batch(batch) if isinstance(batch, Tensor) else batch

    def decode(self, encoded: Tensor) -> NDArray[np.int64]:
        return self.spec.decode(encoded)

    def show(self, thing: NDArray[np.int64], ax: Axes) -> str:
        most = max(len(self.codes) - 1, int(thing.max()), 1)
        ax.imshow(thing, cmap="tab20", alpha=0.5, vmin=0, vmax=most, interpolation="nearest")
        return ""

    @property
    def vocab(self) -> L[Any] | None:
        return self.spec.labels

    @property
    def outputs(self) -> int | None:
        return len(self.codes) or None

    def __repr__(self) -> str:
        return f"MaskBlock(codes={self.codes!r}, values={self.values!r})"

    def loss_func(self) -> CrossEntropyLossFlat:
        return CrossEntropyLossFlat(axis=1)

    def metric(self) -> Metric:
        return pixel_accuracy


def pixel_accuracy(inp: Tensor, targ: Tensor) -> Tensor:
    """The share of pixels whose largest activation is that of their label: (B, K, H, W) against (B, H, W)."""
    return (inp.argmax(dim=1) == targ).float().mean()


def _opens_itself(block: Block, base: type[Block]) -> bool:
    """Whether a person's subclass opens values in a way of its own, so that they need be no files of pictures."""
    return type(block).open is not base.open


def _frames(facts: Mapping[int, Facts]) -> dict[int, tuple[int, int]]:
    return {place: (fact.height, fact.width) for place, fact in facts.items() if not fact.problem}


def _named(value: Value) -> str:
    return os.fspath(cast("str", value)) if isinstance(value, (str, os.PathLike)) else describe(value)
