"""Labelled pictures in files as code: a table of the files, the transforms of both sides, and how they are read."""

from __future__ import annotations

from importlib.util import find_spec
from typing import cast

from plainlearn.augment.sampling.kernel import CUBIC
from plainlearn.core.errors import ArgumentError, MissingExtraError
from plainlearn.data.block_loaders import BlockLoaders
from plainlearn.data.blocks import CategoryBlock
from plainlearn.data.dataset import BlockDataset, ToModel
from plainlearn.data.loader import DataLoader
from plainlearn.eject.code import DataCode, function, seed_lines, shuffled
from plainlearn.eject.files import files_of
from plainlearn.eject.text import call, part, pieces_of, quoted
from plainlearn.eject.transforms import Moves, light
from plainlearn.vision.blocks import ImageBlock


def pictures_code(dls: BlockLoaders) -> DataCode:
    """What a script needs for the batches of `dls`: pictures in files, each with one label.

    Raises `ArgumentError`, naming it, for a block, a transform or a file that is not written down.
    """
    _check_blocks(dls)
    train, valid = cast("BlockDataset", dls.train.dataset), cast("BlockDataset", dls.valid.dataset)
    files = files_of(train, valid)
    code = DataCode(table=files.table())
    code.settings = [
        f"BATCH_SIZE = {dls.train.bs}",
        *call("DATA = Path", [quoted(files.root.as_posix())]),
    ]
    code.load = ['train_items, valid_items = listed("train"), listed("valid")']
    if files.shrunk:
        code.definitions |= part("drafts")
        code.load = [f'{side}_items = listed("{side}", "scale")' for side in ("train", "valid")]
        code.load.append('calm_items = listed("train", "calm_scale")')
    elif files.all_upright_jpegs:
        code.definitions |= part("jpegs")
    moved = train.placing or bool(train.item_tfms) or bool(dls.batch_tfms)
    if moved:
        moves = Moves()
        items = moves.function("item_maps", "The item transforms, of one picture.", train.moves, valid.moves)
        of_train, of_valid = (
            cast(ToModel, loader.after_batch).transforms for loader in (dls.train, dls.valid)
        )
        lights = [each for each in of_train if each.order]
        batches = moves.function(
            "batch_maps",
            "The batch transforms that move pictures.",
            [each for each in of_train if not each.order],
            [each for each in of_valid if not each.order],
        )
        if moves.size is None:
            raise ArgumentError("no transform sets a size, so pictures are read at their own, which is not written down",
                                try_="item_tfms=Resize(224)")  # fmt: skip
        code.settings += [f"SIZE = {moves.size}", *_kernel()]
        code.definitions |= pieces_of(
            items + batches + light(lights, [each for each in of_valid if each.order])
        )
    code.definitions |= pieces_of(_train(dls.train, moved) + _valid(dls, moved, files.shrunk))
    return code


def _check_blocks(dls: BlockLoaders) -> None:
    image, *targets = dls.blocks
    if type(image) is not ImageBlock or len(targets) != 1 or type(targets[0]) is not CategoryBlock:
        names = ", ".join(block.name for block in dls.blocks)
        raise ArgumentError(
            f"the blocks are {names}; known is one picture with one label",
            try_="blocks=(ImageBlock, CategoryBlock)",
        )
    if image.mode != "RGB" or image.spec.background != (255, 255, 255) or image.value_range is not None:
        raise ArgumentError(f"{image!r} has settings that are not written down", try_="ImageBlock()")
    if find_spec("simplejpeg") is None:
        raise MissingExtraError("simplejpeg", needed_for="an ejected script for pictures", extra="vision")


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


# ---- order


def _train(loader: DataLoader, moved: bool) -> str:
    lines = seed_lines(loader)
    if loader.shuffle:
        lines.append(f"order = {shuffled('train_items')}.tolist()")
    else:
        lines.append("order = list(range(len(train_items)))")
    if loader.drop_last:
        lines.append("order = order[: len(order) - len(order) % BATCH_SIZE]  # no short batch at the end")
    call = "moved_batches(train_items, order, BATCH_SIZE, seed, train=True)"
    lines.append(f"return {call if moved else 'plain_batches(train_items, order, BATCH_SIZE)'}")
    how = "in a new random order each time" if loader.shuffle else "in their order"
    return function("train_batches", f"An epoch of training batches, {how}.", lines)


def _valid(dls: BlockLoaders, moved: bool, shrunk: bool) -> str:
    loader = dls.valid
    size = "BATCH_SIZE" if loader.bs == dls.train.bs else str(loader.bs)
    count = str(len(loader) * loader.bs) if loader.drop_last else "len(valid_items)"

    def lines(items: str, count: str) -> list[str]:
        # Nothing random comes of the seed, but the next one is another.
        if moved:
            return [f"return moved_batches({items}, range({count}), {size}, new_seed(), train=False)"]
        return [
            "new_seed()  # it orders nothing here, but the next is another",
            f"return plain_batches({items}, range({count}), {size})",
        ]

    calm = "calm_items" if shrunk else "train_items"
    return function(
        "valid_batches", "The validation set in batches, in its order.", lines("valid_items", count)
    ) + function(
        "unaugmented_batches",
        "The training pictures in their order, as validation sees pictures.",
        lines(calm, f"len({calm})"),
    )
