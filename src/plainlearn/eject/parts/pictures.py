"""Pictures in files: which, in what order, and from their bytes to batches."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from PIL import Image, ImageOps
from torch import Tensor

from plainlearn.eject.parts.geometry import to_pixels
from plainlearn.eject.parts.given import (
    DATA,
    SCRIPT,
    SIZE,
    batch_maps,
    item_maps,
    light,
    read,
)
from plainlearn.eject.parts.kinds import Batches

Item = tuple[Path, int]


def listed(side: str) -> list[Item]:
    """The pictures of one side, each with the number of its class, from the table beside this script."""
    with SCRIPT.with_suffix(".csv").open(encoding="utf-8", newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["side"] == side]
    return [(DATA / row["file"], int(row["target"])) for row in rows]


def open_picture(file: Path) -> np.ndarray:
    """Upright pixels of 0..255, (height, width, 3)."""
    data = file.read_bytes()
    picture: Any = Image.open(io.BytesIO(data))
    if picture.format in ("JPEG", "MPO") and picture.mode in ("L", "RGB"):
        # Decoders round differently, and so each has pixels of its own. This is the one that was used.
        decoded: Any = Image.fromarray(simplejpeg.decode_jpeg(data, strict=False))
        decoded.getexif()[274] = picture.getexif().get(274, 1)  # how the camera was held
        picture = decoded
    picture = ImageOps.exif_transpose(picture)
    if picture.has_transparency_data:  # laid over white
        above = picture.convert("RGBA")
        picture = Image.new("RGB", above.size, (255, 255, 255))
        picture.paste(above, mask=above.getchannel("A"))
    return np.array(picture.convert("RGB"))


def fractions(pictures: Sequence[np.ndarray]) -> Tensor:
    """Pictures of one size as a batch (B, 3, height, width) of 0..1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous().float().div_(255)


def plain_batches(items: list[Item], order: Sequence[int], size: int) -> Batches:
    """The pictures in this order, `size` at a time, with their classes."""
    for first in range(0, len(order), size):
        rows = [items[index] for index in order[first : first + size]]
        x = fractions([open_picture(file) for file, _ in rows])
        yield x, torch.tensor([target for _, target in rows])


def moved_batches(items: list[Item], order: Sequence[int], size: int, seed: int, train: bool) -> Batches:
    """The pictures in this order, `size` at a time, through all transforms, with their classes.

    A transform touches no pixel: it says where each pixel of its output looks in its input. These maps are
    multiplied, and each picture is read once, at the end. What is random comes from the epoch's seed and the place.
    """
    for number, first in enumerate(range(0, len(order), size)):
        rows = [items[index] for index in order[first : first + size]]
        pictures = [open_picture(file) for file, _ in rows]
        sizes = np.array([picture.shape[:2] for picture in pictures])
        draws = [np.random.default_rng([0, seed, first + k]) for k in range(len(rows))]  # of each picture
        each = [item_maps(np.eye(3)[None], sizes[k : k + 1], rng, train) for k, rng in enumerate(draws)]
        rng = np.random.default_rng([1, seed, number])  # of the batch
        maps = batch_maps(np.concatenate(each), sizes, rng, train)
        curves = light(len(rows), rng, train)
        x = np.empty((len(rows), 3, *SIZE), np.float32)
        for k, pixel_map in enumerate(to_pixels(maps, sizes)):
            read(pictures[k], pixel_map, curves if curves is None else curves[k].numpy(), x[k])
        yield torch.from_numpy(x), torch.tensor([target for _, target in rows])
