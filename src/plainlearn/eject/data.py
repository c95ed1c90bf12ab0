"""The data of a run as code: tensors in memory, or labelled pictures in files, and the order of their batches."""

from __future__ import annotations

from typing import Any

from plainlearn.core.errors import ArgumentError
from plainlearn.data.block_loaders import BlockLoaders
from plainlearn.data.collating import collate
from plainlearn.data.columns import columns_of
from plainlearn.data.dataset import Gather, ToModel
from plainlearn.data.loader import DataLoader
from plainlearn.eject.code import DataCode, as_array, function, seed_lines, shuffled
from plainlearn.eject.text import pieces_of


def data_code(dls: Any) -> DataCode:
    """What a script needs for the batches of `dls`.

    Raises `ArgumentError`, naming it, for whatever has a say in the batches and cannot be written down.
    """
    for side, loader in (("training", dls.train), ("validation", dls.valid)):
        _check(loader, side)
    if dls.valid.shuffle:
        raise ArgumentError("validation is shuffled, which a script leaves out", try_="shuffle=False for it")
    if isinstance(dls, BlockLoaders):
        from plainlearn.eject.pictures import pictures_code

        return pictures_code(dls)
    return _tensors_code(dls)


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


def _tensors_code(dls: Any) -> DataCode:
    code = DataCode()
    sides = {"train": dls.train, "valid": dls.valid}
    for side, loader in sides.items():
        columns = columns_of(loader.dataset)
        if not isinstance(columns, tuple) or len(columns) != 2 or loader.after_batch is not None:
            raise ArgumentError(
                f"the {side} dataset, {type(loader.dataset).__name__}, is not made of rows of two tensors, nor of blocks",
                try_="DataLoader(list(zip(x, y))), or a DataBlock",
            )
        code.arrays |= {f"{side}_x": as_array(columns[0], side), f"{side}_y": as_array(columns[1], side)}
        code.load += [
            f'{side}_x, {side}_y = torch.from_numpy(start["{side}_x"]), torch.from_numpy(start["{side}_y"])'
        ]
    train = dls.train
    order = ["order = torch.arange(len(train_x))"]
    if train.shuffle:
        order = [*seed_lines(train), f"order = {shuffled('train_x')}"]
    code.settings.append(f"BATCH_SIZE = {train.bs}")
    if train.seed is not None and train.shuffle:
        code.load.append(f"epochs_begun = {train.epochs_begun}")
    if train.drop_last:
        order.append("order = order[: len(order) - len(order) % BATCH_SIZE]  # no short batch at the end")
    valid_size = "BATCH_SIZE" if dls.valid.bs == train.bs else str(dls.valid.bs)
    how = "in a new random order each time" if train.shuffle else "in their order"
    valid_order = "torch.arange(len(valid_x))"
    if dls.valid.drop_last:
        valid_order += f"[: {len(dls.valid) * dls.valid.bs}]"
    train_lines = [*order, "return batches(train_x, train_y, order, BATCH_SIZE)"]
    valid_lines = [f"return batches(valid_x, valid_y, {valid_order}, {valid_size})"]
    code.definitions = pieces_of(
        function("train_batches", f"An epoch of training batches, {how}.", train_lines)
        + function("valid_batches", "The validation set in batches, in its order.", valid_lines)
    )
    return code
