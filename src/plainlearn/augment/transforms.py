"""Geometric transforms: each draws a map a picture, and touches no pixel.

All of them act on items (`item_tfms`) and on batches (`batch_tfms`) alike. One draw serves a whole sample:
its image, its mask, its points and boxes. In validation, what is random takes its middle.
"""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from plainlearn.augment import geometry
from plainlearn.augment.geometry import FitMethod, Maps, Size
from plainlearn.augment.pending import Pending, frame_of
from plainlearn.augment.sampling.kernel import Mode, PadMode
from plainlearn.core.errors import ArgumentError
from plainlearn.data.transform import Transform
from plainlearn.images.decode import ScaledJpeg, scale_for
from plainlearn.images.image_decoder import ImageDecoder
from plainlearn.images.pixels import Pixels

if TYPE_CHECKING:
    from plainlearn.data.blocks import Block

Rng = np.random.Generator
Sizes = NDArray[np.int64]
Chosen = NDArray[np.bool_]
#: A fixed value, or a function of the number of pictures that gives one each.
Draw = float | Callable[[int], Any] | None

_REDRAWS = 10


class ResizeMethod:
    """The course's names for the ways to resize."""

    Squish: FitMethod = "squish"
    Crop: FitMethod = "crop"
    Pad: FitMethod = "pad"


class PadModes:
    """The course's names for what lies beyond a picture."""

    Zeros: PadMode = "zeros"
    Border: PadMode = "border"
    Reflection: PadMode = "reflection"


@dataclass(frozen=True)
class Geometric(Transform):
    """A transform that draws maps for pictures of given sizes."""

    order: ClassVar[int] = 0

    @abstractmethod
    def maps_for(self, sizes: Sizes, rng: Rng, *, train: bool) -> tuple[Maps, Size | None]:
        """Maps (N, 3, 3) for pictures of `sizes` (N, 2), and the output's size if it changes."""

    def valid_window(self, height: Any, width: Any) -> tuple[Any, Any, Size | None]:
        """The shares of a picture's width and height that validation shows, about its middle; and the output's size.

        They are reckoned of arrays, and of tensors where a graph is made of it.
        """
        return 1.0, 1.0, None

    def valid_maps(self, sizes: Sizes) -> tuple[Maps, Size | None]:
        """`maps_for` in validation, of a transform that says its `valid_window`."""
        height, width = sizes.astype(np.float64).T
        across, down, size = self.valid_window(height, width)
        maps = geometry.window(across, down)
        return (maps if len(maps) == len(sizes) else np.repeat(maps, len(sizes), axis=0)), size

    def beyond(self, before: PadMode | None) -> PadMode | None:
        """What lies beyond the picture from here on, given what was said before."""
        return before

    def min_downscale(self, size: Size, *, train: bool) -> tuple[float, Size] | None:
        """How many pixels of a picture of `size` one pixel of the outcome spans at least, along a side; and its new size.

        Of a warped picture on the average. None where it is not known.
        """
        return None

    def on_items(
        self, things: tuple[Any, ...], blocks: Sequence[Block], rng: Rng, *, train: bool
    ) -> tuple[Any, ...]:
        return self._moved(things, blocks, rng, train=train)

    def on_batch(
        self, batch: tuple[Any, ...], blocks: Sequence[Block], rng: Rng, *, train: bool
    ) -> tuple[Any, ...]:
        return self._moved(batch, blocks, rng, train=train)

    def _moved(
        self, fields: tuple[Any, ...], blocks: Sequence[Block], rng: Rng, *, train: bool
    ) -> tuple[Any, ...]:
        for field, block in zip(fields, blocks, strict=False):
            if block.geometry != "none" and not isinstance(field, Pending):
                raise ArgumentError(
                    f"{self!r} would move the others and leave {block.name} behind, which is finished already",
                    try_="geometric transforms before those that change pixels",
                )
        frame = frame_of(fields)
        sizes = frame.sizes()
        # A second picture of another size gets the same draws, and the maps that they mean for its size.
        others = [
            isinstance(field, Pending) and field.has_frame and not np.array_equal(field.sizes(), sizes)
            for field in fields
        ]
        before = copy.deepcopy(rng) if any(others) else rng
        drawn = self._maps_of(frame, rng, train=train)

        def moved(field: Any, other: bool) -> Any:
            if not isinstance(field, Pending):
                return field
            maps, size = self._maps_of(field, copy.deepcopy(before), train=train) if other else drawn
            return field.then(maps, size, self.beyond(field.pad_mode))

        return tuple(map(moved, fields, others))

    def _maps_of(self, field: Pending, rng: Rng, *, train: bool) -> tuple[Maps, Size | None]:
        sizes = field.sizes()
        maps, size = self.maps_for(sizes, rng, train=train)
        if not (maps[:, 2, :2].any() or field.maps[:, 2, :2].any()):
            return maps, size  # nothing is tilted, so there is no horizon
        bad = geometry.crosses_horizon(geometry.compose(field.maps, maps))
        for _ in range(_REDRAWS):
            if not bad.any():
                break
            maps = np.where(bad[:, None, None], self.maps_for(sizes, rng, train=train)[0], maps)
            bad = geometry.crosses_horizon(geometry.compose(field.maps, maps))
        # What is never free of it is squeezed into the frame: undistorted, and everything in view.
        return np.where(bad[:, None, None], geometry.identity(), maps), size


