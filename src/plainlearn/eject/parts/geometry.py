"""Geometry: maps (N, 3, 3) from a picture's output to its input, in coordinates of -1..1 from edge to edge."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Maps = np.ndarray
Rng = np.random.Generator


def build(*entries: Any) -> Maps:
    """(N, 3, 3) from nine entries, each a number or N numbers."""
    columns = np.broadcast_arrays(*(np.asarray(entry, np.float64) for entry in entries))
    return np.stack([np.atleast_1d(column) for column in columns], axis=-1).reshape(-1, 3, 3)


def window(width: Any, height: Any, x: Any, y: Any) -> Maps:
    """Show a part of the picture, `width` and `height` its shares of the sides, (x, y) in 0..1 its place."""
    return build(width, 0, (2 * x - 1) * (1 - width), 0, height, (2 * y - 1) * (1 - height), 0, 0, 1)


def then(maps: Maps, draw: Callable[[], Maps]) -> Maps:
    """The maps followed by those that `draw` gives, drawn again for a picture whose horizon would be in view."""
    more = draw()
    if maps[:, 2, :2].any() or more[:, 2, :2].any():  # something is tilted, so there is a horizon
        for _ in range(10):
            bad = crosses_horizon(maps @ more)[:, None, None]
            if not bad.any():
                break
            more = np.where(bad, draw(), more)
        more = np.where(crosses_horizon(maps @ more)[:, None, None], np.eye(3)[None], more)
    return maps @ more


def crosses_horizon(maps: Maps) -> Maps:
    """Which maps stretch some part of the picture without bound."""
    middle = maps[:, 2, 2]
    lowest = middle * 1.0 - np.sign(middle) * (np.abs(maps[:, 2, 0]) + np.abs(maps[:, 2, 1]))
    return ~(lowest * np.sign(middle) > 0.1 * np.abs(middle))


def fit_into(sizes: np.ndarray, size: tuple[int, int], rng: Rng, train: bool, larger: bool = False) -> Maps:
    """Fill the output and cut what is over (or show all, if `larger`): anywhere in training, else in the middle."""
    x, y = rng.random((2, len(sizes))) if train else np.full((2, len(sizes)), 0.5)
    wider = (np.float64(size[1]) / np.float64(size[0])) * (
        sizes[:, 0] / sizes[:, 1]
    )  # than the input, at one height
    choose = np.maximum if larger else np.minimum
    return window(choose(wider, 1), choose(1 / wider, 1), x, y)


def squish(sizes: np.ndarray) -> Maps:
    """Bring the picture to the output's proportions."""
    return window(np.ones(len(sizes)), np.ones(len(sizes)), 0.5, 0.5)


def random_crop(
    sizes: np.ndarray,
    size: tuple[int, int],
    rng: Rng,
    train: bool,
    min_scale: float,
    max_scale: float,
    ratio: tuple[float, float],
) -> Maps:
    """A random part of a random share of the area and random proportions; of ten tries the first that fits."""
    if not train:
        return fit_into(sizes, size, rng, train)
    count, tries = len(sizes), 10
    height, width = sizes[:, 0, None].astype(float), sizes[:, 1, None].astype(float)
    area = rng.uniform(min_scale, max_scale, (count, tries)) * height * width
    wide = np.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1]), (count, tries)))
    w, h = np.sqrt(area * wide) / width, np.sqrt(area / wide) / height
    fits = (w <= 1) & (h <= 1)
    first, rows = fits.argmax(axis=1), np.arange(count)
    w, h = w[rows, first], h[rows, first]
    # Where no try fits, the whole picture is cut to the nearest proportions that are allowed.
    whole = np.clip(width[:, 0] / height[:, 0], *ratio) * height[:, 0] / width[:, 0]
    none = ~fits.any(axis=1)
    w, h = np.where(none, np.minimum(whole, 1), w), np.where(none, np.minimum(1 / whole, 1), h)
    x, y = rng.random((2, count))
    return build(w, 0, 2 * (x * (1 - w)) + w - 1, 0, h, 2 * (y * (1 - h)) + h - 1, 0, 0, 1)


def flip(count: int, rng: Rng, p: float) -> Maps:
    """Left and right exchanged, with probability `p`."""
    return build(np.where(rng.random(count) < p, -1.0, 1.0), 0, 0, 0, 1.0, 0, 0, 0, 1)


