"""Labelled pictures in files as code: a table of the files, the transforms of both sides, and how they are read."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, MissingExtraError
from plainlearn.data.block_loaders import BlockLoaders, ToModel
from plainlearn.data.blocks import CategoryBlock
from plainlearn.data.dataset import BlockDataset
from plainlearn.data.loader import DataLoader
from plainlearn.data.transform import Transform
from plainlearn.eject.code import DataCode, function, seed_lines
from plainlearn.eject.text import call, pieces_of
from plainlearn.vision.blocks import ImageBlock
from plainlearn.vision.closeness import least_footprint
from plainlearn.vision.draft import jpeg_frame
from plainlearn.vision.jpeg import scale_for
from plainlearn.vision.lighting import Brightness, Contrast, Normalize
from plainlearn.vision.sampling_kernel import CUBIC
from plainlearn.vision.transforms import Flip, RandomResizedCrop, Resize, Rotate, Warp, Zoom

Size = tuple[int, int]


def pictures_code(dls: BlockLoaders, stem: str) -> DataCode:
    """What a script needs for the batches of `dls`: pictures in files, each with one label.

    Raises `ArgumentError`, naming it, for a block or a transform that is not written down.
    """
    _check_blocks(dls)
    train, valid = cast("BlockDataset", dls.train.dataset), cast("BlockDataset", dls.valid.dataset)
    _refuse_drafts(train, valid)
    code = DataCode()
    code.table, root = _table(train, valid)
    code.settings = [
        f"BATCH_SIZE = {dls.train.bs}",
        *call("DATA = Path", [json.dumps(root.as_posix(), ensure_ascii=False)]),
        f'TABLE = "{stem}.csv"',
    ]
    code.load = ['train_items, valid_items = listed("train"), listed("valid")']
    moved = train.placing or bool(train.item_tfms) or bool(dls.batch_tfms)
    if moved:
        code.settings += _kernel()
        items, size = _maps(
            "item_maps", "The item transforms, of one picture.", train.item_tfms, valid.item_tfms, None
        )
        train_tfms, valid_tfms = (
            cast(ToModel, loader.after_batch).transforms for loader in (dls.train, dls.valid)
        )
        moves, of_valid = _of_order_0(train_tfms), _of_order_0(valid_tfms)
        batches, size = _maps("batch_maps", "The batch transforms that move pictures.", moves, of_valid, size)
        if size is None:
            raise ArgumentError("no transform sets a size, so pictures are read at their own, which is not written down",
                                try_="item_tfms=Resize(224)")  # fmt: skip
        code.settings.append(f"SIZE = {size}")
        light = _light(
            [each for each in train_tfms if each.order], [each for each in valid_tfms if each.order]
        )
        code.definitions = pieces_of(items + batches + light)
    code.definitions |= pieces_of(_train(dls.train, moved) + _valid(dls.valid, dls.train.bs, moved))
    return code


def _check_blocks(dls: BlockLoaders) -> None:
    image, *targets = dls.blocks
    if type(image) is not ImageBlock or len(targets) != 1 or type(targets[0]) is not CategoryBlock:
        names = ", ".join(block.name for block in dls.blocks)
        raise ArgumentError(
            f"the blocks are {names}; known is one picture with one label",
            try_="blocks=(ImageBlock, CategoryBlock)",
        )
    if image.mode != "RGB" or image.background != (255, 255, 255) or image.value_range is not None:
        raise ArgumentError(f"{image!r} has settings that are not written down", try_="ImageBlock()")
    if find_spec("simplejpeg") is None:
        raise MissingExtraError("simplejpeg", needed_for="an ejected script for pictures", extra="vision")


def _table(*sides: BlockDataset) -> tuple[str, Path]:
    """The table of files with their sides and labels, and the folder that its names are below."""
    found: list[tuple[str, str, Any, int]] = []
    for name, dataset in zip(("train", "valid"), sides, strict=True):
        block = dataset.blocks[1]
        for file, label in zip(dataset.values(0), dataset.values(1), strict=True):
            if not isinstance(file, (str, os.PathLike)):
                raise ArgumentError(f"a picture is {describe(file)}; expected the path of a file here")
            found.append((name, os.path.abspath(cast("str", file)), label, int(block.encode(label))))  # noqa: PTH100
    root = Path(os.path.commonpath([os.path.dirname(file) for _, file, *_ in found]))  # noqa: PTH120
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["side", "file", "label", "target"])
    for name, file, label, target in found:
        table.writerow([name, Path(file).relative_to(root).as_posix(), label, target])
    return text.getvalue(), root


def _refuse_drafts(*sides: BlockDataset) -> None:
    """Raise `ArgumentError` if a JPEG would be decoded smaller, which scripts do not; see `ImageBlock`."""
    for dataset in sides:
        block = cast(ImageBlock, dataset.blocks[0])
        if block.full_decode or not dataset.moves:
            continue
        for file in dataset.values(0):
            frame = jpeg_frame(Path(file).read_bytes())
            if frame and scale_for(least_footprint(dataset.moves, frame.size, train=dataset.side == 0)) > 1:
                raise ArgumentError(f"{file} is so large that it is decoded smaller, which is not written down",
                                    try_="ImageBlock(full_decode=True)")  # fmt: skip


def _kernel() -> list[str]:
    """The kernel that pictures are read by, as numbers."""
    return [
        "# The kernel that pictures are read by: how far it reaches, and its shape, near that of a Lanczos filter.",
        f"RADIUS = {CUBIC.radius}",
        f"REST = {CUBIC.rest}",
        "MOVING = (",
        *(f"    {row}," for row in CUBIC.moving),
        ")",
    ]


# ---- transforms


def _maps(
    name: str, says: str, train: Sequence[Transform], valid: Sequence[Transform], size: Size | None
) -> tuple[str, Size | None]:
    """A function that composes the maps of these transforms, and the size of what comes out."""
    lines: list[str] = []
    every = "sizes = np.broadcast_to(np.array({}), (len(maps), 2))"
    if size is not None and train:
        lines.append("    " + every.format(size))
    only_training = False
    for transform in train:
        both = transform in valid
        if not both and not only_training:
            lines.append("    if train:")
        only_training = not both
        draw = _draw(transform)
        if draw is None:
            raise ArgumentError(
                f"the transform {transform!r} is not written down",
                try_="one of those that aug_transforms makes",
            )
        indent = 4 if both else 8
        lines += call("maps = then", ["maps", f"lambda: {draw}"], indent)
        if isinstance(transform, (Resize, RandomResizedCrop)):
            size = _pair(transform.size)
            lines.append(" " * indent + every.format(size))
    if lines and lines[-1].strip().startswith("sizes ="):
        lines.pop()  # nobody asks
    body = "\n".join([*lines, "    return maps"])
    return (
        f'def {name}(maps: Maps, sizes: np.ndarray, rng: Rng, train: bool) -> Maps:\n    """{says}"""\n{body}\n\n\n',
        size,
    )


def _draw(transform: Transform) -> str | None:
    """The call that draws this transform's maps; None for one that is not known, or has settings that are not."""
    kind, each = type(transform), cast("Any", transform)
    pads = getattr(each, "pad_mode", "reflection")
    if kind not in _DRAWS or (pads != "reflection" and (kind is not Resize or each.method == "pad")):
        return None
    if kind not in (Resize, RandomResizedCrop) and each.size is not None:
        return None
    if any(getattr(each, name, None) is not None for name in ("draw", "draw_x", "draw_y")):
        return None
    return _DRAWS[kind](each)


