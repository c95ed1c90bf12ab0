"""Things with a place: pixels, masks, points and boxes that wait, with a map, for the one time they are read.

Transforms change the map, never the thing. `read` is called once, at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from plainlearn.augment import geometry
from plainlearn.augment.geometry import Maps, Size
from plainlearn.augment.pending_base import Pending
from plainlearn.augment.sampling.kernel import Mode
from plainlearn.augment.sampling.sample import Layout, level_curves, sample_images, sample_labels


@dataclass(frozen=True, eq=False)
class PendingImage(Pending):
    """Pictures, uint8 (H, W, C) each, of their original size or decoded smaller (see `ScaledJpeg`).

    `curves` turn levels into values; see `level_curves`.
    """

    curves: Tensor | None = None
    mode: Mode = "cubic"
    layout: Layout = "hwc"

    def lit(self, curves: Tensor) -> PendingImage:
        """With other curves, (N or 1, C, 257)."""
        return replace(self, curves=curves)

    def levels(self) -> Tensor:
        """The curves as they stand, one row a picture: (N, C, 257) of values 0..1 before normalisation."""
        if self.curves is not None:
            return self.curves.expand(len(self), -1, -1)
        return level_curves(len(self), self.channels)

    @classmethod
    def joined(cls, parts: Sequence[Any], names: Sequence[str] = ()) -> Self:
        """Many as one, each lit as it was. Raises `ShapeError` when they were asked for in different sizes."""
        whole = super().joined(parts, names)
        if all(part.curves is None for part in parts):
            return whole
        return replace(whole, curves=torch.cat([part.levels() for part in parts]))

    @property
    def channels(self) -> int:
        return int(self.things[0].shape[-1 if self.layout == "hwc" else 0])

    @classmethod
    def from_batch(cls, batch: Tensor) -> PendingImage:
        """A batch of pictures (N, C, H, W): uint8 as they are, floats 0..1 rounded to levels."""
        pixels = batch if batch.dtype == torch.uint8 else batch.mul(255).round().clamp(0, 255).to(torch.uint8)
        sizes = np.tile(np.array(batch.shape[2:], dtype=np.int64), (len(batch), 1))
        return cls(pixels, sizes, geometry.identity(len(batch)), layout="chw")

    def read(self) -> Tensor:
        """Values (N, C, h, w), float32, 0..1 unless the curves say otherwise. The one interpolation."""
        size = self.output_size()
        if self.curves is None and self._untouched(size):
            return self._stacked().to(torch.float32).div_(255)  # to the bit what reading would give
        return sample_images(
            self.things, self.maps, size,
            mode=self.mode, pad_mode=self.pad_mode or "reflection", curves=self.curves, layout=self.layout,
        )  # fmt: skip

    def materialize(self) -> Tensor:
        """Read now, at the present size, to uint8 (N, C, h, w): what travels to a GPU and is read once more there."""
        if self.curves is None and self._untouched(self.output_size()):
            return self._stacked()
        return self.read().mul_(255).round_().clamp_(0, 255).to(torch.uint8)

    def _untouched(self, size: Size) -> bool:
        whole = isinstance(self.things, Tensor) or all(thing.shape[:2] == size for thing in self.things)
        return whole and bool((self.originals == size).all() and (self.maps == np.eye(3)).all())

    def _stacked(self) -> Tensor:
        if isinstance(self.things, Tensor):
            pictures = self.things
        else:
            pictures = torch.from_numpy(np.stack(self.things))  # they may be arrays that are only to be read
        return pictures if self.layout == "chw" else pictures.permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True, eq=False)
class PendingMask(Pending):
    """Masks, integers (H, W) each; read as (N, h, w) int64, each pixel the label of the nearest one."""

    @classmethod
    def from_batch(cls, batch: Tensor) -> PendingMask:
        """A batch of masks (N, H, W)."""
        sizes = np.tile(np.array(batch.shape[1:], dtype=np.int64), (len(batch), 1))
        return cls(batch, sizes, geometry.identity(len(batch)))

    def read(self) -> Tensor:
        masks = cast("Sequence[Any]", self.things)
        return sample_labels(
            masks, self.maps, self.output_size(), pad_mode=self.pad_mode or "reflection"
        ).long()


@dataclass(frozen=True, eq=False)
class PendingPoints(Pending):
    """Points, float (K, 2) each as (x, y) in −1..1 of the picture; read as where they appear, (N, K, 2)."""

    has_frame: ClassVar[bool] = False

    @classmethod
    def from_batch(cls, batch: Tensor) -> PendingPoints:
        """A batch of points (N, K, 2) that are in −1..1 already."""
        return cls(batch, np.zeros((len(batch), 2), dtype=np.int64), geometry.identity(len(batch)))

    def read(self) -> Tensor:
        return geometry.map_points(
            self.maps, torch.stack([torch.as_tensor(points) for points in self.things])
        )


@dataclass(frozen=True, eq=False)
class PendingBoxes(Pending):
    """Boxes, float (K, 4) each as (left, top, right, bottom) in −1..1; read clipped, (N, most, 4).

    A box that is out of view is left out, those behind it move up, and zeros fill what is left of a row.
    """

    has_frame: ClassVar[bool] = False

    @classmethod
    def from_batch(cls, batch: Tensor) -> PendingBoxes:
        """A batch of boxes (N, K, 4) that are in −1..1 already, filled up with zeros."""
        return cls(batch, np.zeros((len(batch), 2), dtype=np.int64), geometry.identity(len(batch)))

    def read(self) -> Tensor:
        boxes, seen = _moved_boxes(self.maps, self.things)
        return _to_front(boxes, seen)


@dataclass(frozen=True, eq=False)
class PendingBoxLabels(Pending):
    """Labels of boxes, each thing a pair: boxes (K, 4), and their labels (K,) int64; read as (N, most).

    They carry their boxes along, and so tell by themselves which are still in view: row for row and
    place for place the labels of what `PendingBoxes` reads. `padding` fills what is left of a row.
    """

    padding: int = 0

    has_frame: ClassVar[bool] = False

    def read(self) -> Tensor:
        _, seen = _moved_boxes(self.maps, [boxes for boxes, _ in self.things])
        labels = pad_sequence([torch.as_tensor(labels) for _, labels in self.things], batch_first=True)
        return _to_front(labels.masked_fill(~seen, self.padding), seen)


def _moved_boxes(maps: Maps, boxes: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Where the boxes appear, (N, most, 4), and which of them are in view, (N, most)."""
    padded = pad_sequence([torch.as_tensor(each) for each in boxes], batch_first=True)
    return geometry.map_boxes(maps, padded)


def _to_front(rows: Tensor, seen: Tensor) -> Tensor:
    """Each row's entries that are `seen`, in their order, then the others, cut to the fullest row's number."""
    order = (~seen).byte().argsort(dim=1, stable=True)
    most = int(seen.sum(dim=1).max()) if seen.numel() else 0  # note: on a GPU this waits for it
    return torch.take_along_dim(rows, order if rows.ndim == 2 else order[..., None], dim=1)[:, :most]
