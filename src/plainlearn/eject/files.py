"""The files of a run's pictures: a table for the script, and proof that it will open each as the learner does."""

from __future__ import annotations

import csv
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from PIL import Image

from plainlearn.augment.transforms import min_downscale
from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError
from plainlearn.data.dataset import BlockDataset
from plainlearn.images.decode import scale_for
from plainlearn.images.files import EncodedImage
from plainlearn.vision.blocks import ImageBlock


class Row(NamedTuple):
    """A line of the table: the file below the common folder, and how many times smaller it is decoded, in training and not."""

    side: str
    file: str
    label: Any
    target: int
    scale: int
    calm_scale: int
    upright_jpeg: bool


class Files(NamedTuple):
    """All files, and the folder that their names are below."""

    rows: list[Row]
    root: Path

    @property
    def all_upright_jpegs(self) -> bool:
        return all(row.upright_jpeg for row in self.rows)

    @property
    def shrunk(self) -> bool:
        """Whether any is decoded smaller than it is."""
        return any(row.scale > 1 or row.calm_scale > 1 for row in self.rows)

    def table(self) -> str:
        """As a CSV, with what the script asks for."""
        columns = 6 if self.shrunk else 4
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerows(each[:columns] for each in [Row._fields, *self.rows])
        return text.getvalue()


def files_of(train: BlockDataset, valid: BlockDataset) -> Files:
    """The files of both sides, each looked at.

    Raises `ArgumentError`, naming it, for a picture that is no file, and for a file that the script would open as other pixels.
    """
    found: list[tuple[str, str, Any, int]] = []
    for side, dataset in (("train", train), ("valid", valid)):
        block = dataset.blocks[1]
        for file, label in zip(dataset.values(0), dataset.values(1), strict=True):
            if not isinstance(file, (str, os.PathLike)):
                raise ArgumentError(f"a picture is {describe(file)}; expected the path of a file here")
            found.append((side, os.path.abspath(cast("str", file)), label, int(block.encode(label))))  # noqa: PTH100
    root = Path(os.path.commonpath([os.path.dirname(file) for _, file, *_ in found]))  # noqa: PTH120

    def row(entry: tuple[str, str, Any, int]) -> Row:
        side, file, label, target = entry
        name = Path(file).relative_to(root).as_posix()
        try:
            f"{name}{label}".encode()
        except UnicodeEncodeError as error:
            raise ArgumentError(
                f"{file!a} has a name that is not text in UTF-8", try_="renaming it"
            ) from error
        return Row(side, name, label, target, *_looked_at(file, train if side == "train" else valid, valid))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return Files(list(pool.map(row, found)), root)


def _looked_at(file: str, own: BlockDataset, calm: BlockDataset) -> tuple[int, int, bool]:
    """How many times smaller a file is decoded on its own side, and in validation; whether it is an upright JPEG."""
    data = Path(file).read_bytes()
    frame = EncodedImage(data).frame
    if frame is None:
        block = cast(ImageBlock, own.blocks[0])
        pixels = _opened_by_script(file)
        if pixels is None or not np.array_equal(pixels, block.open(file)):
            raise _opened_otherwise(file)
        return 1, 1, False
    turned = Image.open(io.BytesIO(data)).getexif().get(274, 1)
    if (turned if turned in range(1, 9) else 1) != frame.orientation:  # cameras write other numbers too
        raise _opened_otherwise(file)
    scale, calm_scale = (
        1
        if cast(ImageBlock, side.blocks[0]).spec.full_decode or not side.moves
        else scale_for(min_downscale(side.moves, frame.size, train=side.side == 0))
        for side in (own, calm)
    )
    return scale, calm_scale, frame.orientation == 1


def _opened_by_script(file: str) -> np.ndarray[Any, Any] | None:
    from plainlearn.eject.parts.pictures import open_picture

    try:
        return open_picture(Path(file))
    except (OSError, ValueError, SyntaxError):  # Pillow's words for a file that it cannot read
        return None


def _opened_otherwise(file: str) -> ArgumentError:
    return ArgumentError(
        f"{file} is of a rare kind, which Pillow alone opens as other pixels than the learner does",
        try_="saving it as an ordinary PNG or JPEG",
    )
