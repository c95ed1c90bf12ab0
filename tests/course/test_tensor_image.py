"""Images changed step by step, as the course shows what that costs beside reading them once."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from plainlearn.augment.aug_transforms import setup_aug_tfms
from plainlearn.augment.lighting import Hue, Normalize
from plainlearn.augment.transforms import Flip, Rotate, Warp, Zoom
from plainlearn.core.errors import ShapeError
from plainlearn.course.tensor_image import Pipeline, TensorImage

IMAGES = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255


def test_the_course_s_comparison_runs_and_one_reading_keeps_more() -> None:
    x = TensorImage(IMAGES.clone())
    x1 = (
        x.affine_coord(sz=24)
        .rotate(draw=30, p=1.0)
        .zoom(draw=1.2, p=1.0)
        .warp(draw_x=-0.2, draw_y=0.2, p=1.0)
    )
    tfms = setup_aug_tfms([Rotate(draw=30, p=1, size=24), Zoom(draw=1.2, p=1.0, draw_x=0.5, draw_y=0.5, size=24),
                           Warp(draw_x=-0.2, draw_y=0.2, p=1.0, size=24)])  # fmt: skip
    once = Pipeline(tfms)(IMAGES)
    assert x1.shape == once.shape == (2, 3, 24, 24)
    assert x1.data.std() < 0.9 * once.std(), "noise is blurred by every reading"
    ax = plt.subplots()[1]
    assert x1[0].show(ctx=ax) is ax
    plt.close("all")


def test_one_image_is_changed_as_a_batch_of_one() -> None:
    one = TensorImage(IMAGES[0])
    assert torch.equal(one.zoom(draw=2.0).data, TensorImage(IMAGES).zoom(draw=2.0).data[0])
    assert torch.equal(one.rotate(draw=0.0).data, IMAGES[0])


def test_a_clone_is_its_own_and_an_array_its_values() -> None:
    image = TensorImage(IMAGES)
    clone = TensorImage(image).clone()
    clone.data.zero_()
    assert image.data.max() > 0 and np.array_equal(np.asarray(image), IMAGES.numpy())
    assert repr(image) == "TensorImage: torch.float32 (2, 3, 20, 30)"
    with pytest.raises(ShapeError, match=r"expected a tensor \(N, C, H, W\) or \(C, H, W\)"):
        TensorImage(torch.zeros(3))


def test_the_course_s_pipeline_turns_zooms_and_tilts_a_batch_once() -> None:
    images = torch.rand(2, 3, 30, 20)
    tfms = setup_aug_tfms(
        [
            Rotate(draw=30, p=1, size=24),
            Zoom(draw=1.2, p=1.0, size=24),
            Warp(draw_x=0, draw_y=0.2, p=1.0, size=24),
        ]
    )
    once = Pipeline(tfms)(images, seed=1)
    assert once.shape == (2, 3, 24, 24) and torch.equal(once, Pipeline(tfms)(images, seed=1))
    normalize = Pipeline([Normalize((0.5,), (0.25,))])
    assert torch.allclose(normalize.decode(normalize(images)), (images * 255).round() / 255, atol=1e-5)
    assert repr(Pipeline([Flip(), Hue])).startswith("Pipeline: Flip(p=0.5")
    with pytest.raises(ShapeError, match=r"expected a batch, a tensor \(N, C, H, W\)\n  Try images\[None\]"):
        Pipeline(tfms)(images[0])
