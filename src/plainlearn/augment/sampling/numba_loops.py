"""The loops of sampling on the CPU, compiled at first use and kept on disk: rows of one picture, sixteen pixels at a time.

First, with one pixel a lane: where they look, how far their kernels reach, all their weights. Then, pixel by
pixel, with the input's neighbouring bytes in the lanes: rows of the input weighed and summed (five pixels of
three channels are fifteen lanes), and the sums weighed along the row. Last, a pixel a lane again: the
weights' sum divided out, the table of levels, the store.

Numbers named `at_…` are addresses. Every pixel is computed alike whoever does it, in which run it may be.
"""

# pyright: basic
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from plainlearn.augment.sampling import lanes
from plainlearn.augment.sampling.kernel import FAR, HORIZON, NEAREST, RAMP, WIDEST
from plainlearn.augment.sampling.lanes import LANES

v: Any = lanes
_F = np.float32
_RUN = LANES
_ROW = 4 * _RUN  # bytes in one vector


def compiled(function: Callable[..., object]) -> Any:
    """Compiled at first use and kept on disk, or, where no folder can be written, for this process only.

    numba keeps what it compiled until the function's own file changes: touch this one after a change in
    lanes or kernel.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # numba's word for "nowhere to write"
        return njit(**options)(function)


@njit(inline="always", error_model="numpy")
def _resolve(index, length, pad):
    """An index brought into the picture, or −1 where zeros lie; reflection is about the outer edge."""
    if pad == 0:
        index %= 2 * length
        return index if index < length else 2 * length - 1 - index
    if 0 <= index < length:
        return index
    if pad == 2:
        return -1
    return 0 if index < 0 else length - 1


@njit(inline="always", error_model="numpy")
def _entry(first, length, pad, reach):
    """Which entry of a table of resolved indices belongs to a kernel's first tap."""
    if pad == 0:
        return first if 0 <= first < 2 * length else first % (2 * length)
    return min(max(first, -reach), length) + reach


@njit(inline="always", error_model="numpy")
def _table(length, pad, reach):
    """Indices resolved once for every first tap that `_entry` gives, and `reach` more."""
    count = max(2 * length, length + reach + 1) + reach
    start = 0 if pad == 0 else -reach
    table = np.empty(count, np.int64)
    for k in range(count):
        table[k] = _resolve(k + start, length, pad)
    return table


@njit(inline="always", error_model="numpy")
def _coefficient(h, g, b1, b2, b3):
    """h · (b₁ + g·b₂ + g²·b₃) for sixteen pixels."""
    return v.multiply(h, v.multiply_add(g, v.multiply_add(g, v.spread(b3), v.spread(b2)), v.spread(b1)))


@njit(inline="always", error_model="numpy")
def _weigh(first, inverse, count, filled, weights, numbers, triangle):
    """Write the weights of `count` taps, and zeros up to `filled`, sixteen pixels a row; return their sums."""
    one, zero, total = v.spread(_F(1)), v.spread(_F(0)), v.spread(_F(0))
    a1, a2 = v.spread(numbers[2]), v.spread(numbers[3])
    per_radius = v.spread(_F(1) / (numbers[0] * numbers[0]))
    quarter = v.spread(_F(-0.25))
    h = v.smaller(one, v.multiply(v.spread(_F(RAMP)), v.subtract(one, inverse)))
    b = numbers[4:]
    c1, c2 = _coefficient(h, inverse, b[0], b[5], b[10]), _coefficient(h, inverse, b[1], b[6], b[11])
    c3, c4 = _coefficient(h, inverse, b[2], b[7], b[12]), _coefficient(h, inverse, b[3], b[8], b[13])
    c5 = _coefficient(h, inverse, b[4], b[9], b[14])
    for k in range(count):
        t = v.multiply(first, inverse)
        if triangle:
            weight = v.larger(zero, v.subtract(one, v.absolute(t)))
        else:
            q = v.multiply(t, t)
            u = v.multiply(q, per_radius)
            rest = v.multiply_add(v.multiply_add(a2, u, a1), u, one)
            rest = v.multiply(rest, v.multiply(v.subtract(one, q), v.multiply_add(q, quarter, one)))
            moving = v.multiply_add(v.multiply_add(c5, u, c4), u, c3)
            moving = v.multiply_add(v.multiply_add(moving, u, c2), u, c1)
            end = v.larger(zero, v.subtract(one, u))
            weight = v.multiply(v.multiply_add(moving, u, rest), v.multiply(end, end))
        v.store(weights + _ROW * k, weight)
        total = v.add(total, weight)
        first = v.add(first, one)
    for k in range(count, filled):
        v.store(weights + _ROW * k, zero)
    return total


