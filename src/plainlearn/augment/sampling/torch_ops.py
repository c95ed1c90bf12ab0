"""Sampling in plain torch operations: slow, short, and right on any device; the others are held to it.

Only elementwise operations and gathers, in float64 where the device has it: autocast cannot reach them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from plainlearn.augment.geometry import Maps
from plainlearn.augment.sampling.kernel import FAR, HORIZON, NEAREST, WIDEST, Kernel, PadMode, weights_of


def sample_batch(
    images: Tensor, pixel_maps: Maps, out: Tensor, kernel: Kernel | None, pad_mode: PadMode
) -> None:
    """Fill `out` (N, C, h, w) with `images` (N, H, W, C) read through (N, 3, 3) pixel maps, in 0..255.

    `kernel` None takes the nearest pixel.
    """
    n, height, width, channels = images.shape
    flat = images.reshape(-1, channels).float()
    x, y, footprint_x, footprint_y = _coordinates(pixel_maps, out, height, width)
    if kernel is None:
        certain = torch.ones((), dtype=torch.float32, device=out.device)
        taps_x, taps_y = [(nearest(x), certain)], [(nearest(y), certain)]
    else:
        taps_x = _taps(x, footprint_x, kernel, width)
        taps_y = _taps(y, footprint_y, kernel, height)
    columns = [(*_resolve(column, width, pad_mode), weight) for column, weight in taps_x]
    picture = torch.arange(n, device=out.device)[:, None, None] * (height * width)
    total = torch.zeros((*x.shape, channels), dtype=torch.float32, device=out.device)
    for row, row_weight in taps_y:
        line, row_inside = _resolve(row, height, pad_mode)
        line = line * width + picture
        inner = torch.zeros_like(total)
        for place, column_inside, weight in columns:
            value = flat.index_select(0, (line + place).reshape(-1)).reshape(total.shape)
            inner += value * (weight * (column_inside & row_inside)).unsqueeze(-1)
        total += inner * row_weight.unsqueeze(-1)
    weights = _sum(taps_x) * _sum(taps_y)
    out.copy_((total / (weights.unsqueeze(-1) if weights.ndim else weights)).permute(0, 3, 1, 2))


def apply_curves(values: Tensor, curves: Tensor | None) -> None:
    """Replace levels 0..255 by what (N or 1, C, 257) tables hold there, linear in between; None scales to 0..1."""
    if curves is None:
        values.clamp_(0, 255).div_(255)
        return
    n, channels, height, width = values.shape
    levels = values.clamp_(0, 255).reshape(n, channels, -1)
    knots = levels.floor()
    index = knots.long()
    tables = curves.expand(n, -1, -1)
    low, high = tables.gather(2, index), tables.gather(2, index + 1)
    values.copy_((low + (high - low) * (levels - knots)).reshape(n, channels, height, width))


def sample_labels_batch(masks: Tensor, pixel_maps: Maps, size: tuple[int, int], pad_mode: PadMode) -> Tensor:
    """The label at the nearest pixel, (N, H, W) to (N, h, w) of the same dtype; beyond, zeros if so asked."""
    n, height, width = masks.shape
    x, y, _, _ = _coordinates(pixel_maps, masks.new_empty((n, 1, *size)), height, width)
    row, row_inside = _resolve(nearest(y), height, pad_mode)
    column, column_inside = _resolve(nearest(x), width, pad_mode)
    index = (row * width + column).reshape(n, -1)
    labels = masks.reshape(n, -1).gather(1, index).reshape(n, *size)
    return torch.where(row_inside & column_inside, labels, torch.zeros_like(labels))


def nearest(position: Tensor) -> Tensor:
    """The pixel whose square holds a position."""
    return torch.floor(position + NEAREST).long()


def _coordinates(
    pixel_maps: Maps, out: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each output pixel's point in the input and its footprint along the input's axes, (N, h, w) each."""
    exact = torch.float32 if out.device.type == "mps" else torch.float64
    m = torch.from_numpy(pixel_maps).to(exact).to(out.device, non_blocking=True)[:, :, :, None, None]
    j = torch.arange(out.shape[3], device=out.device, dtype=exact)
    i = torch.arange(out.shape[2], device=out.device, dtype=exact)[:, None]
    p, q, r = (m[:, k, 0] * j + m[:, k, 1] * i + m[:, k, 2] for k in range(3))
    r = torch.where(r.abs() < HORIZON, HORIZON, r)
    x, y = (p / r).clamp(-FAR * width, FAR * width), (q / r).clamp(-FAR * height, FAR * height)
    # Not hypot: its vector and scalar forms differ in the last bit, and a batch would differ from a single.
    x_j, x_i = (m[:, 0, 0] - x * m[:, 2, 0]) / r, (m[:, 0, 1] - x * m[:, 2, 1]) / r
    y_j, y_i = (m[:, 1, 0] - y * m[:, 2, 0]) / r, (m[:, 1, 1] - y * m[:, 2, 1]) / r
    return x, y, (x_j * x_j + x_i * x_i).sqrt(), (y_j * y_j + y_i * y_i).sqrt()


def _taps(position: Tensor, footprint: Tensor, kernel: Kernel, length: int) -> list[tuple[Tensor, Tensor]]:
    """The pixels to read along one axis and their weights; as many for all as the widest footprint needs."""
    stretch = (footprint * kernel.share).clamp(1, min(length, WIDEST))
    first = torch.ceil(position - kernel.radius * stretch)
    count = int(2 * kernel.radius * stretch.max()) + 1
    start, offset, shrink = first.long(), (first - position).float(), (1 / stretch).float()
    weigh = weights_of(kernel, shrink)
    return [(start + k, weigh((offset + k) * shrink)) for k in range(count)]


def _sum(taps: list[tuple[Tensor, Tensor]]) -> Tensor:
    total = taps[0][1]
    for _, weight in taps[1:]:
        total = total + weight
    return total


def _resolve(index: Tensor, length: int, pad_mode: PadMode) -> tuple[Tensor, Tensor]:
    """Indices brought into 0..length−1, and which of them count (all, unless beyond means zero)."""
    inside = (index >= 0) & (index < length)
    if pad_mode == "reflection":  # about the outer edge: ... 1 0 | 0 1 2 ... n−1 | n−1 ...
        folded = torch.remainder(index, 2 * length)
        return torch.minimum(folded, 2 * length - 1 - folded), torch.ones_like(inside)
    return index.clamp(0, length - 1), inside if pad_mode == "zeros" else torch.ones_like(inside)
