"""Sampling on the CPU: pictures, masks and rows shared out among threads; the loops are in `sampling_numba.py`.

Those are compiled by numba at first use, some 4 s of CPU, and kept on disk, from where they load in 0.4 s.
Chosen over a C extension, which would need a wheel for every platform and Python or a compiler on the
user's machine, for the same speed; and over numba's own parallel loops, which are not safe to enter from
several threads at once: these release the lock and any thread may call them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from plainlearn.augment.sampling.kernel import PAD_CODES, TERMS, Kernel, PadMode

Pixels = NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def _loops() -> Any:
    """The compiled functions. numba is loaded here, when something is sampled, and not before."""
    from plainlearn.augment.sampling import numba_loops as sampling_numba

    return sampling_numba


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
    loops, channels = _loops(), out.shape[1]
    if channels > loops.LANES:  # a pixel has to fit into a vector
        for some in (slice(first, first + loops.LANES) for first in range(0, channels, loops.LANES)):
            part, table = np.empty_like(out[:, some]), None if curves is None else curves[:, some].copy()
            parts = [picture[..., some] for picture in pictures]
            sample_pictures(parts, pixel_maps, part, kernel, pad_mode, table, threads)
            out[:, some] = part
        return
    tables = np.zeros((1, 1, 257), np.float32) if curves is None else curves
    numbers = np.zeros(4 + 3 * TERMS, np.float32) if kernel is None else kernel.packed()
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
            loops.nearest_rows(picture, pixel_maps[i], out[i], rows[0], rows[1], PAD_CODES[pad_mode])
            loops.apply_tables(out[i], rows[0], rows[1], curves is not None, table)
        else:
            loops.sample_rows(
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
        _loops().nearest_labels(
            np.ascontiguousarray(mask).view(bits), pixel_map, labels.view(bits), PAD_CODES[pad_mode]
        )


def _interleaved(picture: Pixels) -> Pixels:
    """The picture with its channels side by side in memory, copied only if they are not."""
    planes = picture.transpose(2, 0, 1)
    if picture.shape[2] != 3 or picture.flags.c_contiguous or not planes.flags.c_contiguous:
        return np.ascontiguousarray(picture)
    packed = np.empty(picture.shape, np.uint8)
    _loops().interleave(planes, packed)
    return packed
