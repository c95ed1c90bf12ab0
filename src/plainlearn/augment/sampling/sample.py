"""Read pictures through maps, once: `sample_images` for photos, `sample_labels` for masks.

The picture is interpolated a single time, from its 8-bit original to the finished float batch, by a cubic
kernel as wide as the map's own footprint, and lighting and normalisation ride along as tables of levels.
What is computed is written in `kernel.py`; three backends compute it, equal within 1/255:

- `numba`: the CPU, compiled at first use and kept on disk; needs no compiler on the machine;
- `triton`: CUDA, uint8 in and the normalised batch out in one kernel, no host sync;
- `torch`: any device, slowly.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from plainlearn.augment.geometry import Maps, check_maps, to_pixels
from plainlearn.augment.sampling import torch_ops
from plainlearn.augment.sampling.kernel import KERNELS, PAD_CODES, Kernel, Mode, PadMode
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, MissingExtraError, ShapeError

Backend = Literal["auto", "numba", "triton", "torch"]
Layout = Literal["hwc", "chw"]
Picture = Tensor | npt.NDArray[np.uint8]

_PIXELS_A_THREAD = 224 * 224  # output pixels: some 2 ms, where starting a thread takes 0.1
_CHUNK = 8  # pictures at a time in plain torch, whose temporaries are large


def sample_images(
    images: Tensor | Sequence[Picture],
    maps: Maps,
    size: tuple[int, int],
    *,
    mode: Mode = "cubic",
    pad_mode: PadMode = "reflection",
    curves: Tensor | None = None,
    layout: Layout = "hwc",
    out: Tensor | None = None,
    backend: Backend = "auto",
    threads: int | None = None,
) -> Tensor:
    """Read uint8 pictures through maps: a float32 batch (N, C, h, w) of `size` (h, w), on their device.

    `images` is a batch, or a list of pictures of different sizes, tensors or arrays, straight from the
    decoder. `layout` says how a picture lies: "hwc" (H, W, C), as decoders give it and the fastest, or "chw".
    `maps` (N, 3, 3), or (1, 3, 3) for all, take output to input coordinates, see `geometry`.
    `mode` "cubic" is the sharpest, "bilinear" cheaper and softer; neither aliases. "nearest" copies pixels.
    `pad_mode` says what lies beyond the picture: "reflection", "border" or "zeros".
    `curves` (N or 1, C, 257) turn level 0..255 into the value to write, see `level_curves`; None writes 0..1.
    `threads` on the CPU: by default torch's number, or fewer for little work; the result is the same to the bit.
    Raises `ShapeError` or `ArgumentError` for anything that does not fit.

    >>> from plainlearn.augment.geometry import flip
    >>> two_pixels = torch.tensor([[[[0], [255]]]], dtype=torch.uint8)
    >>> sample_images(two_pixels, flip(), (1, 2)).tolist()
    [[[[1.0, 0.0]]]]
    """
    pictures = _pictures(images, layout)
    count, channels, device = len(pictures), pictures[0].shape[-1], pictures[0].device
    _check_choice("mode", mode, (*KERNELS, "nearest"))
    _check_choice("pad_mode", pad_mode, tuple(PAD_CODES))
    _check_size(size)
    if threads is not None and threads < 1:
        raise ArgumentError(f"threads is {threads}; expected 1 or more, or None", try_="threads=1")
    pixel_maps = _pixel_maps(pictures, maps, size)
    if curves is not None:
        if curves.shape not in ((count, channels, 257), (1, channels, 257)):
            raise ShapeError(
                f"curves have shape {tuple(curves.shape)}; expected {(count, channels, 257)} or a first side of 1",
                try_="level_curves(count, channels)",
            )
        curves = curves.to(device=device, dtype=torch.float32, non_blocking=True).expand(count, -1, -1)
    if out is None:
        out = torch.empty((count, channels, *size), dtype=torch.float32, device=device)
    elif out.shape != (count, channels, *size) or out.dtype != torch.float32 or out.device != device:
        raise ShapeError(
            f"out is {out.dtype} {tuple(out.shape)} on {out.device}; "
            f"expected torch.float32 {(count, channels, *size)} on {device}"
        )
    chosen = _choose(backend, device)
    with torch.no_grad():
        if chosen == "numba":
            _sample_numba(pictures, pixel_maps, out, mode, pad_mode, curves, threads)
        elif chosen == "triton" and mode in KERNELS:
            from plainlearn.augment.sampling import triton_kernel

            triton_kernel.sample_pictures(pictures, pixel_maps, out, KERNELS[mode], pad_mode, curves)
        else:
            _sample_torch(pictures, pixel_maps, out, mode, pad_mode, curves)
    return out


def sample_labels(
    masks: Tensor | Sequence[Tensor | npt.NDArray[np.integer]],
    maps: Maps,
    size: tuple[int, int],
    *,
    pad_mode: PadMode = "reflection",
    backend: Backend = "auto",
) -> Tensor:
    """Read masks through maps, each output pixel the label of the nearest one: (N, H, W) to (N, h, w).

    Integers of any kind, or bool, or a list of (H, W) of different sizes; labels of any size stay exact and
    keep their dtype. Beyond the picture `pad_mode` as for images; "zeros" gives label 0.

    >>> from plainlearn.augment.geometry import flip
    >>> sample_labels(torch.tensor([[[7, 2**40]]]), flip(), (1, 2)).tolist()
    [[[1099511627776, 7]]]
    """
    pictures = [_tensor(mask) for mask in masks]
    if not pictures:
        raise ShapeError("there are no masks to sample; expected at least one")
    first = pictures[0]
    for i, mask in enumerate(pictures):
        if mask.ndim != 2 or 0 in mask.shape or mask.is_floating_point() or mask.is_complex():
            raise ShapeError(
                f"mask {i} is {mask.dtype} {tuple(mask.shape)}; expected integers of shape (H, W)"
            )
        if mask.dtype != first.dtype or mask.device != first.device:
            raise ShapeError(
                f"mask {i} is {mask.dtype} on {mask.device}, mask 0 {first.dtype} on {first.device}; expected all alike"
            )
    _check_choice("pad_mode", pad_mode, tuple(PAD_CODES))
    _check_size(size)
    pixel_maps = _pixel_maps(pictures, maps, size)
    out = torch.empty((len(pictures), *size), dtype=first.dtype, device=first.device)
    if _choose(backend, first.device) == "numba":
        _labels_on_cpu([mask.numpy() for mask in pictures], pixel_maps, out.numpy(), pad_mode)
        return out
    for i, mask in enumerate(pictures):
        out[i] = torch_ops.sample_labels_batch(mask[None], pixel_maps[i : i + 1], size, pad_mode)[0]
    return out


def level_curves(count: int = 1, channels: int = 3) -> Tensor:
    """Tables (count, channels, 257) that leave pictures as they are: level k of 255 becomes k/255.

    Lighting and normalisation are functions of them: `(level_curves() - mean) / std`. The last entry only
    closes the interval after 255; between entries values are interpolated.
    """
    return (torch.arange(257, dtype=torch.float32) / 255).clamp(max=1).expand(count, channels, -1).clone()


def _sample_numba(
    pictures: list[Tensor],
    pixel_maps: Maps,
    out: Tensor,
    mode: Mode,
    pad_mode: PadMode,
    curves: Tensor | None,
    threads: int | None,
) -> None:
    wide = out if out.is_contiguous() else torch.empty_like(out, memory_format=torch.contiguous_format)
    sample_on_cpu(
        [picture.numpy() for picture in pictures],
        pixel_maps,
        wide.numpy(),
        KERNELS.get(mode),
        pad_mode,
        None if curves is None else curves.contiguous().numpy(),
        threads or _threads_for(out),
    )
    if wide is not out:
        out.copy_(wide)


def _threads_for(out: Tensor) -> int:
    """As many as torch uses, but none that would have less than a picture of 224 to do."""
    return max(1, min(torch.get_num_threads(), out.numel() // out.shape[1] // _PIXELS_A_THREAD))


def sample_on_cpu(
    pictures: list[npt.NDArray[np.uint8]],
    pixel_maps: npt.NDArray[np.float64],
    out: npt.NDArray[np.float32],
    kernel: Kernel | None,
    pad_mode: PadMode,
    curves: npt.NDArray[np.float32] | None,
    threads: int,
) -> None:
    """Fill `out` (N, C, h, w) from pictures (H, W, C) through pixel maps; kernel None is nearest.

    The loops are compiled by numba at first use, some 4 s of CPU, and kept on disk, from where they load in 0.4 s. Chosen
    over a C extension, which would need a wheel for every platform and Python or a compiler on the user's machine, for
    the same speed; and over numba's own parallel loops, which are not safe to enter from several threads at once: these
    release the lock and any thread may call them.
    """
    loops, channels = _loops(), out.shape[1]
    if channels > loops.LANES:  # a pixel has to fit into a vector
        for some in (slice(first, first + loops.LANES) for first in range(0, channels, loops.LANES)):
            part, table = np.empty_like(out[:, some]), None if curves is None else curves[:, some].copy()
            parts = [picture[..., some] for picture in pictures]
            sample_on_cpu(parts, pixel_maps, part, kernel, pad_mode, table, threads)
            out[:, some] = part
        return
    tables = np.zeros((1, 1, 257), np.float32) if curves is None else curves
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
                picture, pixel_maps[i], out[i], rows[0], rows[1], kernel.packed, kernel.triangle,
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


def _labels_on_cpu(
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


def _interleaved(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The picture with its channels side by side in memory, copied only if they are not."""
    planes = picture.transpose(2, 0, 1)
    if picture.shape[2] != 3 or picture.flags.c_contiguous or not planes.flags.c_contiguous:
        return np.ascontiguousarray(picture)
    packed = np.empty(picture.shape, np.uint8)
    _loops().interleave(planes, packed)
    return packed


