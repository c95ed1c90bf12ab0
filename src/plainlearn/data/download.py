"""The old place of `plainlearn.datasets.download`, which hands out its names."""

from plainlearn.core.moved import moved

__getattr__ = moved(__name__, "plainlearn.datasets.download")
