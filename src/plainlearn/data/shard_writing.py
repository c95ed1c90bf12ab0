"""The old place of `plainlearn.datasets.shard_writing`, which hands out its names."""

from plainlearn.core.moved import moved

__getattr__ = moved(__name__, "plainlearn.datasets.shard_writing")