def _resize(each: Resize) -> str:
    if each.method == "squish":
        return "squish(sizes)"
    return f"fit_into(sizes, {_pair(each.size)}, rng, train{', larger=True' if each.method == 'pad' else ''})"


_DRAWS: dict[type, Callable[[Any], str]] = {
    Resize: _resize,
    RandomResizedCrop: lambda each: (
        f"random_crop(sizes, {_pair(each.size)}, rng, train, {each.min_scale}, {each.max_scale}, {each.ratio})"
    ),
    Flip: lambda each: f"flip{'_upside_down' if each.vertical else ''}(len(maps), rng, p={each.p})",
    Warp: lambda each: f"warp(len(maps), rng, {each.magnitude}, p={each.p})",
    Rotate: lambda each: f"rotate(sizes, rng, {each.max_deg}, p={each.p})",
    Zoom: lambda each: f"zoom(len(maps), rng, {each.min_zoom}, {each.max_zoom}, p={each.p})",
}


def _pair(size: Any) -> Size:
    height, width = cast("Sequence[int]", size) if isinstance(size, (tuple, list)) else (size, size)
    return int(height), int(width)


def _of_order_0(transforms: Sequence[Transform]) -> list[Transform]:
    return [each for each in transforms if each.order == 0]


def _light(train: Sequence[Transform], valid: Sequence[Transform]) -> str:
    lines = ["curves = None"]
    only_training = False
    for transform in train:
        both, each = transform in valid, cast("Any", transform)
        if not both and not only_training:
            lines.append("if train:")
        only_training = not both
        margin = "" if both else "    "
        if type(transform) in (Brightness, Contrast):
            name = type(transform).__name__.lower()
            lines.append(f"{margin}curves = {name}(curves, count, rng, {each.max_lighting}, p={each.p})")
        elif type(transform) is Normalize:
            lines.append(f"{margin}curves = normalized(curves, count, {each.mean}, {each.std})")
        else:
            raise ArgumentError(
                f"the transform {transform!r} is not written down",
                try_="one of those that aug_transforms makes",
            )
    body = "\n".join(f"    {line}" for line in [*lines, "return curves"])
    return (
        "def light(count: int, rng: Rng, train: bool) -> Tensor | None:\n"
        f'    """The batch transforms that change light."""\n{body}\n\n\n'
    )