def _loops() -> Any:
    """The compiled functions. numba is loaded here, when something is sampled, and not before."""
    from plainlearn.augment.sampling import numba_loops

    return numba_loops


def _sample_torch(
    pictures: list[Tensor],
    pixel_maps: Maps,
    out: Tensor,
    mode: Mode,
    pad_mode: PadMode,
    curves: Tensor | None,
) -> None:
    start = 0
    while start < len(pictures):  # runs of pictures of one size go together
        stop = start + 1
        while stop < min(len(pictures), start + _CHUNK) and pictures[stop].shape == pictures[start].shape:
            stop += 1
        rows = slice(start, stop)
        batch = torch.stack(pictures[rows])
        torch_ops.sample_batch(batch, pixel_maps[rows], out[rows], KERNELS.get(mode), pad_mode)
        torch_ops.apply_curves(out[rows], None if curves is None else curves[rows])
        start = stop


def _pictures(images: Tensor | Sequence[Picture], layout: Layout) -> list[Tensor]:
    """Views (H, W, C) of every picture."""
    _check_choice("layout", layout, ("hwc", "chw"))
    pictures = [_tensor(image) for image in images]
    if not pictures:
        raise ShapeError("there are no images to sample; expected at least one")
    for i, picture in enumerate(pictures):
        if picture.dtype != torch.uint8:
            raise ArgumentTypeError(
                f"image {i} is {picture.dtype}; expected torch.uint8", try_="the picture as it was decoded"
            )
        if picture.ndim != 3 or 0 in picture.shape:
            raise ShapeError(
                f"image {i} has shape {tuple(picture.shape)}; expected ({', '.join(layout.upper())})"
            )
    if layout == "chw":
        pictures = [picture.permute(1, 2, 0) for picture in pictures]
    for i, picture in enumerate(pictures):
        if picture.shape[2] != pictures[0].shape[2] or picture.device != pictures[0].device:
            raise ShapeError(
                f"image {i} has {picture.shape[2]} channels on {picture.device}, "
                f"image 0 has {pictures[0].shape[2]} on {pictures[0].device}; expected all alike"
            )
    return pictures


