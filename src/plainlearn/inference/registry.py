"""What a model file may name: the transforms that can act in validation, and the halves of blocks without torch."""

from __future__ import annotations

from typing import Any, Final

from plainlearn.augment import transforms
from plainlearn.augment.lighting import Normalize
from plainlearn.core.errors import DataError
from plainlearn.data.target_specs import (
    CategorySpec,
    MaskSpec,
    MultiCategorySpec,
    PointSpec,
    RegressionSpec,
    TargetSpec,
)
from plainlearn.images.image_decoder import ImageDecoder
from plainlearn.inference.serialize import Kind, Registry, from_plain, kinds

__all__ = ["KINDS", "target_of"]

#: By the names that files have for them: of a spec, that of its block.
KINDS: Final[Registry] = {
    **kinds(transforms.Resize, transforms.RandomResizedCrop, transforms.CropPad, transforms.Flip, transforms.Dihedral,
            transforms.Rotate, transforms.Zoom, transforms.Warp, transforms.ReadAs, Normalize),
    "ImageBlock": Kind(ImageDecoder, ("mode", "background", "channels", "value_range", "full_decode")),
    "CategoryBlock": Kind(CategorySpec, ("vocab", "sort", "add_na")),
    "MultiCategoryBlock": Kind(MultiCategorySpec, ("vocab",)),
    "RegressionBlock": Kind(RegressionSpec, ("n_out",)),
    "MaskBlock": Kind(MaskSpec, ("codes", "values")),
    "PointBlock": Kind(PointSpec, ("n_points",)),
}  # fmt: skip

_TARGETS: Final = (CategorySpec, MultiCategorySpec, RegressionSpec, MaskSpec, PointSpec)


def target_of(plain: Any) -> TargetSpec:
    """What a model file says of its target. Raises `DataError` for what is none."""
    found = from_plain(plain, KINDS)
    if not isinstance(found, _TARGETS):
        raise DataError(f"its target is {type(found).__name__}, which is no block of a target")
    return found
