"""Sampling: each picture read once through its map, by a kernel as wide as the map asks; compiled by numba."""

# pyright: basic, reportCallIssue=false
from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from numba.extending import intrinsic
from torch import Tensor

from plainlearn.eject.parts.given import MOVING, RADIUS, REST


def sample(
    pictures: list[np.ndarray], maps: np.ndarray, size: tuple[int, int], curves: Tensor | None
) -> Tensor:
    """Read pictures through pixel maps, and each level through its curve: a batch (N, 3, height, width)."""
    out = np.empty((len(pictures), 3, *size), np.float32)
    tables = np.zeros((len(pictures), 3, 257), np.float32) if curves is None else curves.numpy()
    for picture, pixel_map, table, finished in zip(pictures, maps, tables, out, strict=True):
        read(picture, pixel_map, table, curves is not None, finished)
    return torch.from_numpy(out)


@intrinsic
def fma(typing, x, y, z):
    """x·y + z, rounded once, as processors do it."""

    def code(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return x(x, y, z), code


@njit(error_model="numpy")
def read(picture, m, table, with_table, out):
    """Fill `out` (3, h, w): a pixel looks at a point of the picture, and is the weighted mean of what lies around.

    Along each axis the kernel is stretched by the map's footprint there: by how far the point moves from one pixel
    of the output to the next. So shrinking does not alias, and enlarging interpolates.
    """
    height, width = picture.shape[:2]
    one, f = np.float32(1), np.float32
    x, y, span_x, span_y = np.empty(16), np.empty(16), np.empty(16, np.float32), np.empty(16, np.float32)
    for i in range(out.shape[1]):
        for begin in range(
            0, out.shape[2], 16
        ):  # sixteen pixels at a time have as many taps as the widest of them
            for lane in range(16):
                j = float(begin + lane)
                # Where the pixel looks, in float64 ...
                depth = fma(m[2, 0], j, m[2, 1] * i + m[2, 2])
                if abs(depth) < 1e-6:  # the horizon
                    depth = 1e-6
                inverse = np.float64(one / f(depth))
                inverse = inverse * (2.0 - depth * inverse)
                u = fma(m[0, 0], j, m[0, 1] * i + m[0, 2]) * inverse
                v = fma(m[1, 0], j, m[1, 1] * i + m[1, 2]) * inverse
                x[lane], y[lane] = (
                    min(max(u, -64.0 * width), 64.0 * width),
                    min(max(v, -64.0 * height), 64.0 * height),
                )
                # ... and the footprint, the length of a row of the map's Jacobian, in float32, as all that follows.
                scale, fx, fy = f(inverse), f(x[lane]), f(y[lane])
                a, b = (f(m[0, 0]) - fx * f(m[2, 0])) * scale, (f(m[0, 1]) - fx * f(m[2, 1])) * scale
                c, d = (f(m[1, 0]) - fy * f(m[2, 0])) * scale, (f(m[1, 1]) - fy * f(m[2, 1])) * scale
                span_x[lane] = min(max(np.sqrt(fma(a, a, b * b)), one), f(min(width, 256)))
                span_y[lane] = min(max(np.sqrt(fma(c, c, d * d)), one), f(min(height, 256)))
            taps_x, taps_y = int(2 * RADIUS * span_x.max()) + 1, int(2 * RADIUS * span_y.max()) + 1
            for lane in range(min(16, out.shape[2] - begin)):
                first_x = math.ceil(x[lane] - np.float64(span_x[lane] * f(RADIUS)))
                first_y = math.ceil(y[lane] - np.float64(span_y[lane] * f(RADIUS)))
                weights_x, sum_x = weigh(f(first_x - x[lane]), one / span_x[lane], taps_x)
                weights_y, sum_y = weigh(f(first_y - y[lane]), one / span_y[lane], taps_y)
                for channel in range(3):
                    # Down the columns first. Sums are taken five columns apart, as the learner takes them.
                    sums = np.zeros(5, np.float32)
                    for k in range(taps_x):
                        column, down = inside(first_x + k, width), f(0)
                        for n in range(taps_y):
                            down = fma(
                                f(picture[inside(first_y + n, height), column, channel]), weights_y[n], down
                            )
                        sums[k % 5] = fma(down, weights_x[k], sums[k % 5])
                    level = f(0)
                    for part in sums:
                        level += part
                    level = min(max(level * (one / (sum_y * sum_x)), f(0)), f(255))
                    if with_table:
                        low = int(level)
                        here, following = table[channel, low], table[channel, low + 1]
                        out[channel, i, begin + lane] = fma(following - here, level - f(low), here)
                    else:
                        out[channel, i, begin + lane] = level * f(1 / 255)


@njit(error_model="numpy")
def inside(index, length):
    """An index brought into the picture, which is mirrored at its edges."""
    if 0 <= index < length:
        return index
    index %= 2 * length
    return index if index < length else 2 * length - 1 - index


@njit(error_model="numpy")
def weigh(first, inverse, count):
    """The kernel's values at `count` taps, and their sum. `inverse` is one over the stretch."""
    f, one = np.float32, np.float32(1)
    weights, moving, total = np.empty(count, np.float32), np.empty(5, np.float32), f(0)
    for k in range(5):
        # The shape moves with the stretch: enlarging keeps what is there, shrinking takes the mean of an area.
        bend = fma(inverse, fma(inverse, f(MOVING[2][k]), f(MOVING[1][k])), f(MOVING[0][k]))
        moving[k] = min(one, f(8) * (one - inverse)) * bend
    per_radius = one / (f(RADIUS) * f(RADIUS))
    for k in range(count):
        t = first * inverse
        q = t * t
        u = q * per_radius
        shape = fma(fma(f(REST[1]), u, f(REST[0])), u, one) * ((one - q) * fma(q, f(-0.25), one))
        bend = fma(fma(moving[4], u, moving[3]), u, moving[2])
        bend = fma(fma(bend, u, moving[1]), u, moving[0])
        end = max(f(0), one - u)
        weights[k] = fma(bend, u, shape) * (end * end)
        total += weights[k]
        first += one
    return weights, total
