"""Maps: each does what its name says, they compose and invert, and points and boxes go where the pixels go."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plainlearn.augment.geometry import (
    Maps,
    compose,
    crop,
    crosses_horizon,
    dihedral,
    fit,
    flip,
    identity,
    inverse,
    map_boxes,
    map_points,
    rotate,
    to_pixels,
    warp,
    zoom,
)
from plainlearn.core.errors import ArgumentError, ShapeError

CORNERS = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
small = st.floats(-0.25, 0.25)
maps_drawn = st.builds(
    lambda turn, scale, x, y, h, v: compose(rotate(turn, 1.5), zoom(scale, x, y), warp(h, v)),
    st.floats(-40, 40), st.floats(0.5, 2), st.floats(0, 1), st.floats(0, 1), small, small,
)  # fmt: skip


def look(maps: Maps, *points: tuple[float, float]) -> list[tuple[float, float]]:
    """Where in the input output points look, for the first map."""
    seen: list[tuple[float, float]] = []
    for x, y in points:
        p, q, r = maps[0] @ np.array([x, y, 1.0])
        seen.append((round(p / r, 9) + 0.0, round(q / r, 9) + 0.0))
    return seen


def test_identity_changes_nothing() -> None:
    assert look(identity(), *CORNERS) == CORNERS
    assert identity(3).shape == (3, 3, 3)


@pytest.mark.parametrize(
    ("horizontal", "vertical", "sees"),
    [(True, False, (-0.5, 0.25)), (False, True, (0.5, -0.25)), (True, True, (-0.5, -0.25))],
)
def test_flip_reads_from_the_other_side(horizontal: bool, vertical: bool, sees: tuple[float, float]) -> None:
    assert look(flip(horizontal, vertical), (0.5, 0.25)) == [sees]


def test_flip_of_many_mirrors_only_the_chosen() -> None:
    assert flip([True, False])[:, 0, 0].tolist() == [-1, 1]


def test_dihedral_gives_all_eight_symmetries_and_each_undoes_itself_in_four() -> None:
    seen = {tuple(look(dihedral(k), *CORNERS)) for k in range(8)}
    assert len(seen) == 8
    for k in range(8):
        assert look(compose(*[dihedral(k)] * 4), *CORNERS) == CORNERS


@pytest.mark.parametrize("wrong", [8, -1, 1.5])
def test_dihedral_refuses_what_is_not_a_symmetry(wrong: float) -> None:
    with pytest.raises(ArgumentError, match="whole numbers from 0 to 7"):
        dihedral(wrong)


def test_rotation_is_clockwise() -> None:
    assert look(rotate(90), (1.0, 0.0)) == [(0.0, -1.0)]  # what was on top is on the right


def test_rotation_keeps_circles_round_on_wide_pictures() -> None:
    width, height = 300, 100
    pixels = to_pixels(rotate(30, width / height), (height, width), (height, width))[0]
    np.testing.assert_allclose(pixels[:2, :2] @ pixels[:2, :2].T, np.eye(2), atol=1e-12)


def test_zoom_shows_the_named_part() -> None:
    assert look(zoom(2.0), *CORNERS) == [(x / 2, y / 2) for x, y in CORNERS]
    assert look(zoom(2.0, 0.0, 1.0), (-1.0, 1.0)) == [(-1.0, 1.0)]  # stays in the corner it was placed in


def test_crop_fills_the_output_with_its_box() -> None:
    assert look(crop(0.25, 0.5, 0.5, 0.25), CORNERS[0], CORNERS[2]) == [(-0.5, 0.0), (0.5, 0.5)]


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_what_must_be_positive_is_named_when_it_is_not(wrong: float) -> None:
    with pytest.raises(ArgumentError, match="scale is"):
        zoom(wrong)
    with pytest.raises(ArgumentError, match="width is"):
        crop(0, 0, wrong, 1)


def test_fit_crops_pads_or_squishes() -> None:
    wide, square = (100, 200), (50, 50)
    assert look(fit(wide, square, "crop"), (1.0, 1.0)) == [(0.5, 1.0)]
    assert look(fit(wide, square, "pad"), (1.0, 1.0)) == [(1.0, 2.0)]
    assert look(fit(wide, square, "squish"), (1.0, 1.0)) == [(1.0, 1.0)]
    assert look(fit(square, wide, "crop"), (1.0, 1.0)) == [(1.0, 0.5)]


def test_fit_places_the_cut_and_the_padded_picture() -> None:
    wide, square = (100, 200), (50, 50)
    assert look(fit(wide, square, x=0.0), (-1.0, 0.0)) == [(-1.0, 0.0)]
    assert look(fit(wide, square, "pad", y=0.0), (0.0, -1.0)) == [(0.0, -1.0)]


def test_fit_takes_pictures_of_different_sizes() -> None:
    maps = fit([(100, 200), (200, 100), (50, 50)], (50, 50))
    assert maps[:, [0, 1], [0, 1]].tolist() == [[0.5, 1], [1, 0.5], [1, 1]]


def test_fit_names_what_is_wrong() -> None:
    with pytest.raises(ArgumentError, match=r"method is 'zoom'; expected 'crop', 'pad' or 'squish'"):
        fit((10, 10), (5, 5), "zoom")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"output_size has shape \(3,\)"):
        fit((10, 10), (5, 5, 3))


def test_warp_moves_the_pictures_corners_by_what_was_asked() -> None:
    back = inverse(warp(0.2, -0.1))
    assert look(back, *CORNERS) == [(-0.9, -1.2), (0.9, -0.8), (1.1, 0.8), (-1.1, 1.2)]


@given(h=small, v=small)
@settings(max_examples=20)
def test_warp_keeps_straight_lines_straight(h: float, v: float) -> None:
    a, b, c = (np.array(p) for p in look(warp(h, v), (-0.8, 0.3), (0.1, 0.0), (0.7, -0.2)))
    (x1, y1), (x2, y2) = b - a, c - a
    assert x1 * y2 - x2 * y1 == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("tilts", [(0.6, 0.6), (0.2, math.nan), ([0.1, 1.0], 0.0)])
def test_warp_refuses_a_fold(tilts: Any) -> None:
    with pytest.raises(ArgumentError, match="fold the picture"):
        warp(*tilts)


def test_compose_reads_left_to_right_in_the_order_of_the_transforms() -> None:
    # First cut the left half, then mirror it: the right end of the output shows the picture's left edge.
    assert look(compose(crop(0, 0, 0.5, 1), flip()), (1.0, 0.0)) == [(-1.0, 0.0)]
    assert look(compose(flip(), crop(0, 0, 0.5, 1)), (1.0, 0.0)) == [(0.0, 0.0)]


def test_compose_mixes_one_with_many_and_refuses_other_counts() -> None:
    assert compose(identity(1), identity(4), zoom(2.0)).shape == (4, 3, 3)
    with pytest.raises(ShapeError, match="cannot compose 2 maps with 3"):
        compose(identity(2), identity(3))
    with pytest.raises(ShapeError, match=r"try|Try"):
        compose(np.eye(3))


@given(maps=maps_drawn)
def test_inverse_undoes_a_map(maps: Maps) -> None:
    there_and_back = compose(maps, inverse(maps))[0]
    np.testing.assert_allclose(there_and_back / there_and_back[2, 2], np.eye(3), atol=1e-9)


def test_inverse_refuses_a_map_onto_a_line() -> None:
    flat = identity(2)
    flat[1, 0, 0] = 0.0
    with pytest.raises(ArgumentError, match="map 1 squeezes the picture onto a line"):
        inverse(flat)


def test_horizon_is_noticed_before_it_is_in_view() -> None:
    assert not crosses_horizon(compose(rotate(45), zoom(0.5), warp(0.2, 0.2))).any()
    assert crosses_horizon(warp([0.1, 0.45], [0.0, 0.45])).tolist() == [False, True]


def test_horizon_far_away_in_a_crop_comes_into_view_when_zoomed_out() -> None:
    tilted = warp(0.45, 0.45)
    assert crosses_horizon(tilted).all()
    assert not crosses_horizon(compose(tilted, zoom(4.0, 0.1, 0.1))).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_broken_maps_are_named(bad: float) -> None:
    maps = identity(3)
    maps[2, 0, 1] = bad
    with pytest.raises(ArgumentError, match="map 2 is"):
        compose(maps)


def test_pixel_maps_join_centres() -> None:
    halved = to_pixels(identity(), (8, 8), (4, 4))[0]
    assert (halved @ np.array([0, 0, 1.0])).tolist() == [0.5, 0.5, 1.0]
    assert (halved @ np.array([3, 3, 1.0])).tolist() == [6.5, 6.5, 1.0]


def test_pixel_maps_of_a_middle_crop_are_whole() -> None:
    middle = to_pixels(crop(16 / 256, 16 / 256, 224 / 256, 224 / 256), (256, 256), (224, 224))[0]
    np.testing.assert_allclose(middle, [[1, 0, 16], [0, 1, 16], [0, 0, 1]], atol=1e-12)


# Points and boxes


@given(maps=maps_drawn, x=st.floats(-1, 1), y=st.floats(-1, 1))
def test_points_appear_where_the_output_looks_at_them(maps: Maps, x: float, y: float) -> None:
    p, q, r = maps[0] @ np.array([x, y, 1.0])
    point = torch.tensor([[[p / r, q / r]]], dtype=torch.float64)
    assert map_points(maps, point)[0, 0].tolist() == pytest.approx([x, y], abs=1e-7)


def test_points_keep_dtype_and_rows_have_their_own_maps() -> None:
    points = torch.tensor([[[0.5, 0.0]], [[0.5, 0.0]]])
    moved = map_points(flip([True, False]), points)
    assert moved.dtype == torch.float32
    assert moved.tolist() == [[[-0.5, 0.0]], [[0.5, 0.0]]]


def test_points_are_exact_under_autocast() -> None:
    points = torch.linspace(-1, 1, 64).reshape(1, 32, 2)
    maps = compose(rotate(7), zoom(1.07), warp(0.1, 0.05))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = map_points(maps, points)
    assert torch.equal(inside, map_points(maps, points))


def test_points_of_a_wrong_kind_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"expected floats \(N, K, 2\)"):
        map_points(identity(), torch.zeros(3, 2))
    with pytest.raises(ShapeError, match=r"torch.int64"):
        map_points(identity(), torch.zeros(1, 3, 2, dtype=torch.long))
    with pytest.raises(ShapeError, match="2 rows of points or boxes for 3 maps"):
        map_points(identity(3), torch.zeros(2, 3, 2))


def boxes_of(*boxes: list[float]) -> torch.Tensor:
    return torch.tensor([list(boxes)], dtype=torch.float64)


def test_boxes_follow_and_stay_upright() -> None:
    boxes, keep = map_boxes(flip(), boxes_of([-0.5, -0.25, 0.0, 0.75]))
    assert boxes[0].tolist() == [[0.0, -0.25, 0.5, 0.75]]
    assert keep.all()


def test_a_turned_box_is_the_upright_box_around_its_corners() -> None:
    boxes, _ = map_boxes(rotate(45), boxes_of([-0.5, -0.5, 0.5, 0.5]))
    half = math.sqrt(0.5)
    assert boxes[0, 0].tolist() == pytest.approx([-half, -half, half, half])


def test_boxes_are_clipped_and_dropped_when_gone() -> None:
    left_half = crop(0, 0, 0.5, 1)
    boxes, keep = map_boxes(left_half, boxes_of([-0.5, -0.5, 0.5, 0.5], [0.2, 0.2, 0.6, 0.6], [0, 0, 0, 0]))
    assert boxes[0].tolist() == [[0.0, -0.5, 1.0, 0.5], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert keep[0].tolist() == [True, False, False]


def test_a_turned_box_that_passes_the_view_by_is_gone_and_one_cut_off_is_what_is_left_of_it() -> None:
    beside = boxes_of(
        [0.9, -0.4, 1.4, 0.4]
    )  # seen turned: the upright box around its corners reaches the view
    maps = compose(crop(0.05, 0.05, 0.4, 0.4), rotate(45))
    assert not map_boxes(maps, beside)[1].any()
    half_a_diamond, _ = map_boxes(compose(rotate(45), crop(0, 0, 1, 0.25)), boxes_of([-0.5, -0.5, 0.5, 0.5]))
    tip = math.sqrt(0.5) - 0.5  # the diamond's tip reaches this far below the crop's edge, at −0.5
    assert half_a_diamond[0, 0].tolist() == pytest.approx([-tip, (0.5 - tip) / 0.25 - 1, tip, 1], abs=1e-6)


def test_a_box_that_reaches_behind_the_horizon_covers_what_is_seen_of_it() -> None:
    maps = compose(warp(0.45, 0.45), zoom(4.0, 0.5, 0.05))
    assert not crosses_horizon(maps).any()
    whole = boxes_of([-40.0, -40.0, 40.0, 40.0])  # all the plane, and so all the view
    boxes, keep = map_boxes(maps, whole)
    assert keep.all()
    assert boxes[0, 0].tolist() == [-1, -1, 1, 1]


def test_boxes_across_the_horizon_hold_every_visible_point_of_theirs() -> None:
    maps = compose(warp(0.45, 0.45), zoom(4.0, 0.5, 0.05))
    rng = np.random.default_rng(0)
    for _ in range(200):
        low = rng.uniform(-6, 3, 2)
        box = np.concatenate([low, low + rng.uniform(0.5, 9, 2)])
        boxes, _ = map_boxes(maps, boxes_of(box.tolist()))
        spots = rng.uniform(box[:2], box[2:], (2000, 2))
        p, q, weight = inverse(maps)[0] @ np.concatenate([spots, np.ones((2000, 1))], 1).T
        seen = np.stack([p / weight, q / weight], 1)[weight > 0]
        seen = seen[(np.abs(seen) <= 1).all(1)]
        low_x, low_y, high_x, high_y = boxes[0, 0].tolist()
        assert ((seen >= [low_x - 1e-9, low_y - 1e-9]) & (seen <= [high_x + 1e-9, high_y + 1e-9])).all()


def test_a_map_and_its_negative_are_the_same_map() -> None:
    maps = compose(rotate(10), warp(0.2, 0.1))
    box = boxes_of([-0.5, -0.25, 0.0, 0.75])
    for a, b in zip(map_boxes(maps, box), map_boxes(-maps, box), strict=True):
        assert torch.equal(a, b)
    assert not crosses_horizon(-maps).any()


@given(maps=maps_drawn, x=st.floats(-1, 0.5), y=st.floats(-1, 0.5), side=st.floats(0.05, 0.5))
def test_a_mapped_box_holds_every_visible_point_of_the_box(
    maps: Maps, x: float, y: float, side: float
) -> None:
    boxes, keep = map_boxes(maps, boxes_of([x, y, x + side, y + side]))
    inside = torch.rand(1, 50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * side
    seen = map_points(maps, inside + torch.tensor([x, y], dtype=torch.float64))[0]
    seen = seen[(seen.abs() <= 1).all(1)]
    assert keep.item() or not len(seen)
    low, high = boxes[0, 0, :2] - 1e-9, boxes[0, 0, 2:] + 1e-9
    assert ((seen >= low) & (seen <= high)).all()


@pytest.mark.parametrize("wrong", [torch.zeros(1, 4), torch.zeros(1, 2, 4, dtype=torch.long)])
def test_boxes_of_a_wrong_kind_are_refused(wrong: Any) -> None:
    with pytest.raises(ShapeError, match=r"expected floats \(N, K, 4\)"):
        map_boxes(identity(), wrong)
