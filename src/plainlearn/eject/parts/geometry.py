"""Geometry: maps (N, 3, 3) from a picture's output to its input, in coordinates of -1..1 from edge to edge."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from plainlearn.eject.parts.given import SIZE

Maps = np.ndarray
Rng = np.random.Generator


def build(*entries: Any) -> Maps:
    """(N, 3, 3) from nine entries, each a number or N numbers."""
    return np.stack(np.broadcast_arrays(*entries), axis=-1).reshape(-1, 3, 3)


def window(width: Any, height: Any, x: Any, y: Any) -> Maps:
    """Show a part of the picture, `width` and `height` its shares of the sides, (x, y) in 0..1 its place."""
    return build(width, 0, (2 * x - 1) * (1 - width), 0, height, (2 * y - 1) * (1 - height), 0, 0, 1)


# A transform so strong that a picture's horizon could come into view needs this in place of `maps @ draw()`.
def then(maps: Maps, draw: Callable[[], Maps]) -> Maps:
    """The maps followed by those that `draw` gives, drawn again for a picture whose horizon would be in view."""
    more = draw()
    for _ in range(10):
        bad = crosses_horizon(maps @ more)[:, None, None]
        if not bad.any():
            break
        more = np.where(bad, draw(), more)
    return maps @ np.where(crosses_horizon(maps @ more)[:, None, None], np.eye(3), more)


def crosses_horizon(maps: Maps) -> Maps:
    """Which maps stretch some part of the picture without bound."""
    middle = maps[:, 2, 2]
    lowest = middle * 1.0 - np.sign(middle) * (np.abs(maps[:, 2, 0]) + np.abs(maps[:, 2, 1]))
    return ~(lowest * np.sign(middle) > 0.1 * np.abs(middle))


def fit_into(size: tuple[int, int], sizes: np.ndarray, rng: Rng, train: bool) -> Maps:
    """Fill the output and cut what is over: anywhere in training, else in the middle."""
    x, y = rng.random((2, len(sizes))) if train else (0.5, 0.5)
    wider = size[1] / size[0] * (sizes[:, 0] / sizes[:, 1])  # than the picture, at one height
    return window(np.minimum(wider, 1), np.minimum(1 / wider, 1), x, y)


def show_all(size: tuple[int, int], sizes: np.ndarray, rng: Rng, train: bool) -> Maps:
    """All of the picture, and a margin: anywhere in training, else in the middle."""
    x, y = rng.random((2, len(sizes))) if train else (0.5, 0.5)
    wider = size[1] / size[0] * (sizes[:, 0] / sizes[:, 1])  # than the picture, at one height
    return window(np.maximum(wider, 1), np.maximum(1 / wider, 1), x, y)


def random_crop(sizes: np.ndarray, rng: Rng, least: float, most: float, ratio: tuple[float, float]) -> Maps:
    """A random part, `least` to `most` of the area: of ten tries of random proportions the first that fits."""
    height, width = sizes.T[..., None]
    area = rng.uniform(least, most, (len(sizes), 10)) * height * width
    wide = np.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1]), (len(sizes), 10)))
    # An eleventh try always fits: the whole picture, cut to the nearest proportions that are allowed.
    whole = np.clip(width / height, *ratio) * height / width
    w = np.hstack([np.sqrt(area * wide) / width, np.minimum(whole, 1)])
    h = np.hstack([np.sqrt(area / wide) / height, np.minimum(1 / whole, 1)])
    rows, first = np.arange(len(sizes)), ((w <= 1) & (h <= 1)).argmax(axis=1)
    w, h = w[rows, first], h[rows, first]
    x, y = rng.random((2, len(sizes)))
    return build(w, 0, 2 * (x * (1 - w)) + w - 1, 0, h, 2 * (y * (1 - h)) + h - 1, 0, 0, 1)


def flip(chosen: np.ndarray) -> Maps:
    """Left and right exchanged."""
    return build(np.where(chosen, -1.0, 1.0), 0, 0, 0, 1, 0, 0, 0, 1)


def flip_upside_down(chosen: np.ndarray) -> Maps:
    """Top and bottom exchanged."""
    return build(1, 0, 0, 0, np.where(chosen, -1.0, 1.0), 0, 0, 0, 1)


def warp(chosen: np.ndarray, rng: Rng, magnitude: float) -> Maps:
    """Tilted as if seen from another side: corners move by up to `magnitude` half sides."""
    h, v = (np.where(chosen, magnitude * rng.uniform(-1, 1, len(chosen)), 0.0) for _ in "hv")
    s = 1 - h * h - v * v
    mixed, across, down = 2 * h * v / s, h * (1 + v * v - h * h) / s, v * (1 + h * h - v * v) / s
    return build(1, mixed, -across, mixed, 1, -down, -across, -down, 1)


def rotate(chosen: np.ndarray, rng: Rng, degrees: float, aspect: Any = 1.0) -> Maps:
    """Turned by up to `degrees` either way; `aspect` is how wide for its height a picture is."""
    angle = np.radians(np.where(chosen, degrees * rng.uniform(-1, 1, len(chosen)), 0.0))
    cos, sin = np.cos(angle), np.sin(angle)
    return build(cos, sin / aspect, 0, -sin * aspect, cos, 0, 0, 0, 1)


def zoom(chosen: np.ndarray, rng: Rng, least: float, most: float) -> Maps:
    """Magnified by `least` to `most` at a random place."""
    side = 1 / np.where(chosen, rng.uniform(least, most, len(chosen)), 1.0)
    return window(side, side, *rng.random((2, len(chosen))))


def to_pixels(maps: Maps, sizes: np.ndarray) -> Maps:
    """The same maps between pixels: from (column, row, 1) of the output to those of the input."""
    (h, w), (oh, ow) = sizes.T, SIZE
    to_unit = build(2 / ow, 0, 1 / ow - 1, 0, 2 / oh, 1 / oh - 1, 0, 0, 1)
    to_index = build(w / 2, 0, (w - 1) / 2, 0, h / 2, (h - 1) / 2, 0, 0, 1)
    return to_index @ (maps / maps[:, 2:, 2:]) @ to_unit
