"""Callbacks, one idea a file."""

from plainlearn.train.callbacks.activations import ActivationStats
from plainlearn.train.callbacks.averaging import EMA, SWA
from plainlearn.train.callbacks.csv_logger import CSVLogger
from plainlearn.train.callbacks.deadline import Deadline
from plainlearn.train.callbacks.finite import FiniteLoss, TerminateOnNaN, TerminateOnNaNCallback
from plainlearn.train.callbacks.gradients import GradientAccumulation, GradientClip
from plainlearn.train.callbacks.mixing import CutMix, MixUp
from plainlearn.train.callbacks.plateau import EarlyStopping, EarlyStoppingCallback, ReduceLROnPlateau
from plainlearn.train.callbacks.save_model import SaveModel, SaveModelCallback
from plainlearn.train.callbacks.schedule import Scheduled
from plainlearn.train.callbacks.trackers import MLflowCallback, TensorBoardCallback, WandbCallback

__all__ = [
    "EMA",
    "SWA",
    "ActivationStats",
    "CSVLogger",
    "CutMix",
    "Deadline",
    "EarlyStopping",
    "EarlyStoppingCallback",
    "FiniteLoss",
    "GradientAccumulation",
    "GradientClip",
    "MLflowCallback",
    "MixUp",
    "ReduceLROnPlateau",
    "SaveModel",
    "SaveModelCallback",
    "Scheduled",
    "TensorBoardCallback",
    "TerminateOnNaN",
    "TerminateOnNaNCallback",
    "WandbCallback",
]
