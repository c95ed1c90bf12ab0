"""The old place of what is now in `plainlearn.datasets.shards`, which hands out its names."""

from plainlearn.core.moved import moved

__getattr__ = moved(__name__, "plainlearn.datasets.shards")