@dataclass(frozen=True)
class Resize(Geometric):
    """To one size: cut ("crop"), with a margin ("pad"), or with other proportions ("squish").

    `size` is the side of a square, or (height, width). In training a crop's or pad's place is random; in validation
    it is the middle. Small images are enlarged.
    """

    size: int | Size
    method: FitMethod = "crop"
    pad_mode: PadMode = "reflection"

    def __post_init__(self) -> None:
        _checked_size(self.size)
        _checked_pad_mode(self.pad_mode)
        if self.method not in ("crop", "pad", "squish"):
            raise ArgumentError(
                f"method is {self.method!r}; expected 'crop', 'pad' or 'squish'", try_="method='squish'"
            )

    def beyond(self, before: PadMode | None) -> PadMode | None:
        return self.pad_mode if self.method == "pad" else before

    def maps_for(self, sizes: Sizes, rng: Rng, *, train: bool) -> tuple[Maps, Size | None]:
        if not train or self.method == "squish":
            return self.valid_maps(sizes)
        size = _checked_size(self.size)
        x, y = rng.random((2, len(sizes)))
        return geometry.fit(sizes, size, self.method, x=x, y=y), size

    def valid_window(self, height: Any, width: Any) -> tuple[Any, Any, Size | None]:
        return _fitted(height, width, _checked_size(self.size), self.method)

    def min_downscale(self, size: Size, *, train: bool) -> tuple[float, Size]:
        to = _checked_size(self.size)
        down, across = size[0] / to[0], size[1] / to[1]
        return (max(down, across) if self.method == "pad" else min(down, across)), to


@dataclass(frozen=True)
class RandomResizedCrop(Geometric):
    """A random part of the picture, `min_scale` to `max_scale` of its area, `ratio` wide to high, brought to `size`.

    In validation the largest part of the output's proportions, from the middle.
    Source: Szegedy et al. 2014, arXiv:1409.4842, section 6.
    """

    size: int | Size
    min_scale: float = 0.08
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    max_scale: float = 1.0

    def __post_init__(self) -> None:
        _checked_size(self.size)
        if not 0 < self.min_scale <= self.max_scale <= 1:
            raise ArgumentError(
                f"min_scale is {self.min_scale} and max_scale {self.max_scale}; expected 0 < min_scale <= max_scale <= 1"
            )
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ArgumentError(f"ratio is {self.ratio}; expected (smallest, largest) above 0")

    def maps_for(self, sizes: Sizes, rng: Rng, *, train: bool) -> tuple[Maps, Size | None]:
        if not train:
            return self.valid_maps(sizes)
        size = _checked_size(self.size)
        count, tries = len(sizes), 10
        height, width = sizes[:, 0, None].astype(float), sizes[:, 1, None].astype(float)
        area = rng.uniform(self.min_scale, self.max_scale, (count, tries)) * height * width
        ratio = np.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1]), (count, tries)))
        # The first of the tries that fits; behind them the whole picture, cut to the nearest allowed proportions.
        whole = np.clip(width / height, *self.ratio) * height / width
        w = np.hstack([np.sqrt(area * ratio) / width, np.minimum(whole, 1)])
        h = np.hstack([np.sqrt(area / ratio) / height, np.minimum(1 / whole, 1)])
        rows, first = np.arange(count), ((w <= 1) & (h <= 1)).argmax(axis=1)
        w, h = w[rows, first], h[rows, first]
        x, y = rng.random((2, count))
        return geometry.crop(x * (1 - w), y * (1 - h), w, h), size

    def valid_window(self, height: Any, width: Any) -> tuple[Any, Any, Size | None]:
        return _fitted(height, width, _checked_size(self.size), "crop")

    def min_downscale(self, size: Size, *, train: bool) -> tuple[float, Size]:
        to = _checked_size(self.size)
        height, width = self._smallest_crop(*size) if train else size
        return min(height / to[0], width / to[1]), to

    def _smallest_crop(self, height: float, width: float) -> tuple[float, float]:
        """The least height and width that it can draw, though not both at once."""
        narrow, wide = self.ratio
        area = self.min_scale * height * width
        ratio = min(max(width / height, narrow), wide)  # of what it takes where none of its tries fits
        return (
            min(math.sqrt(area / wide), height, width / ratio),
            min(math.sqrt(area * narrow), width, height * ratio),
        )