def _tensor(image: Tensor | npt.NDArray[Any]) -> Tensor:
    """Without a copy, unless the array is turned round, or lies in memory that cannot be written at all."""
    if isinstance(image, Tensor):
        return image
    array = np.require(image, requirements="C")
    if not array.flags.writeable:
        array = array.view()
        try:
            # torch knows no tensor that is only to be read, and warns; here nothing writes to it.
            array.flags.writeable = True
        except ValueError:  # truly so, as an array on bytes is
            array = array.copy()
    return torch.from_numpy(array)


def _pixel_maps(pictures: list[Tensor], maps: Maps, size: tuple[int, int]) -> Maps:
    check_maps(maps)
    if len(maps) not in (1, len(pictures)):
        raise ShapeError(f"{len(maps)} maps for {len(pictures)} pictures; expected one each, or one for all")
    every = np.broadcast_to(maps, (len(pictures), 3, 3))
    return to_pixels(every, [tuple(picture.shape[:2]) for picture in pictures], size)


def _choose(backend: Backend, device: torch.device) -> Literal["numba", "triton", "torch"]:
    """The backend to use, which must be there and work on the device if it was named."""
    _check_choice("backend", backend, ("auto", "numba", "triton", "torch"))
    homes: dict[str, Literal["numba", "triton"]] = {"cpu": "numba", "cuda": "triton"}
    home = homes.get(device.type)
    if backend == "auto":
        return home if home and find_spec(home) else "torch"
    interpreted = backend == "triton" and os.environ.get("TRITON_INTERPRET") == "1"
    if backend not in ("torch", home) and not interpreted:
        raise ArgumentError(f"backend {backend} cannot sample images on {device}", try_="backend='auto'")
    if backend != "torch" and find_spec(backend) is None:
        # No extra of ours brings them: numba is asked for by plainlearn itself, triton by torch for NVIDIA GPUs.
        raise MissingExtraError(backend, needed_for=f"backend={backend!r}", install=f"pip install {backend}")
    return backend


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ArgumentError(
            f"{name} is {value!r}; expected one of {', '.join(choices)}", try_=f"{name}={choices[0]!r}"
        )


def _check_size(size: tuple[int, int]) -> None:
    whole = len(size) == 2 and all(side == int(side) and side > 0 for side in size)
    if not whole:
        raise ArgumentError(f"size is {size}; expected (height, width) in pixels", try_="size=(224, 224)")
