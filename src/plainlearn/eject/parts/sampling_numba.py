"""Sampling: each picture read once through its map, by a kernel as wide as the map asks; compiled by numba.

The learner reads sixteen pixels at a time, with as many taps as the widest of them asks for. Those beyond a pixel's own
have the weight 0, so here each pixel has its own.
"""

# pyright: basic, reportCallIssue=false
from __future__ import annotations

import math

import numpy as np
from numba import njit
from numba.extending import intrinsic

from plainlearn.eject.parts.given import MOVING, RADIUS, REST

f = np.float32
one = np.float32(1)


@intrinsic
def fma(typing, x, y, z):
    """x·y + z, rounded once, as processors do it."""
    return x(x, y, z), lambda context, builder, signature, arguments: builder.fma(*arguments)


@njit(error_model="numpy")
def read(picture, m, curves, out):
    """Fill `out` (3, h, w): a pixel looks at a point of the picture, and is the weighted mean of what lies around."""
    height, width, channels = picture.shape
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            # Where the pixel looks, in float64 ...
            depth = fma(m[2, 0], float(j), m[2, 1] * i + m[2, 2])
            inverse = np.float64(one / f(depth))
            inverse = inverse * (2.0 - depth * inverse)  # a step of Newton's: as good as a division
            x = fma(m[0, 0], float(j), m[0, 1] * i + m[0, 2]) * inverse
            y = fma(m[1, 0], float(j), m[1, 1] * i + m[1, 2]) * inverse
            x, y = min(max(x, -64.0 * width), 64.0 * width), min(max(y, -64.0 * height), 64.0 * height)
            # ... and its footprint: how far that moves to the next column and row. In float32, as all below.
            scale, fx, fy = f(inverse), f(x), f(y)
            a, b = (f(m[0, 0]) - fx * f(m[2, 0])) * scale, (f(m[0, 1]) - fx * f(m[2, 1])) * scale
            c, d = (f(m[1, 0]) - fy * f(m[2, 0])) * scale, (f(m[1, 1]) - fy * f(m[2, 1])) * scale
            columns, across, sum_x = taps(x, np.sqrt(fma(a, a, b * b)), width)
            rows, down, sum_y = taps(y, np.sqrt(fma(c, c, d * d)), height)
            for channel in range(channels):
                sums = np.zeros(5, np.float32)  # of columns five apart, as the learner takes them
                for k in range(len(columns)):
                    column = f(0)
                    for n in range(len(rows)):
                        column = fma(f(picture[rows[n], columns[k], channel]), down[n], column)
                    sums[k % 5] = fma(column, across[k], sums[k % 5])
                level = f(0)
                for part in sums:
                    level += part
                level = min(max(level * (one / (sum_y * sum_x)), f(0)), f(255))
                if curves is None:
                    out[channel, i, j] = level / f(255)
                else:
                    low = int(level)
                    here, following = curves[channel, low], curves[channel, low + 1]
                    out[channel, i, j] = fma(following - here, level - f(low), here)


@njit(error_model="numpy")
def taps(position, span, length):
    """Along one side, the pixels around a position, as many as lie in the footprint, their weights and their sum."""
    span = min(max(span, one), f(min(length, 256)))
    first = math.ceil(position - np.float64(span * f(RADIUS)))
    count = int(2 * RADIUS * span) + 1
    places, weights, total = np.empty(count, np.int64), np.empty(count, np.float32), f(0)
    moving, stretch, offset = np.empty(5, np.float32), one / span, f(first - position)
    for k in range(5):
        # The shape moves with the stretch: enlarging keeps what is there, shrinking takes the mean of an area.
        bend = fma(stretch, fma(stretch, f(MOVING[2][k]), f(MOVING[1][k])), f(MOVING[0][k]))
        moving[k] = min(one, f(8) * (one - stretch)) * bend
    for k in range(count):
        q = (offset * stretch) * (offset * stretch)
        u = q * (one / (f(RADIUS) * f(RADIUS)))
        shape = fma(fma(f(REST[1]), u, f(REST[0])), u, one) * ((one - q) * fma(q, f(-0.25), one))
        bend = fma(fma(fma(fma(moving[4], u, moving[3]), u, moving[2]), u, moving[1]), u, moving[0])
        end = max(f(0), one - u)
        weights[k] = fma(bend, u, shape) * (end * end)
        total += weights[k]
        offset += one
        place = (first + k) % (2 * length)  # beyond its edges the picture is mirrored
        places[k] = min(place, 2 * length - 1 - place)
    return places, weights, total
