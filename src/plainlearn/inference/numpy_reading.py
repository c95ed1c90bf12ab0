"""From an item to a row of the model's input as validation makes it, without torch: what `Reading` understands of a model file.

It opens, moves and reads by the same code as `InputPipeline` with its blocks; only the last step has another form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from plainlearn.augment import geometry, transforms
from plainlearn.augment.sampling.axes import sample_by_axes
from plainlearn.augment.sampling.kernel import KERNELS, Mode, PadMode
from plainlearn.augment.transforms import Geometric, min_downscale
from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.data.transform import Transform
from plainlearn.datasets.remote import RemotePath, is_url
from plainlearn.images.decode import ScaledJpeg, scale_for
from plainlearn.images.image_decoder import ImageDecoder
from plainlearn.inference.pipeline_parts import pipeline_parts
from plainlearn.inference.serialize import Registry, kinds

__all__ = ["Reading"]

_UNDRAWN: Final = np.random.default_rng(0)  # nothing is drawn in validation


@dataclass(frozen=True)
class _ImageBlock:
    """The fields of `ImageBlock` in a file."""

    mode: Literal["RGB", "L"] | None
    background: tuple[int, int, int]
    channels: int
    value_range: tuple[float, float] | None
    full_decode: bool = False


@dataclass(frozen=True)
class _ReadAs(Transform):
    """The fields of `ReadAs`."""

    mode: Mode
    order: ClassVar[int] = 0


@dataclass(frozen=True)
class _Normalize(Transform):
    """The fields of `Normalize`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    order: ClassVar[int] = 30


_KNOWN: Final[Registry] = {
    **kinds(transforms.Resize, transforms.RandomResizedCrop, transforms.CropPad, transforms.Flip, transforms.Dihedral,
            transforms.Rotate, transforms.Zoom, transforms.Warp),
    **{name: next(iter(kinds(each).values()))
       for name, each in (("ReadAs", _ReadAs), ("Normalize", _Normalize), ("ImageBlock", _ImageBlock))},
}  # fmt: skip


class Reading:
    """Reads items as a model file's pipeline says. Threads may share it.

    Raises `DataError` for what no model file says, `ArgumentError` for what only torch's way can read.
    """

    def __init__(self, plain: Mapping[str, Any]) -> None:
        parts = pipeline_parts(plain, _KNOWN, block=_ImageBlock)
        block = cast("_ImageBlock", parts.blocks[0])
        if len(parts.blocks) != 1 or block.mode is None:
            raise ArgumentError(
                "this model's inputs are not one picture in colours or grey, which only torch's way reads"
            )
        self.channels = len(block.mode)
        self._opening = ImageDecoder(block.mode, block.background, self.channels, block.value_range)
        self._item_moves = parts.item_tfms
        self._full_decode = block.full_decode or not parts.item_tfms
        self._moves: list[Geometric] = []
        self._mode: Mode = "cubic"
        mean, std = (0.0,), (1.0,)
        for transform in (*parts.item_tfms, *sorted(parts.batch_tfms, key=lambda each: each.order)):
            if isinstance(transform, Geometric):
                self._moves.append(transform)
            elif transform in parts.item_tfms:
                raise ArgumentError(f"{transform!r} acts on single items, which only torch's way knows")
            elif isinstance(transform, _ReadAs):
                self._mode = transform.mode
            elif isinstance(transform, _Normalize):
                mean, std = transform.mean, transform.std
        sizes = [each.maps_for(np.ones((1, 2), np.int64), _UNDRAWN, train=False)[1] for each in self._moves]
        if not any(sizes):
            raise ArgumentError(
                "the size of this model's inputs depends on the picture, which only torch's way reads"
            )
        self.size = next(size for size in reversed(sizes) if size is not None)
        if not {len(mean), len(std)} <= {1, self.channels} or min(std) <= 0:
            raise DataError(
                f"its Normalize has mean {mean} and std {std}; expected one of each a channel, std above 0"
            )
        self._mean, self._std = (np.array(each, np.float32).reshape(-1, 1, 1) for each in (mean, std))

    def __call__(self, item: Any) -> NDArray[np.float32]:
        """What the model gets of an item: (C, h, w). Raises `DataError` for what cannot be read."""
        value = RemotePath(item) if is_url(item) else item
        thing = self._opening(value) if self._full_decode else self._opening(
            value, lambda frame: scale_for(min_downscale(self._item_moves, frame.size, train=False))
        )  # fmt: skip
        pixels, maps, frame = (
            (
                thing.pixels,
                geometry.scaled_jpeg_crop(*thing.frame, thing.scale, thing.pixels.shape),
                thing.frame.size,
            )
            if isinstance(thing, ScaledJpeg)
            else (thing, geometry.identity(), thing.shape[:2])
        )
        picture = pixels if pixels.ndim == 3 else pixels[:, :, None]
        size, beyond = frame, cast("PadMode | None", None)
        for move in self._moves:
            moved, changed = move.maps_for(np.array([size]), _UNDRAWN, train=False)
            maps, size, beyond = geometry.compose(maps, moved), changed or size, move.beyond(beyond)
        (seen,) = geometry.to_pixels(maps, picture.shape[:2], self.size)
        levels = sample_by_axes(picture, seen, self.size, KERNELS.get(self._mode), beyond or "reflection")
        return (levels * np.float32(1 / 255) - self._mean) / self._std
