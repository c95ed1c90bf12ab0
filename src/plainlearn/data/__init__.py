"""From files, lists and tensors to batches. It knows nothing of models or training."""

from plainlearn.data.block import DataBlock
from plainlearn.data.block_loaders import BlockLoaders
from plainlearn.data.blocks import Block, CategoryBlock, MultiCategoryBlock
from plainlearn.data.collate import collate
from plainlearn.data.columns import TensorRows
from plainlearn.data.dataset import BlockDataset, Datasets
from plainlearn.data.examine import DataWarning
from plainlearn.data.items import get_files, get_image_files
from plainlearn.data.label import ColReader, FuncLabeller, RegexLabeller, parent_label, using_attr
from plainlearn.data.loader import DataLoader
from plainlearn.data.loaders import DataLoaders
from plainlearn.data.regression_block import RegressionBlock
from plainlearn.data.remote import RemotePath
from plainlearn.data.shard_writing import write_shards
from plainlearn.data.shards import Record, get_records
from plainlearn.data.split import (
    ColSplitter,
    FuncSplitter,
    GrandparentSplitter,
    GroupSplitter,
    IndexSplitter,
    RandomSplitter,
    TrainTestSplitter,
)
from plainlearn.data.weighted import WeightedDataLoader

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