class _Random(Geometric):
    """A transform that acts on a share `p` of the pictures, in training only; a `size` holds in validation too."""

    split_idx: ClassVar[int | None] = 0

    # Fields of the dataclasses below, which say where each stands among their arguments.
    p: float
    size: int | Size | None

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ArgumentError(f"p is {self.p!r}; expected a share between 0 and 1", try_="p=0.5")
        if self.size is not None:
            _checked_size(self.size)

    @abstractmethod
    def _drawn_maps(self, sizes: Sizes, chosen: Chosen, rng: Rng) -> Maps:
        """Maps (N, 3, 3), those of the pictures that are not `chosen` the identity."""

    def acts_on(self, side: int) -> bool:
        return super().acts_on(side) or self.size is not None

    def maps_for(self, sizes: Sizes, rng: Rng, *, train: bool) -> tuple[Maps, Size | None]:
        if not train:
            return self.valid_maps(sizes)
        size = None if self.size is None else _checked_size(self.size)
        return self._drawn_maps(sizes, rng.random(len(sizes)) < self.p, rng), size

    def valid_window(self, height: Any, width: Any) -> tuple[Any, Any, Size | None]:
        return 1.0, 1.0, None if self.size is None else _checked_size(self.size)

    def min_downscale(self, size: Size, *, train: bool) -> tuple[float, Size] | None:
        to = size if self.size is None else _checked_size(self.size)
        magnified = self._max_magnification() if train else 1.0
        return None if magnified is None else (min(size[0] / to[0], size[1] / to[1]) / magnified, to)

    def _max_magnification(self) -> float | None:
        """How many times larger it can show a part; None if a function of somebody's own says so."""
        return 1.0


@dataclass(frozen=True)
class Flip(_Random):
    """Mirrored left to right, with probability `p`; `vertical=True` top to bottom.

    With `size` the picture is also brought to it, squished, as by the others here.
    """

    p: float = 0.5
    vertical: bool = False
    size: int | Size | None = None

    def _drawn_maps(self, sizes: Sizes, chosen: Chosen, rng: Rng) -> Maps:
        return geometry.flip(False, chosen) if self.vertical else geometry.flip(chosen)


@dataclass(frozen=True)
class Dihedral(_Random):
    """One of the eight symmetries of the square, with probability `p`: for pictures without an up, seen from above."""

    p: float = 0.5
    size: int | Size | None = None

    def _drawn_maps(self, sizes: Sizes, chosen: Chosen, rng: Rng) -> Maps:
        return geometry.dihedral(np.where(chosen, rng.integers(0, 8, len(sizes)), 0))

    def min_downscale(self, size: Size, *, train: bool) -> tuple[float, Size] | None:
        if not train:
            return super().min_downscale(size, train=train)
        to = size if self.size is None else _checked_size(self.size)
        return min(size) / max(to), to  # it may swap the sides


class _Padded(_Random):
    """One that can show what lies beyond the picture: `pad_mode`, unless a margin was put there on purpose."""

    pad_mode: PadMode

    def __post_init__(self) -> None:
        super().__post_init__()
        _checked_pad_mode(self.pad_mode)

    def beyond(self, before: PadMode | None) -> PadMode | None:
        return before or self.pad_mode


@dataclass(frozen=True)
class Rotate(_Padded):
    """Turned clockwise by up to `max_deg` degrees either way, with probability `p`, or by what `draw` says.

    `draw` is a number of degrees, or a function from the number of pictures to one for each.
    """

    max_deg: float = 10.0
    p: float = 0.5
    draw: Draw = None
    size: int | Size | None = None
    pad_mode: PadMode = "reflection"

    def __post_init__(self) -> None:
        super().__post_init__()
        _finite("max_deg", self.max_deg)

    def _drawn_maps(self, sizes: Sizes, chosen: Chosen, rng: Rng) -> Maps:
        count = len(sizes)
        degrees = _drawn(self.draw, count, lambda: self.max_deg * rng.uniform(-1, 1, count))
        return geometry.rotate(np.where(chosen, degrees, 0.0), sizes[:, 1] / sizes[:, 0])