@njit(inline="always", error_model="numpy")
def _aligned(rows):
    """Memory for rows of sixteen floats, and the first address in it that a cache line begins at."""
    memory = np.zeros((rows + 1) * _RUN, _F)
    address = memory.ctypes.data
    return memory, address + (-address) % _ROW


@njit(nogil=True, error_model="numpy")
def _read_run(
    at_first_x, at_first_y, at_rows, at_columns, at_patch_rows, empty_row, four_left, at_weights_y,
    at_spread_x, at_sums, count, taps_x, taps_y, blocks, block, channels, width, height, pad, reach,
):  # fmt: skip
    """Pixel by pixel: bytes of the input in the lanes."""
    last = width * channels - (blocks - 1) * block - _RUN
    for k in range(count):
        first_x, first_y = v.load_int(at_first_x + 4 * k), v.load_int(at_first_y + 4 * k)
        lines = at_rows + 8 * _entry(first_y, height, pad, reach)
        offset = first_x * channels
        if first_x < 0 or offset > last:
            # Partly outside: gather what lies there into a small picture of its own.
            column = at_columns + 8 * _entry(first_x, width, pad, reach)
            for row in range(taps_y):
                line, to = v.load_long(lines + 8 * row), v.load_long(at_patch_rows + 8 * row)
                for tap in range(taps_x):
                    place = v.load_long(column + 8 * tap)
                    source = line + place if place >= 0 else empty_row
                    if source <= four_left:  # the byte too many is written over by the next
                        v.copy_four(source, to)
                    else:
                        for channel in range(channels):
                            v.copy_one(source + channel, to + channel)
                    to += channels
            lines, offset = at_patch_rows, 0
        weight_y = at_weights_y + 4 * k
        weight_x = at_spread_x + _ROW * k
        result = v.spread(_F(0))
        for _ in range(blocks // 2):  # two at a time share each row's weight
            left, right = v.spread(_F(0)), v.spread(_F(0))
            for row in range(taps_y):
                line = v.load_long(lines + 8 * row) + offset
                weight = v.load_all(weight_y + _ROW * row)
                left = v.multiply_add(v.load_bytes(line), weight, left)
                right = v.multiply_add(v.load_bytes(line + block), weight, right)
            result = v.multiply_add(left, v.load(weight_x), result)
            result = v.multiply_add(right, v.load(weight_x + _RUN * _ROW), result)
            offset += 2 * block
            weight_x += 2 * _RUN * _ROW
        if blocks % 2:
            left = v.spread(_F(0))
            for row in range(taps_y):
                line = v.load_long(lines + 8 * row) + offset
                left = v.multiply_add(v.load_bytes(line), v.load_all(weight_y + _ROW * row), left)
            result = v.multiply_add(left, v.load(weight_x), result)
        v.store(at_sums + _ROW * k, result)


@compiled
def sample_rows(picture, m, out, start, stop, numbers, triangle, pad, with_table, table):
    """Fill rows `start` to `stop` of `out` (C, h, w) from `picture` (H, W, C ≤ 16), contiguous both."""
    height, width, channels = picture.shape
    stride = width * channels
    h, w = out.shape[1], out.shape[2]
    per_block = _RUN // channels  # taps that fit into sixteen lanes
    block = per_block * channels  # bytes they take
    radius, share = numbers[0], numbers[1]

    first_x, first_y = np.empty(_RUN, np.int32), np.empty(_RUN, np.int32)
    sums, at_sums = _aligned(_RUN)
    turned, at_turned = _aligned(_RUN)
    last = np.empty(_RUN, _F)
    straight = np.arange(_RUN) * _ROW
    repeated = np.empty(_RUN, np.int64)  # lane → its tap's row of weights, each channel the same
    for lane in range(_RUN):
        repeated[lane] = lane // channels * _ROW
    reach = 0
    weights_y, at_weights_y = _aligned(0)
    weights_x, at_weights_x = _aligned(0)
    spread_x, at_spread_x = _aligned(0)
    rows, columns = np.empty(0, np.int64), np.empty(0, np.int64)
    patch, patch_rows = np.empty(0, np.uint8), np.empty(0, np.int64)
    nothing = np.zeros(stride + _RUN, np.uint8)
    origin, empty_row = picture.ctypes.data, nothing.ctypes.data
    # Addresses are taken once: numba counts references each time that one is asked for.
    at_first_x, at_first_y, at_last = first_x.ctypes.data, first_y.ctypes.data, last.ctypes.data
    at_straight, at_repeated = straight.ctypes.data, repeated.ctypes.data
    at_table, at_out = table.ctypes.data, out.ctypes.data
    at_rows = at_columns = at_patch = at_patch_rows = 0
    four_left = origin + picture.size - 4 if channels <= 4 else 0  # the last place to read four bytes from

    one, twos, zero = v.spread(_F(1)), v.spread(2.0), v.spread(_F(0))
    share_, radius_ = v.spread(share), v.spread(radius)
    least, most_x, most_y = (
        v.spread(HORIZON),
        v.spread(_F(min(width, WIDEST))),
        v.spread(_F(min(height, WIDEST))),
    )
    far_x, far_y, near_x, near_y = (
        v.spread(float(FAR * width)), v.spread(float(FAR * height)),
        v.spread(-float(FAR * width)), v.spread(-float(FAR * height)),
    )  # fmt: skip
    m00, m10, m20 = v.spread(m[0, 0]), v.spread(m[1, 0]), v.spread(m[2, 0])
    j00, j01, j10 = v.spread(_F(m[0, 0])), v.spread(_F(m[0, 1])), v.spread(_F(m[1, 0]))
    j11, j20, j21 = v.spread(_F(m[1, 1])), v.spread(_F(m[2, 0])), v.spread(_F(m[2, 1]))
    white = v.spread(_F(255))

    for i in range(start, stop):
        p = v.spread(m[0, 1] * i + m[0, 2])
        q = v.spread(m[1, 1] * i + m[1, 2])
        r = v.spread(m[2, 1] * i + m[2, 2])
        for j in range(0, w, _RUN):
            # One pixel a lane: positions in float64, the rest in float32.
            across = v.count_from(float(j))
            depth = v.multiply_add(m20, across, r)
            depth = v.where_less(v.absolute(depth), least, least, depth)
            # A float32 division and a step of Newton's: as good as one in float64, and cheaper.
            inverse = v.widen(v.divide(one, v.narrow(depth)))
            inverse = v.multiply(inverse, v.subtract(twos, v.multiply(depth, inverse)))
            x = v.multiply(v.multiply_add(m00, across, p), inverse)
            y = v.multiply(v.multiply_add(m10, across, q), inverse)
            x, y = v.smaller(v.larger(x, near_x), far_x), v.smaller(v.larger(y, near_y), far_y)
            scale, fx, fy = v.narrow(inverse), v.narrow(x), v.narrow(y)
            a = v.multiply(v.subtract(j00, v.multiply(fx, j20)), scale)
            b = v.multiply(v.subtract(j01, v.multiply(fx, j21)), scale)
            c = v.multiply(v.subtract(j10, v.multiply(fy, j20)), scale)
            d = v.multiply(v.subtract(j11, v.multiply(fy, j21)), scale)
            span_x = v.square_root(v.multiply_add(a, a, v.multiply(b, b)))
            span_y = v.square_root(v.multiply_add(c, c, v.multiply(d, d)))
            span_x = v.smaller(v.larger(v.multiply(span_x, share_), one), most_x)
            span_y = v.smaller(v.larger(v.multiply(span_y, share_), one), most_y)
            start_x = v.round_up(v.subtract(x, v.widen(v.multiply(span_x, radius_))))
            start_y = v.round_up(v.subtract(y, v.widen(v.multiply(span_y, radius_))))
            v.store_ints(at_first_x, start_x)
            v.store_ints(at_first_y, start_y)
            taps_x = int(2 * radius * v.largest(span_x)) + 1
            taps_y = int(2 * radius * v.largest(span_y)) + 1
            blocks = -(-taps_x // per_block)
            filled = blocks * per_block
            if max(filled, taps_y) > reach:
                reach = 2 * max(filled, taps_y)
                weights_x, at_weights_x = _aligned(reach + 1)
                weights_y, at_weights_y = _aligned(reach)
                spread_x, at_spread_x = _aligned((reach // per_block + 1) * _RUN)
                columns, rows = _table(width, pad, reach), _table(height, pad, reach)
                at_rows, at_columns = rows.ctypes.data, columns.ctypes.data
                for k in range(columns.size):
                    columns[k] *= channels  # −1, for zeros, stays below 0
                for k in range(rows.size):
                    rows[k] = origin + rows[k] * stride if rows[k] >= 0 else empty_row
                patch_stride = reach * channels + 2 * _RUN
                patch, patch_rows = np.zeros(reach * patch_stride, np.uint8), np.empty(reach, np.int64)
                at_patch, at_patch_rows = patch.ctypes.data, patch_rows.ctypes.data
                for k in range(reach):
                    patch_rows[k] = at_patch + k * patch_stride
            ahead_x, ahead_y = v.narrow(v.subtract(start_x, x)), v.narrow(v.subtract(start_y, y))
            shrink_x, shrink_y = v.divide(one, span_x), v.divide(one, span_y)
            total = v.multiply(
                _weigh(ahead_y, shrink_y, taps_y, taps_y, at_weights_y, numbers, triangle),
                _weigh(ahead_x, shrink_x, taps_x, filled, at_weights_x, numbers, triangle),
            )
            for k in range(blocks):
                source, to = at_weights_x + k * per_block * _ROW, at_spread_x + k * _RUN * _ROW
                v.store_transposed(at_repeated, source, to)

            _read_run(
                at_first_x, at_first_y, at_rows, at_columns, at_patch_rows, empty_row, four_left, at_weights_y,
                at_spread_x, at_sums, min(_RUN, w - j), taps_x, taps_y, blocks, block, channels, width, height, pad, reach,
            )  # fmt: skip

            # One pixel a lane again: lane (tap, channel) of every pixel is a row now.
            v.store_transposed(at_straight, at_sums, at_turned)
            norm = v.divide(one, total)
            for channel in range(channels):
                level = zero
                for tap in range(per_block):
                    level = v.add(level, v.load(at_turned + _ROW * (tap * channels + channel)))
                level = v.smaller(v.larger(v.multiply(level, norm), zero), white)
                if with_table:
                    level = v.look_up(at_table + 4 * 257 * channel, level)
                else:
                    level = v.divide(level, white)  # as torch divides a picture that is not read but taken
                if w - j >= _RUN:
                    v.store(at_out + 4 * ((channel * h + i) * w + j), level)
                else:
                    v.store(at_last, level)
                    for k in range(w - j):
                        out[channel, i, j + k] = last[k]
    # numba frees an array after its last mention, and an address is none: these must live until here.
    return (
        first_x.size + first_y.size + sums.size + turned.size + last.size + straight.size + repeated.size
        + weights_x.size + weights_y.size + spread_x.size + rows.size + columns.size + patch.size
        + patch_rows.size + nothing.size
    )  # fmt: skip


@compiled
def interleave(planes, packed):
    """Ten times as fast as numpy's and torch's own copies."""
    for i in range(planes.shape[1]):
        red, green, blue = planes[0, i], planes[1, i], planes[2, i]
        row = packed[i].reshape(-1)
        for j in range(planes.shape[2]):
            row[3 * j] = red[j]
            row[3 * j + 1] = green[j]
            row[3 * j + 2] = blue[j]


@njit(inline="always", error_model="numpy")
def _nearest_pixel(m, i, j, height, width, pad):
    """The row and column that output pixel (i, j) falls into; −1 where zeros lie."""
    depth = m[2, 0] * j + m[2, 1] * i + m[2, 2]
    if abs(depth) < HORIZON:
        depth = HORIZON
    x = min(max((m[0, 0] * j + m[0, 1] * i + m[0, 2]) / depth, -FAR * width), FAR * width)
    y = min(max((m[1, 0] * j + m[1, 1] * i + m[1, 2]) / depth, -FAR * height), FAR * height)
    column, row = math.floor(x + NEAREST), math.floor(y + NEAREST)
    if not 0 <= column < width:
        column = _resolve(column, width, pad)
    if not 0 <= row < height:
        row = _resolve(row, height, pad)
    return row, column


@compiled
def nearest_rows(picture, m, out, start, stop, pad):
    height, width, channels = picture.shape
    for i in range(start, stop):
        for j in range(out.shape[2]):
            row, column = _nearest_pixel(m, i, j, height, width, pad)
            for channel in range(channels):
                out[channel, i, j] = picture[row, column, channel] if row >= 0 and column >= 0 else 0


@compiled
def nearest_labels(mask, m, out, pad):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            row, column = _nearest_pixel(m, i, j, mask.shape[0], mask.shape[1], pad)
            if (
                row >= 0 and column >= 0
            ):  # no `else 0` in one expression: uint64 and int64 would meet in float64
                out[i, j] = mask[row, column]
            else:
                out[i, j] = 0


@compiled
def apply_tables(out, start, stop, with_table, table):
    """Whole levels 0..255 in `out` replaced by what the tables hold for them."""
    for channel in range(out.shape[0]):
        for i in range(start, stop):
            for j in range(out.shape[2]):
                level = out[channel, i, j]
                out[channel, i, j] = table[channel, int(level)] if with_table else level / _F(255)
