"""From files, lists and tensors to batches: the data block, datasets, loaders, splits, labels. It knows nothing of training."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plainlearn.data.block import DataBlock
    from plainlearn.data.block_loaders import BlockLoaders
    from plainlearn.data.blocks import Block, CategoryBlock, MultiCategoryBlock, RegressionBlock
    from plainlearn.data.collating import collate
    from plainlearn.data.columns import TensorRows
    from plainlearn.data.dataset import BlockDataset, Datasets
    from plainlearn.data.items import get_files, get_image_files
    from plainlearn.data.label import ColReader, FuncLabeller, RegexLabeller, parent_label, using_attr
    from plainlearn.data.loader import DataLoader
    from plainlearn.data.loaders import DataLoaders
    from plainlearn.data.split import (
        ColSplitter,
        FuncSplitter,
        GrandparentSplitter,
        GroupSplitter,
        IndexSplitter,
        RandomSplitter,
        TrainTestSplitter,
    )
    from plainlearn.data.validate_items import DataWarning
    from plainlearn.data.weighted import WeightedDataLoader
    from plainlearn.datasets.remote import RemotePath
    from plainlearn.datasets.shards import Record, get_records, write_shards

# Loaded when they are first used (PEP 562): parts of this package are read without torch.
_HOMES = {
    "Block": "data.blocks",
    "BlockDataset": "data.dataset",
    "BlockLoaders": "data.block_loaders",
    "CategoryBlock": "data.blocks",
    "ColReader": "data.label",
    "ColSplitter": "data.split",
    "DataBlock": "data.block",
    "DataLoader": "data.loader",
    "DataLoaders": "data.loaders",
    "DataWarning": "data.validate_items",
    "Datasets": "data.dataset",
    "FuncLabeller": "data.label",
    "FuncSplitter": "data.split",
    "GrandparentSplitter": "data.split",
    "GroupSplitter": "data.split",
    "IndexSplitter": "data.split",
    "MultiCategoryBlock": "data.blocks",
    "RandomSplitter": "data.split",
    "Record": "datasets.shards",
    "RegexLabeller": "data.label",
    "RegressionBlock": "data.blocks",
    "RemotePath": "datasets.remote",
    "TensorRows": "data.columns",
    "TrainTestSplitter": "data.split",
    "WeightedDataLoader": "data.weighted",
    "collate": "data.collating",
    "get_files": "data.items",
    "get_image_files": "data.items",
    "get_records": "datasets.shards",
    "parent_label": "data.label",
    "using_attr": "data.label",
    "write_shards": "datasets.shards",
}

__all__ = [
    "Block",
    "BlockDataset",
    "BlockLoaders",
    "CategoryBlock",
    "ColReader",
    "ColSplitter",
    "DataBlock",
    "DataLoader",
    "DataLoaders",
    "DataWarning",
    "Datasets",
    "FuncLabeller",
    "FuncSplitter",
    "GrandparentSplitter",
    "GroupSplitter",
    "IndexSplitter",
    "MultiCategoryBlock",
    "RandomSplitter",
    "Record",
    "RegexLabeller",
    "RegressionBlock",
    "RemotePath",
    "TensorRows",
    "TrainTestSplitter",
    "WeightedDataLoader",
    "collate",
    "get_files",
    "get_image_files",
    "get_records",
    "parent_label",
    "using_attr",
    "write_shards",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"plainlearn.{_HOMES[name]}"), name)
