"""Callbacks, one idea a file."""

from plainlearn.train.callbacks.finite import FiniteLoss
from plainlearn.train.callbacks.schedule import Scheduled

__all__ = ["FiniteLoss", "Scheduled"]
