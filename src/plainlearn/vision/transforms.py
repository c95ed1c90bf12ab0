"""Geometric transforms: each draws a map a picture, and touches no pixel.

All of them act on items (`item_tfms`) and on batches (`batch_tfms`) alike. One draw serves a whole sample:
its image, its mask, its points and boxes. In validation, what is random takes its middle.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from plainlearn.core.errors import ArgumentError
from plainlearn.data.blocks import Block
from plainlearn.data.transform import Transform
from plainlearn.vision import geometry
from plainlearn.vision.geometry import FitMethod, Maps
from plainlearn.vision.placed import Placed, Size, frame_of
from plainlearn.vision.sampling_kernel import PadMode

Rng = np.random.Generator
Sizes = NDArray[np.int64]
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

    @abstractmethod
    def draw(self, sizes: Sizes, rng: Rng, *, train: bool) -> tuple[Maps, Size | None]:
        """Maps (N, 3, 3) for pictures of `sizes` (N, 2), and the output's size if it changes."""

    #: What lies beyond the picture, where this transform can show it.
    beyond: ClassVar[PadMode | None] = None

    def on_items(
        self, things: tuple[Any, ...], blocks: Sequence[Block], rng: Rng, *, train: bool
    ) -> tuple[Any, ...]:
        return self._moved(things, rng, train=train)

    def on_batch(
        self, batch: tuple[Any, ...], blocks: Sequence[Block], rng: Rng, *, train: bool
    ) -> tuple[Any, ...]:
        return self._moved(batch, rng, train=train)

    def _moved(self, fields: tuple[Any, ...], rng: Rng, *, train: bool) -> tuple[Any, ...]:
        frame = frame_of(fields)
        sizes = frame.sizes()
        maps, size = self.draw(sizes, rng, train=train)
        bad = geometry.crosses_horizon(geometry.compose(frame.maps, maps))
        for attempt in range(_REDRAWS):
            if not bad.any():
                break
            again = geometry.identity() if attempt == _REDRAWS - 1 else self.draw(sizes, rng, train=train)[0]
            maps = np.where(bad[:, None, None], again, maps)
            bad = geometry.crosses_horizon(geometry.compose(frame.maps, maps))
        pad = getattr(self, "pad_mode", None) or self.beyond
        return tuple(field.then(maps, size, pad) if isinstance(field, Placed) else field for field in fields)


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
        if self.method not in ("crop", "pad", "squish"):
            raise ArgumentError(
                f"method is {self.method!r}; expected 'crop', 'pad' or 'squish'", try_="method='squish'"
            )

    def draw(self, sizes: Sizes, rng: Rng, *, train: bool) -> tuple[Maps, Size | None]:
        size = _checked_size(self.size)
        x, y = (
            (rng.random((2, len(sizes))) if train else np.full((2, len(sizes)), 0.5))
            if self.method != "squish"
            else (0.5, 0.5)
        )
        return geometry.fit(sizes, size, self.method, x=x, y=y), size


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

    def draw(self, sizes: Sizes, rng: Rng, *, train: bool) -> tuple[Maps, Size | None]:
        size = _checked_size(self.size)
        if not train:
            return geometry.fit(sizes, size, "crop"), size
        count, tries = len(sizes), 10
        height, width = sizes[:, 0, None].astype(float), sizes[:, 1, None].astype(float)
        area = rng.uniform(self.min_scale, self.max_scale, (count, tries)) * height * width
        ratio = np.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1]), (count, tries)))
        w, h = np.sqrt(area * ratio) / width, np.sqrt(area / ratio) / height
        fits = (w <= 1) & (h <= 1)
        first, rows = fits.argmax(axis=1), np.arange(count)
        w, h = w[rows, first], h[rows, first]
        # Where none of the tries fits, what fits is the whole picture cut to the nearest allowed proportions.
        whole = np.clip(width[:, 0] / height[:, 0], *self.ratio) * height[:, 0] / width[:, 0]
        none = ~fits.any(axis=1)
        w, h = np.where(none, np.minimum(whole, 1), w), np.where(none, np.minimum(1 / whole, 1), h)
        x, y = rng.random((2, count))
        return geometry.crop(x * (1 - w), y * (1 - h), w, h), size


@dataclass(frozen=True)
class _Random(Geometric):
    """A transform that acts on a share `p` of the pictures, in training only."""

    split_idx: ClassVar[int | None] = 0

    def chosen(self, count: int, rng: Rng, p: float) -> NDArray[np.bool_]:
        return rng.random(count) < p


