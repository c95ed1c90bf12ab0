"""The usual augmentations as one list, and the order in which they make sense."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any

from plainlearn.augment.geometry import FitMethod, Size
from plainlearn.augment.lighting import Brightness, Contrast
from plainlearn.augment.sampling.kernel import Mode, PadMode
from plainlearn.augment.transforms import (
    Dihedral,
    Flip,
    RandomResizedCrop,
    ReadAs,
    Resize,
    Rotate,
    Warp,
    Zoom,
)
from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError
from plainlearn.data.transform import Transform, as_transforms


def aug_transforms(
    mult: float = 1.0,
    do_flip: bool = True,
    flip_vert: bool = False,
    max_rotate: float = 10.0,
    min_zoom: float = 1.0,
    max_zoom: float = 1.1,
    max_lighting: float = 0.2,
    max_warp: float = 0.2,
    p_affine: float = 0.75,
    p_lighting: float = 0.75,
    xtra_tfms: Any = None,
    size: int | Size | None = None,
    pad_mode: PadMode = "reflection",
    min_scale: float = 1.0,
    method: FitMethod = "crop",
    mode: Mode = "cubic",
) -> list[Transform]:
    """Batch transforms that are right for most photos: flip, turn, zoom, tilt, light; each picture its own.

    `mult` makes all of them stronger or weaker. `size` brings the batch to that size in the same
    reading, and `min_scale` below 1 takes a random part of at least that area first (training only). `flip_vert`
    also turns pictures upside down, for views from above. A magnitude of 0 leaves a transform out. `xtra_tfms`
    are more transforms, one or several.
    `mode` is how pixels are read: "cubic", or "bilinear", which is cheaper and softer.
    """
    if not isinstance(mult, Real):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(
            f"mult is {describe(mult)}; expected a number",
            try_="aug_transforms(), with brackets: it makes the transforms, and is none",
        )
    if not 0 <= mult < math.inf:
        raise ArgumentError(f"mult is {mult}; expected 0 or more", try_="mult=1.0")
    if min_scale < 1 and method != "crop":
        raise ArgumentError(
            f"method={method!r} says how the whole picture is fitted, and min_scale={min_scale} takes a part of it; "
            "one of them would be ignored",
            try_="min_scale=1.0",
        )
    chosen: list[Transform] = [] if mode == "cubic" else [ReadAs(mode)]
    if size is not None:
        chosen.append(RandomResizedCrop(size, min_scale) if min_scale < 1 else Resize(size, method))
    elif min_scale < 1:
        raise ArgumentError(
            f"min_scale={min_scale} takes a part of the picture and needs the size to bring it to",
            try_="size=224",
        )
    if do_flip:
        chosen.append(Dihedral(p=1.0) if flip_vert else Flip(p=0.5))
    if max_warp * mult:
        chosen.append(Warp(min(max_warp * mult, 0.95), p_affine, pad_mode=pad_mode))
    if max_rotate * mult:
        chosen.append(Rotate(max_rotate * mult, p_affine, pad_mode=pad_mode))
    if min_zoom != 1 or max_zoom != 1:
        low, high = 1 + (min_zoom - 1) * mult, 1 + (max_zoom - 1) * mult
        chosen.append(Zoom(max(low, 0.05), high, p_affine, pad_mode=pad_mode))
    if max_lighting * mult:
        strength = min(max_lighting * mult, 0.95)
        chosen += [Brightness(strength, p_lighting), Contrast(strength, p_lighting)]
    return setup_aug_tfms([*chosen, *as_transforms(xtra_tfms, "xtra_tfms")])


def setup_aug_tfms(tfms: Iterable[Transform]) -> list[Transform]:
    """The transforms in an order in which each can act: maps, light, pixels, normalisation.

    Nothing is merged here, because there is nothing to merge: maps compose however many there are, and
    the pixels are read once. Within a stage the given order stays.
    """
    return sorted(tfms, key=lambda transform: transform.order)