def flip_upside_down(count: int, rng: Rng, p: float) -> Maps:
    """Top and bottom exchanged, with probability `p`."""
    return build(1.0, 0, 0, 0, np.where(rng.random(count) < p, -1.0, 1.0), 0, 0, 0, 1)


def rotate(sizes: np.ndarray, rng: Rng, max_degrees: float, p: float) -> Maps:
    """Turned by up to `max_degrees` either way, with probability `p`; circles stay circles."""
    count = len(sizes)
    chosen = rng.random(count) < p
    angle = np.radians(np.where(chosen, max_degrees * rng.uniform(-1, 1, count), 0.0))
    aspect = sizes[:, 1] / sizes[:, 0]
    cos, sin = np.cos(angle), np.sin(angle)
    return build(cos, sin / aspect, 0, -sin * aspect, cos, 0, 0, 0, 1)


def zoom(count: int, rng: Rng, least: float, most: float, p: float) -> Maps:
    """Magnified by `least` to `most` at a random place, with probability `p`."""
    chosen = rng.random(count) < p
    scale, x, y = rng.uniform(least, most, count), rng.random(count), rng.random(count)
    side = 1.0 / np.where(chosen, scale, 1.0)
    return window(side, side, x, y)


def warp(count: int, rng: Rng, magnitude: float, p: float) -> Maps:
    """Tilted as if seen from another side: the corners move by up to `magnitude` half sides, with probability `p`."""
    chosen = rng.random(count) < p
    x = np.where(chosen, magnitude * rng.uniform(-1, 1, count), 0.0)
    y = np.where(chosen, magnitude * rng.uniform(-1, 1, count), 0.0)
    shrink = np.minimum(1, 0.95 / np.maximum(np.abs(x) + np.abs(y), 1e-12))  # corners must not meet
    x, y = x * shrink, y * shrink
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    outward = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]])
    # x moves with the tilt up and down, y with the one to left and right
    along = np.stack([y[:, None], x[:, None]], -1)
    return inverse(onto(corners * (1 + along * outward)))


def onto(corners: np.ndarray) -> Maps:
    """The maps that spread the output over four points (N, 4, 2) of the input, clockwise from the top left.

    Source: Heckbert 1989, Fundamentals of Texture Mapping and Image Warping, section 2.2.3.
    """
    p0, p1, p2, p3 = (corners[:, i] for i in range(4))
    d1, d2, d3 = p1 - p2, p3 - p2, p0 - p1 + p2 - p3
    det = cross(d1, d2)
    g, h = cross(d3, d2) / det, cross(d1, d3) / det
    a, b = p1 - p0 + g[:, None] * p1, p3 - p0 + h[:, None] * p3
    square = build(a[:, 0], b[:, 0], p0[:, 0], a[:, 1], b[:, 1], p0[:, 1], g, h, 1)
    return square @ np.array([[0.5, 0, 0.5], [0, 0.5, 0.5], [0, 0, 1]])


def cross(a: np.ndarray, b: np.ndarray) -> Maps:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def inverse(maps: Maps) -> Maps:
    """The maps the other way round, by the adjugate."""
    rows = [maps[:, i] for i in range(3)]
    products = np.cross(rows[1], rows[2]), np.cross(rows[2], rows[0]), np.cross(rows[0], rows[1])
    adjugate = np.stack(products, -1)
    det = (rows[0] * adjugate[:, :, 0]).sum(-1)
    return adjugate / (det * np.sign(maps[:, 2, 2]))[:, None, None]


def to_pixels(maps: Maps, sizes: np.ndarray, size: tuple[int, int]) -> Maps:
    """The same maps between pixels: from (column, row, 1) of the output to those of the input."""
    (h, w), (oh, ow) = (sizes[:, 0].astype(float), sizes[:, 1].astype(float)), map(np.float64, size)
    to_unit = build(2 / ow, 0, 1 / ow - 1, 0, 2 / oh, 1 / oh - 1, 0, 0, 1)
    to_index = build(w / 2, 0, (w - 1) / 2, 0, h / 2, (h - 1) / 2, 0, 0, 1)
    return to_index @ (maps / maps[:, 2:, 2:]) @ to_unit