@dataclass(frozen=True)
class Zoom(_Padded):
    """Magnified by `min_zoom` to `max_zoom` at a random place, with probability `p`.

    `draw` is a magnification, or a function from the number of pictures to one for each; `draw_x` and
    `draw_y` likewise are the place, 0 left or top to 1, 0.5 the middle.
    """

    min_zoom: float = 1.0
    max_zoom: float = 1.1
    p: float = 0.5
    draw: Draw = None
    draw_x: Draw = None
    draw_y: Draw = None
    size: int | Size | None = None
    pad_mode: PadMode = "reflection"

    def __post_init__(self) -> None:
        super().__post_init__()
        _finite("max_zoom", self.max_zoom)
        if not 0 < self.min_zoom <= self.max_zoom:
            raise ArgumentError(
                f"min_zoom is {self.min_zoom} and max_zoom {self.max_zoom}; expected 0 < min_zoom <= max_zoom"
            )

    def _drawn_maps(self, sizes: Sizes, chosen: Chosen, rng: Rng) -> Maps:
        count = len(sizes)
        scale = _drawn(self.draw, count, lambda: rng.uniform(self.min_zoom, self.max_zoom, count))
        x, y = (_drawn(each, count, lambda: rng.random(count)) for each in (self.draw_x, self.draw_y))
        return geometry.zoom(np.where(chosen, scale, 1.0), x, y)

    def _max_magnification(self) -> float | None:
        if callable(self.draw):
            return None
        return max(1.0, self.max_zoom if self.draw is None else self.draw)


@dataclass(frozen=True)
class Warp(_Padded):
    """Tilted as if seen from another side, by up to `magnitude`, with probability `p`.

    `draw_x` and `draw_y` are how far the corners move, in half sides, below 1 together; or functions
    from the number of pictures to one for each.
    """

    magnitude: float = 0.2
    p: float = 0.5
    draw_x: Draw = None
    draw_y: Draw = None
    size: int | Size | None = None
    pad_mode: PadMode = "reflection"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.magnitude < 1:
            raise ArgumentError(
                f"magnitude is {self.magnitude!r}; expected 0 or more, below 1", try_="Warp(0.2)"
            )

    def _drawn_maps(self, sizes: Sizes, chosen: Chosen, rng: Rng) -> Maps:
        count = len(sizes)
        x, y = (
            np.where(chosen, _drawn(each, count, lambda: self.magnitude * rng.uniform(-1, 1, count)), 0.0)
            for each in (self.draw_x, self.draw_y)
        )
        if self.draw_x is None or self.draw_y is None:
            # Corners that would meet are kept apart; a horizon that is still in view is drawn again.
            shrink = np.minimum(1, 0.95 / np.maximum(np.abs(x) + np.abs(y), 1e-12))
            x, y = x * shrink, y * shrink
        return geometry.warp(x, y)

    def _max_magnification(self) -> float | None:
        moved = 0.0
        for draw in (self.draw_x, self.draw_y):
            if callable(draw):
                return None
            moved = max(moved, abs(self.magnitude if draw is None else draw))
        # Near corners come closer than this, at 0.2 by 1.8, and far ones go; the mean of all is 1 or more.
        return 1 / max(1 - moved, 0.01)


@dataclass(frozen=True)
class CropPad(Geometric):
    """A part of `size` at the picture's own scale, cut where it is larger, padded where it is smaller.

    In training it is at a random place, in validation in the middle.
    """

    size: int | Size
    pad_mode: PadMode = "zeros"

    def __post_init__(self) -> None:
        _checked_size(self.size)
        _checked_pad_mode(self.pad_mode)

    def beyond(self, before: PadMode | None) -> PadMode | None:
        return self.pad_mode

    def maps_for(self, sizes: Sizes, rng: Rng, *, train: bool) -> tuple[Maps, Size | None]:
        if not train:
            return self.valid_maps(sizes)
        height, width = _checked_size(self.size)
        h, w = height / sizes[:, 0], width / sizes[:, 1]
        x, y = rng.random((2, len(sizes)))
        return geometry.crop(x * (1 - w), y * (1 - h), w, h), (height, width)

    def valid_window(self, height: Any, width: Any) -> tuple[Any, Any, Size | None]:
        size = _checked_size(self.size)
        return size[1] / width, size[0] / height, size

    def min_downscale(self, size: Size, *, train: bool) -> tuple[float, Size]:
        return 1.0, _checked_size(self.size)


