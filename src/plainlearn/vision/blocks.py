"""Blocks of pixels: what an image is, from a file to the model and back to the eye."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plainlearn.core.errors import ArgumentError
from plainlearn.data.blocks import Block, Geometry
from plainlearn.vision.geometry import identity
from plainlearn.vision.image import load_image
from plainlearn.vision.placed import PlacedImage


class ImageBlock(Block):
    """A picture: opened upright as uint8, encoded (C, H, W) uint8, given to the model as fractions 0..1.

    `mode` is "RGB" (grey files become three equal channels) or "L" (one channel). What is
    see-through is laid over `background`.
    """

    geometry: ClassVar[Geometry] = "image"

    def __init__(
        self, mode: Literal["RGB", "L"] = "RGB", background: tuple[int, int, int] = (255, 255, 255)
    ) -> None:
        if mode not in ("RGB", "L"):
            raise ArgumentError(f"the image mode is {mode!r}; expected 'RGB' or 'L'", try_="ImageBlock()")
        self.mode: Literal["RGB", "L"] = mode
        self.background = background

    def open(self, value: Any) -> NDArray[np.uint8]:
        return load_image(value, mode=self.mode, background=self.background)

    def frame(self, thing: NDArray[np.uint8]) -> tuple[int, int]:
        return thing.shape[0], thing.shape[1]

    def place(self, thing: NDArray[np.uint8], frame: tuple[int, int]) -> PlacedImage:
        pixels = thing if thing.ndim == 3 else thing[:, :, None]
        return PlacedImage([pixels], np.array([frame], dtype=np.int64), identity())

    def encode(self, thing: NDArray[np.uint8] | PlacedImage) -> Tensor | PlacedImage:
        if isinstance(thing, PlacedImage):
            return thing  # it is read with its batch
        channels_last = thing if thing.ndim == 3 else thing[:, :, None]
        return torch.from_numpy(np.ascontiguousarray(channels_last.transpose(2, 0, 1)))

    def decode(self, encoded: Tensor) -> NDArray[np.uint8]:
        channels_last = encoded.numpy().transpose(1, 2, 0)
        return channels_last if channels_last.shape[2] == 3 else channels_last[:, :, 0]

    def begin_batch(self, batch: Any) -> PlacedImage:
        if isinstance(batch, Tensor):
            return PlacedImage.from_batch(batch)
        return PlacedImage.joined(batch)

    def settle(self, batch: Any) -> Tensor:
        return batch if isinstance(batch, Tensor) else PlacedImage.joined(batch).presized()

    def to_model(self, batch: Tensor | PlacedImage) -> Tensor:
        if isinstance(batch, PlacedImage):
            return batch.read()
        return batch.to(torch.float32).div_(255) if batch.dtype == torch.uint8 else batch

    def from_model(self, batch: Tensor) -> Tensor:
        return batch.mul(255).round_().clamp_(0, 255).to(torch.uint8)

    def show(self, thing: NDArray[np.uint8], ax: Any) -> str:
        from plainlearn.core.figures import show_image

        if thing.ndim == 3:
            show_image(thing, ax=ax)
        else:
            show_image(thing, ax=ax, cmap="gray", vmin=0, vmax=255)
        return ""

    @property
    def channels(self) -> int:
        return 3 if self.mode == "RGB" else 1


def missing_files(items: list[Any]) -> list[str]:
    """Those of `items`, paths, that are not there."""
    return [os.fspath(item) for item in items if not os.path.exists(item)]  # noqa: PTH110 (10× as fast as Path)
