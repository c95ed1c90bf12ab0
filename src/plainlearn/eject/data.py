"""The data of a run as code: tensors in memory, or labelled pictures in files, and the order of their batches."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError
from plainlearn.core.seed import drawn_seed
from plainlearn.data.block_loaders import BlockLoaders
from plainlearn.data.blocks import CategoryBlock
from plainlearn.data.collating import collate
from plainlearn.data.columns import columns_of
from plainlearn.data.dataset import BlockDataset, Gather, ToModel
from plainlearn.data.loader import DataLoader
from plainlearn.data.reading import DrawsItems
from plainlearn.data.transform import Function, Transform
from plainlearn.eject.source import Copied, is_ours
from plainlearn.eject.text import bracketed, call, quoted
from plainlearn.vision.blocks import ImageBlock

_ARGUMENTS = (
    'arguments = argparse.ArgumentParser(description="The run that is described at the head of this file.")'
)


@dataclass
class DataCode:
    """The code of the data: settings, and statements that make `train`, `valid` and `unaugmented`; a table of the files."""

    settings: list[str] = field(default_factory=list[str])
    load: list[str] = field(default_factory=list[str])
    unaugmented: str = ""
    table: str = ""


def data_code(dls: Any, copied: Copied) -> DataCode:
    """What a script needs for the batches of `dls`.

    Raises `ArgumentError`, naming it, for whatever has a say in the batches and cannot be written down.
    """
    for side, loader in (("training", dls.train), ("validation", dls.valid)):
        _check(loader, side)
    if dls.valid.shuffle:
        raise ArgumentError("validation is shuffled, which a script leaves out", try_="shuffle=False for it")
    code = _pictures_code(dls, copied) if isinstance(dls, BlockLoaders) else _tensors_code(dls, copied)
    if any("seeds" in line for line in code.load):
        draw = copied.take(drawn_seed, "the seed")
        code.load.insert(0, f"seeds = iter({draw}, None)  # one an epoch")
    return code


def _check(loader: Any, side: str) -> None:
    if not isinstance(loader, DataLoader) or not type(loader).__module__.startswith("plainlearn."):
        what = "there is none" if loader is None else f"a {type(loader).__name__}"
        raise ArgumentError(f"a script needs {side} batches from a DataLoader of plainlearn; found: {what}",
                            try_="DataLoader(dataset, bs=64)")  # fmt: skip
    if getattr(loader.get_idxs, "__func__", None) is not DataLoader.get_idxs:
        raise ArgumentError(f"get_idxs of the {side} loader was replaced, and a script does not know by what")
    if loader.collate_fn is not collate and not isinstance(loader.collate_fn, Gather):
        raise ArgumentError(f"the {side} loader has a collate_fn of its own, which a script does not know")
    if loader.after_batch is not None and not isinstance(loader.after_batch, ToModel):
        raise ArgumentError(f"the {side} loader has an after_batch of its own, which a script does not know")
    state = loader.state_dict()
    if state["epoch_seed"] is not None:
        raise ArgumentError(f"the {side} loader stands within an epoch, at batch {state['batches']}",
                            try_="new loaders, or ejecting between two runs")  # fmt: skip
    if loader.seed is not None and not 0 <= loader.seed < 2**40:
        raise ArgumentError(f"the seed of the {side} loader is {loader.seed}; a script takes 0 to 2**40")


def _loader_code(before: str, loader: DataLoader, batch: str, copied: Copied) -> str:
    """A loader of the script, whose batches `batch` makes, with a seed for each epoch as this one draws them."""
    seeds = "itertools.repeat(0)"  # nothing is random
    if loader.seed is not None:
        seeds = f"itertools.count({loader.seed * 1_000_003 + loader.epochs_begun})"
    elif loader.shuffle or loader.after_batch is not None or isinstance(loader.dataset, DrawsItems):
        seeds = "seeds"
    given = [str(len(cast("Any", loader.dataset))), batch, str(loader.bs), seeds]
    given += [f"{name}=True" for name in ("shuffle", "drop_last") if getattr(loader, name)]
    return call(before + copied.spell_out("Loader"), given)


def _tensors_code(dls: Any, copied: Copied) -> DataCode:
    code = DataCode()
    for side, loader in (("train", dls.train), ("valid", dls.valid)):
        columns = columns_of(loader.dataset)
        if not isinstance(columns, tuple) or len(columns) != 2 or loader.after_batch is not None:
            raise ArgumentError(
                f"the {side} dataset, {type(loader.dataset).__name__}, is not made of rows of two tensors, nor of blocks",
                try_="DataLoader(list(zip(x, y))), or a DataBlock",
            )
        x, y = (copied.value(column, f"{side}_{name}") for name, column in zip("xy", columns, strict=True))
        code.load.append(f"{side}_x, {side}_y = {x}, {y}")
        rows = f"lambda rows, *_: ({side}_x[rows], {side}_y[rows])"
        code.load.append(_loader_code(f"{side} = ", loader, rows, copied))
    return code


# ---- pictures


def _pictures_code(dls: BlockLoaders, copied: Copied) -> DataCode:
    """Pictures in files, each with one label. Raises `ArgumentError` for a block or a transform that is not written down."""
    image = _checked_blocks(dls)
    sides = [cast("BlockDataset", loader.dataset) for loader in (dls.train, dls.valid)]
    table, root = _table(sides)
    folder = [
        '"data"',
        'nargs="?"',
        "type=Path",
        f"default={quoted(root)}",
        'help="the folder of the pictures"',
    ]
    decoder = replace(image.spec, cache="none")  # a cache changes no pixel
    code = DataCode(
        settings=[
            _ARGUMENTS,
            call("arguments.add_argument", folder),
            "DATA = arguments.parse_args().data",
            'TABLE = SCRIPT.with_suffix(".csv")',
            f"DECODER = {copied.value(decoder, 'the image block')}",
            _transforms("ITEM_TFMS", sides[0].item_tfms, copied),
            _transforms("BATCH_TFMS", dls.batch_tfms, copied),
        ],
        table=table,
    )
    for name, side, train, loader in (
        ("train", "train", True, dls.train),
        ("valid", "valid", False, dls.valid),
        ("unaugmented", "train", False, dls.unaugmented()),
    ):
        given = ["TABLE", f'"{side}"', "DATA", "DECODER", "ITEM_TFMS", "BATCH_TFMS", f"train={train}"]
        items = call(f"{name}_items = {copied.spell_out('Pictures')}", given)
        lines = [items, _loader_code(f"{name} = ", loader, f"{name}_items.batch", copied)]
        if name == "unaugmented":
            code.unaugmented = "\n".join(lines)
        else:
            code.load += lines
    return code


def _checked_blocks(dls: BlockLoaders) -> ImageBlock:
    image, *targets = dls.blocks
    if type(image) is not ImageBlock or len(targets) != 1 or type(targets[0]) is not CategoryBlock:
        names = ", ".join(block.name for block in dls.blocks)
        raise ArgumentError(
            f"the blocks are {names}; known is one picture with one label",
            try_="blocks=(ImageBlock, CategoryBlock)",
        )
    if image.mode is None:
        raise ArgumentError(f"{image!r} has settings that are not written down", try_="ImageBlock()")
    return image


def _transforms(name: str, transforms: Sequence[Transform], copied: Copied) -> str:
    """The transforms as a list, of which each side takes those that act on it."""
    written: list[str] = []
    for each in transforms:
        if isinstance(each, Function) or not is_ours(type(each)):  # they may look at more than the picture
            raise ArgumentError(f"the transform {each!r}, of the user's own, is not written down",
                                try_="one of those that aug_transforms makes")  # fmt: skip
        try:
            written.append(copied.value(each, "the transform"))
        except ArgumentError as error:
            raise ArgumentError(f"the transform {each!r} is not written down: {error.what}",
                                try_="one of those that aug_transforms makes") from error  # fmt: skip
    return bracketed(f"{name} = ", "[]", written)


def _table(sides: Sequence[BlockDataset]) -> tuple[str, str]:
    """A CSV that says of each file which side it is on and which class it has, and the folder that the names are below.

    Raises `ArgumentError`, naming it, for a picture that is no file, or whose name is no text.
    """
    found: list[tuple[str, str, Any, int]] = []
    for side, dataset in zip(("train", "valid"), sides, strict=True):
        for file, label in zip(dataset.values(0), dataset.values(1), strict=True):
            if not isinstance(file, (str, os.PathLike)):
                raise ArgumentError(f"a picture is {describe(file)}; expected the path of a file here")
            path = os.path.abspath(cast("str", file))  # noqa: PTH100
            found.append((side, path, label, int(dataset.blocks[1].encode(label))))
            try:
                f"{path}{label}".encode()
            except UnicodeEncodeError as error:
                raise ArgumentError(
                    f"{path!a} has a name that is not text in UTF-8", try_="renaming it"
                ) from error
    root = Path(os.path.commonpath([os.path.dirname(file) for _, file, *_ in found]))  # noqa: PTH120
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("side", "file", "label", "target"))
    table.writerows((side, Path(file).relative_to(root).as_posix(), *more) for side, file, *more in found)
    return text.getvalue(), root.as_posix()
