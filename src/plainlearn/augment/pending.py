"""Things with a place: pixels, masks, points and boxes that wait, with a map, for the one time they are read.

Transforms change the map, never the thing. `read` is called once, at the end; until then no torch is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from plainlearn.augment import geometry
from plainlearn.augment.geometry import Maps, Size
from plainlearn.augment.sampling.kernel import Mode, PadMode
from plainlearn.core.errors import ShapeError
from plainlearn.data.stages import Deferred

if TYPE_CHECKING:
    from torch import Tensor

    from plainlearn.augment.sampling.sample import Layout


@dataclass(frozen=True, eq=False)
class Pending(Deferred):
    """N things of one kind, `maps` (N, 3, 3) from output to input, and the `size` (h, w) of the output.

    `size` None means each thing's own, which only a batch of equal ones can be read with.
    `originals` (N, 2) are the heights and widths of the pictures that the things belong to, `names` what to
    call them. `pad_mode` None means that nobody has said what lies beyond a picture.
    """

    things: Any
    originals: NDArray[np.int64]
    maps: Maps
    size: Size | None = None
    pad_mode: PadMode | None = None
    names: tuple[str, ...] = ()

    #: Whether a sample's frame is this thing's; points and boxes live in another's.
    has_frame: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.maps)

    def sizes(self) -> NDArray[np.int64]:
        """The present height and width of each, (N, 2)."""
        return self.originals if self.size is None else np.broadcast_to(np.array(self.size), (len(self), 2))

    def then(self, maps: Maps, size: Size | None = None, pad_mode: PadMode | None = None) -> Self:
        """The same, read through one more map."""
        return replace(
            self,
            maps=geometry.compose(self.maps, maps),
            size=size if size is not None else self.size,
            pad_mode=pad_mode or self.pad_mode,
        )

    def output_size(self) -> Size:
        """The size to read at. Raises `ShapeError` when the pictures differ and nothing says which."""
        if self.size is not None:
            return self.size
        if (self.originals != self.originals[0]).any():
            raise different_sizes(self.originals.tolist(), self.names)
        height, width = self.originals[0].tolist()
        return height, width

    @classmethod
    def joined(cls, parts: Sequence[Any], names: Sequence[str] = ()) -> Self:
        """Many of this class as one. Raises `ShapeError` when they were asked for in different sizes."""
        first = parts[0]
        for position, part in enumerate(parts):
            if part.size != first.size:
                raise ShapeError(
                    f"image 0 is to be read at {first.size} and image {position} at {part.size}; expected one size"
                )
        return replace(
            first,
            things=[thing for part in parts for thing in part.things],
            originals=np.concatenate([part.originals for part in parts]),
            maps=np.concatenate([part.maps for part in parts]),
            names=tuple(names),
        )

    def summary(self) -> str:
        """In a few words, for people."""
        sizes = {(int(height), int(width)) for height, width in self.sizes()}
        shown = " and ".join(f"{height} × {width}" for height, width in sorted(sizes)[:3])
        return f"{len(self)} {type(self).__name__.removeprefix('Pending').lower()}, {shown}{' …' if len(sizes) > 3 else ''}"


@dataclass(frozen=True, eq=False)
class PendingImage(Pending):
    """Pictures, uint8 (H, W, C) each, of their original size or decoded smaller (see `ScaledJpeg`).

    `curves` turn levels into values; see `level_curves`.
    """

    curves: Tensor | None = None
    mode: Mode = "cubic"
    layout: Layout = "hwc"

    def with_curves(self, curves: Tensor) -> PendingImage:
        """With other curves, (N or 1, C, 257)."""
        return replace(self, curves=curves)

    def levels(self) -> Tensor:
        """The curves as they stand, one row a picture: (N, C, 257) of values 0..1 before normalisation."""
        from plainlearn.augment.sampling.sample import level_curves

        if self.curves is not None:
            return self.curves.expand(len(self), -1, -1)
        return level_curves(len(self), self.channels)

    @classmethod
    def joined(cls, parts: Sequence[Any], names: Sequence[str] = ()) -> Self:
        """Many as one, each lit as it was. Raises `ShapeError` when they were asked for in different sizes."""
        import torch

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
        import torch

        pixels = batch if batch.dtype == torch.uint8 else batch.mul(255).round().clamp(0, 255).to(torch.uint8)
        sizes = np.tile(np.array(batch.shape[2:], dtype=np.int64), (len(batch), 1))
        return cls(pixels, sizes, geometry.identity(len(batch)), layout="chw")

    def read(self) -> Tensor:
        """Values (N, C, h, w), float32, 0..1 unless the curves say otherwise. The one interpolation."""
        import torch

        from plainlearn.augment.sampling.sample import sample_images

        size = self.output_size()
        if self.curves is None and self._is_identity(size):
            return self._stacked().to(torch.float32).div_(255)  # to the bit what reading would give
        return sample_images(
            self.things, self.maps, size,
            mode=self.mode, pad_mode=self.pad_mode or "reflection", curves=self.curves, layout=self.layout,
        )  # fmt: skip

    def materialize(self) -> Tensor:
        """Read now, at the present size, to uint8 (N, C, h, w): what travels to a GPU and is read once more there."""
        import torch

        if self.curves is None and self._is_identity(self.output_size()):
            return self._stacked()
        return self.read().mul_(255).round_().clamp_(0, 255).to(torch.uint8)

    def _is_identity(self, size: Size) -> bool:
        import torch

        whole = isinstance(self.things, torch.Tensor) or all(thing.shape[:2] == size for thing in self.things)
        return whole and bool((self.originals == size).all() and (self.maps == np.eye(3)).all())

    def _stacked(self) -> Tensor:
        import torch

        if isinstance(self.things, torch.Tensor):
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
        from plainlearn.augment.sampling.sample import sample_labels

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
        import torch

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
        import torch
        from torch.nn.utils.rnn import pad_sequence

        _, seen = _moved_boxes(self.maps, [boxes for boxes, _ in self.things])
        labels = pad_sequence([torch.as_tensor(labels) for _, labels in self.things], batch_first=True)
        return _to_front(labels.masked_fill(~seen, self.padding), seen)


def _moved_boxes(maps: Maps, boxes: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Where the boxes appear, (N, most, 4), and which of them are in view, (N, most)."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    padded = pad_sequence([torch.as_tensor(each) for each in boxes], batch_first=True)
    return geometry.map_boxes(maps, padded)


def _to_front(rows: Tensor, seen: Tensor) -> Tensor:
    """Each row's entries that are `seen`, in their order, then the others, cut to the fullest row's number."""
    import torch

    order = (~seen).byte().argsort(dim=1, stable=True)
    most = int(seen.sum(dim=1).max()) if seen.numel() else 0  # note: on a GPU this waits for it
    return torch.take_along_dim(rows, order if rows.ndim == 2 else order[..., None], dim=1)[:, :most]


def frame_of(fields: Sequence[Any]) -> Pending:
    """The field that the others' geometry follows: the first with a frame of its own."""
    for field in fields:
        if isinstance(field, Pending) and field.has_frame:
            return field
    raise ShapeError("a geometric transform needs an image or a mask in the sample; there is none")


def different_sizes(sizes: Sequence[Sequence[int]], names: Sequence[str]) -> ShapeError:
    """The error for pictures that cannot make a batch: the first two whose (height, width) differ, by name."""
    other = next(place for place, size in enumerate(sizes) if tuple(size) != tuple(sizes[0]))
    first, second = (
        f"{names[place] if names else f'image {place}'} is {sizes[place][0]} × {sizes[place][1]}"
        for place in (0, other)
    )
    return ShapeError(
        f"images of one batch have different sizes: {first}, {second} (height × width); a batch needs one size",
        try_="item_tfms=Resize(224)",
    )
