"""Sampling on the CPU: what `sampling.py` calls, the sharing out among threads, and nearest pixels.

The work is in `sampling_runs.py`, compiled by numba at first use (some 4 s of CPU) and kept on disk (0.4 s from then on).
Chosen over a C extension, which would need a wheel for every platform and Python or a compiler on the
user's machine, for the same speed; and over numba's own parallel loops, which are not safe to enter from
several threads at once: these functions release the lock and any thread may call them.
"""

# pyright: basic
from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from plainlearn.vision.sampling_kernel import FAR, HORIZON, NEAREST, PAD_CODES, TERMS, Kernel, PadMode
from plainlearn.vision.sampling_lanes import LANES
from plainlearn.vision.sampling_runs import compiled, resolve, sample_rows

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
_F = np.float32


def sample_pictures(
    pictures: list[Pixels],
    pixel_maps: npt.NDArray[np.float64],
    out: Floats,
    kernel: Kernel | None,
    pad_mode: PadMode,
    curves: Floats | None,
    threads: int,
) -> None:
    """Fill `out` (N, C, h, w) from pictures (H, W, C) through pixel maps; kernel None is nearest."""
    channels = out.shape[1]
    if channels > LANES:  # a pixel has to fit into a vector
        for some in (slice(first, first + LANES) for first in range(0, channels, LANES)):
            part, table = np.empty_like(out[:, some]), None if curves is None else curves[:, some].copy()
            parts = [picture[..., some] for picture in pictures]
            sample_pictures(parts, pixel_maps, part, kernel, pad_mode, table, threads)
            out[:, some] = part
        return
    tables = np.zeros((1, 1, 257), _F) if curves is None else curves
    numbers = np.zeros(4 + 3 * TERMS, _F) if kernel is None else kernel.packed()
    height = out.shape[2]
    bands = -(-threads // len(pictures))
    edges = [height * band // bands for band in range(bands + 1)]
    if bands > 1:
        pictures = [_interleaved(picture) for picture in pictures]

    def work(task: tuple[int, int]) -> None:
        i, band = task
        rows = edges[band], edges[band + 1]
        table = tables[i if curves is not None else 0]
        picture = _interleaved(pictures[i])
        if kernel is None:
            _nearest(picture, pixel_maps[i], out[i], rows[0], rows[1], PAD_CODES[pad_mode])
            _apply_tables(out[i], rows[0], rows[1], curves is not None, table)
        else:
            sample_rows(
                picture, pixel_maps[i], out[i], rows[0], rows[1], numbers, kernel.triangle,
                PAD_CODES[pad_mode], curves is not None, table,
            )  # fmt: skip

    tasks = [(i, band) for i in range(len(pictures)) for band in range(bands)]
    if threads == 1:
        for task in tasks:
            work(task)
        return
    # Made for this call: a pool that outlived it would be dead, and hang, in a forked worker.
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, tasks):
            pass


def sample_masks(
    masks: list[npt.NDArray[Any]],
    pixel_maps: npt.NDArray[np.float64],
    out: npt.NDArray[Any],
    pad_mode: PadMode,
) -> None:
    """Fill `out` (N, h, w) with the labels of the nearest pixels of masks (H, W) of its dtype."""
    # Labels are copied, never read, so unsigned integers of the same width do: four compilations at most.
    bits = np.dtype(f"u{out.itemsize}")
    for mask, pixel_map, labels in zip(masks, pixel_maps, out, strict=True):
        _labels(np.ascontiguousarray(mask).view(bits), pixel_map, labels.view(bits), PAD_CODES[pad_mode])


def _interleaved(picture: Pixels) -> Pixels:
    """The picture with its channels side by side in memory, copied only if they are not."""
    planes = picture.transpose(2, 0, 1)
    if picture.shape[2] != 3 or picture.flags.c_contiguous or not planes.flags.c_contiguous:
        return np.ascontiguousarray(picture)
    packed = np.empty(picture.shape, np.uint8)
    _interleave(planes, packed)
    return packed


@compiled
def _interleave(planes, packed):
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
        column = resolve(column, width, pad)
    if not 0 <= row < height:
        row = resolve(row, height, pad)
    return row, column


@compiled
def _nearest(picture, m, out, start, stop, pad):
    height, width, channels = picture.shape
    for i in range(start, stop):
        for j in range(out.shape[2]):
            row, column = _nearest_pixel(m, i, j, height, width, pad)
            for channel in range(channels):
                out[channel, i, j] = picture[row, column, channel] if row >= 0 and column >= 0 else 0


@compiled
def _labels(mask, m, out, pad):
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
def _apply_tables(out, start, stop, with_table, table):
    """Whole levels 0..255 in `out` replaced by what the tables hold for them."""
    for channel in range(out.shape[0]):
        for i in range(start, stop):
            for j in range(out.shape[2]):
                level = out[channel, i, j]
                out[channel, i, j] = table[channel, int(level)] if with_table else level * _F(1 / 255)
