"""Sampling on CUDA: one kernel from uint8 pictures to the finished float batch.

A program makes `PIXELS` output pixels. As on the CPU, a pixel's neighbours lie in lanes, taps × channels side
by side as the bytes are in memory: rows of the input are weighed and summed lane by lane, and the lanes last.
How far the kernels reach is found by each program for its own pixels, so nothing is asked of the host: the
maps go over in one small copy, and no call here waits for the device.

With TRITON_INTERPRET=1 it runs, very slowly, on the CPU; that is how the tests hold it to the others.
"""

# triton has no types for checkers; the function that others call is typed.
# pyright: basic, reportGeneralTypeIssues=false
from __future__ import annotations

from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from plainlearn.augment.geometry import Maps
from plainlearn.augment.sampling.kernel import FAR, HORIZON, PAD_CODES, RAMP, TERMS, WIDEST, Kernel, PadMode

PIXELS, LANES = 64, 32
_KERNEL_NUMBERS = 4 + 3 * TERMS
_PLACES = (
    6  # whole numbers a picture: height, width, shift of x and y, where it starts, how far apart its rows are
)

_far, _widest = tl.constexpr(FAR), tl.constexpr(WIDEST)
_horizon, _ramp = tl.constexpr(HORIZON), tl.constexpr(RAMP)
_terms, _first_map, _places = tl.constexpr(TERMS), tl.constexpr(_KERNEL_NUMBERS), tl.constexpr(_PLACES)


def sample_pictures(
    pictures: list[Tensor],
    pixel_maps: Maps,
    out: Tensor,
    kernel: Kernel,
    pad_mode: PadMode,
    curves: Tensor | None,
) -> None:
    """Fill `out` (N, C, h, w) from uint8 pictures (H, W, C) on its device; views of one batch are not copied."""
    count, channels, height, width = out.shape
    if channels > LANES:
        for some in (slice(first, first + LANES) for first in range(0, channels, LANES)):
            part = None if curves is None else curves[:, some]
            sample_pictures(
                [p[..., some] for p in pictures], pixel_maps, out[:, some], kernel, pad_mode, part
            )
        return
    flat, starts, steps = _laid_out(pictures)
    sizes = np.array([picture.shape[:2] for picture in pictures], dtype=np.int64)
    # Positions count from a whole pixel near the middle of the view, where float32 is finest.
    middle = pixel_maps @ np.array([(width - 1) / 2, (height - 1) / 2, 1])
    shift = np.clip(np.floor(middle[:, :2] / middle[:, 2:]), -FAR * sizes[:, ::-1], FAR * sizes[:, ::-1])
    shifted = pixel_maps.copy()
    shifted[:, :2] -= shift[:, :, None] * pixel_maps[:, 2:]
    places = np.concatenate([sizes, shift.astype(np.int64), starts], axis=1)
    numbers = np.concatenate([kernel.packed, shifted.reshape(-1).astype(np.float32)])
    pinned = out.device.type == "cuda"
    numbers_there, places_there = (
        (each.pin_memory() if pinned else each).to(out.device, non_blocking=True)
        for each in (torch.from_numpy(numbers), torch.from_numpy(places))
    )
    grid = (triton.cdiv(height * width, PIXELS), count)
    launch: Any = _sample[grid]
    launch(
        flat, numbers_there, places_there, out if curves is None else curves.contiguous(), out,
        height, width, steps[0], steps[1], *out.stride(),
        channels, kernel.triangle, PAD_CODES[pad_mode], curves is not None, PIXELS, LANES, enable_fp_fusion=True,
    )  # fmt: skip


def _laid_out(pictures: list[Tensor]) -> tuple[Tensor, np.ndarray, tuple[int, int]]:
    """One piece of memory, each picture's start and row step in it, and the steps between pixels and channels."""
    first = pictures[0]
    base = first.untyped_storage().data_ptr()
    together = all(
        picture.untyped_storage().data_ptr() == base and picture.stride()[1:] == first.stride()[1:]
        for picture in pictures
    )
    if together:
        flat = first.as_strided((first.untyped_storage().nbytes(),), (1,), 0)
        starts = [(picture.storage_offset(), picture.stride(0)) for picture in pictures]
        return flat, np.array(starts, dtype=np.int64), (first.stride(1), first.stride(2))
    ends = np.cumsum([0, *(picture.numel() for picture in pictures)])
    starts = [
        (start, picture.shape[1] * picture.shape[2]) for start, picture in zip(ends, pictures, strict=False)
    ]
    flat = torch.cat([picture.reshape(-1) for picture in pictures])
    return flat, np.array(starts, dtype=np.int64), (first.shape[2], 1)


@triton.jit
def _weight(t, shrink, numbers, triangle: tl.constexpr):
    """The kernel of `kernel.py` at t, the picture being shrunk to 1/s = `shrink`."""
    if triangle:
        weight = tl.maximum(1.0 - tl.abs(t), 0.0)
    else:
        radius = tl.load(numbers)
        a1, a2 = tl.load(numbers + 2), tl.load(numbers + 3)
        q = t * t
        u = q / (radius * radius)
        h = tl.minimum(_ramp * (1.0 - shrink), 1.0)
        moving = u * 0.0
        for term in tl.static_range(_terms):
            b = numbers + 3 + _terms - term
            slope = tl.load(b) + shrink * (tl.load(b + _terms) + shrink * tl.load(b + 2 * _terms))
            moving = (moving + h * slope) * u
        rest = (1.0 - q) * (1.0 - 0.25 * q) * (1.0 + u * (a1 + u * a2))
        end = tl.maximum(1.0 - u, 0.0)
        weight = (rest + moving) * end * end
    return weight


