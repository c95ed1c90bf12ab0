"""Things that wait with a map: read once, joined with their names, refused when their sizes differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plainlearn.augment import geometry
from plainlearn.augment.pending import (
    PendingBoxes,
    PendingBoxLabels,
    PendingImage,
    PendingMask,
    PendingPoints,
    frame_of,
)
from plainlearn.core.errors import ShapeError


def image(height: int, width: int, level: int = 9) -> PendingImage:
    pixels = np.full((height, width, 3), level, dtype=np.uint8)
    return PendingImage([pixels], np.array([[height, width]]), geometry.identity())


def test_what_is_not_moved_is_copied_and_not_interpolated() -> None:
    pixels = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    field = PendingImage.from_batch(pixels)
    assert torch.equal(field.read(), pixels / 255) and torch.equal(field.materialize(), pixels)
    assert torch.equal(PendingImage.from_batch(pixels / 255).materialize(), pixels)


def test_reading_late_equals_reading_at_once() -> None:
    field = PendingImage.from_batch(torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8))
    twice = field.then(geometry.flip()).then(geometry.flip())
    assert torch.equal(twice.read(), field.read())
    assert field.then(geometry.flip(), (4, 6)).sizes().tolist() == [[4, 6]]


def test_names_go_with_the_batch_into_the_error() -> None:
    whole = PendingImage.joined([image(4, 5), image(4, 6)], ["a.png", "b.png"])
    with pytest.raises(
        ShapeError, match=r"a.png is 4 × 5, b.png is 4 × 6 \(height × width\).*\n  Try item_tfms=Resize"
    ):
        whole.read()
    with pytest.raises(ShapeError, match="image 0 is 4 × 5, image 1 is 4 × 6"):
        PendingImage.joined([image(4, 5), image(4, 6)]).read()
    with pytest.raises(ShapeError, match="expected one size"):
        PendingImage.joined([image(4, 5), image(4, 5).then(geometry.identity(), (2, 2))])
    assert whole.summary() == "2 image, 4 × 5 and 4 × 6"
    assert whole.then(geometry.identity(), (3, 3)).read().shape == (2, 3, 3, 3)


def test_masks_points_and_boxes_follow_the_map() -> None:
    mask = PendingMask.from_batch(torch.tensor([[[1, 2], [3, 4]]])).then(geometry.flip())
    assert mask.read().tolist() == [[[2, 1], [4, 3]]]
    points = PendingPoints.from_batch(torch.tensor([[[-0.5, 0.25]]])).then(geometry.flip())
    assert points.read().tolist() == [[[0.5, 0.25]]]
    boxes = PendingBoxes(
        [[[-1.0, -1.0, 0.0, 0.0]], [[-1.0, -1.0, -0.6, 1.0], [0.0, 0.0, 1.0, 1.0]]],
        np.zeros((2, 2), np.int64), geometry.crop(0.5, 0, 0.5, 1).repeat(2, axis=0),
    )  # fmt: skip
    # The first picture's box and the second's first are out of view; what is left moves to the front.
    assert boxes.read().tolist() == [[[0.0] * 4], [[-1.0, 0.0, 1.0, 1.0]]]
    pairs = list(zip(boxes.things, [torch.tensor([3]), torch.tensor([4, 5])], strict=True))
    labels = PendingBoxLabels(pairs, boxes.originals, boxes.maps, padding=-1)
    assert labels.read().tolist() == [[-1], [5]] and labels.summary().startswith("2 boxlabels")


def test_the_frame_is_the_first_picture_s() -> None:
    points = PendingPoints.from_batch(torch.zeros(1, 1, 2))
    first = image(2, 3)
    assert frame_of([points, 3, first, image(4, 4)]) is first
    with pytest.raises(ShapeError, match="needs an image or a mask"):
        frame_of([points])