# ---- order


def _train(loader: DataLoader, moved: bool) -> str:
    lines = seed_lines(loader)
    if loader.shuffle:
        lines.append("order = shuffled(len(train_items), seed).tolist()")
    else:
        lines.append("order = list(range(len(train_items)))")
    if loader.drop_last:
        lines.append("order = order[: len(order) - len(order) % BATCH_SIZE]  # no short batch at the end")
    call = "moved_batches(train_items, order, BATCH_SIZE, seed, train=True)"
    lines.append(f"return {call if moved else 'plain_batches(train_items, order, BATCH_SIZE)'}")
    return function("train_batches", "An epoch of training batches, in a new random order each time.", lines)


def _valid(loader: DataLoader, usual: int, moved: bool) -> str:
    size = "BATCH_SIZE" if loader.bs == usual else str(loader.bs)
    order = f"range({len(loader) * loader.bs})" if loader.drop_last else "range(len(valid_items))"
    if moved:
        lines = [
            "seed = new_seed()  # nothing random comes of it, but the next seed is another",
            f"return moved_batches(valid_items, {order}, {size}, seed, train=False)",
        ]
    else:
        lines = [
            "new_seed()  # nothing random comes of it, but the next seed is another",
            f"return plain_batches(valid_items, {order}, {size})",
        ]
    # The same for the training pictures, for whoever wants to see them without chance.
    calm = "\n".join(lines).replace("valid_items", "train_items")
    if loader.drop_last:
        calm = calm.replace(order, "range(len(train_items))")
    return function("valid_batches", "The validation set in batches, in its order.", lines) + function(
        "calm_batches",
        "The training pictures in their order, as validation would see them.",
        calm.split("\n"),
    )
