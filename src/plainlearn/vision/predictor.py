"""The old place of `plainlearn.inference.predictor`, which hands out its names."""

from plainlearn.core.moved import moved

__getattr__ = moved(__name__, "plainlearn.inference.predictor")