@dataclass(frozen=True)
class Flip(_Random):
    """Mirrored left to right, with probability `p`; `vertical=True` top to bottom."""

    p: float = 0.5
    vertical: bool = False

    def draw(self, sizes: Sizes, rng: Rng, *, train: bool) -> tuple[Maps, Size | None]:
        flipped = self.chosen(len(sizes), rng, self.p)
        return (geometry.flip(False, flipped) if self.vertical else geometry.flip(flipped)), None


@dataclass(frozen=True)
class Dihedral(_Random):
    """One of the eight symmetries of the square, with probability `p`: for pictures without an up, seen from above."""

    p: float = 0.5

    def draw(self, sizes: Sizes, rng: Rng, *, train: bool) -> tuple[Maps, Size | None]:
        symmetry = np.where(self.chosen(len(sizes), rng, self.p), rng.integers(0, 8, len(sizes)), 0)
        return geometry.dihedral(symmetry), None


@dataclass(frozen=True)
class Rotate(_Random):
    """Turned by up to `max_deg` degrees either way, with probability `p`, or by what `draw` says."""

    max_deg: float = 10.0
    p: float = 0.5
    pad_mode: PadMode = "reflection"
    draw_degrees: Draw = None

    def draw(self, sizes: Sizes, rng: Rng, *, train: bool) -> tuple[Maps, Size | None]:
        count = len(sizes)
        degrees = _drawn(self.draw_degrees, count, lambda: rng.uniform(-self.max_deg, self.max_deg, count))
        degrees = np.where(self.chosen(count, rng, self.p), degrees, 0.0)
        return geometry.rotate(degrees, sizes[:, 1] / sizes[:, 0]), None


@dataclass(frozen=True)
class Zoom(_Random):
    """Magnified by `min_zoom` to `max_zoom` at a random place, with probability `p`."""

    min_zoom: float = 1.0
    max_zoom: float = 1.1
    p: float = 0.5
    pad_mode: PadMode = "reflection"
    draw_scale: Draw = None

    def draw(self, sizes: Sizes, rng: Rng, *, train: bool) -> tuple[Maps, Size | None]:
        count = len(sizes)
        scale = _drawn(self.draw_scale, count, lambda: rng.uniform(self.min_zoom, self.max_zoom, count))
        scale = np.where(self.chosen(count, rng, self.p), scale, 1.0)
        x, y = rng.random((2, count))
        return geometry.zoom(scale, x, y), None


@dataclass(frozen=True)
class Warp(_Random):
    """Tilted as if seen from another side, by up to `magnitude`, with probability `p`."""

    magnitude: float = 0.2
    p: float = 0.5
    pad_mode: PadMode = "reflection"
    draw_x: Draw = None
    draw_y: Draw = None

    def draw(self, sizes: Sizes, rng: Rng, *, train: bool) -> tuple[Maps, Size | None]:
        count = len(sizes)
        x, y = (
            _drawn(each, count, lambda: rng.uniform(-self.magnitude, self.magnitude, count))
            for each in (self.draw_x, self.draw_y)
        )
        tilted = self.chosen(count, rng, self.p)
        x, y = np.where(tilted, x, 0.0), np.where(tilted, y, 0.0)
        # Corners that would meet are pulled apart; a horizon that is still in view is drawn again.
        shrink = np.minimum(1, 0.95 / np.maximum(np.abs(x) + np.abs(y), 1e-12))
        return geometry.warp(x * shrink, y * shrink), None


@dataclass(frozen=True)
class CropPad(Geometric):
    """The middle `size` of the picture at its own scale, cut where it is larger, padded where it is smaller."""

    size: int | Size
    pad_mode: PadMode = "zeros"

    def draw(self, sizes: Sizes, rng: Rng, *, train: bool) -> tuple[Maps, Size | None]:
        height, width = _checked_size(self.size)
        h, w = height / sizes[:, 0], width / sizes[:, 1]
        x, y = rng.random((2, len(sizes))) if train else np.full((2, len(sizes)), 0.5)
        return geometry.crop(x * (1 - w), y * (1 - h), w, h), (height, width)


def _checked_size(size: Any) -> Size:
    pair = cast("Sequence[Any]", size if isinstance(size, (tuple, list)) else (size, size))
    if len(pair) != 2 or any(
        isinstance(side, bool) or not isinstance(side, (int, np.integer)) or side < 1 for side in pair
    ):
        raise ArgumentError(
            f"size is {size!r}; expected a number of pixels, or (height, width)", try_="Resize(224)"
        )
    return int(pair[0]), int(pair[1])


def _drawn(given: Draw, count: int, otherwise: Callable[[], Any]) -> NDArray[np.float64]:
    value: Any = otherwise() if given is None else given(count) if callable(given) else given
    return np.broadcast_to(np.asarray(value, dtype=np.float64).reshape(-1), (count,))
