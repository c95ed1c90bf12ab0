"""What a model file may name: the transforms, blocks and architectures that plainlearn itself can make."""

from __future__ import annotations

from typing import Any, Final, cast

import torch
from torch import nn

from plainlearn.augment import transforms
from plainlearn.augment.lighting import Normalize
from plainlearn.augment.transforms import ReadAs
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, PlainlearnError
from plainlearn.data.blocks import Block, CategoryBlock, MultiCategoryBlock, RegressionBlock
from plainlearn.inference.modelfile import ModelFile
from plainlearn.inference.serialize import Kind, Registry, checked_fields, from_plain, kinds
from plainlearn.models.model import Recipe, model_from
from plainlearn.models.unet import unet_from
from plainlearn.models.weights import Expects, differences
from plainlearn.vision.blocks import ImageBlock, MaskBlock
from plainlearn.vision.point_block import PointBlock

_IMAGE: Final = ("mode", "background", "channels", "value_range", "full_decode")  # of the block's `spec`

#: Of transforms, those that can act in validation.
KNOWN: Final[Registry] = {
    **kinds(transforms.Resize, transforms.RandomResizedCrop, transforms.CropPad, transforms.Flip, transforms.Dihedral,
            transforms.Rotate, transforms.Zoom, transforms.Warp, ReadAs, Normalize),
    "ImageBlock": Kind(ImageBlock, {name: f"spec.{name}" for name in _IMAGE}),
    "CategoryBlock": Kind(CategoryBlock, {"vocab": "classes", "sort": "spec.sort", "add_na": "spec.add_na"}),
    "MultiCategoryBlock": Kind(MultiCategoryBlock, {"vocab": "classes"}),
    "RegressionBlock": Kind(RegressionBlock, {"n_out": "n_out"}),
    "MaskBlock": Kind(MaskBlock, {"codes": "codes", "values": "values"}),
    "PointBlock": Kind(PointBlock, {"n_points": "n_points"}),
}  # fmt: skip


def target_of(file: ModelFile) -> Block:
    """The block of the target."""
    block = from_plain(file.target, KNOWN)
    if not isinstance(block, Block):
        raise DataError(f"its target is {type(block).__name__}, which is no block")
    return block


def model_of(file: ModelFile, custom: Any = None) -> nn.Module:
    """The model in the file, with its weights. `custom` makes one of the user's own: a class, a function or the model.

    Raises `DataError` when the weights do not fit, before any memory is taken for a model of another size;
    `ArgumentError` when the model is the user's own and `custom` is not given.
    """
    given = file.architecture
    if set(given) == {"custom"}:
        if custom is None:
            raise ArgumentError(
                f"its model is of a class of the user's own, {given['custom']!s:.200}; a model file holds no code, "
                "so the class has to be given",
                try_="model=TheClass, or model=lambda: TheClass(its arguments)",
            )
        model: Any = custom if isinstance(custom, nn.Module) else custom()
        if not isinstance(model, nn.Module):
            raise ArgumentTypeError(f"model= gave {type(model).__name__}; expected an nn.Module")
    else:
        if custom is not None:
            raise ArgumentError(
                "model= is for a class of the user's own, and plainlearn knows this model", try_="no model="
            )
        if set(given) != {"recipe", "expects"}:
            raise DataError(f"its architecture says {sorted(map(str, given))}; expected how it is built")
        recipe = Recipe(**checked_fields(given["recipe"], Recipe, "architecture"))
        expects = given["expects"]
        expects = (
            None if expects is None else Expects(**checked_fields(expects, Expects, "weights' description"))
        )
        built = unet_from if recipe.head == "unet" else model_from
        try:
            with torch.device("meta"):  # no memory yet: what is said must fit what is there
                _refuse(built(recipe), file)
            model = built(recipe)
            model.expects = expects
        except DataError:
            raise
        except (PlainlearnError, RuntimeError, ValueError, TypeError) as error:
            raise DataError(f"its model cannot be built: {error}") from error
    _refuse(model, file)
    model.load_state_dict(file.weights)
    aside = dict(model.named_buffers())
    with torch.no_grad():
        for name, value in file.aside.items():
            if name in aside and aside[name].shape == value.shape:
                aside[name].copy_(value)
    return cast("nn.Module", model)


def _refuse(model: nn.Module, file: ModelFile) -> None:
    if difference := differences(model.state_dict(), file.weights):
        raise DataError(f"its weights do not fit {type(model).__name__}: {difference}")
