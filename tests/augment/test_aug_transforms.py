"""The usual augmentations: each argument is used, and the order is one that works."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from plainlearn.augment.aug_transforms import aug_transforms, setup_aug_tfms
from plainlearn.augment.lighting import Brightness, Contrast, Hue, Normalize
from plainlearn.augment.transforms import (
    CropPad,
    Dihedral,
    Flip,
    RandomResizedCrop,
    ReadAs,
    Resize,
    Rotate,
    Warp,
    Zoom,
)
from plainlearn.core.errors import ArgumentError, ArgumentTypeError
from plainlearn.course.tensor_image import Pipeline


def test_the_default_list() -> None:
    assert aug_transforms() == [
        Flip(0.5), Warp(0.2, 0.75), Rotate(10.0, 0.75), Zoom(1.0, 1.1, 0.75), Brightness(0.2, 0.75), Contrast(0.2, 0.75),
    ]  # fmt: skip


@pytest.mark.parametrize("settings, wanted", [
    ({"mult": 2.0}, Rotate(20.0, 0.75)),
    ({"mult": 2.0}, Zoom(1.0, 1.2000000000000002, 0.75)),
    ({"mult": 2.0}, Contrast(0.4, 0.75)),
    ({"flip_vert": True}, Dihedral(1.0)),
    ({"max_rotate": 33.0}, Rotate(33.0, 0.75)),
    ({"min_zoom": 0.9, "max_zoom": 1.5}, Zoom(0.9, 1.5, 0.75)),
    ({"max_lighting": 0.4}, Brightness(0.4, 0.75)),
    ({"max_warp": 0.3}, Warp(0.3, 0.75)),
    ({"p_affine": 0.1}, Rotate(10.0, 0.1)),
    ({"p_lighting": 0.1}, Contrast(0.2, 0.1)),
    ({"xtra_tfms": [Hue()]}, Hue()),
    ({"size": 9}, Resize(9)),
    ({"size": (9, 7)}, Resize((9, 7))),
    ({"size": 9, "method": "squish"}, Resize(9, "squish")),
    ({"size": 9, "min_scale": 0.5}, RandomResizedCrop(9, 0.5)),
    ({"pad_mode": "zeros"}, Rotate(10.0, 0.75, pad_mode="zeros")),
    ({"mode": "bilinear"}, ReadAs("bilinear")),
])  # fmt: skip
def test_every_argument_is_used(settings: Any, wanted: Any) -> None:
    assert wanted in aug_transforms(**settings)
    assert wanted not in aug_transforms()


def test_a_magnitude_of_0_leaves_its_transform_out() -> None:
    assert aug_transforms(do_flip=False, max_rotate=0, max_zoom=1.0, max_lighting=0, max_warp=0) == []
    assert not {Rotate, Warp, Brightness, Contrast} & {type(each) for each in aug_transforms(mult=0)}


@pytest.mark.parametrize("settings, said", [
    ({"min_scale": 0.5}, "needs the size"),
    ({"mult": -1.0}, "mult is -1.0"),
    ({"mult": float("nan")}, "mult is nan"),
    ({"size": 9, "min_scale": 0.5, "method": "pad"}, "one of them would be ignored"),
    ({"mode": "sharp"}, "mode is 'sharp'"),
])  # fmt: skip
def test_arguments_that_contradict_are_refused(settings: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        aug_transforms(**settings)


def test_the_order_is_geometry_light_pixels_normalisation() -> None:
    normalize = Normalize((0.5,), (0.5,))
    mixed = [normalize, Hue(), Contrast(), Rotate(), Brightness(), Flip()]
    assert setup_aug_tfms(mixed) == [Rotate(), Flip(), Contrast(), Brightness(), Hue(), normalize]


def test_bilinear_reading_is_softer_than_cubic() -> None:
    images = torch.rand(1, 3, 32, 32)
    sharp, soft = (
        Pipeline([ReadAs(mode), Zoom(draw=1.3, p=1.0)])(images, seed=0) for mode in ("cubic", "bilinear")
    )
    assert sharp.std() > soft.std() * 1.05


def test_the_function_itself_in_place_of_its_transforms_is_explained() -> None:
    function: Any = aug_transforms
    with pytest.raises(
        ArgumentTypeError, match=r"(?s)mult is tuple .*\n  Try aug_transforms\(\), with brackets"
    ):
        function((torch.zeros(1, 3, 4, 4),))


def test_one_more_transform_needs_no_list_and_what_is_none_is_named() -> None:
    assert aug_transforms(xtra_tfms=Hue(0.1)) == aug_transforms(xtra_tfms=[Hue(0.1)])
    assert Hue(0.1) in aug_transforms(xtra_tfms=Hue(0.1))
    with pytest.raises(ArgumentTypeError, match="xtra_tfms has 3; expected transforms"):
        aug_transforms(xtra_tfms=3)


def test_a_pad_mode_that_is_none_is_refused_when_it_is_said() -> None:
    wrong: Any = "wrap"
    for make in (
        lambda: Resize(4, "pad", pad_mode=wrong),
        lambda: CropPad(4, pad_mode=wrong),
        lambda: Rotate(pad_mode=wrong),
        lambda: aug_transforms(pad_mode=wrong),
    ):
        with pytest.raises(
            ArgumentError, match="pad_mode is 'wrap'; expected 'zeros', 'border' or 'reflection'"
        ):
            make()
