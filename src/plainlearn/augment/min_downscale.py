"""How closely a sample's transforms can look at its picture, whatever they draw: what can be left out without loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

from plainlearn.augment.geometry import Size
from plainlearn.augment.transforms import (
    CropPad,
    Dihedral,
    Flip,
    Geometric,
    RandomResizedCrop,
    Resize,
    Rotate,
    Warp,
    Zoom,
)
from plainlearn.data.transform import Transform

__all__ = ["min_downscale"]

_KNOWN = (CropPad, Dihedral, Flip, RandomResizedCrop, Resize, Rotate, Warp, Zoom)


def min_downscale(transforms: Sequence[Transform], size: Size, *, train: bool) -> float:
    """How many pixels of a picture of `size` (height, width) one pixel of the outcome spans at least, along a side.

    Of a warped picture on the average. 1 where it is not known, as for transforms of a person's own.

    >>> min_downscale([Resize(460), Flip()], (3000, 4000), train=True)
    6.521739130434782
    """
    footprint = 1.0
    for transform in transforms:
        if not isinstance(transform, Geometric):
            continue
        known = _spanned(transform, size, train=train)
        if known is None:
            return 1.0
        footprint, size = footprint * known[0], known[1]
    return footprint


def _spanned(transform: Geometric, size: Size, *, train: bool) -> tuple[float, Size] | None:
    """The least footprint of one transform, and the size that comes out; None if it is not known."""
    if type(transform) not in _KNOWN:  # what inherits from ours may do anything
        return None
    given = getattr(transform, "size", None)
    wanted = size if given is None else _pair(given)
    height, width = size
    if isinstance(transform, CropPad):
        return 1.0, wanted
    if isinstance(transform, RandomResizedCrop) and train:
        height, width = _smallest_crop(transform, height, width)
    down, across = height / wanted[0], width / wanted[1]
    if isinstance(transform, Resize) and transform.method == "pad":
        return max(down, across), wanted
    if isinstance(transform, Dihedral) and train:  # which may swap the sides
        return min(size) / max(wanted), wanted
    enlarged = _enlarged(transform) if train else 1.0
    return None if enlarged is None else (min(down, across) / enlarged, wanted)


def _smallest_crop(transform: RandomResizedCrop, height: float, width: float) -> tuple[float, float]:
    """The least height and width that it can draw, though not both at once."""
    narrow, wide = transform.ratio
    area = transform.min_scale * height * width
    # What it takes where none of its tries fits.
    ratio = min(max(width / height, narrow), wide)
    return (
        min(math.sqrt(area / wide), height, width / ratio),
        min(math.sqrt(area * narrow), width, height * ratio),
    )


def _enlarged(transform: Geometric) -> float | None:
    """How many times larger it can show a part; None if a function of somebody's own says so."""
    if isinstance(transform, Zoom):
        if callable(transform.draw):
            return None
        return max(1.0, transform.max_zoom if transform.draw is None else transform.draw)
    if isinstance(transform, Warp):
        moved = 0.0
        for draw in (transform.draw_x, transform.draw_y):
            if callable(draw):
                return None
            moved = max(moved, abs(transform.magnitude if draw is None else draw))
        # Near corners come closer than this, at 0.2 by 1.8, and far ones go; the mean of all is 1 or more.
        return 1 / max(1 - moved, 0.01)
    return 1.0


def _pair(size: int | Size) -> Size:
    return (int(size[0]), int(size[1])) if isinstance(size, (tuple, list)) else (int(size), int(size))
