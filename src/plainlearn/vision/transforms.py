"""The old place of `plainlearn.augment.transforms`, which hands out its names."""

from plainlearn.core.moved import moved

__getattr__ = moved(__name__, "plainlearn.augment.transforms")
