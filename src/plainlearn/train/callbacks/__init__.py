"""Callbacks, one idea a file."""

from plainlearn.train.callbacks.activations import ActivationStats
from plainlearn.train.callbacks.averaging import EMA, SWA
from plainlearn.train.callbacks.csv_logger import CSVLogger
from plainlearn.train.callbacks.deadline import Deadline
from plainlearn.train.callbacks.early_stopping import EarlyStopping, EarlyStoppingCallback
from plainlearn.train.callbacks.finite import FiniteLoss
from plainlearn.train.callbacks.gradients import GradientAccumulation, GradientClip
from plainlearn.train.callbacks.mixing import CutMix, MixUp
from plainlearn.train.callbacks.mlflow import MLflowCallback
from plainlearn.train.callbacks.plateau import ReduceLROnPlateau
from plainlearn.train.callbacks.save_model import SaveModel, SaveModelCallback
from plainlearn.train.callbacks.schedule import Scheduled
from plainlearn.train.callbacks.tensorboard import TensorBoardCallback
from plainlearn.train.callbacks.terminate import TerminateOnNaN, TerminateOnNaNCallback
from plainlearn.train.callbacks.wandb import WandbCallback

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
