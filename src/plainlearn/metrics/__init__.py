"""Predictions and targets in, numbers out: metrics, and every judgement of a set of predictions."""

from plainlearn.metrics.functions import accuracy, accuracy_multi, error_rate, mae, mse, rmse, top_k_accuracy
from plainlearn.metrics.meter import Meter, meter_of

__all__ = [
    "Meter",
    "accuracy",
    "accuracy_multi",
    "error_rate",
    "mae",
    "meter_of",
    "mse",
    "rmse",
    "top_k_accuracy",
]
