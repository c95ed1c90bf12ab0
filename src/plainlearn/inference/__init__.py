"""The model file, the one reading of an input, what predicts from it, how good and how sure it is. It knows nothing of training."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from plainlearn.inference.modelfile import ModelFile, read_model_file, write_model_file
from plainlearn.inference.prediction import UNKNOWN, Prediction

if TYPE_CHECKING:
    from plainlearn.inference.predictor import Predictor
    from plainlearn.inference.predictor import Predictor as ItemPredictor

__all__ = [
    "UNKNOWN",
    "ItemPredictor",
    "ModelFile",
    "Prediction",
    "Predictor",
    "read_model_file",
    "write_model_file",
]


def __getattr__(name: str) -> Any:
    # It needs torch; all else here does without. `ItemPredictor` is its older name.
    if name not in ("ItemPredictor", "Predictor"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("plainlearn.inference.predictor").Predictor
