"""Pictures in files: which, in what order, and from their bytes to batches."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from PIL import Image, ImageOps
from torch import Tensor

from plainlearn.eject.parts.geometry import to_pixels
from plainlearn.eject.parts.given import DATA, HERE, SIZE, TABLE, batch_maps, item_maps, light, sample

Item = tuple[Path, int]


def listed(side: str) -> list[Item]:
    """The pictures of one side, each with the number of its class, from the table beside this script."""
    with (HERE / TABLE).open(encoding="utf-8", newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["side"] == side]
    return [(DATA / row["file"], int(row["target"])) for row in rows]


def open_picture(file: Path) -> np.ndarray:
    """Upright pixels of 0..255, (height, width, 3)."""
    picture: Any = Image.open(file)
    if picture.format in ("JPEG", "MPO") and picture.mode in ("L", "RGB"):
        # Decoders round differently, and so each has pixels of its own. This is the one that was used.
        colours = "GRAY" if picture.mode == "L" else "RGB"
        decoded: Any = Image.fromarray(
            simplejpeg.decode_jpeg(file.read_bytes(), colours, strict=False).squeeze()
        )
        decoded.getexif()[274] = picture.getexif().get(274, 1)  # how the camera was held
        picture = decoded
    if picture.has_transparency_data:  # laid over white
        above = picture.convert("RGBA")
        picture = Image.new("RGB", above.size, (255, 255, 255))
        picture.paste(above, mask=above.getchannel("A"))
    return np.array(ImageOps.exif_transpose(picture).convert("RGB"))


def fractions(pictures: Sequence[np.ndarray]) -> Tensor:
    """Pictures of one size as a batch (B, 3, height, width) of 0..1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous().float().div_(255)


def plain_batches(items: list[Item], order: Sequence[int], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The pictures in this order, `size` at a time, with their classes."""
    for first in range(0, len(order), size):
        rows = [items[index] for index in order[first : first + size]]
        yield (
            fractions([open_picture(file) for file, _ in rows]),
            torch.tensor([target for _, target in rows]),
        )


def moved_batches(
    items: list[Item], order: Sequence[int], size: int, seed: int, train: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """The pictures in this order, `size` at a time, through all transforms, with their classes.

    A transform touches no pixel: it says where each pixel of its output looks in its input. These maps are
    multiplied, and each picture is read once, at the end. What is random comes from the epoch's seed and the place.
    """
    for number, first in enumerate(range(0, len(order), size)):
        rows = [items[index] for index in order[first : first + size]]
        pictures = [open_picture(file) for file, _ in rows]
        sizes = np.array([picture.shape[:2] for picture in pictures])
        each = [
            item_maps(np.eye(3)[None], sizes[k : k + 1], np.random.default_rng([0, seed, first + k]), train)
            for k in range(len(rows))
        ]
        rng = np.random.default_rng([1, seed, number])
        maps = batch_maps(np.concatenate(each), sizes, rng, train)
        curves = light(len(rows), rng, train)
        targets = torch.tensor([target for _, target in rows])
        if curves is None and (sizes == SIZE).all() and (maps == np.eye(3)).all():
            yield fractions(pictures), targets  # they are what they should be
        else:
            yield sample(pictures, to_pixels(maps, sizes, SIZE), SIZE, curves), targets
