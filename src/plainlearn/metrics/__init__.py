"""Metrics: predictions and targets in, one number out."""

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