@triton.jit
def _resolve(index, length, pad: tl.constexpr):
    """Indices brought into 0..length−1; where zeros lie they come back as they were."""
    if pad == 0:
        period = 2 * length
        folded = index % period
        folded = tl.where(folded < 0, folded + period, folded)
        index = tl.minimum(folded, period - 1 - folded)
    elif pad == 1:
        index = tl.minimum(tl.maximum(index, 0), length - 1)
    return index


@triton.jit
def _sample(
    source, numbers, places, tables, out,
    h, w, pixel_step, channel_step, out_n, out_c, out_h, out_w,
    channels: tl.constexpr, triangle: tl.constexpr, pad: tl.constexpr, with_tables: tl.constexpr,
    pixels: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(1)
    pixel = tl.program_id(0) * pixels + tl.arange(0, pixels)
    i, j = pixel // w, pixel % w
    m = numbers + _first_map + 9 * n
    place = places + _places * n
    height, width = tl.load(place).to(tl.int32), tl.load(place + 1).to(tl.int32)
    shift_x, shift_y = tl.load(place + 2).to(tl.int32), tl.load(place + 3).to(tl.int32)
    start, row_step = tl.load(place + 4), tl.load(place + 5)
    m00, m01, m02 = tl.load(m), tl.load(m + 1), tl.load(m + 2)
    m10, m11, m12 = tl.load(m + 3), tl.load(m + 4), tl.load(m + 5)
    m20, m21, m22 = tl.load(m + 6), tl.load(m + 7), tl.load(m + 8)

    across, down = j.to(tl.float32), i.to(tl.float32)
    depth = m20 * across + m21 * down + m22
    depth = tl.where(tl.abs(depth) < _horizon, _horizon, depth)
    x = (m00 * across + m01 * down + m02) / depth
    y = (m10 * across + m11 * down + m12) / depth
    # Held within so many widths; shifted like the positions.
    far_x, far_y = width.to(tl.float32) * _far, height.to(tl.float32) * _far
    x = tl.minimum(tl.maximum(x, -far_x - shift_x), far_x - shift_x)
    y = tl.minimum(tl.maximum(y, -far_y - shift_y), far_y - shift_y)
    a, b = (m00 - x * m20) / depth, (m01 - x * m21) / depth
    c, d = (m10 - y * m20) / depth, (m11 - y * m21) / depth
    radius, share = tl.load(numbers), tl.load(numbers + 1)
    span_x = tl.maximum(tl.sqrt(a * a + b * b) * share, 1.0)
    span_y = tl.maximum(tl.sqrt(c * c + d * d) * share, 1.0)
    span_x = tl.minimum(span_x, tl.minimum(width, _widest).to(tl.float32))
    span_y = tl.minimum(span_y, tl.minimum(height, _widest).to(tl.float32))
    shrink_x, shrink_y = 1.0 / span_x, 1.0 / span_y
    first_x, first_y = tl.ceil(x - radius * span_x), tl.ceil(y - radius * span_y)
    ahead_x, ahead_y = first_x - x, first_y - y
    column_0, row_0 = first_x.to(tl.int32) + shift_x, first_y.to(tl.int32) + shift_y
    taps_x = (2.0 * radius * tl.max(span_x, axis=0)).to(tl.int32) + 1
    taps_y = (2.0 * radius * tl.max(span_y, axis=0)).to(tl.int32) + 1

    per_block: tl.constexpr = lanes // channels
    lane = tl.arange(0, lanes)
    tap, channel = lane // channels, lane % channels
    used = lane < per_block * channels
    total = tl.zeros((pixels, lanes), tl.float32)
    sum_x = tl.zeros((pixels,), tl.float32)
    sum_y = tl.zeros((pixels,), tl.float32)
    for done in range(0, taps_x, per_block):
        t_x = (ahead_x[:, None] + (done + tap)[None, :]) * shrink_x[:, None]
        weight_x = tl.where(used[None, :], _weight(t_x, shrink_x[:, None], numbers, triangle), 0.0)
        column = column_0[:, None] + (done + tap)[None, :]
        held = used[None, :]
        if pad == 2:
            held = held & (column >= 0) & (column < width)
        offset = _resolve(column, width, pad).to(tl.int64) * pixel_step + (channel * channel_step)[None, :]
        inner = tl.zeros((pixels, lanes), tl.float32)
        sum_y = tl.zeros((pixels,), tl.float32)
        for k in range(taps_y):
            weight_y = _weight((ahead_y + k) * shrink_y, shrink_y, numbers, triangle)
            row = row_0 + k
            there = held
            if pad == 2:
                there = held & ((row >= 0) & (row < height))[:, None]
            line = start + _resolve(row, height, pad).to(tl.int64) * row_step
            value = tl.load(source + line[:, None] + offset, mask=there, other=0)
            inner += value.to(tl.float32) * weight_y[:, None]
            sum_y += weight_y
        total += inner * weight_x
        sum_x += tl.sum(tl.where((channel == 0)[None, :], weight_x, 0.0), axis=1)

    inside = pixel < h * w
    to = out + n.to(tl.int64) * out_n + i.to(tl.int64) * out_h + j.to(tl.int64) * out_w
    for index in tl.static_range(channels):
        level = tl.sum(tl.where((channel == index)[None, :], total, 0.0), axis=1) / (sum_x * sum_y)
        level = tl.minimum(tl.maximum(level, 0.0), 255.0)
        if with_tables:
            knot = level.to(tl.int32)
            table = tables + (n * channels + index) * 257 + knot
            low, high = tl.load(table), tl.load(table + 1)
            level = low + (high - low) * (level - knot.to(tl.float32))
        else:
            level = level * (1.0 / 255.0)
        tl.store(to + index * out_c, level, mask=inside)
