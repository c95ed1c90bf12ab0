"""Pictures in files, where JPEGs are so large that they are decoded smaller; see `pictures` for what is the same."""

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

from plainlearn.eject.parts.geometry import Maps, build, to_pixels
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

Item = tuple[Path, int, int]


def listed(side: str, scale: str) -> list[Item]:
    """The pictures of one side, each with the number of its class, and how many times smaller it is decoded."""
    with SCRIPT.with_suffix(".csv").open(encoding="utf-8", newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["side"] == side]
    return [(DATA / row["file"], int(row["target"]), int(row[scale])) for row in rows]


def open_picture(file: Path, scale: int) -> tuple[np.ndarray, tuple[int, int], Maps]:
    """Upright pixels of 0..255, (height, width, 3); the picture's true size, and its place in the pixels.

    A large JPEG is decoded at 1/2, 1/4 or 1/8, which costs less and cannot be seen when it is made much smaller.
    A side that `scale` does not divide ends within the last column or row as stored; upright that may be the first.
    """
    data = file.read_bytes()
    picture: Any = Image.open(io.BytesIO(data))
    width, height = picture.size
    turn = picture.getexif().get(274, 1)  # how the camera was held
    if picture.format in ("JPEG", "MPO") and picture.mode in ("L", "RGB"):
        # Decoders round differently, and so each has pixels of its own. This is the one that was used.
        small: Any = {"min_width": -(-width // scale), "min_height": -(-height // scale), "min_factor": scale}
        picture = Image.fromarray(simplejpeg.decode_jpeg(data, strict=False, **small))
        picture.getexif()[274] = turn
    picture = ImageOps.exif_transpose(picture)
    if picture.has_transparency_data:  # laid over white
        above = picture.convert("RGBA")
        picture = Image.new("RGB", above.size, (255, 255, 255))
        picture.paste(above, mask=above.getchannel("A"))
    pixels = np.array(picture.convert("RGB"))
    height, width = (width, height) if turn >= 5 else (height, width)
    h, w = height / (scale * pixels.shape[0]), width / (scale * pixels.shape[1])
    left, top = (1 - w) * (turn in (2, 3, 6, 7)), (1 - h) * (turn in (3, 4, 7, 8))
    return pixels, (height, width), build(w, 0, 2 * left + w - 1, 0, h, 2 * top + h - 1, 0, 0, 1)


def moved_batches(items: list[Item], order: Sequence[int], size: int, seed: int, train: bool) -> Batches:
    """The pictures in this order, `size` at a time, through all transforms, with their classes.

    A transform touches no pixel: it says where each pixel of its output looks in its input. These maps are
    multiplied, and each picture is read once, at the end. What is random comes from the epoch's seed and the place.
    """
    for number, first in enumerate(range(0, len(order), size)):
        rows = [items[index] for index in order[first : first + size]]
        pictures, true_sizes, places = zip(
            *(open_picture(file, scale) for file, _, scale in rows), strict=True
        )
        sizes = np.array(true_sizes)
        draws = [np.random.default_rng([0, seed, first + k]) for k in range(len(rows))]  # of each picture
        each = [item_maps(places[k], sizes[k : k + 1], rng, train) for k, rng in enumerate(draws)]
        rng = np.random.default_rng([1, seed, number])  # of the batch
        maps = batch_maps(np.concatenate(each), sizes, rng, train)
        curves = light(len(rows), rng, train)
        x = np.empty((len(rows), 3, *SIZE), np.float32)
        for k, pixel_map in enumerate(to_pixels(maps, np.array([each.shape[:2] for each in pictures]))):
            read(pictures[k], pixel_map, curves if curves is None else curves[k].numpy(), x[k])
        yield torch.from_numpy(x), torch.tensor([target for _, target, _ in rows])