@dataclass(frozen=True)
class ReadAs(Transform):
    """Pixels are read by this kernel: "cubic", the sharpest, "bilinear", or "nearest"."""

    mode: Mode

    order: ClassVar[int] = 0

    def __post_init__(self) -> None:
        if self.mode not in ("cubic", "bilinear", "nearest"):
            raise ArgumentError(f"mode is {self.mode!r}; expected 'cubic', 'bilinear' or 'nearest'")

    def on_batch(
        self, batch: tuple[Any, ...], blocks: Sequence[Block], rng: Rng, *, train: bool
    ) -> tuple[Any, ...]:
        from plainlearn.augment.pending import PendingImage  # which needs torch

        return tuple(
            replace(each, mode=self.mode) if isinstance(each, PendingImage) else each for each in batch
        )


def min_downscale(transforms: Sequence[Transform], size: Size, *, train: bool) -> float:
    """How closely they can look at a picture of `size` (height, width), whatever they draw: pixels for one of the outcome.

    So a JPEG may be decoded smaller. 1 where it is not known, as for transforms of a person's own.

    >>> min_downscale([Resize(460), Flip()], (3000, 4000), train=True)
    6.521739130434782
    """
    footprint = 1.0
    for transform in transforms:
        if not isinstance(transform, Geometric):
            continue
        kind = type(transform)
        inherited = (
            kind.min_downscale.__module__ != kind.__module__
        )  # what inherits from ours may draw anything
        known = None if inherited else transform.min_downscale(size, train=train)
        if known is None:
            return 1.0
        footprint, size = footprint * known[0], known[1]
    return footprint


def decode_for(
    transforms: Sequence[Transform], decoder: ImageDecoder, value: Any, *, train: bool
) -> Pixels | ScaledJpeg:
    """A picture decoded for the transforms to come: of a JPEG no more than they can make seen.

    All of it where there are none to come, and where the decoder is to decode all.
    """
    if not transforms or decoder.full_decode or decoder.mode is None:
        return decoder(value)
    return decoder(value, lambda frame: scale_for(min_downscale(transforms, frame.size, train=train)))


def decoded_frame(thing: Pixels | ScaledJpeg) -> tuple[Pixels, Size, Maps]:
    """A decoded picture as (H, W, C), the (height, width) of all of it, and the map of where that lies in the pixels."""
    if isinstance(thing, ScaledJpeg):
        maps = geometry.scaled_jpeg_crop(*thing.frame, thing.scale, thing.pixels.shape)
        pixels, frame = thing.pixels, thing.frame.size
    else:
        pixels, frame, maps = thing, (thing.shape[0], thing.shape[1]), geometry.identity()
    return (pixels if pixels.ndim == 3 else pixels[:, :, None]), frame, maps


def _fitted(height: Any, width: Any, size: Size, method: FitMethod) -> tuple[Any, Any, Size]:
    """What `valid_window` says of a picture that is brought to `size` by this method."""
    return *geometry.fit_window((size[1] / size[0]) * (height / width), method), size


def _checked_size(size: Any) -> Size:
    pair = cast("Sequence[Any]", size if isinstance(size, (tuple, list)) else (size, size))
    if len(pair) != 2 or any(
        isinstance(side, bool) or not isinstance(side, (int, np.integer)) or side < 1 for side in pair
    ):
        raise ArgumentError(
            f"size is {size!r}; expected a number of pixels, or (height, width)", try_="Resize(224)"
        )
    return int(pair[0]), int(pair[1])


def _checked_pad_mode(mode: str) -> None:
    if mode not in ("zeros", "border", "reflection"):
        raise ArgumentError(
            f"pad_mode is {mode!r}; expected 'zeros', 'border' or 'reflection'", try_="pad_mode='reflection'"
        )


def _drawn(given: Draw, count: int, otherwise: Callable[[], Any]) -> NDArray[np.float64]:
    value: Any = otherwise() if given is None else given(count) if callable(given) else given
    return np.broadcast_to(np.asarray(value, dtype=np.float64).reshape(-1), (count,))


def _finite(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise ArgumentError(f"{name} is {value!r}; expected a finite number")
