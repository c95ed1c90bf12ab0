"""The usual augmentations as one list, and the order in which they make sense."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from plainlearn.core.errors import ArgumentError
from plainlearn.data.transform import Transform
from plainlearn.vision.geometry import FitMethod
from plainlearn.vision.lighting import Brightness, Contrast, Normalize
from plainlearn.vision.placed import Size
from plainlearn.vision.sampling_kernel import PadMode
from plainlearn.vision.transforms import (
    Dihedral,
    Flip,
    Geometric,
    RandomResizedCrop,
    Resize,
    Rotate,
    Warp,
    Zoom,
)


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
    xtra_tfms: Sequence[Transform] | None = None,
    size: int | Size | None = None,
    pad_mode: PadMode = "reflection",
    min_scale: float = 1.0,
    method: FitMethod = "crop",
) -> list[Transform]:
    """Batch transforms that are right for most photos: flip, turn, zoom, tilt, light; each picture its own.

    `mult` makes all of them stronger or weaker. `size` brings the batch to that size in the same
    reading, and `min_scale` below 1 takes a random part of at least that area first (training only). `flip_vert`
    also turns pictures upside down, for views from above. A magnitude of 0 leaves a transform out.
    """
    if mult < 0:
        raise ArgumentError(f"mult is {mult}; expected 0 or more", try_="mult=1.0")
    chosen: list[Transform] = []
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
        chosen.append(Warp(min(max_warp * mult, 0.95), p_affine, pad_mode))
    if max_rotate * mult:
        chosen.append(Rotate(max_rotate * mult, p_affine, pad_mode))
    if min_zoom != 1 or max_zoom != 1:
        low, high = 1 + (min_zoom - 1) * mult, 1 + (max_zoom - 1) * mult
        chosen.append(Zoom(max(low, 0.05), high, p_affine, pad_mode))
    if max_lighting * mult:
        strength = min(max_lighting * mult, 0.95)
        chosen += [Brightness(strength, p_lighting), Contrast(strength, p_lighting)]
    return setup_aug_tfms([*chosen, *(xtra_tfms or ())])


def setup_aug_tfms(tfms: Iterable[Transform]) -> list[Transform]:
    """The transforms in an order in which each can act: maps, light, pixels, normalisation.

    Nothing is merged here, because there is nothing to merge: maps compose however many there are, and
    the pixels are read once. Within a stage the given order stays.
    """
    return sorted(tfms, key=_stage)


def _stage(transform: Transform) -> int:
    if isinstance(transform, Geometric):
        return 0
    if isinstance(transform, (Brightness, Contrast)):
        return 1
    return 3 if isinstance(transform, Normalize) else 2


class Pipeline:
    """Transforms in a row, for trying them on a batch by hand: `Pipeline(aug_transforms())(images)`."""

    def __init__(self, transforms: Any) -> None:
        from plainlearn.data.transform import as_transforms

        self.transforms = as_transforms(transforms, "transforms")

    def __call__(self, images: Any, *, seed: int | None = None) -> Any:
        """The images (N, C, H, W) uint8, or floats 0..1, transformed as a training batch and finished as floats."""
        from plainlearn.vision.blocks import ImageBlock

        block, rng = ImageBlock(), np.random.default_rng(seed)
        batch: tuple[Any, ...] = (block.begin_batch(images),)
        for transform in self.transforms:
            batch = transform.on_batch(batch, (block,), rng, train=True)
        return block.to_model(batch[0])

    def __repr__(self) -> str:
        return f"Pipeline: {' -> '.join(map(repr, self.transforms))}"
